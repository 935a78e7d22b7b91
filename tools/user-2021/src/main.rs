//! Starts a cluster of one, and stops it.

use syncswim::{Cluster, GossipConfig, GossipDiscovery};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let config = GossipConfig::local("alone").bind("127.0.0.1:0");
    let running = Cluster::new().with_discovery(GossipDiscovery::new(config)).start()?;
    running.stop();
    running.join()?;
    println!("a crate of edition 2021 started a cluster and stopped it");
    Ok(())
}
