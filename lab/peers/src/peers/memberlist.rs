use std::{net::SocketAddr, time::Duration};

use memberlist::{
    Options,
    delegate::VoidDelegate,
    net::NetTransportOptions,
    proto::MaybeResolvedAddress,
    tokio::{TokioSocketAddrResolver, TokioTcp, TokioTcpMemberlist},
};
use smol_str::SmolStr;
use tokio::runtime::Runtime;

use super::{Cluster, LEAVE_TIMEOUT, LOCALHOST, Problem, name, runtime};

type Node = TokioTcpMemberlist<SmolStr, TokioSocketAddrResolver, VoidDelegate<SmolStr, SocketAddr>>;

struct Nodes {
    runtime: Runtime,
    nodes: Vec<Node>,
}

pub(super) fn start(n: usize) -> Result<Box<dyn Cluster>, Problem> {
    let mut nodes = Nodes { runtime: runtime()?, nodes: Vec::new() };
    for _ in 0..n {
        nodes.join()?;
    }
    Ok(Box::new(nodes))
}

async fn start_one(number: usize) -> Result<Node, Problem> {
    let mut transport =
        NetTransportOptions::<SmolStr, TokioSocketAddrResolver, TokioTcp>::new(name(number).into());
    transport.add_bind_address(LOCALHOST);
    let options = Options::lan()
        .with_probe_interval(Duration::from_secs(1))
        .with_probe_timeout(Duration::from_millis(500));
    Ok(Node::new(transport, options).await?)
}

impl Cluster for Nodes {
    fn live(&self, node: usize) -> usize {
        self.runtime.block_on(self.nodes[node].num_online_members())
    }

    fn sees(&self, node: usize, other: usize) -> bool {
        let id = self.nodes[other].local_id();
        self.runtime.block_on(self.nodes[node].online_members()).iter().any(|member| member.id() == id)
    }

    fn leave(&mut self, node: usize) -> bool {
        let node = self.nodes[node].clone();
        self.runtime.spawn(async move {
            let _ = node.leave(LEAVE_TIMEOUT).await;
            node.shutdown().await
        });
        true
    }

    fn join(&mut self) -> Result<(), Problem> {
        let node = self.runtime.block_on(start_one(self.nodes.len()))?;
        if let Some(first) = self.nodes.first().map(|first| *first.advertise_address()) {
            let node = node.clone();
            // Its join waits for the exchange; the others' starts shall not.
            self.runtime.spawn(async move {
                while let Err(error) = node.join(MaybeResolvedAddress::resolved(first)).await {
                    eprintln!("memberlist: {error}");
                    tokio::time::sleep(Duration::from_millis(100)).await;
                }
            });
        }
        self.nodes.push(node);
        Ok(())
    }

    fn crash(&mut self, node: usize) {
        let node = self.nodes[node].clone();
        self.runtime.spawn(async move { node.shutdown().await });
    }
}
