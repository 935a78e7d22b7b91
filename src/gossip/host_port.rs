//! `HostPort`: the text of `bind` and `advertise`.

use std::{
    convert::Infallible,
    fmt, io,
    net::{IpAddr, SocketAddr, SocketAddrV4, SocketAddrV6, ToSocketAddrs},
    str::FromStr,
};

use super::interfaces;
use crate::{
    Error,
    address::{Host, Target},
    text::{Quoted, serde_as_text},
};

/// An address of this host with its port: a [`SocketAddr`], or a text `host:port` or `host`, whose host is an address, a
/// name that the system's resolver knows, or with the feature `interfaces` a network interface.
///
/// A text is checked, as every field is, by [`GossipConfig::validate`](super::GossipConfig::validate); names are looked up
/// once, when the node starts.
///
/// ```
/// use syncswim::{GossipConfig, HostPort};
///
/// let config = GossipConfig::lan("node-a").bind("0.0.0.0:7946").advertise("node-a.example");
/// assert_eq!(config.bind, HostPort::from(([0, 0, 0, 0], 7946)));
/// assert_eq!(config.bind.to_string(), "0.0.0.0:7946");
/// config.validate()?;
/// # Ok::<(), syncswim::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct HostPort(Repr);

#[derive(Clone, PartialEq, Eq, Hash)]
enum Repr {
    Addr(SocketAddr),
    Text(String),
}

impl HostPort {
    /// Refuses a text that is not a host with a port, and says why.
    pub(crate) fn check(&self, field: &'static str) -> Result<(), Error> {
        self.parse(0).map(drop).map_err(|problem| self.malformed(field, &problem))
    }

    /// The address, if it needs no look-up.
    pub(super) fn literal(&self, default_port: u16) -> Option<SocketAddr> {
        match self.parse(default_port) {
            Ok((Host::Ip(ip), port)) => Some(SocketAddr::new(ip, port)),
            _ => None,
        }
    }

    /// The name that has to be looked up.
    pub(super) fn name(&self) -> Option<&str> {
        match self.parse(0) {
            Ok((Host::Name(name), _)) => Some(name),
            _ => None,
        }
    }

    /// All addresses of this text. May block on the resolver.
    pub(super) fn resolve(&self, field: &'static str, default_port: u16) -> Result<Vec<SocketAddr>, Error> {
        match self.parse(default_port).map_err(|problem| self.malformed(field, &problem))? {
            (Host::Ip(ip), port) => Ok(vec![SocketAddr::new(ip, port)]),
            (Host::Name(name), port) => self.look_up(field, name, port),
        }
    }

    fn look_up(&self, field: &'static str, name: &str, port: u16) -> Result<Vec<SocketAddr>, Error> {
        let mut ips = interfaces::named(name);
        if ips.is_empty() {
            let found = (name, port).to_socket_addrs();
            let found = found.map_err(|error| self.unresolved(field, error))?;
            ips.extend(found.map(|addr| addr.ip().to_canonical()));
        }
        Ok(ips.into_iter().map(|ip| SocketAddr::new(ip, port)).collect())
    }

    fn unresolved(&self, field: &str, source: io::Error) -> Error {
        let hint = if interfaces::ARE_KNOWN {
            "no interface of this name has an address that others can send to"
        } else {
            "for a network interface, build with the feature `interfaces`"
        };
        let remedy =
            format!("it is the `{field}`: check the spelling and the resolver, or give an address; {hint}");
        Error::Resolve { host: self.to_string(), remedy, source }
    }

    /// An error about this text.
    pub(super) fn error(&self, field: &'static str, problem: &str) -> Error {
        Error::config(field, format!("has {}, which {problem}", Quoted(&self.to_string())))
    }

    fn malformed(&self, field: &'static str, problem: &str) -> Error {
        self.error(field, &format!("{problem}; write host:port, or host alone"))
    }

    fn parse(&self, default_port: u16) -> Result<(Host<'_>, u16), String> {
        match &self.0 {
            Repr::Addr(addr) => Ok((Host::Ip(addr.ip()), addr.port())),
            Repr::Text(text) => Target::parse_own(text).map(|Target { host, port }| {
                let host = match host {
                    Host::Ip(ip) => Host::Ip(ip.to_canonical()),
                    name => name,
                };
                (host, port.unwrap_or(default_port))
            }),
        }
    }
}

