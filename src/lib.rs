//! Cluster membership for programs that have no async runtime.

mod claims;
mod cluster;
mod discovery;
mod error;
mod fanout;
mod membership;
mod peers;
mod stop;
mod watch;

pub use cluster::{Cluster, ClusterHandle};
pub use discovery::{Discovery, DnsDiscovery, NoDiscovery, Resolver, SystemResolver};
pub use error::{BoxError, Error};
pub use membership::{Membership, Snapshot};
pub use peers::{Peer, Peers};
pub use stop::Stop;
pub use watch::{MembershipChange, Watch};
