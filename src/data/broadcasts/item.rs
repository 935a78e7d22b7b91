//! A broadcast as it is stored.

use std::sync::Arc;

use crate::{
    swim::{Account, Life},
    wire::data::{Broadcast, MAX_SMALL},
};

/// A reader that is behind may receive only the newest of its topic.
pub(crate) const FOLD: u8 = 1;
/// Receivers confirm it.
pub(crate) const CONFIRM: u8 = 2;
/// Only for this receiver: it confirms even if it is not in the sample, or has the broadcast already.
pub(crate) const CONFIRM_ANYWAY: u8 = 4;

/// A broadcast, shared by all parts that store it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Item {
    pub(crate) origin: Life,
    /// The account of the origin; `None` for this node's own broadcasts.
    pub(crate) account: Option<Account>,
    pub(crate) seq: u64,
    /// The stamp that this node orders it by, and the one that its origin gave it.
    pub(crate) stamp: u64,
    pub(super) given: u64,
    pub(crate) flags: u8,
    pub(crate) topic: Arc<str>,
    pub(crate) payload: Arc<[u8]>,
}

impl Item {
    pub(super) fn of(
        origin: Life,
        account: Option<Account>,
        message: &Broadcast<'_>,
        stamp: u64,
    ) -> Arc<Self> {
        Arc::new(Self {
            origin,
            account,
            seq: message.seq,
            stamp,
            given: message.stamp,
            flags: message.flags & !CONFIRM_ANYWAY,
            topic: message.topic.into(),
            payload: message.payload.into(),
        })
    }

    pub(super) fn message(&self) -> Broadcast<'_> {
        Broadcast {
            origin: &self.origin.name,
            epoch: self.origin.epoch,
            seq: self.seq,
            stamp: self.given,
            flags: self.flags,
            topic: &self.topic,
            payload: &self.payload,
        }
    }

    /// Whether it fits in no datagram: its origin sends it to each member, and no other member stores it.
    pub(crate) fn is_large(&self) -> bool {
        self.payload.len() > MAX_SMALL
    }

    /// The most bytes that its section takes.
    pub(super) fn size(&self) -> usize {
        // Tag and length, three numbers, flags, the lengths of three fields.
        let Self { origin, topic, payload, .. } = self;
        3 + 30 + 1 + 6 + origin.name.len() + topic.len() + payload.len()
    }
}
