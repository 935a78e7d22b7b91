use std::{sync::Arc, thread};

use syncswim::{Gossip, GossipConfig};

use super::{Cluster, LOCALHOST, Problem, name};

struct Nodes(Vec<Arc<Gossip>>);

pub(super) fn start(n: usize) -> Result<Box<dyn Cluster>, Problem> {
    let mut nodes = Nodes(vec![Arc::new(Gossip::start(config(0))?)]);
    for _ in 1..n {
        nodes.join()?;
    }
    Ok(Box::new(nodes))
}

fn config(node: usize) -> GossipConfig {
    GossipConfig::lan(name(node)).bind(LOCALHOST)
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

    fn join(&mut self) -> Result<(), Problem> {
        let seed = self.0[0].local().addr.to_string();
        self.0.push(Arc::new(Gossip::start(config(self.0.len()).seed(seed))?));
        Ok(())
    }

    fn crash(&mut self, node: usize) {
        let node = Arc::clone(&self.0[node]);
        thread::spawn(move || node.abort());
    }
}
