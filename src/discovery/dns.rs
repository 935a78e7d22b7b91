//! Peers that are the addresses behind a DNS name.

use std::{
    borrow::Cow,
    collections::BTreeMap,
    fmt, io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
    time::Duration,
};

use parking_lot::Mutex;

use super::{
    Discovery,
    absence::{Presence, Rule, Ttl},
};
use crate::{
    BoxError, Error, Membership, Stop,
    address::Target,
    blocking::now,
    dns::{self, Conf, Found, Lookup, Query},
    warn::Throttle,
};

/// Resolves a name at once and then every interval. New addresses are added. Absent is not gone: an address leaves after
/// [`misses`](Self::misses) look-ups in a row without it, or when its [`ttl`](Self::ttl) is over, and is removed when still
/// gone at the next look-up. A look-up that fails, finds nothing or may not have found all changes nothing of what is known,
/// and where name servers give a part of all addresses, another each time, nobody leaves by that.
///
/// The name is `host` or `host:port`, which the system's resolver looks up, or with the feature `dns-client`, which asks the
/// name servers of `/etc/resolv.conf` itself:
///
/// - `dns+host` or `dns+host:port`: A and AAAA records;
/// - `dnssrv+_service._tcp.domain`: SRV records, with their ports, and the addresses of their targets.
///
/// Peers are called by their address alone, as `10.0.0.1` or `2001:db8::1`, unless a port is known: then they are
/// `10.0.0.1:7946` or `[2001:db8::1]:7946`, and can be dialed. (Link-local addresses cannot, as `[fe80::1]:7946`: no
/// answer of DNS tells their zone.)
///
/// The system's resolver cannot be interrupted, so stopping waits for a look-up that is under way, as long as the system
/// takes to answer or give up; `dns+` can, and so may a [`resolver`](Self::resolver) with shorter time-outs.
///
/// # Examples
///
/// ```no_run
/// use std::time::Duration;
/// use syncswim::{Cluster, DnsDiscovery};
///
/// let dns = DnsDiscovery::new("peers.example.com:7946").interval(Duration::from_secs(10)).misses(5);
/// let running = Cluster::new().with_discovery(dns).start()?;
/// running.join()?;
/// # Ok::<(), syncswim::Error>(())
/// ```
pub struct DnsDiscovery {
    name: String,
    interval: Duration,
    rule: Rule,
    servers: Vec<SocketAddr>,
    // Behind a mutex only to be `Sync`.
    resolver: Mutex<Box<dyn Resolver>>,
}

/// Finds the addresses behind a host name. A closure is one too.
pub trait Resolver: Send + 'static {
    /// All addresses of `host`.
    ///
    /// # Errors
    ///
    /// Any failure, also that these may not be all. It is logged, and the next interval tries again.
    fn resolve(&mut self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system, as [`ToSocketAddrs`] uses it.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl DnsDiscovery {
    /// Looks up `name`: see above for its forms.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let resolver: Box<dyn Resolver> = Box::new(SystemResolver);
        let rule = Rule { misses: 3, ttl: Ttl::Unlimited };
        let (interval, servers) = (Duration::from_secs(30), Vec::new());
        Self { name: name.into(), interval, rule, servers, resolver: resolver.into() }
    }

    /// The time between look-ups. Too short burdens the name server, too long makes gone peers linger. Zero is refused at the
    /// start. Defaults to 30 s.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// How many look-ups in a row must miss an address before it has left. Failed and partial ones do not count. If the
    /// answers are seen to rotate, it takes as many more as are needed for the absence not to be chance. 1 takes each answer
    /// at its word, and is for name servers that always give all addresses. Zero is refused at the start. Defaults to 3.
    #[must_use]
    pub fn misses(self, misses: u32) -> Self {
        Self { rule: Rule { misses, ..self.rule }, ..self }
    }

    /// Lets an address leave after this time without a look-up that names it, if that is less than the
    /// [`misses`](Self::misses) take. It is looked at when a look-up is complete, and where answers rotate absence must still
    /// not be chance. Defaults to no limit.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { rule: Rule { ttl: Ttl::Fixed(ttl), ..self.rule }, ..self }
    }

    /// The same with the time to live of each address's own record (RFC 1035, section 3.2.1): of `dns+` and `dnssrv+` it is
    /// known. Name servers that cache give what is left of it.
    #[cfg(feature = "dns-client")]
    #[must_use]
    pub fn record_ttl(self) -> Self {
        Self { rule: Rule { ttl: Ttl::OfRecord, ..self.rule }, ..self }
    }

    /// The name servers to ask of `dns+` and `dnssrv+`, in this order, instead of those that `/etc/resolv.conf` names; its
    /// other settings stay. Defaults to none, which leaves it to the file.
    #[cfg(feature = "dns-client")]
    #[must_use]
    pub fn name_servers(self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { servers: servers.into_iter().collect(), ..self }
    }

    /// How names without a prefix become addresses. Defaults to [`SystemResolver`].
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
        self.what()?;
        Ok(())
    }

    fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError> {
        let (what, name, servers) = (self.what()?, &self.name, &self.servers);
        // It is ours alone, so nothing is locked while the user's code runs.
        let resolver = self.resolver.get_mut();
        let (mut presence, warnings) = (Presence::new(self.rule), Throttle::default());
        let mut pause = Duration::ZERO;
        while !stop.wait(pause) {
            match what.look_up(resolver, servers, stop) {
                _ if stop.is_stopped() => break,
                Ok(lookup) if lookup.found.is_empty() => {
                    warnings.warn("", format_args!("{name}: no address; keeping what we know"));
                }
                Ok(Lookup { found, partial }) => {
                    match &partial {
                        None => warnings.forget(""),
                        Some(why) => warnings.warn(
                            "",
                            format_args!("{name}: not all may be known: {why}; nobody leaves by that"),
                        ),
                    }
                    let answer = found.iter().map(|found| (peer(found.ip, found.port), found.ttl)).collect();
                    tell(&mut presence, &answer, partial.is_none(), membership);
                }
                Err(error) => warnings.warn("", format_args!("{name}: {error}; keeping what we know")),
            }
            pause = self.interval;
        }
        Ok(())
    }
}

