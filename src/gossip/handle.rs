//! `Gossip`, the handle of a running node.

use std::{
    fmt,
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
};

use crossbeam_channel::Receiver;

#[cfg(feature = "encryption")]
use super::rotation::{RotateOptions, Rotation, Rotator};
use super::{
    config::GossipConfig,
    directory::{Directory, Members},
    events::Events,
    resolve,
    running::Running,
    sockets::Sockets,
};
#[cfg(feature = "encryption")]
use crate::Key;
use crate::{
    Error, Tags,
    swim::{JoinProblem, JoinResult, Member, Metrics, Time},
};

/// A running node, for those who want more than a sorted list of peers.
///
/// It is a handle: clones lead to the same node, for any number of threads. Dropping the last of them, like
/// [`shutdown`](Self::shutdown) of any of them, leaves the cluster and ends every thread; the others then get
/// [`Error::Stopped`].
///
/// ```
/// use syncswim::{Gossip, GossipConfig};
///
/// let a = Gossip::start(GossipConfig::local("a").bind(([127, 0, 0, 1], 0)))?;
/// let b = Gossip::start(GossipConfig::local("b").bind(([127, 0, 0, 1], 0)))?;
/// b.join([a.local().addr.to_string()])?;
/// assert_eq!(b.members().iter().map(|m| &*m.name).collect::<Vec<_>>(), ["a", "b"]);
/// b.shutdown()?;
/// # Ok::<(), syncswim::Error>(())
/// ```
#[derive(Clone)]
#[must_use = "dropping the last handle shuts the node down"]
pub struct Gossip {
    running: Arc<Running>,
}

impl Gossip {
    /// Binds the sockets and starts the threads. The node then looks for its seeds by itself; without any, it
    /// is a cluster of one until it joins or is joined.
    ///
    /// # Errors
    /// [`Error::Config`] for a field that cannot work, `allow` without our own address for one,
    /// [`Error::Resolve`] for a `bind` or `advertise` that has no address, [`Error::Bind`] for an address that cannot be had,
    /// [`Error::Spawn`] if threads cannot. Nothing is left behind then.
    pub fn start(config: GossipConfig) -> Result<Self, Error> {
        Self::start_publishing(config, None, Arc::default())
    }

    /// [`start`](Self::start) with a subscription that misses no event: the first is that this node has joined. Who only
    /// wants the members and what happens to them afterwards has [`follow`](Self::follow).
    ///
    /// ```
    /// use syncswim::{Event, Gossip, GossipConfig};
    ///
    /// let config = GossipConfig::local("a").bind("127.0.0.1:0");
    /// let (node, events) = Gossip::start_with_events(config)?;
    /// assert!(matches!(events.try_recv(), Ok(Event::Joined { member, .. }) if *member.name == *"a"));
    /// # drop(node);
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// As [`start`](Self::start).
    pub fn start_with_events(config: GossipConfig) -> Result<(Self, Events), Error> {
        let directory = Arc::new(Directory::default());
        let events = directory.events();
        Ok((Self::start_publishing(config, None, directory)?, events))
    }

    /// Starts a node on sockets that somebody else bound: a service manager (socket activation), another network namespace,
    /// a test that must know the port before. [`bind`](GossipConfig::bind) is not looked at; everything else of the
    /// configuration is, and the advertised address is found as it is for sockets of our own.
    ///
    /// Both must be bound to one address and port; the UDP socket must not be connected, the TCP socket must listen. They are
    /// made blocking, and nobody else may read from them, also not through a duplicate. The receive buffer is asked for.
    ///
    /// Streams to others are sockets that the node opens itself: from the same address, unless it is unspecified, and any
    /// port. They, and the look-up of routes and names, take place in the network namespace of the thread that calls this;
    /// so for sockets of another namespace, enter it before. Options of the sockets (marks, devices) do not pass on to them.
    ///
    /// ```
    /// use std::net::{TcpListener, UdpSocket};
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let tcp = TcpListener::bind("127.0.0.1:0")?;
    /// let udp = UdpSocket::bind(tcp.local_addr()?)?;
    /// let port = tcp.local_addr()?.port();
    /// let node = Gossip::start_on(GossipConfig::local("a"), udp, tcp)?;
    /// assert_eq!(node.bound_addr().port(), port);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] for a field that cannot work, or with the field `sockets` for sockets that cannot,
    /// [`Error::Resolve`] for an `advertise` that has no address, [`Error::Spawn`] if threads cannot be had. The sockets are
    /// closed then.
    pub fn start_on(config: GossipConfig, udp: UdpSocket, tcp: TcpListener) -> Result<Self, Error> {
        Self::start_publishing(config, Some((udp, tcp)), Arc::default())
    }

