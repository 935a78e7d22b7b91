//! The configuration of a running node: the protocol's settings, and those of sockets and files.

use std::{
    net::{IpAddr, Ipv4Addr},
    path::PathBuf,
};

use super::{family::Family, host_port::HostPort, seed};
#[cfg(feature = "encryption")]
use crate::{Encryption, Keyring};
use crate::{Error, IpNetwork, Tags, address::problem_of, recording::check_limit, swim, text::some_of};

/// The port that nodes listen on unless told otherwise: memberlist's.
pub const DEFAULT_PORT: u16 = 7946;

/// The configuration of a [`Gossip`](super::Gossip) node: the settings of the protocol, and those of its sockets and files.
///
/// ```
/// use syncswim::{GossipConfig, Tags};
///
/// let mut config = GossipConfig::lan("node-a")
///     .bind("0.0.0.0:7946")
///     .seed("10.0.0.5:7946")
///     .tags(Tags::new([("role", "db")])?);
/// config.swim.suspicion_mult = 5;
/// config.validate()?;
/// # Ok::<(), syncswim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct GossipConfig {
    /// The settings of the protocol.
    pub swim: swim::Config,

    /// The address to listen on, over UDP and TCP: an address, a host name, or with the feature `interfaces` a network
    /// interface such as `eth0:7946`. If there are several addresses, the first that can be bound is taken. Port 0 stands
    /// for any free port; no port stands for [`DEFAULT_PORT`].
    ///
    /// `[::]` listens on IPv4 as well (dual-stack). With any other address, the node speaks only the family of that address,
    /// and `advertise` and at least one seed have to be of it.
    ///
    /// Refused are broadcast, multicast and link-local addresses, and a loopback address if all seeds are addresses of other
    /// hosts. A name other than `localhost` that resolves to loopback, as a host's own name often does, is refused as well,
    /// unless all seeds are loopback or `advertise` is given.
    ///
    /// Defaults to `0.0.0.0:7946` (LAN, WAN), `127.0.0.1:7946` (local).
    pub bind: HostPort,

    /// The address that other nodes send to, if it differs from `bind`, for instance behind address translation: an address,
    /// a host name, or with the feature `interfaces` a network interface. A name is looked up once, at the start, and its
    /// first usable address is taken. Port 0, or no port, stands for the port that was bound. An address that no other host
    /// can send to is refused.
    ///
    /// Defaults to the address of `bind`. If that is unspecified, the address is found at the start, by the first of these
    /// that shows one: the route to seeds that are given as addresses; the host's only address; the route to seeds that are
    /// names, which are looked up; the default route; the host's only IPv4 address. With `[::]`, IPv4 is preferred, unless all
    /// seeds are given as IPv6 addresses.
    /// Loopback is advertised only if every seed is a loopback address or `localhost`. If no address is found, the start
    /// fails and asks for this field. IPv6 hosts with temporary addresses (RFC 8981) should set it, as a route may show a
    /// temporary one.
    ///
    /// With `[::]`, an address of either family may be given. Members that are bound to `0.0.0.0` reach only IPv4 addresses.
    pub advertise: Option<HostPort>,

    /// The seeds: addresses, or texts that lead to some, at which the node looks for members to join through. Each is
    /// resolved and tried repeatedly for as long as the node runs. Defaults to none. A seed is one of
    ///
    /// - `host:port`, or `host` for the port that this node binds; an IPv6 address with a port as `[2001:db8::1]:7946`.
    ///   Link-local addresses cannot be dialed without a zone, and are refused;
    /// - `dns+host:port` or `dns+host`: the A and AAAA records of a name, and `dnssrv+_service._tcp.domain`: its SRV
    ///   records, with their ports (feature `dns-client`, as in [`DnsDiscovery`](crate::DnsDiscovery));
    /// - `file:/path`: a file with seeds of the kinds above, one a line, at most 1,024 in 64 KiB; `#` begins a comment.
    ///   The path contains a `/`. The file is read again each time, and may be missing until then. Replace it by
    ///   renaming another file over it: a file that is written in place may be read half written. A file that does not
    ///   end with a newline is read once it has not changed for a second;
    /// - `exec:command`: the same from the output of a command, run by `sh -c` (Unix only). After 10 s, or when the node
    ///   stops, it is killed with its process group; its standard error is dropped. Anybody who can set this field can run
    ///   any program as this process's user.
    ///
    /// Each seed is resolved by itself, up to 32 at the same time, while addresses are tried already. Three addresses are
    /// tried at once, and more while none answers, up to 24 at a time (after RFC 8305). A seed that cannot be used is warned
    /// of in the log, at once and then less and less often.
    ///
    /// Names without a prefix are looked up by the system's resolver, which cannot be interrupted. A stop waits for a
    /// look-up that is in progress. A start that needs look-ups to find the advertised address waits for them for 11 s
    /// at most; look-ups that are in progress then end by themselves.
    pub seeds: Vec<String>,

    /// The tags of this node, which all members see. Defaults to none.
    pub tags: Tags,

    /// The keys that packets and streams are sealed with. Without a keyring, everything is sent in the clear, and anybody
    /// who can send to this node can join and lie. Defaults to none.
    #[cfg(feature = "encryption")]
    pub keyring: Option<Keyring>,

    /// The value of the key `encryption` of [`set`](Self::set), for the keyring that it makes.
    #[cfg(feature = "encryption")]
    pub(super) encryption: Option<Encryption>,

    /// The file of a flight recording that begins with the node, see [`Gossip::record`](super::Gossip::record). Defaults to none.
    pub record: Option<PathBuf>,

    /// The most bytes of that file; at least 1 MiB. Smaller keeps a shorter history, larger takes more of the disk. Defaults to
    /// 64 MiB.
    pub record_limit: u64,

    /// The state file: what the node needs to find its cluster again after a restart, without seeds
    /// (`docs/operating/STATE_FILE.md`). Each node has a file of its own. It is created if it is missing, in a folder that
    /// exists; on Unix only its owner may read it.
    ///
    /// A node that restarts takes a later epoch than the one in its file, even if the clock is behind. It tries the
    /// addresses of the members in the file, failed ones too: a moment after the seeds, until one has answered, and later as
    /// it tries failed members. After a leave it does so only with [`rejoin_after_leave`](Self::rejoin_after_leave).
    /// Broadcasts that an earlier life received are not delivered again.
    ///
    /// A torn or damaged file keeps no node from starting: the part that can be read is used. The file of another node or
    /// cluster is an error of the start. If the disk is full or fails while the node runs, the node logs, counts and
    /// retries, and goes on.
    ///
    /// Defaults to none.
    pub state_file: Option<PathBuf>,

    /// Whether a node that left looks for the members of its [state file](Self::state_file) when it is restarted. Set it
    /// where most stops are restarts, since services are stopped with a leave. Defaults to false.
    pub rejoin_after_leave: bool,

    /// The size of the kernel's receive buffer to ask for, in bytes; the kernel may grant less. A buffer that is too small
    /// drops datagrams in bursts; a larger one takes kernel memory. Defaults to 4 MiB.
    pub recv_buffer: usize,

    /// The prefix of the environment variables that this configuration was made from, if it was.
    pub(super) env_prefix: Option<String>,
}

