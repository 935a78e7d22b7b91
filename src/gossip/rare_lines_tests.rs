//! The text of lines that a healthy node never logs, each written by what writes it in earnest.

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::Duration,
};

use super::{
    clock::wall_millis,
    config::GossipConfig,
    counters::Counters,
    key_change,
    running::{Running, Threads},
    secrets::{DatagramSeal, Secrets},
    sockets::Sockets,
};
use crate::{
    Key, Keyring,
    log_line::capture::lines,
    wire::{
        hash,
        message::KeyChange,
        packet::{Header, Writer},
    },
};

/// A node whose threads do not run.
fn node() -> (Running, Threads) {
    let config = GossipConfig::local("me").bind(([127, 0, 0, 1], 0));
    let sockets = Sockets::bind(&config).unwrap();
    Running::assemble(config, sockets, Arc::default()).unwrap()
}

fn keyed() -> (Keyring, Secrets) {
    let ring = Keyring::new(Key::from([1; 32]));
    let config = GossipConfig::local("me").bind(([127, 0, 0, 1], 0)).keyring(&ring);
    (ring, Secrets::of(&config, &Arc::new(Counters::default())))
}

/// A step that somebody asks for by stream.
fn change(secrets: &Secrets, step: u8, key: &[u8]) {
    let mut frame = Vec::new();
    let mut writer = Writer::new(&mut frame, Header::anonymous(secrets.mark()), 1400);
    assert!(writer.message(&KeyChange { step, key }));
    writer.finish();
    key_change::answer(secrets, "me", &mut frame);
}

fn a_panic_and_the_end_that_it_causes() {
    let (running, threads) = node();
    running.node.guarded("clock thread", || panic!("oh no"));
    drop((threads, running));
}

fn keys_that_are_refused_and_evicted() {
    let (ring, secrets) = keyed();
    change(&secrets, 9, &[]);
    change(&secrets, 0, b"short");
    (2..9).for_each(|byte| ring.install(Key::from([byte; 32])).unwrap());
    change(&secrets, 0, &[9; 32]);
}

fn a_stream_that_cannot_be_accepted() {
    let (running, Threads { inbound, tcp, .. }) = node();
    tcp.set_nonblocking(true).unwrap();
    thread::scope(|scope| {
        let node = &running.node;
        let stop = || {
            node.stop.wait(Duration::from_millis(100));
            node.shut();
        };
        thread::Builder::new().spawn_scoped(scope, stop).unwrap();
        inbound.accept(&tcp);
    });
}

fn a_wall_clock_that_is_set_back() {
    static WALL: AtomicU64 = AtomicU64::new(0);
    WALL.store(wall_millis(), Ordering::Relaxed);
    let read = || WALL.load(Ordering::Relaxed);
    let (_, secrets) = keyed();
    let mut ours = DatagramSeal::new(&secrets, "me", wall_millis() - 60_000).unwrap();
    let mut theirs = DatagramSeal::new(&secrets, "b", wall_millis() - 60_000).unwrap();
    ours.read_wall(read);
    theirs.read_wall(read);
    for back in [0, 10_000] {
        WALL.fetch_sub(back, Ordering::Relaxed);
        let mut sealed = theirs.seal(hash::member("me"), b"packet").to_vec();
        assert_eq!(ours.open(&mut sealed).unwrap(), b"packet");
    }
}

/// What happens, and the lines of it.
type Case<'a> = (fn(), &'a [&'a str]);

#[test]
fn rare_lines_are_written_as_documented() {
    let evicted = Key::from([2; 32]).fingerprint();
    let evicted =
        format!(r#"key evicted key={evicted} hint="the ring was full: it made room for a new one" node=me"#);
    let table: [Case<'_>; 4] = [
        (
            a_panic_and_the_end_that_it_causes,
            &[
                r#"node panicked thread="clock thread of node me" panic="oh no" node=me"#,
                r#"ended badly error="`clock thread of node me` panicked: oh no; this is a bug in it: report it, and start anew" node=me"#,
            ],
        ),
        (
            keys_that_are_refused_and_evicted,
            &[
                r#"key refused step=9 problem="that step is not known here" node=me"#,
                r#"key refused step=0 problem="that is no key" node=me"#,
                &evicted,
                "key changed step=0 node=me",
            ],
        ),
        (
            a_stream_that_cannot_be_accepted,
            &[r#"accept failed error="Resource temporarily unavailable (os error 11)" node=me"#],
        ),
        (
            a_wall_clock_that_is_set_back,
            &[
                r#"clock set back by_ms=10000 hint="put the wall clock right, or start this node anew" node=me"#,
            ],
        ),
    ];
    for (act, expected) in table {
        assert_eq!(lines(act), expected);
    }
}
