//! Streams that the node asks for: each kind has its pool, so that none waits for another kind.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use super::{
    conversation::Conversations,
    dial::{StreamError, connect},
    framed_stream::FramedStream,
    join_attempts::JoinAttempts,
    queue::account_of,
    timed_socket::Deadline,
    workers::Workers,
};
use crate::swim::{StreamFailure, StreamId, StreamKind};

#[derive(Debug)]
pub(super) struct Outbound {
    pub(super) talk: Arc<Conversations>,
    /// The pool of stream pings.
    pub(super) questions: Workers,
    /// The pool of exchanges.
    pub(super) exchanges: Workers,
    pub(super) join_attempts: Arc<JoinAttempts>,
}

impl Outbound {
    pub(super) fn begin(&self, stream: StreamId, addr: SocketAddr, timeout: Duration, kind: StreamKind) {
        let pool = match kind {
            StreamKind::Question => &self.questions,
            StreamKind::Exchange => &self.exchanges,
            StreamKind::Join => return self.join_attempts.begin(stream, addr, timeout),
        };
        let talk = Arc::clone(&self.talk);
        pool.submit(account_of(addr.ip()), timeout, move |place| {
            talk.node.guarded("stream", || match place {
                Some(place) => {
                    let deadline = Deadline::after(&talk.node.stop, timeout).at(place);
                    if let Err(error) = call(&talk, stream, addr, deadline) {
                        talk.give_up(stream, place, error);
                    }
                }
                None => talk.fail(stream, StreamFailure::NotTried),
            });
        });
    }
}

fn call(
    talk: &Conversations,
    stream: StreamId,
    addr: SocketAddr,
    deadline: Deadline<'_>,
) -> Result<(), StreamError> {
    talk.begin(stream);
    let socket = connect(&deadline, talk.source, addr)?;
    talk.run(stream, FramedStream::open(socket, deadline, &talk.secrets)?)
}
