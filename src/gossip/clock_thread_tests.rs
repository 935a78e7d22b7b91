//! The clock thread's turn, run by the test itself on real sockets, with no other thread.

use std::{
    io::{Read, Write},
    net::{TcpListener, TcpStream, UdpSocket},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicBool, Ordering},
};

use crossbeam_channel::bounded;

use super::*;
use crate::{
    Error, GossipConfig, Stop,
    gossip::{
        framed_stream::FramedStream,
        inbound::Inbound,
        running::{Running, Threads},
        sockets::Sockets,
        timed_socket::Deadline,
    },
    swim::{Event, Metrics, StreamStep},
    wire::{
        hash,
        message::{Ack, Alive, Body, End, Hello, Message, Ping, StreamAck},
        packet,
    },
};

/// Long enough for any machine.
const LONG: Duration = Duration::from_secs(60);

/// A node whose threads do not run.
struct Bench {
    running: Running,
    clock: ClockThread,
    udp: Arc<Udp>,
    inbound: Arc<Inbound>,
    buffer: Vec<u8>,
}

impl Bench {
    fn new(config: &GossipConfig) -> Self {
        let sockets = Sockets::bind(config).unwrap();
        let (running, Threads { clock, udp, inbound, tcp: _ }) =
            Running::assemble(config.clone(), sockets, Arc::default()).unwrap();
        Self { running, clock, udp, inbound, buffer: vec![0; 1 << 16] }
    }

    fn node(&self) -> &Arc<SharedNode> {
        &self.running.node
    }

    fn turn(&mut self) {
        self.clock.turn(&self.udp, &mut self.buffer);
    }

    /// A member introduces itself by stream, with this address.
    fn meet(&self, name: &str, incarnation: u64, addr: SocketAddr) {
        self.node().with(|node, now| {
            let stream = node.accept_stream(now, addr).unwrap();
            let mut frame = Vec::new();
            let alive = Alive { name, epoch: 1, incarnation, addr, tags: &[] };
            for said in
                [packet_of(&Hello { name, digest: 0, removals: 0 }), packet_of(&alive), packet_of(&End {})]
            {
                node.handle_frame(now, stream, &said);
                while node.poll_stream(now, stream, &mut frame) == StreamStep::Send {}
            }
        });
    }

    /// Takes turns until the condition holds.
    fn turn_until(&mut self, what: &str, mut holds: impl FnMut(&Metrics) -> bool) {
        let limit = self.node().now() + LONG;
        while !holds(&self.metrics()) {
            assert!(self.node().now() < limit, "not within {LONG:?}: {what}");
            self.turn();
        }
    }

    fn metrics(&self) -> Metrics {
        self.node().with(|node, _| node.metrics())
    }
}

/// A packet from b.
fn packet_of<T: Body>(message: &T) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = packet::Header { cluster: hash::cluster("default"), sender: hash::member("b"), token: 0 };
    let mut writer = packet::Writer::new(&mut bytes, header, 1400);
    assert!(writer.message(message));
    writer.finish();
    bytes
}

/// The sequence numbers of the pings that arrived at this socket.
fn pinged(socket: &UdpSocket) -> Vec<u32> {
    let (mut buffer, mut pings) = ([0; 2048], Vec::new());
    while let Ok(len) = socket.recv(&mut buffer) {
        for section in packet::open(&buffer[..len], hash::cluster("default")).unwrap().1 {
            if let Some(Message::Ping(ping)) = section.unwrap().message().unwrap() {
                pings.push(ping.seq);
            }
        }
    }
    pings
}

