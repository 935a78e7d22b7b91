//! The sockets of a node: UDP and TCP on one port, bound on the caller's thread.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, Shutdown, SocketAddr, TcpListener, UdpSocket},
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{config::GossipConfig, resolve};
use crate::Error;

/// How often port 0 is tried until UDP and TCP get the same one.
const PORT_TRIES: usize = 32;
/// What a small datagram counts as, in bytes.
const LEAST: usize = 1 << 10;
/// Connections that wait to be accepted.
const BACKLOG: i32 = 128;

/// Both sockets, and the address that others are told.
#[derive(Debug)]
pub(super) struct Sockets {
    pub(super) udp: Udp,
    pub(super) tcp: TcpListener,
    pub(super) advertise: SocketAddr,
}

impl Sockets {
    pub(super) fn bind(config: &GossipConfig) -> Result<Self, Error> {
        let (udp, tcp) = bind_pair(config.bind, config.recv_buffer)
            .map_err(|source| Error::Bind { addr: config.bind, source })?;
        let bound = udp.local_addr().map_err(|source| Error::Bind { addr: config.bind, source })?;
        let advertise = find_advertised(config, bound)?;
        Ok(Self { udp: Udp::new(udp, bound), tcp, advertise })
    }
}

fn bind_pair(addr: SocketAddr, recv_buffer: usize) -> io::Result<(UdpSocket, TcpListener)> {
    let mut tries = if addr.port() == 0 { PORT_TRIES } else { 1 };
    loop {
        tries -= 1;
        let tcp = bind_tcp(addr)?;
        match bind_udp(tcp.local_addr()?, recv_buffer) {
            Ok(udp) => return Ok((udp, tcp)),
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
    if let Err(error) = socket.set_recv_buffer_size(recv_buffer) {
        log::debug!("the kernel refused a receive buffer of {recv_buffer} bytes: {error}");
    }
    socket.bind(&addr.into())?;
    Ok(socket.into())
}

fn accept_both_families(socket: &Socket, addr: SocketAddr) -> io::Result<()> {
    match addr.ip() {
        IpAddr::V6(ip) => socket.set_only_v6(!ip.is_unspecified()),
        IpAddr::V4(_) => Ok(()),
    }
}

/// What others are told to send to: never an unspecified address.
fn find_advertised(config: &GossipConfig, bound: SocketAddr) -> Result<SocketAddr, Error> {
    if let Some(mut addr) = config.advertise {
        if addr.port() == 0 {
            addr.set_port(bound.port());
        }
        return Ok(addr);
    }
    if !bound.ip().is_unspecified() {
        return Ok(bound);
    }
    let seeds = config.seeds.iter().filter_map(|seed| resolve::resolve(seed, bound.port()).ok()).flatten();
    // Addresses set aside for documentation: nothing is sent there, the route alone is looked up.
    let anywhere: [SocketAddr; 2] =
        [([192, 0, 2, 1], 9).into(), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into()];
    let ip = seeds.chain(anywhere).filter(|to| bound.is_ipv6() || to.is_ipv4()).find_map(source_toward);
    ip.map(|ip| SocketAddr::new(ip, bound.port())).ok_or_else(|| Error::Config {
        field: "advertise",
        problem: format!("is needed: bound to {bound}, and no route shows which address others could use"),
    })
}

/// The address from which this host would send to another.
fn source_toward(to: SocketAddr) -> Option<IpAddr> {
    let from: SocketAddr = match to {
        SocketAddr::V4(_) => (Ipv4Addr::UNSPECIFIED, 0).into(),
        SocketAddr::V6(_) => (Ipv6Addr::UNSPECIFIED, 0).into(),
    };
    let socket = UdpSocket::bind(from).ok()?;
    socket.connect(to).ok()?;
    Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
}

/// The datagram socket. Speaks of IPv4 peers in IPv4, also where it is an IPv6 socket for both.
#[derive(Debug)]
pub(super) struct Udp {
    socket: UdpSocket,
    maps_v4: bool,
    myself: SocketAddr,
}

impl Udp {
    fn new(socket: UdpSocket, bound: SocketAddr) -> Self {
        let ip = match bound.ip() {
            IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
            IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
            ip => ip,
        };
        Self { socket, maps_v4: bound.is_ipv6(), myself: SocketAddr::new(ip, bound.port()) }
    }

    /// Where this node reaches itself.
    pub(super) fn myself(&self) -> SocketAddr {
        self.myself
    }

    /// Ends the wait for a datagram with an empty one to ourselves.
    pub(super) fn wake(&self) -> io::Result<()> {
        self.send(self.myself, &[])
    }

    /// Ends it for ever, also where our own address is not ours any more.
    pub(super) fn end_wait(&self) {
        let _ = self.wake();
        // Linux says that the socket is not connected, and ends the wait nevertheless.
        let _ = SockRef::from(&self.socket).shutdown(Shutdown::Read);
    }

    pub(super) fn send(&self, to: SocketAddr, bytes: &[u8]) -> io::Result<()> {
        let to = match to {
            SocketAddr::V4(v4) if self.maps_v4 => (v4.ip().to_ipv6_mapped(), v4.port()).into(),
            to => to,
        };
        self.socket.send_to(bytes, to).map(drop)
    }

    /// Waits for a datagram, at most this long.
    pub(super) fn receive(&self, buffer: &mut [u8], limit: Duration) -> io::Result<(usize, SocketAddr)> {
        // Zero would mean for ever.
        self.socket.set_read_timeout(Some(limit.max(Duration::from_micros(1))))?;
        self.receive_next(buffer)
    }

    /// Takes about so many bytes of what has arrived, without waiting; says whether there may be more.
    pub(super) fn drain(
        &self,
        buffer: &mut [u8],
        most: usize,
        mut take: impl FnMut(SocketAddr, &mut [u8]),
    ) -> io::Result<bool> {
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

    fn receive_next(&self, buffer: &mut [u8]) -> io::Result<(usize, SocketAddr)> {
        let (len, from) = self.socket.recv_from(buffer)?;
        Ok((len, SocketAddr::new(from.ip().to_canonical(), from.port())))
    }
}

/// Whether an error only says that nothing has come.
pub(super) fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut | io::ErrorKind::Interrupted)
}
