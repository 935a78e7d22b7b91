//! Behaviour of a running node that only its internals show.

use super::*;

#[test]
fn seeds_are_remembered_once_they_were_joined_and_not_before() {
    let (a, b) = (start("a"), start("b"));
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = closed.local_addr().unwrap();
    drop(closed);
    for at in 0..100 {
        b.join([format!("no-such-host-{at}.invalid:1")]).unwrap_err();
    }
    b.join([silent.to_string()]).unwrap_err();
    assert_eq!(b.running.seeds.to_vec(), Vec::<String>::new());
    let addr = a.local().addr.to_string();
    b.join([&addr]).unwrap();
    assert_eq!(b.running.seeds.to_vec(), [addr]);
}

fn start(name: &str) -> Gossip {
    Gossip::start(GossipConfig::local(name).bind(([127, 0, 0, 1], 0))).unwrap()
}

#[test]
fn a_node_lives_until_its_last_handle_is_dropped() {
    let a = start("a");
    let (b, port) = (a.clone(), a.bound_addr());
    drop(a);
    assert!(!b.running.node.stop.is_stopped());
    assert_eq!((b.bound_addr(), b.members().len()), (port, 1));
    let stop = b.running.node.stop.clone();
    drop(b);
    assert!(stop.is_stopped());
    let udp = std::net::UdpSocket::bind(port);
    assert!(udp.is_ok(), "its sockets are closed: {udp:?}");
}

#[test]
fn a_shutdown_by_any_handle_ends_the_node_for_all() {
    let a = start("a");
    let handles: Vec<_> = (0..3).map(|_| a.clone()).collect();
    std::thread::scope(|scope| {
        handles.into_iter().for_each(|handle| drop(scope.spawn(move || handle.shutdown().unwrap())));
    });
    assert!(matches!(a.join(["127.0.0.1:9"]), Err(Error::Stopped)));
    assert!(matches!(a.leave(), Err(Error::Stopped)));
    a.shutdown().unwrap();
}

#[test]
fn a_subscription_from_before_the_start_misses_nothing() {
    use crate::Event;

    let a = start("a");
    let config = GossipConfig::local("b").bind(([127, 0, 0, 1], 0)).seed(a.local().addr.to_string());
    let builder = Gossip::builder(config);
    let events = builder.events();
    let b = builder.start().unwrap();
    let joined = events.iter().filter_map(|event| match event {
        Event::Joined { member, .. } => Some(member.name.to_string()),
        _ => None,
    });
    assert_eq!(joined.take(2).collect::<Vec<_>>(), ["b", "a"]);
    drop(b);
    assert!(events.into_iter().all(|event| !matches!(event, Event::Joined { .. })), "and the end is told");
}

#[test]
fn a_caller_that_waits_for_members_returns_when_they_are_there_when_they_are_late_and_when_the_node_ends() {
    let a = start("a");
    a.wait_for_members(1, Duration::ZERO).unwrap();
    let late = a.wait_for_members(2, Duration::from_millis(20)).unwrap_err();
    assert!(matches!(late, Error::Timeout { .. }), "{late}");
    assert!(late.to_string().contains("2 live members, this node included: there are 1"), "{late}");
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| a.wait_for_members(2, Duration::MAX));
        let config = GossipConfig::local("b").bind(([127, 0, 0, 1], 0)).seed(a.local().addr.to_string());
        let b = Gossip::start(config).unwrap();
        waiter.join().unwrap().unwrap();
        b.wait_for_members(2, Duration::from_secs(10)).unwrap();
        let status = b.status();
        assert_eq!((status.standing, status.live), (Standing::Joined, 2));
        assert!(b.probe_stats("a").is_some() && b.probe_stats("b").is_none());
        let waiter = scope.spawn(|| a.wait_for_members(3, Duration::MAX));
        a.shutdown().unwrap();
        assert!(matches!(waiter.join().unwrap(), Err(Error::Left | Error::Stopped)));
    });
    assert!(matches!(a.wait_for_members(1, Duration::MAX), Err(Error::Stopped)));
}

#[test]
fn a_caller_that_waits_for_members_of_a_leaving_node_gets_the_error_left() {
    let a = start("a");
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| a.wait_for_members(2, Duration::MAX));
        a.leave().unwrap();
        assert!(matches!(waiter.join().unwrap(), Err(Error::Left)));
    });
    assert!(matches!(a.wait_for_members(2, Duration::MAX), Err(Error::Left)));
    assert_eq!((a.status().standing, a.status().live), (Standing::Leaving, 0));
}

