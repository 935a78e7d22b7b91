//! Requests that wait for the application: one queue for each topic, shared by the topic's readers.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
};

use crossbeam_channel::{Receiver, Sender, bounded};

use super::memory::AskId;
use crate::{
    data::shares::Shares,
    swim::{Account, Life, Time},
};

/// The most requests that wait for the readers of one topic, of which an account has its [share](Shares::has_room).
const MAX_WAITING: usize = 512;
/// The bytes of their payloads, in the same way.
const MAX_WAITING_BYTES: usize = 8 << 20;
/// The most topics that are served.
const MAX_TOPICS: usize = 256;

/// A waiting request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RequestItem {
    pub(crate) from: Life,
    pub(crate) account: Option<Account>,
    pub(crate) id: AskId,
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Arc<[u8]>,
    /// The sender waits until then.
    pub(crate) until: Time,
}

/// Why a request is refused.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum NotServed {
    NoReader,
    Full,
}

#[derive(Debug)]
struct Server {
    readers: usize,
    waiting: VecDeque<RequestItem>,
    shares: Shares,
    /// Holds one token exactly while a request waits.
    ready: Sender<()>,
    tokens: Receiver<()>,
}

impl Server {
    fn pop(&mut self) -> Option<RequestItem> {
        let item = self.waiting.pop_front()?;
        self.shares.remove(item.account, (1, item.payload.len()));
        Some(item)
    }

    fn has_room_for(&self, item: &RequestItem) -> bool {
        let most = (MAX_WAITING, MAX_WAITING_BYTES);
        self.shares.has_room(item.account, (1, item.payload.len()), most)
    }

    fn settle(&self) {
        if self.waiting.is_empty() {
            let _ = self.tokens.try_recv();
        } else {
            let _ = self.ready.try_send(());
        }
    }
}

#[derive(Debug, Default)]
pub(super) struct Servers(BTreeMap<Arc<str>, Server>);

impl Servers {
    /// Adds a reader of a topic, which gets a token when a request waits, and a disconnection at the node's end. `None` if
    /// too many topics are served.
    pub(super) fn open(&mut self, topic: &str) -> Option<Receiver<()>> {
        if self.0.len() >= MAX_TOPICS && !self.0.contains_key(topic) {
            return None;
        }
        let server = self.0.entry(topic.into()).or_insert_with(|| {
            let (ready, tokens) = bounded(1);
            Server { readers: 0, waiting: VecDeque::new(), shares: Shares::default(), ready, tokens }
        });
        server.readers += 1;
        Some(server.tokens.clone())
    }

    /// A reader is gone. If it was the last one, returns the waiting requests.
    pub(super) fn close(&mut self, topic: &str) -> VecDeque<RequestItem> {
        let Some(server) = self.0.get_mut(topic) else { return VecDeque::new() };
        server.readers -= 1;
        if server.readers > 0 {
            return VecDeque::new();
        }
        self.0.remove(topic).map(|server| server.waiting).unwrap_or_default()
    }

    pub(super) fn close_all(&mut self) {
        self.0.clear();
    }

    /// Takes out the requests whose senders have given up.
    pub(super) fn expire(&mut self, now: Time, topic: &str) -> Vec<RequestItem> {
        let Some(server) = self.0.get_mut(topic) else { return Vec::new() };
        let (over, waiting): (Vec<_>, Vec<_>) = server.waiting.drain(..).partition(|item| item.until <= now);
        server.waiting = waiting.into();
        for item in &over {
            server.shares.remove(item.account, (1, item.payload.len()));
        }
        server.settle();
        over
    }

    /// Queues a request.
    pub(super) fn push(&mut self, item: RequestItem) -> Result<(), NotServed> {
        let server = self.0.get_mut(&item.topic).ok_or(NotServed::NoReader)?;
        if !server.has_room_for(&item) {
            return Err(NotServed::Full);
        }
        server.shares.add(item.account, (1, item.payload.len()));
        server.waiting.push_back(item);
        server.settle();
        Ok(())
    }

    /// The oldest request that waits for the readers of a topic.
    pub(super) fn take(&mut self, topic: &str) -> Option<RequestItem> {
        let server = self.0.get_mut(topic)?;
        let item = server.pop();
        server.settle();
        item
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The most that one account may hold alone.
    const EACH: usize = MAX_WAITING / 2;

    fn item(id: u64, until: u64) -> RequestItem {
        let until = Time::from_origin(std::time::Duration::from_secs(until));
        let from = Life { name: "a".into(), epoch: 1 };
        let id = AskId { slot: 0, epoch: 1, number: id };
        RequestItem { from, account: None, id, topic: "t".into(), payload: Arc::default(), until }
    }

    #[test]
    fn readers_share_a_topic_and_the_last_one_takes_its_requests_along() {
        let mut servers = Servers::default();
        assert_eq!(servers.push(item(1, 9)), Err(NotServed::NoReader));
        let (first, second) = (servers.open("t").unwrap(), servers.open("t").unwrap());
        (1..=3).for_each(|id| servers.push(item(id, 9)).unwrap());
        assert_eq!((first.try_recv(), second.try_recv().is_ok()), (Ok(()), false), "one token for both");
        assert_eq!(servers.take("t"), Some(item(1, 9)));
        assert_eq!(second.try_recv(), Ok(()), "it is back while more wait");
        assert!(servers.close("t").is_empty());
        assert_eq!(servers.close("t"), [item(2, 9), item(3, 9)]);
        assert_eq!(servers.push(item(4, 9)), Err(NotServed::NoReader));
        assert_eq!(first.try_recv(), Err(crossbeam_channel::TryRecvError::Disconnected));
    }

    #[test]
    fn requests_of_one_host_leave_room_for_those_of_others() {
        let mut servers = Servers::default();
        let _tokens = servers.open("t");
        let of = |host: u32, id| RequestItem { account: Some(host.into()), ..item(id, 9) };
        let waits = (0..1000).filter(|id| servers.push(of(1, *id)).is_ok()).count();
        assert_eq!((waits, servers.push(of(2, 1))), (EACH, Ok(())));
    }

    #[test]
    fn one_host_has_no_more_than_its_bytes_with_the_last_request() {
        let mut servers = Servers::default();
        let _tokens = servers.open("t");
        let of = |bytes, id| RequestItem { payload: vec![0; bytes].into(), ..item(id, 9) };
        let third = MAX_WAITING_BYTES / 2 / 3;
        (0..3).for_each(|id| servers.push(of(third, id)).unwrap());
        assert_eq!(servers.push(of(third / 2, 3)), Err(NotServed::Full));
        assert_eq!(servers.push(of(1, 4)), Ok(()));
    }

    #[test]
    fn a_full_queue_has_room_again_once_senders_have_given_up() {
        let mut servers = Servers::default();
        let _tokens = servers.open("t");
        // The first request waits for the longest time.
        let until = |id| if id == 0 { 99 } else { 1 + id / 200 };
        (0..EACH as u64).for_each(|id| servers.push(item(id, until(id))).unwrap());
        assert_eq!(servers.push(item(999, 9)), Err(NotServed::Full));
        let second = Time::from_origin(std::time::Duration::from_secs(1));
        assert_eq!(servers.expire(second, "t").len(), 199);
        assert_eq!(servers.push(item(999, 9)), Ok(()));
        assert_eq!(servers.take("t"), Some(item(0, 99)));
        assert_eq!(servers.take("t"), Some(item(200, 2)));
    }
}
