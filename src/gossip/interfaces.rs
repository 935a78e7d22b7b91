//! The addresses of this host: by interface with the feature `interfaces`; without it, on Linux, all addresses together.

use std::net::IpAddr;

use crate::address::problem_of;
#[cfg(feature = "interfaces")]
use crate::log_line::{Topic, log};

/// Whether interfaces can be named.
pub(super) const ARE_KNOWN: bool = cfg!(feature = "interfaces");

/// The addresses of an interface that others can send to, IPv4 first. Empty if it has none, or if this host has no such
/// interface.
pub(super) fn named(name: &str) -> Vec<IpAddr> {
    if !ARE_KNOWN {
        return Vec::new();
    }
    let of_it = |(interface, ip): (String, IpAddr)| (interface == name).then_some(ip);
    usable(all().into_iter().filter_map(of_it))
}

/// The addresses at which others might reach this host, IPv4 first. Empty if the system does not list them.
pub(super) fn candidates() -> Vec<IpAddr> {
    usable(all().into_iter().map(|(_, ip)| ip).filter(|ip| !ip.is_loopback()))
}

/// Whether an address is one of this host. `None` if the system does not list them.
#[cfg(target_os = "linux")]
pub(super) fn have(ip: IpAddr) -> Option<bool> {
    let read = |file| std::fs::read_to_string(file).ok();
    match ip {
        _ if ip.is_loopback() => Some(true),
        IpAddr::V4(_) => Some(parse_trie(&read(TRIE)?).any(|own| own == ip)),
        IpAddr::V6(_) => Some(parse_inet6(&read(INET6)?, u32::MAX).any(|own| own == ip)),
    }
}

#[cfg(not(target_os = "linux"))]
pub(super) fn have(_: IpAddr) -> Option<bool> {
    None
}

fn usable(ips: impl IntoIterator<Item = IpAddr>) -> Vec<IpAddr> {
    let mut ips: Vec<_> = ips.into_iter().filter(|ip| problem_of(*ip).is_none()).collect();
    ips.sort_unstable();
    ips.dedup();
    ips
}

/// Each address with the name of its interface.
#[cfg(feature = "interfaces")]
fn all() -> Vec<(String, IpAddr)> {
    listed(if_addrs::get_if_addrs())
}

#[cfg(feature = "interfaces")]
fn listed(found: std::io::Result<Vec<if_addrs::Interface>>) -> Vec<(String, IpAddr)> {
    let found = found.unwrap_or_else(|error| {
        log(Topic::InterfacesUnknown, &[("error", &error)]);
        Vec::new()
    });
    found
        .into_iter()
        .map(|interface| {
            let ip = interface.ip();
            (interface.name, ip)
        })
        .collect()
}

/// Each address, without names of interfaces.
#[cfg(all(not(feature = "interfaces"), target_os = "linux"))]
fn all() -> Vec<(String, IpAddr)> {
    let read = |file| std::fs::read_to_string(file).unwrap_or_default();
    let (trie, inet6) = (read(TRIE), read(INET6));
    parse_trie(&trie).chain(parse_inet6(&inet6, !PASSING)).map(|ip| (String::new(), ip)).collect()
}

#[cfg(all(not(feature = "interfaces"), not(target_os = "linux")))]
fn all() -> Vec<(String, IpAddr)> {
    Vec::new()
}

#[cfg(target_os = "linux")]
const TRIE: &str = "/proc/thread-self/net/fib_trie";
#[cfg(target_os = "linux")]
const INET6: &str = "/proc/thread-self/net/if_inet6";
/// Flags of an address that does not last (`linux/if_addr.h`): temporary, failed or unfinished duplicate detection,
/// deprecated.
#[cfg(any(test, all(not(feature = "interfaces"), target_os = "linux")))]
const PASSING: u32 = 0x01 | 0x08 | 0x20 | 0x40;

