//! The protocol, sans-I/O: SWIM with Lifeguard, as a state machine.
//!
//! Opens no socket, starts no thread, reads no clock and draws no randomness but from its seed: the same
//! configuration, seed and inputs give the same outputs, byte for byte. [`Node`] says how it is driven.
//!
//! One file per concept: `validation` (whose datagram is this), `introduce` (strangers), `question` (does somebody still
//! answer to a name), `claims` (what a rumour changes), `own` (what a rumour about ourselves makes us do), `flap`,
//! `probe`, `suspicion`, `health`, `broadcast` and `gossip` (news), `sync` (streams, each a `session`), `caller` (who is at their other end),
//! `exchange` (of tables), `join`, `heal` (gone peers), `leave`, `carry` (datagrams by stream), `reach` (how others see us);
//! under them `member` and the `table` of members with its
//! `index`, `transmit` (datagrams that wait), `secret`, `timers` and `time`.

#[cfg(any(test, feature = "sim"))]
mod audit;
mod broadcast;
mod caller;
mod carry;
mod claims;
mod config;
mod event;
mod exchange;
mod flap;
mod gossip;
mod heal;
mod health;
mod index;
mod introduce;
mod join;
mod leave;
mod member;
mod metrics;
mod node;
mod own;
mod probe;
mod question;
mod race;
mod reach;
mod secret;
mod session;
#[cfg(any(test, feature = "sim"))]
mod stuck;
mod suspicion;
mod sync;
mod table;
mod time;
mod timers;
mod transmit;
mod validation;

#[cfg(test)]
mod tests;

pub use config::Config;
pub use event::{Event, JoinProblem, JoinResult, Output};
pub use join::Joining;
pub use member::{Identity, Member, MemberState};
pub use metrics::Metrics;
pub use node::{Node, Start};
pub(crate) use race::MAX_ATTEMPTS;
pub use reach::ReachProblem;
#[cfg(any(test, feature = "sim"))]
pub(crate) use stuck::Stuck;
pub use sync::{StreamFailure, StreamId, StreamKind, StreamStep};
pub use time::Time;
pub use transmit::Destination;
