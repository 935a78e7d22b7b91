//! Discoveries on threads: how they start, fail, panic and stop.

mod support;

use std::{
    borrow::Cow,
    error::Error as _,
    io,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};

use crossbeam_channel::{TryRecvError, bounded, never, select};
use support::in_time;
use syncswim::{BoxError, Cluster, Discovery, DnsDiscovery, Error, Membership, NoDiscovery, Stop};

/// Counts the live probes of its kind, and behaves as the test says.
struct Probe {
    name: &'static str,
    alive: Arc<AtomicUsize>,
    bind: Result<(), &'static str>,
    start: fn(&Membership, &Stop) -> Result<(), BoxError>,
}

impl Probe {
    fn new(name: &'static str, alive: &Arc<AtomicUsize>) -> Self {
        alive.fetch_add(1, Ordering::SeqCst);
        Self { name, alive: Arc::clone(alive), bind: Ok(()), start: until_stopped }
    }
}

impl Drop for Probe {
    fn drop(&mut self) {
        self.alive.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Discovery for Probe {
    fn name(&self) -> Cow<'_, str> {
        self.name.into()
    }

    fn bind(&mut self) -> Result<(), BoxError> {
        self.bind.map_err(Into::into)
    }

    fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError> {
        (self.start)(membership, stop)
    }
}

fn until_stopped(_: &Membership, stop: &Stop) -> Result<(), BoxError> {
    stop.receiver().recv().unwrap_err();
    Ok(())
}

fn alive() -> Arc<AtomicUsize> {
    Arc::default()
}

#[test]
fn a_discovery_that_cannot_bind_is_an_error_of_start_and_nothing_stays() {
    in_time(|| {
        let alive = alive();
        let mut taken = Probe::new("taken", &alive);
        taken.bind = Err("the port is taken");
        let never = |_: &Membership, _: &Stop| -> Result<(), BoxError> { unreachable!("nothing may start") };
        let cluster = Cluster::new()
            .with_discovery(Probe::new("fine", &alive))
            .with_discovery(never)
            .with_discovery(taken)
            .with_discovery(Probe::new("later", &alive));
        let (membership, watch) = (cluster.membership().clone(), cluster.membership().watch());
        let error = cluster.start().unwrap_err();
        assert_eq!(error.report(), "discovery `taken` failed: the port is taken");
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert_eq!(watch.count(), 1, "the watch has ended");
        assert!(membership.snapshot().peers().is_empty());
    });
}

#[test]
fn an_error_of_this_library_is_wrapped_and_is_the_source() {
    let dns = DnsDiscovery::new("peers").interval(Duration::ZERO);
    let error = Cluster::new().with_discovery(dns).start().unwrap_err();
    let source = error.source().unwrap().downcast_ref::<Error>();
    assert!(matches!(source, Some(Error::Config { field, .. }) if field == "interval"));
    let report = error.report();
    assert!(report.starts_with("discovery `dns` failed: bad configuration: `interval`"), "{report}");
}

#[test]
fn the_first_failure_stops_the_others_and_join_names_it() {
    in_time(|| {
        let alive = alive();
        let mut bad = Probe::new("bad", &alive);
        bad.start = |_, _| Err(io::Error::other("no route").into());
        let mut sorry = Probe::new("sorry", &alive);
        sorry.start = |_, stop| {
            stop.receiver().recv().unwrap_err();
            Err("stopped by another".into())
        };
        let cluster = Cluster::new().with_discovery(Probe::new("good", &alive)).with_discovery(sorry);
        let running = cluster.with_discovery(bad).start().unwrap();
        let error = running.join().unwrap_err();
        assert!(matches!(&error, Error::Discovery { name, .. } if name == "bad"), "{error}");
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn a_panic_is_an_error_that_names_the_discovery_and_tells_its_message() {
    in_time(|| {
        for (start, expected) in [
            ((|_, _| panic!("plain")) as fn(&Membership, &Stop) -> _, "plain"),
            (|_, _| panic!("formatted {}", 1), "formatted 1"),
            (|_, _| std::panic::resume_unwind(Box::new(7)), "(no message)"),
        ] {
            let alive = alive();
            let mut bad = Probe::new("bad", &alive);
            bad.start = start;
            let cluster = Cluster::new().with_discovery(Probe::new("good", &alive)).with_discovery(bad);
            let watch = cluster.membership().watch();
            let error = cluster.start().unwrap().join().unwrap_err();
            assert!(
                matches!(&error, Error::Panicked { what, message, .. } if what == "bad" && message == expected),
                "{error}"
            );
            assert_eq!((alive.load(Ordering::SeqCst), watch.count()), (0, 1));
        }
    });
}

#[test]
fn a_panic_in_bind_or_while_dropping_is_an_error_too() {
    struct Binds;
    impl Discovery for Binds {
        fn name(&self) -> Cow<'_, str> {
            "binds".into()
        }
        fn bind(&mut self) -> Result<(), BoxError> {
            panic!("while binding")
        }
        fn start(&mut self, _: &Membership, _: &Stop) -> Result<(), BoxError> {
            Ok(())
        }
    }
    struct Drops;
    impl Drop for Drops {
        fn drop(&mut self) {
            panic!("while dropping");
        }
    }
    in_time(|| {
        let error = Cluster::new().with_discovery(Binds).start().unwrap_err();
        assert!(matches!(&error, Error::Panicked { what, .. } if what == "binds"), "{error}");

        let drops = Drops;
        let cluster = Cluster::new().with_discovery(move |_: &Membership, _: &Stop| {
            let _held = &drops;
            Ok::<_, BoxError>(())
        });
        let error = cluster.with_discovery(NoDiscovery::new(["a"])).start().unwrap().join().unwrap_err();
        assert!(matches!(&error, Error::Panicked { message, .. } if message == "while dropping"), "{error}");
    });
}

#[test]
fn dropping_the_handle_stops_and_waits() {
    in_time(|| {
        let alive = alive();
        let cluster =
            Cluster::new().with_discovery(Probe::new("a", &alive)).with_discovery(Probe::new("b", &alive));
        let running = cluster.start().unwrap();
        assert!(!running.is_finished());
        let stop = running.stop_flag().clone();
        drop(running);
        assert!(stop.is_stopped());
        assert_eq!(alive.load(Ordering::SeqCst), 0);
    });
}

#[test]
fn every_kind_of_discovery_ends_without_an_error_when_stopped() {
    in_time(|| {
        let resolver = |_: &str| Ok(vec![[127, 0, 0, 1].into()]);
        let dns = DnsDiscovery::new("peers:1").resolver(resolver);
        let boxed: Box<dyn Discovery> = Box::new(NoDiscovery::new(["c:1"]));
        let cluster = Cluster::new()
            .with_discovery(NoDiscovery::new(["a:1"]))
            .with_discovery(boxed)
            .with_discovery(dns)
            .with_discovery(until_stopped);
        let running = cluster.start().unwrap();
        running.stop();
        running.join().unwrap();
    });
}

#[test]
fn an_empty_list_of_peers_waits_for_the_stop_like_any_other() {
    in_time(|| {
        let cluster = Cluster::new().with_discovery(NoDiscovery::default());
        let running = cluster.start().unwrap();
        thread::scope(|scope| {
            let end = running.stop_flag().clone();
            let running = scope.spawn(move || running.join());
            assert!(!running.is_finished());
            end.stop();
            running.join().unwrap().unwrap();
        });
    });
}

#[test]
fn a_discovery_that_ends_by_itself_leaves_the_others_running() {
    in_time(|| {
        let alive = alive();
        let mut short = Probe::new("short", &alive);
        short.start = |membership, _| {
            membership.add(["a:1"]);
            Ok(())
        };
        let cluster = Cluster::new().with_discovery(short).with_discovery(Probe::new("long", &alive));
        let watch = cluster.membership().watch();
        let running = cluster.start().unwrap();
        assert_eq!(watch.iter().find(|change| !change.is_empty()).unwrap().active, ["a:1"]);
        assert!(!running.is_finished() && !running.stop_flag().is_stopped());
        running.stop();
        running.join().unwrap();
    });
}

#[test]
fn the_watch_ends_with_the_cluster_and_the_membership_can_still_be_read() {
    in_time(|| {
        let cluster = Cluster::new().with_discovery(NoDiscovery::new(["b:1", "a:1"]));
        let (membership, watch) = (cluster.membership().clone(), cluster.membership().watch());
        let running = cluster.start().unwrap();
        let reader = thread::Builder::new().spawn(move || watch.last()).unwrap();
        while membership.snapshot().peers().is_empty() {
            thread::yield_now();
        }
        running.stop();
        assert_eq!(reader.join().unwrap().unwrap().active, ["a:1", "b:1"]);
        running.join().unwrap();
        assert_eq!(membership.snapshot().active().len(), 2);
    });
}

#[test]
fn a_cluster_that_is_dropped_before_its_start_ends_its_watches_and_releases_its_discoveries() {
    in_time(|| {
        let alive = alive();
        let cluster = Cluster::new().with_discovery(Probe::new("never", &alive));
        let (membership, watch) = (cluster.membership().clone(), cluster.membership().watch());
        membership.add(["a:1"]);
        drop(cluster);
        assert_eq!((watch.count(), alive.load(Ordering::SeqCst)), (2, 0));
        membership.add(["b:1"]);
        assert_eq!(membership.watch().map(|change| change.active.len()).collect::<Vec<_>>(), [2]);
    });
}

#[test]
fn a_cluster_without_discoveries_is_finished_at_once() {
    in_time(|| {
        let cluster = Cluster::new();
        let watch = cluster.membership().watch();
        let running = cluster.start().unwrap();
        assert!(running.is_finished());
        assert_eq!(watch.count(), 1);
        running.join().unwrap();
    });
}

#[test]
fn a_select_loop_follows_work_changes_and_the_stop() {
    in_time(|| {
        let cluster = Cluster::new().with_discovery(NoDiscovery::new(["a:1"]));
        let (watch, work) = (cluster.membership().watch(), never::<u8>());
        let running = cluster.start().unwrap();
        let mut active = Vec::new();
        loop {
            select! {
                recv(work) -> _ => unreachable!(),
                recv(running.stop_flag().receiver()) -> _ => break,
                recv(watch.receiver()) -> _ => active.extend(watch.try_recv().unwrap().active.iter().cloned()),
            }
            if !active.is_empty() {
                running.stop();
            }
        }
        assert_eq!(active.concat(), "a:1");
        let ended = Err(TryRecvError::Disconnected);
        while select! { recv(watch.receiver()) -> _ => watch.try_recv() != ended } {}
        running.join().unwrap();
    });
}

#[test]
fn threads_carry_the_name_of_their_discovery() {
    in_time(|| {
        let (give, take) = bounded(1);
        let cluster = Cluster::new().with_discovery(move |_: &Membership, _: &Stop| {
            give.send(thread::current().name().map(String::from))
        });
        let running = cluster.start().unwrap();
        assert_eq!(take.recv().unwrap().unwrap(), "syncswim-closure");
        running.join().unwrap();

        let mut odd = Probe::new("nul\0inside", &alive());
        odd.start = |_, _| Ok(());
        Cluster::new().with_discovery(odd).start().unwrap().join().unwrap();
    });
}

#[test]
fn a_handle_that_is_dropped_by_its_own_discovery_does_not_wait_for_itself() {
    in_time(|| {
        let (give, take) = bounded::<syncswim::ClusterHandle>(1);
        let cluster = Cluster::new().with_discovery(move |_: &Membership, _: &Stop| take.recv().map(drop));
        let watch = cluster.membership().watch();
        let running = cluster.start().unwrap();
        give.send(running).unwrap();
        assert_eq!(watch.count(), 1);
    });
}

#[test]
fn a_discovery_that_panics_and_panics_again_while_dropped_aborts_nothing_and_the_first_panic_counts() {
    struct Joins;
    impl Drop for Joins {
        fn drop(&mut self) {
            panic!("while dropping");
        }
    }
    in_time(|| {
        for fails in [false, true] {
            let joins = Joins;
            let cluster = Cluster::new().with_discovery(move |_: &Membership, _: &Stop| {
                let _held = &joins;
                assert!(fails, "while running");
                Err::<(), _>("failed while running")
            });
            let watch = cluster.membership().watch();
            let error = cluster.start().unwrap().join().unwrap_err();
            assert!(error.report().contains("while running"), "{error}");
            assert_eq!(watch.count(), 1);
        }
    });
}

#[test]
fn a_closure_may_fail_with_any_kind_of_error_or_none() {
    type Outcome = Result<(), Error>;
    fn run<E: Into<BoxError> + 'static>(work: fn() -> Result<(), E>) -> Outcome {
        Cluster::new().with_discovery(move |_: &Membership, _: &Stop| work()).start()?.join()
    }
    in_time(|| {
        run(|| Ok::<_, std::convert::Infallible>(())).unwrap();
        run(|| Ok::<_, Error>(())).unwrap();
        let failed: [(Outcome, &str); 4] = [
            (run(|| Err(io::Error::other("no route"))), "no route"),
            (run(|| Err::<(), BoxError>("boxed".into())), "boxed"),
            (run(|| Err("plain")), "plain"),
            (run(|| Err(String::from("owned"))), "owned"),
        ];
        for (outcome, expected) in failed {
            let error = outcome.unwrap_err();
            assert_eq!(error.source().unwrap().to_string(), expected);
            assert_eq!(error.report(), format!("discovery `closure` failed: {expected}"));
        }
    });
}

#[test]
fn bind_runs_in_order_on_the_thread_that_starts_and_not_after_a_failure() {
    struct Binds(&'static str, crossbeam_channel::Sender<(&'static str, thread::ThreadId)>);
    impl Discovery for Binds {
        fn name(&self) -> Cow<'_, str> {
            self.0.into()
        }
        fn bind(&mut self) -> Result<(), BoxError> {
            self.1.send((self.0, thread::current().id()))?;
            if self.0 == "bad" { Err("taken".into()) } else { Ok(()) }
        }
        fn start(&mut self, _: &Membership, _: &Stop) -> Result<(), BoxError> {
            unreachable!("one of them could not be bound")
        }
    }
    in_time(|| {
        let (give, take) = bounded(9);
        let cluster = ["a", "b", "bad", "c"]
            .into_iter()
            .fold(Cluster::new(), |cluster, name| cluster.with_discovery(Binds(name, give.clone())));
        drop(give);
        let error = cluster.start().unwrap_err();
        assert!(matches!(&error, Error::Discovery { name, .. } if name == "bad"), "{error}");
        let here = thread::current().id();
        assert!(take.iter().eq([("a", here), ("b", here), ("bad", here)]), "all senders are dropped too");
    });
}