impl GossipConfig {
    /// The preset for nodes of one data centre.
    #[must_use]
    pub fn lan(name: impl Into<String>) -> Self {
        Self::new(swim::Config::lan(name), Ipv4Addr::UNSPECIFIED)
    }

    /// The preset for nodes across the internet.
    #[must_use]
    pub fn wan(name: impl Into<String>) -> Self {
        Self::new(swim::Config::wan(name), Ipv4Addr::UNSPECIFIED)
    }

    /// The preset for nodes of one host.
    #[must_use]
    pub fn local(name: impl Into<String>) -> Self {
        Self::new(swim::Config::local(name), Ipv4Addr::LOCALHOST)
    }

    fn new(swim: swim::Config, ip: Ipv4Addr) -> Self {
        Self {
            swim,
            bind: (ip, DEFAULT_PORT).into(),
            advertise: None,
            seeds: Vec::new(),
            tags: Tags::default(),
            #[cfg(feature = "encryption")]
            keyring: None,
            #[cfg(feature = "encryption")]
            encryption: None,
            record: None,
            record_limit: 64 << 20,
            state_file: None,
            rejoin_after_leave: false,
            recv_buffer: 4 << 20,
            env_prefix: None,
        }
    }

    /// Sets [`bind`](Self::bind): `"10.0.0.5:7946"`, a [`SocketAddr`](std::net::SocketAddr), or an address and a port.
    #[must_use]
    pub fn bind(self, addr: impl Into<HostPort>) -> Self {
        Self { bind: addr.into(), ..self }
    }

