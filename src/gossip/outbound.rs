//! Streams that the node opens. Each kind has a pool of threads, so that no kind waits for another.

use std::sync::Arc;

use super::{
    conversation::{Conversations, Outgoing},
    dial::connect,
    framed_stream::FramedStream,
    join_attempts::JoinAttempts,
    pools::Pools,
    workers::Workers,
};
use crate::swim::StreamKind;

#[derive(Debug)]
pub(super) struct Outbound {
    talk: Arc<Conversations>,
    /// The pool of work that must wait for nothing else.
    urgent: Workers,
    /// The pool of questions.
    questions: Workers,
    /// The pool of exchanges.
    exchanges: Workers,
    /// The pool of messages and data.
    data: Workers,
    join_attempts: Arc<JoinAttempts>,
}

impl Outbound {
    pub(super) fn new(talk: &Arc<Conversations>, pools: &Pools) -> Self {
        let exchanges = pools.exchanges.clone();
        let join_attempts = JoinAttempts::new(Arc::clone(talk), pools.joins.clone(), exchanges.clone());
        Self {
            talk: Arc::clone(talk),
            urgent: pools.urgent.clone(),
            questions: pools.questions.clone(),
            exchanges,
            data: pools.data.clone(),
            join_attempts: Arc::new(join_attempts),
        }
    }

    pub(super) fn begin(&self, outgoing: Outgoing, kind: StreamKind) {
        let pool = match kind {
            StreamKind::Urgent => &self.urgent,
            StreamKind::Question => &self.questions,
            StreamKind::Exchange => &self.exchanges,
            StreamKind::Data => &self.data,
            StreamKind::Join => return self.join_attempts.begin(outgoing),
        };
        self.talk.submit(pool, outgoing, move |talk, deadline| {
            talk.begin(outgoing.stream);
            let socket = connect(&deadline, talk.dial, outgoing.addr)?;
            talk.run(outgoing.stream, FramedStream::open(socket, deadline, &talk.secrets)?)
        });
    }
}
