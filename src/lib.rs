//! Cluster membership for programs that have no async runtime: *who is in the cluster, who has left, who has
//! failed*.
//!
//! A blocking program starts it and gives it an address to join through. It gets a sorted list of live peers, a channel of
//! changes, and a clean stop. The protocol is SWIM with Lifeguard, on the standard library's sockets and two threads of its
//! own, and a few more while there are streams or look-ups.
//!
//! ```no_run
//! use syncswim::{Cluster, GossipConfig, GossipDiscovery};
//!
//! fn main() {
//!     if let Err(error) = run() {
//!         eprintln!("{}", error.report()); // what is wrong, why, and what to do
//!         std::process::exit(1);
//!     }
//! }
//!
//! fn run() -> Result<(), syncswim::Error> {
//!     let config = GossipConfig::lan("node-a").bind("0.0.0.0:7946");
//!     let cluster = Cluster::new().with_discovery(GossipDiscovery::new(config).join("10.0.0.5:7946"));
//!     let changes = cluster.membership().watch(); // the state now, then every change
//!     let running = cluster.start()?; // the sockets are bound, the threads run
//!     let stop = running.stop_flag().clone();
//!     ctrlc::set_handler(move || stop.stop()).expect("the only handler"); // SIGINT and SIGTERM raise the stop flag
//!     for change in &changes {
//!         println!("{change}");
//!     } // ends once the node has left the cluster
//!     running.join() // waits for every thread; the first error, if one ended it
//! }
//! ```
//!
//! `ctrlc` is the crate of that name with its feature `termination`. Any thread may raise the
//! [stop flag](ClusterHandle::stop_flag) instead.
//!
//! # Three levels
//!
//! - [`Cluster`] runs [discoveries](Discovery) that fill a [`Membership`]: a list of strings, whichever discovery finds
//!   them. Most programs use this level.
//! - [`Gossip`] is one running node: members with their state, address and tags, events, metrics; messages between members,
//!   with a report of what became of each ([`send`](Gossip::send), [`request`](Gossip::request), [`query`](Gossip::query));
//!   [broadcasts](Gossip::broadcast); and the [key–values](Gossip::set) of each member.
//! - [`swim::Node`] is the protocol alone, without sockets, threads or a clock, for those who drive it
//!   themselves.
//!
//! # What is promised
//!
//! - No writer and no node ever waits for a watcher or for a reader of events. In Rust no event is
//!   delivered by a callback.
//! - After [`ClusterHandle::join`] or [`Gossip::shutdown`] no thread, socket or descriptor of the library remains.
//! - Bytes from the network never cause a panic. Malformed data is dropped and counted. All memory has a bound.
//! - A panic in a thread of the library ends the node, closes its watches and is the error of `join`. (One in the thread that
//!   writes a recording or the state file ends that alone.)
//!
//! With a `Keyring`, nobody without the key can read, join, forge or replay. Without one, run it on a network
//! that you trust: anybody who can send to a node can join and lie.
//!
//! The words are those of SWIM, Lifeguard and memberlist; `ARCHITECTURE.md` in the repository has a glossary, `PROTOCOL.md`
//! the bytes and rules, `SECURITY.md` what is defended.
//!
//! # Channels
//!
//! Everything that can be waited for ([`Watch`], [`Events`], [`Inbox`], [`Requests`], [`QueryAnswers`], [`EntryWatch`],
//! [`Stop`], [`ClusterHandle`]) has a [`Receiver`], so that a program can wait for several of
//! them, and for channels of its own, with `select!`. These are channels of [`crossbeam_channel`]. That crate is public here
//! as `syncswim::crossbeam_channel`, in the version that the receivers are of, and [`Receiver`], [`RecvError`],
//! [`RecvTimeoutError`] and [`TryRecvError`] also by themselves.
//!
//! ```
//! use syncswim::{Membership, Stop, TryRecvError, crossbeam_channel::select};
//!
//! let (membership, stop) = (Membership::new(), Stop::new());
//! let watch = membership.watch();
//! membership.add(["a:1"]);
//! loop {
//!     select! {
//!         recv(watch.receiver()) -> _ => match watch.try_recv() {
//!             Ok(change) => {
//!                 println!("{change}");
//!                 stop.stop();
//!             }
//!             Err(TryRecvError::Empty) => {}
//!             Err(TryRecvError::Disconnected) => break,
//!         },
//!         recv(stop.receiver()) -> _ => break,
//!     }
//! }
//! ```
//!
//! # Features
//!
//! - `encryption`: `Keyring`, sealed packets and streams, key rotation. On by default.
//! - `dns-client`: the prefixes `dns+` and `dnssrv+` of seeds and of [`DnsDiscovery`]: a small DNS client that knows SRV records
//!   and times to live, and does not keep a stop waiting. Off by default.
//! - `interfaces`: [`bind` and `advertise`](GossipConfig::bind) take names of network interfaces. Off by default.
//! - `sim`: the simulator, [`sim`](https://docs.rs/syncswim/latest/syncswim/sim/), and what reads recordings,
//!   [`recording`](https://docs.rs/syncswim/latest/syncswim/recording/). Off by default. **What it adds is outside semantic
//!   versioning:** it may change in any version.
//! - `capi`: the C interface, with `include/syncswim.h` as its manual. Off by default.
//!
//! # After a fork
//!
//! A child process that was forked from a host with a running node has the handles but not the threads. It
//! must not use them; `exec` closes the sockets.

