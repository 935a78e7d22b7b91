//! A running node: threads and sockets around one [`swim::Node`](crate::swim::Node).
//!
//! Owns the clock, the sockets, the threads and what callers see of the members. Holds no protocol rule.
//!
//! Modules depend on each other without a circle (`tests/structure.rs`), mostly on those that are named before them. First
//! come those without a node: `host_port`, `family`, `interfaces`, `seed` (with `command`: what people write), `config`,
//! `config_text` and `environment`, `advertise`, `sockets` and `external_sockets` (where a node is), `queue`, `workers` and
//! `pools` (threads for what may block), `clock`, `wakeup` and `counters`, `directory`, `events` and `entries` (what readers
//! see), `seeds`. `pace`, `journal` and `peer_log` decide what is logged. `publication` tells callers what happens;
//! `shared_node` is the node under its lock, with its clock, its end, and the waking of the clock thread. Streams are built
//! in layers: `timed_socket`, `secrets` (what is sealed; `no_secrets` without the feature, `peer_clocks` for whose clock is
//! off), `framed_stream`, `dial`, `key_change`, and `conversation`, in which the node and the other side talk. Above it are
//! the four that begin conversations: `inbound` (streams of others), `join_attempts` and `outbound` (streams of the node),
//! `rotation` (of a key). `seed_lookup` finds whom to join, and `own_address` looks whether the host keeps its address.
//! `clock_thread` drives the node and hands out what it wants; `flight_recorder` writes the recording, `state_keeper` the
//! state file; `running` puts all of them together and starts and ends the threads; `builder` is a node before its start,
//! `handle` what a program holds then, with `about_members` for what it asks of single members, `messages`, `requests`,
//! `query` and `broadcasts` for what members say to each other, and `key_values` for the map that each member publishes about
//! itself.
//!
//! Threads of a node: `…-udp` is the clock thread with the datagram socket, `…-tcp` accepts streams; `…-rec` writes a recording
//! and `…-state` a state file, where there is one; and at most 58 workers (`pools`) run streams and look up names while there are
//! any. Changing the cluster's key takes three more for that time.

mod about_members;
mod advertise;
mod broadcasts;
mod builder;
mod clock;
mod clock_thread;
mod command;
mod config;
mod config_text;
mod conversation;
mod counters;
mod dial;
mod directory;
mod entries;
mod environment;
mod events;
mod external_sockets;
mod family;
mod flight_recorder;
mod framed_stream;
mod handle;
mod host_port;
mod inbound;
mod interfaces;
mod join_attempts;
mod journal;
#[cfg(feature = "encryption")]
mod key_change;
mod key_values;
mod messages;
mod outbound;
mod own_address;
mod pace;
#[cfg(feature = "encryption")]
mod peer_clocks;
mod peer_log;
mod pools;
mod publication;
mod query;
mod queue;
#[cfg(test)]
mod rare_lines_tests;
mod requests;
#[cfg(feature = "encryption")]
mod rotation;
mod running;
#[cfg(feature = "encryption")]
mod secrets;
#[cfg(not(feature = "encryption"))]
#[path = "no_secrets.rs"]
mod secrets;
mod seed;
mod seed_lookup;
mod seeds;
mod shared_node;
mod sockets;
mod state_keeper;
mod timed_socket;
mod wakeup;
mod workers;

pub use about_members::NearMember;
pub use broadcasts::{BroadcastMiss, BroadcastReport};
pub use builder::GossipBuilder;
pub use config::{DEFAULT_PORT, GossipConfig};
pub(crate) use config_text::{parse_text, parse_value};
pub use directory::Members;
pub use entries::{Entries, EntriesIter, EntriesOf, EntriesOfIter, EntryChange, EntryWatch};
pub(crate) use environment::Variables;
pub use events::Events;
pub use handle::Gossip;
pub use host_port::HostPort;
pub use messages::{Answer, BroadcastId, Inbox, InboxItem, MemberLife, Message};
pub use query::{Query, QueryAnswer, QueryAnswers, QueryMiss, QueryReport};
pub use requests::{Request, Requests};
#[cfg(feature = "encryption")]
pub use rotation::{KeyStep, RotateOptions, RotateProblem, RotatedNode, Rotation};
