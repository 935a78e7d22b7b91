//! Cluster membership for programs that have no async runtime.

mod error;
mod fanout;
mod gossip;
mod stop;
pub mod swim;
mod wire;

pub use error::{BoxError, Error};
pub use gossip::{DEFAULT_PORT, Events, Gossip, GossipConfig, Members};
pub use stop::Stop;
pub use swim::{Event, Member, MemberState, Metrics};
pub use wire::Tags;
