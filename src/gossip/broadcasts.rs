//! Broadcasts: messages to every member.

use std::{fmt, time::Duration};

use crossbeam_channel::bounded;
use serde::{Deserialize, Serialize};

use super::{
    handle::Gossip,
    messages::{BroadcastId, MemberLife, check_time, check_topic},
    query::percentile,
};
use crate::{
    Error, Unconfirmed,
    data::broadcasts::{FOLD, MAX_LARGE, Outcome, TooMany},
    wire::data::MAX_SMALL,
};

/// Which members have a [confirmed broadcast](Gossip::broadcast_confirmed).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BroadcastReport {
    /// The broadcast.
    pub id: BroadcastId,
    /// Members that confirmed it.
    pub reached: usize,
    /// Members that did not confirm it, by name. They may have received it, or may receive it later.
    pub missing: Vec<BroadcastMiss>,
    /// How many of those that were reached confirmed it only after it was sent to them directly.
    pub repaired: usize,
    /// The time after which half of those that were reached had confirmed it, by this node's clock; `None` if none was.
    pub p50: Option<Duration>,
    /// The time after which 99 of 100 of those had confirmed it.
    pub p99: Option<Duration>,
}

/// A member that has not confirmed a broadcast.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct BroadcastMiss {
    /// The member.
    pub member: MemberLife,
    /// Why.
    pub why: Unconfirmed,
}

/// As `30 reached, 1 missing: node-b (silent)`.
impl fmt::Display for BroadcastReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} reached, {} missing", self.reached, self.missing.len())?;
        for (at, BroadcastMiss { member, why }) in self.missing.iter().enumerate() {
            write!(f, "{} {member} ({why})", if at == 0 { ":" } else { "," })?;
        }
        Ok(())
    }
}

impl BroadcastReport {
    /// Whether every member that was asked has confirmed it.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty()
    }

    fn of(id: BroadcastId, outcome: Outcome) -> Self {
        let Outcome { reached, mut missing, repaired } = outcome;
        let mut times: Vec<_> = reached.iter().map(|(_, took)| *took).collect();
        times.sort_unstable();
        missing.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        let missing =
            missing.into_iter().map(|(life, why)| BroadcastMiss { member: MemberLife::of(life), why });
        let (p50, p99) = (percentile(&times, 50), percentile(&times, 99));
        Self { id, reached: times.len(), missing: missing.collect(), repaired, p50, p99 }
    }
}

impl Gossip {
    /// Sends a payload of at most 512 bytes to every member, this node included, and returns at once. It arrives in the
    /// [inboxes](Self::inbox) for `topic`, as a [`Message`](crate::Message) whose kind is
    /// [`Broadcast`](crate::MessageKind::Broadcast).
    ///
    /// Every member that stays live and connected for a minute receives it, once, in the order of this node's broadcasts,
    /// unless more was broadcast in that minute than members store (256 broadcasts, or 128 KiB). A member that joins or
    /// restarts later may receive the last few broadcasts, which are still spreading, but no earlier ones. With a [state
    /// file](crate::GossipConfig::state_file) a restarted member does not receive again what its inboxes already received,
    /// except for the last second before it was killed. A node may broadcast 50 times a second, and 256 times at once.
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let a = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// let b = Gossip::start(GossipConfig::local("b").bind("127.0.0.1:0"))?;
    /// b.join([a.local().addr.to_string()])?;
    /// let inbox = b.inbox("cache")?;
    /// a.broadcast("cache", b"user:17")?;
    /// let message = inbox.recv().expect("the node runs").into_message().expect("nothing is lost");
    /// assert_eq!((&*message.from.name, &*message.payload), ("a", &b"user:17"[..]));
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// Nothing was sent: [`Error::Busy`] if broadcasts come too often, [`Error::TooLarge`], [`Error::Invalid`] if
    /// `topic` has not 1 to 64 bytes or has characters that break or disguise a line (control characters, line
    /// separators, changes of direction); [`Error::Left`], [`Error::Stopped`] or [`Error::Panicked`] if this node has
    /// left or ended.
    pub fn broadcast(&self, topic: &str, payload: impl AsRef<[u8]>) -> Result<BroadcastId, Error> {
        self.broadcast_flagged(topic, payload.as_ref(), 0)
    }

    /// A [`broadcast`](Self::broadcast) that replaces an earlier one of this kind to the topic in an inbox that is full: one from
    /// the same host, or, within the host's share of the inbox, from another.
    ///
    /// # Errors
    /// As `broadcast`.
    pub fn broadcast_newest(&self, topic: &str, payload: impl AsRef<[u8]>) -> Result<BroadcastId, Error> {
        self.broadcast_flagged(topic, payload.as_ref(), FOLD)
    }

