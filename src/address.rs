//! The one strict parser of `host:port` and `host`, for seeds, `bind`, `advertise` and DNS names.

use std::{
    fmt, io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
};

use crate::text::{Brief, Quoted};

/// The longest name that DNS knows.
const MAX_HOST: usize = 253;

/// The address that stands for a host where limits are per host: an IPv4 address, or the /64 of an IPv6 address, which one
/// host can fill with addresses.
pub(crate) fn host_of(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => Ipv6Addr::from_bits(ip.to_bits() & (u128::MAX << 64)).into(),
    }
}

/// The unspecified address of the same family.
pub(crate) fn any_of(ip: IpAddr) -> IpAddr {
    if ip.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() }
}

/// `host` or `host:port`, taken apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Target<'a> {
    pub(crate) host: Host<'a>,
    /// `None`: the text names no port. Only [`Target::parse_own`] accepts 0.
    pub(crate) port: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Host<'a> {
    /// [`Target::parse`] accepts only addresses that a single host can have and that need no zone.
    Ip(IpAddr),
    Name(&'a str),
}

/// Without brackets: for a resolver.
impl fmt::Display for Host<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ip(ip) => ip.fmt(f),
            Self::Name(name) => f.write_str(name),
        }
    }
}

impl<'a> Target<'a> {
    /// Parses the address of another host. The error continues a sentence that begins with the text: "`db:0` has …".
    pub(crate) fn parse(text: &'a str) -> Result<Self, String> {
        let target = Self::parse_own(text)?;
        if target.port == Some(0) {
            return Err("has the port 0, where nobody can be reached; a port is from 1 to 65535".into());
        }
        match target.host {
            Host::Ip(ip) => problem_of(ip).map_or(Ok(target), Err),
            Host::Name(_) => Ok(target),
        }
    }

    /// Parses an address of this host, for which port 0 and the unspecified address have a meaning.
    pub(crate) fn parse_own(text: &'a str) -> Result<Self, String> {
        if text.contains(',') {
            return Err("has a comma, and is to be one address; give each by itself".into());
        }
        let (host, port) = match text.strip_prefix('[') {
            Some(rest) => {
                let (ip, rest) = rest.split_once(']').ok_or("has a `[` without its `]`")?;
                (Host::Ip(ipv6(ip)?.into()), parse_behind_bracket(rest)?)
            }
            None => parse_bare(text)?,
        };
        Ok(Self { host, port })
    }

    /// The address, if it needs no look-up; without a port of its own it gets `default_port`.
    pub(crate) fn literal(self, default_port: u16) -> Option<SocketAddr> {
        match self.host {
            Host::Ip(ip) => Some(SocketAddr::new(ip, self.port.unwrap_or(default_port))),
            Host::Name(_) => None,
        }
    }

    /// Every address. May block on the system's resolver.
    pub(crate) fn resolve(self, default_port: u16) -> io::Result<Vec<SocketAddr>> {
        let port = self.port.unwrap_or(default_port);
        match self.host {
            Host::Ip(ip) => Ok(vec![SocketAddr::new(ip, port)]),
            Host::Name(name) => (name, port).to_socket_addrs().map(Iterator::collect),
        }
    }
}

fn parse_behind_bracket(rest: &str) -> Result<Option<u16>, String> {
    match rest.strip_prefix(':') {
        Some(port) => parse_port(port).map(Some),
        None if rest.is_empty() => Ok(None),
        None => Err(format!("has {} behind the `]`, where only a `:` and the port can be", Quoted(rest))),
    }
}

fn parse_bare(text: &str) -> Result<(Host<'_>, Option<u16>), String> {
    if let Some((scheme, _)) = text.split_once("://") {
        return Err(format!("is a URL: leave `{}://` out", Brief(scheme)));
    }
    if text.matches(':').count() > 1 {
        return bare_ipv6(text).map(|ip| (Host::Ip(ip.into()), None));
    }
    let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
    Ok((parse_host(host)?, port.map(parse_port).transpose()?))
}