#[test]
fn a_cluster_is_finished_once_its_last_discovery_has_ended() {
    in_time(|| {
        let (end, wait) = bounded::<()>(0);
        let running = Cluster::new()
            .with_discovery(|_: &Membership, _: &Stop| Ok::<_, BoxError>(()))
            .with_discovery(move |_: &Membership, _: &Stop| {
                let _ended = wait.recv();
                Ok::<_, BoxError>(())
            })
            .start()
            .unwrap();
        assert!(!running.is_finished());
        drop(end);
        while !running.is_finished() {
            thread::yield_now();
        }
        assert!(!running.stop_flag().is_stopped(), "it ended by itself");
        running.join().unwrap();
    });
}

#[test]
fn any_number_of_threads_may_stop_a_cluster_at_once() {
    in_time(|| {
        for _ in 0..50 {
            let alive = alive();
            let running = Cluster::new().with_discovery(Probe::new("a", &alive)).start().unwrap();
            let watch = running.membership().watch();
            thread::scope(|scope| {
                for _ in 0..4 {
                    let stop = running.stop_flag().clone();
                    scope.spawn(move || stop.stop());
                }
                scope.spawn(|| running.stop());
                scope.spawn(|| assert_eq!(watch.iter().count(), 1));
            });
            running.join().unwrap();
            assert_eq!(alive.load(Ordering::SeqCst), 0);
        }
    });
}

