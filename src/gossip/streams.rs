//! Runs streams: accepts and opens them, and has the node and the other side talk.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use socket2::{Domain, Protocol, SockRef, Socket, Type};

use super::{
    engine::Engine,
    framed_stream::{Deadline, FramedStream, Parked},
    join_attempts,
    queue::{Place, account_of},
};
use crate::{
    blocking::{SLICE, is_connected},
    swim::{StreamFailure, StreamId, StreamKind, StreamStep},
};

/// The pause after a failed accept, which is for want of descriptors usually, and how long it grows.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const MAX_ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// The longest answer that is sent by the thread that heard a greeting: it fits into the buffer of any socket, so it
/// waits for nobody.
const SHORT_ANSWER: usize = 1 << 10;
/// An exchange that others began has this part of its time while more of them wait.
const PRESSED_PART: u32 = 4;

/// Accepts streams until the node stops.
pub(super) fn accept(engine: &Arc<Engine>, listener: &TcpListener) {
    let mut pause = ACCEPT_PAUSE;
    loop {
        let accepted = listener.accept();
        if engine.stop.is_stopped() {
            return;
        }
        match accepted {
            Ok((socket, from)) => {
                pause = ACCEPT_PAUSE;
                begin_inbound(engine, socket, from);
            }
            // A signal came, or whoever called has hung up.
            Err(error) if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
            Err(error) => {
                let message = format_args!("{}: cannot accept a stream: {error}", engine.name);
                engine.warnings.warn("accept", message);
                engine.stop.wait(pause);
                pause = (pause * 2).min(MAX_ACCEPT_PAUSE);
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

/// What a stream came to, if not to its end.
pub(super) struct StreamError {
    failure: StreamFailure,
    error: io::Error,
}

impl StreamError {
    /// It is our own, and says nothing about the other side.
    fn not_tried(error: io::Error) -> Self {
        Self { failure: StreamFailure::NotTried, error }
    }
}

impl From<io::Error> for StreamError {
    fn from(error: io::Error) -> Self {
        let failure = match error.kind() {
            ErrorKind::ConnectionRefused => StreamFailure::Refused,
            // Whoever closes while we write resets the connection.
            ErrorKind::InvalidData
            | ErrorKind::UnexpectedEof
            | ErrorKind::ConnectionReset
            | ErrorKind::BrokenPipe => StreamFailure::Rejected,
            _ => StreamFailure::TimedOut,
        };
        Self { failure, error }
    }
}

fn begin_inbound(engine: &Arc<Engine>, socket: TcpStream, from: SocketAddr) {
    let from = SocketAddr::new(from.ip().to_canonical(), from.port());
    if !engine.config.allows(from.ip()) {
        return engine.count(|counted| counted.dropped_not_allowed += 1);
    }
    let job = Arc::clone(engine);
    engine.pools.greetings.submit(account_of(from.ip()), engine.stream_timeout, move |place| {
        job.guarded("stream", || match place {
            Some(place) => greet(&job, place, socket, from),
            None => job.count(|counted| counted.refused_streams += 1),
        });
    });
}

/// Hears what a stream from others is for. A stream ping ends here; an exchange waits for a thread of another pool.
fn greet(engine: &Arc<Engine>, place: &Place, socket: TcpStream, from: SocketAddr) {
    let Some(stream) = engine.with_node(|node, now| node.accept_stream(now, from)) else { return };
    let deadline = Deadline::after(engine, engine.stream_timeout).at(place);
    match hear_greeting(engine, stream, socket, deadline) {
        Ok(None) => {}
        Ok(Some(exchange)) => begin_answer(engine, stream, from, exchange),
        Err(error) => give_up(engine, stream, place, error),
    }
}

/// Takes in the first frame, and answers what a short frame can answer; else returns what goes on elsewhere.
fn hear_greeting(
    engine: &Engine,
    stream: StreamId,
    socket: TcpStream,
    deadline: Deadline<'_>,
) -> Result<Option<Parked>, StreamError> {
    let mut line = FramedStream::answer(socket, deadline)?;
    let mut buffer = Vec::new();
    receive(engine, stream, &mut line, &mut buffer)?;
    loop {
        match engine.with_node(|node, now| node.poll_stream(now, stream, &mut buffer)) {
            StreamStep::Send if buffer.len() <= SHORT_ANSWER => line.send(&mut buffer)?,
            StreamStep::Send => return Ok(Some(line.park(Some(buffer)))),
            StreamStep::Receive => return Ok(Some(line.park(None))),
            StreamStep::Close => {
                engine.wake();
                return Ok(None);
            }
        }
    }
}

/// Has an exchange that others began go on once there is a thread for it.
fn begin_answer(engine: &Arc<Engine>, stream: StreamId, from: SocketAddr, exchange: Parked) {
    let job = Arc::clone(engine);
    engine.pools.answers.submit(account_of(from.ip()), engine.stream_timeout, move |place| {
        job.guarded("stream", || match place {
            Some(place) => {
                if let Err(error) = answer(&job, stream, place, exchange) {
                    give_up(&job, stream, place, error);
                }
            }
            None => {
                job.count(|counted| counted.refused_streams += 1);
                fail(&job, stream, StreamFailure::NotTried);
            }
        });
    });
}

fn answer(engine: &Engine, stream: StreamId, place: &Place, exchange: Parked) -> Result<(), StreamError> {
    begin(engine, stream);
    let timeout = engine.stream_timeout;
    let deadline = Deadline::after(engine, timeout).at(place).pressed_after(timeout / PRESSED_PART);
    converse(engine, stream, exchange.resume(deadline)?)
}

/// Opens a stream that the node asked for.
pub(super) fn begin_outbound(
    engine: &Arc<Engine>,
    stream: StreamId,
    addr: SocketAddr,
    timeout: Duration,
    kind: StreamKind,
) {
    let pool = match kind {
        StreamKind::Question => &engine.pools.questions,
        StreamKind::Exchange => &engine.pools.exchanges,
        StreamKind::Join => return join_attempts::begin(engine, stream, addr, timeout),
    };
    let job = Arc::clone(engine);
    pool.submit(account_of(addr.ip()), timeout, move |place| {
        job.guarded("stream", || match place {
            Some(place) => {
                let deadline = Deadline::after(&job, timeout).at(place);
                if let Err(error) = call(&job, stream, addr, deadline) {
                    give_up(&job, stream, place, error);
                }
            }
            None => fail(&job, stream, StreamFailure::NotTried),
        });
    });
}

fn call(
    engine: &Engine,
    stream: StreamId,
    addr: SocketAddr,
    deadline: Deadline<'_>,
) -> Result<(), StreamError> {
    begin(engine, stream);
    let socket = connect(&deadline, addr)?;
    converse(engine, stream, FramedStream::open(socket, deadline)?)
}

pub(super) fn begin(engine: &Engine, stream: StreamId) {
    engine.with_node(|node, now| node.stream_began(now, stream));
    engine.wake();
}

pub(super) fn give_up(engine: &Engine, stream: StreamId, place: &Place, mut error: StreamError) {
    if place.is_recalled() {
        engine.count(|counted| counted.refused_streams += 1);
    }
    // It was us who had no more time for it.
    if error.failure == StreamFailure::TimedOut && (place.is_recalled() || engine.stop.is_stopped()) {
        error.failure = StreamFailure::NotTried;
    }
    report_failure(engine, stream, error);
}

pub(super) fn report_failure(engine: &Engine, stream: StreamId, StreamError { failure, error }: StreamError) {
    log::debug!("{}: {stream:?} failed as {failure:?}: {error}", engine.name);
    fail(engine, stream, failure);
}

pub(super) fn fail(engine: &Engine, stream: StreamId, failure: StreamFailure) {
    engine.with_node(|node, now| node.handle_stream_failure(now, stream, failure));
    engine.wake();
}

/// Does what the node wants until it closes the stream.
pub(super) fn converse(
    engine: &Engine,
    stream: StreamId,
    mut line: FramedStream<'_>,
) -> Result<(), StreamError> {
    let mut buffer = Vec::new();
    loop {
        match engine.with_node(|node, now| node.poll_stream(now, stream, &mut buffer)) {
            StreamStep::Send => line.send(&mut buffer)?,
            StreamStep::Receive => receive(engine, stream, &mut line, &mut buffer)?,
            StreamStep::Close => {
                engine.wake();
                return Ok(());
            }
        }
    }
}

/// Receives a frame and passes it to the node, unless the stream was opened to change keys.
fn receive(
    engine: &Engine,
    stream: StreamId,
    line: &mut FramedStream<'_>,
    buffer: &mut Vec<u8>,
) -> io::Result<()> {
    line.receive(buffer)?;
    if line.is_for_keys() {
        let mut frame = std::mem::take(buffer);
        answer_key_change(engine, &mut frame);
        return line.send(&mut frame).and(Err(io::Error::other("it was about keys, and is done")));
    }
    engine.with_node(|node, now| node.handle_frame(now, stream, buffer));
    engine.wake();
    Ok(())
}

#[cfg(feature = "encryption")]
use super::rotation::answer as answer_key_change;

#[cfg(not(feature = "encryption"))]
fn answer_key_change(_: &Engine, _: &mut Vec<u8>) {}

/// Sends a frame over a stream of its own that changes keys; the answer takes its place.
#[cfg(feature = "encryption")]
pub(super) fn ask_about_keys(engine: &Engine, addr: SocketAddr, frame: &mut Vec<u8>) -> io::Result<()> {
    let deadline = Deadline::after(engine, engine.stream_timeout);
    let socket = connect(&deadline, addr).map_err(|error| error.error)?;
    let mut line = FramedStream::open_sealed(socket, deadline, super::secrets::Purpose::Keys)?;
    line.send(frame)?;
    line.receive(frame)
}

/// Where the streams of a node come from that listens there: others know members by their addresses.
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
fn connect(deadline: &Deadline<'_>, addr: SocketAddr) -> Result<TcpStream, StreamError> {
    let socket = begin_connect(source_of(deadline.engine.bound), addr)?;
    let mut pause = Duration::from_micros(200);
    while !is_connected(&socket)? {
        deadline.sleep(pause)?;
        pause = (pause * 2).min(SLICE / 4);
    }
    socket.set_nonblocking(false)?;
    Ok(socket.into())
}

/// A socket that is being connected. Whatever goes wrong before something is sent says nothing about the other side.
pub(super) fn begin_connect(source: Option<SocketAddr>, addr: SocketAddr) -> Result<Socket, StreamError> {
    let socket = outgoing(source, addr).map_err(StreamError::not_tried)?;
    match socket.connect(&addr.into()) {
        Err(error) if error.kind() == ErrorKind::ConnectionRefused => Err(error.into()),
        // "In progress" has no kind of its own that could be named, so these are named instead.
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
        // Set aside for documentation, so not ours.
        let source = Some(SocketAddr::from(([192, 0, 2, 1], 0)));
        let error = begin_connect(source, ([127, 0, 0, 1], 9).into()).err().unwrap();
        assert_eq!(error.failure, StreamFailure::NotTried);
    }
}
