//! Attempts to join that nobody has answered yet: one thread has all of them, and waits for none.
//!
//! The node says how many there are at a time and which it gives up. Once the other side has sent something, an attempt is
//! an exchange like any, and goes on in their pool.

use std::{mem, net::SocketAddr, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use socket2::Socket;

use super::{
    conversation::Conversations,
    dial::{StreamError, begin_connect},
    framed_stream::OpenedStream,
    queue::account_of,
    timed_socket::Deadline,
    workers::Workers,
};
use crate::{
    blocking::{SLICE, is_connected},
    swim::{StreamFailure, StreamId, StreamStep},
};

/// The first pause between two looks at all attempts; it doubles.
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = SLICE.checked_div(4).unwrap();

#[derive(Debug)]
pub(super) struct JoinAttempts {
    talk: Arc<Conversations>,
    /// The pool of the one thread.
    thread: Workers,
    /// The pool in which attempts that are answered go on.
    exchanges: Workers,
    queued: Mutex<Queued>,
    /// A token for the thread when there are new ones.
    wake: (Sender<()>, Receiver<()>),
}

#[derive(Debug, Default)]
struct Queued {
    new: Vec<NewAttempt>,
    /// Whether there is a thread that will take them in.
    runs: bool,
}

/// An attempt that has not begun.
#[derive(Debug, Clone, Copy)]
struct NewAttempt {
    stream: StreamId,
    addr: SocketAddr,
    timeout: Duration,
}

struct Attempt {
    new: NewAttempt,
    stage: Stage,
}

enum Stage {
    Connecting(Socket),
    Opened(OpenedStream),
}

impl JoinAttempts {
    pub(super) fn new(talk: Arc<Conversations>, thread: Workers, exchanges: Workers) -> Self {
        Self { talk, thread, exchanges, queued: Mutex::default(), wake: bounded(1) }
    }

    /// Begins an attempt that the node asked for.
    pub(super) fn begin(self: &Arc<Self>, stream: StreamId, addr: SocketAddr, timeout: Duration) {
        let runs = {
            let mut queued = self.queued.lock();
            queued.new.push(NewAttempt { stream, addr, timeout });
            mem::replace(&mut queued.runs, true)
        };
        if runs {
            // If a token is there already, that will do.
            let _ = self.wake.0.try_send(());
            return;
        }
        let job = Arc::clone(self);
        self.thread.submit(None, timeout, move |place| {
            job.talk.node.guarded("join", || match place {
                Some(_) => job.run(),
                None => job.call_off(),
            });
        });
    }

    /// There is no thread for them.
    fn call_off(&self) {
        let Queued { new, .. } = mem::take(&mut *self.queued.lock());
        for attempt in new {
            self.talk.fail(attempt.stream, StreamFailure::NotTried);
        }
    }

    fn run(&self) {
        let (mut attempts, mut pause) = (Vec::<Attempt>::new(), FIRST_PAUSE);
        while !self.talk.node.stop.is_stopped() {
            let new = {
                let mut queued = self.queued.lock();
                if queued.new.is_empty() && attempts.is_empty() {
                    queued.runs = false;
                    return;
                }
                mem::take(&mut queued.new)
            };
            if !new.is_empty() {
                pause = FIRST_PAUSE;
            }
            attempts.extend(new.into_iter().filter_map(|new| self.start(new)));
            self.talk.node.with(|node, _| attempts.retain(|attempt| node.is_open(attempt.new.stream)));
            attempts = attempts.into_iter().filter_map(|attempt| self.advance(attempt)).collect();
            let _ = self.wake.1.recv_timeout(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn start(&self, new: NewAttempt) -> Option<Attempt> {
        self.talk.begin(new.stream);
        match begin_connect(self.talk.source, new.addr) {
            Ok(socket) => Some(Attempt { new, stage: Stage::Connecting(socket) }),
            Err(error) => {
                self.talk.report_failure(new.stream, error);
                None
            }
        }
    }

    /// As far as an attempt gets without waiting; `None` once it is over, or goes on as an exchange.
    fn advance(&self, Attempt { new, stage }: Attempt) -> Option<Attempt> {
        match stage.advance(&self.talk, new) {
            Ok(Stage::Opened(opened)) if opened.is_answered() => {
                self.finish(new, opened);
                None
            }
            Ok(stage) => Some(Attempt { new, stage }),
            Err(error) => {
                self.talk.report_failure(new.stream, error);
                None
            }
        }
    }

    /// Somebody answers: the rest is an exchange.
    fn finish(&self, NewAttempt { stream, addr, timeout }: NewAttempt, opened: OpenedStream) {
        let talk = Arc::clone(&self.talk);
        self.exchanges.submit(account_of(addr.ip()), timeout, move |place| {
            talk.node.guarded("stream", || match place {
                Some(place) => {
                    let deadline = Deadline::after(&talk.node.stop, timeout).at(place);
                    let framed = opened.finish(deadline, &talk.secrets).map_err(StreamError::from);
                    if let Err(error) = framed.and_then(|framed| talk.run(stream, framed)) {
                        talk.give_up(stream, place, error);
                    }
                }
                None => talk.fail(stream, StreamFailure::NotTried),
            });
        });
    }
}

impl Stage {
    fn advance(self, talk: &Conversations, new: NewAttempt) -> Result<Self, StreamError> {
        let Self::Connecting(socket) = self else { return Ok(self) };
        if !is_connected(&socket)? {
            return Ok(Self::Connecting(socket));
        }
        socket.set_nonblocking(false)?;
        let deadline = Deadline::after(&talk.node.stop, new.timeout);
        let opened = OpenedStream::begin(socket.into(), deadline, &talk.secrets, |frame| {
            talk.node.with(|node, now| node.poll_stream(now, new.stream, frame)) == StreamStep::Send
        })?;
        Ok(Self::Opened(opened))
    }
}
