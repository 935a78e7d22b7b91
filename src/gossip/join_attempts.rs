//! Join attempts without an answer yet: one thread runs all of them, and blocks on none.
//!
//! The node decides how many there are at a time and which are given up. Once the other side has sent something, an attempt
//! becomes an exchange, and goes on in the pool of exchanges.

use std::{mem, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::{
    conversation::{Conversations, Other, Outgoing},
    dial::{Connecting, StreamError},
    framed_stream::OpenedStream,
    timed_socket::Deadline,
    workers::Workers,
};
use crate::{
    blocking::SLICE,
    swim::{StreamFailure, StreamStep},
};

/// The first pause between two looks at all attempts; it doubles.
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = SLICE.checked_div(4).unwrap();

#[derive(Debug)]
pub(super) struct JoinAttempts {
    talk: Arc<Conversations>,
    /// The pool with the one thread.
    thread: Workers,
    /// The pool in which answered attempts go on.
    exchanges: Workers,
    queued: Mutex<Queued>,
    /// Holds a token for the thread when there are new attempts.
    wake: (Sender<()>, Receiver<()>),
}

#[derive(Debug, Default)]
struct Queued {
    new: Vec<Outgoing>,
    /// Whether there is a thread that will take the new attempts.
    runs: bool,
}

struct Attempt {
    outgoing: Outgoing,
    stage: Stage,
}

enum Stage {
    Connecting(Connecting),
    Opened(OpenedStream),
}

impl JoinAttempts {
    pub(super) fn new(talk: Arc<Conversations>, thread: Workers, exchanges: Workers) -> Self {
        Self { talk, thread, exchanges, queued: Mutex::default(), wake: bounded(1) }
    }

    /// Begins an attempt for the node.
    pub(super) fn begin(self: &Arc<Self>, outgoing: Outgoing) {
        let runs = {
            let mut queued = self.queued.lock();
            queued.new.push(outgoing);
            mem::replace(&mut queued.runs, true)
        };
        if runs {
            // One token is enough.
            let _ = self.wake.0.try_send(());
            return;
        }
        let job = Arc::clone(self);
        self.thread.submit(None, outgoing.timeout, move |place| {
            job.talk.node.guarded("join", || match place {
                Some(_) => job.run(),
                None => job.call_off(),
            });
        });
    }

    /// Fails the new attempts, since no thread can be started for them.
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
            self.talk.node.with(|node, _| attempts.retain(|attempt| node.is_open(attempt.outgoing.stream)));
            attempts = attempts.into_iter().filter_map(|attempt| self.advance(attempt)).collect();
            let _ = self.wake.1.recv_timeout(pause);
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    fn start(&self, outgoing: Outgoing) -> Option<Attempt> {
        self.talk.begin(outgoing.stream);
        match Connecting::begin(self.talk.dial, outgoing.addr) {
            Ok(connecting) => Some(Attempt { outgoing, stage: Stage::Connecting(connecting) }),
            Err(error) => {
                self.talk.report_failure(outgoing.stream, Other::Called(outgoing.addr), error);
                None
            }
        }
    }

    /// Continues an attempt as far as it gets without blocking; `None` once it is over, or goes on as an exchange.
    fn advance(&self, Attempt { outgoing, stage }: Attempt) -> Option<Attempt> {
        match stage.advance(&self.talk, outgoing) {
            Ok(Stage::Opened(opened)) if opened.is_answered() => {
                self.talk.submit(&self.exchanges, outgoing, move |talk, deadline| {
                    talk.run(outgoing.stream, opened.finish(deadline, &talk.secrets)?)
                });
                None
            }
            Ok(stage) => Some(Attempt { outgoing, stage }),
            Err(error) => {
                self.talk.report_failure(outgoing.stream, Other::Called(outgoing.addr), error);
                None
            }
        }
    }
}

impl Stage {
    fn advance(self, talk: &Conversations, outgoing: Outgoing) -> Result<Self, StreamError> {
        let Self::Connecting(mut connecting) = self else { return Ok(self) };
        let Some(socket) = connecting.poll()? else { return Ok(Self::Connecting(connecting)) };
        let deadline = Deadline::after(&talk.node.stop, outgoing.timeout);
        let opened = OpenedStream::begin(socket, deadline, &talk.secrets, |frame| {
            talk.node.drive(|endpoint, now| endpoint.poll_stream(now, outgoing.stream, frame))
                == StreamStep::Send
        })?;
        Ok(Self::Opened(opened))
    }
}
