//! The claimant: which member makes a claim about another, and which host the work that the claim causes counts for.

use std::net::SocketAddr;

use super::{member::MemberId, table::Table};

/// The member that makes a claim about another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Claimant {
    /// The member, if it is one.
    pub(super) id: Option<MemberId>,
    /// A hash of its host: the work that claims cause is shared among hosts.
    pub(super) host: u32,
}

impl Table {
    /// A member, or an unknown claimant at an address. A member counts for the host where it answered last, since its address is
    /// its own claim. Where no other host is known, it counts for itself.
    pub(super) fn claimant(&self, id: Option<MemberId>, at: SocketAddr) -> Claimant {
        let record = id.map(|id| self.get(id));
        let host = match record {
            Some(record) if self.hosts() <= 1 => record.mark,
            Some(record) if record.contact.met_on_host != 0 => record.contact.met_on_host,
            _ => self.hash_host(at),
        };
        Claimant { id, host }
    }

    /// The member at an address, or an unknown claimant there.
    pub(super) fn claimant_at(&self, at: SocketAddr) -> Claimant {
        self.claimant(self.find_at(at, |record| record.contact.met), at)
    }
}
