//! A relay between hosts, this program itself with `--as-relay`: it delays, reorders and duplicates packets.
//!
//! Not every kernel has `netem`. The switch hands over packets for a node's port by transparent proxying (`IP_TRANSPARENT`),
//! so source addresses stay the same and nodes do not notice it. Datagrams are delayed one by one, and so reordered; streams
//! are delayed piece by piece, in order.

use std::{
    io::{BufRead, BufReader, Read, Write, stdin},
    net::{IpAddr, Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    process::{Child, Command, ExitCode, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Sender, unbounded};
use socket2::{Domain, Socket, Type};

use crate::space::{Net, PORT, Problem};

/// Hands packets for a node, or for the relay's own end of a stream, to the relay.
pub(crate) const RULES: &str = "table ip relay {
    chain in {
        type filter hook prerouting priority mangle;
        socket transparent 1 meta mark set 1 accept
        tcp dport 7946 tproxy to :7946 meta mark set 1 accept
    }
}
";

/// The treatment of packets, one way.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Weather {
    pub(crate) delay: Duration,
    /// Evenly distributed up to this much more or less.
    pub(crate) jitter: Duration,
    /// The percentage of datagrams that arrive twice.
    pub(crate) twice: u8,
}

impl Weather {
    fn delay(&self) -> Duration {
        self.delay.saturating_sub(self.jitter) + self.jitter.mul_f64(2.0 * fastrand::f64())
    }
}

/// The relay's process, in the namespace of the switch.
#[derive(Debug)]
pub(crate) struct Relay {
    child: Child,
}

