//! SWIM gossip as a discovery: the one place where a node and a membership meet.
//!
//! Owns the node from `bind` to the stop, and passes its members on through a [`PeerMap`]. Knows nothing of the protocol.

use std::{
    borrow::Cow,
    fmt,
    net::{Ipv6Addr, TcpListener, UdpSocket},
    sync::{Arc, OnceLock},
};

use crossbeam_channel::{never, select};

use super::{
    Discovery,
    cluster::{Cluster, ClusterHandle},
    options::Options,
    peer_map::{PeerMap, PeerName},
};
use crate::{
    BoxError, Error, Event, Events, Gossip, GossipBuilder, GossipConfig, JoinProblem, Membership, Peer, Stop,
    Watch,
    gossip::Variables,
    log_line::{Topic, log},
    swim::JoinResult,
};

/// SWIM gossip as a discovery: runs a [`Gossip`] node and lists its members as peers.
///
/// Members that are alive or suspect are active peers. Those that left or failed have left, and the membership
/// [tells the two apart](crate::Snapshot::failed). Those that the node lists no longer are removed.
///
/// ```no_run
/// use syncswim::{Cluster, GossipConfig, GossipDiscovery};
///
/// let config = GossipConfig::lan("node-a").bind("0.0.0.0:7946");
/// let cluster = Cluster::new().with_discovery(GossipDiscovery::new(config).join("10.0.0.5:7946"));
/// let running = cluster.start()?;
/// # Ok::<(), syncswim::Error>(())
/// ```
pub struct GossipDiscovery {
    /// The node, which `bind` starts.
    node: GossipBuilder,
    options: Options,
    handle: GossipHandle,
    /// Discoveries whose peers are seeds, until `bind` starts them as `seed_feed`.
    seed_sources: Option<Cluster>,
    seed_feed: Option<SeedFeed>,
}

/// Running discoveries whose peers are seeds.
struct SeedFeed {
    running: ClusterHandle,
    changes: Watch,
}

impl GossipDiscovery {
    /// A node of this configuration.
    #[must_use]
    pub fn new(config: GossipConfig) -> Self {
        Self::with_options(config, Options::default())
    }

    pub(crate) fn with_options(config: GossipConfig, options: Options) -> Self {
        Self {
            node: Gossip::builder(config),
            options,
            handle: GossipHandle { node: Arc::default() },
            seed_sources: None,
            seed_feed: None,
        }
    }

