//! foca is a core alone. This driver is one task per node that owns its socket, its timers and the core.

use std::{
    cmp::Reverse,
    collections::{BTreeSet, BinaryHeap},
    io,
    net::SocketAddr,
    num::NonZeroU32,
    sync::{Arc, Mutex},
    time::Duration,
};

use foca::{AccumulatingRuntime, Config, Foca, NoCustomBroadcast, OwnedNotification, PostcardCodec, Timer};
use rand::{SeedableRng, rngs::StdRng};
use tokio::{
    net::UdpSocket,
    runtime::Runtime,
    sync::oneshot,
    task::AbortHandle,
    time::{Instant, sleep_until},
};

use super::{Cluster, LOCALHOST, Problem, runtime};

/// foca does not report the end of a leave: its users have to guess how long to go on.
const LEAVE: Duration = Duration::from_secs(5);

/// An address, and the number of the life there.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
pub(crate) struct Id {
    pub(crate) addr: SocketAddr,
    pub(crate) life: u64,
}

impl foca::Identity for Id {
    type Addr = SocketAddr;

    fn renew(&self) -> Option<Self> {
        Some(Self { life: self.life + 1, ..self.clone() })
    }

    fn addr(&self) -> SocketAddr {
        self.addr
    }

    fn win_addr_conflict(&self, adversary: &Self) -> bool {
        self.life > adversary.life
    }
}

struct Nodes {
    runtime: Runtime,
    nodes: Vec<Node>,
}

struct Node {
    addr: SocketAddr,
    others: Arc<Mutex<BTreeSet<SocketAddr>>>,
    leave: Option<oneshot::Sender<()>>,
    task: AbortHandle,
}

pub(super) fn start(n: usize) -> Result<Box<dyn Cluster>, Problem> {
    let runtime = runtime()?;
    let nodes = runtime.block_on(async {
        let mut nodes: Vec<Node> = Vec::new();
        for number in 0..n {
            let seed = nodes.first().map(|first| first.addr);
            nodes.push(start_one(number, n, seed).await?);
        }
        Ok::<_, Problem>(nodes)
    })?;
    Ok(Box::new(Nodes { runtime, nodes }))
}

async fn start_one(number: usize, n: usize, seed: Option<SocketAddr>) -> Result<Node, Problem> {
    let socket = UdpSocket::bind(LOCALHOST).await?;
    let addr = socket.local_addr()?;
    let config = Config::new_lan(NonZeroU32::new(n as u32).ok_or("no nodes")?);
    let id = Id { addr, life: 1 };
    let core = Foca::new(id, config, StdRng::seed_from_u64(number as u64), PostcardCodec);
    let others = Arc::<Mutex<BTreeSet<_>>>::default();
    let agent = Agent {
        socket,
        core,
        runtime: AccumulatingRuntime::new(),
        timers: BinaryHeap::new(),
        others: Arc::clone(&others),
    };
    let (leave, left) = oneshot::channel();
    let task = tokio::spawn(agent.run(seed, left)).abort_handle();
    Ok(Node { addr, others, leave: Some(leave), task })
}

struct Agent {
    socket: UdpSocket,
    core: Foca<Id, PostcardCodec, StdRng, NoCustomBroadcast>,
    runtime: AccumulatingRuntime<Id>,
    /// Earliest first, and in foca's own order within a moment, which it asks for.
    timers: BinaryHeap<Reverse<(Instant, Timer<Id>)>>,
    others: Arc<Mutex<BTreeSet<SocketAddr>>>,
}

impl Agent {
    async fn run(mut self, seed: Option<SocketAddr>, mut left: oneshot::Receiver<()>) -> io::Result<()> {
        if let Some(addr) = seed {
            // A guess: the core learns the seed's true identity from its answer.
            let _ = self.core.announce(Id { addr, life: 0 }, &mut self.runtime);
            self.settle().await?;
        }
        let mut end = None;
        let mut buffer = vec![0; 65_536];
        loop {
            let now = Instant::now();
            while self.timers.peek().is_some_and(|Reverse((due, _))| *due <= now) {
                if let Some(Reverse((_, timer))) = self.timers.pop() {
                    let _ = self.core.handle_timer(timer, &mut self.runtime);
                    self.settle().await?;
                }
            }
            let next = self.timers.peek().map(|Reverse((due, _))| *due);
            tokio::select! {
                biased;
                received = self.socket.recv_from(&mut buffer) => {
                    let (length, _) = received?;
                    let _ = self.core.handle_data(&buffer[..length], &mut self.runtime);
                    self.settle().await?;
                }
                () = sleep_until(next.unwrap_or(now)), if next.is_some() => {}
                _ = &mut left, if end.is_none() => {
                    let _ = self.core.leave_cluster(&mut self.runtime);
                    self.settle().await?;
                    end = Some(Instant::now() + LEAVE);
                }
                () = sleep_until(end.unwrap_or(now)), if end.is_some() => return Ok(()),
            }
        }
    }

    async fn settle(&mut self) -> io::Result<()> {
        while let Some((to, bytes)) = self.runtime.to_send() {
            self.socket.send_to(&bytes, to.addr).await?;
        }
        while let Some((delay, timer)) = self.runtime.to_schedule() {
            self.timers.push(Reverse((Instant::now() + delay, timer)));
        }
        while let Some(notification) = self.runtime.to_notify() {
            let mut others = self.others.lock().unwrap_or_else(|e| e.into_inner());
            match notification {
                OwnedNotification::MemberUp(id) => others.insert(id.addr),
                OwnedNotification::MemberDown(id) => others.remove(&id.addr),
                _ => false,
            };
        }
        Ok(())
    }
}

impl Cluster for Nodes {
    fn live(&self, node: usize) -> usize {
        1 + self.nodes[node].others.lock().unwrap_or_else(|e| e.into_inner()).len()
    }

    fn sees(&self, node: usize, other: usize) -> bool {
        let others = self.nodes[node].others.lock().unwrap_or_else(|e| e.into_inner());
        others.contains(&self.nodes[other].addr)
    }

    fn leave(&mut self, node: usize) -> bool {
        self.nodes[node].leave.take().is_some_and(|leave| leave.send(()).is_ok())
    }

    fn join(&mut self) -> Result<(), Problem> {
        let (number, seed) = (self.nodes.len(), self.nodes[0].addr);
        self.nodes.push(self.runtime.block_on(start_one(number, number + 1, Some(seed)))?);
        Ok(())
    }

    fn crash(&mut self, node: usize) {
        self.nodes[node].task.abort();
    }
}
