use std::{
    sync::{Arc, mpsc::Sender},
    thread,
    time::Instant,
};

use syncswim::{Gossip, GossipConfig, Inbox, InboxItem, MessageKind, Query, Requests};

use super::{Asked, Cluster, Heard, LOCALHOST, Problem, name};

const TOPIC: &str = "peers";

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

    fn listen(&mut self, heard: Sender<Heard>) -> Result<(), Problem> {
        for (node, gossip) in self.0.iter().enumerate() {
            let (inbox, requests, heard) = (gossip.inbox(TOPIC)?, gossip.serve(TOPIC)?, heard.clone());
            thread::spawn(move || follow(node, &inbox, &heard));
            thread::spawn(move || answer(&requests));
        }
        Ok(())
    }

    fn broadcast(&mut self, node: usize, text: &str) -> Result<(), Problem> {
        self.0[node].broadcast(TOPIC, text.as_bytes())?;
        Ok(())
    }

    fn query(&mut self, node: usize) -> Result<Option<Asked>, Problem> {
        let (start, mut asked) = (Instant::now(), Asked::default());
        for answer in &self.0[node].query(&Query::new(TOPIC))? {
            if answer.result.is_ok() {
                asked.answers += 1;
                asked.last = start.elapsed();
            }
        }
        Ok(Some(Asked { end: start.elapsed(), ..asked }))
    }

    fn set(&mut self, node: usize, key: &str, value: &str) -> Result<(), Problem> {
        self.0[node].set(key, value)?;
        Ok(())
    }

    fn keys(&self, node: usize) -> usize {
        self.0[node].entries().len()
    }

    fn has(&self, node: usize, owner: usize, key: &str, value: &str) -> bool {
        let entries = self.0[node].entries();
        entries.of(&name(owner)).get(key).is_some_and(|entry| *entry.value == *value.as_bytes())
    }
}

fn follow(node: usize, inbox: &Inbox, heard: &Sender<Heard>) {
    for message in inbox.filter_map(InboxItem::into_message) {
        let at = Instant::now();
        if matches!(message.kind, MessageKind::Broadcast { .. }) {
            let text = String::from_utf8_lossy(&message.payload).into_owned();
            let _ = heard.send(Heard { node, text, at });
        }
    }
}

fn answer(requests: &Requests) {
    for request in requests {
        if let Err(error) = request.answer(b"here") {
            eprintln!("syncswim: {error}");
        }
    }
}
