//! Peers that find each other by gossip: the one place where the node and the membership meet.
//!
//! Alive and suspect members are active peers, left and failed ones have left, reaped ones are removed.

use std::{
    borrow::Cow,
    collections::HashMap,
    fmt, mem,
    net::{TcpListener, UdpSocket},
    sync::{Arc, OnceLock},
};

use crossbeam_channel::{never, select};

use super::Discovery;
use crate::{
    BoxError, Cluster, ClusterHandle, Error, Event, Gossip, GossipConfig, Member, Members, Membership, Peer,
    Stop, Watch, swim::JoinProblem,
};

/// What a member is called in the membership.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum PeerName {
    /// Its address with port: what others can connect to.
    #[default]
    Address,
    /// Its name: what stays the same when it moves.
    Name,
    /// The value of this tag; members without it are no peers.
    Tag(String),
}

impl PeerName {
    fn of(&self, member: &Member) -> Option<Peer> {
        match self {
            Self::Address => Some(member.addr.to_string().into()),
            Self::Name => Some(Arc::clone(&member.name)),
            Self::Tag(key) => member.tags.get(key).map(Peer::from),
        }
    }
}

/// SWIM gossip as a discovery: runs a [`Gossip`] node and lists its members.
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
    config: GossipConfig,
    naming: PeerName,
    attempts: Option<u32>,
    leave_on_stop: bool,
    sockets: Option<(UdpSocket, TcpListener)>,
    handle: GossipHandle,
    /// Discoveries whose peers are seeds, before they are started.
    sources: Option<Cluster>,
    feed: Option<Feed>,
}

/// Discoveries that run, whose peers are seeds.
struct Feed {
    running: ClusterHandle,
    changes: Watch,
}

impl GossipDiscovery {
    /// A node of this configuration.
    #[must_use]
    pub fn new(config: GossipConfig) -> Self {
        let (naming, handle) = (PeerName::default(), GossipHandle::default());
        Self {
            config,
            naming,
            attempts: None,
            leave_on_stop: true,
            sockets: None,
            handle,
            sources: None,
            feed: None,
        }
    }

    /// Joins through this seed: `host:port`, `host` for the port we bind, or [what else](GossipConfig::seeds) a seed can be.
    /// May be called for any number of seeds. Each is resolved and tried again and again, with back-off, for as long as the
    /// node runs.
    #[must_use]
    pub fn join(mut self, seed: impl Into<String>) -> Self {
        self.config.seeds.push(seed.into());
        self
    }

    /// Takes the active peers of another discovery as seeds, beside those of the configuration: those it finds at any time are
    /// tried at once, and with the others for as long as it lists them, at most 1,024. They are not listed as peers for
    /// that. Each must be a seed of the kinds `host:port`, `host`, `dns+…` or `dnssrv+…`; others are left out, with a
    /// warning. May be called for any number of discoveries. One that fails ends this discovery with its error.
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
        self.sources = Some(self.sources.take().unwrap_or_default().with_discovery(discovery));
        self
    }

    /// Gives up if none of the first tries to reach a seed succeeds; that ends the cluster with the error. A try has not
    /// succeeded either if seeds answered but nobody can reach this node where it
    /// [advertises](GossipConfig::advertise) itself, which shows some probe intervals later. Defaults to never.
    #[must_use]
    pub fn attempts(mut self, most: u32) -> Self {
        self.attempts = Some(most.max(1));
        self
    }

    /// What members are called in the membership. Defaults to their addresses.
    #[must_use]
    pub fn peer_name(mut self, naming: PeerName) -> Self {
        self.naming = naming;
        self
    }

    /// Whether a stop tells the others that we leave; if not, they will find that we failed. Defaults to true.
    #[must_use]
    pub fn leave_on_stop(mut self, leave_on_stop: bool) -> Self {
        self.leave_on_stop = leave_on_stop;
        self
    }

    /// Runs on these instead of binding sockets, as [`Gossip::start_on`] does.
    #[must_use]
    pub fn sockets(mut self, udp: UdpSocket, tcp: TcpListener) -> Self {
        self.sockets = Some((udp, tcp));
        self
    }

    /// A handle to the node: for its members, tags, events and metrics once the cluster was started.
    #[must_use]
    pub fn gossip(&self) -> GossipHandle {
        self.handle.clone()
    }
}

