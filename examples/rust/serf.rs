//! Follows a Serf cluster: its members become peers, by their names. It asks a `serf agent` of this host over its control
//! port, so nothing here speaks Serf's own protocol.
//!
//! ```text
//! serf agent -node old-1 -bind 127.0.0.1:8001 &
//! cargo run --example serf -- 127.0.0.1:7373
//! cargo run --example serf -- 127.0.0.1:7373 new-1 127.0.0.1:7001
//! ```
//!
//! The second form also runs a node of syncswim: two discoveries fill one list. This is a way to migrate. Start the new node
//! on each host, under the name of its agent: nothing changes, since a peer is active while either discovery reports it.
//! Once every host has a node, leave out the agents.

mod arguments;

use std::{
    borrow::Cow,
    collections::BTreeMap,
    env,
    error::Error,
    io::{self, BufReader},
    net::{Shutdown, SocketAddr, TcpStream},
    process::ExitCode,
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, after, bounded, never, select};
use rmpv::{Value, decode::read_value, encode::write_value};
use syncswim::{BoxError, Cluster, Discovery, GossipConfig, GossipDiscovery, Membership, PeerName, Stop};

const USAGE: &str = "Prints every change of a Serf cluster as a local agent tells it, and of a node beside it, until SIGINT or SIGTERM.

usage: serf AGENT [NAME HOST:PORT [SEED]...]

  AGENT      IP:PORT of the agent's control port (its -rpc-addr); with a key, that is read from SERF_RPC_AUTH
  NAME       of a node of syncswim that runs beside it, as its agent is called
  HOST:PORT  where that one listens, UDP and TCP
  SEED       HOST:PORT of a node to join through
  --help     shows this

example: cargo run --example serf -- 127.0.0.1:7373 new-1 127.0.0.1:7001";

/// The pause before an agent that does not answer is tried again.
const RETRY: Duration = Duration::from_millis(500);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// A Serf cluster, in the view of one of its agents.
struct Serf {
    agent: SocketAddr,
    /// The agent's `rpc_auth`.
    auth: Option<String>,
    /// What was reported to the membership.
    told: BTreeMap<String, State>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    Active,
    Left,
    Failed,
}

/// Why the program stopped following the agent.
enum Ended {
    /// The agent or the connection is gone: the program tries again.
    Lost(io::Error),
    /// The agent refuses the key, or does not speak this protocol.
    Refused(String),
}

impl From<io::Error> for Ended {
    fn from(problem: io::Error) -> Self {
        Self::Lost(problem)
    }
}

impl Discovery for Serf {
    fn name(&self) -> Cow<'_, str> {
        "serf".into()
    }

    fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError> {
        loop {
            match self.follow(membership, stop) {
                Ok(()) => return Ok(()),
                Err(Ended::Refused(why)) => return Err(format!("the agent at {}: {why}", self.agent).into()),
                // Its peers stay as they were, since nothing is known about them.
                Err(Ended::Lost(problem)) => eprintln!("serf: the agent at {}: {problem}", self.agent),
            }
            if stop.wait(RETRY) {
                return Ok(());
            }
        }
    }
}

impl Serf {
    /// Follows the agent until the stop, or until the connection ends.
    fn follow(&mut self, membership: &Membership, stop: &Stop) -> Result<(), Ended> {
        let socket = TcpStream::connect_timeout(&self.agent, RETRY)?;
        let mut reading = BufReader::new(socket.try_clone()?);
        thread::scope(|scope| {
            let (tell, said) = bounded(64);
            scope.spawn(move || {
                while let Ok(value) = read_value(&mut reading)
                    && tell.send(value).is_ok()
                {}
            });
            let ended = self.talk(&socket, &said, membership, stop);
            // The other thread's reads fail then, and it ends.
            let _ = socket.shutdown(Shutdown::Both);
            drop(said);
            ended
        })
    }

