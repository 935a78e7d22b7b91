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

/// Counts those of its kind that are alive, and does what it is told.
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
        assert_eq!(error.to_string(), "discovery `taken` failed: the port is taken");
        assert_eq!(alive.load(Ordering::SeqCst), 0);
        assert_eq!(watch.count(), 1, "the watch has ended");
        assert!(membership.snapshot().peers().is_empty());
    });
}

#[test]
fn an_error_of_ours_is_wrapped_and_still_there() {
    let dns = DnsDiscovery::new("peers").interval(Duration::ZERO);
    let error = Cluster::new().with_discovery(dns).start().unwrap_err();
    let source = error.source().unwrap().downcast_ref::<Error>();
    assert!(matches!(source, Some(Error::Config { field: "interval", .. })));
    assert!(
        error.to_string().starts_with("discovery `dns` failed: bad configuration: `interval`"),
        "{error}"
    );
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
                matches!(&error, Error::Panicked { what, message } if what == "bad" && message == expected),
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
fn an_empty_fixed_list_waits_for_the_stop_like_any_other() {
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
