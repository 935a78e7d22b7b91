//! Whether others can reach this host where it says it is, as far as the host itself can tell; and what is logged of it.

use std::{
    io::ErrorKind,
    net::{IpAddr, UdpSocket},
    time::Duration,
};

use super::engine::Engine;
use crate::swim::{Event, ReachProblem, Time};

/// The time between two looks.
const LOOK_AGAIN: Duration = Duration::from_secs(5);

/// The advertised address, if it was one of this host at the start.
#[derive(Debug)]
pub(super) struct OwnAddress {
    ip: Option<IpAddr>,
    next: Time,
}

impl OwnAddress {
    pub(super) fn new(advertised: IpAddr) -> Self {
        Self { ip: Some(advertised).filter(|ip| is_of_this_host(*ip) == Some(true)), next: Time::ZERO }
    }
}

/// Whether an address is one of this host: whether a socket can have it. `None` if the system does not say.
fn is_of_this_host(ip: IpAddr) -> Option<bool> {
    match UdpSocket::bind((ip, 0)) {
        Ok(_) => Some(true),
        Err(error) if error.kind() == ErrorKind::AddrNotAvailable => Some(false),
        Err(_) => None,
    }
}

impl Engine {
    /// From time to time: whether the host still has its address, and whether a wake-up arrives.
    pub(super) fn look_around(&self, own_address: &mut OwnAddress) {
        let now = self.now();
        if now < own_address.next {
            return;
        }
        own_address.next = now + LOOK_AGAIN;
        self.wake();
        if let Some(present) = own_address.ip.and_then(is_of_this_host) {
            self.with_node(|node, now| node.set_address_present(now, present));
        }
    }

    pub(super) fn log(&self, event: &Event) {
        let name = &self.name;
        match event {
            Event::ReachabilityLost { problem } => {
                self.warnings.warn(kind_of(problem), format_args!("{name}: {problem}"));
            }
            Event::ReachabilityRestored { problem } => {
                self.warnings.forget(kind_of(problem));
                log::info!("{name}: this is over: {problem}");
            }
            event => log::debug!("{name}: {event:?}"),
        }
    }
}

/// Under which name a warning of a problem repeats.
fn kind_of(problem: &ReachProblem) -> &'static str {
    match problem {
        ReachProblem::Datagrams { .. } => "datagrams",
        ReachProblem::Unreached { .. } => "unreached",
        ReachProblem::AddressGone { .. } => "address gone",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_of_this_host_is_told_from_another_hosts() {
        assert_eq!(is_of_this_host([127, 0, 0, 1].into()), Some(true));
        // Set aside for documentation.
        assert_eq!(is_of_this_host([192, 0, 2, 1].into()), Some(false));
        assert_eq!(OwnAddress::new([192, 0, 2, 1].into()).ip, None, "mapped: it never was one");
    }
}