    /// A [`broadcast`](Self::broadcast) that waits until all members have confirmed it, or for `limit`. After half of that
    /// time it is sent directly to the members that have not confirmed it. A confirmation says that the member has received
    /// it, not that a program has read it there.
    ///
    /// Members that are live at the call are counted. If there are more than 256, a sample of about 256 confirms; the report
    /// gives the number.
    ///
    /// If this node leaves during the call, the report comes at once, with [`Unconfirmed::Abandoned`] for members that have
    /// not confirmed it.
    ///
    /// The payload is at most 1 MiB less 64 bytes. One of more than 512 bytes costs a stream for each member, as in
    /// [`send_within`](Self::send_within): members do not pass it on, so all that are live at the call are asked to confirm
    /// it. A member that is not reached within `limit` does not receive it later, and is told that a broadcast is lost. It
    /// has its place in the order of this node's broadcasts, but later ones wait for it for two seconds at most.
    ///
    /// ```
    /// use std::time::Duration;
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let a = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// let b = Gossip::start(GossipConfig::local("b").bind("127.0.0.1:0"))?;
    /// b.join([a.local().addr.to_string()])?;
    /// let report = a.broadcast_confirmed("config", b"limit=7", Duration::from_secs(5))?;
    /// assert_eq!(report.to_string(), "1 reached, 0 missing");
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// As `broadcast`: nothing was sent; [`Error::Invalid`] also if the limit is 0, and [`Error::Busy`] if 64 such calls are
    /// under way, or 16 queries and calls with more than 512 bytes together. If the node ends during the call,
    /// [`Error::Stopped`] or [`Error::Panicked`]: members may have received it.
    pub fn broadcast_confirmed(
        &self,
        topic: &str,
        payload: impl AsRef<[u8]>,
        limit: Duration,
    ) -> Result<BroadcastReport, Error> {
        let payload = payload.as_ref();
        let remedy = "broadcast where to fetch it, or send it in parts";
        self.check_broadcast(topic, payload, ("bytes of a confirmed broadcast", MAX_LARGE, remedy))?;
        check_time("limit", limit)?;
        let (caller, outcome) = bounded(1);
        let sent = self.running.node.call(|endpoint, now| {
            let seq = endpoint.broadcast_confirmed(now, topic, payload, limit, caller)?;
            Ok(BroadcastId { from: MemberLife::of(endpoint.node.own_life()), seq })
        });
        let id = sent.map_err(too_many)?;
        self.running.node.wake();
        let outcome = outcome.recv().map_err(|_| self.running.node.ended())?;
        Ok(BroadcastReport::of(id, outcome))
    }

    fn broadcast_flagged(&self, topic: &str, payload: &[u8], flags: u8) -> Result<BroadcastId, Error> {
        let remedy = "use `broadcast_confirmed`, which takes more, or set a key of up to 15,360";
        self.check_broadcast(topic, payload, ("bytes of a broadcast", MAX_SMALL, remedy))?;
        let sent = self.running.node.call(|endpoint, now| {
            let seq = endpoint.broadcast(now, topic, payload, flags)?;
            Ok(BroadcastId { from: MemberLife::of(endpoint.node.own_life()), seq })
        });
        self.running.node.wake();
        sent.map_err(too_many)
    }

    fn check_broadcast(
        &self,
        topic: &str,
        payload: &[u8],
        (what, limit, remedy): (&'static str, usize, &'static str),
    ) -> Result<(), Error> {
        check_topic(topic)?;
        if payload.len() > limit {
            return Err(Error::too_large(what, (payload.len(), limit), remedy));
        }
        self.running.check_present()
    }
}

fn too_many(too_many: TooMany) -> Error {
    let (limit, remedy) = match too_many {
        TooMany::PerSecond => ("50 broadcasts a second, 256 at once", "broadcast less often"),
        TooMany::Confirmed => ("64 confirmed broadcasts under way", "wait for one of them"),
        TooMany::Large => {
            ("16 queries and broadcasts of more than 512 bytes under way", "wait for one of them")
        }
    };
    Error::busy(None, limit, remedy)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::swim::Life;

    #[test]
    fn a_report_says_who_is_missing_and_how_long_it_took() {
        let id = BroadcastId { from: MemberLife { name: "a".into(), epoch: 5 }, seq: 7 };
        let millis = Duration::from_millis;
        let life = |name: &str| Life { name: name.into(), epoch: 1 };
        let outcome = Outcome {
            reached: (1..=100).rev().map(|n| (n.to_string().into(), millis(n))).collect(),
            missing: vec![(life("z"), Unconfirmed::Left), (life("b\n"), Unconfirmed::Silent)],
            repaired: 3,
        };
        let report = BroadcastReport::of(id.clone(), outcome);
        assert_eq!((report.p50, report.p99, report.repaired), (Some(millis(50)), Some(millis(99)), 3));
        assert_eq!(report.to_string(), r"100 reached, 2 missing: b\n (silent), z (left)");
        let nobody = BroadcastReport::of(id, Outcome::default());
        assert_eq!((nobody.p50, nobody.p99, nobody.id.to_string()), (None, None, "a.5.7".into()));
    }
}
