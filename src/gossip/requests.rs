//! Requests of others, which the application of this node answers.

use std::{fmt, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, TryRecvError};

use super::{
    handle::Gossip,
    messages::{MemberLife, check_size, check_topic},
    shared_node::SharedNode,
};
use crate::{
    Error,
    data::messages::{RequestItem, Status, TooLate},
    reader::{Reader, reads},
};

/// The longest reason of a refusal, in bytes.
const MAX_REASON: usize = 512;

impl Gossip {
    /// Subscribes to the requests that others send to this topic, so that the program answers them. Several readers of a
    /// topic share its requests. Up to 256 requests of one host wait, and 4 MiB of them, but no more than those of all hosts
    /// leave free of 512 and of 8 MiB; the senders of further ones get [`Error::Busy`].
    ///
    /// # Errors
    /// [`Error::Invalid`] if `topic` has not 1 to 64 bytes, has characters that break or disguise a line (control
    /// characters, line separators, changes of direction), or is one that the node answers itself; [`Error::Busy`] if 256
    /// topics are served; [`Error::Stopped`] or [`Error::Panicked`] if the node has ended.
    pub fn serve(&self, topic: &str) -> Result<Requests, Error> {
        check_topic(topic)?;
        if topic.starts_with("syncswim/") {
            return Err(Error::invalid("topic", "must not begin with `syncswim/`: the node answers these"));
        }
        self.running.check_running()?;
        let node = Arc::clone(&self.running.node);
        let tokens = node.call(|endpoint, _| endpoint.open_server(topic));
        let limit = "256 topics that are served";
        let too_many = || Error::busy(None, limit, "serve several by one topic");
        Ok(Requests { tokens: tokens.ok_or_else(too_many)?, node, topic: topic.into() })
    }
}

/// A subscription to the requests of a topic, from [`Gossip::serve`]. When the last reader of a topic is dropped, requests
/// that wait are refused with [`Error::NoReader`].
#[must_use = "dropping it ends the service"]
pub struct Requests {
    node: Arc<SharedNode>,
    topic: Arc<str>,
    tokens: Receiver<()>,
}

impl Reader for Requests {
    type Item = Request;

    fn receiver(&self) -> &Receiver<()> {
        &self.tokens
    }

    fn try_recv(&self) -> Result<Request, TryRecvError> {
        if self.node.stop.is_stopped() {
            return Err(TryRecvError::Disconnected);
        }
        let item = self.node.call(|endpoint, now| endpoint.take_request(now, &self.topic));
        let node = Arc::clone(&self.node);
        item.map(|item| Request { node, item, is_over: false }).ok_or(TryRecvError::Empty)
    }
}

reads!(Requests, Request, "request", "the node has ended");

impl Drop for Requests {
    fn drop(&mut self) {
        self.node.drive(|endpoint, now| endpoint.close_server(now, &self.topic));
        self.node.wake();
    }
}

impl fmt::Debug for Requests {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requests").field("topic", &self.topic).finish_non_exhaustive()
    }
}

/// A request of another node. The requester waits until it is answered or refused, or its time is up. If the program drops
/// the request, the requester is told.
#[must_use = "dropping it refuses it"]
pub struct Request {
    node: Arc<SharedNode>,
    item: RequestItem,
    is_over: bool,
}

impl Request {
    /// The requester.
    #[must_use]
    pub fn from(&self) -> MemberLife {
        MemberLife::of(self.item.from.clone())
    }

    /// The topic that it was sent to.
    #[must_use]
    pub fn topic(&self) -> &str {
        &self.item.topic
    }

    /// Its content.
    #[must_use]
    pub fn payload(&self) -> &[u8] {
        &self.item.payload
    }

    /// How long its sender still waits. This is an estimate, since the time that the request was under way is unknown.
    #[must_use]
    pub fn time_left(&self) -> Duration {
        self.item.until.since(self.node.now())
    }

    /// Answers the request. `Ok` says that the answer is on its way: the sender's time may end before it arrives.
    ///
    /// # Errors
    /// [`Error::TooLate`] if its sender has given up, or is no longer live; [`Error::TooLarge`] if the answer is longer than
    /// 1 MiB: the sender is then told that the request was dropped. [`Error::Left`], [`Error::Stopped`] or
    /// [`Error::Panicked`] if this node has left or ended: the requesters were told so.
    pub fn answer(mut self, payload: impl AsRef<[u8]>) -> Result<(), Error> {
        let payload = payload.as_ref();
        check_size(payload)?;
        self.settle(Status::Answered, payload)
    }

    /// Refuses the request. The reason is cut to 512 bytes.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn refuse(mut self, reason: &str) -> Result<(), Error> {
        self.settle(Status::Refused, shortened(reason).as_bytes())
    }

    fn settle(&mut self, status: Status, payload: &[u8]) -> Result<(), Error> {
        self.is_over = true;
        let Self { node, item, .. } = self;
        if node.stop.is_stopped() {
            return Err(node.ended());
        }
        if node.with(|node, _| node.is_leaving()) {
            return Err(Error::Left);
        }
        let result = node.drive(|endpoint, now| endpoint.answer(now, (&item.from, item.id), status, payload));
        node.wake();
        result.map_err(|TooLate| Error::TooLate)
    }
}

/// The longest beginning of whole characters that fits.
fn shortened(reason: &str) -> &str {
    let end = (0..=reason.len().min(MAX_REASON)).rev().find(|at| reason.is_char_boundary(*at));
    &reason[..end.unwrap_or_default()]
}

impl Drop for Request {
    fn drop(&mut self) {
        if !self.is_over {
            let _ = self.settle(Status::Dropped, &[]);
        }
    }
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let RequestItem { from, topic, payload, .. } = &self.item;
        f.debug_struct("Request")
            .field("from", &from.name)
            .field("topic", topic)
            .field("bytes", &payload.len())
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_cut_between_characters() {
        let reason = "é".repeat(MAX_REASON);
        assert_eq!(shortened(&reason).len(), MAX_REASON);
        assert_eq!(shortened(&format!("x{reason}")), format!("x{}", "é".repeat(255)));
        assert_eq!(shortened("short"), "short");
    }
}
