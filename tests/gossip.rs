//! A running node over real sockets: behaviour that only sockets and threads show.

#![allow(clippy::disallowed_methods, reason = "tests wait in real time, with deadlines")]

mod support;

use std::{
    net::{Ipv6Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::Mutex,
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};
use support::{LONG, await_that};
use syncswim::{
    Cluster, Discovery, Error, Event, Gossip, GossipConfig, GossipDiscovery, JoinProblem, MemberState,
    Membership, PeerName, Stop, Tags,
};

/// A node that detects crashes within a second. Each test has a cluster name of its own, since tests run at the same time
/// and a port that one of them releases may be taken by another.
fn quick(name: &str) -> GossipConfig {
    let test = std::thread::current().name().unwrap_or("test").to_owned();
    let mut config = GossipConfig::local(name).cluster(test).bind(([127, 0, 0, 1], 0));
    config.swim.probe_interval = Duration::from_millis(100);
    config.swim.probe_timeout = Duration::from_millis(40);
    config
}

/// An address where nothing listens, and nothing can listen while the socket exists, except a node that is given it.
fn nobody_at() -> (Socket, SocketAddr) {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP)).unwrap();
    #[cfg(unix)]
    socket.set_reuse_address(true).unwrap();
    socket.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
    let addr = socket.local_addr().unwrap().as_socket().unwrap();
    (socket, addr)
}

fn addr(node: &Gossip) -> String {
    node.local().addr.to_string()
}

fn cluster(names: &[&str]) -> Vec<Gossip> {
    let nodes: Vec<_> = names.iter().map(|name| Gossip::start(quick(name)).unwrap()).collect();
    for node in &nodes[1..] {
        node.join([addr(&nodes[0])]).unwrap();
    }
    await_that("everybody sees everybody", || nodes.iter().all(|node| live(node) == names.len()));
    nodes
}

fn live(node: &Gossip) -> usize {
    node.members().live().count()
}

fn state(node: &Gossip, name: &str) -> Option<MemberState> {
    node.members().named(name).map(|member| member.state)
}