#[test]
fn a_discovery_may_follow_a_watch_of_its_own_until_it_is_stopped() {
    in_time(|| {
        let follower = |membership: &Membership, stop: &Stop| {
            let watch = membership.watch();
            loop {
                select! {
                    recv(stop.receiver()) -> _ => return Ok::<_, BoxError>(()),
                    recv(watch.receiver()) -> _ => while let Ok(change) = watch.try_recv() {
                        let shadows = change.active.iter().filter(|peer| !peer.starts_with("shadow-"));
                        membership.add(shadows.map(|peer| format!("shadow-{peer}")));
                    },
                }
            }
        };
        let cluster = Cluster::new().with_discovery(NoDiscovery::new(["a"])).with_discovery(follower);
        let watch = cluster.membership().watch();
        let running = cluster.start().unwrap();
        let shadow = |change: &syncswim::MembershipChange| change.active.iter().any(|p| &**p == "shadow-a");
        assert!(watch.iter().any(|change| shadow(&change)));
        running.stop();
        running.join().unwrap();
    });
}

#[test]
fn a_peer_that_dns_loses_stays_while_a_list_names_it() {
    in_time(|| {
        let (ask, questions) = bounded(0);
        let (answers, answer) = bounded::<Vec<std::net::IpAddr>>(0);
        let resolver = move |_: &str| {
            let over = || io::Error::other("the test is over");
            ask.send(()).map_err(|_| over())?;
            answer.recv().map_err(|_| over())
        };
        let dns = DnsDiscovery::new("peers").interval(Duration::from_millis(1)).resolver(resolver);
        let running = Cluster::new()
            .with_discovery(NoDiscovery::new(["10.0.0.1"]))
            .with_discovery(dns)
            .start()
            .unwrap();
        let membership = running.membership();
        while !membership.snapshot().contains("10.0.0.1") {
            thread::yield_now();
        }
        // When the next question arrives, the answer before it was applied.
        let [one, two] = [1, 2].map(|last| std::net::IpAddr::from([10, 0, 0, last]));
        for found in [vec![one, two], vec![two], vec![two], vec![one], vec![two]] {
            questions.recv().unwrap();
            answers.send(found).unwrap();
        }
        questions.recv().unwrap();
        assert_eq!(membership.snapshot().active().join(" "), "10.0.0.1 10.0.0.2");
        drop((questions, answers));
        running.stop();
        running.join().unwrap();
    });
}