fn tell(
    presence: &mut Presence,
    answer: &BTreeMap<String, Option<Duration>>,
    is_complete: bool,
    membership: &Membership,
) {
    let changes = presence.update(answer, is_complete, now());
    membership.add(changes.active);
    membership.left(changes.left);
    membership.remove(changes.removed);
}

/// What is looked up, and by whom.
#[derive(Debug, Clone, PartialEq, Eq)]
enum What {
    /// By the resolver, with the port of what it finds.
    Host(String, Option<u16>),
    Query(Query),
}

impl What {
    fn look_up(
        &self,
        resolver: &mut Box<dyn Resolver>,
        servers: &[SocketAddr],
        stop: &Stop,
    ) -> io::Result<Lookup> {
        match self {
            Self::Host(host, port) => {
                let found = resolver.resolve(host)?;
                let found = found.into_iter().map(|ip| Found { ip, port: *port, ttl: None }).collect();
                Ok(Lookup { found, partial: None })
            }
            Self::Query(query) => {
                let conf = Conf::system().with_servers(servers.to_vec());
                dns::look_up(query, &conf, &|| stop.is_stopped())
            }
        }
    }
}

impl DnsDiscovery {
    fn what(&self) -> Result<What, Error> {
        let error = |field, problem: &str| Err(Error::Config { field, problem: problem.into() });
        if self.interval.is_zero() {
            return error("interval", "is zero; take some seconds");
        }
        if self.rule.misses == 0 {
            return error("misses", "is zero; take 1 for a peer to leave by the first look-up without it");
        }
        let name = &self.name;
        let parsed = Query::parse(name).map(|query| query.map(What::Query)).unwrap_or_else(|| {
            Target::parse(name).map(|target| What::Host(target.host.to_string(), target.port))
        });
        parsed.or_else(|problem| {
            error(
                "name",
                &format!(
                    "is {name:?}, which {problem}; give `host`, `host:port` or `dnssrv+_service._tcp.domain`"
                ),
            )
        })
    }
}

/// What an address is called.
fn peer(ip: IpAddr, port: Option<u16>) -> String {
    port.map_or_else(|| ip.to_string(), |port| SocketAddr::new(ip, port).to_string())
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
        out.field("name", &self.name).field("interval", &self.interval).field("rule", &self.rule);
        out.finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_cannot_work_is_refused_and_the_error_says_why() {
        let bad = [
            "",
            ":7946",
            "host:",
            "host:http",
            "host:65536",
            "[]:1",
            "http://db:1",
            "db:0",
            "[::1",
            "a b",
            "dns+a b",
        ];
        for name in bad {
            let error = DnsDiscovery::new(name).what().expect_err(name).to_string();
            assert!(error.contains(&format!("`name` is {name:?}, which ")), "{error}");
        }
        let problem =
            |dns: DnsDiscovery| dns.what().map_or_else(|error| error.to_string(), |_| "fine".into());
        let dns = || DnsDiscovery::new("db:1");
        assert!(problem(dns().interval(Duration::ZERO)).contains("`interval`"));
        assert!(problem(dns().misses(0)).contains("`misses`"));
        assert_eq!(problem(dns().interval(Duration::from_nanos(1)).misses(1)), "fine");
        let prefixed = problem(DnsDiscovery::new("dnssrv+_gossip._tcp.svc"));
        assert!(if cfg!(feature = "dns-client") {
            prefixed == "fine"
        } else {
            prefixed.contains("feature `dns-client`")
        });
    }

    #[test]
    fn a_peer_with_a_port_can_be_dialed() {
        let [v4, v6] = ["10.0.0.1", "fd00::1"].map(|ip| ip.parse().unwrap());
        assert_eq!([v4, v6].map(|ip| peer(ip, Some(7946))), ["10.0.0.1:7946", "[fd00::1]:7946"]);
        assert_eq!([v4, v6].map(|ip| peer(ip, None)), ["10.0.0.1", "fd00::1"]);
    }
}
