use std::sync::Arc;

use kinship::{Config, State};
use tokio::runtime::Runtime;

use super::{Cluster, LEAVE_TIMEOUT, LOCALHOST, Problem, name, runtime};

struct Nodes {
    runtime: Runtime,
    nodes: Vec<Arc<kinship::Cluster>>,
}

pub(super) fn start(n: usize) -> Result<Box<dyn Cluster>, Problem> {
    let runtime = runtime()?;
    let config = |number| {
        Config::lan()
            .with_name(name(number))
            .with_bind(LOCALHOST)
            .with_insecure_plaintext(true)
            .with_max_inbound_streams(n.max(64))
            .with_max_inbound_streams_per_ip(n.max(16))
    };
    let nodes = runtime.block_on(async {
        let first = kinship::Cluster::start(config(0)).await?;
        let seed = first.local_addr();
        let mut nodes = vec![Arc::new(first)];
        for number in 1..n {
            let node = Arc::new(kinship::Cluster::start(config(number)).await?);
            // A start with seeds waits for the join; the others' starts shall not.
            let joins = Arc::clone(&node);
            tokio::spawn(async move {
                if let Err(error) = joins.join([seed]).await {
                    eprintln!("kinship: {error}");
                }
            });
            nodes.push(node);
        }
        Ok::<_, Problem>(nodes)
    })?;
    Ok(Box::new(Nodes { runtime, nodes }))
}

impl Cluster for Nodes {
    fn live(&self, node: usize) -> usize {
        self.nodes[node].members().len()
    }

    fn sees(&self, node: usize, other: usize) -> bool {
        let member = self.nodes[node].member(&name(other));
        member.is_some_and(|member| matches!(member.state, State::Alive | State::Suspect))
    }

    fn leave(&mut self, node: usize) -> bool {
        let node = Arc::clone(&self.nodes[node]);
        self.runtime.spawn(async move {
            let _ = node.leave(LEAVE_TIMEOUT).await;
            node.close().await;
        });
        true
    }

    fn crash(&mut self, node: usize) {
        self.nodes[node].abort();
    }
}