#[test]
fn datagrams_that_have_arrived_are_read_before_a_probe_times_out() {
    let mut config = GossipConfig::local("a").bind(([127, 0, 0, 1], 0));
    config.swim.probe_interval = Duration::from_millis(100);
    config.swim.probe_timeout = Duration::from_millis(40);
    config.swim.stream_fallback = false;
    let mut bench = Bench::new(&config);
    let member = UdpSocket::bind("127.0.0.1:0").unwrap();
    member.set_nonblocking(true).unwrap();
    bench.meet("b", 0, member.local_addr().unwrap());
    // The member is challenged, then probed.
    bench.turn_until("a probe", |metrics| metrics.probes > 0);
    pinged(&member);
    for _ in 0..3 {
        let before = bench.metrics();
        let mut pings = Vec::new();
        while pings.is_empty() {
            bench.turn();
            pings = pinged(&member);
        }
        // The answer arrives in time; the clock thread runs only when the whole round is over.
        for seq in pings {
            member.send_to(&packet_of(&Ack { seq }), bench.udp.myself()).unwrap();
        }
        let over = bench.node().now() + config.swim.probe_interval;
        while bench.node().now() < over {
            bench.node().stop.wait(Duration::from_millis(1));
        }
        bench.turn_until("a verdict", |metrics| metrics.probes > before.probes);
        assert_eq!(bench.metrics().probes_failed, 0, "and it was just");
    }
}

#[test]
fn a_wake_ends_the_wait_of_the_clock_thread_once() {
    let mut bench = Bench::new(&GossipConfig::local("a").bind(([127, 0, 0, 1], 0)));
    let mut buffer = [0; 16];
    for _ in 0..3 {
        bench.node().wake();
        bench.node().wake();
        let (len, from) = bench.udp.receive(&mut buffer, LONG).expect("it is woken");
        assert_eq!((len, from), (0, bench.udp.myself()));
        assert!(bench.udp.receive(&mut buffer, Duration::ZERO).is_err(), "one datagram is enough");
        bench.node().wake();
        assert!(
            bench.udp.receive(&mut buffer, Duration::ZERO).is_err(),
            "it was woken, and has not looked yet"
        );
        // The thread looks at the node, so callers have to wake it again from here on.
        bench.udp.wake().unwrap();
        bench.turn();
    }
}

#[test]
fn a_caller_that_gives_the_node_an_input_wakes_the_clock_thread() {
    let bench = Bench::new(&GossipConfig::local("a").bind(([127, 0, 0, 1], 0)));
    let mut buffer = [0; 16];
    let (done, _result) = bounded(1);
    bench.running.seeds.join(1, &["127.0.0.1:9".into()], done);
    assert_eq!(bench.udp.receive(&mut buffer, LONG).expect("it is woken").0, 0);
}

/// A member that accepts streams and never answers: the system accepts for it.
fn hung(ip: [u8; 4]) -> TcpListener {
    TcpListener::bind(SocketAddr::from((ip, 0))).unwrap()
}

fn addrs(of: &[TcpListener]) -> Vec<SocketAddr> {
    of.iter().map(|listener| listener.local_addr().unwrap()).collect()
}

/// Answers the stream pings of a node, and nothing else.
fn answer(mut stream: TcpStream, name: &str) {
    let mut prefix = [0; 4];
    stream.read_exact(&mut prefix).unwrap();
    let mut ping = vec![0; u32::from_le_bytes(prefix) as usize];
    stream.read_exact(&mut ping).unwrap();
    let ack = packet_of(&StreamAck { name });
    stream.write_all(&[&(ack.len() as u32).to_le_bytes()[..], &ack].concat()).unwrap();
}

#[test]
fn hung_seeds_do_not_keep_the_stream_of_a_probe_waiting() {
    let mut config = GossipConfig::local("a").bind(([127, 0, 0, 1], 0));
    config.swim.probe_interval = Duration::from_secs(2);
    config.swim.probe_timeout = Duration::from_millis(50);
    config.swim.stream_timeout = LONG;
    let mut bench = Bench::new(&config);
    let seeds: Vec<_> = (0..6).map(|_| hung([127, 0, 0, 1])).collect();
    let seeds = addrs(&seeds);
    bench.node().with(|node, now| {
        node.join(now, 1, &seeds[..3]);
        node.join(now, 2, &seeds[3..]);
    });
    bench.turn();
    // The member's datagrams get lost.
    let member = hung([127, 0, 0, 1]);
    bench.meet("b", 0, member.local_addr().unwrap());
    let over = Arc::new(AtomicBool::new(false));
    let ends = Arc::clone(&over);
    member.set_nonblocking(true).unwrap();
    let answering = std::thread::Builder::new().spawn(move || {
        while !ends.load(Ordering::Acquire) {
            match member.accept() {
                Ok((stream, _)) => {
                    stream.set_nonblocking(false).unwrap();
                    answer(stream, "b");
                }
                Err(_) => drop(Stop::new().wait(Duration::from_millis(1))),
            }
        }
    });
    bench.turn_until("a stream saves a probe", |metrics| metrics.probes_saved_by_stream > 0);
    over.store(true, Ordering::Release);
    answering.unwrap().join().unwrap();
    let _ = bench.running.abort();
}