    /// A node that is configured by environment variables, as [`GossipConfig::from_env`] says. Behind the prefix can also be
    /// `ATTEMPTS`, `PEER_NAME` and `LEAVE_ON_STOP`, with the values that [`set`](Self::set) takes.
    ///
    /// ```no_run
    /// use syncswim::{Cluster, GossipDiscovery};
    ///
    /// // SWIM_NAME=node-a SWIM_JOIN=10.0.0.5 SWIM_PEER_NAME=name program
    /// let running = Cluster::new().with_discovery(GossipDiscovery::from_env("SWIM_")?).start()?;
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`GossipConfig::from_env`].
    pub fn from_env(prefix: &str) -> Result<Self, Error> {
        let mut options = Options::default();
        // `set` is called with the keys of [`Options::KEYS`] alone, so nothing is set on this configuration.
        let mut none = GossipConfig::lan("");
        let set = |key: &str, value: &str| options.set(&mut none, key, value);
        let config = Variables::read(prefix, std::env::vars_os())?.into_config(Options::KEYS, set)?;
        Ok(Self::with_options(config, options))
    }

    /// Sets by text what the other methods do: `attempts` to a number, 0 for never; `peer_name` to `address`, `name` or
    /// `tag:KEY`; `leave_on_stop` to `true` or `false`; or a field of the node by a key of [`GossipConfig::set`].
    ///
    /// ```
    /// use syncswim::{GossipConfig, GossipDiscovery};
    ///
    /// let mut discovery = GossipDiscovery::new(GossipConfig::lan("node-a"));
    /// for line in ["join=10.0.0.5", "peer_name=tag:url", "attempts=10"] {
    ///     let (key, value) = line.split_once('=').unwrap();
    ///     discovery.set(key, value)?;
    /// }
    /// assert!(discovery.set("peer_name", "tag:").is_err());
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`GossipConfig::set`].
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        self.options.set(&mut self.node.config, key, value)
    }

    /// Makes the node join the cluster of this seed after its start. A seed is `host:port`, `host` for the port that this
    /// node binds, or [another form](GossipConfig::seeds) that leads to addresses. May be called for any number of seeds.
    /// Each is resolved and tried repeatedly, with back-off, for as long as the node runs.
    #[must_use]
    pub fn join(mut self, seed: impl Into<String>) -> Self {
        self.node.config.seeds.push(seed.into());
        self
    }

    /// Takes the active peers of another discovery as seeds, in addition to those of the configuration. A new seed is tried
    /// at once, and later with the others for as long as the discovery lists it. There are at most 1,024. A seed becomes a
    /// peer only once its node is a member. Each must have the form `host:port`, `host`, `dns+…` or `dnssrv+…`; others are
    /// left out, with a warning. May be called for any number of discoveries. If one of them fails, this discovery ends with
    /// its error.
    ///
    /// # Examples
    ///
    /// ```
    /// use syncswim::{Cluster, GossipConfig, GossipDiscovery, Membership, NoDiscovery, Stop};
    ///
    /// let config = |name| GossipConfig::local(name).bind(([127, 0, 0, 1], 0));
    /// let first = GossipDiscovery::new(config("a"));
    /// let node = first.gossip();
    /// let first = Cluster::new().with_discovery(first).start()?;
    /// let seed = node.get().unwrap().local().addr.to_string();
    ///
    /// // Or `DnsDiscovery::new("dnssrv+_gossip._tcp.db.svc")`, or one of your own.
    /// let second = GossipDiscovery::new(config("b")).seeds_from(NoDiscovery::new([seed]));
    /// let second = Cluster::new().with_discovery(second).start()?;
    /// let changes = second.membership().watch();
    /// while second.membership().snapshot().active().len() < 2 {
    ///     changes.recv()?;
    /// }
    /// # second.stop();
    /// # second.join()?;
    /// # first.stop();
    /// # first.join()?;
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn seeds_from(mut self, discovery: impl Discovery) -> Self {
        self.seed_sources = Some(self.seed_sources.take().unwrap_or_default().with_discovery(discovery));
        self
    }

    /// Gives up after this many failed attempts to join, counted until one succeeds; this ends the cluster with the error. An
    /// attempt has failed, too, if seeds answered but nobody can reach this node at the address that it
    /// [advertises](GossipConfig::advertise), which shows some probe intervals later. Zero counts as 1. Defaults to never.
    #[must_use]
    pub fn attempts(mut self, most: u32) -> Self {
        self.options.attempts = Some(most.max(1));
        self
    }

    /// The name of a member in the membership. Defaults to its address.
    #[must_use]
    pub fn peer_name(mut self, peer_name: PeerName) -> Self {
        self.options.peer_name = peer_name;
        self
    }

    /// Whether the node leaves the cluster when it is stopped, so that others see it as left. Otherwise it ends without a
    /// leave, and others declare it failed. Defaults to true.
    #[must_use]
    pub fn leave_on_stop(mut self, leave_on_stop: bool) -> Self {
        self.options.leave_on_stop = leave_on_stop;
        self
    }

    /// Runs on these sockets instead of binding its own, as
    /// [`GossipBuilder::sockets`] does.
    #[must_use]
    pub fn sockets(mut self, udp: UdpSocket, tcp: TcpListener) -> Self {
        self.node.sockets = Some((udp, tcp));
        self
    }

    /// Subscribes to the events of the node before it is started, so that none is missed.
    ///
    /// ```
    /// use syncswim::{Cluster, Event, GossipConfig, GossipDiscovery};
    ///
    /// let discovery = GossipDiscovery::new(GossipConfig::local("a").bind("127.0.0.1:0"));
    /// let events = discovery.events();
    /// let running = Cluster::new().with_discovery(discovery).start()?;
    /// assert!(matches!(events.recv(), Ok(Event::Joined { member, .. }) if *member.name == *"a"));
    /// # running.stop();
    /// # running.join()?;
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    pub fn events(&self) -> Events {
        self.node.events()
    }

    /// A handle to the node: for its members, tags, events and metrics once the cluster was started.
    #[must_use]
    pub fn gossip(&self) -> GossipHandle {
        self.handle.clone()
    }
}

/// Ends the node of a discovery that was bound but never started, even if a handle to it remains.
impl Drop for GossipDiscovery {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.handle.get().map(Gossip::abort) {
            log(Topic::EndedBadly, &[("error", &error.report())]);
        }
    }
}

/// Gives access to the node of a [`GossipDiscovery`] once its cluster was started. Cheap to clone.
#[derive(Debug, Clone)]
pub struct GossipHandle {
    node: Arc<OnceLock<Gossip>>,
}

impl GossipHandle {
    /// The node; `None` before the start. After a stop it is still there: its members can be read, and commands fail with
    /// [`Error::Stopped`].
    #[must_use]
    pub fn get(&self) -> Option<&Gossip> {
        self.node.get()
    }
}

