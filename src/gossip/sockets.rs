//! The sockets of a node: UDP and TCP on one port, bound on the caller's thread or provided by the program.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::atomic::{AtomicBool, Ordering},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{
    advertise::{self, System},
    config::{DEFAULT_PORT, GossipConfig, check_bind},
    external_sockets,
    family::Family,
};
use crate::{
    Error,
    blocking::{SLICE, is_nothing},
    log_line::{Topic, log},
};

/// How often port 0 is tried until UDP and TCP have the same port.
const PORT_TRIES: usize = 32;
/// The size in bytes that a smaller datagram counts as.
const LEAST: usize = 1 << 10;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// The sockets of a node, and the address that it advertises.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) udp: Udp,
    pub(super) tcp: TcpListener,
    pub(super) advertise: SocketAddr,
}

impl Sockets {
    /// Binds the sockets to the first address of `bind` that can be bound.
    pub(super) fn bind(config: &GossipConfig) -> Result<Self, Error> {
        let mut failure = None;
        for addr in config.bind.resolve("bind", DEFAULT_PORT)? {
            match bind_to(config, addr) {
                Ok(pair) => return Self::new(config, pair, Family::of_bind(addr.ip()), false),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.unwrap_or_else(|| config.bind.error("bind", "has no address; give one of this host")))
    }

    /// Adopts sockets that the program has bound.
    pub(super) fn adopt(config: &GossipConfig, udp: UdpSocket, tcp: TcpListener) -> Result<Self, Error> {
        let (bound, family) = external_sockets::check(&udp, &tcp)?;
        check_bind(bound.ip())?;
        refuse_broadcast("bind", bound)?;
        config.check_family(bound.ip(), family)?;
        ask_for_buffer(&SockRef::from(&udp), config.recv_buffer);
        Self::new(config, (udp, tcp, bound), family, true)
    }

    fn new(
        config: &GossipConfig,
        (udp, tcp, bound): Pair,
        family: Family,
        lent: bool,
    ) -> Result<Self, Error> {
        let advertise = advertise::choose(config, bound, family, &System)?;
        refuse_broadcast("advertise", advertise)?;
        Ok(Self { udp: Udp::new(udp, bound, family, lent), tcp, advertise })
    }
}

/// The UDP and TCP sockets, and the address that both are bound to.
type Pair = (UdpSocket, TcpListener, SocketAddr);

fn bind_to(config: &GossipConfig, addr: SocketAddr) -> Result<Pair, Error> {
    check_bind(addr.ip())?;
    advertise::check_name_bound(config, addr.ip())?;
    refuse_broadcast("bind", addr)?;
    config.check_family(addr.ip(), Family::of_bind(addr.ip()))?;
    bind_pair(addr, config.recv_buffer).map_err(|source| Error::Bind { addr, source })
}

fn bind_pair(addr: SocketAddr, recv_buffer: usize) -> io::Result<Pair> {
    let mut tries = if addr.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let tcp = bind_tcp(addr)?;
        let bound = tcp.local_addr()?;
        match bind_udp(bound, recv_buffer) {
            Ok(udp) => return Ok((udp, tcp, bound)),
            Err(error) if tries == 0 => return Err(error),
            Err(_) => {}
        }
    }
}

