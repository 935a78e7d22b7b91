//! DNS discovery with scripted answers. Each question of the resolver waits for the test, so when the next one arrives the
//! answer before it has been applied, independently of time.

mod support;

use std::{io, net::IpAddr, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};
use proptest::prelude::*;
use support::{LONG, in_time};
use syncswim::{Cluster, ClusterHandle, Discovery, DnsDiscovery, Error, Membership};

type Answer = io::Result<Vec<IpAddr>>;

const MOMENT: Duration = Duration::from_nanos(1);

struct Script {
    // Dropped first: a resolver that waits for an answer would keep the cluster from ending.
    questions: Receiver<String>,
    answers: Sender<Answer>,
    running: ClusterHandle,
}

impl Script {
    /// With one miss as the limit, so that every answer counts as complete.
    fn new(name: &str) -> Self {
        Self::with(|resolver| DnsDiscovery::new(name).misses(1).interval(MOMENT).resolver(resolver))
    }

    fn with<D: Discovery>(make: impl FnOnce(Box<dyn FnMut(&str) -> Answer + Send>) -> D) -> Self {
        let ((ask, questions), (answers, answer)) = (bounded(0), bounded::<Answer>(0));
        let resolver = move |host: &str| {
            let stopped = |_| io::Error::other("the test has ended");
            ask.send(host.to_owned()).map_err(|_| io::Error::other("the test has ended"))?;
            answer.recv().map_err(stopped)?
        };
        let running = Cluster::new().with_discovery(make(Box::new(resolver))).start().unwrap();
        let script = Self { questions, answers, running };
        script.questions.recv_timeout(LONG).unwrap();
        script
    }

    /// Answers, waits for the next question, and returns the active and the left peers then.
    #[track_caller]
    fn answer(&self, answer: io::Result<&str>) -> String {
        let addresses = |list: &str| list.split_whitespace().map(|ip| ip.parse().unwrap()).collect();
        self.answers.send_timeout(answer.map(addresses), LONG).unwrap();
        self.questions.recv_timeout(LONG).unwrap();
        let snapshot = self.membership().snapshot();
        format!("{} | {}", snapshot.active().join(" "), snapshot.left().join(" "))
    }

    fn membership(&self) -> &Membership {
        self.running.membership()
    }

    fn end(self) {
        let Self { running, questions, answers } = self;
        drop((questions, answers));
        running.stop();
        in_time(|| running.join()).unwrap();
    }
}

#[test]
fn vanished_addresses_leave_and_are_removed_when_still_gone() {
    let script = Script::new("peers");
    assert_eq!(script.answer(Ok("10.0.0.2 10.0.0.1 10.0.0.2")), "10.0.0.1 10.0.0.2 | ");
    assert_eq!(script.answer(Ok("10.0.0.2")), "10.0.0.2 | 10.0.0.1");
    assert_eq!(script.answer(Ok("10.0.0.2 10.0.0.3")), "10.0.0.2 10.0.0.3 | ");
    script.end();
}

#[test]
fn by_default_an_address_leaves_after_three_look_ups_without_it_and_failed_ones_do_not_count() {
    let script = Script::with(|resolver| DnsDiscovery::new("peers").interval(MOMENT).resolver(resolver));
    script.answer(Ok("10.0.0.1 10.0.0.2 10.0.0.3"));
    for _ in 0..2 {
        assert_eq!(script.answer(Ok("10.0.0.1 10.0.0.2")), "10.0.0.1 10.0.0.2 10.0.0.3 | ");
        script.answer(Err(io::ErrorKind::TimedOut.into()));
        assert_eq!(script.answer(Ok("")), "10.0.0.1 10.0.0.2 10.0.0.3 | ");
    }
    assert_eq!(script.answer(Ok("10.0.0.1 10.0.0.2")), "10.0.0.1 10.0.0.2 | 10.0.0.3");
    assert_eq!(script.answer(Ok("10.0.0.1 10.0.0.2")), "10.0.0.1 10.0.0.2 | ");
    script.end();
}

#[test]
fn an_address_leaves_sooner_when_its_time_is_over() {
    let dns = || DnsDiscovery::new("peers").interval(MOMENT).misses(1_000_000).ttl(MOMENT);
    let script = Script::with(|resolver| dns().resolver(resolver));
    script.answer(Ok("10.0.0.1 10.0.0.2"));
    assert_eq!(script.answer(Ok("10.0.0.1")), "10.0.0.1 | 10.0.0.2");
    script.end();
}

