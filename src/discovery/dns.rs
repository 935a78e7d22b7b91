//! The addresses behind a DNS name as peers.

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
    log_line::{Throttle, Topic},
    text::Quoted,
};

/// A DNS name as a discovery: resolves it at once and then every interval, and lists its addresses as peers.
///
/// New addresses are added. An address that is absent from an answer does not leave at once, but after
/// [`misses`](Self::misses) look-ups in a row without it, or when its [`ttl`](Self::ttl) is over; it is removed if the next
/// look-up does not return it either. A look-up that fails or finds nothing changes nothing; one that may not have found
/// everything only adds. Where name servers return a different part of all addresses each time, this makes no address leave.
///
/// The name is `host` or `host:port`, which the system's resolver looks up. With the feature `dns-client` it may also be one
/// of the following, for which this crate asks the name servers of `/etc/resolv.conf` itself:
///
/// - `dns+host` or `dns+host:port`: A and AAAA records;
/// - `dnssrv+_service._tcp.domain`: SRV records, with their ports, and the addresses of their targets.
///
/// A peer is called `10.0.0.1:7946` or `[2001:db8::1]:7946`, which can be dialed, or if no port is known `10.0.0.1` or
/// `2001:db8::1`. (A link-local address cannot be dialed, because DNS does not tell its zone.)
///
/// A look-up by the system's resolver cannot be interrupted, so a stop waits until the system answers or gives up. A
/// look-up by `dns+` or `dnssrv+` is interrupted, and a [`resolver`](Self::resolver) may have shorter time-outs.
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
    // The mutex is never contended: it only makes this type `Sync`.
    resolver: Mutex<Box<dyn Resolver>>,
}

/// Finds the addresses behind a host name. A closure is one too.
pub trait Resolver: Send + 'static {
    /// All addresses of `host`.
    ///
    /// # Errors
    ///
    /// Any failure, also if the addresses may be incomplete. It is logged, and the look-up repeated after the next interval.
    fn resolve(&mut self, host: &str) -> io::Result<Vec<IpAddr>>;
}

/// The resolver of the operating system, as [`ToSocketAddrs`] uses it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct SystemResolver;

impl DnsDiscovery {
    /// Looks up `name`, which has one of the forms above.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        let resolver: Box<dyn Resolver> = Box::new(SystemResolver);
        let rule = Rule { misses: 3, ttl: Ttl::Unlimited };
        let (interval, servers) = (Duration::from_secs(30), Vec::new());
        Self { name: name.into(), interval, rule, servers, resolver: resolver.into() }
    }

    /// The time between look-ups. Too short a time burdens the name server; with too long a time new peers are found
    /// late and those that are gone stay listed. Zero is an error of the start. Defaults to 30 s.
    #[must_use]
    pub fn interval(self, interval: Duration) -> Self {
        Self { interval, ..self }
    }

    /// The number of consecutive look-ups that must miss an address before it has left. Failed and incomplete look-ups do
    /// not count. If the answers are seen to rotate, more are needed, until the absence is too unlikely to be chance. With 1
    /// every answer counts as complete, for name servers that always return all addresses. Zero is an error of the start.
    /// Defaults to 3.
    ///
    /// Answers rotate if an address comes back that some lacked. An answer that has new addresses and lacks old ones
    /// counts as rotation too, as name servers that know different parts give it; but not once 20 look-ups in a row
    /// lacked nothing. From then on such an answer is a deployment that replaces addresses, until an address that was
    /// missed comes back.
    #[must_use]
    pub fn misses(self, misses: u32) -> Self {
        Self { rule: Rule { misses, ..self.rule }, ..self }
    }

    /// The time after which an address that no look-up returned has left, if that comes before [`misses`](Self::misses)
    /// look-ups. It is checked at each complete look-up; where answers rotate, the absence must also be too long to be
    /// chance. Defaults to no limit.
    #[must_use]
    pub fn ttl(self, ttl: Duration) -> Self {
        Self { rule: Rule { ttl: Ttl::Fixed(ttl), ..self.rule }, ..self }
    }

    /// As [`ttl`](Self::ttl), with the time to live of each address's own record (RFC 1035, section 3.2.1), which is known
    /// for `dns+` and `dnssrv+`. A name server that caches a record returns its remaining time.
    #[cfg(feature = "dns-client")]
    #[must_use]
    pub fn record_ttl(self) -> Self {
        Self { rule: Rule { ttl: Ttl::OfRecord, ..self.rule }, ..self }
    }

    /// The name servers to ask for `dns+` and `dnssrv+`, in this order, instead of those of `/etc/resolv.conf`, whose other
    /// settings still apply. Defaults to none, which means those of the file.
    #[cfg(feature = "dns-client")]
    #[must_use]
    pub fn name_servers(self, servers: impl IntoIterator<Item = SocketAddr>) -> Self {
        Self { servers: servers.into_iter().collect(), ..self }
    }

    /// The resolver of names without a prefix. Defaults to [`SystemResolver`].
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
        self.subject()?;
        Ok(())
    }

    fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError> {
        let (subject, name, servers) = (self.subject()?, &self.name, &self.servers);
        // Access without the lock, so that nothing is locked while the user's resolver runs.
        let resolver = self.resolver.get_mut();
        let (mut presence, warnings) = (Presence::new(self.rule), Throttle::default());
        let mut pause = Duration::ZERO;
        while !stop.wait(pause) {
            let lookup = subject.look_up(resolver, servers, stop);
            if stop.is_stopped() {
                break;
            }
            report(name, &lookup, &warnings);
            if let Ok(Lookup { found, partial }) = lookup
                && !found.is_empty()
            {
                let answer = found.iter().map(|found| (peer(found.ip, found.port), found.ttl)).collect();
                tell(&mut presence, &answer, partial.is_none(), membership);
            }
            pause = self.interval;
        }
        Ok(())
    }
}