#[test]
#[cfg(target_os = "linux")]
fn no_thread_is_left_after_join() {
    fn threads(name: &str) -> usize {
        let tasks = std::fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|task| std::fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|found| found.trim_end() == name).count()
    }
    in_time(|| {
        let alive = alive();
        let cluster = Cluster::new()
            .with_discovery(Probe::new("gone", &alive))
            .with_discovery(Probe::new("gone", &alive));
        let running = cluster.start().unwrap();
        // A thread sets its own name, and the system lists it for a moment after it was joined.
        while threads("syncswim-gone") != 2 {
            thread::yield_now();
        }
        running.stop();
        running.join().unwrap();
        while threads("syncswim-gone") != 0 {
            thread::yield_now();
        }
    });
}

#[test]
fn a_failed_bind_is_the_error_of_start_even_if_dropping_the_rest_panics() {
    struct Fragile(Result<(), &'static str>);
    impl Drop for Fragile {
        fn drop(&mut self) {
            panic!("while dropping");
        }
    }
    impl Discovery for Fragile {
        fn name(&self) -> Cow<'_, str> {
            "fragile".into()
        }
        fn bind(&mut self) -> Result<(), BoxError> {
            self.0.map_err(Into::into)
        }
        fn start(&mut self, _: &Membership, _: &Stop) -> Result<(), BoxError> {
            Ok(())
        }
    }
    in_time(|| {
        let cluster = Cluster::new().with_discovery(Fragile(Ok(()))).with_discovery(Fragile(Err("taken")));
        let (_membership, watch) = (cluster.membership().clone(), cluster.membership().watch());
        let error = cluster.with_discovery(Fragile(Ok(()))).start().unwrap_err();
        assert_eq!(error.report(), "discovery `fragile` failed: taken");
        assert_eq!(watch.count(), 1, "the watch has ended");
    });
}
