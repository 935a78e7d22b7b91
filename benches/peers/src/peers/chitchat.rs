use std::{net::UdpSocket, sync::Arc, time::Duration};

use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, ProtocolVersion,
    spawn_chitchat, transport::UdpTransport,
};
use tokio::{runtime::Runtime, sync::Mutex};

use super::{Cluster, LOCALHOST, Problem, name, runtime};

struct Nodes {
    runtime: Runtime,
    nodes: Vec<ChitchatHandle>,
    states: Vec<Arc<Mutex<Chitchat>>>,
}

pub(super) fn start(n: usize) -> Result<Box<dyn Cluster>, Problem> {
    let runtime = runtime()?;
    // It wants to be told its own port; free ones are found by taking all of them first.
    let taken = (0..n).map(|_| UdpSocket::bind(LOCALHOST)).collect::<Result<Vec<_>, _>>()?;
    let addrs = taken.iter().map(UdpSocket::local_addr).collect::<Result<Vec<_>, _>>()?;
    drop(taken);
    let nodes = runtime.block_on(async {
        let mut nodes = Vec::new();
        for (number, addr) in addrs.iter().enumerate() {
            let config = ChitchatConfig {
                chitchat_id: ChitchatId::new(name(number), 1, *addr),
                cluster_id: "default".to_owned(),
                gossip_interval: Duration::from_secs(1),
                listen_addr: *addr,
                seed_nodes: if number == 0 { Vec::new() } else { vec![addrs[0].to_string()] },
                failure_detector_config: FailureDetectorConfig::default(),
                marked_for_deletion_grace_period: Duration::from_secs(15 * 60),
                catchup_callback: None,
                extra_liveness_predicate: None,
                protocol_version: ProtocolVersion::V1,
            };
            nodes.push(spawn_chitchat(config, Vec::new(), &UdpTransport).await?);
        }
        Ok::<_, Problem>(nodes)
    })?;
    let states = nodes.iter().map(ChitchatHandle::chitchat).collect();
    Ok(Box::new(Nodes { runtime, nodes, states }))
}

impl Cluster for Nodes {
    fn live(&self, node: usize) -> usize {
        self.runtime.block_on(async { self.states[node].lock().await.live_nodes().count() })
    }

    fn sees(&self, node: usize, other: usize) -> bool {
        let id = self.nodes[other].chitchat_id();
        self.runtime.block_on(async { self.states[node].lock().await.live_nodes().any(|live| live == id) })
    }

    fn leave(&mut self, _node: usize) -> bool {
        false
    }

    fn crash(&mut self, node: usize) {
        self.nodes[node].abort();
    }
}