/// A discovery that was bound but never started leaves no node behind, even if somebody holds a handle.
impl Drop for GossipDiscovery {
    fn drop(&mut self) {
        if let Some(Err(error)) = self.handle.get().map(Gossip::abort) {
            log::error!("{}", error.report());
        }
    }
}

/// Leads to the node of a [`GossipDiscovery`] once its cluster was started. Cheap to clone.
#[derive(Debug, Clone, Default)]
pub struct GossipHandle {
    node: Arc<OnceLock<Gossip>>,
}

impl GossipHandle {
    /// The node; `None` before the start. After a stop it can still be asked, and says that it has stopped.
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
        let node = match self.sockets.take() {
            Some((udp, tcp)) => Gossip::start_on(self.config.clone(), udp, tcp)?,
            None => Gossip::start(self.config.clone())?,
        };
        self.handle.node.set(node).map_err(|_| Error::Stopped)?;
        if let Some(sources) = self.sources.take() {
            let changes = sources.membership().watch();
            self.feed = Some(Feed { running: sources.start()?, changes });
        }
        Ok(())
    }

    fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError> {
        let Some(node) = self.handle.node.get() else { return Err(Error::Stopped.into()) };
        let mut peer_map = PeerMap::new(&self.naming, membership);
        let mut patience = self.attempts.map(Patience::new);
        let (members, mut events) = node.follow();
        peer_map.reset(&members);
        let feed = self.feed.take();
        let mut offered = feed.as_ref().map_or_else(never, |feed| feed.changes.receiver().clone());
        let result = loop {
            select! {
                recv(offered) -> token => {
                    if let Some(feed) = &feed {
                        feed.offer_to(node);
                    }
                    // All sources have ended, perhaps because one has failed.
                    if token.is_err() {
                        offered = never();
                        if feed.as_ref().is_some_and(Feed::has_failed) {
                            break Ok(());
                        }
                    }
                },
                recv(stop.receiver()) -> _ => break Ok(()),
                recv(node.ended()) -> _ => break Ok(()),
                recv(events.receiver()) -> _ => {
                    while let Ok(event) = events.try_recv() {
                        if let Event::Lost(_) = event {
                            let (members, anew) = node.follow();
                            peer_map.reset(&members);
                            events = anew;
                        }
                        peer_map.follow(&event);
                    }
                },
                recv(node.seeds_tried()) -> tried => match tried {
                    Ok(Err(problem)) => {
                        if patience.as_mut().is_some_and(|patience| patience.has_run_out(&problem)) {
                            break Err(node.seeds_error(&problem).into());
                        }
                    }
                    Ok(Ok(_)) => patience.iter_mut().for_each(|patience| patience.joined = true),
                    Err(_) => break Ok(()),
                },
            }
        };
        feed.iter().for_each(|feed| feed.running.stop());
        let ended = if self.leave_on_stop { node.shutdown() } else { node.abort() };
        let fed = feed.map_or(Ok(()), |feed| feed.running.join());
        result.and(fed.map_err(Into::into)).and(ended.map_err(Into::into))
    }
}

impl Feed {
    /// Makes the peers of now seeds.
    fn offer_to(&self, node: &Gossip) {
        while self.changes.try_recv().is_ok() {}
        let peers = self.running.membership().snapshot();
        node.offer_seeds(peers.active().iter().map(|peer| peer.to_string()).collect());
    }

    fn has_failed(&self) -> bool {
        self.running.has_failed()
    }
}

/// Counts failed tries; after a success, only that it turned out to be none.
#[derive(Debug)]
struct Patience {
    left: u32,
    joined: bool,
}

impl Patience {
    fn new(attempts: u32) -> Self {
        Self { left: attempts, joined: false }
    }

    fn has_run_out(&mut self, problem: &JoinProblem) -> bool {
        if !self.joined || matches!(problem, JoinProblem::Unreached { .. }) {
            self.left = self.left.saturating_sub(1);
        }
        self.left == 0
    }
}

/// Which member stands for which peer. Several may stand for one: a new name at an old address, say.
struct PeerMap<'a> {
    naming: &'a PeerName,
    membership: &'a Membership,
    members: HashMap<Arc<str>, (Peer, bool)>,
    peers: HashMap<Peer, Count>,
}

/// Members that stand for a peer.
#[derive(Debug, Clone, Copy, Default)]
struct Count {
    listed: usize,
    live: usize,
}

impl<'a> PeerMap<'a> {
    fn new(naming: &'a PeerName, membership: &'a Membership) -> Self {
        Self { naming, membership, members: HashMap::new(), peers: HashMap::new() }
    }

