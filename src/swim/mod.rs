//! The protocol, sans-I/O: SWIM with Lifeguard, as a state machine.
//!
//! Opens no socket, starts no thread, reads no clock and draws no randomness but from its seed: the same
//! configuration, seed and inputs give the same outputs, byte for byte. [`Node`] says how it is driven.
//!
//! One file per concept: `validation` (whose datagram is this), `introduce` (unverified peers), `question` (does somebody
//! still answer to a name), `claims` (what a claim about a member changes), `self_claims` (what a claim about this node
//! makes it do), `flap`, `probe`, `suspicion`, `health` (Lifeguard's awareness), `updates` (the queue of them) and
//! `dissemination`, `sync` (streams, each a `session`), `caller` (who is at their other end), `exchange` (push/pull),
//! `join`, `reconnect` (to failed members), `leave`, `carry` (datagrams by stream), `reach` (how others see this node);
//! under them `member` and the `table` of members with its
//! `index`, `transmit` (datagrams that wait), `secret`, `timers` and `time`.

#[cfg(any(test, feature = "sim"))]
mod audit;
#[cfg(any(test, feature = "sim"))]
mod blocked_io;
mod caller;
mod carry;
mod claims;
mod config;
mod dissemination;
mod event;
mod exchange;
mod flap;
mod health;
mod index;
mod introduce;
mod join;
mod leave;
mod member;
mod metrics;
mod node;
mod probe;
mod question;
mod race;
mod reach;
mod reconnect;
mod secret;
mod self_claims;
mod session;
mod suspicion;
mod sync;
mod table;
mod time;
mod timers;
mod transmit;
mod updates;
mod validation;

#[cfg(test)]
mod tests;

#[cfg(any(test, feature = "sim"))]
pub(crate) use blocked_io::BlockedIo;
pub use config::Config;
pub use event::{Event, JoinProblem, JoinResult, Output};
pub use join::Joining;
pub use member::{Identity, Member, MemberState};
pub use metrics::Metrics;
pub use node::{Node, Start};
pub(crate) use race::MAX_ATTEMPTS;
pub use reach::ReachProblem;
pub use sync::{StreamFailure, StreamId, StreamKind, StreamStep};
pub use time::Time;
pub use transmit::Destination;