/// Without brackets, `::1:80` is an address that ends in 80; it was most likely meant as port 80 of `::1`.
fn bare_ipv6(text: &str) -> Result<Ipv6Addr, String> {
    let all = ipv6(text)?;
    match text.rsplit_once(':').map(|(ip, port)| (ip.parse::<Ipv6Addr>(), parse_port(port))) {
        Some((Ok(ip), Ok(port))) => Err(format!(
            "is an address, or an address with a port: write [{ip}]:{port} with the port, or [{text}] without"
        )),
        _ => Ok(all),
    }
}

fn ipv6(text: &str) -> Result<Ipv6Addr, String> {
    if let Some((_, zone)) = text.split_once('%') {
        return Err(format!(
            "has the zone {}: nodes cannot tell each other of zones; take an address that needs none",
            Quoted(zone)
        ));
    }
    text.parse().map_err(|_| {
        let text = Quoted(text);
        format!("has {text}, which is not an IPv6 address; with a port, one is written as [2001:db8::1]:7946")
    })
}

fn parse_port(text: &str) -> Result<u16, String> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    match text.parse() {
        Ok(port) if digits => Ok(port),
        _ if text.is_empty() => Err("ends in a `:` without a port".into()),
        _ if digits => Err(format!("has the port {}, and the highest is 65535", Brief(text))),
        _ => Err(format!("has the port {}, which is not a number", Quoted(text))),
    }
}

fn parse_host(host: &str) -> Result<Host<'_>, String> {
    if let Ok(ip) = host.parse::<Ipv4Addr>() {
        return Ok(Host::Ip(ip.into()));
    }
    if host.is_empty() {
        return Err("has no host".into());
    }
    if host.len() > MAX_HOST {
        return Err(format!("has a host of {} bytes, and names have at most {MAX_HOST}", host.len()));
    }
    // Names in other alphabets are left to the resolver; ASCII characters that no name has are refused.
    let is_fine = |c: char| c.is_alphanumeric() || "-_.".contains(c);
    if let Some(bad) = host.chars().find(|c| !is_fine(*c)) {
        return Err(format!("has {bad:?} in its host, which no name has"));
    }
    if host.strip_suffix('.').unwrap_or(host).split('.').any(str::is_empty) {
        return Err("has a host with an empty part".into());
    }
    // The system would take `10.0.1` for 10.0.0.1.
    if host.bytes().all(|byte| byte.is_ascii_digit() || byte == b'.') {
        return Err(format!("has {}, which is not an IPv4 address", Quoted(host)));
    }
    Ok(Host::Name(host))
}

