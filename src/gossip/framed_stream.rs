//! One stream: frames over a blocking socket in short slices, so that a stop is noticed within one.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::{
    engine::Engine,
    queue::Place,
    secrets::{Opening, Purpose, StreamSeal},
};
use crate::{
    blocking::{SLICE, is_nothing, now},
    wire::frame,
};

/// How long whoever opens a stream to us may take to say the first thing,
const GREETING: Duration = Duration::from_secs(3);
/// and if other streams wait for their turn.
const PRESSED_GREETING: Duration = Duration::from_millis(500);

/// A stream, once both sides have agreed whether it is sealed.
pub(super) struct FramedStream<'a> {
    socket: TimedSocket<'a>,
    seal: Option<StreamSeal>,
    /// The length of the next frame, if it was read already.
    prefix: Option<[u8; frame::PREFIX]>,
}

impl<'a> FramedStream<'a> {
    /// For the side that opened it: sealed if this node seals what it sends.
    pub(super) fn open(socket: TcpStream, deadline: Deadline<'a>) -> io::Result<Self> {
        if deadline.engine.secrets.seals() {
            return Self::open_sealed(socket, deadline, Purpose::Members);
        }
        Ok(Self { socket: TimedSocket::new(socket, deadline)?, seal: None, prefix: None })
    }

    /// The same, sealed whatever this node does usually.
    pub(super) fn open_sealed(
        socket: TcpStream,
        deadline: Deadline<'a>,
        purpose: Purpose,
    ) -> io::Result<Self> {
        let mut socket = TimedSocket::new(socket, deadline)?;
        let seal = Some(deadline.engine.secrets.open_stream(&mut socket, purpose)?);
        Ok(Self { socket, seal, prefix: None })
    }

    /// For the other side, which has [`GREETING`] until the first frame is there.
    pub(super) fn answer(socket: TcpStream, deadline: Deadline<'a>) -> io::Result<Self> {
        let mut socket = TimedSocket::new(socket, deadline)?;
        socket.deadline.greeting = Some(now());
        let mut first = [0; frame::PREFIX];
        socket.read_exact(&mut first)?;
        let seal = socket.engine().secrets.answer_stream(first, &mut socket)?;
        let prefix = if seal.is_none() { Some(first) } else { None };
        Ok(Self { socket, seal, prefix })
    }

    /// Lets go of the thread, before this frame is sent; [`resume`](Parked::resume) on another.
    pub(super) fn park(self, unsent: Option<Vec<u8>>) -> Parked {
        Parked { socket: self.socket.socket, seal: self.seal, unsent }
    }

    /// Whether it was opened to change keys.
    pub(super) fn is_for_keys(&self) -> bool {
        self.seal.as_ref().is_some_and(StreamSeal::is_for_keys)
    }

    pub(super) fn send(&mut self, frame: &mut Vec<u8>) -> io::Result<()> {
        if let Some(seal) = &mut self.seal {
            seal.seal(frame);
        }
        self.socket.write_all(&frame::prefix(frame))?;
        self.socket.write_all(frame)
    }

    pub(super) fn receive(&mut self, frame: &mut Vec<u8>) -> io::Result<()> {
        let prefix = match self.prefix.take() {
            Some(prefix) => prefix,
            None => {
                let mut prefix = [0; frame::PREFIX];
                self.socket.read_exact(&mut prefix)?;
                prefix
            }
        };
        let sealing = if self.seal.is_some() { StreamSeal::OVERHEAD } else { 0 };
        let len = frame::length(prefix, sealing)
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "a frame is too long"))?;
        frame.resize(len, 0);
        self.socket.read_exact(frame)?;
        self.socket.deadline.greeting = None;
        if self.seal.as_mut().is_none_or(|seal| seal.open(frame)) {
            return Ok(());
        }
        self.socket.engine().count(|counted| counted.dropped_forged += 1);
        Err(io::Error::new(ErrorKind::InvalidData, "a frame is not genuine"))
    }
}

/// A stream that we opened, once we have said the first thing: nobody has to wait until the other side says something.
pub(super) struct OpenedStream {
    socket: TcpStream,
    /// If it is sealed.
    opening: Option<Opening>,
}

