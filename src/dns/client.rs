//! Asks name servers: a question over UDP, and over TCP where the answer was truncated.
//!
//! Each question has a socket, and with it a source port, and an id of its own. The socket is connected, so only what comes
//! from the server that was asked is received.

use std::{
    cell::Cell,
    collections::hash_map::RandomState,
    hash::BuildHasher,
    io::{self, ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream, UdpSocket},
    time::{Duration, Instant},
};

use socket2::{Domain, Protocol, Socket, Type};

use super::{
    conf::Conf,
    message::{self, Kind, Records, Refusal},
};
use crate::{
    address::any_of,
    blocking::{SLICE, is_connected, is_nothing, now, pause},
    text::Quoted,
};

/// Datagrams other than the answer, after which a server is given up.
const MAX_STRAY: usize = 64;

/// Asks on behalf of one look-up.
pub(super) struct Client<'a> {
    conf: &'a Conf,
    /// Which of the servers answered last: it is asked first, so that one that is dead is waited for once.
    first: Cell<usize>,
    is_stopped: &'a dyn Fn() -> bool,
    /// The end of the look-up, with all its questions.
    end: Option<Instant>,
}

impl<'a> Client<'a> {
    pub(super) fn new(conf: &'a Conf, is_stopped: &'a dyn Fn() -> bool, limit: Duration) -> Self {
        Self { conf, first: Cell::new(0), is_stopped, end: now().checked_add(limit) }
    }

    /// The records of a name: from the first server that has an answer.
    pub(super) fn ask(&self, name: &str, kind: Kind) -> io::Result<Records> {
        let mut failure = io::Error::other("no name server is known");
        let (servers, first) = (&self.conf.servers, self.first.get());
        for _ in 0..self.conf.attempts {
            for at in (first..servers.len()).chain(0..first) {
                self.check()?;
                let server = servers[at];
                match self.ask_server(server, name, kind) {
                    Ok(records) => {
                        self.first.set(at);
                        return Ok(records);
                    }
                    Err(error) => {
                        failure = io::Error::new(error.kind(), format!("name server {server}: {error}"))
                    }
                }
            }
        }
        self.check().and(Err(failure))
    }

    fn ask_server(&self, server: SocketAddr, name: &str, kind: Kind) -> io::Result<Records> {
        let deadline = self.deadline();
        let answered = match self.over_udp(server, deadline, name, kind, true)? {
            // Some servers do not know EDNS0 (RFC 6891, section 7).
            Err(Refusal::NotUnderstood) => self.over_udp(server, deadline, name, kind, false)?,
            answered => answered,
        };
        let records = answered.map_err(error_of)?;
        if !records.truncated {
            return Ok(records);
        }
        // If TCP fails, the truncated answer is used.
        match self.over_tcp(server, self.deadline(), name, kind) {
            Ok(Ok(whole)) => Ok(whole),
            Err(error) if (self.is_stopped)() => Err(error),
            _ => Ok(records),
        }
    }

    fn over_udp(
        &self,
        server: SocketAddr,
        deadline: Option<Instant>,
        name: &str,
        kind: Kind,
        edns: bool,
    ) -> io::Result<Result<Records, Refusal>> {
        let socket = UdpSocket::bind((any_of(server.ip()), 0))?;
        socket.connect(server)?;
        socket.set_read_timeout(Some(SLICE))?;
        let id = random();
        socket.send(&question(id, name, kind, edns)?)?;
        let (mut buffer, mut stray) = (vec![0; 1 << 16], 0);
        loop {
            let Some(len) = self.slice(deadline, socket.recv(&mut buffer))? else { continue };
            match message::answer(&buffer[..len], id, name, kind) {
                Err(Refusal::NotOurs) if stray < MAX_STRAY => stray += 1,
                answered => return Ok(answered),
            }
        }
    }