/// Why no node can be reached at an address.
pub(crate) fn problem_of(ip: IpAddr) -> Option<String> {
    let what = match ip.to_canonical() {
        ip if ip.is_unspecified() => "stands for every address of a host, and is none",
        ip if ip.is_multicast() => "is a multicast address: nodes are reached one by one",
        IpAddr::V4(ip) if ip.is_broadcast() => "is a broadcast address: nodes are reached one by one",
        IpAddr::V6(ip) if ip.is_unicast_link_local() => {
            "is link-local: it cannot be dialed without its zone, and nodes cannot tell each other of zones"
        }
        _ => return None,
    };
    Some(format!("has {ip}, which {what}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_target_is_understood() {
        let ip = |ip: &str, port| Ok(Target { host: Host::Ip(ip.parse().unwrap()), port });
        let name = |name, port| Ok(Target { host: Host::Name(name), port });
        assert_eq!(Target::parse("10.0.0.5:1"), ip("10.0.0.5", Some(1)));
        assert_eq!(Target::parse("10.0.0.5"), ip("10.0.0.5", None));
        assert_eq!(Target::parse("[::1]:65535"), ip("::1", Some(65535)));
        assert_eq!(Target::parse("[fd00::1]"), ip("fd00::1", None));
        assert_eq!(Target::parse("2001:db8::1"), ip("2001:db8::1", None));
        assert_eq!(Target::parse("[::1:80]"), ip("::1:80", None));
        assert_eq!(Target::parse("fd00::a:b"), ip("fd00::a:b", None));
        assert_eq!(Target::parse("db.example.:1"), name("db.example.", Some(1)));
        assert_eq!(Target::parse("my_db-1"), name("my_db-1", None));
        assert_eq!(Target::parse("bücher.example"), name("bücher.example", None));
        assert_eq!(Target::parse("1and1.example"), name("1and1.example", None));
    }

    #[test]
    fn an_address_of_our_own_may_have_port_0_and_stand_for_all_of_this_host() {
        let own = |text| Target::parse_own(text).map(|target| (target.host.to_string(), target.port));
        assert_eq!(own("0.0.0.0:0"), Ok(("0.0.0.0".into(), Some(0))));
        assert_eq!(own("[::]:7946"), Ok(("::".into(), Some(7946))));
        assert_eq!(own("eth0:0"), Ok(("eth0".into(), Some(0))));
        assert!(own("eth0:70000").is_err() && own("http://db").is_err() && own("").is_err());
    }

    #[test]
    fn invalid_addresses_are_refused_and_the_error_says_what_is_wrong() {
        let cases = [
            ("", "no host"),
            (":1", "no host"),
            (":", "no host"),
            ("db:", "ends in a `:` without a port"),
            ("db:x", "port \"x\", which is not a number"),
            ("db:0", "port 0, where nobody"),
            ("db:65536", "port 65536, and the highest is 65535"),
            ("db:+80", "port \"+80\""),
            ("db: 80", "port \" 80\""),
            ("10.0.0.5:0", "port 0"),
            ("[::1]:0", "port 0"),
            ("::1:80", "write [::1]:80 with the port, or [::1:80] without"),
            ("2001:db8::1:7946", "write [2001:db8::1]:7946 with"),
            ("10.0.0.1:7946,10.0.0.2:7946", "has a comma"),
            ("db,web", "give each by itself"),
            ("db:1,", "has a comma"),
            ("[::1", "without its `]`"),
            ("[::1]7946", "behind the `]`"),
            ("[db]:1", "\"db\", which is not an IPv6 address"),
            ("[]:1", "\"\", which is not an IPv6 address"),
            ("::1:7946:", "not an IPv6 address"),
            ("10.0.0.1:1:2", "not an IPv6 address"),
            ("a b", "' '"),
            ("a@b:1", "'@'"),
            ("db/1", "'/'"),
            ("db\n", "'\\n'"),
            ("http://db:1", "`http://`"),
            ("a..b", "empty part"),
            (".", "empty part"),
            ("10.0.1", "not an IPv4 address"),
            ("10.0.0.256:1", "not an IPv4 address"),
            ("1234", "not an IPv4 address"),
            ("0.0.0.0:1", "every address"),
            ("[::]:1", "every address"),
            ("224.0.0.1", "multicast"),
            ("[ff02::1]:1", "multicast"),
            ("255.255.255.255:1", "broadcast"),
            ("[fe80::1]:7946", "cannot be dialed without its zone"),
            ("[fe80::1%eth0]:7946", "zone \"eth0\""),
            ("fe80::1%2", "zone \"2\""),
        ];
        for (bad, said) in cases {
            let problem = Target::parse(bad).expect_err(bad);
            assert!(problem.contains(said), "{bad:?} {problem}");
        }
        let long = "x".repeat(1 << 20);
        for long in [
            long.clone(),
            format!("db:{long}"),
            format!("[{long}]"),
            format!("{long}://"),
            format!("::{long}"),
        ] {
            assert!(Target::parse(&long).unwrap_err().len() < 256);
        }
    }
}