#[test]
fn no_peer_leaves_if_answers_give_eight_of_fifteen_addresses_by_turns() {
    let script = Script::with(|resolver| DnsDiscovery::new("peers").interval(MOMENT).resolver(resolver));
    let watch = script.membership().watch();
    for at in 0..40 {
        let some =
            (0..8).map(|more| format!("10.0.0.{}", (at * 7 + more) % 15)).collect::<Vec<_>>().join(" ");
        script.answer(Ok(&some));
    }
    assert_eq!(script.membership().snapshot().active().len(), 15);
    script.end();
    assert!(watch.iter().all(|change| change.left.is_empty() && change.removed.is_empty()));
}

#[test]
fn an_address_that_comes_back_before_the_next_lookup_is_active_again() {
    let script = Script::new("peers");
    script.answer(Ok("10.0.0.1 10.0.0.2"));
    assert_eq!(script.answer(Ok("10.0.0.2")), "10.0.0.2 | 10.0.0.1");
    assert_eq!(script.answer(Ok("10.0.0.1")), "10.0.0.1 | 10.0.0.2");
    script.end();
}

#[test]
fn a_failed_lookup_or_an_empty_answer_changes_nothing_and_does_not_count_as_still_gone() {
    let script = Script::new("peers");
    script.answer(Ok("10.0.0.1 10.0.0.2"));
    let before = script.answer(Ok("10.0.0.1"));
    for _ in 0..3 {
        assert_eq!(script.answer(Ok("")), before);
        assert_eq!(script.answer(Err(io::ErrorKind::TimedOut.into())), before);
    }
    assert_eq!(script.membership().majority(), 2);
    assert_eq!(script.answer(Ok("10.0.0.1")), "10.0.0.1 | ");
    script.end();
}

#[test]
fn a_name_with_a_port_gives_peers_that_can_be_dialed() {
    let script = Script::new("peers:7946");
    let peers = script.answer(Ok("10.0.0.1 fd00::1"));
    assert_eq!(peers, "10.0.0.1:7946 [fd00::1]:7946 | ");
    script.end();
}

#[test]
fn an_interval_of_zero_and_a_bad_name_are_errors_of_start() {
    let zero = DnsDiscovery::new("peers").interval(Duration::ZERO);
    let bad = ["peers:http", "http://peers:1", "peers:0", "[::1", "a b", "[fe80::1]:7946"];
    let bad = bad.map(|name| (DnsDiscovery::new(name), "`name`"));
    for (dns, field) in bad.into_iter().chain([(zero, "`interval`")]) {
        let error = Cluster::new().with_discovery(dns).start().unwrap_err().report();
        assert!(error.contains(field), "{error}");
    }
}

#[test]
fn stopping_does_not_wait_for_the_interval() {
    let (asked, first) = bounded(1);
    let resolver = move |_: &str| {
        let _ = asked.try_send(());
        Ok(vec![IpAddr::from([10, 0, 0, 1])])
    };
    let dns = DnsDiscovery::new("peers").interval(Duration::from_secs(86_400)).resolver(resolver);
    let running = Cluster::new().with_discovery(dns).start().unwrap();
    first.recv_timeout(LONG).unwrap();
    in_time(|| drop(running));
}

#[test]
fn the_system_resolves_this_host() {
    in_time(|| {
        let cluster = Cluster::new().with_discovery(DnsDiscovery::new("localhost:80"));
        let watch = cluster.membership().watch();
        let running = cluster.start().unwrap();
        let found = watch.iter().find(|change| !change.is_empty()).unwrap().active;
        assert!(found.iter().all(|peer| ["127.0.0.1:80", "[::1]:80"].contains(&&**peer)), "{found:?}");
        running.stop();
        running.join().unwrap();
    });
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, cases: 64, ..ProptestConfig::default() })]

    /// The whole rule, for the answers that list any address: the last of them lists the active peers, and addresses that
    /// only the one before it lists have left.
    #[test]
    fn the_last_two_answers_with_addresses_decide_the_membership(
        script in prop::collection::vec(prop::option::weighted(0.8, prop::collection::btree_set(1..6u8, 0..4)), 1..30),
    ) {
        let run = Script::new("peers");
        let mut named = [String::new(), String::new()];
        for answer in script {
            let ips = |last: &std::collections::BTreeSet<u8>| {
                last.iter().map(|last| format!("10.0.0.{last}")).collect::<Vec<_>>().join(" ")
            };
            let found = match &answer {
                None => run.answer(Err(io::Error::other("no name server"))),
                Some(last) => run.answer(Ok(&ips(last))),
            };
            if let Some(last) = answer.filter(|last| !last.is_empty()) {
                let [_, before] = named;
                named = [before, ips(&last)];
            }
            let [before, last] = &named;
            let gone = before.split_whitespace().filter(|ip| !last.contains(ip)).collect::<Vec<_>>().join(" ");
            prop_assert_eq!(found, format!("{last} | {gone}"));
        }
        run.end();
    }
}

