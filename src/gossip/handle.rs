//! `Gossip`, the handle of a running node.

use std::{fmt, net::SocketAddr, path::Path, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, RecvTimeoutError};

#[cfg(feature = "encryption")]
use super::rotation::{RotateOptions, Rotation, Rotator};
use super::{
    builder::GossipBuilder, config::GossipConfig, directory::Members, events::Events, running::Running, seed,
};
#[cfg(feature = "encryption")]
use crate::Key;
use crate::{
    Error, Tags, blocking,
    swim::{Explanation, JoinProblem, JoinResult, Member, Metrics, Node, ProbeStats, Standing, Status, Time},
};

/// A running node: its members with their states, addresses and tags, its events, and its metrics.
///
/// This is a handle. Clones are handles of the same node, and any thread may use one. The node runs until
/// [`shutdown`](Self::shutdown) or [`abort`](Self::abort) is called on any handle, or the last handle is dropped, which is a
/// shutdown. The methods of the other handles then return [`Error::Stopped`].
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
    pub(super) running: Arc<Running>,
}

impl Gossip {
    /// Binds the sockets and starts the threads. The node then joins through the seeds of its configuration by itself. Without
    /// seeds it is a cluster of one, until [`join`](Self::join) is called or another node joins through it.
    ///
    /// # Errors
    /// [`Error::Config`] if a field cannot work, for instance `allow` without the node's own address; [`Error::Resolve`] if
    /// `bind` or `advertise` has no address; [`Error::Bind`] if no address of `bind` can be bound; [`Error::Spawn`] if the
    /// system refuses a thread; [`Error::Randomness`] if it has no random bytes for the keys. Nothing is left behind then.
    pub fn start(config: GossipConfig) -> Result<Self, Error> {
        Self::builder(config).start()
    }

    /// A node before its start, for programs that have sockets that are bound already, or subscribe to its events before the
    /// start.
    pub fn builder(config: GossipConfig) -> GossipBuilder {
        GossipBuilder::new(config)
    }

    /// Joins a cluster through seeds of [any kind](GossipConfig::seeds), and waits until the first of them is reached. Returns
    /// how many were reached by then: 0 if this node is its only seed.
    ///
    /// After a success the seeds are kept and tried repeatedly, like those of the configuration; at most 256 are kept, and
    /// beyond that those of the earliest join are dropped. After a failure they are not kept.
    ///
    /// # Errors
    /// [`Error::Invalid`] if there is no seed, if a text is not a seed, or if `allow` or the address family of `bind` excludes
    /// all of them; [`Error::Resolve`] if no seed has an address, except for those that are this node itself;
    /// [`Error::NameTaken`] if a live node has this node's name; [`Error::Join`] if no seed was reached;
    /// [`Error::AddressUnreachable`] if members answered but none reaches this node; [`Error::Left`] after
    /// [`leave`](Self::leave); [`Error::Stopped`] if the node has ended, [`Error::Panicked`] if a panic ended it.
    pub fn join<S: AsRef<str>>(&self, seeds: impl IntoIterator<Item = S>) -> Result<usize, Error> {
        self.running.check_present()?;
        let seeds: Vec<String> = seeds.into_iter().map(|seed| seed.as_ref().to_owned()).collect();
        check_seeds(&seeds)?;
        self.running.join(seeds)
    }

    /// Every listed member, this node included, by ascending name; after the node's end, its last state. O(1); see
    /// [`Members`] for the cost of reading them.
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let node = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// assert_eq!(node.members().live().count(), 1);
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    #[must_use]
    pub fn members(&self) -> Members {
        self.running.publication.directory.members()
    }

    /// This node, as others see it.
    #[must_use]
    pub fn local(&self) -> Member {
        self.running.node.command(|node, _| node.local())
    }

    /// The address and port that this node's UDP and TCP sockets are bound to. Other nodes send to the address of
    /// [`local`](Self::local), which differs if this one is unspecified or [`advertise`](GossipConfig::advertise) is given.
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

    /// The present time on the clock of [`Member::since`](crate::Member::since) and
    /// [`Verdict::suspected`](crate::Verdict::suspected).
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

