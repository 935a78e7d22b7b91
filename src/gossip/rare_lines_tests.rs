//! The text of lines that a healthy node never logs. Each is written by the code that writes it in operation.

use std::{
    io::Cursor,
    net::{Shutdown, SocketAddr, TcpListener},
    sync::Arc,
    thread,
    time::Duration,
};

use crossbeam_channel::bounded;
use socket2::SockRef;

use super::{
    clock::Clock,
    config::GossipConfig,
    counters::Counters,
    flight_recorder::Work,
    running::{Running, Threads},
    sockets::{Sockets, Udp},
    state_keeper::StateKeeper,
};
use crate::{log_line::capture::lines, recording::Writer, swim::Chunk};

/// A node whose threads do not run.
fn node() -> (Running, Threads) {
    let config = GossipConfig::local("me").bind(([127, 0, 0, 1], 0));
    let sockets = Sockets::bind(&config).unwrap();
    Running::assemble(config, sockets, Arc::default()).unwrap()
}

fn a_panic_and_the_end_that_it_causes() {
    let (running, threads) = node();
    running.node.guarded("clock thread", || panic!("oh no"));
    drop((threads, running));
}

#[cfg(target_os = "linux")]
fn a_stream_that_cannot_be_accepted() {
    let (running, Threads { inbound, tcp, .. }) = node();
    SockRef::from(&tcp).shutdown(Shutdown::Both).unwrap();
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

/// A chunk ends the recording: it is too large for a file of 1 MiB, or empty because the node's state is too large.
fn a_recording_that_ends_by_itself(len: usize) {
    let (chunks, written) = bounded(1);
    chunks.send(Chunk { segment: 0, index: 0, bytes: vec![0; len] }).unwrap();
    drop(chunks);
    let work = Work {
        node: "me".into(),
        clock: Clock::start(),
        counters: Arc::new(Counters::default()),
        path: "me.rec".into(),
        file: Writer::new(Cursor::new(Vec::new()), "me", 1 << 20).unwrap(),
    };
    work.run(&written);
}

#[test]
fn a_recording_that_ends_by_itself_is_a_line() {
    for (len, error) in [
        (0, "the state of this node does not fit in it: raise its limit"),
        (1 << 18, "a bug: a segment of the recording is larger than its slot"),
    ] {
        let expected = format!(r#"recording ended path=me.rec error="{error}" node=me"#);
        assert_eq!(lines(|| a_recording_that_ends_by_itself(len)), [expected]);
    }
    assert!(lines(|| a_recording_that_ends_by_itself(1000)).is_empty());
}

#[test]
fn a_panic_and_the_end_that_it_causes_are_a_line_each() {
    let expected = [
        r#"node panicked thread="clock thread of node me" panic="oh no" node=me"#,
        r#"ended badly error="`clock thread of node me` panicked: oh no; this is a bug in it: report it, and restart" node=me"#,
    ];
    assert_eq!(lines(a_panic_and_the_end_that_it_causes), expected);
}

#[test]
#[cfg(target_os = "linux")]
fn a_stream_that_cannot_be_accepted_is_a_line() {
    let idle = TcpListener::bind("127.0.0.1:0").unwrap();
    SockRef::from(&idle).shutdown(Shutdown::Both).unwrap();
    let error = idle.accept().unwrap_err();
    let expected = format!("accept failed error=\"{error}\" node=me");
    assert_eq!(lines(a_stream_that_cannot_be_accepted), [expected]);
}

/// Other systems do not report that nobody takes a datagram.
#[cfg(target_os = "linux")]
mod refused {
    use super::*;
    use crate::wire::{
        hash,
        message::Ping,
        packet::{Header, Writer},
    };

    const REFUSED: &str = r#"error="Connection refused (os error 111)""#;

    #[test]
    fn a_clock_thread_that_cannot_be_woken_is_a_line() {
        let (running, threads) = node();
        threads.udp.break_next_call();
        let wake = || running.node.wake();
        assert_eq!(lines(wake), [format!("wake failed {REFUSED} node=me")]);
        assert!(lines(wake).is_empty(), "it was asked again, and it was woken");
    }

    #[test]
    fn a_datagram_that_is_not_received_is_a_line() {
        let (_running, Threads { mut clock, udp, .. }) = node();
        udp.break_next_call();
        let turn = || clock.turn(&udp, &mut [0; 2048]);
        assert_eq!(lines(turn).last(), Some(&format!("receive failed {REFUSED} node=me")));
    }

    /// The lines of a node that answers a ping from `from`.
    fn lines_of_an_answer(from: SocketAddr, prepare: impl FnOnce(&Udp)) -> Vec<String> {
        let (running, Threads { mut clock, udp, .. }) = node();
        let mut ping = Vec::new();
        let header = Header { cluster: hash::cluster("default"), sender: hash::member("b"), token: 0 };
        let mut writer = Writer::new(&mut ping, header, 1400);
        assert!(writer.message(&Ping { seq: 1, target: "me" }));
        writer.finish();
        running.node.with(|node, now| node.handle_datagram(now, from, &ping));
        prepare(&udp);
        running.node.stop.stop();
        lines(|| clock.turn(&udp, &mut [0; 2048]))
    }

    #[test]
    fn a_datagram_that_is_not_sent_is_a_line() {
        let from = ([127, 0, 0, 1], 9).into();
        let lines = lines_of_an_answer(from, Udp::break_next_call);
        assert_eq!(lines[0], format!("send failed to={from} {REFUSED} node=me"));
    }

    #[test]
    fn a_peer_of_the_other_family_is_a_line() {
        let lines = lines_of_an_answer("[2001:db8::1]:9".parse().unwrap(), |_| {});
        let expected = r#"other family peer=[2001:db8::1]:9 own="IPv4 alone" hint="bind to [::], which speaks both, or "#;
        assert!(lines[0].starts_with(expected), "{lines:?}");
    }
}

#[test]
fn the_content_of_a_state_file_is_logged() {
    let path = std::env::temp_dir().join(format!("syncswim-line-{}.state", std::process::id()));
    let config = GossipConfig::local("me").bind(([127, 0, 0, 1], 0)).state_file(&path);
    let read = || drop(StateKeeper::read(&config, &Arc::default()).unwrap());
    let expected = format!("state file read path={} members=0 left=false damaged=0 node=me", path.display());
    assert_eq!(lines(read), [expected]);
}

#[cfg(feature = "encryption")]
mod sealed {
    use std::sync::atomic::{AtomicU64, Ordering};

    use super::*;
    use crate::{
        Key, Keyring,
        gossip::{
            clock::wall_millis,
            key_change,
            secrets::{DatagramSeal, Secrets},
        },
        wire::{
            hash,
            message::KeyChange,
            packet::{Header, Writer},
        },
    };

    fn keyed() -> (Keyring, Secrets) {
        let ring = Keyring::new(Key::from([1; 32]));
        let config = GossipConfig::local("me").bind(([127, 0, 0, 1], 0)).keyring(&ring);
        (ring, Secrets::of(&config, &Arc::new(Counters::default())))
    }

    /// A step of a key change that a member asks for by stream.
    fn change(secrets: &Secrets, step: u8, key: &[u8]) {
        let mut frame = Vec::new();
        let mut writer = Writer::new(&mut frame, Header::anonymous(secrets.mark()), 1400);
        assert!(writer.message(&KeyChange { step, key }));
        writer.finish();
        key_change::answer(secrets, "me", &mut frame);
    }

    fn keys_that_are_refused_and_evicted() {
        let (ring, secrets) = keyed();
        change(&secrets, 9, &[]);
        change(&secrets, 0, b"short");
        (2..9).for_each(|byte| ring.install(Key::from([byte; 32])).unwrap());
        change(&secrets, 0, &[9; 32]);
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

    #[test]
    fn keys_that_are_refused_and_evicted_are_a_line_each() {
        let evicted = Key::from([2; 32]).fingerprint();
        let evicted = format!(
            r#"key evicted key={evicted} hint="the ring was full: it made room for a new one" node=me"#
        );
        let expected = [
            r#"key refused step=9 problem="that step is not known here" node=me"#,
            r#"key refused step=0 problem="that is not a key" node=me"#,
            &evicted,
            "key changed step=0 node=me",
        ];
        assert_eq!(lines(keys_that_are_refused_and_evicted), expected);
    }

    #[test]
    fn a_wall_clock_that_is_set_back_is_a_line() {
        let all = lines(a_wall_clock_that_is_set_back);
        let [line] = &all[..] else { panic!("{all:?}") };
        let (by, rest) =
            line.strip_prefix("clock set back by_ms=").and_then(|line| line.split_once(' ')).unwrap();
        // The time that passed meanwhile counts, too.
        assert!(by.parse::<u64>().unwrap() >= 10_000, "{line}");
        assert_eq!(rest, r#"hint="put the wall clock right; if it is right now, restart this node" node=me"#);
    }
}
