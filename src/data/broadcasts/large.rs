//! Broadcasts that fit in no datagram go from their origin to each member, as an ask (`data::messages`): in a stream, and
//! once. They share the numbers of the origin's other broadcasts, so they have their place in its order. No member passes
//! them on or stores them for others.

use std::time::Duration;

use super::{Broadcasts, FOLD, Item};
use crate::{
    data::messages::{AskKind, MAX_MESSAGE, NewAsk},
    swim::{Life, Node, Time},
    wire::data::Broadcast,
};

/// The longest payload of a confirmed broadcast. With its other fields it is no longer than a message may be.
pub(crate) const MAX_LARGE: usize = MAX_MESSAGE - 64;

impl Item {
    /// The ask for each member: epoch, number, stamp and flags, then the payload.
    pub(crate) fn ask(&self, within: Duration) -> NewAsk {
        let head = (self.origin.epoch, self.seq, self.given, self.flags & FOLD);
        let mut payload = postcard::to_extend(&head, Vec::new()).unwrap_or_default();
        payload.extend_from_slice(&self.payload);
        NewAsk { kind: AskKind::Broadcast, topic: self.topic.clone(), payload: payload.into(), within }
    }
}

impl Broadcasts {
    /// Processes a large broadcast that its origin sends to this node. Returns whether its readers receive it, or have it.
    /// It may have been reported as lost because later ones arrived first.
    pub(crate) fn on_large(
        &mut self,
        now: Time,
        node: &Node,
        from: &Life,
        topic: &str,
        bytes: &[u8],
    ) -> bool {
        let Ok(((epoch, seq, stamp, flags), payload)) =
            postcard::take_from_bytes::<(u64, u64, u64, u8)>(bytes)
        else {
            return false;
        };
        if epoch > from.epoch || payload.len() > MAX_LARGE {
            return false;
        }
        let flags = flags & FOLD;
        let message = Broadcast { origin: &from.name, epoch, seq, stamp, flags, topic, payload };
        let knows = |all: &Self| all.heard(&from.name, epoch).is_some_and(|heard| heard.window.contains(seq));
        if !knows(self) {
            self.take_in(now, node, from, &message, false);
            return knows(self);
        }
        self.now = now;
        self.has_or_gets(node, from, &message)
    }

    /// The result of sending a large broadcast to a member.
    pub(crate) fn large_settled(&mut self, now: Time, item: &Item, by: &Life, is_taken: bool) {
        if is_taken {
            self.confirmations.confirmed(now, by, item.origin.epoch, item.seq);
        } else {
            self.confirmations.refused(by, item.origin.epoch, item.seq);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            CONFIRM, Delivery,
            tests::{alone, item},
        },
        *,
    };

    #[test]
    fn the_bytes_are_those_of_the_protocol() {
        let mut item = std::sync::Arc::into_inner(item("a", 300, 7)).unwrap();
        (item.given, item.flags, item.payload) = (1 << 40, FOLD | CONFIRM, [9; 3].into());
        let ask = item.ask(Duration::from_secs(1));
        assert_eq!((ask.kind, &*ask.topic), (AskKind::Broadcast, "topic"));
        assert_eq!(*ask.payload, [0xac, 2, 7, 0x80, 0x80, 0x80, 0x80, 0x80, 0x20, 1, 9, 9, 9]);
        let longest = (u64::MAX, u64::MAX, u64::MAX, u8::MAX);
        assert!(postcard::to_extend(&longest, Vec::new()).unwrap().len() + MAX_LARGE <= MAX_MESSAGE);
    }

    /// This node heard of a later broadcast first, and gave up those before it.
    #[test]
    fn a_large_broadcast_that_counted_as_lost_is_read_once_and_a_malformed_one_is_refused() {
        let (node, mut all) = alone();
        let origin = item("a", 1, 700).origin.clone();
        all.learn(&node, item("a", 1, 700), &origin, false);
        while all.poll_delivery().is_some() {}
        let mut give = |seq: u64, epoch: u64, size: usize| {
            let mut bytes = postcard::to_extend(&(epoch, seq, 0_u64, 0_u8), Vec::new()).unwrap();
            bytes.resize(bytes.len() + size, 7);
            let is_taken = all.on_large(Time::ZERO, &node, &origin, "t", &bytes);
            let is_it =
                |delivery: &Delivery| matches!(delivery, Delivery::Item { item, .. } if item.seq == seq);
            (is_taken, std::iter::from_fn(|| all.poll_delivery()).filter(is_it).count())
        };
        assert_eq!([give(100, 1, 5000), give(100, 1, 5000)], [(true, 1), (true, 0)]);
        assert_eq!([give(101, 2, 5000), give(101, 1, MAX_LARGE + 1)], [(false, 0); 2]);
        assert!(!all.on_large(Time::ZERO, &node, &origin, "t", &[0x80]));
        all.audit().unwrap();
    }
}