/// Another process claims the names of members, so the node asks these members. A question that stays open for long is
/// given up for others, but its member keeps the name.
#[test]
#[cfg(target_os = "linux")]
fn a_question_that_gave_way_to_others_is_no_verdict() {
    let mut config = GossipConfig::local("a").bind(([127, 0, 0, 1], 0));
    config.swim.probe_interval = LONG;
    let mut bench = Bench::new(&config);
    let slow: Vec<_> = (0..4).map(|_| hung([127, 0, 0, 1])).collect();
    let other = hung([127, 0, 0, 2]);
    let homes = [addrs(&slow), addrs(std::slice::from_ref(&other))].concat();
    let names = ["b", "c", "d", "e", "f"];
    for (name, home) in names.into_iter().zip(&homes) {
        bench.meet(name, 0, *home);
    }
    let mut held = Vec::new();
    for (at, name) in names.iter().enumerate() {
        // Each caller has a host of its own, since one host causes one question only.
        bench.meet(name, 1, ([127, 0, 0, 9 + at as u8], 9).into());
        bench.node().wake();
        // The slow members hold every thread before the last one is to be asked.
        if let Some(slow) = slow.get(at) {
            slow.set_nonblocking(true).unwrap();
            bench.turn_until("it is asked", |_| {
                slow.accept().is_ok_and(|(stream, _)| {
                    held.push(stream);
                    true
                })
            });
        }
    }
    bench.turn_until("an introduction is dropped", |metrics| metrics.dropped_unverified > 0);
    other.set_nonblocking(true).unwrap();
    bench.turn_until("the last of them is asked", |_| other.accept().is_ok());
    assert_eq!(counted(&bench).refused_streams, 1);
    for (name, home) in names.into_iter().zip(&homes) {
        let addr = bench.node().with(|node, _| node.member(name).map(|member| member.addr));
        assert_eq!(addr, Some(*home), "{name}");
    }
    let _ = bench.running.abort();
}

/// Runs `act` on a thread of its own; fails if it does not end.
fn in_time<T: Send + 'static>(what: &str, act: impl FnOnce() -> T + Send + 'static) -> T {
    let (done, result) = bounded(1);
    drop(std::thread::Builder::new().spawn(move || done.send(act())).unwrap());
    result.recv_timeout(LONG).unwrap_or_else(|_| panic!("not within {LONG:?}: {what}"))
}

#[test]
fn readers_do_not_wait_for_the_node() {
    let bench = Bench::new(&GossipConfig::local("a").bind(([127, 0, 0, 1], 0)));
    bench.node().list_itself();
    let directory = Arc::clone(&bench.running.publication.directory);
    let (members, _events) = bench.node().with(|_, _| {
        in_time("the members are read", move || {
            directory.publish(&Event::Joined { member: directory.members()[0].clone() });
            directory.follow()
        })
    });
    assert_eq!(members.len(), 1);
}

