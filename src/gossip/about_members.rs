//! Calls on a running node about single members: removal, round-trip times, and the nearest members.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::handle::Gossip;
use crate::{
    Error, Filter, Removal, Rtt,
    swim::{Member, Node, by_distance},
};

/// How many members are looked up under one lock of the node.
const PIECE: usize = 512;

/// A member and how far it is, from [`Gossip::nearest`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct NearMember {
    /// The member.
    pub member: Member,
    /// The round-trip time to it.
    pub rtt: Rtt,
}

/// The member and the round-trip time: `db-1 at 10.0.0.5:7946, 1.2ms`.
impl fmt::Display for NearMember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.member, self.rtt)
    }
}

impl Gossip {
    /// Removes a failed member from the cluster, in the views of all: see [`Removal`]. No member tries to reach it any more.
    /// Serf calls this force-leave and prune.
    ///
    /// This is a verdict, not a ban: a live member refutes it as soon as it hears of it, and a restarted one joins as usual.
    /// The tombstone, kept for [`forget_after`](crate::swim::Config::forget_after), stops old updates from listing the
    /// member again. The [majority](crate::Membership::majority) counts members that left, so [`Removal::Reap`] makes it
    /// smaller. If each half of a partitioned cluster removes the other, the halves find each other again only through their
    /// seeds.
    ///
    /// In a [`Membership`](crate::Membership) the peer is in `left` after [`Removal::Leave`], and failed no longer; it is
    /// removed from there after [`Removal::Reap`], and in any case once the member is reaped.
    ///
    /// ```
    /// use syncswim::{Error, Gossip, GossipConfig, Removal};
    ///
    /// let node = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// let refused = node.remove("b", Removal::Reap);
    /// assert!(matches!(refused, Err(Error::UnknownMember { .. })));
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::StillLive`] if the member is alive or suspected, or this node itself; [`Error::UnknownMember`] if none of that
    /// name is listed; [`Error::Left`] after [`leave`](Self::leave), [`Error::Stopped`] if the node has ended,
    /// [`Error::Panicked`] if a panic ended it.
    pub fn remove(&self, name: &str, removal: Removal) -> Result<(), Error> {
        self.running.check_present()?;
        self.running.node.command(|node, now| node.remove(now, name, removal))?;
        self.running.node.wake();
        Ok(())
    }

    /// The round-trip time of a datagram to a member, from this node's last probes of it. A node probes one member each
    /// [`probe_interval`](crate::swim::Config::probe_interval), so among many members a measurement may be old: see
    /// [`Rtt::age`]. `None` for this node itself, for names that are not listed, and before the member has answered a probe
    /// at its present address by datagram.
    ///
    /// ```
    /// use std::time::Duration;
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let a = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// if let Some(rtt) = a.rtt("b") {
    ///     println!("{:?}, measured {:?} ago", rtt.time, rtt.age);
    /// }
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    #[must_use]
    pub fn rtt(&self, member: &str) -> Option<Rtt> {
        self.running.node.command(|node, now| node.rtt(now, member))
    }

    /// The live members that a filter matches and whose [round-trip time](Self::rtt) this node has measured, the nearest
    /// first, at most `most`. Members whose times differ by less than a millisecond or an eighth count as equally near:
    /// their order does not change with each measurement, and differs from node to node, so that not all nodes choose the
    /// same member. O(n log n).
    ///
    /// ```
    /// use syncswim::{Filter, Gossip, GossipConfig};
    ///
    /// let node = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// for near in node.nearest(&Filter::tag("role", "cache"), 2) {
    ///     println!("{} is {:?} away", near.member.addr, near.rtt.time);
    /// }
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    #[must_use]
    pub fn nearest(&self, filter: &Filter, most: usize) -> Vec<NearMember> {
        let members = self.members();
        let live: Vec<_> = members.matching(filter).filter(|member| member.state.is_live()).collect();
        // The node is locked for one piece at a time and for nothing else, since it takes in no datagrams meanwhile.
        let rtts = live.chunks(PIECE).flat_map(|piece| {
            let rtts = |node: &Node, now| piece.iter().map(|member| node.rtt(now, &member.name)).collect();
            self.running.node.command::<Vec<_>>(|node, now| rtts(node, now))
        });
        let measured = live.iter().zip(rtts).filter_map(|(member, rtt)| Some(((*member).clone(), rtt?)));
        let mut near = by_distance(&self.running.config.name, measured.collect());
        near.truncate(most);
        near.into_iter().map(|(member, rtt)| NearMember { member, rtt }).collect()
    }
}
