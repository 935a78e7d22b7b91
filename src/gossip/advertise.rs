//! Chooses the address that a node advertises: one that other nodes can send to. It is never unspecified, and loopback only
//! if the cluster is on this host.

use std::{
    io::{self, ErrorKind},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, bounded};

use super::{
    config::{GossipConfig, check_advertise},
    family::Family,
    host_port::HostPort,
    interfaces,
    seed::{self, Resolved, Seed},
};
use crate::{
    Error,
    address::{self, Target, any_of, problem_of},
    blocking,
    log_line::{Topic, log},
    text::some_of,
};

/// Addresses reserved for documentation (RFC 5737, RFC 3849), to find the default route. Nothing is sent there.
const ANYWHERE: [IpAddr; 2] =
    [IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1)), IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1))];

/// A port for route look-ups, which are the same for every port.
const PORT: u16 = 9;

/// How long a start waits for name servers: two tries of a resolver, of 5 s each, and a little. Then the most names
/// that it looks up.
const LOOK_UP_LIMIT: Duration = Duration::from_secs(11);
const MAX_LOOK_UPS: usize = 16;

/// What the operating system reports about this host.
pub(super) trait Host {
    /// The address from which this host would send to another.
    fn source_toward(&self, to: IpAddr) -> Option<IpAddr>;
    /// All addresses at which others might reach this host.
    fn candidates(&self) -> Vec<IpAddr>;
    /// Whether an address is one of this host. `None` if the system does not tell.
    fn has(&self, ip: IpAddr) -> Option<bool>;
    /// How long to wait for look-ups.
    fn look_up_limit(&self) -> Duration;
    /// Looks up the addresses of a seed, until `until` at most. The result comes through the channel.
    fn look_up(&self, seed: &str, until: Instant) -> Receiver<io::Result<Vec<SocketAddr>>>;
}

/// This host.
pub(super) struct System;

impl Host for System {
    fn source_toward(&self, to: IpAddr) -> Option<IpAddr> {
        let socket = UdpSocket::bind((any_of(to), 0)).ok()?;
        // Nothing is sent: connecting only looks up the route.
        socket.connect((to, PORT)).ok()?;
        Some(socket.local_addr().ok()?.ip()).filter(|ip| !ip.is_unspecified())
    }

    fn candidates(&self) -> Vec<IpAddr> {
        interfaces::candidates()
    }

    fn has(&self, ip: IpAddr) -> Option<bool> {
        let binds = |ip| UdpSocket::bind((ip, 0));
        // Hosts that share an address often allow sockets to be bound to any address (`ip_nonlocal_bind`).
        let binds_any =
            || ANYWHERE.iter().any(|other| other.is_ipv4() == ip.is_ipv4() && binds(*other).is_ok());
        match binds(ip) {
            Ok(_) if binds_any() => interfaces::have(ip),
            Ok(_) => Some(true),
            Err(error) if error.kind() == ErrorKind::AddrNotAvailable => Some(false),
            Err(_) => None,
        }
    }

    fn look_up_limit(&self) -> Duration {
        LOOK_UP_LIMIT
    }

    fn look_up(&self, seed: &str, until: Instant) -> Receiver<io::Result<Vec<SocketAddr>>> {
        let (found, answer) = bounded(1);
        let seed = seed.to_owned();
        let thread = thread::Builder::new().name("syncswim-look-up".into());
        // Without a thread there is no answer.
        let _ = thread.spawn(move || found.send(resolve(&seed, &|| blocking::now() >= until)));
        answer
    }
}

/// The addresses of a seed. Blocks, once it is late at most until the look-up in progress ends.
fn resolve(seed: &str, is_late: &dyn Fn() -> bool) -> io::Result<Vec<SocketAddr>> {
    let parsed = Seed::parse(seed).map_err(io::Error::other)?;
    if let Seed::Command(_) = parsed {
        return Err(io::Error::other("a command is run once the node runs, and not before"));
    }
    let Resolved { addrs, seeds, .. } = parsed.resolve(PORT, is_late)?;
    let literals: Vec<_> = seeds.iter().filter_map(|seed| seed::literal(seed, PORT)).collect();
    if !addrs.is_empty() || !literals.is_empty() {
        return Ok([addrs, literals].concat());
    }
    // The route to one seed of the list is enough, and each look-up may block.
    let found = seeds.iter().take_while(|_| !is_late()).find_map(|seed| {
        let addrs = Seed::parse_listed(seed).ok()?.resolve(PORT, is_late).ok()?.addrs;
        Some(addrs).filter(|addrs| !addrs.is_empty())
    });
    Ok(found.unwrap_or_default())
}

