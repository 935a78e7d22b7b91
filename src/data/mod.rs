//! What members say to each other beyond who is there, sans-I/O, on top of [`swim`](crate::swim).
//!
//! An [`Endpoint`](endpoint::Endpoint) is a node with all of it: both drivers, [`gossip`](crate::gossip) and `sim`, run
//! endpoints. The protocol under it offers room in its packets, rounds of gossip, streams and the list of members; no rule of
//! membership depends on what is sent here, and while nothing is, the bytes on the network are those of membership alone.

mod endpoint;
pub(crate) mod messages;

pub(crate) use endpoint::Endpoint;
pub use messages::Topics;
