//! The data that members send each other beyond membership, sans-I/O, on top of [`swim`](crate::swim).
//!
//! An `endpoint` is a node with all of it: both drivers, [`gossip`](crate::gossip) and `sim`, run endpoints. `messages` are
//! for one member, `broadcasts` for all, `key_values` the map that each member owns. `sync` is the stream in which two
//! members bring each other up to date, `stamp` the order of what different members say, `rate` how many of something in
//! which time, `rounds` when there is gossip for data alone, `shares` what a table holds of each host. The protocol under it
//! offers room in its packets, rounds of gossip, streams and the list of members; no rule of membership depends on what is
//! sent here, and while nothing is, the bytes on the network are those of membership alone.

pub(crate) mod broadcasts;
mod endpoint;
mod key_values;
pub(crate) mod messages;
mod rate;
mod rounds;
mod shares;
mod stamp;
mod sync;

pub use broadcasts::Unconfirmed;
pub(crate) use endpoint::Endpoint;
pub use key_values::Entry;
pub(crate) use key_values::{MAX_KEYS, MAX_MAP, NotSet, OwnerMap, Owners, Part, find};
pub use messages::{MessageKind, QueryProblem, Topics};
pub use stamp::Stamp;
