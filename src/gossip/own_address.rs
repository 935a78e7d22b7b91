//! Looks whether the advertised address still belongs to this host, and follows it where the node chose it.

use std::{
    io::ErrorKind,
    net::{IpAddr, SocketAddr, UdpSocket},
    time::Duration,
};

use super::{
    advertise::{System, choose_again},
    shared_node::SharedNode,
};
use crate::swim::Time;

/// The time between two checks.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The advertised address, if it was one of this host at the start.
#[derive(Debug)]
pub(super) struct OwnAddress {
    addr: Option<SocketAddr>,
    /// Whether another is advertised once it is gone: the node chose it, and its sockets are bound to all.
    follows: bool,
    next: Time,
}

impl OwnAddress {
    pub(super) fn new(advertised: SocketAddr, follows: bool) -> Self {
        let addr = Some(advertised).filter(|addr| is_of_this_host(addr.ip()) == Some(true));
        Self { addr, follows, next: Time::ZERO }
    }

    /// Checks every few seconds whether the host still has its address, and sends a wake-up, to see whether one arrives.
    pub(super) fn check(&mut self, node: &SharedNode) {
        let now = node.now();
        if now < self.next {
            return;
        }
        self.next = now + LOOK_AGAIN;
        node.wake();
        let Some(addr) = &mut self.addr else { return };
        let Some(present) = is_of_this_host(addr.ip()) else { return };
        node.with(|node, now| node.set_address_present(now, present));
        if present || !self.follows {
            return;
        }
        let members = node.with(|node, _| node.members());
        let ips = members.iter().filter(|member| member.state.is_live()).map(|member| member.addr.ip());
        if let Some(ip) = choose_again(addr.ip(), ips, &System) {
            addr.set_ip(ip);
            node.with(|node, now| node.set_addr(now, *addr));
        }
    }
}

/// Whether an address belongs to this host: whether a socket can be bound to it. `None` if the system does not tell.
fn is_of_this_host(ip: IpAddr) -> Option<bool> {
    match UdpSocket::bind((ip, 0)) {
        Ok(_) => Some(true),
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => Some(false),
        Err(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gossip::running::Running;

    #[test]
    fn an_address_of_this_host_is_told_from_another_hosts() {
        assert_eq!(is_of_this_host([127, 0, 0, 1].into()), Some(true));
        // An address reserved for documentation.
        assert_eq!(is_of_this_host([192, 0, 2, 1].into()), Some(false));
        assert_eq!(OwnAddress::new(([192, 0, 2, 1], 1).into(), true).addr, None, "mapped: it never was one");
    }

    #[test]
    fn the_own_address_is_checked_at_once_and_then_not_before_its_time() {
        let (running, _threads) = Running::idle();
        let mut own = OwnAddress::new(([192, 0, 2, 1], 1).into(), true);
        own.check(&running.node);
        assert!(own.next > Time::ZERO + LOOK_AGAIN);
        let later = running.node.now() + 1_000 * LOOK_AGAIN;
        own.next = later;
        own.check(&running.node);
        assert_eq!(own.next, later);
        running.abort().unwrap();
    }
}
