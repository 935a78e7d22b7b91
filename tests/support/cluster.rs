//! Nodes on loopback, in clear or sealed.

use syncswim::{Gossip, GossipConfig};

use super::LONG;

pub(crate) fn config(name: &str, sealed: bool) -> GossipConfig {
    let config = GossipConfig::local(name).bind("127.0.0.1:0");
    if sealed { with_key(config) } else { config }
}

#[cfg(feature = "encryption")]
fn with_key(config: GossipConfig) -> GossipConfig {
    let key: syncswim::Key = "0f".repeat(32).parse().unwrap();
    config.keyring(&syncswim::Keyring::new(key))
}

#[cfg(not(feature = "encryption"))]
fn with_key(config: GossipConfig) -> GossipConfig {
    config
}

pub(crate) fn join(name: &str, seed: &Gossip, sealed: bool) -> Gossip {
    Gossip::start(config(name, sealed).seed(seed.local().addr.to_string())).unwrap()
}

/// Nodes called "a", "b" and so on that see each other.
pub(crate) fn cluster(n: u8, sealed: bool) -> Vec<Gossip> {
    let mut nodes = vec![Gossip::start(config("a", sealed)).unwrap()];
    for at in 1..n {
        nodes.push(join(&char::from(b'a' + at).to_string(), &nodes[0], sealed));
    }
    nodes.iter().for_each(|node| node.wait_for_members(n.into(), LONG).unwrap());
    nodes
}
