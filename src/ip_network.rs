//! A range of IP addresses in CIDR notation, as in `10.0.0.0/8`.

use std::{
    fmt,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    str::FromStr,
};

use crate::{
    Error,
    text::{Quoted, serde_as_text},
};

/// A network in CIDR notation. An address alone is a network of one.
///
/// ```
/// use syncswim::IpNetwork;
///
/// let network: IpNetwork = "10.0.0.0/8".parse()?;
/// assert!(network.contains([10, 1, 2, 3].into()));
/// assert!(!network.contains([11, 1, 2, 3].into()));
/// # Ok::<(), syncswim::Error>(())
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct IpNetwork {
    addr: IpAddr,
    prefix: u8,
}

impl IpNetwork {
    /// Whether an address lies in it. An IPv4-mapped IPv6 address counts as the IPv4 address.
    #[must_use]
    pub fn contains(&self, ip: IpAddr) -> bool {
        match (self.addr, ip.to_canonical()) {
            (IpAddr::V4(own), IpAddr::V4(ip)) => {
                same(own.to_bits().into(), ip.to_bits().into(), 32, self.prefix)
            }
            (IpAddr::V6(own), IpAddr::V6(ip)) => same(own.to_bits(), ip.to_bits(), 128, self.prefix),
            _ => false,
        }
    }
}

fn same(a: u128, b: u128, width: u32, prefix: u8) -> bool {
    (a ^ b).checked_shr(width - u32::from(prefix)).unwrap_or(0) == 0
}

/// The network of this address alone.
impl From<IpAddr> for IpNetwork {
    fn from(addr: IpAddr) -> Self {
        let addr = addr.to_canonical();
        Self { addr, prefix: if addr.is_ipv4() { 32 } else { 128 } }
    }
}

impl FromStr for IpNetwork {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self, Error> {
        let bad =
            |problem: String| Error::invalid("network", format!("has {}, which {problem}", Quoted(text)));
        let no_network = || bad("is not a network; write one as 10.0.0.0/8 or fd00::/8".into());
        let (addr, prefix) = text.split_once('/').map_or((text, None), |(addr, prefix)| (addr, Some(prefix)));
        let addr: IpAddr = addr.parse().map_err(|_| no_network())?;
        if addr != addr.to_canonical() {
            return Err(bad(format!("is IPv4 within IPv6; write it as {}", addr.to_canonical())));
        }
        let width = if addr.is_ipv4() { 32 } else { 128 };
        let prefix: u8 = prefix.map_or(Ok(width), str::parse).map_err(|_| no_network())?;
        if prefix > width {
            return Err(bad(format!("has a prefix of {prefix} bits, and an address has {width}")));
        }
        let start = first_of(addr, prefix);
        // `10.1.2.3/8` may be meant as `10.1.2.3/32` or as `10.0.0.0/8`, so the caller has to say which.
        if start != addr {
            return Err(bad(format!(
                "has bits set behind the first {prefix}; write {start}/{prefix} for the network, or {addr} for this address"
            )));
        }
        Ok(Self { addr, prefix })
    }
}

/// The first address of a network.
fn first_of(addr: IpAddr, prefix: u8) -> IpAddr {
    let kept = |width: u32| u128::MAX.checked_shl(width - u32::from(prefix)).unwrap_or(0);
    match addr {
        IpAddr::V4(ip) => Ipv4Addr::from_bits(ip.to_bits() & kept(32) as u32).into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & kept(128)).into(),
    }
}

impl fmt::Display for IpNetwork {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

serde_as_text!(IpNetwork);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_holds_the_addresses_that_share_its_prefix() {
        let cases = [
            ("10.0.0.0/8", "10.255.255.255", true),
            ("10.0.0.0/8", "11.0.0.0", false),
            ("10.0.0.0/8", "::ffff:10.0.0.1", true),
            ("10.0.0.0/8", "a00::1", false),
            ("192.168.1.128/25", "192.168.1.127", false),
            ("192.168.1.128/25", "192.168.1.128", true),
            ("10.1.2.3", "10.1.2.3", true),
            ("10.1.2.3/32", "10.1.2.2", false),
            ("0.0.0.0/0", "255.1.2.3", true),
            ("0.0.0.0/0", "::1", false),
            ("fd00::/8", "fdff::1", true),
            ("fd00::/8", "fe00::1", false),
            ("::/0", "fe80::1", true),
            ("::1", "::1", true),
            ("::1/128", "::2", false),
        ];
        for (network, ip, expected) in cases {
            let network: IpNetwork = network.parse().unwrap();
            assert_eq!(network.contains(ip.parse().unwrap()), expected, "{network} {ip}");
        }
    }

    #[test]
    fn a_network_is_written_as_it_is_read_and_an_address_is_one_of_one() {
        for text in ["10.0.0.0/8", "10.1.2.3/32", "fd00::/8", "::/0"] {
            assert_eq!(text.parse::<IpNetwork>().unwrap().to_string(), text);
        }
        for (ip, text) in
            [("10.1.2.3", "10.1.2.3/32"), ("::ffff:10.1.2.3", "10.1.2.3/32"), ("::1", "::1/128")]
        {
            assert_eq!(IpNetwork::from(ip.parse::<IpAddr>().unwrap()).to_string(), text);
        }
    }

    #[test]
    fn an_error_says_which_bits_are_wrong() {
        let cases = [
            ("10.1.2.3/8", "behind the first 8; write 10.0.0.0/8 for the network, or 10.1.2.3 for"),
            ("fd00::1/8", "behind the first 8; write fd00::/8"),
            ("10.0.0.1/0", "write 0.0.0.0/0"),
            ("10.0.0.0/33", "a prefix of 33 bits, and an address has 32"),
            ("::ffff:10.0.0.0/104", "IPv4 within IPv6; write it as 10.0.0.0"),
            ("x/8", "is not a network; write one as"),
        ];
        for (bad, said) in cases {
            let error = bad.parse::<IpNetwork>().expect_err(bad).to_string();
            assert!(error.contains(said), "{error}");
        }
    }

    #[test]
    fn invalid_networks_are_refused_and_named() {
        for bad in [
            "",
            "10",
            "10.0.0.0/33",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "10.1.2.3/8",
            "fd00::1/8",
            "::ffff:10.0.0.0/104",
            "x/8",
        ] {
            let error = bad.parse::<IpNetwork>().expect_err(bad).to_string();
            assert!(error.contains(&format!("{bad:?}")) && error.contains("`network`"), "{error}");
        }
    }
}
