//! A blocking socket that is read and written in short slices, so that its deadline and a stop are noticed within one slice.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
    time::{Duration, Instant},
};

use super::{queue::Place, workers::Workers};
use crate::{
    Stop,
    blocking::{SLICE, is_nothing, now},
};

/// How long the caller of a stream may take to send its first frame.
const FIRST_FRAME: Duration = Duration::from_secs(3);
/// The same while other streams wait for a thread.
const PRESSED_FIRST_FRAME: Duration = Duration::from_millis(500);

/// A socket and its deadline.
pub(super) struct TimedSocket<'a> {
    socket: TcpStream,
    pub(super) deadline: Deadline<'a>,
}

impl<'a> TimedSocket<'a> {
    pub(super) fn new(socket: TcpStream, deadline: Deadline<'a>) -> io::Result<Self> {
        socket.set_nodelay(true)?;
        socket.set_read_timeout(Some(SLICE))?;
        socket.set_write_timeout(Some(SLICE))?;
        Ok(Self { socket, deadline })
    }

    /// Continues with the socket of an earlier one, under another deadline.
    pub(super) fn resume(socket: TcpStream, deadline: Deadline<'a>) -> Self {
        Self { socket, deadline }
    }

    pub(super) fn into_socket(self) -> TcpStream {
        self.socket
    }
}

impl Read for TimedSocket<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        loop {
            if let Some(len) = self.deadline.check(self.socket.read(buffer))? {
                return Ok(len);
            }
        }
    }
}

impl Write for TimedSocket<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        loop {
            if let Some(len) = self.deadline.check(self.socket.write(bytes))? {
                return Ok(len);
            }
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// When a stream is given up: its time is over, its place is recalled, or the node stops.
#[derive(Clone, Copy)]
pub(super) struct Deadline<'a> {
    stop: &'a Stop,
    at: Option<Instant>,
    place: Option<&'a Place>,
    /// For an exchange that others began: when its time is over while others wait in this pool.
    pressed: Option<(Instant, &'a Workers)>,
    /// Since when the stream waits for the other side's first frame, and the pool of the streams that wait for the
    /// same.
    first_frame: Option<(Instant, &'a Workers)>,
}

impl<'a> Deadline<'a> {
    pub(super) fn after(stop: &'a Stop, timeout: Duration) -> Self {
        Self { stop, at: now().checked_add(timeout), place: None, pressed: None, first_frame: None }
    }

    /// This deadline, with a place that may be recalled.
    pub(super) fn at(self, place: &'a Place) -> Self {
        Self { place: Some(place), ..self }
    }

    /// This deadline, with less time while others wait in a pool.
    pub(super) fn pressed_after(self, timeout: Duration, pool: &'a Workers) -> Self {
        Self { pressed: now().checked_add(timeout).map(|at| (at, pool)), ..self }
    }

    /// This deadline, with a few seconds until the first frame has arrived, and less while others wait in a pool.
    pub(super) fn first_frame_soon(self, pool: &'a Workers) -> Self {
        Self { first_frame: Some((now(), pool)), ..self }
    }

    /// Notes that the first frame has arrived.
    pub(super) fn note_first_frame(&mut self) {
        self.first_frame = None;
    }

    pub(super) fn sleep(&self, pause: Duration) -> io::Result<()> {
        self.stop.wait(pause);
        if self.passed() { Err(ErrorKind::TimedOut.into()) } else { Ok(()) }
    }

    fn passed(&self) -> bool {
        self.stop.is_stopped()
            || self.place.is_some_and(Place::is_recalled)
            || self.at.is_some_and(|at| now() >= at)
            || self.is_half_open()
            || self.is_in_the_way()
    }

    fn is_in_the_way(&self) -> bool {
        self.pressed.is_some_and(|(at, pool)| now() >= at && pool.is_pressed())
    }

    /// Whether the first frame is late: a caller that sends nothing gives way to others.
    fn is_half_open(&self) -> bool {
        self.first_frame.is_some_and(|(since, pool)| {
            let limit = if pool.is_pressed() { PRESSED_FIRST_FRAME } else { FIRST_FRAME };
            now().saturating_duration_since(since) >= limit
        })
    }

    /// Turns the end of a slice into `None`, and the passing of the deadline into an error.
    fn check(&self, result: io::Result<usize>) -> io::Result<Option<usize>> {
        match result {
            Ok(len) if !self.passed() => Ok(Some(len)),
            Err(error) if is_nothing(&error) && !self.passed() => Ok(None),
            Ok(_) => Err(ErrorKind::TimedOut.into()),
            Err(error) if is_nothing(&error) => Err(ErrorKind::TimedOut.into()),
            Err(error) => Err(error),
        }
    }
}
