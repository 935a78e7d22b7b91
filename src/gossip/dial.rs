//! Connections that this node opens, and what a failure shows about the other side.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, TcpStream},
    time::Duration,
};

use socket2::{Domain, Protocol, Socket, Type};

use super::timed_socket::Deadline;
use crate::{
    blocking::{SLICE, is_connected},
    swim::StreamFailure,
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

/// The source address of a node's streams, from the address where it is bound: other nodes know members by their addresses.
pub(super) fn source_of(bound: SocketAddr) -> Option<SocketAddr> {
    let mut source = match bound.ip().to_canonical() {
        // It may have a scope.
        IpAddr::V6(_) => bound,
        ip => SocketAddr::new(ip, 0),
    };
    source.set_port(0);
    (!source.ip().is_unspecified()).then_some(source)
}

/// Connects without blocking for longer than a stop may take.
pub(super) fn connect(
    deadline: &Deadline<'_>,
    source: Option<SocketAddr>,
    addr: SocketAddr,
) -> Result<TcpStream, StreamError> {
    let socket = begin_connect(source, addr)?;
    let mut pause = Duration::from_micros(200);
    while !is_connected(&socket)? {
        deadline.sleep(pause)?;
        pause = (pause * 2).min(SLICE / 4);
    }
    socket.set_nonblocking(false)?;
    Ok(socket.into())
}

/// Begins to connect a socket. An error before anything was sent shows nothing about the other side, unless that refused.
pub(super) fn begin_connect(source: Option<SocketAddr>, addr: SocketAddr) -> Result<Socket, StreamError> {
    let socket = outgoing(source, addr).map_err(StreamError::not_tried)?;
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

fn outgoing(source: Option<SocketAddr>, addr: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    if let Some(source) = source.filter(|source| source.is_ipv4() == addr.is_ipv4()) {
        socket.bind(&source.into())?;
    }
    Ok(socket)
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
    fn an_address_that_we_cannot_connect_from_says_nothing_about_the_other_side() {
        // An address reserved for documentation, so not this host's.
        let source = Some(SocketAddr::from(([192, 0, 2, 1], 0)));
        let error = begin_connect(source, ([127, 0, 0, 1], 9).into()).err().unwrap();
        assert_eq!(error.failure, StreamFailure::NotTried);
    }
}