#[test]
fn the_resolver_is_asked_at_once_for_the_host_alone_with_any_interval() {
    let forms =
        [("peers", "peers"), ("peers:7946", "peers"), ("[fd00::1]:80", "fd00::1"), ("fd00::1", "fd00::1")];
    for (name, host) in forms {
        let (ask, asked) = bounded(1);
        let resolver = move |host: &str| {
            ask.send(host.to_owned()).unwrap();
            Ok(vec![])
        };
        let dns = DnsDiscovery::new(name).interval(Duration::MAX).resolver(resolver);
        let running = Cluster::new().with_discovery(dns).start().unwrap();
        assert_eq!(asked.recv_timeout(LONG).unwrap(), host);
        in_time(|| drop(running));
    }
}

#[test]
fn two_ports_of_one_address_are_two_peers() {
    in_time(|| {
        let here = |_: &str| Ok(vec![IpAddr::from([10, 0, 0, 1])]);
        let cluster = Cluster::new()
            .with_discovery(DnsDiscovery::new("peers:1").resolver(here))
            .with_discovery(DnsDiscovery::new("peers:2").resolver(here));
        let running = cluster.start().unwrap();
        let watch = running.membership().watch();
        let mut told = 0;
        while told < 2 {
            told += watch.recv().unwrap().active.len();
        }
        assert_eq!(running.membership().snapshot().active().join(" "), "10.0.0.1:1 10.0.0.1:2");
    });
}

#[test]
fn an_address_in_every_second_answer_is_never_removed() {
    let script = Script::new("peers");
    let watch = script.membership().watch();
    for _ in 0..20 {
        script.answer(Ok("10.0.0.1 10.0.0.2"));
        assert_eq!(script.answer(Ok("10.0.0.2 10.0.0.3")), "10.0.0.2 10.0.0.3 | 10.0.0.1");
    }
    assert_eq!(script.membership().majority(), 2);
    script.end();
    assert!(watch.iter().all(|change| change.removed.is_empty()));
}

#[test]
fn the_application_may_remove_an_address_until_dns_says_something_new_of_it() {
    let script = Script::new("peers");
    script.answer(Ok("10.0.0.1 10.0.0.2"));
    script.membership().remove(["10.0.0.1"]);
    assert_eq!(script.answer(Ok("10.0.0.1 10.0.0.2")), "10.0.0.2 | ", "DNS repeats itself");
    assert_eq!(script.answer(Ok("10.0.0.2")), "10.0.0.2 | 10.0.0.1", "it vanished: that is a change");
    assert_eq!(script.answer(Ok("10.0.0.1 10.0.0.2")), "10.0.0.1 10.0.0.2 | ");
    script.end();
}

#[test]
fn peers_stay_readable_after_the_stop() {
    let script = Script::new("peers");
    script.answer(Ok("10.0.0.1 10.0.0.2"));
    script.answer(Ok("10.0.0.1"));
    let membership = script.membership().clone();
    script.end();
    assert_eq!((membership.snapshot().active().len(), membership.snapshot().left().len()), (1, 1));
}

#[test]
fn a_resolver_that_panics_ends_the_cluster_with_an_error_that_says_so() {
    in_time(|| {
        let broken = |_: &str| -> Answer { panic!("broken resolver") };
        let dns = DnsDiscovery::new("peers").resolver(broken);
        let error = Cluster::new().with_discovery(dns).start().unwrap().join().unwrap_err();
        assert!(
            matches!(&error, Error::Panicked { what, message, .. } if what == "dns" && message == "broken resolver"),
            "{error}"
        );
    });
}