    /// Sets [`advertise`](Self::advertise).
    #[must_use]
    pub fn advertise(self, addr: impl Into<HostPort>) -> Self {
        Self { advertise: Some(addr.into()), ..self }
    }

    /// Adds to [`seeds`](Self::seeds).
    #[must_use]
    pub fn seed(mut self, seed: impl Into<String>) -> Self {
        self.seeds.push(seed.into());
        self
    }

    /// Sets [`tags`](Self::tags).
    #[must_use]
    pub fn tags(self, tags: Tags) -> Self {
        Self { tags, ..self }
    }

    /// Sets [`state_file`](Self::state_file).
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// # let path = std::env::temp_dir().join(format!("syncswim-doc-{}.state", std::process::id()));
    /// let config = GossipConfig::local("a").bind("127.0.0.1:0").state_file(&path);
    /// let node = Gossip::start(config)?;
    /// node.shutdown()?;
    /// assert!(path.exists());
    /// # let _ = std::fs::remove_file(path);
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    #[must_use]
    pub fn state_file(self, path: impl Into<PathBuf>) -> Self {
        Self { state_file: Some(path.into()), ..self }
    }

    /// Sets [`rejoin_after_leave`](Self::rejoin_after_leave).
    #[must_use]
    pub fn rejoin_after_leave(self, rejoin_after_leave: bool) -> Self {
        Self { rejoin_after_leave, ..self }
    }

    /// Sets [`recv_buffer`](Self::recv_buffer).
    #[must_use]
    pub fn recv_buffer(self, bytes: usize) -> Self {
        Self { recv_buffer: bytes, ..self }
    }

    /// Sets [`record`](Self::record).
    #[must_use]
    pub fn record(self, path: impl Into<PathBuf>) -> Self {
        Self { record: Some(path.into()), ..self }
    }

    /// Sets [`record_limit`](Self::record_limit).
    #[must_use]
    pub fn record_limit(self, bytes: u64) -> Self {
        Self { record_limit: bytes, ..self }
    }

    /// Sets [`keyring`](Self::keyring). The node shares it: later changes of it take effect at once.
    #[cfg(feature = "encryption")]
    #[must_use]
    pub fn keyring(self, ring: &Keyring) -> Self {
        Self { keyring: Some(ring.clone()), ..self }
    }

    /// Allows [these networks](swim::Config::allow) and no others.
    #[must_use]
    pub fn allow(mut self, networks: impl IntoIterator<Item = IpNetwork>) -> Self {
        self.swim.allow.get_or_insert_default().extend(networks);
        self
    }

