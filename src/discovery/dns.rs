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
use crate::{BoxError, Error, Membership, Stop, address::Target, warn::Throttle};

/// Resolves a name at once and then every interval. New addresses are added; those that vanished have left, and are removed
/// when still gone at the next successful lookup. A lookup that fails or finds nothing changes nothing.
///
/// Peers are called by their address alone, as `10.0.0.1` or `2001:db8::1`, unless the name comes with a port: then they
/// are `10.0.0.1:7946` or `[2001:db8::1]:7946`, and can be dialed. (Link-local addresses cannot, as `[fe80::1]:7946`: no
/// answer of DNS tells their zone.)
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
}

impl Discovery for DnsDiscovery {
    fn name(&self) -> Cow<'_, str> {
        "dns".into()
    }

    fn bind(&mut self) -> Result<(), BoxError> {
        target(&self.name, self.interval)?;
        Ok(())
    }

    fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError> {
        let Self { name, interval, resolver } = self;
        let Target { host, port } = target(name, *interval)?;
        // It is ours alone, so nothing is locked while the user's code runs.
        let (resolver, host) = (resolver.get_mut(), host.to_string());
        let (mut answers, warnings) = (Answers::default(), Throttle::default());
        let mut pause = Duration::ZERO;
        while !stop.wait(pause) {
            match resolver.resolve(&host) {
                Ok(found) if found.is_empty() => {
                    warnings.warn("", format_args!("{name}: no address; keeping what we know"));
                }
                Ok(found) => {
                    warnings.forget("");
                    answers.update(found.iter().map(|&ip| peer(ip, port)).collect(), membership);
                }
                Err(error) => warnings.warn("", format_args!("{name}: {error}; keeping what we know")),
            }
            pause = *interval;
        }
        Ok(())
    }
}

fn target(name: &str, interval: Duration) -> Result<Target<'_>, Error> {
    if interval.is_zero() {
        let problem = "is zero; take some seconds".into();
        return Err(Error::Config { field: "interval", problem });
    }
    let wrong = |problem| format!("is {name:?}, which {problem}; give `host` or `host:port`");
    Target::parse(name).map_err(|problem| Error::Config { field: "name", problem: wrong(problem) })
}

/// What an address is called.
fn peer(ip: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(|| ip.to_string(), |port| SocketAddr::new(ip, port).to_string())
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

    #[test]
    fn a_name_that_cannot_work_is_refused_and_the_error_says_why() {
        let bad =
            ["", ":7946", "host:", "host:http", "host:65536", "[]:1", "http://db:1", "db:0", "[::1", "a b"];
        for name in bad {
            let error = target(name, Duration::MAX).expect_err(name).to_string();
            assert!(error.contains(&format!("`name` is {name:?}, which ")), "{error}");
        }
        assert!(target("db:1", Duration::ZERO).is_err_and(|error| error.to_string().contains("`interval`")));
        assert!(target("db:1", Duration::from_nanos(1)).is_ok());
    }

    #[test]
    fn a_peer_with_a_port_can_be_dialed() {
        let [v4, v6] = ["10.0.0.1", "fd00::1"].map(|ip| ip.parse().unwrap());
        assert_eq!([v4, v6].map(|ip| peer(ip, Some(7946))), ["10.0.0.1:7946", "[fd00::1]:7946"]);
        assert_eq!([v4, v6].map(|ip| peer(ip, None)), ["10.0.0.1", "fd00::1"]);
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
