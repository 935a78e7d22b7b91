//! Runs streams: accepts and opens them, and has the node and the other side talk.

use std::{
    io::{self, ErrorKind},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{
    engine::Engine,
    line::{Deadline, Line, SLICE},
};
use crate::swim::{StreamFailure, StreamId, StreamStep};

/// The pause after a failed accept: out of descriptors, usually.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// Accepts streams until the node stops.
pub(super) fn accept(engine: &Arc<Engine>, listener: &TcpListener) {
    loop {
        let accepted = listener.accept();
        if engine.stop.is_stopped() {
            return;
        }
        match accepted {
            Ok((socket, from)) => begin_inbound(engine, socket, from),
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(error) => {
                log::warn!("{}: cannot accept a stream: {error}", engine.name);
                engine.stop.wait(ACCEPT_PAUSE);
            }
        }
    }
}

/// Makes a blocked [`accept`] look at the stop flag.
pub(super) fn end_accept(listener: &TcpListener, myself: SocketAddr) {
    // Linux knows how to shut a listener down; elsewhere a connection does it.
    if SockRef::from(listener).shutdown(std::net::Shutdown::Both).is_err() {
        let _ = TcpStream::connect_timeout(&myself, SLICE);
    }
}

fn begin_inbound(engine: &Arc<Engine>, socket: TcpStream, from: SocketAddr) {
    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
    if !engine.config.allows(from.ip()) {
        return engine.count(|counted| counted.dropped_not_allowed += 1);
    }
    let Some(stream) = engine.with_node(|node, now| node.accept_stream(now, from)) else { return };
    let timeout = engine.stream_timeout;
    let job = Arc::clone(engine);
    let taken = engine.inbound.submit(Some(from.ip()), move || {
        job.guarded("stream", || run(&job, stream, timeout, |deadline| Line::answer(socket, deadline)));
    });
    if !taken {
        fail(engine, stream, StreamFailure::TimedOut);
    }
}

/// Opens a stream that the node asked for.
pub(super) fn begin_outbound(engine: &Arc<Engine>, stream: StreamId, addr: SocketAddr, timeout: Duration) {
    let job = Arc::clone(engine);
    let taken = engine.outbound.submit(None, move || {
        job.guarded("stream", || {
            job.with_node(|node, now| node.stream_began(now, stream));
            job.wake();
            run(&job, stream, timeout, |deadline| Line::open(connect(&deadline, addr)?, deadline))
        });
    });
    if !taken {
        fail(engine, stream, StreamFailure::NotTried);
    }
}

fn fail(engine: &Engine, stream: StreamId, failure: StreamFailure) {
    engine.with_node(|node, now| node.handle_stream_failure(now, stream, failure));
    engine.wake();
}

fn run(
    engine: &Engine,
    stream: StreamId,
    timeout: Duration,
    open: impl FnOnce(Deadline<'_>) -> io::Result<Line<'_>>,
) {
    let result = open(Deadline::after(engine, timeout)).and_then(|line| converse(engine, stream, line));
    if let Err(error) = result {
        log::debug!("{}: {stream:?} failed: {error}", engine.name);
        let failure = match error.kind() {
            ErrorKind::ConnectionRefused => StreamFailure::Refused,
            // Whoever closes while we write resets the connection.
            ErrorKind::InvalidData
            | ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe => StreamFailure::Rejected,
            _ => StreamFailure::TimedOut,
        };
        fail(engine, stream, failure);
    }
}

/// Does what the node wants until it closes the stream.
fn converse(engine: &Engine, stream: StreamId, mut line: Line<'_>) -> io::Result<()> {
    let mut buffer = Vec::new();
    loop {
        let step = engine.with_node(|node, now| node.poll_stream(now, stream, &mut buffer));
        match step {
            StreamStep::Send => line.send(&mut buffer)?,
            StreamStep::Receive => {
                line.receive(&mut buffer)?;
                if line.is_sealed() && changes_keys(engine, &mut buffer) {
                    return line
                        .send(&mut buffer)
                        .and(Err(io::Error::other("it was about keys, and is done")));
                }
                engine.with_node(|node, now| node.handle_frame(now, stream, &buffer));
                engine.wake();
            }
            StreamStep::Close => {
                engine.wake();
                return Ok(());
            }
        }
    }
}

#[cfg(feature = "encryption")]
use super::rotation::answer as changes_keys;

#[cfg(not(feature = "encryption"))]
fn changes_keys(_: &Engine, _: &mut Vec<u8>) -> bool {
    false
}

/// Sends a frame over a sealed stream of its own; the answer takes its place.
#[cfg(feature = "encryption")]
pub(super) fn ask_sealed(engine: &Engine, addr: SocketAddr, frame: &mut Vec<u8>) -> io::Result<()> {
    let deadline = Deadline::after(engine, engine.stream_timeout);
    let mut line = Line::open_sealed(connect(&deadline, addr)?, deadline)?;
    line.send(frame)?;
    line.receive(frame)
}

/// Connects without blocking for longer than a stop may take.
fn connect(deadline: &Deadline<'_>, addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    let mut pause = Duration::from_micros(200);
    if let Err(error) = socket.connect(&addr.into()) {
        // "In progress" has no kind of its own that could be named, so these are named instead.
        if matches!(
            error.kind(),
            ErrorKind::ConnectionRefused
                | ErrorKind::NetworkUnreachable
                | ErrorKind::HostUnreachable
                | ErrorKind::NetworkDown
                | ErrorKind::AddrNotAvailable
                | ErrorKind::PermissionDenied
                | ErrorKind::InvalidInput
        ) {
            return Err(error);
        }
    }
    while socket.peer_addr().is_err() {
        if let Some(error) = socket.take_error()? {
            return Err(error);
        }
        deadline.sleep(pause)?;
        pause = (pause * 2).min(SLICE / 4);
    }
    socket.set_nonblocking(false)?;
    Ok(socket.into())
}