    /// Subscribes to all events from now on. [`follow`](Self::follow) also returns the members that these events change.
    ///
    /// ```
    /// use syncswim::{Event, Gossip, GossipConfig, Tags};
    ///
    /// let node = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// let events = node.events();
    /// node.set_tags(Tags::new([("role", "db")])?)?;
    /// let event = events.recv().expect("the node runs");
    /// assert!(matches!(event, Event::Updated { member, .. } if member.tags.get("role") == Some("db")));
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    pub fn events(&self) -> Events {
        self.running.publication.directory.events()
    }

    /// The members at this moment, and a subscription to exactly the events after it: none is missing, and none reports a
    /// change that the members already include. Call it at the beginning, and again after
    /// [`Event::Lagged`](crate::Event::Lagged).
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let node = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// let (members, events) = node.follow();
    /// println!("{} members now", members.live().count());
    /// # node.abort()?;
    /// for event in &events {
    ///     println!("{event}");
    /// } // ends with the node
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    pub fn follow(&self) -> (Members, Events) {
        self.running.publication.directory.follow()
    }

    /// Replaces this node's tags, and tells the cluster.
    ///
    /// # Errors
    /// [`Error::Left`] after [`leave`](Self::leave), [`Error::Stopped`] if the node has ended, [`Error::Panicked`] if a panic
    /// ended it.
    pub fn set_tags(&self, tags: Tags) -> Result<(), Error> {
        self.running.check_present()?;
        self.running.node.command(|node, now| node.set_tags(now, tags));
        self.running.node.wake();
        Ok(())
    }

    /// Leaves the cluster: tells members that this node leaves, and waits until some have acknowledged it, at most
    /// [`leave_timeout`](crate::swim::Config::leave_timeout). Members that datagrams do not reach are told by stream. The
    /// node answers until it is shut down, but it cannot join again or change its tags. Calls that wait for other members
    /// end at once, with what is known by then.
    ///
    /// # Errors
    /// [`Error::LeaveUnconfirmed`] if no member acknowledged it, so that others may list this node as failed;
    /// [`Error::Stopped`] if the node has ended, [`Error::Panicked`] if a panic ended it; [`Error::Timeout`] if the clock
    /// thread did not process it in time. A second call waits for the same leave, and returns the same result.
    pub fn leave(&self) -> Result<(), Error> {
        self.running.leave()
    }

    /// The address that members see this node's datagrams come from, if a member recently reported one other than the
    /// advertised address. Address translation (NAT) is the usual reason. It does no harm as long as the advertised address
    /// works; if it does not, the node reports [`Event::ReachabilityLost`](crate::Event::ReachabilityLost).
    #[must_use]
    pub fn observed_addr(&self) -> Option<SocketAddr> {
        self.running.node.command(|node, _| node.observed_addr())
    }

