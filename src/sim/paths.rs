//! The addresses that hosts send from, and those where they are reached.
//!
//! A host's node advertises one address. Its packets may leave from another; the advertised address may let in only answers;
//! or it may not be the host's any more.

use std::{
    collections::BTreeMap,
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::host::addr;
use crate::swim::Time;

/// For how long a translator or a firewall lets answers in (RFC 4787, REQ-5).
const REMEMBERED: Duration = Duration::from_secs(120);

/// Which packets a translator of addresses (NAT) lets through to the mapped address (RFC 4787 §5).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Nat {
    /// All packets, while the mapping lasts (endpoint-independent filtering).
    FullCone,
    /// Packets of hosts that something was sent to recently (address-dependent filtering).
    AddressRestricted,
}

/// The source address of a datagram or a stream of a host.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
enum Source {
    /// The advertised address.
    #[default]
    Own,
    /// Always another address, that of a translator.
    Mapped(SocketAddr, Nat),
    /// The advertised address or a second one of the host, at random.
    Either(SocketAddr),
}

/// The addresses between one host and the others.
#[derive(Debug, Default)]
struct Path {
    source: Source,
    /// Whether only answers get in at its advertised address, because of a stateful firewall or a wrong address.
    closed: bool,
    /// The host's address since it was replaced; no host has the advertised one any more.
    moved: Option<SocketAddr>,
    /// When something was last sent from an address of this host to one of another.
    sent: BTreeMap<(SocketAddr, IpAddr), Time>,
}

impl Path {
    /// Whether something was sent from this address recently, to a certain host or to any.
    fn has_sent(&self, here: SocketAddr, to: Option<IpAddr>, now: Time) -> bool {
        let lately = |at: &Time| now.since(*at) < REMEMBERED;
        match to {
            Some(to) => self.sent.get(&(here, to)).is_some_and(lately),
            None => self.sent.iter().any(|((from, _), at)| *from == here && lately(at)),
        }
    }
}

/// The paths of all hosts, by their numbers; a host without an entry is reached at its advertised address, and sends from
/// it.
#[derive(Debug, Default)]
pub(super) struct Paths(BTreeMap<usize, Path>);

/// Kinds of further addresses: of a translator, which also has another port; of a second network; after a move.
const MAPPED: u8 = 0;
const SECOND: u8 = 1;
const MOVED: u8 = 2;

/// A further address of a host, besides the advertised one: the n-th of this kind.
fn further_addr(host: usize, kind: u8, n: u8) -> SocketAddr {
    let port = addr(host).port() + u16::from(kind == MAPPED);
    ([20 + kind, n, (host >> 8) as u8, host as u8], port).into()
}

impl Paths {
    /// From now on a host sends from behind a translator; each binding is another mapped address.
    pub(super) fn map(&mut self, host: usize, nat: Nat, binding: u8) {
        self.0.entry(host).or_default().source = Source::Mapped(further_addr(host, MAPPED, binding), nat);
    }

    /// From now on a host sends from its advertised address.
    pub(super) fn unmap(&mut self, host: usize) {
        self.0.entry(host).or_default().source = Source::Own;
    }

    /// From now on a host has a second address, and sends from either.
    pub(super) fn add_second(&mut self, host: usize) {
        self.0.entry(host).or_default().source = Source::Either(further_addr(host, SECOND, 0));
    }

    /// The advertised address of a host lets in only answers, or everything again.
    pub(super) fn close(&mut self, host: usize, closed: bool) {
        self.0.entry(host).or_default().closed = closed;
    }

    /// Replaces a host's address by another, which its node does not know yet.
    pub(super) fn replace(&mut self, host: usize, n: u8) {
        self.0.entry(host).or_default().moved = Some(further_addr(host, MOVED, n));
    }

    /// The new address of a host whose address was replaced, once its node is to know it.
    pub(super) fn take_new(&mut self, host: usize) -> Option<SocketAddr> {
        self.0.get_mut(&host)?.moved.take()
    }

    /// Whether all hosts are reached at their advertised addresses, and send from them.
    pub(super) fn are_plain(&self) -> bool {
        self.0.values().all(|path| path.source == Source::Own && !path.closed && path.moved.is_none())
    }

    /// Hosts whose advertised address others cannot reach, in order.
    pub(super) fn closed(&self) -> Vec<usize> {
        self.which(|path| path.closed)
    }

    /// Hosts whose address was replaced, in order.
    pub(super) fn moved(&self) -> Vec<usize> {
        self.which(|path| path.moved.is_some())
    }

    fn which(&self, is: impl Fn(&Path) -> bool) -> Vec<usize> {
        self.0.iter().filter(|(_, path)| is(path)).map(|(host, _)| *host).collect()
    }

    /// Whether others may be unable to reach a host at its advertised address.
    pub(super) fn is_out_of_reach(&self, host: usize) -> bool {
        self.0.get(&host).is_some_and(|path| path.closed || path.moved.is_some())
    }

    /// The host that has this address besides its advertised one.
    pub(super) fn host_at(&self, addr: SocketAddr) -> Option<usize> {
        self.0.iter().find(|(_, path)| path.knows(addr)).map(|(host, _)| *host)
    }

    /// The source address of what a host, which advertises `own`, sends to another address.
    pub(super) fn source(
        &mut self,
        host: usize,
        own: SocketAddr,
        to: SocketAddr,
        now: Time,
        rng: &mut fastrand::Rng,
    ) -> SocketAddr {
        let Some(path) = self.0.get_mut(&host) else { return own };
        let from = match (path.source, path.moved) {
            (Source::Mapped(mapped, _), _) => mapped,
            (Source::Either(second), _) if rng.bool() => second,
            (_, Some(moved)) => moved,
            _ => own,
        };
        path.sent.insert((from, to.ip()), now);
        from
    }

    /// Whether a datagram gets from one address to another, which belongs to a host that advertises `own`.
    pub(super) fn admits(
        &self,
        host: usize,
        own: SocketAddr,
        from: SocketAddr,
        to: SocketAddr,
        now: Time,
    ) -> bool {
        let Some(path) = self.0.get(&host) else { return true };
        match path.source {
            _ if to == own && path.moved.is_some() => false,
            _ if to == own && path.closed => path.has_sent(own, Some(from.ip()), now),
            Source::Mapped(mapped, Nat::FullCone) if to == mapped => path.has_sent(mapped, None, now),
            Source::Mapped(mapped, Nat::AddressRestricted) if to == mapped => {
                path.has_sent(mapped, Some(from.ip()), now)
            }
            _ => true,
        }
    }

    /// Whether a stream can be opened to an address of a host that advertises `own`. Streams do not pass a translator.
    pub(super) fn admits_stream(&self, host: usize, own: SocketAddr, to: SocketAddr) -> bool {
        let Some(path) = self.0.get(&host) else { return true };
        let is_mapped = matches!(path.source, Source::Mapped(mapped, _) if to == mapped);
        !is_mapped && (to != own || !path.closed && path.moved.is_none())
    }
}

impl Path {
    fn knows(&self, addr: SocketAddr) -> bool {
        let further = match self.source {
            Source::Own => None,
            Source::Mapped(further, _) | Source::Either(further) => Some(further),
        };
        further == Some(addr) || self.moved == Some(addr)
    }
}

#[cfg(test)]
#[path = "paths_tests.rs"]
mod tests;