/// What is wrong with a look-up, in one line at most.
fn report(name: &str, lookup: &io::Result<Lookup>, warnings: &Throttle) {
    match lookup {
        Ok(lookup) if lookup.found.is_empty() => warnings.log(Topic::LookupEmpty, "", &[("name", &name)]),
        Ok(Lookup { partial: Some(why), .. }) => {
            warnings.log(Topic::LookupPartial, "", &[("name", &name), ("reason", why)]);
        }
        Ok(_) => [Topic::LookupEmpty, Topic::LookupPartial, Topic::LookupFailed]
            .into_iter()
            .for_each(|topic| warnings.forget(topic)),
        Err(error) => warnings.log(Topic::LookupFailed, "", &[("name", &name), ("error", error)]),
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
    membership.mark_left(changes.left);
    membership.remove(changes.removed);
}

/// The subject of a look-up.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Subject {
    /// A host, for the resolver, and the port of its peers.
    Host(String, Option<u16>),
    /// A query of this crate's DNS client.
    Query(Query),
}

impl Subject {
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
    fn subject(&self) -> Result<Subject, Error> {
        let error = |field, problem: &str| Err(Error::config(field, problem));
        if self.interval.is_zero() {
            return error("interval", "is zero; take some seconds");
        }
        if self.rule.misses == 0 {
            return error("misses", "is zero; take 1 for a peer to leave by the first look-up without it");
        }
        let name = &self.name;
        let parsed = Query::parse(name).map(|query| query.map(Subject::Query)).unwrap_or_else(|| {
            Target::parse(name).map(|target| Subject::Host(target.host.to_string(), target.port))
        });
        parsed.or_else(|problem| {
            error(
                "name",
                &format!(
                    "is {}, which {problem}; give `host`, `host:port` or `dnssrv+_service._tcp.domain`",
                    Quoted(name)
                ),
            )
        })
    }
}

/// The peer's name for an address.
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
            let error = DnsDiscovery::new(name).subject().expect_err(name).to_string();
            assert!(error.contains(&format!("`name` is {name:?}, which ")), "{error}");
        }
        let problem =
            |dns: DnsDiscovery| dns.subject().map_or_else(|error| error.to_string(), |_| "fine".into());
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
    fn a_look_up_that_may_lack_addresses_is_told_of_until_one_lacks_none() {
        let found = vec![Found { ip: [10, 0, 0, 1].into(), port: None, ttl: None }];
        let lookup =
            |partial: Option<&str>| Ok(Lookup { found: found.clone(), partial: partial.map(str::to_owned) });
        let warnings = Throttle::default();
        let lines = crate::log_line::capture::lines(|| {
            for partial in [Some("the answer was truncated"), Some("again"), None, Some("no TCP")] {
                report("db", &lookup(partial), &warnings);
            }
        });
        let expected = [
            r#"lookup partial name=db reason="the answer was truncated""#,
            r#"lookup partial name=db reason="no TCP""#,
        ];
        assert_eq!(lines, expected);
    }

    #[test]
    fn a_peer_with_a_port_can_be_dialed() {
        let [v4, v6] = ["10.0.0.1", "fd00::1"].map(|ip| ip.parse().unwrap());
        assert_eq!([v4, v6].map(|ip| peer(ip, Some(7946))), ["10.0.0.1:7946", "[fd00::1]:7946"]);
        assert_eq!([v4, v6].map(|ip| peer(ip, None)), ["10.0.0.1", "fd00::1"]);
    }
}