    /// The standing and health of this node, and what keeps others from reaching it. It also works after the node's end,
    /// with the number of members from the node's last state, without itself.
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig, Standing};
    ///
    /// let node = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0").seed("127.0.0.1:1"))?;
    /// println!("{}", node.status()); // starting, 1 live, health score 0
    /// node.shutdown()?;
    /// assert_eq!(node.status().standing, Standing::Ended);
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    #[must_use]
    pub fn status(&self) -> Status {
        self.with_clocks(self.running.node.command(|node, _| self.once_ended(node, node.status())))
    }

    /// The core's status, with the fact that the threads have ended, which the core does not know.
    fn once_ended(&self, node: &Node, mut status: Status) -> Status {
        if self.running.node.stop.is_stopped() {
            status.standing = Standing::Ended;
            status.live -= usize::from(node.local().state.is_live());
            (status.holder, status.problems) = (None, Vec::new());
        }
        status
    }

    fn with_clocks(&self, status: Status) -> Status {
        match status.standing {
            Standing::Ended => status,
            _ => Status { clocks: self.running.talk.secrets.clocks(), ..status },
        }
    }

    fn with_clock_of(&self, member: &str, stats: ProbeStats) -> ProbeStats {
        ProbeStats { clock_ahead_ms: self.running.talk.secrets.clock_ahead_ms(member), ..stats }
    }

    /// This node's recent probes of a member, with the round-trip time, and with a key the difference of the clocks; `None`
    /// for this node itself and for names that are not listed.
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let node = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// match node.probe_stats("b") {
    ///     Some(stats) => println!("{:?}, {} probes in a row not answered", stats.round_trip, stats.missed),
    ///     None => println!("b is not listed"),
    /// }
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    #[must_use]
    pub fn probe_stats(&self, member: &str) -> Option<ProbeStats> {
        let stats = self.running.node.command(|node, _| node.probe_stats(member))?;
        Some(self.with_clock_of(member, stats))
    }

    /// Why a member has its state: this node's probes of it, accusations, refutations and verdicts that it received, and
    /// this node's own trouble meanwhile. It is taken from the last [`history`](crate::swim::Config::history) observations
    /// of all members.
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let node = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// println!("{}", node.explain("b")); // b: not listed …
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    #[must_use]
    pub fn explain(&self, member: &str) -> Explanation {
        let explanation = self.running.node.command(|node, now| {
            let explanation = node.explain(now, member);
            Explanation { status: self.once_ended(node, explanation.status), ..explanation }
        });
        let probes = explanation.probes.map(|stats| self.with_clock_of(member, stats));
        Explanation { status: self.with_clocks(explanation.status), probes, ..explanation }
    }

    /// Records this node's inputs and outputs to a file, from now on: the latest that fit in `max_bytes`, at least 1 MiB.
    /// `replay`, a program in the repository, runs the node again from it (`docs/operating/RECORDING.md`). An earlier
    /// recording ends; an existing file is renamed, with `.old` behind its name.
    ///
    /// The file holds names, addresses, tags, and the secret numbers of this life of the node, but no keys; on Unix only its
    /// owner may read it. If it cannot be written any more, the recording ends with a line in the log, and the node goes on.
    /// What waits for a slow disk is kept in memory, at most half of `max_bytes` or 16 MiB.
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// # let path = std::env::temp_dir().join(format!("{}.rec", std::process::id()));
    /// let node = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// node.record(&path, 16 << 20)?;
    /// node.stop_recording();
    /// # let _ = std::fs::remove_file(path);
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Recording`] if the file cannot be written, [`Error::Invalid`] if `max_bytes` is too small, [`Error::Spawn`]
    /// if the system refuses a thread for it, [`Error::Stopped`] or [`Error::Panicked`] if the node has ended.
    pub fn record(&self, path: impl AsRef<Path>, max_bytes: u64) -> Result<(), Error> {
        self.running.check_running()?;
        self.running.recorder.start(path.as_ref(), max_bytes)
    }

    /// Ends the [recording](Self::record), if there is one. The end of the node does so, too. Both wait for the disk for at
    /// most a second.
    pub fn stop_recording(&self) {
        self.running.recorder.stop();
    }

    /// Waits until at least `live` members are live as this node sees it, itself included.
    ///
    /// ```
    /// use std::time::Duration;
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let a = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// let b = Gossip::start(GossipConfig::local("b").bind("127.0.0.1:0").seed(a.local().addr.to_string()))?;
    /// a.wait_for_members(2, Duration::from_secs(10))?;
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Timeout`] if there are fewer after `limit`; [`Error::Left`] after [`leave`](Self::leave), also if that is
    /// called meanwhile, as this node then learns of no new members; [`Error::Stopped`] if the node ends meanwhile,
    /// [`Error::Panicked`] if a panic ended it.
    pub fn wait_for_members(&self, live: usize, limit: Duration) -> Result<(), Error> {
        let (members, events) = self.follow();
        self.running.check_present()?;
        let deadline = blocking::now().checked_add(limit);
        let mut count = members.live().count();
        while count < live {
            // `None` if the deadline would be later than an `Instant` can be.
            let left = deadline
                .map_or(Duration::MAX, |deadline| deadline.saturating_duration_since(blocking::now()));
            match events.recv_timeout(left) {
                Ok(_) => count = self.members().live().count(),
                Err(RecvTimeoutError::Timeout) => {
                    let what = format!("{live} live members, this node included: there are {count}");
                    return Err(Error::Timeout { what, took: limit });
                }
                Err(RecvTimeoutError::Disconnected) => return Err(self.running.node.ended()),
            }
            self.running.check_present()?;
        }
        Ok(())
    }

    /// The counters, gauges and histograms of the protocol and of the threads and sockets around it; each says what it
    /// counts.
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let node = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// println!("{} datagrams sent", node.metrics().datagrams_sent);
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    #[must_use]
    pub fn metrics(&self) -> Metrics {
        self.running.metrics()
    }

    /// [Leaves](Self::leave) the cluster, then ends every thread and closes every socket, for all handles. Further calls
    /// wait for this end.
    ///
    /// # Errors
    /// [`Error::Panicked`], at each call, if a panic had ended the node before.
    pub fn shutdown(&self) -> Result<(), Error> {
        self.running.shutdown()
    }

    /// Ends every thread and closes every socket, for all handles, without leaving: other nodes will declare this one
    /// failed.
    ///
    /// # Errors
    /// As [`shutdown`](Self::shutdown).
    pub fn abort(&self) -> Result<(), Error> {
        self.running.abort()
    }

    /// Changes the key of the whole cluster, in three [steps](crate::KeyStep), and reports which step each live member
    /// reached. If a member does not take a step, no later step is begun. All members still understand each other then, and
    /// the call may be repeated with the same key. Members that are down have only the old key, and cannot come back without
    /// the new one.
    ///
    /// Each step takes one stream to each member, sealed with the key in use and an ephemeral key, so that a recording of
    /// the traffic and the old key do not reveal the new one. Change one key at a time: if two are changed at the same time,
    /// some members may end up with one and some with the other. A full keyring drops its oldest key for the new one.
    ///
    /// # Errors
    /// [`Error::Key`] if this node has no keyring, [`Error::Stopped`] if it has ended.
    #[cfg(feature = "encryption")]
    pub fn rotate_key(&self, key: &Key) -> Result<Rotation, Error> {
        self.rotate_key_with(key, &RotateOptions::new())
    }

    /// As [`rotate_key`](Self::rotate_key), but some members do not receive the new key.
    ///
    /// This keeps the key from hosts that were lost. It does not keep it from an attacker who holds the old key, since that
    /// attacker may have joined under any name. In that case distribute the new key in another way, and change it on each
    /// node's [`Keyring`](crate::Keyring).
    ///
    /// # Errors
    /// As `rotate_key`, and [`Error::Key`] if a name to exclude is this node's own or no known member's; nothing was changed
    /// then.
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

    /// The outcome of each round of contacting the seeds.
    pub(crate) fn seeds_tried(&self) -> &Receiver<JoinResult> {
        &self.running.seeds_tried
    }

    /// The error for seeds that could not be joined.
    pub(crate) fn seeds_error(&self, problem: &JoinProblem) -> Error {
        let seeds = &self.running.seeds;
        seeds.join_error(&seeds.to_vec(), problem.clone())
    }
}

impl GossipBuilder {
    /// Binds the sockets, unless the program provided them, and starts the threads, as [`Gossip::start`] does.
    ///
    /// # Errors
    /// As [`Gossip::start`]; [`Error::Invalid`] names `sockets` if the provided ones cannot be used. They are closed then.
    pub fn start(mut self) -> Result<Gossip, Error> {
        self.start_once()
    }

    /// As [`start`](Self::start), for an owner that keeps the subscription to the events.
    pub(crate) fn start_once(&mut self) -> Result<Gossip, Error> {
        Ok(Gossip { running: Arc::new(self.run()?) })
    }
}

impl fmt::Debug for Gossip {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gossip").field("local", &self.local()).finish_non_exhaustive()
    }
}

fn check_seeds(seeds: &[String]) -> Result<(), Error> {
    if seeds.is_empty() {
        let problem = "has nobody to join; give host:port of at least one node";
        return Err(Error::invalid("seeds", problem));
    }
    seeds.iter().try_for_each(|seed| seed::check("seeds", seed))
}

#[cfg(test)]
#[path = "handle_tests.rs"]
mod tests;
