//! Peers behind a DNS name.

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

/// Looks up the addresses of a host; blocks until it knows. Closures are resolvers.
pub trait Resolver: Send + 'static {
    /// Every address of the host.
    ///
    /// # Errors
    /// Whatever the look-up failed with; the membership is left as it is then.
    fn resolve(&mut self, host: &str) -> io::Result<Vec<IpAddr>>;
}

impl<F: FnMut(&str) -> io::Result<Vec<IpAddr>> + Send + 'static> Resolver for F {
    fn resolve(&mut self, host: &str) -> io::Result<Vec<IpAddr>> {
        self(host)
    }
}

/// The operating system's resolver.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&mut self, host: &str) -> io::Result<Vec<IpAddr>> {
        Ok((host, 0).to_socket_addrs()?.map(|addr| addr.ip()).collect())
    }
}

/// A DNS name that is resolved again and again.
///
/// New addresses become active. An address that is missing has left, and is removed if it is still missing in
/// the next answer. A failed look-up changes nothing, nor does an empty answer: a name server in trouble must
/// not look like an empty cluster.
///
/// ```
/// use std::time::Duration;
/// use syncswim::{Cluster, DnsDiscovery};
///
/// let web = DnsDiscovery::new("web.example:80").interval(Duration::from_secs(10));
/// let cluster = Cluster::new().with_discovery(web);
/// ```
pub struct DnsDiscovery {
    host: String,
    port: Option<u16>,
    interval: Duration,
    /// Never contended: the lock only lets a discovery be shared though its resolver cannot.
    resolver: Mutex<Box<dyn Resolver>>,
    answers: Answers,
}

/// What the last answers held.
#[derive(Debug, Default)]
struct Answers {
    active: BTreeSet<String>,
    missing: BTreeSet<String>,
}

impl DnsDiscovery {
    /// Resolves `host`, or `host:port`; with a port, peers are `address:port`, else bare addresses.
    pub fn new(host: impl AsRef<str>) -> Self {
        let host = host.as_ref();
        let split = host.rsplit_once(':').and_then(|(host, port)| Some((host, port.parse().ok()?)));
        let (host, port) = match split {
            Some((host, port)) if !host.contains(':') => (host, Some(port)),
            _ => (host, None),
        };
        let (interval, answers) = (Duration::from_secs(30), Answers::default());
        Self {
            host: host.to_owned(),
            port,
            interval,
            resolver: Mutex::new(Box::new(SystemResolver)),
            answers,
        }
    }

    /// The time between two look-ups. Defaults to 30 s.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// Who looks up. Defaults to the operating system.
    #[must_use]
    pub fn resolver(self, resolver: impl Resolver) -> Self {
        Self { resolver: Mutex::new(Box::new(resolver)), ..self }
    }

    fn look_up(&mut self, membership: &Membership) {
        match self.resolver.get_mut().resolve(&self.host) {
            Ok(addrs) if addrs.is_empty() => {
                log::warn!("dns: empty answer for {}, nothing changes", self.host)
            }
            Ok(addrs) => {
                let port = self.port;
                let name = |ip: IpAddr| match port {
                    Some(port) => SocketAddr::new(ip, port).to_string(),
                    None => ip.to_string(),
                };
                self.answers.take(addrs.into_iter().map(name).collect(), membership);
            }
            Err(error) => log::warn!("dns: cannot resolve {}, nothing changes: {error}", self.host),
        }
    }
}

impl Answers {
    fn take(&mut self, answer: BTreeSet<String>, membership: &Membership) {
        let missing: BTreeSet<_> = self.active.difference(&answer).cloned().collect();
        let removed: Vec<_> = self.missing.difference(&answer).cloned().collect();
        membership.remove(removed);
        membership.left(&missing);
        membership.add(&answer);
        (self.active, self.missing) = (answer, missing);
    }
}

impl Discovery for DnsDiscovery {
    fn name(&self) -> Cow<'static, str> {
        "dns".into()
    }

    fn bind(&mut self) -> Result<(), BoxError> {
        let error = |field, problem: &str| Err(Error::Config { field, problem: problem.into() }.into());
        if self.interval.is_zero() {
            return error("interval", "must be more than zero");
        }
        if self.host.is_empty() {
            return error("host", "must not be empty");
        }
        Ok(())
    }

    fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError> {
        loop {
            self.look_up(membership);
            if stop.wait(self.interval) {
                return Ok(());
            }
        }
    }
}

impl fmt::Debug for DnsDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, interval, .. } = self;
        f.debug_struct("DnsDiscovery")
            .field("host", host)
            .field("port", port)
            .field("interval", interval)
            .finish_non_exhaustive()
    }
}
