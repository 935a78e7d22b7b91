//! The same [`swim::Node`](crate::swim::Node) on a virtual network and a virtual clock (feature `sim`).
//!
//! The simulator shows how a cluster would behave before it is run: thousands of nodes in one thread, with latency,
//! loss, partitions, crashes and pauses. All randomness is drawn from one seed: the same seed and calls give the same
//! datagrams, byte for byte.
//!
//! ```
//! use std::time::Duration;
//! use syncswim::{sim::World, swim::Config};
//!
//! let mut world = World::new(7);
//! world.net.lose(0.1);
//! world.start_cluster(20, Config::lan);
//! let took = world.run_until("one view", Duration::from_secs(60), |world| world.all_see(20));
//! println!("20 nodes under 10 % loss: one view after {took:?}");
//!
//! world.crash(3);
//! let took = world.run_until("the verdict", Duration::from_secs(60), |world| world.all_see(19));
//! println!("a crash was known to all after {took:?}");
//! ```
//!
//! `world` runs hosts, `network` delivers or loses datagrams, `paths` decides from which addresses hosts send and at which
//! they are reached, `disk` models the disk of a state file, `queue` orders deliveries and deadlines, `check` looks for
//! broken promises after each step, `judge` watches healthy members while an attacker lies, `theme` draws random `fault`s,
//! [`attacker`] lies, and [`search`] runs random schedules and shrinks those that break a promise. [`configs`] runs random
//! configurations.
//!
//! **This module is outside semantic versioning:** it may change in any version.

pub mod attacker;
mod broadcasts;
#[cfg(any(test, fuzzing))]
#[path = "tests/chaos/mod.rs"]
pub mod chaos;
mod check;
pub mod configs;
pub(crate) mod disk;
#[cfg(fuzzing)]
pub mod endpoint;
mod fault;
pub(crate) mod forge;
mod host;
mod judge;
mod network;
mod paths;
mod program;
mod queue;
pub mod search;
#[cfg(test)]
mod tests;
mod theme;
mod world;

/// In milliseconds, like epochs.
pub(crate) const YEAR: u64 = 365 * 24 * 3600 * 1000;

pub use broadcasts::Received;
pub use check::{Checker, Violation};
pub use fault::{Fault, Place, Side};
pub use host::{Host, addr};
pub use network::{Burst, Latency, Network};
pub use paths::Nat;
pub use theme::Theme;
pub use world::World;
