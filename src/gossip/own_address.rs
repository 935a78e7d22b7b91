//! Looks whether the advertised address still belongs to this host, and follows it where the node chose it.

use std::{
    net::{IpAddr, SocketAddr},
    time::Duration,
};

use super::{
    advertise::{Host, System, choose_again},
    shared_node::SharedNode,
};
use crate::swim::{Config, Time};

/// The time between two checks.
const LOOK_AGAIN: Duration = Duration::from_secs(5);
/// Checks in a row that do not find the address, after which another is advertised: while a network interface or a
/// lease is renewed, the address is gone for a moment.
const PATIENCE: u32 = 3;

/// The advertised address.
#[derive(Debug)]
pub(super) struct OwnAddress {
    addr: SocketAddr,
    /// The address of the start, to which the node returns.
    first: IpAddr,
    /// Whether the address was ever one of this host. An address that is translated to this host never is.
    was_here: bool,
    /// Whether another address is advertised once this one is gone: the node chose it, and its sockets are bound to
    /// all.
    follows: bool,
    /// Checks in a row that did not find the address.
    missed: u32,
    next: Time,
}

impl OwnAddress {
    pub(super) fn new(advertised: SocketAddr, follows: bool) -> Self {
        let (addr, first) = (advertised, advertised.ip());
        Self { addr, first, was_here: false, follows, missed: 0, next: Time::ZERO }
    }

    /// Checks every few seconds whether the host still has its address, and sends a wake-up, to see whether one arrives.
    pub(super) fn check(&mut self, node: &SharedNode, config: &Config) {
        let now = node.now();
        if now < self.next {
            return;
        }
        self.next = now + LOOK_AGAIN;
        node.wake();
        let Some(present) = self.look(&System) else { return };
        node.with(|node, now| node.set_address_present(now, present));
        let members = || {
            let members = node.with(|node, _| node.members());
            members.into_iter().filter(|member| member.state.is_live()).map(|member| member.addr.ip())
        };
        if self.follow(members, |ip| config.allows(ip), &System) {
            node.with(|node, now| node.set_addr(now, self.addr));
        }
    }

    /// Whether the host has the address; `None` if that is not known, or if it never had it.
    fn look(&mut self, host: &dyn Host) -> Option<bool> {
        let present = host.has(self.addr.ip())?;
        self.was_here |= present;
        self.missed = if present { 0 } else { self.missed.saturating_add(1) };
        self.was_here.then_some(present)
    }

    /// Takes another address, if there is a reason and an allowed one. Returns whether it did.
    fn follow<M: IntoIterator<Item = IpAddr>>(
        &mut self,
        members: impl FnOnce() -> M,
        allows: impl Fn(IpAddr) -> bool,
        host: &dyn Host,
    ) -> bool {
        if !self.follows {
            return false;
        }
        let now = self.addr.ip();
        let next = match now != self.first && host.has(self.first) == Some(true) {
            true => Some(self.first),
            false if self.missed >= PATIENCE => choose_again(now, members(), allows, host),
            false => None,
        };
        let Some(ip) = next else { return false };
        self.addr.set_ip(ip);
        true
    }
}

#[cfg(test)]
#[path = "own_address_tests.rs"]
mod tests;
