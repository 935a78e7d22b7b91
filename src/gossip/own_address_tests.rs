//! The advertised address of hosts that lose it and get it back.

use std::{io, time::Instant};

use crossbeam_channel::{Receiver, never};

use super::*;
use crate::gossip::running::Running;

/// A host that has these addresses, and sends to others from the last.
struct Fake(&'static [&'static str]);

impl Host for Fake {
    fn source_toward(&self, _: IpAddr) -> Option<IpAddr> {
        self.0.last().map(|ip| ip.parse().unwrap())
    }

    fn candidates(&self) -> Vec<IpAddr> {
        unreachable!("the address was chosen before")
    }

    fn has(&self, ip: IpAddr) -> Option<bool> {
        Some(self.0.iter().any(|own| own.parse() == Ok(ip)))
    }

    fn look_up_limit(&self) -> Duration {
        Duration::ZERO
    }

    fn look_up(&self, _: &str, _: Instant) -> Receiver<io::Result<Vec<SocketAddr>>> {
        never()
    }
}

const CLUSTER: &str = "10.9.0.5";
const MANAGEMENT: &str = "192.168.1.5";
const BOTH: Fake = Fake(&[CLUSTER, MANAGEMENT]);
const SECOND: Fake = Fake(&[MANAGEMENT]);

fn chosen(addr: &str) -> OwnAddress {
    OwnAddress::new(SocketAddr::new(addr.parse().unwrap(), 7946), true)
}

/// Whether the host has the address, as far as it is known, and the address that is advertised after the check.
fn check(own: &mut OwnAddress, host: &Fake) -> (Option<bool>, String) {
    let present = own.look(host);
    own.follow(Vec::new, |ip| ip != IpAddr::from([10, 66, 0, 1]), host);
    (present, own.addr.ip().to_string())
}

#[test]
fn an_address_that_is_gone_for_a_moment_stays() {
    let mut own = chosen(CLUSTER);
    for _ in 0..5 {
        assert_eq!(check(&mut own, &BOTH), (Some(true), CLUSTER.into()));
        assert_eq!(check(&mut own, &SECOND), (Some(false), CLUSTER.into()));
        assert_eq!(check(&mut own, &SECOND), (Some(false), CLUSTER.into()));
    }
}

#[test]
fn an_address_that_comes_back_is_taken_again() {
    let mut own = chosen(CLUSTER);
    check(&mut own, &BOTH);
    for _ in 1..PATIENCE {
        assert_eq!(check(&mut own, &SECOND).1, CLUSTER);
    }
    assert_eq!(check(&mut own, &SECOND), (Some(false), MANAGEMENT.into()), "it does not come back");
    assert_eq!(check(&mut own, &SECOND), (Some(true), MANAGEMENT.into()));
    assert_eq!(check(&mut own, &BOTH), (Some(true), CLUSTER.into()));
    assert_eq!(check(&mut own, &BOTH), (Some(true), CLUSTER.into()));
}

#[test]
fn an_address_that_is_refused_is_not_taken_and_the_old_one_stays_gone() {
    const REFUSED: Fake = Fake(&["10.66.0.1"]);
    let mut own = chosen(CLUSTER);
    check(&mut own, &BOTH);
    for _ in 0..2 * PATIENCE {
        assert_eq!(check(&mut own, &REFUSED), (Some(false), CLUSTER.into()));
    }
}

#[test]
fn an_address_that_never_was_of_this_host_is_not_missed_and_one_that_comes_late_is() {
    let mut mapped = chosen("203.0.113.5");
    mapped.follows = false;
    for _ in 0..2 * PATIENCE {
        assert_eq!(check(&mut mapped, &BOTH), (None, "203.0.113.5".into()));
    }
    let mut late = chosen(CLUSTER);
    assert_eq!(check(&mut late, &SECOND).0, None, "duplicate detection is not over");
    assert_eq!(check(&mut late, &BOTH).0, Some(true));
    assert_eq!(check(&mut late, &SECOND).0, Some(false));
}

#[test]
fn an_address_of_this_host_is_told_from_another_hosts() {
    assert_eq!(System.has([127, 0, 0, 1].into()), Some(true));
    // An address reserved for documentation.
    assert_eq!(System.has([192, 0, 2, 1].into()), Some(false));
}

#[test]
fn the_own_address_is_checked_at_once_and_then_not_before_its_time() {
    let (running, _threads) = Running::idle();
    let mut own = OwnAddress::new(([192, 0, 2, 1], 1).into(), true);
    own.check(&running.node, &running.config);
    assert!(own.next > Time::ZERO + LOOK_AGAIN);
    let later = running.node.now() + 1_000 * LOOK_AGAIN;
    own.next = later;
    own.check(&running.node, &running.config);
    assert_eq!(own.next, later);
    running.abort().unwrap();
}