    /// Sets the [cluster's name](swim::Config::cluster).
    #[must_use]
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.swim.cluster = name.into();
        self
    }

    /// Checks every field. Starting a node does it too.
    ///
    /// # Errors
    /// [`Error::Config`] with the first field that cannot work, and what it should be.
    pub fn validate(&self) -> Result<(), Error> {
        let checked = self.validate_but_addresses().and_then(|()| self.check_addresses());
        checked.map_err(|error| self.by_variables(error))
    }

    /// Checks every field but the addresses.
    pub(super) fn validate_but_addresses(&self) -> Result<(), Error> {
        self.swim.validate()?;
        let error = |field, problem: String| Err(Error::config(field, problem));
        let least = 1000 + self.sealing_overhead();
        if self.swim.max_datagram < least {
            return error("max_datagram", format!("must be at least {least} bytes where packets are sealed"));
        }
        if self.record.is_some() {
            check_limit(self.record_limit).map_err(|error| error.in_field("record_limit"))?;
        }
        if self.state_file.as_ref().is_some_and(|path| path.as_os_str().is_empty()) {
            return error("state_file", "is empty; give it a path, or leave it out".into());
        }
        self.check_key()?;
        let seeds = self.seeds.iter().try_for_each(|seed| seed::check("seeds", seed));
        seeds.map_err(|error| error.in_field("seeds"))
    }

    /// A configuration that asks for encryption but has no key would send everything in the clear.
    #[cfg(feature = "encryption")]
    fn check_key(&self) -> Result<(), Error> {
        match self.encryption {
            Some(encryption) if encryption != Encryption::Accept && self.keyring.is_none() => {
                let problem = format!("is {encryption}, but there is no key: set `key` too");
                Err(Error::config("encryption", problem))
            }
            _ => Ok(()),
        }
    }

    #[cfg(not(feature = "encryption"))]
    fn check_key(&self) -> Result<(), Error> {
        Ok(())
    }

    /// What sealing adds to a datagram, in bytes.
    #[cfg(feature = "encryption")]
    pub(super) fn sealing_overhead(&self) -> usize {
        if self.keyring.is_some() { crate::wire::seal::datagram::OVERHEAD } else { 0 }
    }

    #[cfg(not(feature = "encryption"))]
    pub(super) fn sealing_overhead(&self) -> usize {
        0
    }

    /// Checks that others can reach this node, and that it can reach a seed, as far as both are literal addresses.
    fn check_addresses(&self) -> Result<(), Error> {
        self.bind.check("bind")?;
        self.advertise.as_ref().map_or(Ok(()), |advertise| advertise.check("advertise"))?;
        let bind = self.bind.literal(DEFAULT_PORT).map(|addr| addr.ip());
        let advertise = self.advertise.as_ref().and_then(|advertise| advertise.literal(0));
        bind.map_or(Ok(()), check_bind)?;
        advertise.map_or(Ok(()), |addr| check_advertise(addr.ip()))?;
        bind.map_or(Ok(()), |ip| self.check_family(ip, Family::of_bind(ip)))
    }

    /// Checks that sockets bound to `bind` reach the address family, IPv4 or IPv6, of `advertise` and of a seed.
    pub(super) fn check_family(&self, bind: IpAddr, family: Family) -> Result<(), Error> {
        let advertise = self.advertise.as_ref().and_then(|advertise| advertise.literal(0));
        if let Some(addr) = advertise.filter(|addr| !family.reaches(addr.ip())) {
            let problem = format!("is {addr}, but `bind` is {bind}, of {family}; bind to [::] for both");
            return Err(Error::config("advertise", problem));
        }
        let can_be_reached =
            |seed: &String| seed::literal(seed, DEFAULT_PORT).is_none_or(|addr| family.reaches(addr.ip()));
        if !self.seeds.is_empty() && !self.seeds.iter().any(can_be_reached) {
            let seeds = some_of(&self.seeds);
            let problem = format!(
                "is {bind}, of {family}, and no seed is ({seeds}); bind to [::] for both, or take seeds of its family"
            );
            return Err(Error::config("bind", problem));
        }
        Ok(())
    }
}

/// Checks that a socket can be bound to an address, and that others can send to it.
pub(super) fn check_bind(ip: IpAddr) -> Result<(), Error> {
    match problem_of(ip).filter(|_| !ip.is_unspecified()) {
        Some(problem) => Err(Error::config(
            "bind",
            format!("{problem}; take an address of this host, or 0.0.0.0 or [::] for all"),
        )),
        None => Ok(()),
    }
}

