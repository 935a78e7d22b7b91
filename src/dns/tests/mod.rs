//! Look-ups against a name server in this process.

mod hostile;
mod server;

use std::{
    collections::HashSet,
    io::ErrorKind,
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use simple_dns::RCODE;

use self::server::{Asked, DRIPS, Server};
use super::*;
use crate::{Cluster, DnsDiscovery};

/// Long enough for any machine.
const LONG: Duration = Duration::from_secs(30);
const SHORT: Duration = Duration::from_millis(100);

fn conf(servers: &[&Server]) -> Conf {
    let servers = servers.iter().map(|server| server.addr).collect();
    Conf { servers, search: Vec::new(), ndots: 1, timeout: LONG, attempts: 1 }
}

fn ask(text: &str, conf: &Conf) -> std::io::Result<Lookup> {
    look_up(&Query::parse(text).unwrap().unwrap(), conf, &|| false)
}

/// The addresses found, and whether they are all.
fn found(text: &str, conf: &Conf) -> (String, bool) {
    let lookup = ask(text, conf).unwrap();
    let addr = |found: &Found| match found.port {
        Some(port) => std::net::SocketAddr::new(found.ip, port).to_string(),
        None => found.ip.to_string(),
    };
    (lookup.found.iter().map(addr).collect::<Vec<_>>().join(" "), lookup.partial.is_none())
}

fn all(found: &str) -> (String, bool) {
    (found.into(), true)
}

fn some(found: &str) -> (String, bool) {
    (found.into(), false)
}

#[test]
fn addresses_of_both_families_are_found_with_their_times_to_live() {
    let zone = ["db.test A 10.0.0.2", "db.test A 10.0.0.1", "db.test AAAA fd00::1", "other.test A 10.0.0.9"];
    let server = Server::new(move |asked| vec![asked.answer_of(&zone)]);
    let conf = conf(&[&server]);
    assert_eq!(found("dns+db.test", &conf), all("10.0.0.1 10.0.0.2 fd00::1"));
    assert_eq!(found("dns+DB.test.:7946", &conf), all("10.0.0.1:7946 10.0.0.2:7946 [fd00::1]:7946"));
    let lookup = ask("dns+db.test", &conf).unwrap();
    assert!(lookup.found.iter().all(|found| found.ttl == Some(Duration::from_secs(60))));
    assert_eq!(found("dns+no-such.test", &conf), all(""));
}

#[test]
fn services_have_the_ports_of_their_records_and_addresses_that_come_along_or_are_asked_for() {
    let zone = ["a.test AAAA fd00::1", "b.test A 10.0.0.2", "b.test AAAA fd00::2"];
    let server = Server::new(move |asked| {
        vec![match asked.kind {
            "SRV" => asked.answer(&[
                "_g._tcp.test SRV 1001 a.test",
                "_g._tcp.test SRV 1002 b.test",
                "_g._tcp.test SRV 0 c.test",
                "_g._tcp.test SRV 5 .",
                "+a.test A 10.0.0.1",
                "+unasked.test A 10.0.0.66",
            ]),
            _ => asked.answer_of(&zone),
        }]
    });
    let conf = conf(&[&server]);
    assert_eq!(
        found("dnssrv+_g._tcp.test", &conf),
        all("10.0.0.1:1001 10.0.0.2:1002 [fd00::1]:1001 [fd00::2]:1002")
    );
    let asked: Vec<_> =
        server.asked().into_iter().map(|asked| format!("{} {}", asked.name, asked.kind)).collect();
    assert_eq!(
        asked,
        ["_g._tcp.test SRV", "a.test AAAA", "b.test A", "b.test AAAA"],
        "a family that did not come along is asked for"
    );
    assert_eq!(found("dnssrv+_g._tcp.test:9", &conf).0, "10.0.0.1:9 10.0.0.2:9 [fd00::1]:9 [fd00::2]:9");
}

#[test]
fn an_alias_is_followed_within_an_answer_and_beyond_and_one_without_end_is_given_up() {
    let zone = ["b.test A 10.0.0.1", "c.test CNAME b.test", "x.test CNAME y.test", "y.test CNAME x.test"];
    let server = Server::new(move |asked| {
        vec![match &*asked.name {
            "a.test" if asked.kind == "A" => {
                asked.answer(&["a.test CNAME b.test", "b.test A 10.0.0.1", "z.test A 10.0.0.9"])
            }
            "loop.test" => asked.answer(&["loop.test CNAME hoop.test", "hoop.test CNAME loop.test"]),
            _ => asked.answer_of(&zone),
        }]
    });
    let conf = conf(&[&server]);
    assert_eq!(found("dns+a.test", &conf).0, "10.0.0.1");
    assert_eq!(found("dns+c.test", &conf).0, "10.0.0.1");
    for endless in ["dns+x.test", "dns+loop.test"] {
        let error = ask(endless, &conf).unwrap_err().to_string();
        assert!(error.contains("alias without end"), "{error}");
    }
    assert!(server.asked().len() < 60, "{} questions", server.asked().len());
}

#[test]
fn a_truncated_answer_is_asked_for_over_tcp_and_where_that_fails_it_is_known_to_be_a_part() {
    let many: Vec<_> = (0..200).map(|at| format!("db.test A 10.0.1.{at}")).collect();
    let server = Server::new(move |asked| match (asked.kind, asked.tcp) {
        ("A", false) => vec![asked.truncated(&["db.test A 10.0.1.1"])],
        ("A", true) => vec![asked.answer(&many.iter().map(String::as_str).collect::<Vec<_>>())],
        _ => vec![asked.answer(&[])],
    });
    let lookup = ask("dns+db.test", &conf(&[&server])).unwrap();
    assert_eq!((lookup.found.len(), lookup.partial), (200, None));
    let broken = Server::new(|asked| match asked.tcp {
        false => vec![asked.truncated(&["db.test A 10.0.1.1"])],
        true => vec![b"nonsense".to_vec()],
    });
    assert_eq!(found("dns+db.test", &conf(&[&broken])), some("10.0.1.1"));
}

#[test]
fn an_answer_is_partial_if_one_of_several_questions_fails() {
    let server = Server::new(|asked| {
        vec![match (&*asked.name, asked.kind) {
            ("_g._tcp.test", _) => asked.answer(&["_g._tcp.test SRV 1 a.test", "_g._tcp.test SRV 2 b.test"]),
            ("a.test", "A") => asked.answer(&["a.test A 10.0.0.1"]),
            ("a.test", _) => asked.answer(&[]),
            ("half.test", "A") => asked.answer(&["half.test A 10.0.0.1"]),
            _ => asked.fail(RCODE::ServerFailure),
        }]
    });
    let conf = conf(&[&server]);
    assert_eq!(found("dns+half.test", &conf), some("10.0.0.1"));
    assert_eq!(found("dnssrv+_g._tcp.test", &conf), some("10.0.0.1:1"));
    let error = ask("dns+none.test", &conf).unwrap_err().to_string();
    assert!(error.contains("ServerFailure") && error.contains(&server.addr.to_string()), "{error}");
}

#[test]
fn names_are_looked_for_in_the_search_domains() {
    let zone = ["db.svc.test A 10.0.0.1", "db.other.test A 10.0.0.2"];
    let server = Server::new(move |asked| vec![asked.answer_of(&zone)]);
    let search = ["none.test", "svc.test", "other.test"].map(String::from).to_vec();
    let conf = Conf { search, ..conf(&[&server]) };
    assert_eq!(found("dns+db", &conf), all("10.0.0.1"));
    assert_eq!(found("dns+db.", &conf), all(""));
    let names: Vec<_> =
        server.asked().into_iter().filter(|asked| asked.kind == "A").map(|asked| asked.name).collect();
    assert_eq!(names, ["db.none.test", "db.svc.test", "db"]);
    let ndots = Conf { ndots: 3, ..conf };
    assert_eq!(ndots.candidates("a.b")[0], "a.b.none.test");
}

#[test]
fn the_root_as_search_domain_changes_no_answer() {
    let server = Server::new(move |asked| vec![asked.answer_of(&["db A 10.0.0.1"])]);
    let conf = Conf::parse("search .\n").with_servers(vec![server.addr]);
    assert_eq!(found("dns+db", &conf), all("10.0.0.1"));
    assert_eq!(found("dns+no-such.test", &conf), all(""));
}

#[test]
fn the_next_server_is_asked_where_one_is_silent_fails_or_hangs_up() {
    let (silent, failing) = (Server::silent(), Server::new(|asked| vec![asked.fail(RCODE::Refused)]));
    let good = Server::new(|asked| vec![asked.answer_of(&["db.test A 10.0.0.1"])]);
    let closed = { std::net::UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap() };
    let mut conf = Conf { timeout: SHORT, ..conf(&[&silent, &failing, &good]) };
    conf.servers.insert(0, closed);
    assert_eq!(found("dns+db.test", &conf), all("10.0.0.1"));
    assert!(!silent.asked().is_empty() && !failing.asked().is_empty());
}

#[test]
fn a_server_that_is_dead_is_waited_for_once_in_a_look_up() {
    let silent = Server::silent();
    let zone = ["_g._tcp.test SRV 1 a.test", "a.test A 10.0.0.1", "a.test AAAA fd00::1"];
    let good = Server::new(move |asked| vec![asked.answer_of(&zone)]);
    let conf = Conf { timeout: SHORT, ..conf(&[&silent, &good]) };
    assert_eq!(found("dnssrv+_g._tcp.test", &conf), all("10.0.0.1:1 [fd00::1]:1"));
    assert_eq!((silent.asked().len(), good.asked().len()), (1, 3));
}

#[test]
fn all_servers_are_asked_again_as_often_as_configured() {
    let calls = AtomicUsize::new(0);
    let late = Server::new(move |asked| match calls.fetch_add(1, Ordering::Relaxed) {
        0 | 1 => Vec::new(),
        _ => vec![asked.answer_of(&["db.test A 10.0.0.1"])],
    });
    let conf = Conf { timeout: SHORT, attempts: 3, ..conf(&[&late]) };
    assert_eq!(found("dns+db.test", &conf), all("10.0.0.1"));
    let silent = Server::silent();
    let conf = Conf { timeout: SHORT, attempts: 2, servers: vec![silent.addr], ..conf };
    assert_eq!(ask("dns+db.test", &conf).unwrap_err().kind(), ErrorKind::TimedOut);
    // Who is silent is not asked for the other family too.
    assert_eq!(silent.asked().len(), 2);
}

#[test]
fn a_server_that_does_not_know_edns_is_asked_without() {
    let server = Server::new(|asked| {
        vec![match asked.edns {
            true => asked.fail(RCODE::FormatError),
            false => asked.answer_of(&["db.test A 10.0.0.1"]),
        }]
    });
    assert_eq!(found("dns+db.test", &conf(&[&server])), all("10.0.0.1"));
}

#[test]
fn answers_with_another_id_question_or_source_are_not_taken() {
    let evil = |asked: &Asked| {
        let (mut id, good) = (asked.answer(&["db.test A 6.6.6.6"]), asked.answer_of(&["db.test A 10.0.0.1"]));
        id[1] ^= 1;
        let mut question = asked.answer(&["db.test A 6.6.6.6"]);
        // The first letter of the name that was asked for.
        question[13] = b'x';
        let not_an_answer = asked.answer_with(&["db.test A 6.6.6.6"], |packet| {
            packet.remove_flags(simple_dns::PacketFlag::RESPONSE);
        });
        vec![id, question, not_an_answer, b"".to_vec(), good]
    };
    let server = Server::new(evil);
    assert_eq!(found("dns+db.test", &conf(&[&server])), all("10.0.0.1"));
    // Of another owner than was asked for, and of another kind.
    let stuffed = Server::new(|asked| {
        vec![asked.answer(&[
            "db.test A 10.0.0.1",
            "db.test AAAA fd00::6",
            "evil.test A 6.6.6.6",
            "+db.test A 6.6.6.6",
        ])]
    });
    assert_eq!(found("dns+db.test", &conf(&[&stuffed])), all("10.0.0.1 fd00::6"));
}

#[test]
fn ids_and_ports_are_not_used_again() {
    let ids = Mutex::new(HashSet::new());
    let server = Server::new(move |asked| {
        ids.lock().unwrap().insert(asked.answer(&[])[..2].to_vec());
        let count = ids.lock().unwrap().len();
        vec![asked.answer(&[&*format!("db.test A 10.0.0.{count}")])]
    });
    let conf = conf(&[&server]);
    let mut last = String::new();
    for _ in 0..50 {
        last = found("dns+db.test", &conf).0;
    }
    let count: usize = last.split('.').nth(3).unwrap().parse().unwrap();
    assert!(count > 30, "{count} ids of 50 or more");
}

#[test]
fn a_look_up_ends_when_it_is_stopped_though_the_server_is_silent() {
    let silent = Server::silent();
    let (conf, stopped) = (conf(&[&silent]), AtomicBool::new(false));
    std::thread::scope(|scope| {
        let query = Query::parse("dns+db.test").unwrap().unwrap();
        let (conf, stopped) = (&conf, &stopped);
        let looks = scope.spawn(move || look_up(&query, conf, &|| stopped.load(Ordering::Acquire)));
        while silent.asked().is_empty() {
            assert!(!looks.is_finished());
            std::thread::yield_now();
        }
        stopped.store(true, Ordering::Release);
        // The server would be waited for thrice as long.
        assert!(
            (0..1_000).any(|_| crate::Stop::new().wait(LONG / 3_000) || looks.is_finished()),
            "it goes on"
        );
        assert_eq!(looks.join().unwrap().unwrap_err().kind(), ErrorKind::Interrupted);
    });
}

#[test]
fn a_server_that_sends_little_by_little_has_no_more_time_than_a_silent_one() {
    let server = Server::new(|asked| match asked.tcp {
        false => vec![asked.truncated(&["drips.test A 10.0.1.1"])],
        true => Vec::new(),
    });
    let conf = Conf { timeout: SHORT, ..conf(&[&server]) };
    std::thread::scope(|scope| {
        let looks = scope.spawn(|| found(&format!("dns+{DRIPS}"), &conf));
        // All that was announced would take minutes.
        let ends = (0..1_000).any(|_| crate::Stop::new().wait(LONG / 3_000) || looks.is_finished());
        drop(server);
        assert!(ends, "it goes on");
        assert_eq!(looks.join().unwrap(), some("10.0.1.1"));
    });
}

/// Waits until a membership lists these.
fn await_peers(dns: DnsDiscovery, expected: &[&str]) {
    let cluster = Cluster::new().with_discovery(dns);
    let changes = cluster.membership().watch();
    let running = cluster.start().unwrap();
    while running.membership().snapshot().active().join(" ") != expected.join(" ") {
        changes.recv_timeout(LONG).expect("the peers are found in time");
    }
    running.stop();
    running.join().unwrap();
}

#[test]
fn a_discovery_lists_services_with_their_ports() {
    let server = Server::new(|asked| {
        vec![asked.answer(&["_g._tcp.test SRV 1001 a.test", "+a.test A 10.0.0.1", "+a.test AAAA fd00::1"])]
    });
    let dns = DnsDiscovery::new("dnssrv+_g._tcp.test.").name_servers([server.addr]);
    await_peers(dns, &["10.0.0.1:1001", "[fd00::1]:1001"]);
}

#[test]
fn a_discovery_loses_no_peer_if_name_servers_give_eight_of_fifteen() {
    let calls = AtomicUsize::new(0);
    let server = Server::new(move |asked| {
        let from = if asked.kind == "A" { calls.fetch_add(1, Ordering::Relaxed) * 8 } else { 0 };
        let zone: Vec<_> = (from..from + 8).map(|at| format!("db.test A 10.0.0.{}", at % 15)).collect();
        vec![if asked.kind == "A" {
            asked.answer(&zone.iter().map(|line| &**line).collect::<Vec<_>>())
        } else {
            asked.answer(&[])
        }]
    });
    let dns = DnsDiscovery::new("dns+db.test.")
        .name_servers([server.addr])
        .interval(Duration::from_millis(1))
        .record_ttl();
    let cluster = Cluster::new().with_discovery(dns);
    let changes = cluster.membership().watch();
    let running = cluster.start().unwrap();
    while server.asked().len() < 200 {
        assert!(!running.is_finished());
        std::thread::yield_now();
    }
    running.stop();
    running.join().unwrap();
    let (mut active, mut gone) = (0, 0);
    for change in &changes {
        active += change.active.len();
        gone += change.left.len() + change.removed.len();
    }
    assert_eq!((active, gone), (15, 0));
}
