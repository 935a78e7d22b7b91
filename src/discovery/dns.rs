//! Peers that are the addresses behind a DNS name.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt, io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    time::Duration,
};

use parking_lot::Mutex;

use super::Discovery;
use crate::{BoxError, Error, Membership, Stop};

/// Resolves a name at once and then every interval. New addresses are added; those that vanished have left, and are removed
/// when still gone at the next successful lookup. A lookup that fails or finds nothing changes nothing.
///
/// Peers are called by their address alone, as `10.0.0.1` or `fe80::1`, unless the name comes with a port: then they are
/// `10.0.0.1:7946` or `[fe80::1]:7946`, and can be dialed.
///
/// The system's resolver cannot be interrupted, so stopping waits for a lookup that is under way, as long as the system
/// takes to answer or give up; a [`resolver`](Self::resolver) with shorter time-outs helps if that is too long.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
/// use syncswim::{Cluster, DnsDiscovery};
///
/// let dns = DnsDiscovery::new("peers.example.com:7946").interval(Duration::from_secs(10));
/// let running = Cluster::new().with_discovery(dns).start()?;
/// running.join()?;
/// # Ok::<(), syncswim::Error>(())
/// ```
pub struct DnsDiscovery {
    name: String,
    interval: Duration,
    // Behind a mutex only to be `Sync`.
    resolver: Mutex<Box<dyn Resolver>>,
}

/// Finds the addresses behind a host name. A closure is one too.
pub trait Resolver: Send + 'static {
    /// All addresses of `host`.
    ///
    /// # Errors
    ///
    /// Any failure. It is logged, and the next interval tries again.
    fn resolve(&mut self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system, as [`ToSocketAddrs`] uses it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

/// `host` or `host:port`, taken apart.
#[derive(Debug, PartialEq)]
struct Target<'a> {
    host: &'a str,
    port: Option<u16>,
}

/// What the last answers said.
#[derive(Debug, Default)]
struct Answers {
    present: BTreeSet<String>,
    /// Present in the last but one, and not in the last.
    vanished: BTreeSet<String>,
}

impl DnsDiscovery {
    /// Looks up `name`, which is a host name or `host:port`.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let resolver: Box<dyn Resolver> = Box::new(SystemResolver);
        Self { name: name.into(), interval: Duration::from_secs(30), resolver: resolver.into() }
    }

    /// The time between lookups. Too short burdens the name server, too long makes gone peers linger: a peer is removed one to
    /// two intervals after its address vanished. Zero is refused at the start. Defaults to 30 s.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// How names become addresses. Defaults to [`SystemResolver`].
    ///
    /// # Examples
    ///
    /// ```
    /// use std::net::IpAddr;
    /// use syncswim::DnsDiscovery;
    ///
    /// let always_here = |_host: &str| Ok(vec![IpAddr::from([127, 0, 0, 1])]);
    /// let dns = DnsDiscovery::new("anything:7946").resolver(always_here);
    /// ```
    #[must_use]
    pub fn resolver(self, resolver: impl Resolver) -> Self {
        let resolver: Box<dyn Resolver> = Box::new(resolver);
        Self { resolver: resolver.into(), ..self }
    }

    fn target(&self) -> Result<Target<'_>, Error> {
        if self.interval.is_zero() {
            let problem = "is zero; take some seconds".into();
            return Err(Error::Config { field: "interval", problem });
        }
        Target::parse(&self.name).map_err(|problem| Error::Config { field: "name", problem })
    }
}

impl Discovery for DnsDiscovery {
    fn name(&self) -> Cow<'_, str> {
        "dns".into()
    }

    fn bind(&mut self) -> Result<(), BoxError> {
        self.target()?;
        Ok(())
    }

    fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError> {
        let target = self.target()?;
        let mut resolver = self.resolver.lock();
        let mut answers = Answers::default();
        let mut pause = Duration::ZERO;
        while !stop.wait(pause) {
            match resolver.resolve(target.host) {
                Ok(found) if found.is_empty() => {
                    log::warn!("{}: no address; keeping what we know", self.name)
                }
                Ok(found) => answers.update(found.iter().map(|&ip| target.peer(ip)).collect(), membership),
                Err(error) => log::warn!("{}: {error}; keeping what we know", self.name),
            }
            pause = self.interval;
        }
        Ok(())
    }
}