    fn over_tcp(
        &self,
        server: SocketAddr,
        deadline: Option<Instant>,
        name: &str,
        kind: Kind,
    ) -> io::Result<Result<Records, Refusal>> {
        let mut stream = self.connect(server, deadline)?;
        let id = random();
        let question = question(id, name, kind, true)?;
        let prefix = (question.len() as u16).to_be_bytes();
        // It fits into the buffer of any socket.
        stream.write_all(&[&prefix[..], &question].concat())?;
        let mut prefix = [0; 2];
        self.read_exact(&mut stream, deadline, &mut prefix)?;
        let mut answer = vec![0; usize::from(u16::from_be_bytes(prefix))];
        self.read_exact(&mut stream, deadline, &mut answer)?;
        Ok(message::answer(&answer, id, name, kind))
    }

    fn connect(&self, server: SocketAddr, deadline: Option<Instant>) -> io::Result<TcpStream> {
        let socket = Socket::new(Domain::for_address(server), Type::STREAM, Some(Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        // `is_connected` tells whether it succeeds.
        let _ = socket.connect(&server.into());
        while !is_connected(&socket)? {
            self.in_time(deadline)?;
            pause(SLICE / 10);
        }
        socket.set_nonblocking(false)?;
        socket.set_read_timeout(Some(SLICE))?;
        socket.set_write_timeout(Some(SLICE))?;
        Ok(socket.into())
    }

    fn read_exact(
        &self,
        stream: &mut TcpStream,
        deadline: Option<Instant>,
        mut rest: &mut [u8],
    ) -> io::Result<()> {
        while !rest.is_empty() {
            // A server that keeps sending a little is bounded as well.
            self.in_time(deadline)?;
            match self.slice(deadline, stream.read(rest))? {
                Some(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Some(len) => rest = &mut rest[len..],
                None => {}
            }
        }
        Ok(())
    }

    /// When the question to one server is given up.
    fn deadline(&self) -> Option<Instant> {
        let own = now().checked_add(self.conf.timeout);
        own.into_iter().chain(self.end).min()
    }

    /// Turns the end of a slice into `None`, and the end of the deadline into an error.
    fn slice(&self, deadline: Option<Instant>, result: io::Result<usize>) -> io::Result<Option<usize>> {
        match result {
            Ok(len) => Ok(Some(len)),
            Err(error) if is_nothing(&error) => self.in_time(deadline).map(|()| None),
            Err(error) => Err(error),
        }
    }

    fn in_time(&self, deadline: Option<Instant>) -> io::Result<()> {
        self.check()?;
        let is_over = deadline.is_some_and(|at| now() >= at);
        if is_over { Err(io::Error::new(ErrorKind::TimedOut, "it did not answer in time")) } else { Ok(()) }
    }

    fn check(&self) -> io::Result<()> {
        if (self.is_stopped)() {
            return Err(io::Error::new(ErrorKind::Interrupted, "the look-up was stopped"));
        }
        let is_over = self.end.is_some_and(|end| now() >= end);
        if is_over { Err(io::Error::new(ErrorKind::TimedOut, "the look-up took too long")) } else { Ok(()) }
    }
}

fn question(id: u16, name: &str, kind: Kind, edns: bool) -> io::Result<Vec<u8>> {
    let error = || {
        io::Error::new(
            ErrorKind::InvalidInput,
            format!("{} is not a name that DNS can be asked for", Quoted(name)),
        )
    };
    message::question(id, name, kind, edns).ok_or_else(error)
}

fn error_of(refusal: Refusal) -> io::Error {
    match refusal {
        Refusal::Failed(code) => io::Error::other(format!("it answered {code:?}")),
        Refusal::NotUnderstood => io::Error::other("it does not understand the question"),
        Refusal::NotOurs => {
            io::Error::new(ErrorKind::InvalidData, "what it sends answers no question of ours")
        }
        Refusal::Malformed => io::Error::new(ErrorKind::InvalidData, "its answer is malformed"),
    }
}

/// The standard library's hasher is keyed by the system's randomness.
fn random() -> u16 {
    RandomState::new().hash_one(0) as u16
}
