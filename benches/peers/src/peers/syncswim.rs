use std::{sync::Arc, thread};

use syncswim::{Gossip, GossipConfig};

use super::{Cluster, LOCALHOST, Problem, name};

struct Nodes(Vec<Arc<Gossip>>);

pub(super) fn start(n: usize) -> Result<Box<dyn Cluster>, Problem> {
    let config = |node| GossipConfig::lan(name(node)).bind(LOCALHOST);
    let first = Gossip::start(config(0))?;
    let seed = first.local().addr.to_string();
    let mut nodes = vec![Arc::new(first)];
    for node in 1..n {
        nodes.push(Arc::new(Gossip::start(config(node).seed(&seed))?));
    }
    Ok(Box::new(Nodes(nodes)))
}

impl Cluster for Nodes {
    fn live(&self, node: usize) -> usize {
        self.0[node].members().live().count()
    }

    fn sees(&self, node: usize, other: usize) -> bool {
        self.0[node].members().named(&name(other)).is_some_and(|member| member.state.is_live())
    }

    fn leave(&mut self, node: usize) -> bool {
        let node = Arc::clone(&self.0[node]);
        thread::spawn(move || node.shutdown());
        true
    }

    fn crash(&mut self, node: usize) {
        let node = Arc::clone(&self.0[node]);
        thread::spawn(move || node.abort());
    }
}
