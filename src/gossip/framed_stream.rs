//! A stream of frames, sealed if both sides have agreed on it.

use std::{
    io::{self, ErrorKind, Read, Write},
    net::TcpStream,
};

use super::{
    peer_log::Mismatch,
    secrets::{Opening, Purpose, Secrets, StreamSeal},
    timed_socket::{Deadline, TimedSocket},
};
use crate::{blocking::is_nothing, wire::frame};

/// A stream, once both sides have agreed whether it is sealed.
pub(super) struct FramedStream<'a> {
    socket: TimedSocket<'a>,
    seal: Option<StreamSeal>,
    /// The length of the next frame, if it was read already.
    prefix: Option<[u8; frame::PREFIX]>,
}

impl<'a> FramedStream<'a> {
    /// The stream of the side that opened it, sealed if this node seals what it sends.
    pub(super) fn open(socket: TcpStream, deadline: Deadline<'a>, secrets: &Secrets) -> io::Result<Self> {
        if secrets.seals() {
            return Self::open_sealed(socket, deadline, secrets, Purpose::Members);
        }
        Ok(Self { socket: TimedSocket::new(socket, deadline)?, seal: None, prefix: None })
    }

    /// As [`open`](Self::open), but always sealed.
    pub(super) fn open_sealed(
        socket: TcpStream,
        deadline: Deadline<'a>,
        secrets: &Secrets,
        purpose: Purpose,
    ) -> io::Result<Self> {
        let mut socket = TimedSocket::new(socket, deadline)?;
        let seal = Some(secrets.open_stream(&mut socket, purpose)?);
        Ok(Self { socket, seal, prefix: None })
    }

    /// The stream of the side that accepted it.
    pub(super) fn answer(socket: TcpStream, deadline: Deadline<'a>, secrets: &Secrets) -> io::Result<Self> {
        let mut socket = TimedSocket::new(socket, deadline)?;
        let mut first = [0; frame::PREFIX];
        socket.read_exact(&mut first)?;
        let seal = secrets.answer_stream(first, &mut socket)?;
        let prefix = if seal.is_none() { Some(first) } else { None };
        Ok(Self { socket, seal, prefix })
    }

    /// Releases the thread before this frame is sent; [`resume`](ParkedStream::resume) goes on with another.
    pub(super) fn park(self, unsent: Option<Vec<u8>>) -> ParkedStream {
        ParkedStream { socket: self.socket.into_socket(), seal: self.seal, unsent }
    }

    /// Whether the stream was opened to change keys.
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
        if self.seal.is_none() && frame::is_greeting(prefix) {
            return Err(Mismatch::Sealed.into());
        }
        let sealing = if self.seal.is_some() { StreamSeal::OVERHEAD } else { 0 };
        let len = frame::length(prefix, sealing)
            .ok_or_else(|| io::Error::new(ErrorKind::InvalidData, "a frame is too long"))?;
        frame.resize(len, 0);
        self.socket.read_exact(frame)?;
        self.socket.deadline.note_first_frame();
        if self.seal.as_mut().is_none_or(|seal| seal.open(frame)) {
            return Ok(());
        }
        Err(io::Error::new(ErrorKind::InvalidData, "a frame is not genuine"))
    }
}

/// A stream that this node opened and on which it has sent its first bytes. No thread has to wait until the other side
/// answers.
pub(super) struct OpenedStream {
    socket: TcpStream,
    /// `Some` if the stream is sealed.
    opening: Option<Opening>,
}

impl OpenedStream {
    /// Sends the first bytes: a greeting, or without sealing the frame that `hello` writes.
    pub(super) fn begin(
        socket: TcpStream,
        deadline: Deadline<'_>,
        secrets: &Secrets,
        hello: impl FnOnce(&mut Vec<u8>) -> bool,
    ) -> io::Result<Self> {
        let mut socket = TimedSocket::new(socket, deadline)?;
        let opening =
            if secrets.seals() { Some(secrets.begin_stream(&mut socket, Purpose::Members)?) } else { None };
        let mut stream = FramedStream { socket, seal: None, prefix: None };
        let mut frame = Vec::new();
        if opening.is_none() && hello(&mut frame) {
            stream.send(&mut frame)?;
        }
        let socket = stream.socket.into_socket();
        socket.set_nonblocking(true)?;
        Ok(Self { socket, opening })
    }

    /// Whether the other side has sent something, or has closed the stream.
    pub(super) fn is_answered(&self) -> bool {
        !self.socket.peek(&mut [0]).is_err_and(|error| is_nothing(&error))
    }

    /// Reads the answer to the first bytes; from then on the stream is like any other.
    pub(super) fn finish<'a>(
        self,
        deadline: Deadline<'a>,
        secrets: &Secrets,
    ) -> io::Result<FramedStream<'a>> {
        self.socket.set_nonblocking(false)?;
        let mut socket = TimedSocket::resume(self.socket, deadline);
        let seal = self.opening.map(|opening| secrets.finish_stream(&mut socket, opening)).transpose()?;
        Ok(FramedStream { socket, seal, prefix: None })
    }
}

/// A stream between two frames, which waits for a thread.
pub(super) struct ParkedStream {
    socket: TcpStream,
    seal: Option<StreamSeal>,
    unsent: Option<Vec<u8>>,
}

impl ParkedStream {
    /// Sends the frame that was not sent yet.
    pub(super) fn resume(self, deadline: Deadline<'_>) -> io::Result<FramedStream<'_>> {
        let Self { socket, seal, unsent } = self;
        let mut stream = FramedStream { socket: TimedSocket::resume(socket, deadline), seal, prefix: None };
        if let Some(mut frame) = unsent {
            stream.send(&mut frame)?;
        }
        Ok(stream)
    }
}
