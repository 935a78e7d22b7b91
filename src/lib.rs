//! Cluster membership for programs that have no async runtime.

mod cluster;
mod discovery;
mod error;
mod fanout;
mod gossip;
mod membership;
mod stop;
pub mod swim;
mod watch;
mod wire;

pub use cluster::{Cluster, ClusterHandle};
pub use discovery::{
    Discovery, DnsDiscovery, GossipDiscovery, GossipHandle, NoDiscovery, PeerName, Resolver, SystemResolver,
};
pub use error::{BoxError, Error};
pub use gossip::{DEFAULT_PORT, Events, Gossip, GossipConfig, Members};
pub use membership::{Membership, Peer, Peers, Snapshot};
pub use stop::Stop;
pub use swim::{Event, Identity, Member, MemberState, Metrics};
pub use watch::{MembershipChange, Watch};
pub use wire::Tags;
