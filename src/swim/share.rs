//! Shares: what others can hold of a node is shared among their hosts, since names and ports are free.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use serde::{Deserialize, Serialize};

use super::{
    session::Purpose,
    stream::{StreamId, Streams},
    table::Table,
};
use crate::address::host_of;

/// The account of a share: a host, which is an IPv4 address or the /64 of an IPv6 address. Where no other host is known, as
/// in a cluster on one machine, it is an address: the members there have the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(crate) struct Account(SocketAddr);

impl Account {
    /// One account for all members that have not answered: their addresses are only hearsay. No member is at this address.
    pub(crate) const UNMET: Self = Self(SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), 0));

    /// The two accounts that a member at an address may have: that of the host and that of the address.
    pub(super) fn both_of(addr: SocketAddr) -> [Self; 2] {
        #[cfg(test)]
        LOOKED_AT.set(LOOKED_AT.get() + 1);
        [Self(SocketAddr::new(host_of(addr.ip()), 0)), Self(addr)]
    }

    /// Whether a member at an address has this account.
    pub(super) fn is_of(self, addr: SocketAddr) -> bool {
        Self::both_of(addr).contains(&self)
    }
}

#[cfg(test)]
thread_local! {
    /// How many addresses were looked at for their accounts.
    pub(super) static LOOKED_AT: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The account of a host, which has a number in tests.
#[cfg(test)]
impl From<u32> for Account {
    fn from(host: u32) -> Self {
        Self(SocketAddr::new(Ipv4Addr::from(host).into(), 0))
    }
}

impl Table {
    /// The account of a member at an address.
    pub(super) fn account_of(&self, addr: SocketAddr) -> Account {
        let host = host_of(addr.ip());
        Account(if self.has_met_elsewhere(host) { SocketAddr::new(host, 0) } else { addr })
    }
}

impl Streams {
    /// Whether a stream of this kind that this node began with an account is under way.
    pub(super) fn has_opened_to(&self, account: Account, is: impl Fn(&Purpose) -> bool) -> bool {
        let is_one =
            |stream: &StreamId| self.sessions.get(stream).is_some_and(|session| is(&session.purpose));
        self.opened.iter().any(|(stream, peer)| is_one(stream) && account.is_of(*peer))
    }
}