#[test]
fn members_are_sorted_and_carry_address_and_tags() {
    let nodes = cluster(&["b", "c", "a"]);
    nodes[1].set_tags(Tags::new([("role", "db")]).unwrap()).unwrap();
    await_that("the tags are seen", || {
        nodes.iter().all(|node| node.members().named("c").is_some_and(|c| c.tags.get("role") == Some("db")))
    });
    let members = nodes[0].members();
    assert_eq!(members.iter().map(|m| &*m.name).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(members.named("a").unwrap().addr, nodes[2].local().addr);
    assert_eq!(members.named("nobody"), None);
}

#[test]
fn a_leave_is_seen_as_left_and_a_crash_as_failed() {
    let mut nodes = cluster(&["a", "b", "c", "d"]);
    let events = nodes[0].events();
    nodes.pop().unwrap().shutdown().unwrap();
    await_that("d left", || nodes.iter().all(|node| state(node, "d") == Some(MemberState::Left)));
    nodes.pop().unwrap().abort().unwrap();
    await_that("c failed", || nodes.iter().all(|node| state(node, "c") == Some(MemberState::Failed)));
    let seen: Vec<_> = std::iter::from_fn(|| events.try_recv().ok()).collect();
    let failed =
        |name| seen.iter().any(|event| matches!(event, Event::Failed { member: m, .. } if &*m.name == name));
    assert!(failed("c") && !failed("d"), "{seen:?}");
}

#[test]
fn a_restart_under_the_old_name_is_back_at_another_port_and_at_the_same() {
    let mut nodes = cluster(&["a", "b", "c"]);
    let seed = addr(&nodes[0]);
    for same_port in [false, true] {
        let crashed = nodes.pop().unwrap();
        let old = crashed.local();
        crashed.abort().unwrap();
        let port = if same_port { old.addr.port() } else { 0 };
        let again = Gossip::start(quick("c").bind(([127, 0, 0, 1], port))).unwrap();
        again.join([&seed]).unwrap();
        let new = again.local();
        assert!(new.identity > old.identity);
        nodes.push(again);
        await_that("the new life is seen", || {
            nodes[..2].iter().all(|node| {
                node.members()
                    .named("c")
                    .is_some_and(|c| c.identity >= new.identity && c.addr == new.addr && c.state.is_live())
            })
        });
    }
}

#[test]
fn a_taken_name_is_an_error_of_join_and_the_incumbent_stays() {
    let nodes = cluster(&["a", "b"]);
    let second = Gossip::start(quick("b")).unwrap();
    match second.join([addr(&nodes[0])]) {
        Err(Error::NameTaken { name, addr, .. }) => assert_eq!((&*name, addr), ("b", nodes[1].local().addr)),
        other => panic!("{other:?}"),
    }
    assert_eq!(nodes[0].members().named("b").unwrap().addr, nodes[1].local().addr);
}

#[test]
fn nodes_of_another_cluster_cannot_be_joined() {
    let a = Gossip::start(quick("a")).unwrap();
    let b = Gossip::start(quick("b").cluster("other")).unwrap();
    let error = b.join([addr(&a)]).unwrap_err();
    assert!(matches!(&error, Error::Join { seeds, .. } if *seeds == [addr(&a)]), "{error}");
    assert_eq!((live(&a), live(&b)), (1, 1));
    assert!(a.metrics().dropped_cluster > 0);
}

#[test]
fn ipv6_works_alone_and_beside_ipv4() {
    let a = Gossip::start(quick("a").bind((Ipv6Addr::LOCALHOST, 0))).unwrap();
    let b = Gossip::start(quick("b").bind((Ipv6Addr::LOCALHOST, 0))).unwrap();
    b.join([addr(&a)]).unwrap();
    await_that("they see each other", || live(&a) == 2 && live(&b) == 2);

    // A node that listens on both families is known by its IPv4 address.
    let both = quick("both").bind((Ipv6Addr::UNSPECIFIED, 0)).advertise(([127, 0, 0, 1], 0));
    let both = Gossip::start(both).unwrap();
    let v4 = Gossip::start(quick("v4")).unwrap();
    v4.join([addr(&both)]).unwrap();
    await_that("they see each other", || live(&both) == 2 && live(&v4) == 2);
    let probes = |node: &Gossip| node.metrics().probes;
    let before = (probes(&both), probes(&v4));
    await_that("both probe", || probes(&both) > before.0 + 5 && probes(&v4) > before.1 + 5);
    for node in [both, v4] {
        let metrics = node.metrics();
        let without_datagrams = metrics.probes_failed + metrics.probes_saved_by_stream;
        assert!(without_datagrams * 2 < metrics.probes, "datagrams do not pass: {metrics:?}");
    }
}

#[test]
fn an_unspecified_address_is_never_advertised() {
    let seed = Gossip::start(quick("seed")).unwrap();
    let node = Gossip::start(quick("node").bind(([0, 0, 0, 0], 0)).seed(addr(&seed))).unwrap();
    assert_eq!(node.local().addr.ip().to_string(), "127.0.0.1");
    await_that("they see each other", || live(&seed) == 2 && live(&node) == 2);
}

#[test]
fn addresses_may_be_texts_and_names() {
    let a = Gossip::start(quick("a").bind("localhost:0")).unwrap();
    assert!(a.bound_addr().ip().is_loopback() && a.bound_addr().port() != 0);
    let b = Gossip::start(quick("b").bind("127.0.0.1:0").advertise("localhost")).unwrap();
    assert_eq!(b.local().addr, b.bound_addr());
    let error = Gossip::start(quick("c").bind("no-such-host.invalid:0")).unwrap_err();
    assert!(matches!(&error, Error::Resolve { host, .. } if host == "no-such-host.invalid:0"), "{error}");
    let error = Gossip::start(quick("c").advertise("no-such-host.invalid")).unwrap_err().report();
    assert!(error.contains("it is the `advertise`"), "{error}");
}

/// A pair on one port, as from a service manager.
fn sockets() -> (UdpSocket, TcpListener) {
    let mut tries = (0..100).map(|_| TcpListener::bind("127.0.0.1:0").unwrap());
    tries.find_map(|tcp| Some((UdpSocket::bind(tcp.local_addr().unwrap()).ok()?, tcp))).unwrap()
}

/// As a service manager does with the sockets of a service that is restarted.
#[test]
fn one_node_after_another_runs_on_the_same_sockets() {
    let (udp, tcp) = sockets();
    let at = tcp.local_addr().unwrap();
    let peer = Gossip::start(quick("peer")).unwrap();
    for life in 0..3 {
        let lent = (udp.try_clone().unwrap(), tcp.try_clone().unwrap());
        let node = Gossip::builder(quick("a")).sockets(lent.0, lent.1).start().unwrap();
        assert_eq!(peer.join([at.to_string()]).unwrap(), 1, "life {life}");
        await_that("they see each other", || live(&node) == 2 && live(&peer) == 2);
        let before = node.metrics().datagrams_received;
        await_that("datagrams come", || node.metrics().datagrams_received > before + 3);
        node.shutdown().unwrap();
        await_that("it left", || state(&peer, "a") == Some(MemberState::Left));
    }
}

#[test]
fn nodes_run_on_sockets_that_are_handed_over() {
    let (udp, tcp) = sockets();
    let at = tcp.local_addr().unwrap();
    udp.set_nonblocking(true).unwrap();
    tcp.set_nonblocking(true).unwrap();
    // `bind` is ignored.
    let a = Gossip::builder(quick("a").bind("192.0.2.1:1")).sockets(udp, tcp);
    let events = a.events();
    let a = a.start().unwrap();
    assert_eq!((a.bound_addr(), a.local().addr), (at, at));
    assert!(matches!(events.try_recv(), Ok(Event::Joined { member, .. }) if member.addr == at));

    let (udp, tcp) = sockets();
    let known_as = tcp.local_addr().unwrap().to_string();
    let discovery = GossipDiscovery::new(quick("b")).sockets(udp, tcp).join(at.to_string());
    let b = Cluster::new().with_discovery(discovery).start().unwrap();
    await_that("they see each other", || live(&a) == 2 && b.membership().snapshot().active().len() == 2);
    assert!(b.membership().snapshot().active().iter().any(|peer| **peer == *known_as));
    let before = a.metrics().probes;
    await_that("they probe", || a.metrics().probes > before + 3);
    assert_eq!(a.metrics().probes_failed, 0, "{:?}", a.metrics());
    b.stop();
    b.join().unwrap();
    await_that("it is seen to leave", || state(&a, "b") == Some(MemberState::Left));
    a.shutdown().unwrap();
    // Nothing occupies the port any more.
    TcpListener::bind(at).unwrap();

    let (udp, _) = sockets();
    let (_, tcp) = sockets();
    let error = Gossip::builder(quick("c")).sockets(udp, tcp).start().unwrap_err().to_string();
    assert!(
        error.contains("`sockets` cannot be used: UDP is bound to")
            && error.contains("bind them to the same"),
        "{error}"
    );
    let (udp, tcp) = sockets();
    let error = Gossip::builder(quick("c").advertise("[fd00::1]:1"))
        .sockets(udp, tcp)
        .start()
        .unwrap_err()
        .to_string();
    assert!(error.contains("`advertise` is [fd00::1]:1, but `bind` is 127.0.0.1, of IPv4 alone"), "{error}");
}

#[test]
fn a_seed_that_comes_up_later_is_joined_then() {
    let (kept, free) = nobody_at();
    let early = Gossip::start(quick("early").seed(free.to_string())).unwrap();
    assert_eq!(live(&early), 1);
    // Linux lets the node listen on the port as well, and nothing else.
    let kept = cfg!(target_os = "linux").then_some(kept);
    let late = Gossip::start(quick("late").bind(free)).unwrap();
    drop(kept);
    await_that("they see each other", || live(&early) == 2 && live(&late) == 2);
}

#[test]
fn a_node_that_is_its_own_seed_is_a_cluster_of_one() {
    let node = Gossip::start(quick("a")).unwrap();
    assert_eq!(node.join([addr(&node)]).unwrap(), 0);
    assert_eq!(live(&node), 1);
}

#[test]
fn starts_and_joins_that_cannot_work_give_clear_errors() {
    let taken = Gossip::start(quick("a")).unwrap();
    let error = Gossip::start(quick("b").bind(taken.local().addr)).unwrap_err();
    assert!(error.to_string().starts_with(&format!("cannot bind {}", taken.local().addr)), "{error}");

    let error = taken.join(["no-such-host.invalid:1"]).unwrap_err();
    assert!(matches!(&error, Error::Resolve { host, .. } if host == "no-such-host.invalid:1"), "{error}");

    // That one seed is the node itself is no success while another is unknown.
    let error = taken.join([addr(&taken), "no-such-host.invalid:1".into()]).unwrap_err();
    assert!(matches!(&error, Error::Resolve { host, .. } if host == "no-such-host.invalid:1"), "{error}");

    let (_kept, free) = nobody_at();
    let error = taken.join([free.to_string()]).unwrap_err();
    assert!(
        matches!(&error, Error::Join { source: JoinProblem::Refused { addr, .. }, .. } if *addr == free),
        "{error}"
    );

    let bad: [(&str, GossipConfig); 4] = [
        ("name", quick("")),
        ("cluster", quick("a").cluster("")),
        ("seeds", quick("a").seed("host:notaport")),
        ("advertise", quick("a").advertise(([0, 0, 0, 0], 1))),
    ];
    for (field, config) in bad {
        let error = Gossip::start(config).unwrap_err().to_string();
        assert!(error.contains(&format!("`{field}`")), "{error}");
    }

    let error = Tags::new([("key", "x".repeat(600))]).unwrap_err();
    assert!(matches!(error, Error::TooLarge { size: 605.., limit: 512, .. }), "{error}");

    let cluster = Cluster::new().with_discovery(GossipDiscovery::new(quick("b").bind(taken.local().addr)));
    let error = cluster.start().unwrap_err().report();
    assert!(error.contains("`gossip`") && error.contains("cannot bind"), "{error}");

    let joins: [(&[&str], &str); 5] = [
        (
            &["192.0.2.7:9"],
            "which is at 192.0.2.7:9, on another host, which `bind` 127.0.0.1 does not reach; bind",
        ),
        (&[], "`seeds` has nobody to join"),
        (&["127.0.0.1:1", "http://db:1"], "`seeds` has \"http://db:1\", which is a URL"),
        (&["[::1]:1"], "`seeds` has \"[::1]:1\", which is at [::1]:1, and `bind` 127.0.0.1 is of IPv4 alone"),
        (&["[fe80::1]:7946"], "cannot be dialed without its zone"),
    ];
    for (seeds, said) in joins {
        let error = taken.join(seeds).unwrap_err().to_string();
        assert!(error.contains(said), "{error}");
    }
}

#[test]
fn a_bounded_number_of_attempts_ends_with_an_error_that_names_the_seed() {
    let (_kept, free) = nobody_at();
    let discovery = GossipDiscovery::new(quick("a")).join(free.to_string()).attempts(2);
    let running = Cluster::new().with_discovery(discovery).start().unwrap();
    let error = running.join().unwrap_err().report();
    assert!(error.contains("`gossip`") && error.contains(&free.to_string()), "{error}");
}

#[test]
fn a_stopped_node_says_so() {
    let node = Gossip::start(quick("a")).unwrap();
    let events = node.events();
    node.shutdown().unwrap();
    node.shutdown().unwrap();
    assert!(matches!(node.join(["127.0.0.1:1"]), Err(Error::Stopped { .. })));
    assert!(matches!(node.set_tags(Tags::default()), Err(Error::Stopped { .. })));
    assert!(matches!(node.leave(), Err(Error::Stopped { .. })));
    while events.recv().is_ok() {}
}

#[test]
fn a_node_that_has_left_says_so_and_does_nothing_more() {
    let nodes = cluster(&["a", "b"]);
    let tags = || Tags::new([("role", "db")]).unwrap();
    nodes[1].leave().unwrap();
    assert!(matches!(nodes[1].set_tags(tags()), Err(Error::Left { .. })));
    assert!(matches!(nodes[1].join([addr(&nodes[0])]), Err(Error::Left { .. })));
    assert_eq!(nodes[1].local().tags, Tags::default());
    nodes[1].leave().unwrap();
    nodes[1].shutdown().unwrap();
    assert!(matches!(nodes[1].set_tags(tags()), Err(Error::Stopped { .. })));
}

#[test]
fn callers_that_shut_a_node_down_at_the_same_time_wait_for_the_same_end() {
    let nodes = cluster(&["a", "b"]);
    let port = nodes[1].local().addr;
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                nodes[1].shutdown().unwrap();
                nodes[1].abort().unwrap();
                assert!(TcpStream::connect(port).is_err(), "the listener went with its thread");
            });
        }
    });
}