impl OpenedStream {
    /// Says the first thing: a greeting, or where nothing is sealed, this frame.
    pub(super) fn begin(
        socket: TcpStream,
        deadline: Deadline<'_>,
        hello: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> io::Result<Self> {
        let mut socket = TimedSocket::new(socket, deadline)?;
        let secrets = &deadline.engine.secrets;
        let opening =
            if secrets.seals() { Some(secrets.begin_stream(&mut socket, Purpose::Members)?) } else { None };
        let mut line = FramedStream { socket, seal: None, prefix: None };
        let mut frame = Vec::new();
        if opening.is_none() && hello(&mut frame) {
            line.send(&mut frame)?;
        }
        let socket = line.socket.socket;
        socket.set_nonblocking(true)?;
        Ok(Self { socket, opening })
    }

    /// Whether the other side has said something, or has hung up.
    pub(super) fn is_answered(&self) -> bool {
        !self.socket.peek(&mut [0]).is_err_and(|error| is_nothing(&error))
    }

    /// Goes on with it.
    pub(super) fn finish(self, deadline: Deadline<'_>) -> io::Result<FramedStream<'_>> {
        self.socket.set_nonblocking(false)?;
        let mut socket = TimedSocket { socket: self.socket, deadline };
        let secrets = &deadline.engine.secrets;
        let seal = self.opening.map(|opening| secrets.finish_stream(&mut socket, opening)).transpose()?;
        Ok(FramedStream { socket, seal, prefix: None })
    }
}

/// A stream between two frames that waits for a thread.
pub(super) struct Parked {
    socket: TcpStream,
    seal: Option<StreamSeal>,
    unsent: Option<Vec<u8>>,
}

impl Parked {
    /// Sends what was left to send.
    pub(super) fn resume(self, deadline: Deadline<'_>) -> io::Result<FramedStream<'_>> {
        let Self { socket, seal, unsent } = self;
        let mut line = FramedStream { socket: TimedSocket { socket, deadline }, seal, prefix: None };
        if let Some(mut frame) = unsent {
            line.send(&mut frame)?;
        }
        Ok(line)
    }
}

/// A socket and until when it is worth anything.
pub(super) struct TimedSocket<'a> {
    socket: TcpStream,
    deadline: Deadline<'a>,
}

impl<'a> TimedSocket<'a> {
    fn new(socket: TcpStream, deadline: Deadline<'a>) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SLICE))?;
        socket.set_write_timeout(Some(SLICE))?;
        Ok(Self { socket, deadline })
    }

    pub(super) fn engine(&self) -> &'a Engine {
        self.deadline.engine
    }

    pub(super) fn read_exact(&mut self, mut rest: &mut [u8]) -> io::Result<()> {
        while !rest.is_empty() {
            match self.deadline.check(self.socket.read(rest))? {
                Some(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Some(len) => rest = &mut rest[len..],
                None => {}
            }
        }
        Ok(())
    }

    pub(super) fn write_all(&mut self, mut rest: &[u8]) -> io::Result<()> {
        while !rest.is_empty() {
            if let Some(len) = self.deadline.check(self.socket.write(rest))? {
                rest = &rest[len..];
            }
        }
        Ok(())
    }
}

/// When a stream is over whatever happens: its time is up, others need its place more, or the node stops.
#[derive(Clone, Copy)]
pub(super) struct Deadline<'a> {
    pub(super) engine: &'a Engine,
    at: Option<Instant>,
    place: Option<&'a Place>,
    /// For an exchange that others began: when its time is up if more of them wait.
    pressed_at: Option<Instant>,
    /// Since when we wait for the first thing the other side says.
    greeting: Option<Instant>,
}

impl<'a> Deadline<'a> {
    pub(super) fn after(engine: &'a Engine, timeout: Duration) -> Self {
        let at = now().checked_add(timeout);
        Self { engine, at, place: None, pressed_at: None, greeting: None }
    }

    /// The same, on a place that may be recalled.
    pub(super) fn at(self, place: &'a Place) -> Self {
        Self { place: Some(place), ..self }
    }

    /// The same, with less time while others wait for their answers.
    pub(super) fn pressed_after(self, timeout: Duration) -> Self {
        Self { pressed_at: now().checked_add(timeout), ..self }
    }

    fn passed(&self) -> bool {
        self.engine.stop.is_stopped()
            || self.place.is_some_and(Place::is_recalled)
            || self.at.is_some_and(|at| now() >= at)
            || self.is_half_open()
            || self.is_in_the_way()
    }

    fn is_in_the_way(&self) -> bool {
        self.pressed_at.is_some_and(|at| now() >= at && self.engine.pools.answers.is_pressed())
    }

    /// Whoever opens a stream and then says nothing makes room for those who have something to say.
    fn is_half_open(&self) -> bool {
        self.greeting.is_some_and(|since| {
            let limit = if self.engine.pools.greetings.is_pressed() { PRESSED_GREETING } else { GREETING };
            now().saturating_duration_since(since) >= limit
        })
    }

    /// Turns a slice that ran out into `None`, and the end of all time into an error.
    fn check(&self, result: io::Result<usize>) -> io::Result<Option<usize>> {
        match result {
            Ok(len) if !self.passed() => Ok(Some(len)),
            Err(error) if is_nothing(&error) && !self.passed() => Ok(None),
            Ok(_) => Err(ErrorKind::TimedOut.into()),
            Err(error) if is_nothing(&error) => Err(ErrorKind::TimedOut.into()),
            Err(error) => Err(error),
        }
    }

    pub(super) fn sleep(&self, pause: Duration) -> io::Result<()> {
        self.engine.stop.wait(pause);
        if self.passed() { Err(ErrorKind::TimedOut.into()) } else { Ok(()) }
    }
}
