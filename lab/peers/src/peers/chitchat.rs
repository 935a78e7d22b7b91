use std::{
    net::{SocketAddr, UdpSocket},
    sync::Arc,
    time::Duration,
};

use chitchat::{
    Chitchat, ChitchatConfig, ChitchatHandle, ChitchatId, FailureDetectorConfig, NodeState, ProtocolVersion,
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
    let mut nodes = Nodes { runtime, nodes: Vec::new(), states: Vec::new() };
    addrs.into_iter().try_for_each(|addr| nodes.add(addr))?;
    Ok(Box::new(nodes))
}

impl Nodes {
    fn add(&mut self, addr: SocketAddr) -> Result<(), Problem> {
        let seed = self.nodes.first().map(|first| first.chitchat_id().gossip_advertise_addr.to_string());
        let config = ChitchatConfig {
            chitchat_id: ChitchatId::new(name(self.nodes.len()), 1, addr),
            cluster_id: "default".to_owned(),
            gossip_interval: Duration::from_secs(1),
            listen_addr: addr,
            seed_nodes: seed.into_iter().collect(),
            failure_detector_config: FailureDetectorConfig::default(),
            marked_for_deletion_grace_period: Duration::from_secs(15 * 60),
            catchup_callback: None,
            extra_liveness_predicate: None,
            protocol_version: ProtocolVersion::V1,
        };
        let node = self.runtime.block_on(spawn_chitchat(config, Vec::new(), &UdpTransport))?;
        self.states.push(node.chitchat());
        self.nodes.push(node);
        Ok(())
    }
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

    fn join(&mut self) -> Result<(), Problem> {
        let addr = UdpSocket::bind(LOCALHOST)?.local_addr()?;
        self.add(addr)
    }

    fn crash(&mut self, node: usize) {
        self.nodes[node].abort();
    }

    fn set(&mut self, node: usize, key: &str, value: &str) -> Result<(), Problem> {
        self.runtime.block_on(async { self.states[node].lock().await.self_node_state().set(key, value) });
        Ok(())
    }

    fn keys(&self, node: usize) -> usize {
        self.runtime.block_on(async {
            let state = self.states[node].lock().await;
            state.node_states().values().map(NodeState::num_key_values).sum()
        })
    }

    fn has(&self, node: usize, owner: usize, key: &str, value: &str) -> bool {
        let owner = self.nodes[owner].chitchat_id();
        self.runtime.block_on(async {
            let state = self.states[node].lock().await;
            state.node_state(owner).and_then(|state| state.get(key)) == Some(value)
        })
    }
}
