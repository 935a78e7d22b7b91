//! The data layer: messages, broadcasts and key–values that members send each other, sans-I/O, on top of
//! [`swim`](crate::swim).
//!
//! An `endpoint` is a protocol node with its data layer; both drivers, [`gossip`](crate::gossip) and `sim`, run endpoints.
//! `messages` go to one member, `broadcasts` to all; `key_values` are the map that each member owns. `sync` is the stream in
//! which two members bring each other up to date, `stamp` the clock that orders values and broadcasts of different members,
//! `rate` a rate limiter, `rounds` the pace of gossip rounds for data alone, `shares` the part of a table that each host may
//! hold. The protocol offers room in its packets, rounds of gossip, streams and the list of members. No rule of membership
//! depends on data, and while no data is sent, the bytes on the network are those of membership alone.

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