    /// Each event only triggers reading the members again, so nothing can be missed.
    fn talk(
        &mut self,
        mut socket: &TcpStream,
        said: &Receiver<Value>,
        membership: &Membership,
        stop: &Stop,
    ) -> Result<(), Ended> {
        let mut seq = 0_u64;
        let mut ask = |command: &str, body: Option<(&str, Value)>| {
            seq += 1;
            let header = vec![("Command".into(), command.into()), ("Seq".into(), seq.into())];
            let body = body.map(|(key, value)| Value::Map(vec![(key.into(), value)]));
            [Value::Map(header)].iter().chain(&body).try_for_each(|value| write_value(&mut socket, value))
        };
        let lost = |problem: rmpv::encode::Error| Ended::Lost(problem.into());
        ask("handshake", Some(("Version", 1.into()))).map_err(lost)?;
        if let Some(auth) = &self.auth {
            ask("auth", Some(("AuthKey", auth.as_str().into()))).map_err(lost)?;
        }
        let events = "member-join,member-leave,member-failed,member-update,member-reap";
        ask("stream", Some(("Type", events.into()))).map_err(lost)?;
        ask("members", None).map_err(lost)?;

        let (mut asked, mut changed, mut answer) = (true, false, after(PATIENCE));
        loop {
            select! {
                recv(stop.receiver()) -> _ => return Ok(()),
                recv(answer) -> _ => return Err(io::Error::from(io::ErrorKind::TimedOut).into()),
                recv(said) -> value => {
                    let value = value.map_err(|_| io::Error::from(io::ErrorKind::UnexpectedEof))?;
                    match (text(&value, "Error"), text(&value, "Event"), field(&value, "Members")) {
                        (Some(error), ..) if !error.is_empty() => return Err(refusal(&value, error)),
                        (_, Some("member-reap"), Some(members)) => self.forget(members, membership),
                        (_, Some(_), _) => changed = true,
                        (_, _, Some(members)) => {
                            (asked, answer) = (false, never());
                            self.tell(members, membership);
                        }
                        _ => {}
                    }
                }
            }
            if changed && !asked {
                ask("members", None).map_err(lost)?;
                (asked, changed, answer) = (true, false, after(PATIENCE));
            }
        }
    }

    /// The agent has forgotten these members.
    fn forget(&mut self, members: &Value, membership: &Membership) {
        let names: Vec<_> =
            members.as_array().into_iter().flatten().filter_map(|member| text(member, "Name")).collect();
        membership.remove(&names);
        self.told.retain(|name, _| !names.contains(&name.as_str()));
    }

    /// Reports changes in a list of members. Members that are no longer in it stay: an agent that was restarted lists none
    /// at first.
    fn tell(&mut self, members: &Value, membership: &Membership) {
        let listed: BTreeMap<String, State> =
            members.as_array().into_iter().flatten().filter_map(read).collect();
        let told = &self.told;
        let new = |state| {
            let is_new =
                move |(name, now): &(&String, &State)| **now == state && told.get(*name) != Some(now);
            listed.iter().filter(is_new).map(|(name, _)| name)
        };
        membership.add(new(State::Active));
        membership.mark_left(new(State::Left));
        membership.mark_failed(new(State::Failed));
        self.told.extend(listed);
    }
}

/// A refused version or key is refused for ever; other errors may go away.
fn refusal(answer: &Value, error: &str) -> Ended {
    let is_first = field(answer, "Seq").and_then(Value::as_u64) == Some(1);
    match is_first || error.to_lowercase().contains("auth") {
        true => Ended::Refused(error.into()),
        false => Ended::Lost(io::Error::other(error.to_owned())),
    }
}

/// A member's name and state; `None` for one that the agent is about to forget.
fn read(member: &Value) -> Option<(String, State)> {
    let state = match text(member, "Status")? {
        "alive" | "leaving" => State::Active,
        "left" => State::Left,
        "failed" => State::Failed,
        _ => return None,
    };
    Some((text(member, "Name")?.to_owned(), state))
}

fn field<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.as_map()?.iter().find_map(|(name, value)| (name.as_str() == Some(key)).then_some(value))
}

fn text<'a>(value: &'a Value, key: &str) -> Option<&'a str> {
    field(value, key)?.as_str()
}

fn main() -> ExitCode {
    let arguments = arguments::read(USAGE, 1..=usize::MAX);
    let Err(error) = run(arguments) else { return ExitCode::SUCCESS };
    eprintln!("serf: {}", error.downcast_ref().map_or_else(|| error.to_string(), syncswim::Error::report));
    ExitCode::FAILURE
}

fn run(arguments: Vec<String>) -> Result<(), Box<dyn Error>> {
    let mut arguments = arguments.into_iter();
    let Some(agent) = arguments.next() else { return Err(USAGE.into()) };
    let agent = agent.parse().map_err(|_| format!("{agent} is no IP:PORT of an agent's control port"))?;
    let serf = Serf { agent, auth: env::var("SERF_RPC_AUTH").ok(), told: BTreeMap::new() };
    let mut cluster = Cluster::new().with_discovery(serf);
    if let (Some(name), Some(bind)) = (arguments.next(), arguments.next()) {
        let node = GossipDiscovery::new(GossipConfig::lan(name).bind(bind)).peer_name(PeerName::Name);
        cluster = cluster.with_discovery(arguments.fold(node, GossipDiscovery::join));
    }
    let changes = cluster.membership().watch();
    let running = cluster.start()?;
    let stop = running.stop_flag().clone();
    ctrlc::set_handler(move || stop.stop())?;
    for change in &changes {
        println!("{change}");
    }
    running.join()?;
    println!("stopped");
    Ok(())
}
