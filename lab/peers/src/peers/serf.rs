//! `serf agent`: a process per node. A node's view is read from its log, which has a line for each change, so that no
//! queries of the agent cost work and traffic.

use std::{
    collections::BTreeSet,
    io::{BufRead, BufReader},
    net::{SocketAddr, TcpListener},
    process::{Child, ChildStdout, Command, Stdio},
    sync::{Arc, Mutex, MutexGuard, mpsc::Sender},
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Asked, Cluster, Heard, LOCALHOST, Problem, debian, name, serf_control::Control};
use crate::home::Home;

/// How long the first agent may take to see itself.
const PATIENCE: Duration = Duration::from_secs(10);

pub(super) fn version() -> Result<String, String> {
    debian::version("serf")
}

struct Nodes {
    agents: Vec<Agent>,
    seed: SocketAddr,
    home: Home,
}

struct Agent {
    process: Child,
    control_port: SocketAddr,
    control: Option<Control>,
    live: Arc<Mutex<BTreeSet<String>>>,
}

pub(super) fn start(n: usize) -> Result<Box<dyn Cluster>, Problem> {
    // The seed's port must be known before it starts; a free one is found by taking it first.
    let seed = TcpListener::bind(LOCALHOST)?.local_addr()?;
    let since = Instant::now();
    let first = Agent::start(0, seed)?;
    while !first.live().contains(&name(0)) {
        if since.elapsed() > PATIENCE {
            return Err("its first agent does not see itself".into());
        }
        thread::sleep(Duration::from_millis(1));
    }
    let mut agents = vec![first];
    for node in 1..n {
        agents.push(Agent::start(node, seed)?);
    }
    let processes = agents.iter().map(|agent| agent.process.id()).collect();
    Ok(Box::new(Nodes { agents, seed, home: Home::of_nodes(processes, since) }))
}

/// Where an agent is controlled: serf's usual port, of a loopback address of its own, so that no two agents want the same.
fn control_port(node: usize) -> SocketAddr {
    let [high, low] = (node as u16).to_be_bytes();
    SocketAddr::from(([127, 1, high, low], 7373))
}

impl Agent {
    fn start(node: usize, seed: SocketAddr) -> Result<Self, Problem> {
        let control_port = control_port(node);
        // The scenario ends without leaves, and no agent may outlive it.
        let mut command = Command::new("setpriv");
        command.args(["--pdeathsig", "KILL", "serf", "agent", "-profile=lan"]);
        command.args([format!("-node={}", name(node)), format!("-rpc-addr={control_port}")]);
        match node {
            0 => command.arg(format!("-bind={seed}")),
            // A plain -join would end the agent if the seed is too busy to answer.
            _ => command.args([
                format!("-bind={LOCALHOST}"),
                format!("-retry-join={seed}"),
                "-retry-interval=1s".to_owned(),
            ]),
        };
        let mut process = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
        let log = process.stdout.take().ok_or("it has no log")?;
        let live = Arc::<Mutex<BTreeSet<_>>>::default();
        let heard = Arc::clone(&live);
        thread::spawn(move || listen(log, &heard));
        Ok(Self { process, control_port, control: None, live })
    }

    fn control(&self) -> Result<&Control, Problem> {
        Ok(self.control.as_ref().ok_or("nothing follows this agent")?)
    }

    fn live(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.live.lock().unwrap_or_else(|e| e.into_inner())
    }
}

/// Lines that count read `… serf: EventMemberJoin: NAME ADDRESS`.
fn listen(log: ChildStdout, live: &Mutex<BTreeSet<String>>) {
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        let Some((_, event)) = line.split_once(" serf: ") else { continue };
        let mut words = event.split_whitespace();
        let (Some(event), Some(member)) = (words.next(), words.next()) else { continue };
        let mut live = live.lock().unwrap_or_else(|e| e.into_inner());
        match event {
            "EventMemberJoin:" => live.insert(member.to_owned()),
            "EventMemberLeave:" | "EventMemberFailed:" => live.remove(member),
            _ => false,
        };
    }
}

impl Cluster for Nodes {
    fn home(&self) -> Option<Home> {
        Some(self.home.clone())
    }

    fn live(&self, node: usize) -> usize {
        self.agents[node].live().len()
    }

    fn sees(&self, node: usize, other: usize) -> bool {
        self.agents[node].live().contains(&name(other))
    }

    fn leave(&mut self, node: usize) -> bool {
        kill_process(Pid::from_child(&self.agents[node].process), Signal::INT).is_ok()
    }

    fn join(&mut self) -> Result<(), Problem> {
        self.agents.push(Agent::start(self.agents.len(), self.seed)?);
        Ok(())
    }

    fn crash(&mut self, node: usize) {
        self.agents[node].process.kill().expect("it is our child");
    }

    fn listen(&mut self, heard: Sender<Heard>) -> Result<(), Problem> {
        for (node, agent) in self.agents.iter_mut().enumerate() {
            agent.control = Some(Control::connect(agent.control_port, node, heard.clone())?);
        }
        Ok(())
    }

    fn broadcast(&mut self, node: usize, text: &str) -> Result<(), Problem> {
        self.agents[node].control()?.send_event(text)
    }

    fn query(&mut self, node: usize) -> Result<Option<Asked>, Problem> {
        self.agents[node].control()?.query().map(Some)
    }
}