#[test]
fn an_unconfirmed_leave_is_logged() {
    let a = start("a");
    let mut config = GossipConfig::local("b").bind(([127, 0, 0, 1], 0));
    config.swim.leave_timeout = Duration::from_millis(50);
    let b = Gossip::start(config).unwrap();
    b.join([a.local().addr.to_string()]).unwrap();
    a.abort().unwrap();
    let lines = crate::log_line::capture::lines(|| b.shutdown().unwrap());
    assert!(lines[0].starts_with("leave unconfirmed error=") && lines[0].ends_with(" node=b"), "{lines:?}");
}

#[test]
fn status_and_explanation_of_an_ended_node_say_that_it_has_ended() {
    for ends_by_leaving in [true, false] {
        let (a, b) = (start("a"), start("b"));
        b.join([a.local().addr.to_string()]).unwrap();
        if ends_by_leaving {
            b.shutdown().unwrap()
        } else {
            b.abort().unwrap()
        }
        let (status, explanation) = (b.status(), b.explain("b"));
        assert_eq!((&status.standing, status.live), (&Standing::Ended, 1));
        assert_eq!(explanation.status, status);
        assert!(explanation.to_string().contains("\nthis node: ended, 1 live"), "{explanation}");
    }
}

/// A node with a key and a wall clock of its own.
#[cfg(feature = "encryption")]
fn start_by(wall: fn() -> u64, name: &str, seed: Option<&Gossip>) -> Gossip {
    use crate::gossip::sockets::Sockets;

    let mut config = GossipConfig::local(name).bind(([127, 0, 0, 1], 0));
    config = config.keyring(&crate::Keyring::new(Key::from([1; 32])));
    config.seeds.extend(seed.map(|seed| seed.local().addr.to_string()));
    let sockets = Sockets::bind(&config).unwrap();
    let (running, mut threads) = Running::assemble(config, sockets, Arc::default()).unwrap();
    threads.clock.seal.read_wall(wall);
    running.node.list_itself();
    running.spawn(threads).unwrap();
    Gossip { running: Arc::new(running) }
}

#[cfg(feature = "encryption")]
#[test]
fn a_node_whose_wall_clock_is_wrong_knows_it_and_the_others_know_whose_it_is() {
    use crate::{gossip::clock::wall_millis, swim::WrongClock};

    let right = start_by(wall_millis, "right", None);
    let other = start_by(wall_millis, "other", Some(&right));
    let wrong = start_by(|| wall_millis() + 7_000, "wrong", Some(&right));
    let all = [&right, &other, &wrong];
    let deadline = blocking::now() + Duration::from_secs(60);
    let compared = |node: &&Gossip| node.status().clocks.is_some_and(|clocks| clocks.compared == 2);
    while !all.iter().all(compared) {
        assert!(blocking::now() < deadline, "{:?}", all.map(Gossip::status));
        assert!(!right.running.node.stop.wait(Duration::from_millis(20)));
    }
    let near = |ms: i64, of: i64| (of - 1_500..=of + 100).contains(&ms);
    for node in [&right, &other] {
        let clocks = node.status().clocks.unwrap();
        assert!(clocks.off == 1 && near(clocks.largest_ms, 7_000), "{clocks:?}");
        assert_eq!(clocks.wrong, Some(WrongClock::Members));
        assert!(near(node.probe_stats("wrong").unwrap().clock_ahead_ms.unwrap(), 7_000));
        let text = node.explain("wrong").to_string();
        assert!(
            text.contains("; clock +") && text.contains("; clocks of 1 of 2 members off, at most +"),
            "{text}"
        );
    }
    assert!(near(right.probe_stats("other").unwrap().clock_ahead_ms.unwrap(), 0));
    let clocks = wrong.status().clocks.unwrap();
    let Some(WrongClock::Own { ahead_ms }) = clocks.wrong else { panic!("{clocks:?}") };
    assert!(near(-ahead_ms, -7_000) && clocks.off == 2, "{clocks:?}");
    assert!(wrong.status().to_string().contains("s from most members'"), "{}", wrong.status());
    let metrics = wrong.metrics();
    assert_eq!((metrics.clock_difference, metrics.clocks_off), (7, 2));
}