#[test]
fn events_are_read_by_reference_until_the_node_ends() {
    let node = Gossip::start(quick("a")).unwrap();
    let (members, events) = node.follow();
    assert_eq!(members.iter().map(|member| &*member.name).collect::<Vec<_>>(), ["a"]);
    node.set_tags(Tags::new([("role", "db")]).unwrap()).unwrap();
    await_that("the tags are told", || !events.receiver().is_empty());
    node.shutdown().unwrap();
    let mut told = 0;
    for event in &events {
        told += usize::from(matches!(event, Event::Updated { .. }));
    }
    assert_eq!(told, 1);
}

/// Stores the warnings of the node `logged`.
struct Log(Mutex<Vec<String>>);

static LOG: Log = Log(Mutex::new(Vec::new()));

impl log::Log for Log {
    fn enabled(&self, _: &log::Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &log::Record<'_>) {
        let line = record.args().to_string();
        if line.contains("node=logged") && record.level() == log::Level::Warn {
            self.0.lock().unwrap().push(line);
        }
    }

    fn flush(&self) {}
}

#[test]
fn the_same_problem_with_seeds_is_logged_once_with_the_seed_the_reason_and_a_remedy() {
    log::set_logger(&LOG).unwrap();
    log::set_max_level(log::LevelFilter::Warn);
    let (_kept, free) = nobody_at();
    let mut config =
        quick("logged").seed(free.to_string()).seed("no-such-host.invalid:1").seed("file:/no/such");
    config.swim.seed_max_delay = Duration::from_millis(10);
    let running = Cluster::new().with_discovery(GossipDiscovery::new(config).attempts(20)).start().unwrap();
    assert!(running.join().is_err(), "all attempts were made");
    let lines = LOG.0.lock().unwrap();
    let of = |what: &str| lines.iter().filter(|line| line.contains(what)).count();
    assert_eq!(
        [of("seeds unreached"), of("no-such-host.invalid"), of("file:/no/such")],
        [1, 1, 1],
        "{lines:#?}"
    );
    let told = [
        format!("seeds unreached seeds=3 last={free} problem=\"nobody listens at {free}; start a node there"),
        "hint=\"check the spelling and the resolver".into(),
        "seed unresolved seed=file:/no/such error=\"No such file or directory (os error 2)\" hint=\"write the"
            .into(),
    ];
    assert!(told.iter().all(|told| of(told) == 1), "{lines:#?}");
}