#![cfg_attr(not(feature = "capi"), forbid(unsafe_code))]

mod address;
mod blocking;
#[cfg(feature = "capi")]
mod capi;
mod collections;
mod data;
mod discovery;
mod dns;
mod error;
mod filter;
mod gossip;
mod ip_network;
#[cfg(feature = "encryption")]
mod keys;
mod log_line;
mod membership;
mod private_file;
mod reader;
#[cfg(any(test, feature = "sim"))]
pub mod recording;
#[cfg(not(any(test, feature = "sim")))]
mod recording;
#[cfg(any(test, feature = "sim"))]
pub mod sim;
mod state_file;
mod stop;
pub mod swim;
mod text;
mod wire;

/// The channels under [`Watch`], [`Events`], [`Stop`] and [`ClusterHandle`], for `select!` and for channels of your own.
#[doc(no_inline)]
pub use crossbeam_channel;
#[doc(no_inline)]
pub use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError, TryRecvError};
pub use data::{Entry, MessageKind, QueryProblem, Stamp, Topics, Unconfirmed};
pub use discovery::{
    Cluster, ClusterHandle, Discovery, DnsDiscovery, GossipDiscovery, GossipHandle, NoDiscovery, PeerName,
    Resolver, SystemResolver,
};
#[cfg(all(fuzzing, feature = "dns-client"))]
#[doc(hidden)]
pub use dns::fuzz_dns_answer;
pub use error::{BoxError, EndedBy, Error, JoinProblem};
pub use filter::Filter;
pub use gossip::{
    Answer, BroadcastId, BroadcastMiss, BroadcastReport, DEFAULT_PORT, Entries, EntriesIter, EntriesOf,
    EntriesOfIter, EntryChange, EntryWatch, Events, Gossip, GossipBuilder, GossipConfig, HostPort, Inbox,
    InboxItem, MemberLife, Members, Message, NearMember, Query, QueryAnswer, QueryAnswers, QueryMiss,
    QueryReport, Request, Requests,
};
#[cfg(feature = "encryption")]
pub use gossip::{KeyStep, RotateOptions, RotateProblem, RotatedNode, Rotation};
pub use ip_network::IpNetwork;
#[cfg(feature = "encryption")]
pub use keys::{
    key::{Fingerprint, Key},
    keyring::{Encryption, Keyring},
};
pub use membership::{Membership, MembershipChange, Peer, Peers, Settle, Snapshot, Watch};
#[cfg(fuzzing)]
#[doc(hidden)]
pub use state_file::fuzz_state_file;
pub use stop::Stop;
pub use swim::{
    Accuser, Clocks, Doubt, Event, Explanation, HealthDoubt, Histogram, Identity, Member, MemberState,
    Metric, MetricKind, MetricLabel, MetricUnit, MetricValue, Metrics, Observation, Observed, Origin,
    ProbeStats, ReachProblem, Removal, Rtt, Standing, Status, Time, Verdict, WrongClock,
};
#[cfg(all(fuzzing, feature = "encryption"))]
#[doc(hidden)]
pub use wire::seal::fuzzing;
pub use wire::{Tags, TagsIter};

/// The README's programs compile.
#[cfg(all(doctest, feature = "encryption"))]
#[doc = include_str!("../README.md")]
struct Readme;

/// So does the program that serves metrics.
#[cfg(all(doctest, feature = "encryption"))]
#[doc = include_str!("../docs/operating/METRICS.md")]
struct ServingMetrics;