#[test]
fn the_node_does_not_wait_for_readers() {
    let mut bench = Bench::new(&GossipConfig::local("a").bind(([127, 0, 0, 1], 0)));
    bench.node().list_itself();
    bench.meet("b", 0, ([127, 0, 0, 1], 9).into());
    // There is something to send, too, which shows that the turn has begun.
    let ping = packet_of(&Ping { seq: 1, target: "a" });
    bench.node().with(|node, now| node.handle_datagram(now, ([127, 0, 0, 1], 9).into(), &ping));
    let (node, directory) = (Arc::clone(bench.node()), Arc::clone(&bench.running.publication.directory));
    let reading = directory.locked();
    std::thread::scope(|scope| {
        let turning = std::thread::Builder::new().spawn_scoped(scope, || bench.turn());
        let limit = node.now() + LONG;
        // The turn has taken the events out of the node, and cannot publish them yet.
        let is_free = || node.try_with(|node| node.metrics().datagrams_sent > 0) == Some(true);
        while !is_free() {
            assert!(node.now() < limit, "the node is locked by who waits for readers");
            node.stop.wait(Duration::from_millis(1));
        }
        drop(reading);
        turning.unwrap().join().unwrap();
    });
    assert_eq!(directory.members().len(), 2);
}

#[test]
fn a_panic_in_a_thread_ends_the_node_for_all_its_users() {
    let bench = Bench::new(&GossipConfig::local("a").bind(([127, 0, 0, 1], 0)));
    let node = bench.node();
    let (done, result) = bounded(1);
    bench.running.seeds.join(1, &["127.0.0.1:9".into()], done);
    let events = bench.running.publication.directory.events();
    node.guarded("clock", || panic!("broken"));
    node.guarded("acceptor", || panic!("later"));
    assert!(node.stop.is_stopped(), "its threads end");
    assert!(result.try_recv().is_err_and(|error| error.is_disconnected()), "who waits for a join is told");
    assert!(events.try_recv().is_err_and(|error| error.is_disconnected()), "there are no events any more");
    let (late, result) = bounded(1);
    bench.running.publication.expect_join(2, late);
    assert!(result.try_recv().is_err_and(|error| error.is_disconnected()), "who comes later is told, too");
    let ended = node.ended();
    let first = |error: &Error| matches!(error, Error::Panicked { what, message } if what == "clock of node a" && message == "broken");
    assert!(first(&ended), "{ended}");
}

#[test]
fn a_panic_in_a_call_ends_the_node_and_reaches_the_caller() {
    let bench = Bench::new(&GossipConfig::local("a").bind(([127, 0, 0, 1], 0)));
    let called = catch_unwind(AssertUnwindSafe(|| bench.node().command(|_, _| panic!("broken"))));
    assert!(called.is_err());
    assert!(bench.node().stop.is_stopped());
    assert!(matches!(bench.node().ended(), Error::Panicked { .. }));
    assert!(bench.node().command(|node, _| node.live()) == 1, "what it knew can be read");
}

/// With this overhead a sealed packet is no longer than the configuration allows.
#[cfg(feature = "encryption")]
#[test]
fn the_overhead_is_the_length_that_sealing_adds() {
    let ring = crate::Keyring::new(crate::Key::from([1; 32]));
    let config = |max_datagram| {
        let mut config = GossipConfig::local("a").bind(([127, 0, 0, 1], 0)).keyring(&ring);
        config.swim.max_datagram = max_datagram;
        config
    };
    let mut bench = Bench::new(&config(1400));
    let packet = packet_of(&Ack { seq: 1 });
    let sealed = bench.clock.seal.seal(1, &packet).len();
    let overhead = config(1400).sealing_overhead();
    assert_eq!(sealed, packet.len() + overhead);
    assert!(config(1000 + overhead).validate().is_ok());
    assert!(config(999 + overhead).validate().is_err());
}

#[test]
fn an_exchange_of_others_has_less_time_only_while_more_of_them_wait() {
    let bench = Bench::new(&GossipConfig::local("a").bind(([127, 0, 0, 1], 0)));
    let answers = &bench.inbound.answers;
    let is_over = |pressed_after| {
        let deadline = Deadline::after(&bench.node().stop, LONG).pressed_after(pressed_after, answers);
        deadline.sleep(Duration::ZERO).is_err()
    };
    assert!(!is_over(Duration::ZERO), "nobody waits");
    let (held, released) = bounded::<()>(0);
    while !answers.is_pressed() {
        let released = released.clone();
        answers.submit(None, LONG, move |place| {
            if place.is_some() {
                let _ = released.recv();
            }
        });
    }
    assert!(is_over(Duration::ZERO));
    assert!(!is_over(LONG), "its time is not up");
    drop(held);
    let _ = bench.running.abort();
}