fn bind_tcp(addr: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    accept_both_families(&socket, addr)?;
    // A restarted node need not wait for the connections of its past life to time out. (On Windows the option
    // would mean something else: sharing the port.)
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    socket.bind(&addr.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn bind_udp(addr: SocketAddr, recv_buffer: usize) -> io::Result<UdpSocket> {
    let socket = Socket::new(Domain::for_address(addr), Type::DGRAM, Some(Protocol::UDP))?;
    accept_both_families(&socket, addr)?;
    ask_for_buffer(&socket, recv_buffer);
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn ask_for_buffer(socket: &Socket, bytes: usize) {
    if let Err(error) = socket.set_recv_buffer_size(bytes) {
        log(Topic::BufferRefused, &[("bytes", &bytes), ("error", &error)]);
    }
}

fn accept_both_families(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    match addr.ip() {
        IpAddr::V6(ip) => socket.set_only_v6(!ip.is_unspecified()),
        IpAddr::V4(_) => Ok(()),
    }
}

/// Refuses the broadcast address of a network of this host: only the system knows these, and sends there only on request.
fn refuse_broadcast(field: &'static str, addr: SocketAddr) -> Result<(), Error> {
    let connect = |broadcast| {
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        socket.set_broadcast(broadcast)?;
        // Nothing is sent.
        socket.connect((addr.ip(), 9))
    };
    let is_denied = |error: io::Error| error.kind() == io::ErrorKind::PermissionDenied;
    if addr.is_ipv4() && connect(false).is_err_and(is_denied) && connect(true).is_ok() {
        let problem =
            format!("is {addr}, a broadcast address: nodes are reached one by one; take a host's own");
        return Err(Error::config(field, problem));
    }
    Ok(())
}

/// The UDP socket. IPv4 peers have IPv4 addresses, even if it is dual-stack.
///
/// When the node stops, the socket is shut down, which ends a wait even if the host has lost the address. A socket that is
/// shut down gives no source address, but the standard library would read one. So [`receive`](Self::receive) waits without
/// asking for the source, and a shutdown and [`drain`](Self::drain), which asks for it, exclude each other.
///
/// A socket that the program provided is not shut down: that would end it for all who hold a descriptor of it, such as
/// a service manager that hands it to the next process. A wait ends by the wake-up, or after a second.
#[derive(Debug)]
pub(super) struct Udp {
    socket: UdpSocket,
    family: Family,
    bound: SocketAddr,
    myself: SocketAddr,
    ending: AtomicBool,
    draining: AtomicBool,
    /// Whether the program provided the socket.
    lent: bool,
}

impl Udp {
    fn new(socket: UdpSocket, bound: SocketAddr, family: Family, lent: bool) -> Self {
        let ip = match bound.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            // In some containers the loopback interface has no IPv6.
            IpAddr::V6(ip) if ip.is_unspecified() && family == Family::Both && !has_v6_loopback() => {
                IpAddr::V4(Ipv4Addr::LOCALHOST)
            }
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        let (ending, draining) = (AtomicBool::new(false), AtomicBool::new(false));
        let myself = SocketAddr::new(ip, bound.port());
        Self { socket, family, bound, myself, ending, draining, lent }
    }

    /// The address that was bound, with its port.
    pub(super) fn bound(&self) -> SocketAddr {
        self.bound
    }

    /// The IP versions that the socket can send to.
    pub(super) fn family(&self) -> Family {
        self.family
    }

    /// The address at which this host reaches the socket.
    #[cfg(test)]
    pub(super) fn myself(&self) -> SocketAddr {
        self.myself
    }

    /// Ends a wait for a datagram, by an empty datagram to the socket itself.
    pub(super) fn wake(&self) -> io::Result<()> {
        self.send(self.myself, &[])
    }

    /// Ends all waits, including later ones. Raise the stop flag first: the clock thread checks it before it waits again.
    pub(super) fn end_wait(&self) {
        self.ending.store(true, Ordering::SeqCst);
        let _ = self.wake();
        // A thread that drains does not wait, and will see `ending` before it drains again.
        if !self.lent && !self.draining.load(Ordering::SeqCst) {
            // Linux reports that the socket is not connected, and ends the wait nevertheless.
            let _ = SockRef::from(&self.socket).shutdown(Shutdown::Read);
        }
    }

    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let to = match to {
            SocketAddr::V4(v4) if self.bound.is_ipv6() => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            to => to,
        };
        self.socket.send_to(bytes, to).map(drop)
    }

    /// Waits for a datagram, at most `limit`; a wake-up, or the end of all waits, shows as an empty datagram from the socket
    /// itself.
    pub(super) fn receive(&self, buffer: &mut [u8], limit: Duration) -> io::Result<(usize, SocketAddr)> {
        // Zero would mean no limit.
        self.socket.set_read_timeout(Some(limit.max(Duration::from_micros(1))))?;
        if self.socket.peek(buffer)? > 0 {
            // No other thread takes datagrams, so this does not block.
            return self.receive_next(buffer);
        }
        self.socket.recv(buffer)?;
        Ok((0, self.myself))
    }

    /// Takes the datagrams that have arrived, about `most` bytes, without waiting. Returns whether there may be more.
    pub(super) fn drain(
        &self,
        buffer: &mut [u8],
        most: usize,
        mut take: impl FnMut(SocketAddr, &mut [u8]),
    ) -> io::Result<bool> {
        let _draining = FlagGuard::new(&self.draining);
        if self.ending.load(Ordering::SeqCst) {
            return Ok(false);
        }
        self.socket.set_nonblocking(true)?;
        let (mut taken, mut result) = (0, Ok(true));
        while taken < most && result.is_ok() {
            match self.receive_next(buffer) {
                Ok((len, from)) => {
                    taken += len.max(LEAST);
                    take(from, &mut buffer[..len]);
                }
                Err(error) => result = Err(error),
            }
        }
        self.socket.set_nonblocking(false)?;
        result.or_else(|error| if is_nothing(&error) { Ok(false) } else { Err(error) })
    }

    /// Makes the next call fail: something was sent to an address where nobody listens.
    #[cfg(test)]
    pub(super) fn break_next_call(&self) {
        let nobody = UdpSocket::bind("127.0.0.1:0").and_then(|socket| socket.local_addr()).unwrap();
        self.socket.connect(nobody).unwrap();
        self.socket.send(b"x").unwrap();
    }

    fn receive_next(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, from) = self.socket.recv_from(buffer)?;
        Ok((len, SocketAddr::new(from.ip().to_canonical(), from.port())))
    }
}

fn has_v6_loopback() -> bool {
    UdpSocket::bind((Ipv6Addr::LOCALHOST, 0)).is_ok()
}

/// Wakes the thread that accepts streams at the port of this UDP socket.
pub(super) fn end_accept(listener: &TcpListener, udp: &Udp) {
    // Linux can shut a listener down; elsewhere a connection wakes the thread.
    if udp.lent || SockRef::from(listener).shutdown(Shutdown::Both).is_err() {
        let _ = TcpStream::connect_timeout(&udp.myself, SLICE);
    }
}

/// Raises a flag until it is dropped.
struct FlagGuard<'a>(&'a AtomicBool);