/// The address that a node with these bound sockets advertises.
pub(super) fn choose(
    config: &GossipConfig,
    bound: SocketAddr,
    family: Family,
    host: &dyn Host,
) -> Result<SocketAddr, Error> {
    let seeds = Seeds::of(&config.seeds);
    if let Some(advertise) = &config.advertise {
        return of_text(advertise, bound, family, &seeds);
    }
    let ip = bound.ip().to_canonical();
    if ip.is_unspecified() {
        let ip = Search { seeds, bound, family, host }.find()?;
        return Ok(SocketAddr::new(ip, bound.port()));
    }
    seeds.check_reached_from(bound, host)?;
    Ok(SocketAddr::new(ip, bound.port()))
}

/// Refuses a name that is loopback here, as a host's own name is on many systems: the node would be alone without any error.
pub(super) fn check_name_bound(config: &GossipConfig, to: IpAddr) -> Result<(), Error> {
    let is_chance = |name| !is_localhost(name) && interfaces::named(name).is_empty();
    let is_alone = to.is_loopback() && config.advertise.is_none() && !Seeds::of(&config.seeds).are_here();
    if is_alone && config.bind.name().is_some_and(is_chance) {
        let problem = format!(
            "is {to} on this host, where others do not reach it; give an address of this host, or 0.0.0.0 or [::] \
             for all, or write {to} if all nodes are on this host"
        );
        return Err(config.bind.error("bind", &problem));
    }
    Ok(())
}

/// Whether a node that is bound to `bound` can send to an address: from loopback it reaches no other host.
pub(super) fn is_reached_from(bound: IpAddr, to: IpAddr, host: &dyn Host) -> bool {
    !bound.is_loopback() || to.is_loopback() || host.source_toward(to) == Some(to)
}

/// Another address at which members reach this host, since `gone`, which the node advertised, is no longer one of this
/// host; `allows` says which addresses the node may have.
pub(super) fn choose_again(
    gone: IpAddr,
    members: impl IntoIterator<Item = IpAddr>,
    allows: impl Fn(IpAddr) -> bool,
    host: &dyn Host,
) -> Option<IpAddr> {
    let speaks = |to: &IpAddr| to.is_ipv4() == gone.is_ipv4();
    let sources = members.into_iter().chain(ANYWHERE).filter(speaks).filter_map(|to| host.source_toward(to));
    let fits = |ip: &IpAddr| !ip.is_loopback() && *ip != gone && problem_of(*ip).is_none() && allows(*ip);
    sources.filter(speaks).find(fits)
}

/// What `advertise` says, with the port that was bound where it has none.
fn of_text(
    advertise: &HostPort,
    bound: SocketAddr,
    family: Family,
    seeds: &Seeds<'_>,
) -> Result<SocketAddr, Error> {
    let is_meant = |ip: IpAddr| !ip.is_loopback() || bound.ip().is_loopback() || seeds.are_here();
    let name = advertise.name();
    let found = advertise.resolve("advertise", bound.port())?;
    let fits = |addr: &&SocketAddr| {
        let ip = addr.ip();
        family.reaches(ip) && problem_of(ip).is_none() && (name.is_none_or(is_localhost) || is_meant(ip))
    };
    // If the name has addresses of both families, take one of the seeds' family.
    let is_spoken = |addr: &&SocketAddr| seeds.elsewhere().any(|seed| seed.is_ipv4() == addr.is_ipv4());
    let fitting = || found.iter().filter(fits);
    let Some(addr) = fitting().find(is_spoken).or_else(|| fitting().next()) else {
        found.iter().try_for_each(|addr| check_advertise(addr.ip()))?;
        let ips = some_of(&found.iter().map(SocketAddr::ip).collect::<Vec<_>>());
        let problem = format!(
            "is {ips} on this host, and `bind` {bound} is of {family}; others need an address of that family \
             which is not a loopback address: give it"
        );
        return Err(advertise.error("advertise", &problem));
    };
    let port = if addr.port() == 0 { bound.port() } else { addr.port() };
    Ok(SocketAddr::new(addr.ip(), port))
}

/// The seeds, as far as they show where the cluster is.
struct Seeds<'a> {
    literals: Vec<IpAddr>,
    names: Vec<&'a str>,
    /// Whether one is `localhost`: no other name is sure to be this host, though any may resolve to loopback.
    has_localhost: bool,
}

impl<'a> Seeds<'a> {
    fn of(seeds: &'a [String]) -> Self {
        let mut sorted = Self { literals: Vec::new(), names: Vec::new(), has_localhost: false };
        for seed in seeds {
            match Target::parse(seed).map(|target| target.host) {
                Ok(address::Host::Ip(ip)) => sorted.literals.push(ip.to_canonical()),
                Ok(address::Host::Name(name)) if is_localhost(name) => sorted.has_localhost = true,
                _ => sorted.names.push(seed),
            }
        }
        sorted
    }

    /// Whether the seeds show that the cluster is on this host.
    fn are_here(&self) -> bool {
        let some = !self.literals.is_empty() || self.has_localhost;
        some && self.names.is_empty() && self.elsewhere().next().is_none()
    }

