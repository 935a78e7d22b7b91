//! Messages, requests and queries between nodes with sockets and threads.
//!
//! All are one test, since it counts threads and descriptors.

#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "tests wait in real time, with deadlines")]

mod support;

use std::{
    fs,
    net::TcpListener,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use support::{LONG, await_that, cluster::cluster, in_time};
use syncswim::{EndedBy, Error, Filter, InboxItem, Query, QueryProblem, RecvTimeoutError, TryRecvError};

const SECOND: Duration = Duration::from_secs(1);

/// Threads and descriptors of this process.
fn held() -> (usize, usize) {
    let count = |path| fs::read_dir(path).unwrap().count();
    (count("/proc/self/task"), count("/proc/self/fd"))
}

#[test]
fn messages_and_requests_arrive_and_leave_nothing_behind() {
    drop(cluster(1, false));
    for sealed in [false, true] {
        for part in [
            ten_thousand_messages,
            large_and_wrong_ones,
            many_large_ones_both_ways,
            requests_and_their_ends,
            queries,
            a_query_is_given_up,
            both_sides_stop,
            who_leaves_waits_for_nobody,
            readers_that_go_and_readers_that_are_slow,
        ] {
            let before = held();
            in_time(move || part(sealed));
            await_that("threads and descriptors are given back", || {
                let (threads, descriptors) = held();
                threads <= before.0 && descriptors <= before.1
            });
        }
    }
}

fn payload(item: InboxItem) -> Arc<[u8]> {
    item.into_message().expect("nothing is lost").payload
}

fn ten_thousand_messages(sealed: bool) {
    let nodes = cluster(2, sealed);
    let inbox = nodes[1].inbox("jobs").unwrap();
    let reader = thread::Builder::new().spawn(move || inbox.map(payload).collect::<Vec<_>>());
    nodes[0].send("b", "jobs", b"warm").unwrap();
    let start = Instant::now();
    thread::scope(|scope| {
        for sender in 0..4_u32 {
            let node = &nodes[0];
            scope.spawn(move || {
                for number in 0..2500_u32 {
                    node.send("b", "jobs", (sender << 16 | number).to_le_bytes()).unwrap();
                }
            });
        }
    });
    println!("sealed {sealed}: 10,000 messages of 4 threads in {:?}", start.elapsed());
    nodes.iter().for_each(|node| assert_eq!(node.metrics().open_asks, 0));
    await_that("no stream is open", || nodes.iter().all(|node| node.metrics().open_streams == 0));
    drop(nodes);
    let read = reader.unwrap().join().unwrap();
    assert_eq!(read.len(), 10_001);
    let mut next = [0; 4];
    for payload in &read[1..] {
        let word = u32::from_le_bytes((**payload).try_into().unwrap());
        let (sender, number) = ((word >> 16) as usize, word & 0xffff);
        assert_eq!(number, next[sender], "those of one thread come in order, each once");
        next[sender] += 1;
    }
}

fn large_and_wrong_ones(sealed: bool) {
    let nodes = cluster(2, sealed);
    let inbox = nodes[1].inbox("jobs").unwrap();
    let large: Vec<u8> = (0..1 << 20).map(|at: u32| (at % 253) as u8).collect();
    for len in [0, 1000, 1400, 15 << 10, 1 << 20] {
        nodes[0].send("b", "jobs", &large[..len]).unwrap();
        assert_eq!(&*payload(inbox.recv().unwrap()), &large[..len]);
    }
    let refused = |result: Result<(), Error>| result.unwrap_err();
    let too_large = refused(nodes[0].send("b", "jobs", [large.as_slice(), &[0]].concat()));
    assert!(matches!(too_large, Error::TooLarge { size, limit, .. } if size == limit + 1), "{too_large}");
    assert!(matches!(refused(nodes[0].send("x", "jobs", b"")), Error::UnknownMember { .. }));
    assert!(matches!(refused(nodes[0].send("b", "other", b"")), Error::NoReader { .. }));
    for topic in ["", "x\ny", &"x".repeat(65)] {
        assert!(matches!(refused(nodes[0].send("b", topic, b"")), Error::Invalid { .. }));
    }
    let to_itself = nodes[1].send("b", "jobs", &large);
    assert!(to_itself.is_ok() && payload(inbox.recv().unwrap()).len() == 1 << 20);
    nodes[1].leave().unwrap();
    await_that("it has left", || matches!(nodes[0].send("b", "jobs", b""), Err(Error::NotLive { .. })));
    assert!(matches!(refused(nodes[1].send("a", "jobs", b"")), Error::Left { .. }));
}

/// A caller that waits for an answer must not hold a thread that the other side's answer needs; and of many messages that
/// need a stream, each gets its turn.
fn many_large_ones_both_ways(sealed: bool) {
    const THREADS: usize = 20;
    const SENDS: usize = 25;
    let nodes = cluster(2, sealed);
    let inboxes = [nodes[0].inbox("jobs").unwrap(), nodes[1].inbox("jobs").unwrap()];
    for len in [5_000, 200 << 10] {
        let (large, start) = (vec![7; len], Instant::now());
        thread::scope(|scope| {
            for (from, to) in [(0, "b"), (1, "a")] {
                for _ in 0..THREADS {
                    let (node, large) = (&nodes[from], &large);
                    // The reader may be slow, which the sender learns at once.
                    let is_full =
                        |sent: &Result<(), Error>| matches!(sent, Err(Error::Busy { member: Some(_), .. }));
                    let send = move || node.send_within(to, "jobs", large, LONG);
                    let send = move |_| {
                        let sent = std::iter::repeat_with(send).find(|sent| !is_full(sent));
                        sent.expect("it ends").unwrap();
                    };
                    scope.spawn(move || (0..SENDS).for_each(send));
                }
            }
            for inbox in &inboxes {
                let read = move |_| assert_eq!(payload(inbox.recv().unwrap()).len(), len);
                scope.spawn(move || (0..THREADS * SENDS).for_each(read));
            }
        });
        println!("sealed {sealed}: 500 messages of {len} bytes each way in {:?}", start.elapsed());
    }
    for node in &nodes {
        assert_eq!(node.metrics().refused_streams, 0, "each waits for its turn");
    }
}

/// Dropping the answers ends a query, so that its place is free.
fn a_query_is_given_up(sealed: bool) {
    let nodes = cluster(2, sealed);
    let requests = nodes[1].serve("work").unwrap();
    let query = Query::new("work").to(Filter::all().others()).within(60 * 60 * SECOND);
    let mut all: Vec<_> = (0..16).map(|_| nodes[0].query(&query).unwrap()).collect();
    let full = nodes[0].query(&query).unwrap_err();
    assert!(full.to_string().contains("16 queries"), "{full}");
    all.truncate(1);
    assert_eq!(nodes[0].metrics().open_asks, 1);
    drop(nodes[0].query(&query).unwrap());
    let answers = all.pop().unwrap();
    assert!(answers.receiver().is_empty());
    assert_eq!(answers.recv_timeout(Duration::from_millis(1)), Err(RecvTimeoutError::Timeout));
    // Requests of different queries arrive in any order, and abandoned ones arrive, too.
    while answers.receiver().is_empty() {
        if let Ok(request) = requests.recv_timeout(Duration::from_millis(5)) {
            request.answer(b"!").unwrap();
        }
    }
    assert!(answers.try_recv().unwrap().result.is_ok() && answers.recv().is_err());
}

fn requests_and_their_ends(sealed: bool) {
    let nodes = cluster(2, sealed);
    let requests = nodes[1].serve("work").unwrap();
    assert!(nodes[1].serve("syncswim/ping").is_err());
    let server = thread::Builder::new().spawn(move || {
        for request in requests.iter() {
            match request.payload() {
                b"refuse" => request.refuse("not today").unwrap(),
                b"drop" => drop(request),
                b"late" => {
                    thread::sleep(request.time_left() + Duration::from_millis(50));
                    assert!(matches!(request.answer(b""), Err(Error::TooLate { .. })));
                }
                b"end" => return,
                payload => {
                    let answer = payload.repeat(2);
                    request.answer(&answer).unwrap();
                }
            }
        }
    });
    for len in [1, 1000, 500_000] {
        let answer = nodes[0].request("b", "work", vec![7; len], LONG).unwrap();
        assert_eq!((&*answer.from.name, &*answer.payload), ("b", &*vec![7; 2 * len]));
    }
    let ask = |payload: &[u8], limit| nodes[0].request("b", "work", payload, limit).unwrap_err();
    let refused = ask(b"refuse", LONG);
    assert!(
        matches!(&refused, Error::Refused { reason, .. } if reason == "not today")
            && refused.may_have_acted()
    );
    assert!(matches!(ask(b"drop", LONG), Error::Refused { .. }));
    let late = ask(b"late", Duration::from_millis(100));
    let timed_out = matches!(late, Error::Unanswered { ended_by: EndedBy::Timeout, .. });
    assert!(timed_out && late.may_have_acted(), "{late}");
    assert!(matches!(ask(b"end", LONG), Error::Refused { .. }));
    server.unwrap().join().unwrap();
    let none = ask(b"again", LONG);
    assert!(matches!(none, Error::NoReader { .. }) && !none.may_have_acted(), "{none}");
    let info = nodes[0].request("b", "syncswim/info", b"", LONG).unwrap();
    assert!(String::from_utf8_lossy(&info.payload).starts_with("name=b\nversion="));
}

fn queries(sealed: bool) {
    let nodes = cluster(5, sealed);
    let answers = nodes[0].query(&Query::new("syncswim/ping")).unwrap();
    assert_eq!(answers.iter().count(), 5);
    let report = answers.report();
    assert!(report.is_complete() && report.p50 <= report.p99 && report.p99.is_some(), "{report}");
    assert_eq!(report.to_string(), "5 of 5 answered");
    let others = Query::new("work").to(Filter::all().others()).within(LONG);
    let servers: Vec<_> = [1, 2].map(|at: usize| nodes[at].serve("work").unwrap()).into();
    let answers = nodes[0].query(&others).unwrap();
    servers[0].recv_timeout(LONG).unwrap().answer(b"1").unwrap();
    nodes[2].abort().unwrap();
    let report = answers.finish();
    let why = |name: &str| {
        let mut missing = report.missing.iter();
        missing.find(|one| &*one.member.name == name).map(|one| one.why.to_string())
    };
    assert_eq!((report.asked, report.answered), (4, 1));
    let nobody = "nobody there serves the topic";
    assert_eq!(
        ["b", "c", "d", "e"].map(why),
        [None, Some("no answer, it failed"), Some(nobody), Some(nobody)].map(|why| why.map(String::from))
    );
    assert_eq!(report.count(QueryProblem::may_have_acted), 1);
    let silent =
        nodes[0].query(&Query::new("work").to(Filter::named(["b"])).within(Duration::from_millis(50)));
    assert_eq!(silent.unwrap().finish().to_string(), "0 of 1 answered; b: no answer, the time was over");
    let report = nodes[0].query(&Query::new("work").to(Filter::named(["z"]))).unwrap().finish();
    assert!(!report.is_complete() && report.to_string().starts_with("nobody was asked"), "{report}");
    let none = nodes[0].query(&Query::new("work").within(Duration::ZERO)).unwrap_err();
    assert_eq!(none.to_string(), "`within` must be longer than 0: nobody can answer in no time");
}

fn both_sides_stop(sealed: bool) {
    let nodes = cluster(3, sealed);
    let requests = nodes[1].serve("work").unwrap();
    thread::scope(|scope| {
        let asked = scope.spawn(|| nodes[0].request("b", "work", b"", LONG));
        let own = scope.spawn(|| nodes[2].request("b", "work", b"", LONG));
        let reader = scope.spawn(|| nodes[2].inbox("x").map_or(true, |inbox| inbox.recv().is_err()));
        let server = scope.spawn(|| nodes[2].serve("x").map_or(true, |requests| requests.recv().is_err()));
        let taken = [requests.recv().unwrap(), requests.recv().unwrap()];
        nodes[2].shutdown().unwrap();
        let own = own.join().unwrap().unwrap_err();
        assert!(matches!(own, Error::Unanswered { ended_by: EndedBy::Abandoned, .. }), "{own}");
        assert!(reader.join().unwrap() && server.join().unwrap());
        nodes[1].shutdown().unwrap();
        let left = asked.join().unwrap().unwrap_err();
        assert!(matches!(left, Error::Unanswered { ended_by: EndedBy::Leave, .. }), "{left}");
        drop(taken);
    });
    assert!(matches!(requests.try_recv(), Err(TryRecvError::Disconnected)));
    assert!(matches!(nodes[1].send("a", "x", b""), Err(Error::Stopped { .. } | Error::Left { .. })));
    assert!(matches!(nodes[1].inbox("x"), Err(Error::Stopped { .. })));
}

fn who_leaves_waits_for_nobody(sealed: bool) {
    let nodes = cluster(2, sealed);
    let requests = nodes[1].serve("work").unwrap();
    thread::scope(|scope| {
        let asked = scope.spawn(|| nodes[0].request("b", "work", b"", LONG * 100));
        let answers = nodes[0].query(&Query::new("work").within(LONG * 100)).unwrap();
        // A listener that answers nobody.
        let silent = TcpListener::bind("127.0.0.1:0").unwrap();
        let seed = silent.local_addr().unwrap().to_string();
        let join = scope.spawn(|| nodes[0].join([seed]));
        let waiting = [requests.recv().unwrap(), requests.recv().unwrap()];
        let held = silent.accept().unwrap();
        nodes[0].leave().unwrap();
        let abandoned = asked.join().unwrap().unwrap_err();
        assert!(matches!(abandoned, Error::Unanswered { ended_by: EndedBy::Abandoned, .. }), "{abandoned}");
        assert!(abandoned.may_have_acted());
        let report = answers.finish().to_string();
        assert!(report.contains("b: no answer, this node left"), "{report}");
        assert!(matches!(join.join().unwrap(), Err(Error::Left { .. })));
        drop((waiting, held));
    });
    assert!(matches!(nodes[0].request("b", "work", b"", LONG), Err(Error::Left { .. })));
    assert!(matches!(nodes[0].broadcast_confirmed("x", b"", LONG), Err(Error::Left { .. })));
}

fn readers_that_go_and_readers_that_are_slow(sealed: bool) {
    let nodes = cluster(2, sealed);
    let (slow, fast) =
        (nodes[1].inbox("jobs").unwrap(), nodes[1].inbox(syncswim::Topics::prefix("j")).unwrap());
    for _ in 0..50 {
        nodes[0].send("b", "jobs", [0; 100_000]).unwrap();
        fast.recv().unwrap();
    }
    let read: Vec<_> = std::iter::from_fn(|| slow.try_recv().ok()).collect();
    // The message that reaches 4 MiB may exceed it.
    let fits = (4 << 20) / 100_000 + 1;
    assert_eq!(read.len(), fits + 1);
    let lost = 50 - fits as u64;
    let last = &read[fits];
    assert!(
        matches!(last, InboxItem::Lost { from: Some(from), count, .. } if *count == lost && &*from.name == "a"),
        "{last:?}"
    );
    assert_eq!(nodes[1].metrics().overrun_messages, lost);
    drop(slow);
    let full = loop {
        if let Err(error) = nodes[0].send("b", "jobs", [0; 100_000]) {
            break error;
        }
    };
    assert!(matches!(&full, Error::Busy { member: Some(name), .. } if name == "b"), "{full}");
    assert!(!full.may_have_acted() && full.to_string().contains("1,024 messages and 4 MiB"), "{full}");
    drop(fast);
    let mut inboxes: Vec<_> = (0..64).map(|_| nodes[1].inbox("x").unwrap()).collect();
    let full = nodes[1].inbox("x").unwrap_err();
    assert!(
        matches!(full, Error::Busy { member: None, .. }) && full.to_string().contains("64 inboxes"),
        "{full}"
    );
    inboxes.pop();
    assert!(nodes[1].inbox("x").is_ok());
    assert!(matches!(nodes[0].send("b", "jobs", b""), Err(Error::NoReader { .. })));
    let requests = nodes[1].serve("work").unwrap();
    thread::scope(|scope| {
        let asked = scope.spawn(|| nodes[0].request("b", "work", b"", 10 * SECOND));
        while requests.receiver().is_empty() {
            thread::sleep(Duration::from_millis(1));
        }
        drop(requests);
        assert!(matches!(asked.join().unwrap(), Err(Error::NoReader { .. })));
    });
}