impl Answers {
    fn update(&mut self, answer: BTreeSet<String>, membership: &Membership) {
        let vanished = &self.present - &answer;
        membership.add(&answer);
        membership.left(&vanished);
        membership.remove(self.vanished.difference(&answer));
        *self = Self { present: answer, vanished };
    }
}

impl<'a> Target<'a> {
    fn parse(name: &'a str) -> Result<Self, String> {
        let (host, port) = match name.rsplit_once(':') {
            // More colons without brackets are an IPv6 address.
            Some((host, port)) if !host.contains(':') || host.ends_with(']') => (host, Some(port)),
            _ => (name, None),
        };
        let port = port.map(str::parse).transpose();
        let port = port.map_err(|error| format!("is `{name}`, whose port is wrong: {error}"))?;
        let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
        if host.is_empty() {
            return Err(format!("is `{name}`, which has no host; give `host` or `host:port`"));
        }
        Ok(Self { host, port })
    }

    fn peer(&self, ip: IpAddr) -> String {
        self.port.map_or_else(|| ip.to_string(), |port| SocketAddr::new(ip, port).to_string())
    }
}

impl Resolver for SystemResolver {
    fn resolve(&mut self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|addr| addr.ip()).collect())
    }
}

impl<F> Resolver for F
where
    F: FnMut(&str) -> io::Result<Vec<IpAddr>> + Send + 'static,
{
    fn resolve(&mut self, host: &str) -> io::Result<Vec<IpAddr>> {
        self(host)
    }
}

impl fmt::Debug for DnsDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut out = f.debug_struct("DnsDiscovery");
        out.field("name", &self.name).field("interval", &self.interval).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Result<(&str, Option<u16>), String> {
        Target::parse(name).map(|Target { host, port }| (host, port))
    }

    #[test]
    fn a_name_is_a_host_with_or_without_a_port() {
        assert_eq!(target("peers.example.com"), Ok(("peers.example.com", None)));
        assert_eq!(target("peers.example.com:7946"), Ok(("peers.example.com", Some(7946))));
        assert_eq!(target("fe80::1"), Ok(("fe80::1", None)));
        assert_eq!(target("[fe80::1]:7946"), Ok(("fe80::1", Some(7946))));
        assert_eq!(target("[fe80::1]"), Ok(("fe80::1", None)));
    }

    #[test]
    fn a_name_that_cannot_work_is_refused() {
        for name in ["", ":7946", "host:", "host:http", "host:65536", "[]:1", "[]"] {
            assert!(target(name).is_err(), "{name:?}");
        }
    }

    #[test]
    fn a_peer_with_a_port_can_be_dialed() {
        let [v4, v6] = ["10.0.0.1", "fe80::1"].map(|ip| ip.parse().unwrap());
        let with = Target { host: "host", port: Some(7946) };
        assert_eq!([with.peer(v4), with.peer(v6)], ["10.0.0.1:7946", "[fe80::1]:7946"]);
        let without = Target { host: "host", port: None };
        assert_eq!([without.peer(v4), without.peer(v6)], ["10.0.0.1", "fe80::1"]);
    }

    /// After each answer: the active peers, then those that left.
    #[track_caller]
    fn check(steps: &[(&str, &str)]) {
        let (membership, mut answers) = (Membership::new(), Answers::default());
        for (answer, expected) in steps {
            answers.update(answer.split_whitespace().map(String::from).collect(), &membership);
            let snapshot = membership.snapshot();
            assert_eq!(format!("{} | {}", snapshot.active().join(" "), snapshot.left().join(" ")), *expected);
        }
    }

    #[test]
    fn a_vanished_address_leaves_and_is_removed_when_still_gone() {
        check(&[("a b c", "a b c | "), ("b", "b | a c"), ("b", "b | "), ("a b", "a b | ")]);
    }

    #[test]
    fn an_address_that_comes_back_in_time_is_active_again() {
        check(&[
            ("a b", "a b | "),
            ("a", "a | b"),
            ("a b", "a b | "),
            ("b", "b | a"),
            ("a", "a | b"),
            ("c", "c | a"),
        ]);
    }
}