    /// Starts a node whose events go to the readers of `directory`, on sockets that were handed over or on its own.
    fn start_publishing(
        config: GossipConfig,
        sockets: Option<(UdpSocket, TcpListener)>,
        directory: Arc<Directory>,
    ) -> Result<Self, Error> {
        let sockets = match sockets {
            Some((udp, tcp)) => {
                config.validate_but_addresses()?;
                Sockets::adopt(&config, udp, tcp)?
            }
            None => {
                config.validate()?;
                Sockets::bind(&config)?
            }
        };
        Ok(Self { running: Arc::new(Running::start(config, sockets, directory)?) })
    }

    /// Contacts seeds, of [any kind](GossipConfig::seeds), now and waits until the first is reached; afterwards they are tried again and again like those of the
    /// configuration. Returns how many were reached by then: 0 if this node is its own seed.
    ///
    /// Seeds of a join that failed are not kept. At most 256 are; beyond that, those of the earliest join give way.
    ///
    /// # Errors
    /// [`Error::Config`] if there is no seed, if one is not `host:port` or `host`, or if `allow` or the address family of
    /// `bind` holds none of them, [`Error::Resolve`] if no seed has an address, [`Error::NameTaken`] if a live node has our
    /// name, [`Error::Join`] if none could be reached, [`Error::Left`] after [`leave`](Self::leave), [`Error::Stopped`] if
    /// the node has ended.
    pub fn join<S: AsRef<str>>(&self, seeds: impl IntoIterator<Item = S>) -> Result<usize, Error> {
        self.running.check_present()?;
        let seeds: Vec<String> = seeds.into_iter().map(|seed| seed.as_ref().to_owned()).collect();
        check_seeds(&seeds)?;
        self.running.join(seeds)
    }

    /// Every listed member, this node included, by ascending name. O(1); see [`Members`] for what reading them costs.
    #[must_use]
    pub fn members(&self) -> Members {
        self.running.publication.directory.members()
    }

    /// This node, as others see it.
    #[must_use]
    pub fn local(&self) -> Member {
        self.running.node.command(|node, _| node.local())
    }

    /// Where this node listens, over UDP and TCP, with the port that was bound. Others are told the address of
    /// [`local`](Self::local), which differs where this one is unspecified or another is advertised.
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let node = Gossip::start(GossipConfig::local("a").bind("0.0.0.0:0").advertise("127.0.0.1:7946"))?;
    /// assert!(node.bound_addr().ip().is_unspecified() && node.bound_addr().port() != 0);
    /// assert_eq!(node.local().addr.to_string(), "127.0.0.1:7946");
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    #[must_use]
    pub fn bound_addr(&self) -> SocketAddr {
        self.running.bound
    }

    /// The moment, on the clock that [`Member::since`](crate::Member::since) and
    /// [`Verdict::suspected`](crate::Verdict::suspected) are told by.
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let node = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// for member in &node.members() {
    ///     println!("{} is {} for {:?}", member.name, member.state, node.time().since(member.since));
    /// }
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    #[must_use]
    pub fn time(&self) -> Time {
        self.running.node.now()
    }

    /// Subscribes to all events from now on.
    pub fn events(&self) -> Events {
        self.running.publication.directory.events()
    }

    /// The members at this moment, and a subscription to exactly what happens to them afterwards: no event is missing, and
    /// none tells of what the members show already. For a start, and after [`Event::Lost`](crate::Event::Lost).
    pub fn follow(&self) -> (Members, Events) {
        self.running.publication.directory.follow()
    }

    /// Shows other tags to the cluster.
    ///
    /// # Errors
    /// [`Error::Left`] after [`leave`](Self::leave), [`Error::Stopped`] if the node has ended.
    pub fn set_tags(&self, tags: Tags) -> Result<(), Error> {
        self.running.check_present()?;
        self.running.node.command(|node, now| node.set_tags(now, tags));
        self.running.node.wake();
        Ok(())
    }

    /// Says good-bye and waits until some members have heard it, at most
    /// [`leave_timeout`](crate::swim::Config::leave_timeout); whoever gets no datagrams is told by stream. The node goes on answering until it is shut
    /// down, but cannot join again or show other tags.
    ///
    /// # Errors
    /// [`Error::Unheard`] if no member confirmed it: others may take this node for failed; [`Error::Stopped`] if the node has
    /// ended; [`Error::Timeout`] if it did not get to it in time.
    pub fn leave(&self) -> Result<(), Error> {
        self.running.leave()
    }