/// An IPv4-mapped IPv6 address counts as its IPv4 address, since sockets bound to it are IPv4 sockets.
fn canonical(addr: SocketAddr) -> SocketAddr {
    match addr.ip().to_canonical() {
        ip @ IpAddr::V4(_) => SocketAddr::new(ip, addr.port()),
        // An IPv6 address may have a scope.
        IpAddr::V6(_) => addr,
    }
}

impl From<SocketAddr> for HostPort {
    fn from(addr: SocketAddr) -> Self {
        Self(Repr::Addr(canonical(addr)))
    }
}

impl From<SocketAddrV4> for HostPort {
    fn from(addr: SocketAddrV4) -> Self {
        SocketAddr::from(addr).into()
    }
}

impl From<SocketAddrV6> for HostPort {
    fn from(addr: SocketAddrV6) -> Self {
        SocketAddr::from(addr).into()
    }
}

impl<I: Into<IpAddr>> From<(I, u16)> for HostPort {
    fn from(addr: (I, u16)) -> Self {
        SocketAddr::from(addr).into()
    }
}

impl From<String> for HostPort {
    fn from(text: String) -> Self {
        text.parse::<SocketAddr>().map_or_else(|_| Self(Repr::Text(text)), Self::from)
    }
}

impl From<&String> for HostPort {
    fn from(text: &String) -> Self {
        text.clone().into()
    }
}

impl From<&str> for HostPort {
    fn from(text: &str) -> Self {
        text.to_owned().into()
    }
}

/// Any text is taken; [`GossipConfig::validate`](super::GossipConfig::validate) checks it.
impl FromStr for HostPort {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(text.into())
    }
}

serde_as_text!(HostPort);

impl fmt::Display for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Repr::Addr(addr) => addr.fmt(f),
            Repr::Text(text) => text.fmt(f),
        }
    }
}

impl fmt::Debug for HostPort {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_and_a_socket_address_mean_the_same() {
        for text in ["10.0.0.5:1", "[::]:0", "[fd00::1]:7946"] {
            let addr: SocketAddr = text.parse().unwrap();
            assert_eq!((HostPort::from(text), HostPort::from(text).literal(9)), (addr.into(), Some(addr)));
        }
        let literal = |text: &str| HostPort::from(text).literal(9).map(|addr| addr.to_string());
        assert_eq!(literal("10.0.0.5").as_deref(), Some("10.0.0.5:9"));
        assert_eq!(literal("::1").as_deref(), Some("[::1]:9"));
        assert_eq!(literal("[::ffff:10.0.0.5]:1").as_deref(), Some("10.0.0.5:1"));
        assert_eq!(literal("::ffff:10.0.0.5").as_deref(), Some("10.0.0.5:9"));
        assert_eq!((literal("eth0:1"), literal("http://a")), (None, None));
        assert_eq!(HostPort::from((std::net::Ipv6Addr::LOCALHOST, 1)).to_string(), "[::1]:1");
    }

    #[test]
    fn a_name_is_looked_up_and_one_that_is_none_is_named_with_its_field() {
        let found = HostPort::from("localhost:7").resolve("bind", 9).unwrap();
        assert!(!found.is_empty() && found.iter().all(|addr| addr.ip().is_loopback() && addr.port() == 7));
        let error = HostPort::from("no-such-host.invalid").resolve("bind", 9).unwrap_err();
        assert!(matches!(&error, Error::Resolve { host, .. } if host == "no-such-host.invalid"), "{error}");
        let text = error.to_string();
        assert!(text.contains("it is the `bind`: check the spelling"), "{text}");
        assert_eq!(text.contains("the feature `interfaces`"), cfg!(not(feature = "interfaces")), "{text}");
        let error = HostPort::from("http://db:1").check("advertise").unwrap_err().to_string();
        assert!(error.contains("`advertise` has \"http://db:1\", which is a URL"), "{error}");
    }

    #[test]
    #[cfg(all(feature = "interfaces", target_os = "linux"))]
    fn an_interface_is_its_addresses() {
        // Not all hosts have other interfaces; loopback counts if it is named.
        let found = HostPort::from("lo:7").resolve("bind", 9).unwrap();
        assert!(found.contains(&([127, 0, 0, 1], 7).into()), "{found:?}");
        assert!(found.iter().rev().skip_while(|addr| addr.is_ipv6()).all(|addr| addr.is_ipv4()), "{found:?}");
    }
}
