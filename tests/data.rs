//! Key–values and broadcasts between nodes with sockets and threads, some of them in processes that are stopped and killed.

#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "tests wait in real time, with deadlines")]

mod support;

use std::{
    collections::BTreeSet,
    env,
    io::{BufRead, BufReader, Write},
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use support::{
    LONG, await_that,
    cluster::{cluster, config, join},
    in_time,
};
use syncswim::{EntryChange, Error, Gossip, InboxItem, Message, MessageKind, Unconfirmed};

const SECOND: Duration = Duration::from_secs(1);

fn value(node: &Gossip, owner: &str, key: &str) -> Option<Vec<u8>> {
    node.entries().of(owner).get(key).map(|entry| entry.value.to_vec())
}

#[test]
fn broadcasts_and_key_values_arrive() {
    for sealed in [false, true] {
        for part in [
            keys_are_set_deleted_and_watched,
            a_watch_that_is_opened_while_keys_are_set_misses_none,
            an_owner_that_restarts_begins_anew,
            limits_say_what_they_are,
            bursts_come_once_and_in_order,
            large_broadcasts_come_in_order_and_name_the_members_without_them,
            a_process_that_is_stopped_gets_the_broadcasts_that_it_missed,
            a_process_that_is_killed_is_named_and_comes_back_without_its_past,
        ] {
            in_time(move || part(sealed));
        }
    }
}

/// First the state, then later changes: no watch delivers an older value after a newer one, or ends before the last value.
fn a_watch_that_is_opened_while_keys_are_set_misses_none(sealed: bool) {
    const LAST: u8 = 60;
    let nodes = cluster(1, sealed);
    let node = &nodes[0];
    thread::scope(|scope| {
        let watchers = (0..20_u64).map(|at| {
            scope.spawn(move || {
                thread::sleep(Duration::from_micros(100 * at));
                let watch = node.watch_entries("k");
                let mut seen = Vec::new();
                while seen.last() != Some(&LAST) {
                    for change in watch.recv_timeout(LONG).unwrap() {
                        let EntryChange::Set { entry, .. } = change else { panic!("{change}") };
                        seen.push(entry.value[0]);
                    }
                }
                seen
            })
        });
        let watchers: Vec<_> = watchers.collect();
        for value in 1..=LAST {
            node.set("k", [value]).unwrap();
            thread::sleep(Duration::from_micros(50));
        }
        for seen in watchers.into_iter().map(|watcher| watcher.join().unwrap()) {
            assert!(seen.is_sorted_by(|before, after| before < after), "{seen:?}");
        }
    });
}

fn keys_are_set_deleted_and_watched(sealed: bool) {
    let nodes = cluster(3, sealed);
    let watch = nodes[2].watch_entries("k");
    assert!(watch.recv().unwrap().is_empty(), "first the state");
    assert_eq!((nodes[0].set("k", "1").unwrap(), nodes[0].set("other", "x").unwrap()), (1, 2));
    let changes = watch.recv_timeout(LONG).unwrap();
    assert!(
        matches!(&changes[..], [EntryChange::Set { owner, entry, .. }] if **owner == *"a" && *entry.value == *b"1"),
        "{changes:?}"
    );
    let large = vec![7; 15_360];
    nodes[0].set("k", &large).unwrap();
    await_that("a value that no datagram holds is fetched", || {
        value(&nodes[2], "a", "k").as_ref() == Some(&large)
    });
    nodes[1].set("k", "later").unwrap();
    await_that("the last that was set", || {
        nodes.iter().all(|node| node.entries().latest("k").is_some_and(|(owner, _)| owner == "b"))
    });
    assert_eq!((nodes[0].delete("k").unwrap(), nodes[0].delete("k").unwrap()), (Some(4), None));
    await_that("it is deleted", || nodes.iter().all(|node| value(node, "a", "k").is_none()));
    let is_deleted =
        |change: &EntryChange| matches!(change, EntryChange::Deleted { owner, .. } if **owner == *"a");
    await_that("the watch is told", || watch.try_recv().is_ok_and(|changes| changes.iter().any(is_deleted)));
    // The entries known when a node ended stay readable, as its members do.
    nodes[2].shutdown().unwrap();
    let entries = nodes[2].entries();
    assert_eq!((nodes[2].members().len(), entries.len()), (3, 2), "{entries:?}");
    assert!(matches!(nodes[2].set("k", "too late"), Err(Error::Left { .. } | Error::Stopped { .. })));
}

fn an_owner_that_restarts_begins_anew(sealed: bool) {
    let mut nodes = cluster(3, sealed);
    let watch = nodes[0].watch_entries(None);
    nodes[2].set("old", "1").unwrap();
    await_that("it is known", || {
        value(&nodes[0], "c", "old").is_some() && value(&nodes[1], "c", "old").is_some()
    });
    for (round, graceful) in [true, false].into_iter().enumerate() {
        let past = nodes.pop().unwrap();
        if graceful {
            past.shutdown().unwrap()
        } else {
            past.abort().unwrap()
        }
        drop(past);
        let c = join("c", &nodes[0], sealed);
        c.wait_for_members(3, LONG).unwrap();
        c.set("new", [round as u8]).unwrap();
        nodes.push(c);
        await_that("the new life's key is known", || {
            nodes.iter().all(|node| value(node, "c", "new") == Some(vec![round as u8]))
        });
        assert!(nodes.iter().all(|node| value(node, "c", "old").is_none()));
        nodes[2].set("old", "1").unwrap();
        await_that("and the next", || nodes.iter().all(|node| value(node, "c", "old").is_some()));
    }
    // The watch reports the end of one map before it reports the next.
    let mut keys = BTreeSet::new();
    while let Ok(changes) = watch.try_recv() {
        for change in changes {
            match change {
                EntryChange::Set { key, .. } => _ = keys.insert(key),
                EntryChange::Deleted { key, .. } => assert!(keys.remove(&key)),
                EntryChange::OwnerGone { .. } => keys.clear(),
                other => panic!("{other:?}"),
            }
        }
    }
    assert_eq!(keys.iter().map(|key| &**key).collect::<Vec<_>>(), ["new", "old"]);
}

/// Each error names the limit, its number, and what to do.
fn limits_say_what_they_are(sealed: bool) {
    let node = Gossip::start(config("a", sealed)).unwrap();
    let says = |error: Error, words: &[&str]| {
        let text = error.report();
        assert!(words.iter().all(|word| text.contains(word)), "{text}");
        assert!(!error.may_have_acted());
    };
    says(node.set(&"k".repeat(65), "").unwrap_err(), &["65 bytes of a key", "64 at most", "shorter"]);
    says(
        node.set("k", vec![0; 15_361]).unwrap_err(),
        &["15361 bytes of a value", "15360 at most", "several keys"],
    );
    for at in 0..4 {
        node.set(&at.to_string(), vec![0; 15_000]).unwrap();
    }
    says(
        node.set("k", vec![0; 6000]).unwrap_err(),
        &["bytes of a node's keys and values", "65536 at most", "delete"],
    );
    let busy = (0..100).find_map(|at| node.set("k", [at]).err()).unwrap();
    says(busy, &["10 changes of key-values a second", "64 at once", "less often"]);
    let large = [0; 513];
    says(node.broadcast("t", large).unwrap_err(), &["513 bytes of a broadcast", "512 at most", "confirmed"]);
    let large = vec![0; 1 << 20];
    says(
        node.broadcast_confirmed("t", &large, SECOND).unwrap_err(),
        &["1048576 bytes of a confirmed broadcast", "1048512 at most", "parts"],
    );
    says(
        node.broadcast_confirmed("t", b"x", Duration::ZERO).unwrap_err(),
        &["`limit`", "must be longer than 0"],
    );
    let busy = (0..1000).find_map(|_| node.broadcast("t", b"x").err()).unwrap();
    says(busy, &["50 broadcasts a second", "256 at once", "less often"]);
}

fn bursts_come_once_and_in_order(sealed: bool) {
    let nodes = cluster(5, sealed);
    let inboxes: Vec<_> = nodes.iter().map(|node| node.inbox("t").unwrap()).collect();
    let start = Instant::now();
    // Members store 256 in a minute.
    thread::scope(|scope| {
        for node in &nodes[..2] {
            scope.spawn(|| (0..100_u8).for_each(|at| _ = node.broadcast("t", [at; 100]).unwrap()));
        }
    });
    for inbox in &inboxes {
        let mut next = [1, 1];
        for _ in 0..200 {
            let message = inbox.recv_timeout(LONG).unwrap().into_message().expect("nothing is lost");
            let at = usize::from(*message.from.name == *"b");
            assert!(
                matches!(message.kind, MessageKind::Broadcast { seq, gap: 0, late: false, .. } if seq == next[at]),
                "{:?} instead of {}",
                message.kind,
                next[at]
            );
            next[at] += 1;
        }
    }
    println!("sealed {sealed}: 200 broadcasts of two nodes at five after {:?}", start.elapsed());
    let report = nodes[0].broadcast_confirmed("t", b"x", 10 * SECOND).unwrap();
    assert_eq!((report.reached, report.missing.len()), (4, 0), "{report}");
    for inbox in &inboxes {
        let message = inbox.recv_timeout(LONG).unwrap().into_message().expect("nothing is lost");
        assert!(matches!(message.kind, MessageKind::Broadcast { seq: 101, gap: 0, late: false, .. }));
        assert!(inbox.try_recv().is_err(), "each once");
    }
    assert!(nodes.iter().all(|node| node.metrics().lost_broadcasts == 0));
}

/// A node in a process of its own, which is this program once more; killed when dropped.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

/// The program of such a process, which runs until it is killed. As a test of its own it does nothing.
#[test]
fn a_node_in_a_process_of_its_own() {
    let Ok(name) = env::var("DATA_NODE") else { return };
    let mut config = config(&name, env::var("DATA_SEALED").is_ok()).seed(env::var("DATA_SEED").unwrap());
    // While it is stopped, it loses nearly everything that is sent to it.
    config.recv_buffer = 4096;
    let node = Gossip::start(config).unwrap();
    let inbox = node.inbox("t").unwrap();
    let tell = |line: String| writeln!(std::io::stdout(), "\n{line}").unwrap();
    node.set("mine", "1").unwrap();
    tell("ready".into());
    for item in &inbox {
        match item {
            InboxItem::Message(Message { from, kind: MessageKind::Broadcast { seq, .. }, .. }) => {
                tell(format!("{} {seq}", from.name));
            }
            item => tell(format!("{item:?}")),
        }
    }
}

impl Process {
    fn start(name: &str, seed: &Gossip, sealed: bool) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["a_node_in_a_process_of_its_own", "--exact", "--nocapture"]);
        command.env("DATA_NODE", name).env("DATA_SEED", seed.local().addr.to_string());
        command.envs(sealed.then_some(("DATA_SEALED", "1")));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        let read = move || output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line));
        thread::Builder::new().spawn(read).unwrap();
        let process = Self { child, lines };
        process.until("ready");
        process
    }

    /// Waits for a line. Returns the numbers of the broadcasts of `a` in the lines before it.
    #[track_caller]
    fn until(&self, wanted: &str) -> Vec<u64> {
        let (mut numbers, deadline) = (Vec::new(), Instant::now() + LONG);
        loop {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|error| panic!("no {wanted:?} after {numbers:?}: {error}"));
            assert!(!line.starts_with("Lost"), "{line}");
            numbers.extend(line.strip_prefix("a ").and_then(|number| number.parse::<u64>().ok()));
            if line == wanted {
                return numbers;
            }
        }
    }

    fn signal(&self, signal: &str) {
        let status = Command::new("kill").args([signal, &self.child.id().to_string()]).status();
        assert!(status.unwrap().success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn large_broadcasts_come_in_order_and_name_the_members_without_them(sealed: bool) {
    let nodes = cluster(3, sealed);
    let process = Process::start("p", &nodes[0], sealed);
    await_that("it is live to all", || nodes.iter().all(|node| node.members().live().count() == 4));
    let inboxes: Vec<_> = nodes.iter().map(|node| node.inbox("t").unwrap()).collect();
    let large: Vec<u8> = (0..(1 << 20) - 64).map(|at| (at % 251) as u8).collect();
    nodes[0].broadcast("t", b"small").unwrap();
    let report = nodes[0].broadcast_confirmed("t", &large, LONG).unwrap();
    assert_eq!((report.reached, report.missing.len()), (3, 0), "{report}");
    nodes[0].broadcast("t", b"small").unwrap();
    for inbox in &inboxes {
        for expected in 1..=3 {
            let message = inbox.recv_timeout(LONG).unwrap().into_message().expect("nothing is lost");
            let MessageKind::Broadcast { seq, gap: 0, late: false, .. } = message.kind else {
                panic!("{:?} instead of {expected}", message.kind)
            };
            assert_eq!(seq, expected);
            let sent: &[u8] = if expected == 2 { &large } else { b"small" };
            assert!(*message.payload == *sent, "{} bytes", message.payload.len());
        }
        assert!(inbox.try_recv().is_err(), "each once");
    }
    assert_eq!(process.until("a 3"), [1, 2, 3]);
    process.signal("-STOP");
    let report = nodes[0].broadcast_confirmed("t", &large, 2 * SECOND).unwrap();
    assert_eq!(report.reached, 2, "{report}");
    assert!(matches!(&report.missing[..], [missing] if *missing.member.name == *"p"), "{report}");
}

fn a_process_that_is_stopped_gets_the_broadcasts_that_it_missed(sealed: bool) {
    let nodes = cluster(2, sealed);
    let process = Process::start("p", &nodes[0], sealed);
    nodes[0].wait_for_members(3, LONG).unwrap();
    await_that("its key is known", || nodes.iter().all(|node| value(node, "p", "mine").is_some()));
    nodes[0].broadcast("t", b"first").unwrap();
    process.until("a 1");
    process.signal("-STOP");
    for at in 0..100 {
        nodes[0].broadcast("t", [at; 512]).unwrap();
        thread::sleep(Duration::from_millis(5));
    }
    // With that member, the report waits for the process; the others have confirmed long before.
    let report = nodes[0].broadcast_confirmed("t", b"x", SECOND).unwrap();
    assert_eq!(report.reached, 1, "{report}");
    assert!(matches!(&report.missing[..], [missing] if *missing.member.name == *"p"), "{report}");
    nodes[1].set("meanwhile", "1").unwrap();
    process.signal("-CONT");
    assert_eq!(process.until("a 102"), (2..=102).collect::<Vec<_>>(), "once, and in order");
    await_that("it is live to both", || nodes.iter().all(|node| node.members().live().count() == 3));
    let report = nodes[0].broadcast_confirmed("t", b"x", 20 * SECOND).unwrap();
    assert_eq!((report.reached, report.missing.len()), (2, 0), "{report}");
    assert_eq!(process.until("a 103"), [103]);
}

fn a_process_that_is_killed_is_named_and_comes_back_without_its_past(sealed: bool) {
    let nodes = cluster(2, sealed);
    let process = Process::start("p", &nodes[0], sealed);
    nodes[0].wait_for_members(3, LONG).unwrap();
    await_that("its key is known", || nodes.iter().all(|node| value(node, "p", "mine").is_some()));
    let epoch = |node: &Gossip| node.members().named("p").map_or(0, |member| member.identity.epoch);
    let before = epoch(&nodes[0]);
    drop(process);
    let report = nodes[0].broadcast_confirmed("t", b"x", 2 * SECOND).unwrap();
    let whys = [Unconfirmed::Silent, Unconfirmed::Failed];
    assert!(matches!(&report.missing[..], [missing] if whys.contains(&missing.why)), "{report}");
    assert!(value(&nodes[0], "p", "mine").is_some(), "it stays while its owner is listed");
    let process = Process::start("p", &nodes[0], sealed);
    await_that("its new life is known", || nodes.iter().all(|node| epoch(node) > before));
    await_that("with its key", || nodes.iter().all(|node| value(node, "p", "mine").is_some()));
    nodes[0].broadcast("t", b"y").unwrap();
    assert_eq!(process.until("a 2"), [2], "what was before its time is not for it");
}