impl Relay {
    /// Relays between the first `hosts` hosts of a network, which are routed.
    pub(crate) fn start(net: &Net, hosts: u8, weather: Weather) -> Result<Self, Problem> {
        let switch = &net.switch;
        switch.nft(RULES)?;
        switch.ip("rule add fwmark 1 lookup 100")?;
        switch.ip("route add local 0.0.0.0/0 dev lo table 100")?;
        let numbers =
            [hosts.into(), weather.delay.as_millis(), weather.jitter.as_millis(), weather.twice.into()];
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &switch.name]).arg(std::env::current_exe()?).arg("--as-relay");
        command.args(numbers.map(|number: u128| number.to_string()));
        let child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let mut relay = Self { child };
        let ready = relay.line()?;
        if ready == "ready" { Ok(relay) } else { Err(Problem(format!("the relay says {ready:?}"))) }
    }

    fn line(&mut self) -> Result<String, Problem> {
        let output = self.child.stdout.as_mut().expect("it is piped");
        let mut line = String::new();
        BufReader::with_capacity(1, output).read_line(&mut line)?;
        Ok(line.trim().to_owned())
    }

    /// Ends it, and returns how many datagrams and streams went through it.
    pub(crate) fn end(mut self) -> Result<(u64, u64), Problem> {
        drop(self.child.stdin.take());
        let line = self.line()?;
        let mut counts = line.split(' ').map(str::parse);
        match (counts.next(), counts.next()) {
            (Some(Ok(datagrams)), Some(Ok(streams))) => Ok((datagrams, streams)),
            _ => Err(Problem(format!("the relay ended with {line:?}"))),
        }
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

static DATAGRAMS: AtomicU64 = AtomicU64::new(0);
static STREAMS: AtomicU64 = AtomicU64::new(0);

pub(crate) fn main(args: impl Iterator<Item = String>) -> ExitCode {
    let numbers: Vec<u64> = args.filter_map(|number| number.parse().ok()).collect();
    let [hosts, delay, jitter, twice] = numbers[..] else {
        println!("it wants four numbers");
        return ExitCode::FAILURE;
    };
    let (delay, jitter) = (Duration::from_millis(delay), Duration::from_millis(jitter));
    let weather = Weather { delay, jitter, twice: twice.try_into().unwrap_or(100) };
    if let Err(error) = relay(hosts.try_into().unwrap_or(u8::MAX), weather) {
        println!("{error}");
        return ExitCode::FAILURE;
    }
    println!("ready");
    // Until the process that started it ends.
    stdin().lines().for_each(drop);
    println!("{} {}", DATAGRAMS.load(Ordering::Relaxed), STREAMS.load(Ordering::Relaxed));
    ExitCode::SUCCESS
}

fn spawn(name: &str, work: impl FnOnce() + Send + 'static) {
    let _: thread::JoinHandle<()> = thread::Builder::new().name(name.into()).spawn(work).expect("a thread");
}

/// A socket that may use any host's address.
fn transparent(kind: Type, addr: SocketAddr) -> std::io::Result<Socket> {
    let socket = Socket::new(Domain::IPV4, kind, None)?;
    #[cfg(target_os = "linux")]
    socket.set_ip_transparent_v4(true)?;
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    Ok(socket)
}

fn relay(hosts: u8, weather: Weather) -> std::io::Result<()> {
    let listener = transparent(Type::STREAM, (Ipv4Addr::UNSPECIFIED, PORT).into())?;
    listener.listen(128)?;
    let listener = TcpListener::from(listener);
    spawn("accept", move || {
        for stream in listener.incoming().flatten() {
            STREAMS.fetch_add(1, Ordering::Relaxed);
            spawn("stream", move || drop(pass_on(stream, weather)));
        }
    });
    let sockets = (1..=hosts).map(|n| {
        transparent(Type::DGRAM, ([10, 77, 0, n], PORT).into())
            .map(|socket| Arc::new(UdpSocket::from(socket)))
    });
    let sockets: Vec<Arc<UdpSocket>> = sockets.collect::<std::io::Result<_>>()?;
    for to in sockets.clone() {
        let (sockets, later) = (sockets.clone(), later());
        spawn("datagrams", move || {
            let (mut buffer, there) = ([0; 65_536], to.local_addr().expect("it is bound"));
            while let Ok((length, from)) = to.recv_from(&mut buffer) {
                DATAGRAMS.fetch_add(1, Ordering::Relaxed);
                let IpAddr::V4(ip) = from.ip() else { continue };
                let Some(from) = sockets.get(usize::from(ip.octets()[3]).wrapping_sub(1)) else { continue };
                let copies = 1 + usize::from(fastrand::u8(..100) < weather.twice);
                for _ in 0..copies {
                    let (from, bytes) = (Arc::clone(from), buffer[..length].to_vec());
                    let send = Box::new(move || drop(from.send_to(&bytes, there)));
                    // The other end exists until this program ends.
                    let _ = later.send((Instant::now() + weather.delay(), send));
                }
            }
        });
    }
    Ok(())
}

type Work = Box<dyn FnOnce() + Send>;

/// Runs each piece of work at its time, the earliest first.
fn later() -> Sender<(Instant, Work)> {
    let (sender, receiver) = unbounded::<(Instant, Work)>();
    spawn("later", move || {
        let mut waiting: Vec<(Instant, Work)> = Vec::new();
        loop {
            let next = waiting.last().map(|&(at, _)| at);
            let arrived = match next {
                Some(at) => receiver.recv_deadline(at).ok(),
                None => receiver.recv().ok(),
            };
            match arrived {
                Some(work) => {
                    let place = waiting.partition_point(|(at, _)| *at > work.0);
                    waiting.insert(place, work);
                }
                None if waiting.is_empty() => return,
                None => {}
            }
            while waiting.last().is_some_and(|(at, _)| *at <= Instant::now()) {
                waiting.pop().expect("it is there").1();
            }
        }
    });
    sender
}

/// A stream between hosts: its first bytes are delayed by a handshake, there and back, and each piece is delayed.
fn pass_on(near: TcpStream, weather: Weather) -> std::io::Result<()> {
    let (from, to) = (near.peer_addr()?, near.local_addr()?);
    thread::sleep(weather.delay() + weather.delay());
    let far = transparent(Type::STREAM, (from.ip(), 0).into())?;
    far.connect(&to.into())?;
    let far = TcpStream::from(far);
    let back = (far.try_clone()?, near.try_clone()?);
    spawn("back", move || pump(back.0, back.1, weather));
    pump(near, far, weather);
    Ok(())
}

fn pump(mut from: TcpStream, mut to: TcpStream, weather: Weather) {
    let (sender, receiver) = unbounded::<(Instant, Vec<u8>)>();
    spawn("write", move || {
        for (due, bytes) in receiver {
            thread::sleep(due.saturating_duration_since(Instant::now()));
            if to.write_all(&bytes).is_err() {
                return;
            }
        }
        // The end of the stream arrives after its bytes.
        let _ = to.shutdown(Shutdown::Write);
    });
    let (mut buffer, mut last) = (vec![0; 65_536], Instant::now());
    while let Ok(length @ 1..) = from.read(&mut buffer) {
        last = last.max(Instant::now() + weather.delay());
        if sender.send((last, buffer[..length].to_vec())).is_err() {
            return;
        }
    }
}
