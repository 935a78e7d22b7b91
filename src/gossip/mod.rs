//! A running node: threads and sockets around one [`swim::Node`](crate::swim::Node).
//!
//! Owns the clock, the sockets, the threads and what callers see of the members. Holds no protocol rule.
//!
//! Modules depend on those that are named before them only. First come those without a node: `host_port`, `family`,
//! `interfaces`, `seed` (with `command`) and `resolve` (what people write), `config` and `config_text`, `advertise` and `sockets` (where a node is), `queue`,
//! `workers` and `pools` (threads for what may block), `clock`, `wakeup` and `counters`, `directory` and `events` (what
//! readers see), `seeds`. `publication` tells readers and callers what happens; `shared_node` is the node under its lock,
//! with its clock, its end, and the waking of the clock thread. Streams are built in layers: `timed_socket`, `secrets`
//! (what is sealed), `framed_stream`, `dial`, `key_change`, and `conversation`, in which the node and the other side
//! talk. Above it are the four that begin conversations: `inbound` (streams of others), `join_attempts` and `outbound`
//! (streams of the node), `rotation` (of a key). `seed_lookup` finds whom to join, and `own_address` looks whether the
//! host keeps its address. `clock_thread` drives the node and hands out what it wants; `running` puts all of them together
//! and starts and ends the threads; `handle` is what a program holds.
//!
//! Threads of a node: `…-udp` is the clock thread with the datagram socket, `…-tcp` accepts streams, and up to
//! eighteen workers run streams and look up names while there are any (`pools`); idle, there are two. Whoever changes the
//! cluster's key makes three more for that time.

mod advertise;
mod clock;
mod clock_thread;
mod command;
mod config;
mod config_text;
mod conversation;
mod counters;
mod dial;
mod directory;
mod events;
mod external_sockets;
mod family;
mod framed_stream;
mod handle;
mod host_port;
mod inbound;
mod interfaces;
mod join_attempts;
#[cfg(feature = "encryption")]
mod key_change;
mod outbound;
mod own_address;
mod pools;
mod publication;
mod queue;
mod resolve;
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
mod timed_socket;
mod wakeup;
mod workers;

pub use config::{DEFAULT_PORT, GossipConfig};
#[cfg(feature = "capi")]
pub(crate) use config_text::parse_value;
pub(crate) use directory::Directory;
pub use directory::Members;
pub use events::{Events, EventsIter};
pub use handle::Gossip;
pub use host_port::HostPort;
#[cfg(feature = "encryption")]
pub use rotation::{KeyStep, RotateOptions, RotatedNode, Rotation};
