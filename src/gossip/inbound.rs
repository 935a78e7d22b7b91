//! Streams that others open: accepting, reading and answering them.

use std::{
    io::ErrorKind,
    net::{SocketAddr, TcpListener, TcpStream},
    sync::Arc,
    time::Duration,
};

use super::{
    conversation::{Conversations, Other},
    dial::StreamError,
    framed_stream::{FramedStream, ParkedStream},
    peer_log::Via,
    pools::Pools,
    queue::{Place, account_of},
    timed_socket::Deadline,
    workers::Workers,
};
use crate::{
    blocking::is_nothing,
    log_line::{Field, Log, Throttle, Topic},
    swim::{Config, StreamFailure, StreamId, StreamStep},
};

/// The pause after a failed accept, usually for lack of descriptors, and its longest value.
const ACCEPT_PAUSE: Duration = Duration::from_millis(10);
const MAX_ACCEPT_PAUSE: Duration = Duration::from_secs(1);
/// The longest answer that is sent by the thread that read the first frame: it fits into any socket's buffer, so sending it
/// does not block.
const SHORT_ANSWER: usize = 1 << 10;
/// While other exchanges wait, an exchange that others began has this fraction of its time.
const PRESSED_PART: u32 = 4;

#[derive(Debug)]
pub(super) struct Inbound {
    pub(super) talk: Arc<Conversations>,
    /// For the allowed networks and the timeouts.
    config: Arc<Config>,
    /// The pool in which every stream begins.
    pub(super) callers: Workers,
    /// The pool in which exchanges go on.
    pub(super) answers: Workers,
    /// The pool in which messages and data go on.
    data: Workers,
    warnings: Throttle,
}

impl Inbound {
    pub(super) fn new(talk: &Arc<Conversations>, config: &Arc<Config>, pools: &Pools) -> Self {
        Self {
            talk: Arc::clone(talk),
            config: Arc::clone(config),
            callers: pools.callers.clone(),
            answers: pools.answers.clone(),
            data: pools.data_answers.clone(),
            warnings: Throttle::default(),
        }
    }

    /// Accepts streams until the node stops.
    pub(super) fn accept(self: &Arc<Self>, listener: &TcpListener) {
        let node = &self.talk.node;
        let mut pause = ACCEPT_PAUSE;
        loop {
            let accepted = listener.accept();
            if node.stop.is_stopped() {
                return;
            }
            match accepted {
                Ok((socket, from)) => {
                    pause = ACCEPT_PAUSE;
                    self.begin(socket, from);
                }
                // A signal arrived, or the caller has closed the stream.
                Err(error)
                    if matches!(error.kind(), ErrorKind::Interrupted | ErrorKind::ConnectionAborted) => {}
                // No peer opened a stream for a while, or another holder of the socket has made it non-blocking.
                Err(error) if is_nothing(&error) => _ = node.stop.wait(ACCEPT_PAUSE),
                Err(error) => {
                    let fields: [Field<'_>; 2] = [("error", &error), ("node", &node.name)];
                    self.warnings.log(Topic::AcceptFailed, "", &fields);
                    node.stop.wait(pause);
                    pause = (pause * 2).min(MAX_ACCEPT_PAUSE);
                }
            }
        }
    }

    fn begin(self: &Arc<Self>, socket: TcpStream, from: SocketAddr) {
        let from = SocketAddr::new(from.ip().to_canonical(), from.port());
        if !self.config.allows(from.ip()) {
            self.talk.peers.not_allowed(from, Via::Stream, &mut Log);
            return self.talk.counters.count(|counted| counted.dropped_not_allowed += 1);
        }
        let job = Arc::clone(self);
        self.callers.submit(account_of(from.ip()), self.config.stream_timeout, move |place| {
            job.talk.node.guarded("stream", || match place {
                Some(place) => job.on_caller(place, socket, from),
                None => job.talk.counters.count(|counted| counted.refused_streams += 1),
            });
        });
    }

    /// Handles a stream from outside. A stream ping ends here; an exchange waits for a thread of another pool.
    fn on_caller(self: &Arc<Self>, place: &Place, socket: TcpStream, from: SocketAddr) {
        let Some(stream) = self.talk.node.drive(|endpoint, now| endpoint.accept_stream(now, from)) else {
            return;
        };
        let deadline = Deadline::after(&self.talk.node.stop, self.config.stream_timeout);
        let deadline = deadline.at(place).first_frame_soon(&self.callers);
        match self.on_first_frame(stream, socket, deadline) {
            Ok(None) => {}
            Ok(Some((pool, exchange))) => self.begin_answer(stream, from, pool.clone(), exchange),
            Err(error) => self.talk.give_up(stream, Other::Caller(from), place, error),
        }
    }

    /// Handles the first frame, and answers it if a short frame is enough; otherwise returns the rest of the work and its
    /// pool.
    fn on_first_frame(
        &self,
        stream: StreamId,
        socket: TcpStream,
        deadline: Deadline<'_>,
    ) -> Result<Option<(&Workers, ParkedStream)>, StreamError> {
        let talk = &self.talk;
        let mut framed = FramedStream::answer(socket, deadline, &talk.secrets)?;
        let mut buffer = Vec::new();
        talk.receive(stream, &mut framed, &mut buffer)?;
        let is_data = talk.node.with(|node, _| node.data_stream(stream).is_some());
        let pool = if is_data { &self.data } else { &self.answers };
        loop {
            match talk.node.drive(|endpoint, now| endpoint.poll_stream(now, stream, &mut buffer)) {
                StreamStep::Send if buffer.len() <= SHORT_ANSWER => framed.send(&mut buffer)?,
                StreamStep::Send => return Ok(Some((pool, framed.park(Some(buffer))))),
                StreamStep::Receive => return Ok(Some((pool, framed.park(None)))),
                StreamStep::Close => {
                    talk.node.wake();
                    return Ok(None);
                }
            }
        }
    }

    /// Continues an exchange that others began once there is a thread for it.
    fn begin_answer(
        self: &Arc<Self>,
        stream: StreamId,
        from: SocketAddr,
        pool: Workers,
        exchange: ParkedStream,
    ) {
        let job = Arc::clone(self);
        let waits_in = pool.clone();
        pool.submit(account_of(from.ip()), self.config.stream_timeout, move |place| {
            job.talk.node.guarded("stream", || match place {
                Some(place) => {
                    if let Err(error) = job.answer(stream, place, exchange, &waits_in) {
                        job.talk.give_up(stream, Other::Caller(from), place, error);
                    }
                }
                None => {
                    job.talk.counters.count(|counted| counted.refused_streams += 1);
                    job.talk.fail(stream, StreamFailure::NotTried);
                }
            });
        });
    }

    /// Runs an exchange, with less time while others wait in the same pool.
    fn answer(
        &self,
        stream: StreamId,
        place: &Place,
        exchange: ParkedStream,
        pool: &Workers,
    ) -> Result<(), StreamError> {
        self.talk.begin(stream);
        let timeout = self.config.stream_timeout;
        let deadline = Deadline::after(&self.talk.node.stop, timeout).at(place);
        let deadline = deadline.pressed_after(timeout / PRESSED_PART, pool);
        self.talk.run(stream, exchange.resume(deadline)?)
    }
}
