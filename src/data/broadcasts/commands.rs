//! Calls on an endpoint about broadcasts, and their delivery to readers.

use std::{mem, sync::Arc, time::Duration};

use crossbeam_channel::{Sender, TryRecvError};

use super::{Delivery, FOLD, Outcome, TooMany};
use crate::{
    data::{
        Endpoint, MessageKind, Stamp,
        messages::{self, Settled},
    },
    swim::Time,
    wire::data::MAX_SMALL,
};

impl Endpoint {
    /// Sends a payload to every member.
    pub(crate) fn broadcast(
        &mut self,
        now: Time,
        topic: &str,
        payload: &[u8],
        flags: u8,
    ) -> Result<u64, TooMany> {
        let sent = self.broadcasts.broadcast(now, &self.node, topic, payload, flags);
        self.settle(now);
        sent.map(|item| item.seq)
    }

    /// The same, and reports the confirmations to a caller.
    pub(crate) fn broadcast_confirmed(
        &mut self,
        now: Time,
        topic: &str,
        payload: &[u8],
        timeout: Duration,
        caller: Sender<Outcome>,
    ) -> Result<u64, TooMany> {
        let is_large = payload.len() > MAX_SMALL;
        if is_large && self.messages.has_all_queries() {
            return Err(TooMany::Large);
        }
        let (item, asked) =
            self.broadcasts.broadcast_confirmed(now, &self.node, topic, payload, timeout, caller)?;
        let seq = item.seq;
        if is_large && let Ok((_, settled)) = self.query(now, asked, item.ask(timeout)) {
            self.large.push((item, settled));
        }
        self.settle(now);
        Ok(seq)
    }

    /// Processes the results of large broadcasts.
    pub(in crate::data) fn confirm_large(&mut self, now: Time) {
        let mut large = mem::take(&mut self.large);
        large.retain(|(item, settled)| {
            loop {
                match settled.try_recv() {
                    Ok(Settled { to, outcome, .. }) => {
                        self.broadcasts.large_settled(now, item, &to, outcome.is_ok());
                    }
                    Err(error) => return error == TryRecvError::Empty,
                }
            }
        });
        self.large = large;
    }

    /// Puts deliveries into the mailboxes of their readers.
    pub(crate) fn hand_out(&mut self) {
        while let Some(delivery) = self.broadcasts.poll_delivery() {
            self.deliver(&delivery);
        }
    }

    pub(crate) fn deliver(&mut self, delivery: &Delivery) {
        match delivery {
            Delivery::Lost { origin, count } => self.messages.lose_broadcasts(origin, *count),
            Delivery::Item { item, gap, late } => {
                let (seq, stamp, gap, late) = (item.seq, Stamp(item.stamp), *gap, *late);
                self.messages.deliver_broadcast(&messages::Item {
                    from: item.origin.clone(),
                    account: item.account,
                    topic: Arc::clone(&item.topic),
                    payload: Arc::clone(&item.payload),
                    kind: MessageKind::Broadcast { seq, stamp, gap, late },
                    folds: item.flags & FOLD != 0,
                });
            }
        }
    }
}