impl Discovery for GossipDiscovery {
    fn name(&self) -> Cow<'_, str> {
        "gossip".into()
    }

    fn bind(&mut self) -> Result<(), BoxError> {
        let node = self.node.start_once()?;
        self.handle.node.set(node).map_err(|_| Error::Stopped)?;
        if let Some(sources) = self.seed_sources.take() {
            let changes = sources.membership().watch();
            self.seed_feed = Some(SeedFeed { running: sources.start()?, changes });
        }
        Ok(())
    }

    fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError> {
        let Some(node) = self.handle.node.get() else { return Err(Error::Stopped.into()) };
        let mut peers = PeerMap::new(&self.options.peer_name, membership);
        let mut patience = self.options.attempts.map(Patience::new);
        let (members, mut events) = node.follow();
        peers.reset(&members);
        let feed = self.seed_feed.take();
        let mut offered = feed.as_ref().map_or_else(never, |feed| feed.changes.receiver().clone());
        let result = loop {
            select! {
                recv(offered) -> token => {
                    if let Some(feed) = &feed {
                        feed.offer_to(node);
                    }
                    // All discoveries of seeds have ended, perhaps because one has failed.
                    if token.is_err() {
                        offered = never();
                        if feed.as_ref().is_some_and(SeedFeed::has_failed) {
                            break Ok(());
                        }
                    }
                },
                recv(stop.receiver()) -> _ => break Ok(()),
                recv(node.ended()) -> _ => break Ok(()),
                recv(events.receiver()) -> _ => {
                    while let Ok(event) = events.try_recv() {
                        if let Event::Lagged { .. } = event {
                            let (members, anew) = node.follow();
                            peers.reset(&members);
                            events = anew;
                        }
                        peers.follow(&event);
                    }
                },
                recv(node.seeds_tried()) -> tried => match tried {
                    Ok(result) => {
                        let has_run_out = patience.as_mut().is_some_and(|patience| patience.count_attempt(&result));
                        if let (true, Err(problem)) = (has_run_out, result) {
                            break Err(node.seeds_error(&problem).into());
                        }
                    }
                    Err(_) => break Ok(()),
                },
            }
        };
        feed.iter().for_each(|feed| feed.running.stop());
        let ended = if self.options.leave_on_stop { node.shutdown() } else { node.abort() };
        let fed = feed.map_or(Ok(()), |feed| feed.running.join());
        result.and(fed.map_err(Into::into)).and(ended.map_err(Into::into))
    }
}

impl SeedFeed {
    /// Makes the present active peers seeds of the node.
    fn offer_to(&self, node: &Gossip) {
        while self.changes.try_recv().is_ok() {}
        let peers = self.running.membership().snapshot();
        // Without brackets, the end of an IPv6 address could be meant as a port.
        let seed = |peer: &Peer| match peer.parse::<Ipv6Addr>() {
            Ok(ip) => format!("[{ip}]"),
            Err(_) => peer.to_string(),
        };
        node.offer_seeds(peers.active().iter().map(seed).collect());
    }

    fn has_failed(&self) -> bool {
        self.running.has_failed()
    }
}

/// Counts failed attempts to join. After a success, attempts count only as failed if no member can reach this node.
#[derive(Debug)]
struct Patience {
    left: u32,
    joined: bool,
}

impl Patience {
    fn new(attempts: u32) -> Self {
        Self { left: attempts, joined: false }
    }

    /// Counts the outcome of an attempt. Returns whether it was the last failure that is allowed.
    fn count_attempt(&mut self, tried: &JoinResult) -> bool {
        match tried {
            // The node was alone: this attempt has not failed.
            Ok(0) => {}
            Ok(_) => self.joined = true,
            Err(JoinProblem::AddressUnreachable { .. }) => self.left = self.left.saturating_sub(1),
            Err(_) if self.joined => {}
            Err(_) => self.left = self.left.saturating_sub(1),
        }
        self.left == 0
    }
}

impl fmt::Debug for GossipDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GossipDiscovery")
            .field("node", &self.node)
            .field("options", &self.options)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn attempts_count_until_a_join_has_succeeded_and_one_in_vain_has_not() {
        let addr = ([127, 0, 0, 1], 1).into();
        let (refused, in_vain) =
            (Err(JoinProblem::Refused { addr }), Err(JoinProblem::AddressUnreachable { addr }));
        let mut patience = Patience::new(2);
        assert!(!patience.count_attempt(&refused) && patience.count_attempt(&refused));
        let mut patience = Patience::new(2);
        assert!(
            !patience.count_attempt(&Ok(0)) && !patience.count_attempt(&refused),
            "it has found itself alone"
        );
        assert!(patience.count_attempt(&refused));
        let mut patience = Patience::new(2);
        assert!(!patience.count_attempt(&Ok(1)));
        assert!((0..9).all(|_| !patience.count_attempt(&refused)), "it was in already");
        assert!(!patience.count_attempt(&in_vain) && patience.count_attempt(&in_vain));
    }

    #[test]
    fn the_discovery_has_the_name_gossip() {
        assert_eq!(GossipDiscovery::new(GossipConfig::local("a")).name(), "gossip");
    }

    #[test]
    fn discoveries_of_seeds_that_end_without_an_error_have_not_failed() {
        let sources = Cluster::new().with_discovery(crate::NoDiscovery::new(["127.0.0.1:9"]));
        let changes = sources.membership().watch();
        let feed = SeedFeed { running: sources.start().unwrap(), changes };
        feed.running.stop();
        while feed.changes.recv().is_ok() {}
        assert!(!feed.has_failed(), "they have ended");
    }
}