    /// Where members see this node's datagrams come from, if that is not the address that it advertises, and if a member
    /// said so lately: a translator of addresses is on the way, say. That is normal as long as the advertised address works;
    /// if it does not, [`Event::ReachabilityLost`](crate::Event::ReachabilityLost) says so.
    #[must_use]
    pub fn observed_addr(&self) -> Option<SocketAddr> {
        self.running.node.command(|node, _| node.observed_addr())
    }

    /// Counters and gauges of the protocol.
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        let mut metrics = self.running.node.command(|node, _| node.metrics());
        self.running.talk.counters.add_to(&mut metrics);
        metrics
    }

    /// Leaves, then ends every thread and closes every socket. Calls after the first only wait for it.
    ///
    /// # Errors
    /// What had ended the node before, if something had: [`Error::Panicked`], at each call.
    pub fn shutdown(&self) -> Result<(), Error> {
        self.running.shutdown()
    }

    /// Ends every thread and closes every socket without a farewell: to the others it looks like a crash.
    ///
    /// # Errors
    /// As [`shutdown`](Self::shutdown).
    pub fn abort(&self) -> Result<(), Error> {
        self.running.abort()
    }

    /// Changes the key of the whole cluster, in three steps, and says how far each live member came. If one does
    /// not follow, no later step is taken: all still understand each other then, and the call may be repeated
    /// with the same key. Members that are down keep the old key alone and cannot come back without the new one.
    ///
    /// It takes one stream per member and step, sealed with the key in use and an ephemeral one, so that a recording
    /// and the old key do not reveal the new one. Change one key at a time: of two that are changed at once, some
    /// members may end up with the one and some with the other. A ring that is full drops its oldest key for the new one.
    ///
    /// # Errors
    /// [`Error::Key`] if this node has no keyring, [`Error::Stopped`] if it has ended.
    #[cfg(feature = "encryption")]
    pub fn rotate_key(&self, key: &Key) -> Result<Rotation, Error> {
        self.rotate_key_with(key, &RotateOptions::new())
    }

    /// [`rotate_key`](Self::rotate_key) without those who are not to be told the new key.
    ///
    /// It keeps the key from hosts that were lost, not from somebody who holds the old key, listens and wants the new
    /// one: that one can have joined under any name. Then hand the new key over by another way, and change it by
    /// hand on each node's [`Keyring`](crate::Keyring).
    ///
    /// # Errors
    /// As `rotate_key`, and [`Error::Key`] if a name to exclude is this node's own or no known member's. Nothing was
    /// changed then.
    #[cfg(feature = "encryption")]
    pub fn rotate_key_with(&self, key: &Key, options: &RotateOptions) -> Result<Rotation, Error> {
        self.running.check_running()?;
        self.rotator().rotate(key, options)
    }

    #[cfg(feature = "encryption")]
    pub(super) fn rotator(&self) -> Rotator<'_> {
        let Running { talk, publication, config, .. } = &*self.running;
        Rotator { talk, directory: &publication.directory, stream_timeout: config.stream_timeout }
    }

    /// Disconnected once the node has ended.
    pub(crate) fn ended(&self) -> &Receiver<std::convert::Infallible> {
        self.running.node.stop.receiver()
    }

    /// Replaces the seeds that come from a discovery; those that are new are contacted at once.
    pub(crate) fn offer_seeds(&self, seeds: Vec<String>) {
        self.running.seeds.offer(seeds);
    }

    /// How each round of contacting the seeds ended.
    pub(crate) fn seeds_tried(&self) -> &Receiver<JoinResult> {
        &self.running.seeds_tried
    }

    /// Why the seeds could not be joined, as an error.
    pub(crate) fn seeds_error(&self, problem: &JoinProblem) -> Error {
        let seeds = &self.running.seeds;
        seeds.join_error(&seeds.to_vec(), problem)
    }
}

impl fmt::Debug for Gossip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gossip").field("local", &self.local()).finish_non_exhaustive()
    }
}

fn check_seeds(seeds: &[String]) -> Result<(), Error> {
    if seeds.is_empty() {
        let problem = "has nobody to join; give host:port of at least one node".into();
        return Err(Error::Config { field: "seeds", problem });
    }
    seeds.iter().try_for_each(|seed| resolve::check(seed))
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