/// The kernel's routes as a trie: an address of this host is a leaf with the route `/32 host LOCAL`.
#[cfg(any(test, target_os = "linux"))]
fn parse_trie(text: &str) -> impl Iterator<Item = IpAddr> {
    let pairs = text.lines().zip(text.lines().skip(1));
    pairs.filter_map(|(leaf, route)| {
        let ip = leaf.trim_start().strip_prefix("|-- ")?;
        (route.trim() == "/32 host LOCAL").then(|| ip.parse().ok()).flatten()
    })
}

/// Each line has an address in digits, its index, prefix, scope and flags, and the interface. Addresses with other flags than
/// these are left out.
#[cfg(any(test, target_os = "linux"))]
fn parse_inet6(text: &str, allowed: u32) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(move |line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let [digits, _, _, _, flags, _] = fields[..] else { return None };
        let is_allowed = u32::from_str_radix(flags, 16).is_ok_and(|flags| flags & !allowed == 0);
        let ip = u128::from_str_radix(digits, 16).ok()?;
        is_allowed.then(|| std::net::Ipv6Addr::from_bits(ip).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(ips: impl IntoIterator<Item = IpAddr>) -> Vec<String> {
        ips.into_iter().map(|ip| ip.to_string()).collect()
    }

    #[test]
    fn addresses_of_this_host_are_told_from_networks_and_broadcast_addresses() {
        let trie = "Local:\n  +-- 10.9.0.0/24 2 0 2\n     +-- 10.9.0.0/29 2 0 2\n        |-- 10.9.0.0\n           \
                    /24 link UNICAST\n        |-- 10.9.0.5\n           /32 host LOCAL\n     |-- 10.9.0.255\n        \
                    /32 link BROADCAST\n  |-- 127.0.0.1\n     /32 host LOCAL\n     /8 host LOCAL\n  |-- nonsense\n     /32 host LOCAL\n";
        assert_eq!(texts(parse_trie(trie)), ["10.9.0.5", "127.0.0.1"]);
        assert_eq!(texts(parse_trie("|-- 10.0.0.1")), [""; 0]);
    }

    #[test]
    fn addresses_of_ipv6_that_do_not_last_are_left_out() {
        let lines = "fd000000000000000000000000000005 03 40 00 82 v0\nfd000000000000000000000000000006 03 40 00 01 v0\n\
                     fd000000000000000000000000000007 03 40 00 20 v0\nfd000000000000000000000000000008 03 40 00 40 v0\n\
                     zz 1 2 3 4 5\nshort\n\n00000000000000000000000000000001 01 80 10 80 lo\n";
        assert_eq!(texts(parse_inet6(lines, !PASSING)), ["fd00::5", "::1"]);
        assert_eq!(parse_inet6(lines, u32::MAX).count(), 5);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn loopback_is_of_this_host_and_an_address_for_documentation_is_not() {
        let have = |ip: &str| have(ip.parse().unwrap());
        assert_eq!(
            [have("127.0.0.5"), have("::1"), have("192.0.2.1")],
            [Some(true), Some(true), Some(false)]
        );
        assert_ne!(have("2001:db8::1"), Some(true), "unknown where there is no IPv6");
    }

    #[test]
    #[cfg(feature = "interfaces")]
    fn interfaces_that_cannot_be_listed_are_logged_and_give_no_address() {
        let denied = || assert!(listed(Err(std::io::Error::other("denied"))).is_empty());
        assert_eq!(crate::log_line::capture::lines(denied), ["interfaces unknown error=denied"]);
    }

    #[test]
    fn addresses_that_others_cannot_send_to_are_no_candidates_and_ipv4_comes_first() {
        let ips = ["fd00::5", "fe80::1", "10.0.0.5", "0.0.0.0", "10.0.0.5"].map(|ip| ip.parse().unwrap());
        assert_eq!(texts(usable(ips)), ["10.0.0.5", "fd00::5"]);
        assert!(candidates().iter().all(|ip| !ip.is_loopback()));
    }
}