    fn follow(&mut self, event: &Event) {
        match event {
            Event::Reaped(member) => self.set(&member.name, None),
            event => event.member().into_iter().for_each(|member| self.put(member)),
        }
    }

    /// Takes over all members, after events were lost or before there were any.
    fn reset(&mut self, members: &Members) {
        let mut gone = mem::take(&mut self.members);
        for member in members {
            if let Some(known) = gone.remove(&member.name) {
                self.members.insert(Arc::clone(&member.name), known);
            }
            self.put(member);
        }
        let mut gone: Vec<_> = gone.into_iter().collect();
        gone.sort_unstable();
        for (name, known) in gone {
            self.members.insert(Arc::clone(&name), known);
            self.set(&name, None);
        }
    }

    fn put(&mut self, member: &Member) {
        let peer = self.naming.of(member);
        self.set(&member.name, peer.map(|peer| (peer, member.state.is_live())));
    }

    fn set(&mut self, name: &Arc<str>, now: Option<(Peer, bool)>) {
        let before = match &now {
            Some(now) => self.members.insert(Arc::clone(name), now.clone()),
            None => self.members.remove(name),
        };
        if before == now {
            return;
        }
        if let Some((peer, live)) = &now {
            let count = self.peers.entry(Arc::clone(peer)).or_default();
            (count.listed, count.live) = (count.listed + 1, count.live + usize::from(*live));
        }
        if let Some((peer, live)) = &before {
            let count = self.peers.entry(Arc::clone(peer)).or_default();
            (count.listed, count.live) = (count.listed - 1, count.live - usize::from(*live));
        }
        // A member that moved is listed under its new peer before the old one goes.
        for (peer, _) in now.iter().chain(&before) {
            self.tell(peer);
        }
    }

    fn tell(&mut self, peer: &Peer) {
        match self.peers.get(peer).copied().unwrap_or_default() {
            Count { live: 1.., .. } => self.membership.add([peer]),
            // It may have failed or left before we could call it active.
            Count { listed: 1.., .. } => self.membership.gone([peer]),
            _ => {
                self.peers.remove(peer);
                self.membership.remove([peer]);
            }
        }
    }
}

impl fmt::Debug for GossipDiscovery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GossipDiscovery")
            .field("config", &self.config)
            .field("naming", &self.naming)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, MemberState, Tags};

    fn member(name: &str, state: MemberState) -> Member {
        let addr = ([127, 0, 0, 1], 1).into();
        let identity = Identity { epoch: 1, incarnation: 0 };
        Member { name: name.into(), addr, state, tags: Tags::default(), identity }
    }

    #[test]
    fn after_a_loss_the_membership_stands_exactly_as_the_members() {
        use MemberState::{Alive, Failed, Left, Suspect};
        let (membership, naming) = (Membership::new(), PeerName::Name);
        let speaker = membership.for_source(crate::membership::SourceId(0));
        let mut peer_map = PeerMap::new(&naming, &speaker);
        let rounds = [
            vec![("a", Alive), ("b", Failed), ("c", Left), ("d", Suspect)],
            vec![("a", Left), ("b", Alive), ("e", Failed), ("f", Failed)],
            vec![("a", Failed), ("b", Failed)],
            vec![],
        ];
        for round in rounds {
            peer_map.reset(&round.iter().map(|(name, state)| member(name, *state)).collect());
            let names = |live| {
                let those = round.iter().filter(|(_, state)| state.is_live() == live);
                those.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
            };
            let snapshot = membership.snapshot();
            assert_eq!([snapshot.active().join(" "), snapshot.left().join(" ")], [names(true), names(false)]);
            assert_eq!(membership.majority(), round.len() / 2 + 1);
        }
    }

    #[test]
    fn attempts_count_until_a_join_has_succeeded_and_one_in_vain_has_not() {
        let addr = ([127, 0, 0, 1], 1).into();
        let (refused, in_vain) = (JoinProblem::Refused(addr), JoinProblem::Unreached { addr });
        let mut patience = Patience::new(2);
        assert!(!patience.has_run_out(&refused) && patience.has_run_out(&refused));
        let mut patience = Patience::new(2);
        patience.joined = true;
        assert!((0..9).all(|_| !patience.has_run_out(&refused)), "it was in already");
        assert!(!patience.has_run_out(&in_vain) && patience.has_run_out(&in_vain));
    }
}
