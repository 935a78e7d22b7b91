//! Runs streams: blocking sockets in short slices, so that a stop is noticed within one.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::engine::Engine;
use crate::{
    swim::{StreamFailure, StreamId, StreamStep},
    wire::frame,
};

/// The longest that a blocking call goes without a look at the stop flag.
const SLICE: Duration = Duration::from_millis(50);
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
    let Some(stream) = engine.with_node(|node, now| node.accept_stream(now, from)) else { return };
    let timeout = engine.stream_timeout;
    let job = Arc::clone(engine);
    let taken = engine.inbound.submit(move || {
        job.guarded("stream", || run(&job, stream, timeout, |_| Ok(socket)));
    });
    if !taken {
        fail(engine, stream, StreamFailure::TimedOut);
    }
}

/// Opens a stream that the node asked for.
pub(super) fn begin_outbound(engine: &Arc<Engine>, stream: StreamId, addr: SocketAddr, timeout: Duration) {
    let job = Arc::clone(engine);
    let taken = engine.outbound.submit(move || {
        job.guarded("stream", || run(&job, stream, timeout, |line| connect(line, addr)));
    });
    if !taken {
        fail(engine, stream, StreamFailure::TimedOut);
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
    open: impl FnOnce(&Deadline<'_>) -> io::Result<TcpStream>,
) {
    let deadline = Deadline::after(engine, timeout);
    let result = open(&deadline).and_then(|socket| converse(engine, stream, &socket, &deadline));
    if let Err(error) = result {
        log::debug!("{}: {stream:?} failed: {error}", engine.name);
        let failure = match error.kind() {
            ErrorKind::ConnectionRefused => StreamFailure::Refused,
            ErrorKind::InvalidData | ErrorKind::UnexpectedEof => StreamFailure::Rejected,
            _ => StreamFailure::TimedOut,
        };
        fail(engine, stream, failure);
    }
}

fn converse(
    engine: &Engine,
    stream: StreamId,
    socket: &TcpStream,
    deadline: &Deadline<'_>,
) -> io::Result<()> {
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(SLICE))?;
    socket.set_write_timeout(Some(SLICE))?;
    let mut buffer = Vec::new();
    loop {
        let step = engine.with_node(|node, now| node.poll_stream(now, stream, &mut buffer));
        match step {
            StreamStep::Send => {
                write_all(socket, &frame::prefix(&buffer), deadline)?;
                write_all(socket, &buffer, deadline)?;
            }
            StreamStep::Receive => {
                read_frame(socket, &mut buffer, deadline)?;
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

fn read_frame(socket: &TcpStream, buffer: &mut Vec<u8>, deadline: &Deadline<'_>) -> io::Result<()> {
    let mut prefix = [0; frame::PREFIX];
    read_exact(socket, &mut prefix, deadline)?;
    let len =
        frame::length(prefix).ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "a frame is too long"))?;
    buffer.resize(len, 0);
    read_exact(socket, buffer, deadline)
}

fn read_exact(mut socket: &TcpStream, mut rest: &mut [u8], deadline: &Deadline<'_>) -> io::Result<()> {
    while !rest.is_empty() {
        match deadline.check(socket.read(rest))? {
            Some(0) => return Err(ErrorKind::UnexpectedEof.into()),
            Some(len) => rest = &mut rest[len..],
            None => {}
        }
    }
    Ok(())
}

fn write_all(mut socket: &TcpStream, mut rest: &[u8], deadline: &Deadline<'_>) -> io::Result<()> {
    while !rest.is_empty() {
        if let Some(len) = deadline.check(socket.write(rest))? {
            rest = &rest[len..];
        }
    }
    Ok(())
}

/// Connects without blocking for longer than a stop may take.
fn connect(deadline: &Deadline<'_>, addr: SocketAddr) -> io::Result<TcpStream> {
    let socket = Socket::new(Domain::for_address(addr), Type::STREAM, Some(Protocol::TCP))?;
    socket.set_nonblocking(true)?;
    let mut pause = Duration::from_micros(200);
    if let Err(error) = socket.connect(&addr.into()) {
        // "In progress" has no kind of its own; whatever else it is, the socket tells below.
        if error.kind() == ErrorKind::ConnectionRefused {
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

/// When a stream is over whatever happens: its time is up, or the node stops.
struct Deadline<'a> {
    engine: &'a Engine,
    at: Option<Instant>,
}

#[expect(clippy::disallowed_methods, reason = "streams run in real time")]
impl<'a> Deadline<'a> {
    fn after(engine: &'a Engine, timeout: Duration) -> Self {
        Self { engine, at: Instant::now().checked_add(timeout) }
    }

    fn passed(&self) -> bool {
        self.engine.stop.is_stopped() || self.at.is_some_and(|at| Instant::now() >= at)
    }

    /// Turns a slice that ran out into `None`, and the end of all time into an error.
    fn check(&self, result: io::Result<usize>) -> io::Result<Option<usize>> {
        match result {
            Ok(len) if !self.passed() => Ok(Some(len)),
            Err(error) if super::sockets::is_nothing(&error) && !self.passed() => Ok(None),
            Ok(_) => Err(ErrorKind::TimedOut.into()),
            Err(error) if super::sockets::is_nothing(&error) => Err(ErrorKind::TimedOut.into()),
            Err(error) => Err(error),
        }
    }

    fn sleep(&self, pause: Duration) -> io::Result<()> {
        self.engine.stop.wait(pause);
        if self.passed() { Err(ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}
