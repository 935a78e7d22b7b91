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
    line::{Called, Deadline},
    queue::account_of,
    streams::{self, Trouble},
};
use crate::{
    slices::{SLICE, is_connected},
    swim::{StreamFailure, StreamId, StreamStep},
};

/// The first pause between two looks at all attempts; it doubles.
const FIRST_PAUSE: Duration = Duration::from_micros(200);
const LONGEST_PAUSE: Duration = SLICE.checked_div(4).unwrap();

#[derive(Debug)]
pub(super) struct Race {
    coming: Mutex<Coming>,
    /// Rung when there are new ones.
    bell: (Sender<()>, Receiver<()>),
}

#[derive(Debug, Default)]
struct Coming {
    entrants: Vec<Entrant>,
    /// Whether there is a thread that will take them in.
    runs: bool,
}

/// An attempt that has not begun.
#[derive(Debug, Clone, Copy)]
struct Entrant {
    stream: StreamId,
    addr: SocketAddr,
    timeout: Duration,
}

struct Racer {
    entrant: Entrant,
    stage: Stage,
}

enum Stage {
    Connecting(Socket),
    /// We have said the first thing.
    Called(Called),
}

impl Default for Race {
    fn default() -> Self {
        Self { coming: Mutex::default(), bell: bounded(1) }
    }
}

/// Begins an attempt that the node asked for.
pub(super) fn enter(engine: &Arc<Engine>, stream: StreamId, addr: SocketAddr, timeout: Duration) {
    let runs = {
        let mut coming = engine.race.coming.lock();
        coming.entrants.push(Entrant { stream, addr, timeout });
        mem::replace(&mut coming.runs, true)
    };
    if runs {
        // If it was rung already, that will do.
        let _ = engine.race.bell.0.try_send(());
        return;
    }
    let job = Arc::clone(engine);
    engine.pools.races.submit(None, timeout, move |place| {
        job.guarded("join", || match place {
            Some(_) => run(&job),
            None => call_off(&job),
        });
    });
}

/// There is no thread for them.
fn call_off(engine: &Engine) {
    let Coming { entrants, .. } = mem::take(&mut *engine.race.coming.lock());
    for entrant in entrants {
        streams::fail(engine, entrant.stream, StreamFailure::NotTried);
    }
}

fn run(engine: &Arc<Engine>) {
    let (mut racers, mut pause) = (Vec::<Racer>::new(), FIRST_PAUSE);
    while !engine.stop.is_stopped() {
        let entrants = {
            let mut coming = engine.race.coming.lock();
            if coming.entrants.is_empty() && racers.is_empty() {
                coming.runs = false;
                return;
            }
            mem::take(&mut coming.entrants)
        };
        if !entrants.is_empty() {
            pause = FIRST_PAUSE;
        }
        racers.extend(entrants.into_iter().filter_map(|entrant| start(engine, entrant)));
        engine.with_node(|node, _| racers.retain(|racer| node.is_open(racer.entrant.stream)));
        racers = racers.into_iter().filter_map(|racer| racer.advance(engine)).collect();
        let _ = engine.race.bell.1.recv_timeout(pause);
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

fn start(engine: &Engine, entrant: Entrant) -> Option<Racer> {
    streams::begin(engine, entrant.stream);
    match streams::begin_connect(streams::source_of(engine.bound), entrant.addr) {
        Ok(socket) => Some(Racer { entrant, stage: Stage::Connecting(socket) }),
        Err(trouble) => {
            streams::tell_trouble(engine, entrant.stream, trouble);
            None
        }
    }
}

impl Racer {
    /// As far as it gets without waiting; `None` once it is out of the race.
    fn advance(self, engine: &Arc<Engine>) -> Option<Self> {
        let Self { entrant, stage } = self;
        match stage.advance(engine, entrant) {
            Ok(Stage::Called(called)) if called.is_answered() => {
                finish(engine, entrant, called);
                None
            }
            Ok(stage) => Some(Self { entrant, stage }),
            Err(trouble) => {
                streams::tell_trouble(engine, entrant.stream, trouble);
                None
            }
        }
    }
}

impl Stage {
    fn advance(self, engine: &Engine, entrant: Entrant) -> Result<Self, Trouble> {
        let Self::Connecting(socket) = self else { return Ok(self) };
        if !is_connected(&socket)? {
            return Ok(Self::Connecting(socket));
        }
        socket.set_nonblocking(false)?;
        let deadline = Deadline::after(engine, entrant.timeout);
        let called = Called::begin(socket.into(), deadline, |frame| {
            engine.with_node(|node, now| node.poll_stream(now, entrant.stream, frame)) == StreamStep::Send
        })?;
        Ok(Self::Called(called))
    }
}

/// Somebody answers: the rest is an exchange.
fn finish(engine: &Arc<Engine>, entrant: Entrant, called: Called) {
    let Entrant { stream, addr, timeout } = entrant;
    let job = Arc::clone(engine);
    engine.pools.exchanges.submit(account_of(addr.ip()), timeout, move |place| {
        job.guarded("stream", || match place {
            Some(place) => {
                let deadline = Deadline::after(&job, timeout).at(place);
                let line = called.finish(deadline).map_err(Trouble::from);
                if let Err(trouble) = line.and_then(|line| streams::converse(&job, stream, line)) {
                    streams::give_up(&job, stream, place, trouble);
                }
            }
            None => streams::fail(&job, stream, StreamFailure::NotTried),
        });
    });
}
