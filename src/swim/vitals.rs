//! A summary of a node's own health, cheap enough for a driver to log it after each input.

use std::{net::SocketAddr, time::Duration};

use super::{
    member::{MemberId, MemberState},
    node::Node,
};

/// The values that change when a node has trouble of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Vitals {
    /// Accusations against this node that it refuted.
    pub(crate) refutations: u64,
    /// The incarnation of its own record.
    pub(crate) incarnation: u64,
    /// How often it was stalled.
    pub(crate) stalls: u64,
    /// How long the last stall was.
    pub(crate) last_stall: Duration,
    /// How often it stayed away because it flapped.
    pub(crate) flaps_damped: u64,
    /// Awareness (Lifeguard §IV-A): 0 is well.
    pub(crate) health_score: u32,
}

impl Node {
    pub(crate) fn vitals(&self) -> Vitals {
        Vitals {
            refutations: self.metrics.refutations,
            incarnation: self.table.get(MemberId::SELF).identity.incarnation,
            stalls: self.metrics.stalls,
            last_stall: self.last_stall,
            flaps_damped: self.metrics.flaps_damped,
            health_score: self.health.score(),
        }
    }

    /// The mark of the member that the last datagram came from, if that has shown its token.
    pub(crate) fn heard_from(&self) -> Option<u32> {
        self.heard_from
    }

    /// Whether a member that no other accuses has this address: a stream that breaks then says nothing about keys.
    pub(crate) fn is_alive_at(&self, addr: SocketAddr) -> bool {
        self.table.find_at(addr, |record| record.state == MemberState::Alive).is_some()
    }
}
