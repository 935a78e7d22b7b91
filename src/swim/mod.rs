//! The protocol, sans-I/O: SWIM with Lifeguard, as a state machine.
//!
//! Opens no socket, starts no thread, reads no clock and draws no randomness but from its seed: the same
//! configuration, seed and inputs give the same outputs, byte for byte. [`Node`] says how it is driven.
//!
//! One file per concept. Who a sender is: `validation` (tokens; `contact`, what is known of the way to a member),
//! `introduce` (unverified peers), `caller` (of a stream), `question` (does the holder of a name still answer), `moves`
//! (does a member answer where others say that it is). Claims: `claims` about members, `departures` (failed, left,
//! tombstones; `lately_departed`, those that are told so), `hearsay` of them, `suspects` (`suspicion`, its timeout), `self_claims` about this node, `flap`, `bounds` of
//! what others are believed, `claimant` (which member says so). Detection: `probe`, `relay` (probes for others), `health`
//! (Lifeguard's awareness), `stalls`. Dissemination: `updates` (their queue), `dissemination` (gossip), `anti_entropy` (when)
//! and `push_pull` (how tables are exchanged). Streams: `stream`,
//! `frames`, each a `session`, `carry` (datagrams by stream); `share` says who counts as one. Life of a node: `phase`,
//! `join`, `race` (of join attempts), `rejoin` (those of an earlier life), `reconnect` (to failed members), `leave`, `remove`
//! (failed members, for all), `reach` (how others see this node). `node` takes inputs and routes them, `datagram` takes one
//! in, `transmit` writes those that wait, `upper_layer` is what the layer above uses. Under them the `table` of `member`
//! records, with an index and the probe rings in its folder; `secret`, `timers` (all deadlines) and `time`.
//!
//! What others set and see: `config`, `event`, `verdict`, `metrics`; `status`, `round_trip` and `history`, what a node says
//! of itself and its members; `vitals`, what its driver logs. Recordings: `entry` (what one says), `page` (the
//! frequent ones), `recorder`, `replay`, and `stored`, how the state is written. For tests and the simulator `audit` checks
//! the bounds, and `blocked_io` models a process whose sends block; `rules` can be switched off in tests.

mod anti_entropy;
#[cfg(any(test, feature = "sim"))]
mod audit;
#[cfg(any(test, feature = "sim"))]
mod blocked_io;
mod bounds;
mod caller;
mod carry;
mod claimant;
mod claims;
mod config;
mod contact;
mod datagram;
mod departures;
mod dissemination;
#[cfg_attr(
    not(any(test, feature = "sim")),
    allow(unreachable_pub, reason = "`recording` shows it with `sim`")
)]
pub(crate) mod entry;
mod event;
mod flap;
mod frames;
mod health;
mod hearsay;
mod history;
mod introduce;
mod join;
mod lately_departed;
mod leave;
mod member;
mod metrics;
mod moves;
mod node;
mod page;
mod phase;
mod probe;
mod push_pull;
mod question;
mod race;
mod reach;
mod reconnect;
mod recorder;
mod rejoin;
mod relay;
mod remove;
#[cfg(any(test, feature = "sim"))]
mod replay;
mod round_trip;
mod rules;
mod secret;
mod self_claims;
mod session;
mod share;
mod stalls;
mod status;
mod stored;
mod stream;
mod suspects;
mod suspicion;
mod table;
mod time;
mod timers;
mod transmit;
mod updates;
mod upper_layer;
mod validation;
mod verdict;
mod vitals;

#[cfg(test)]
mod tests;

pub(crate) use anti_entropy::{BackOff, Taught};
#[cfg(any(test, feature = "sim"))]
pub(crate) use blocked_io::BlockedIo;
pub use config::Config;
#[cfg(any(test, feature = "sim"))]
pub(crate) use entry::{Entry, Input, RecordedBytes, RecordedOutput};
pub use event::{Event, JoinResult, Output};
pub use history::{Explanation, Observation, Observed};
pub use join::JoinOrigin;
pub use member::{Identity, Member, MemberState};
pub use metrics::{Histogram, Metric, MetricKind, MetricLabel, MetricUnit, MetricValue, Metrics};
pub use node::{Node, Start};
pub(crate) use race::MAX_ATTEMPTS;
pub use reach::ReachProblem;
#[cfg(any(test, feature = "sim"))]
pub(crate) use recorder::Beginning;
pub(crate) use recorder::{Chunk, MIN_SEGMENT, Refused};
pub use rejoin::{EarlierLife, EarlierMember};
pub use remove::Removal;
pub use round_trip::Rtt;
pub(crate) use round_trip::by_distance;
#[cfg(test)]
pub(crate) use rules::{Rule, without};
pub(crate) use share::Account;
pub use status::{Clocks, Doubt, HealthDoubt, ProbeStats, Standing, Status, WrongClock};
#[cfg(any(test, feature = "sim"))]
pub(crate) use stored::InForm;
pub use stream::{StreamFailure, StreamId, StreamKind, StreamStep};
pub use time::Time;
pub use transmit::Destination;
pub(crate) use updates::{Subject, UpdateQueue, Urgency};
pub(crate) use upper_layer::{Life, NotOpened, WayTo};
pub use verdict::{Accuser, Origin, Verdict};
pub(crate) use vitals::Vitals;

pub use crate::error::JoinProblem;