impl<'a> FlagGuard<'a> {
    fn new(flag: &'a AtomicBool) -> Self {
        flag.store(true, Ordering::SeqCst);
        Self(flag)
    }
}

impl Drop for FlagGuard<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::SeqCst);
    }
}

#[cfg(test)]
mod tests {
    use std::thread;

    use super::*;

    const LONG: Duration = Duration::from_secs(60);

    fn udp() -> Udp {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let bound = socket.local_addr().unwrap();
        Udp::new(socket, bound, Family::V4, false)
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn the_end_of_the_wait_reads_nothing_whether_or_not_a_wake_up_arrives() {
        for round in 0..200 {
            let mut udp = udp();
            if round % 2 == 0 {
                // Sending there fails.
                udp.myself = (Ipv4Addr::new(127, 255, 255, 255), 9).into();
            }
            thread::scope(|scope| {
                let waits = scope.spawn(|| {
                    let mut buffer = [0; 100];
                    let received = udp.receive(&mut buffer, LONG).unwrap();
                    let more = udp.drain(&mut buffer, 1_000, |_, bytes| assert!(bytes.is_empty())).unwrap();
                    (received, udp.receive(&mut buffer, LONG).unwrap().0, more)
                });
                if round % 3 == 0 {
                    thread::yield_now();
                }
                udp.end_wait();
                assert_eq!(waits.join().unwrap(), ((0, udp.myself), 0, false));
            });
        }
    }

    #[test]
    fn a_datagram_that_arrives_before_the_end_of_the_wait_is_received_with_its_source() {
        let (udp, other) = (udp(), UdpSocket::bind("127.0.0.1:0").unwrap());
        let from = other.local_addr().unwrap();
        let mut buffer = [0; 100];
        other.send_to(b"one", udp.myself()).unwrap();
        assert_eq!(udp.receive(&mut buffer, LONG).unwrap(), (3, from));
        udp.wake().unwrap();
        other.send_to(b"second", udp.myself()).unwrap();
        assert_eq!(udp.receive(&mut buffer, LONG).unwrap(), (0, udp.myself()));
        assert_eq!(udp.receive(&mut buffer, LONG).unwrap(), (6, from));
        assert!(udp.receive(&mut buffer, Duration::from_millis(1)).is_err_and(|error| is_nothing(&error)));
    }

    #[test]
    #[cfg(unix)]
    fn a_buffer_that_the_system_refuses_is_a_line() {
        let no_socket = std::fs::File::open("/dev/null").unwrap();
        let lines = crate::log_line::capture::lines(|| ask_for_buffer(&SockRef::from(&no_socket), 1 << 20));
        let [line] = &lines[..] else { panic!("{lines:?}") };
        assert!(line.starts_with("buffer refused bytes=1048576 error="), "{line}");
    }

    #[test]
    fn a_broadcast_address_of_one_of_our_networks_is_refused() {
        let config = GossipConfig::local("a").bind(([127, 255, 255, 255], 0));
        let error = Sockets::bind(&config).unwrap_err().to_string();
        if cfg!(target_os = "linux") {
            assert!(error.contains("`bind` is 127.255.255.255:0, a broadcast address"), "{error}");
            let config =
                GossipConfig::local("a").bind(([127, 0, 0, 1], 0)).advertise(([127, 255, 255, 255], 1));
            let error = Sockets::bind(&config).unwrap_err().to_string();
            assert!(error.contains("`advertise` is 127.255.255.255:1, a broadcast address"), "{error}");
        }
    }
}
