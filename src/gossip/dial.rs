//! Connections that this node opens, and what a failure shows about the other side.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, TcpStream},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::timed_socket::Deadline;
use crate::{
    blocking::{SLICE, is_connected, now},
    swim::{Config, StreamFailure},
};

/// Why a stream did not reach its end.
pub(super) struct StreamError {
    pub(super) failure: StreamFailure,
    pub(super) error: io::Error,
}

impl StreamError {
    /// The failure is this node's own, and shows nothing about the other side.
    fn not_tried(error: io::Error) -> Self {
        Self { failure: StreamFailure::NotTried, error }
    }
}

impl From<io::Error> for StreamError {
    fn from(error: io::Error) -> Self {
        let failure = match error.kind() {
            ErrorKind::ConnectionRefused => StreamFailure::Refused,
            // A peer that closes the stream while this node writes resets the connection.
            ErrorKind::InvalidData
            | ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe => StreamFailure::Rejected,
            _ => StreamFailure::TimedOut,
        };
        Self { failure, error }
    }
}

/// What all streams that a node opens have in common.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Dial {
    /// The address that they come from.
    pub(super) source: Option<SocketAddr>,
    /// The most bytes of their segments, both ways.
    pub(super) mss: Option<u32>,
}

impl Dial {
    /// Where datagrams are smaller than by default, segments are so too: a path drops packets that are larger.
    pub(super) fn new(bound: SocketAddr, max_datagram: usize) -> Self {
        /// The header of TCP is longer than that of UDP by this many bytes.
        const LONGER: usize = 12;
        let is_less = max_datagram < Config::lan("").max_datagram;
        let mss = is_less.then(|| max_datagram.saturating_sub(LONGER) as u32);
        Self { source: source_of(bound), mss }
    }
}

/// The source address of a node's streams, from where it is bound: others know members by their addresses.
fn source_of(bound: SocketAddr) -> Option<SocketAddr> {
    let mut source = match bound.ip().to_canonical() {
        // An IPv6 address may have a scope.
        IpAddr::V6(_) => bound,
        ip => SocketAddr::new(ip, 0),
    };
    source.set_port(0);
    (!source.ip().is_unspecified()).then_some(source)
}

/// RFC 8305, section 8: the recommended connection attempt delay.
const ATTEMPT_DELAY: Duration = Duration::from_millis(250);
/// Handshakes with one address at the same time.
const MAX_HANDSHAKES: usize = 4;

/// Handshakes with one address, of which the first that is done counts. Where packets get lost, a kernel sends the first of a
/// handshake again only after 1 s, 3 s and 7 s (RFC 6298, section 2), so another begins before that.
pub(super) struct Connecting {
    dial: Dial,
    addr: SocketAddr,
    sockets: Vec<Socket>,
    begun: Instant,
}

impl Connecting {
    pub(super) fn begin(dial: Dial, addr: SocketAddr) -> Result<Self, StreamError> {
        Ok(Self { dial, addr, sockets: vec![begin_connect(dial, addr)?], begun: now() })
    }

    /// The socket that is connected by now, if one is. An error of one socket ends the attempt, as all have the same
    /// address.
    pub(super) fn poll(&mut self) -> io::Result<Option<TcpStream>> {
        for at in 0..self.sockets.len() {
            if is_connected(&self.sockets[at])? {
                let socket = self.sockets.swap_remove(at);
                socket.set_nonblocking(false)?;
                return Ok(Some(socket.into()));
            }
        }
        if self.sockets.len() < MAX_HANDSHAKES && now().saturating_duration_since(self.begun) >= ATTEMPT_DELAY
        {
            self.begun = now();
            // If another handshake cannot begin, the others go on.
            self.sockets.extend(begin_connect(self.dial, self.addr).ok());
        }
        Ok(None)
    }
}

/// Connects without blocking for longer than a stop may take.
pub(super) fn connect(
    deadline: &Deadline<'_>,
    dial: Dial,
    addr: SocketAddr,
) -> Result<TcpStream, StreamError> {
    let mut connecting = Connecting::begin(dial, addr)?;
    let mut pause = Duration::from_micros(200);
    loop {
        if let Some(stream) = connecting.poll()? {
            return Ok(stream);
        }
        deadline.sleep(pause)?;
        pause = (pause * 2).min(SLICE / 4);
    }
}

