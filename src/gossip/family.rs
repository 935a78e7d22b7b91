//! The IP versions of a socket.

use std::{fmt, net::IpAddr};

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Family {
    V4,
    V6,
    /// A dual-stack socket (RFC 3493, section 5.3).
    Both,
}

impl Family {
    /// The family of the sockets that a node binds to this address: `[::]` is dual-stack.
    pub(super) fn of_bind(ip: IpAddr) -> Self {
        Self::of_socket(ip, !ip.is_unspecified())
    }

    /// The family of a socket that is bound to this address, by its option `IPV6_V6ONLY`.
    pub(super) fn of_socket(ip: IpAddr, only_v6: bool) -> Self {
        match ip {
            ip if ip.to_canonical().is_ipv4() => Self::V4,
            ip if ip.is_unspecified() && !only_v6 => Self::Both,
            _ => Self::V6,
        }
    }

    /// Whether a socket of this family can send to an address.
    pub(super) fn reaches(self, to: IpAddr) -> bool {
        match self {
            Self::V4 => to.to_canonical().is_ipv4(),
            Self::V6 => to.to_canonical().is_ipv6(),
            Self::Both => true,
        }
    }
}

impl fmt::Display for Family {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::V4 => "IPv4 alone",
            Self::V6 => "IPv6 alone",
            Self::Both => "both families",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_speaks_the_family_of_its_address_and_a_dual_stack_one_both() {
        let of = |ip: &str, only_v6| Family::of_socket(ip.parse().unwrap(), only_v6);
        assert_eq!(of("0.0.0.0", false), Family::V4);
        assert_eq!(of("::ffff:10.0.0.1", false), Family::V4);
        assert_eq!(of("::", false), Family::Both);
        assert_eq!(of("::", true), Family::V6);
        assert_eq!(of("fd00::1", false), Family::V6);
        let (v4, v6) = ("10.0.0.1".parse().unwrap(), "fd00::1".parse().unwrap());
        let mapped = "::ffff:10.0.0.1".parse().unwrap();
        for (family, reached) in
            [(Family::V4, [true, false, true]), (Family::V6, [false, true, false]), (Family::Both, [true; 3])]
        {
            assert_eq!([v4, v6, mapped].map(|to| family.reaches(to)), reached, "{family}");
        }
    }
}
