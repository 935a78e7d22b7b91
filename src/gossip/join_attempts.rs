//! Attempts to join that nobody has answered yet: one thread has all of them, and waits for none.
//!
//! The node says how many there are at a time and which it gives up. Once the other side has said something, an attempt is
//! an exchange like any, and goes on in their pool.

use std::{mem, net::SocketAddr, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;
use socket2::Socket;

use super::{
    engine::Engine,
    framed_stream::{Deadline, OpenedStream},
    queue::account_of,
    streams::{self, StreamError},
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
    /// We have said the first thing.
    Opened(OpenedStream),
}

impl Default for JoinAttempts {
    fn default() -> Self {
        Self { queued: Mutex::default(), wake: bounded(1) }
    }
}

/// Begins an attempt that the node asked for.
pub(super) fn begin(engine: &Arc<Engine>, stream: StreamId, addr: SocketAddr, timeout: Duration) {
    let runs = {
        let mut queued = engine.join_attempts.queued.lock();
        queued.new.push(NewAttempt { stream, addr, timeout });
        mem::replace(&mut queued.runs, true)
    };
    if runs {
        // If a token is there already, that will do.
        let _ = engine.join_attempts.wake.0.try_send(());
        return;
    }
    let job = Arc::clone(engine);
    engine.pools.joins.submit(None, timeout, move |place| {
        job.guarded("join", || match place {
            Some(_) => run(&job),
            None => call_off(&job),
        });
    });
}

/// There is no thread for them.
fn call_off(engine: &Engine) {
    let Queued { new, .. } = mem::take(&mut *engine.join_attempts.queued.lock());
    for new in new {
        streams::fail(engine, new.stream, StreamFailure::NotTried);
    }
}

fn run(engine: &Arc<Engine>) {
    let (mut attempts, mut pause) = (Vec::<Attempt>::new(), FIRST_PAUSE);
    while !engine.stop.is_stopped() {
        let new = {
            let mut queued = engine.join_attempts.queued.lock();
            if queued.new.is_empty() && attempts.is_empty() {
                queued.runs = false;
                return;
            }
            mem::take(&mut queued.new)
        };
        if !new.is_empty() {
            pause = FIRST_PAUSE;
        }
        attempts.extend(new.into_iter().filter_map(|new| start(engine, new)));
        engine.with_node(|node, _| attempts.retain(|attempt| node.is_open(attempt.new.stream)));
        attempts = attempts.into_iter().filter_map(|attempt| attempt.advance(engine)).collect();
        let _ = engine.join_attempts.wake.1.recv_timeout(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn start(engine: &Engine, new: NewAttempt) -> Option<Attempt> {
    streams::begin(engine, new.stream);
    match streams::begin_connect(streams::source_of(engine.bound), new.addr) {
        Ok(socket) => Some(Attempt { new, stage: Stage::Connecting(socket) }),
        Err(error) => {
            streams::report_failure(engine, new.stream, error);
            None
        }
    }
}

impl Attempt {
    /// As far as it gets without waiting; `None` once it is over.
    fn advance(self, engine: &Arc<Engine>) -> Option<Self> {
        let Self { new, stage } = self;
        match stage.advance(engine, new) {
            Ok(Stage::Opened(opened)) if opened.is_answered() => {
                finish(engine, new, opened);
                None
            }
            Ok(stage) => Some(Self { new, stage }),
            Err(error) => {
                streams::report_failure(engine, new.stream, error);
                None
            }
        }
    }
}

impl Stage {
    fn advance(self, engine: &Engine, new: NewAttempt) -> Result<Self, StreamError> {
        let Self::Connecting(socket) = self else { return Ok(self) };
        if !is_connected(&socket)? {
            return Ok(Self::Connecting(socket));
        }
        socket.set_nonblocking(false)?;
        let deadline = Deadline::after(engine, new.timeout);
        let opened = OpenedStream::begin(socket.into(), deadline, |frame| {
            engine.with_node(|node, now| node.poll_stream(now, new.stream, frame)) == StreamStep::Send
        })?;
        Ok(Self::Opened(opened))
    }
}

/// Somebody answers: the rest is an exchange.
fn finish(engine: &Arc<Engine>, new: NewAttempt, opened: OpenedStream) {
    let NewAttempt { stream, addr, timeout } = new;
    let job = Arc::clone(engine);
    engine.pools.exchanges.submit(account_of(addr.ip()), timeout, move |place| {
        job.guarded("stream", || match place {
            Some(place) => {
                let deadline = Deadline::after(&job, timeout).at(place);
                let line = opened.finish(deadline).map_err(StreamError::from);
                if let Err(error) = line.and_then(|line| streams::converse(&job, stream, line)) {
                    streams::give_up(&job, stream, place, error);
                }
            }
            None => streams::fail(&job, stream, StreamFailure::NotTried),
        });
    });
}