    /// The seeds that are known not to be loopback addresses.
    fn elsewhere(&self) -> impl Iterator<Item = IpAddr> {
        self.literals.iter().copied().filter(|ip| !ip.is_loopback())
    }

    fn check_reached_from(&self, bound: SocketAddr, host: &dyn Host) -> Result<(), Error> {
        let is_reached = |ip: &IpAddr| is_reached_from(bound.ip().to_canonical(), *ip, host);
        let others = !self.literals.is_empty() && !self.literals.iter().any(is_reached);
        if others && self.names.is_empty() && !self.has_localhost {
            let problem = format!(
                "is {bound}, from where other hosts are not reached, and all seeds are on others ({}); bind to \
                 0.0.0.0 or [::], or to an address that they reach",
                some_of(&self.literals)
            );
            return Err(Error::config("bind", problem));
        }
        Ok(())
    }
}

/// A name that is loopback everywhere (RFC 6761, section 6.3).
fn is_localhost(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name).to_ascii_lowercase();
    name == "localhost" || name.ends_with(".localhost")
}

/// The search for an address of a host whose node is bound to all of its addresses.
struct Search<'a> {
    seeds: Seeds<'a>,
    bound: SocketAddr,
    family: Family,
    host: &'a dyn Host,
}

impl Search<'_> {
    /// Name resolution, which blocks, comes after everything that does not block.
    fn find(&self) -> Result<IpAddr, Error> {
        if self.seeds.are_here() {
            return self.find_loopback().ok_or_else(|| self.error(&[]));
        }
        let candidates: Vec<_> = self.host.candidates().into_iter().filter(|ip| self.fits(*ip)).collect();
        self.route(self.seeds.elsewhere())
            .or_else(|| only(&candidates))
            .or_else(|| self.route(self.resolved(&self.seeds.names)))
            .or_else(|| self.route(ANYWHERE))
            .or_else(|| {
                let of_v4: Vec<_> = candidates.iter().copied().filter(IpAddr::is_ipv4).collect();
                only(&of_v4)
            })
            .ok_or_else(|| self.error(&candidates))
    }

    /// The source address of the first of these routes whose address others can send to.
    fn route(&self, to: impl IntoIterator<Item = IpAddr>) -> Option<IpAddr> {
        let reached = to.into_iter().filter(|to| self.family.reaches(*to));
        reached.filter_map(|to| self.host.source_toward(to)).find(|ip| self.fits(*ip))
    }

    /// Whether members can send to an address: if all seeds are literal addresses, it has to be of their family.
    fn fits(&self, ip: IpAddr) -> bool {
        let is_spoken = self.seeds.elsewhere().any(|seed| seed.is_ipv4() == ip.is_ipv4());
        self.family.reaches(ip)
            && !ip.is_loopback()
            && problem_of(ip).is_none()
            && (is_spoken || !self.seeds.names.is_empty() || self.seeds.elsewhere().next().is_none())
    }

    fn find_loopback(&self) -> Option<IpAddr> {
        let localhost = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];
        let mut seeds = self.seeds.literals.iter().copied().chain(localhost);
        seeds.find(|seed| self.family.reaches(*seed)).and_then(|seed| self.host.source_toward(seed))
    }

    /// The addresses of these names in their order, looked up side by side. Blocks, for the time of one look-up in all.
    fn resolved(&self, names: &[&str]) -> impl Iterator<Item = IpAddr> {
        let until = blocking::now() + self.host.look_up_limit();
        let look_up = |name: &&str| ((*name).to_owned(), self.host.look_up(name, until));
        let asked: Vec<_> = names.iter().take(MAX_LOOK_UPS).map(look_up).collect();
        let found = asked.into_iter().filter_map(move |(name, answer)| {
            let answer = answer.recv_deadline(until);
            if answer.is_err() {
                let hint = "the address to advertise is chosen without it; check DNS, or set advertise";
                log(Topic::SeedSlow, &[("seed", &name), ("hint", &hint)]);
            }
            answer.ok()?.ok()
        });
        found.flatten().map(|addr| addr.ip().to_canonical()).filter(|ip| !ip.is_unspecified())
    }

    fn error(&self, candidates: &[IpAddr]) -> Error {
        let why = match candidates {
            [] => "no route shows an address of this host that other hosts could use; set it to one, or bind to \
                   127.0.0.1 or [::1] if all nodes are on this host"
                .to_owned(),
            _ => format!("no route shows which of {} others use; set it to that", some_of(candidates)),
        };
        let problem = format!("is needed: this node is bound to {}, and {why}", self.bound);
        Error::config("advertise", problem)
    }
}

fn only(ips: &[IpAddr]) -> Option<IpAddr> {
    match ips {
        [ip] => Some(*ip),
        _ => None,
    }
}

#[cfg(test)]
#[path = "advertise_tests.rs"]
mod tests;