#[test]
fn a_wait_without_a_datagram_is_no_error() {
    let mut bench = Bench::new(&GossipConfig::local("a").bind(([127, 0, 0, 1], 0)));
    let Bench { clock, udp, buffer, .. } = &mut bench;
    assert!(!clock.receive(udp, buffer, Duration::from_millis(1)).unwrap(), "nothing was there");
    udp.wake().unwrap();
    assert!(clock.receive(udp, buffer, Duration::from_millis(1)).unwrap(), "and now something is");
}

#[test]
fn a_caller_that_sends_nothing_does_not_keep_its_stream_for_long() {
    let bench = Bench::new(&GossipConfig::local("a").bind(([127, 0, 0, 1], 0)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let _silent = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
    let (socket, _) = listener.accept().unwrap();
    let inbound = Arc::clone(&bench.inbound);
    let outcome = in_time("it is given up", move || {
        let talk = &inbound.talk;
        let deadline = Deadline::after(&talk.node.stop, LONG * 9).first_frame_soon(&inbound.callers);
        FramedStream::answer(socket, deadline, &talk.secrets).map(drop).map_err(|error| error.kind())
    });
    assert_eq!(outcome, Err(io::ErrorKind::TimedOut));
}

#[test]
fn a_caller_that_resets_its_stream_was_not_too_slow() {
    let bench = Bench::new(&GossipConfig::local("a").bind(([127, 0, 0, 1], 0)));
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let caller = socket2::Socket::from(TcpStream::connect(listener.local_addr().unwrap()).unwrap());
    let (socket, _) = listener.accept().unwrap();
    // With this option the system resets the connection when the socket is closed.
    caller.set_linger(Some(Duration::ZERO)).unwrap();
    drop(caller);
    let deadline = Deadline::after(&bench.node().stop, LONG);
    let outcome = FramedStream::answer(socket, deadline, &bench.running.talk.secrets).map(drop);
    assert_eq!(outcome.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
}

/// The driver's counters.
fn counted(bench: &Bench) -> Metrics {
    let mut metrics = Metrics::default();
    bench.clock.counters.add_to(&mut metrics);
    metrics
}

/// A stream that is opened to a node, and the thread of the node that accepts it.
fn call(bench: &Bench) -> (TcpStream, std::thread::JoinHandle<()>) {
    let tcp = bench.node().listener().expect("it is not shut");
    let caller = TcpStream::connect(tcp.local_addr().unwrap()).unwrap();
    let inbound = Arc::clone(&bench.inbound);
    let accepting = std::thread::Builder::new().spawn(move || inbound.accept(&tcp)).unwrap();
    (caller, accepting)
}

#[test]
fn a_stream_from_outside_of_the_allowed_networks_is_closed_and_counted() {
    let mut config = GossipConfig::local("a").bind(([127, 0, 0, 1], 0));
    config.swim.allow = Some(Vec::new());
    let bench = Bench::new(&config);
    let (mut caller, accepting) = call(&bench);
    caller.set_read_timeout(Some(LONG)).unwrap();
    assert_eq!(caller.read(&mut [0; 1]).unwrap(), 0, "it is closed");
    bench.node().shut();
    accepting.join().unwrap();
    assert_eq!(counted(&bench).dropped_not_allowed, 1);
}

#[test]
fn a_batch_of_datagrams_ends_at_its_bound_and_the_next_one_goes_on() {
    let bench = Bench::new(&GossipConfig::local("a").bind(([127, 0, 0, 1], 0)));
    let from = ([127, 0, 0, 1], 9).into();
    let mut outbox = Outbox::default();
    bench.node().drive(|endpoint, now| {
        for seq in 0..=MAX_BATCH as u32 {
            endpoint.node.handle_datagram(now, from, &packet_of(&Ping { seq, target: "a" }));
        }
        for sent in [MAX_BATCH, 1, 0] {
            outbox.fill(endpoint);
            assert_eq!(outbox.take_datagrams().count(), sent);
        }
    });
    let _ = bench.running.abort();
}