/// Checks that others can send to an address.
pub(super) fn check_advertise(ip: IpAddr) -> Result<(), Error> {
    match problem_of(ip) {
        Some(problem) => {
            Err(Error::config("advertise", format!("{problem}; take one that others can send to")))
        }
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn problem(config: &GossipConfig) -> String {
        config.validate().map_or_else(|error| error.to_string(), |()| "fine".into())
    }

    #[test]
    fn addresses_that_cannot_work_are_named_with_their_field() {
        let lan = |bind: &str| GossipConfig::lan("a").bind(bind);
        let advertise = |bind, addr: &str| lan(bind).advertise(addr);
        let seeds = |bind, seeds: &[&str]| seeds.iter().fold(lan(bind), |config, seed| config.seed(*seed));
        let any = "0.0.0.0:0";
        let cases = [
            (lan(any).state_file(""), "`state_file` is empty; give it a path"),
            (lan("224.0.0.1:1"), "`bind` has 224.0.0.1, which is a multicast"),
            (lan("255.255.255.255:1"), "`bind` has 255.255.255.255, which is a broadcast"),
            (lan("[ff02::1]:1"), "`bind` has ff02::1, which is a multicast"),
            (lan("[fe80::1]:1"), "`bind` has fe80::1, which is link-local"),
            (advertise(any, "0.0.0.0:1"), "`advertise` has 0.0.0.0, which stands for every"),
            (advertise(any, "[::]:1"), "`advertise` has ::, which stands for every"),
            (advertise(any, "239.1.1.1:1"), "`advertise` has 239.1.1.1, which is a multicast"),
            (advertise(any, "255.255.255.255:1"), "`advertise` has 255.255.255.255, which is a broadcast"),
            (advertise(any, "[fe80::1]:1"), "`advertise` has fe80::1, which is link-local"),
            (
                advertise(any, "[2001:db8::1]:1"),
                "`advertise` is [2001:db8::1]:1, but `bind` is 0.0.0.0, of IPv4 alone",
            ),
            (
                advertise("[::1]:0", "10.0.0.1:1"),
                "`advertise` is 10.0.0.1:1, but `bind` is ::1, of IPv6 alone",
            ),
            (seeds("[::1]:0", &["10.0.0.1:1", "10.0.0.2"]), "`bind` is ::1, of IPv6 alone, and no seed is"),
            (seeds("127.0.0.1:0", &["[::1]:1"]), "`bind` is 127.0.0.1, of IPv4 alone, and no seed is"),
            (seeds("[::1]:0", &["db:0"]), "`seeds` has \"db:0\", which has the port 0,"),
            (seeds("[::1]:0", &["10.0.0.1:1", "[::1]:1"]), "fine"),
            (seeds("[::1]:0", &["10.0.0.1:1", "db:1"]), "fine"),
            (seeds("[::]:0", &["10.0.0.1:1"]), "fine"),
            (advertise("[::]:0", "10.0.0.1:1"), "fine"),
            (advertise(any, "10.0.0.1:0"), "fine"),
            (advertise(any, "10.0.0.1"), "fine"),
            (advertise("[::]", "node-a.example"), "fine"),
            (advertise("eth0:0", "[2001:db8::1]:1"), "fine"),
            (lan("a b:1"), "`bind` has \"a b:1\", which has ' ' in its host"),
            (lan("http://a"), "`bind` has \"http://a\", which is a URL"),
            (advertise(any, "db:x"), "`advertise` has \"db:x\", which has the port \"x\""),
            (lan("[::ffff:0.0.0.0]:1"), "fine"),
            (advertise("[::ffff:10.0.0.1]:1", "[2001:db8::1]"), "but `bind` is 10.0.0.1, of IPv4 alone"),
        ];
        for (config, expected) in cases {
            let problem = problem(&config);
            assert!(problem.contains(expected), "{problem}, not {expected}");
        }
    }
}
