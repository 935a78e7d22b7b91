use std::{
    sync::{Arc, mpsc::Sender},
    time::Instant,
};

use kinship::{Config, Event, State};
use tokio::runtime::Runtime;

use super::{Cluster, Heard, LEAVE_TIMEOUT, LOCALHOST, Problem, name, runtime};

struct Nodes {
    runtime: Runtime,
    nodes: Vec<Arc<kinship::Cluster>>,
    /// How many there will ever be.
    most: usize,
}

pub(super) fn start(n: usize) -> Result<Box<dyn Cluster>, Problem> {
    let mut nodes = Nodes { runtime: runtime()?, nodes: Vec::new(), most: n + 1 };
    for _ in 0..n {
        nodes.join()?;
    }
    Ok(Box::new(nodes))
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

    fn join(&mut self) -> Result<(), Problem> {
        let config = Config::lan()
            .with_name(name(self.nodes.len()))
            .with_bind(LOCALHOST)
            .with_insecure_plaintext(true)
            .with_max_inbound_streams(self.most.max(64))
            .with_max_inbound_streams_per_ip(self.most.max(16));
        let node = Arc::new(self.runtime.block_on(kinship::Cluster::start(config))?);
        if let Some(seed) = self.nodes.first().map(|first| first.local_addr()) {
            // A start with seeds waits for the join; the others' starts shall not.
            let joins = Arc::clone(&node);
            self.runtime.spawn(async move {
                if let Err(error) = joins.join([seed]).await {
                    eprintln!("kinship: {error}");
                }
            });
        }
        self.nodes.push(node);
        Ok(())
    }

    fn crash(&mut self, node: usize) {
        self.nodes[node].abort();
    }

    fn listen(&mut self, heard: Sender<Heard>) -> Result<(), Problem> {
        for (node, cluster) in self.nodes.iter().enumerate() {
            let (mut events, heard) = (cluster.events(), heard.clone());
            self.runtime.spawn(async move {
                while let Some(event) = events.recv().await {
                    if let Event::UserMessage { data, .. } = event {
                        let text = String::from_utf8_lossy(&data).into_owned();
                        let _ = heard.send(Heard { node, text, at: Instant::now() });
                    }
                }
            });
        }
        Ok(())
    }

    fn broadcast(&mut self, node: usize, text: &str) -> Result<(), Problem> {
        Ok(self.runtime.block_on(self.nodes[node].broadcast(text))?)
    }
}