/// A socket that is being connected. An error before anything was sent says nothing about the other side, unless it refused.
fn begin_connect(dial: Dial, addr: SocketAddr) -> Result<Socket, StreamError> {
    let socket = outgoing(dial, addr).map_err(StreamError::not_tried)?;
    match socket.connect(&addr.into()) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Err(error.into()),
        // "In progress" has no `ErrorKind` that could be named, so these kinds are named instead.
        Err(error)
            if matches!(
                error.kind(),
                ErrorKind::NetworkUnreachable
                    | ErrorKind::HostUnreachable
                    | ErrorKind::NetworkDown
                    | ErrorKind::AddrNotAvailable
                    | ErrorKind::AddrInUse
                    | ErrorKind::PermissionDenied
                    | ErrorKind::OutOfMemory
                    | ErrorKind::InvalidInput
            ) =>
        {
            Err(StreamError::not_tried(error))
        }
        _ => Ok(socket),
    }
}

fn outgoing(dial: Dial, addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(mss) = dial.mss {
        // Without a limit, paths that carry larger segments still work.
        let _ = limit_segments(&socket, mss);
    }
    if let Some(source) = dial.source.filter(|source| source.is_ipv4() == addr.is_ipv4()) {
        socket.bind(&source.into())?;
    }
    Ok(socket)
}

#[cfg(unix)]
fn limit_segments(socket: &Socket, mss: u32) -> io::Result<()> {
    socket.set_tcp_mss(mss)
}

#[cfg(not(unix))]
fn limit_segments(_: &Socket, _: u32) -> io::Result<()> {
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_come_from_where_a_node_is_bound_unless_that_is_anywhere() {
        let source = |bound: &str| source_of(bound.parse().unwrap()).map(|source| source.to_string());
        assert_eq!(source("10.0.0.5:7946").as_deref(), Some("10.0.0.5:0"));
        assert_eq!(source("[::ffff:10.0.0.5]:7946").as_deref(), Some("10.0.0.5:0"));
        assert_eq!(source("[fe80::1%3]:7946").as_deref(), Some("[fe80::1%3]:0"));
        assert_eq!((source("0.0.0.0:7946"), source("[::]:7946")), (None, None));
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn segments_are_small_where_datagrams_are() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let mss = |max_datagram| {
            let dial = Dial::new(([127, 0, 0, 1], 1).into(), max_datagram);
            let socket = begin_connect(dial, listener.local_addr().unwrap()).ok().unwrap();
            while !is_connected(&socket).unwrap() {}
            socket.tcp_mss().unwrap()
        };
        assert!(mss(1232) <= 1220 && mss(1400) > 1400);
    }

    #[test]
    fn an_address_that_we_cannot_connect_from_says_nothing_about_the_other_side() {
        // An address reserved for documentation, so not this host's.
        let source = Some(SocketAddr::from(([192, 0, 2, 1], 0)));
        let error = begin_connect(Dial { source, mss: None }, ([127, 0, 0, 1], 9).into()).err().unwrap();
        assert_eq!(error.failure, StreamFailure::NotTried);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn a_handshake_without_an_answer_is_raced_by_others_and_the_first_that_is_done_counts() {
        let listener = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        listener.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
        listener.listen(0).unwrap();
        let addr = listener.local_addr().unwrap().as_socket().unwrap();
        // The system drops further handshakes, as the listener's queue is full then.
        let first = TcpStream::connect(addr).unwrap();
        let mut connecting = Connecting::begin(Dial::default(), addr).ok().unwrap();
        let deadline = now() + Duration::from_secs(60);
        while connecting.sockets.len() < MAX_HANDSHAKES {
            assert!(connecting.poll().unwrap().is_none() && now() < deadline);
            crate::blocking::pause(Duration::from_millis(1));
        }
        connecting.begun = connecting.begun.checked_sub(ATTEMPT_DELAY).unwrap();
        assert!(connecting.poll().unwrap().is_none());
        assert_eq!(connecting.sockets.len(), MAX_HANDSHAKES, "and no more");
        listener.accept().unwrap();
        drop(first);
        while connecting.poll().unwrap().is_none() {
            assert!(now() < deadline, "it is let in");
            crate::blocking::pause(Duration::from_millis(1));
        }
        assert_eq!(connecting.sockets.len(), MAX_HANDSHAKES - 1);
    }
}