#[test]
fn the_membership_follows_the_members_by_address_name_or_tag() {
    let start = |name: &str, naming: PeerName, seed: Option<&SocketAddr>| {
        let config = quick(name).tags(Tags::new([("url", format!("http://{name}"))]).unwrap());
        let mut discovery = GossipDiscovery::new(config).peer_name(naming);
        if let Some(seed) = seed {
            discovery = discovery.join(seed.to_string());
        }
        let handle = discovery.gossip();
        let running = Cluster::new().with_discovery(discovery).start().unwrap();
        let addr = handle.get().unwrap().local().addr;
        (running, addr)
    };
    let (a, seed) = start("a", PeerName::Address, None);
    let (b, b_addr) = start("b", PeerName::Name, Some(&seed));
    let (c, _) = start("c", PeerName::Tag { key: "url".into() }, Some(&seed));
    let peers = |running: &syncswim::ClusterHandle| running.membership().snapshot().active().to_vec();
    await_that("all are listed", || [&a, &b, &c].iter().all(|running| peers(running).len() == 3));
    assert!(peers(&a).iter().any(|peer| **peer == *b_addr.to_string()));
    assert_eq!(peers(&b).iter().map(|p| &**p).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert_eq!(peers(&c).iter().map(|p| &**p).collect::<Vec<_>>(), ["http://a", "http://b", "http://c"]);

    let watch = a.membership().watch();
    assert_eq!(watch.recv().unwrap().active.len(), 3);
    b.stop();
    b.join().unwrap();
    let change = watch.recv_timeout(LONG).unwrap();
    assert_eq!(change.left, [&*b_addr.to_string()]);
    assert_eq!(a.membership().majority(), 2);
    drop((a, c));
    while watch.recv().is_ok() {}
}

#[test]
fn a_peer_that_failed_is_told_from_one_that_left() {
    let start = |name: &str, leaves, seed: Option<&SocketAddr>| {
        let mut discovery = GossipDiscovery::new(quick(name)).peer_name(PeerName::Name).leave_on_stop(leaves);
        if let Some(seed) = seed {
            discovery = discovery.join(seed.to_string());
        }
        let handle = discovery.gossip();
        let running = Cluster::new().with_discovery(discovery).start().unwrap();
        let addr = handle.get().unwrap().local().addr;
        (running, addr)
    };
    let (a, seed) = start("a", true, None);
    let [b, c] = [("b", true), ("c", false)].map(|(name, leaves)| start(name, leaves, Some(&seed)).0);
    await_that("all are listed", || a.membership().snapshot().active().len() == 3);
    let watch = a.membership().watch();
    for running in [b, c] {
        running.stop();
        running.join().unwrap();
    }
    await_that("both are gone", || a.membership().snapshot().left().join(" ") == "b c");
    assert_eq!(a.membership().snapshot().failed().join(" "), "c");
    drop(a);
    let (mut failed, mut left) = (String::new(), Vec::new());
    for change in &watch {
        failed += &change.failed.concat();
        left.extend(change.left.iter().map(|peer| peer.to_string()));
        assert_eq!(change.no_longer_failed, []);
    }
    left.sort_unstable();
    assert_eq!((failed.as_str(), left.join(" ")), ("c", "b c".into()));
}

#[test]
fn a_node_that_left_before_the_discovery_starts_is_never_told_as_active_but_counts() {
    let mut discovery = GossipDiscovery::new(quick("a")).peer_name(PeerName::Name);
    discovery.bind().unwrap();
    let handle = discovery.gossip();
    let node = handle.get().unwrap();
    let gone = Gossip::start(quick("gone").seed(addr(node))).unwrap();
    await_that("it is there", || live(node) == 2);
    gone.shutdown().unwrap();
    await_that("it has left", || state(node, "gone") == Some(MemberState::Left));

    let (membership, stop) = (Membership::new(), Stop::new());
    let watch = membership.watch();
    std::thread::scope(|scope| {
        let running = scope.spawn(|| discovery.start(&membership, &stop));
        await_that("all are listed", || membership.snapshot().peers().len() == 2);
        stop.stop();
        running.join().unwrap().unwrap();
    });
    assert_eq!(membership.snapshot().peers().join(" "), "a gone");
    assert_eq!(membership.majority(), 2);
    drop(membership);
    let flashes = watch.iter().filter(|change| change.active.contains("gone")).count();
    assert_eq!(flashes, 0);
}

#[test]
fn a_node_that_is_not_allowed_is_neither_heard_nor_called_nor_believed() {
    let start = |name: &str, networks: &[&str]| {
        let networks = networks.iter().map(|network| network.parse().unwrap());
        let config = GossipConfig::local(name).bind(([127, 0, 0, 1], 0));
        Gossip::start(config.allow(networks))
    };
    let error = start("elsewhere", &["10.0.0.0/8"]).unwrap_err();
    assert!(error.to_string().contains("`allow`"), "nobody would believe that we are there: {error}");
    let start = |name: &str, networks: &[&str]| start(name, networks).unwrap();
    let (open, closed) = (start("open", &["10.0.0.0/8", "127.0.0.0/8"]), start("closed", &[]));
    let [open_addr, closed_addr] = [&open, &closed].map(|node| node.local().addr.to_string());
    assert!(matches!(open.join([&closed_addr]), Err(Error::Join { .. })), "nobody answers");
    let refused = closed.metrics().dropped_not_allowed;
    assert!(refused >= 1, "a stream was refused");
    std::net::UdpSocket::bind("127.0.0.1:0").unwrap().send_to(&[1], &closed_addr).unwrap();
    await_that("a datagram is refused", || closed.metrics().dropped_not_allowed > refused);
    let error = closed.join([&open_addr]).unwrap_err();
    assert!(error.to_string().contains("`allow`") && error.to_string().contains(&open_addr), "{error}");
    let third = start("third", &["127.0.0.0/8"]);
    third.join([&open_addr]).unwrap();
    assert_eq!(third.members().len(), 2);
}

/// Others know a member by its address, so its streams have to leave from that address too.
#[test]
#[cfg(target_os = "linux")]
fn a_node_that_is_bound_to_an_address_connects_from_it() {
    let seed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let config = quick("a").bind(([127, 0, 0, 2], 0)).seed(seed.local_addr().unwrap().to_string());
    let node = Gossip::start(config).unwrap();
    let (_, from) = seed.accept().unwrap();
    assert_eq!(from.ip(), node.local().addr.ip());
}

/// A join counts once a member reaches this node, and not as soon as a seed answers.
#[test]
fn attempts_run_out_for_a_node_that_no_member_can_reach() {
    let seed = Gossip::start(quick("seed")).unwrap();
    let (_nobody, nowhere) = nobody_at();
    let config = quick("odd").advertise(nowhere);
    let discovery = GossipDiscovery::new(config).join(addr(&seed)).attempts(2);
    let handle = discovery.gossip();
    let running = Cluster::new().with_discovery(discovery).start().unwrap();
    let events = handle.get().unwrap().events();
    let error = running.join().unwrap_err();
    assert!(
        error.report().contains(&format!("nobody can reach this node at {nowhere}")),
        "{}",
        error.report()
    );
    let lost = |event: Event| match event {
        Event::ReachabilityLost { problem, .. } => problem.to_string().contains("check `advertise`"),
        _ => false,
    };
    assert!(std::iter::from_fn(|| events.try_recv().ok()).any(lost), "and it is an event");
    assert_eq!(live(&seed), 1);
}
