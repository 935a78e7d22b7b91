//! A process that runs a node, and everything that it has printed so far.

use std::{
    collections::BTreeSet,
    fs::{self, File},
    io::{BufRead, BufReader, Write},
    net::{Ipv4Addr, SocketAddr},
    path::{Path, PathBuf},
    process::{Child, ChildStdin, Command, Stdio},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use crate::{
    node::now,
    space::{Host, Problem, run},
};

/// A line of a node: the event, the member, the time.
#[derive(Debug, Clone)]
pub(crate) struct Told {
    pub(crate) at: u64,
    pub(crate) kind: String,
    /// The first word after the kind: for an event about a member, its name.
    pub(crate) name: String,
    pub(crate) text: String,
}

impl Told {
    fn parse(line: &str) -> Option<Self> {
        let mut words = line.splitn(3, ' ');
        let at = words.next()?.parse().ok()?;
        let (kind, text) = (words.next()?.to_owned(), words.next().unwrap_or_default().to_owned());
        let name = text.split(' ').next().unwrap_or_default().to_owned();
        Some(Self { at, kind, name, text })
    }
}

/// The settings of a node.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) name: String,
    pub(crate) bind: SocketAddr,
    pub(crate) advertise: Option<SocketAddr>,
    pub(crate) seeds: Vec<SocketAddr>,
    pub(crate) wan: bool,
    /// Bytes of a datagram, if not the default.
    pub(crate) max_datagram: Option<usize>,
    /// Threads that never rest, all on one processor with the node's.
    pub(crate) busy: usize,
}

/// The host of a node.
#[derive(Debug, Clone)]
struct Place {
    space: String,
    addr: Ipv4Addr,
}

#[derive(Debug)]
pub(crate) struct Process {
    pub(crate) name: String,
    /// The address that others send to, as events show it.
    pub(crate) addr: String,
    place: Place,
    setup: Setup,
    child: Child,
    input: ChildStdin,
    told: Arc<Mutex<Vec<Told>>>,
    log: PathBuf,
    /// The times when it could not answer, so that others may report it as failed.
    away: Vec<(u64, u64)>,
}

/// A time that is never reached.
const NEVER: u64 = u64::MAX;

impl Process {
    /// Starts a node at `host`; its output goes to files in `folder` too.
    pub(crate) fn start(host: &Host, setup: &Setup, folder: &Path) -> Result<Self, Problem> {
        Self::spawn(Place { space: host.space.name.clone(), addr: host.addr }, setup, folder)
    }

    /// Starts it again with the same settings. The earlier process has been told to end.
    pub(crate) fn start_again(&mut self, folder: &Path) -> Result<Self, Problem> {
        self.child.wait()?;
        Self::spawn(self.place.clone(), &self.setup, folder)
    }

    fn spawn(place: Place, setup: &Setup, folder: &Path) -> Result<Self, Problem> {
        fs::create_dir_all(folder)?;
        let log = folder.join(format!("{}.log", setup.name));
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &place.space]);
        if setup.busy > 0 {
            command.args(["taskset", "-c", "0"]);
        }
        match std::env::var("NET_NODE") {
            Ok(other) => command.args(other.split_whitespace()),
            Err(_) => command.arg(std::env::current_exe()?).arg("--as-node"),
        };
        command.arg(&setup.name);
        let mut option = |flag: &str, value: String| {
            command.args([flag, &value]);
        };
        option("--bind", setup.bind.to_string());
        setup.advertise.iter().for_each(|addr| option("--advertise", addr.to_string()));
        setup.seeds.iter().for_each(|addr| option("--seed", addr.to_string()));
        if setup.busy > 0 {
            option("--busy", setup.busy.to_string());
        }
        setup.max_datagram.iter().for_each(|bytes| option("--max-datagram", bytes.to_string()));
        if setup.wan {
            command.env("PRESET", "wan");
        }
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(File::create(&log)?);
        let mut child = command.spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let (input, output) = (input.expect("it is piped"), output.expect("it is piped"));
        let told = Arc::new(Mutex::new(Vec::new()));
        let (keep, mut file) = (Arc::clone(&told), File::create(log.with_extension("events"))?);
        let read = move || {
            for line in BufReader::new(output).lines().map_while(Result::ok) {
                // The file is for people who look into a failure; the scenario reads the list.
                let _ = writeln!(file, "{line}");
                keep.lock().extend(Told::parse(&line));
            }
        };
        thread::Builder::new().name(format!("read-{}", setup.name)).spawn(read)?;
        let addr = setup.advertise.unwrap_or((place.addr, setup.bind.port()).into()).to_string();
        let (name, setup) = (setup.name.clone(), setup.clone());
        Ok(Self { name, addr, place, setup, child, input, told, log, away: Vec::new() })
    }

    pub(crate) fn command(&mut self, line: &str) -> Result<(), Problem> {
        writeln!(self.input, "{line}").map_err(|error| Problem(format!("{}: {line}: {error}", self.name)))
    }

    /// Sends SIGTERM, as service managers do before they kill.
    pub(crate) fn terminate(&self) -> Result<(), Problem> {
        self.signal("-TERM")
    }

    fn signal(&self, name: &str) -> Result<(), Problem> {
        run("kill", &[name, &self.child.id().to_string()], "").map(drop)
    }

    /// Stops the process, as a debugger or a moved virtual machine does.
    pub(crate) fn pause(&mut self) -> Result<(), Problem> {
        self.signal("-STOP")?;
        self.away.push((now(), NEVER));
        Ok(())
    }

    /// Resumes the process. Reports about it within `grace` are still due to the pause.
    pub(crate) fn resume(&mut self, grace: Duration) -> Result<(), Problem> {
        self.signal("-CONT")?;
        let until = now() + u64::try_from(grace.as_micros()).expect("it is short");
        self.away.last_mut().expect("it was paused").1 = until;
        Ok(())
    }

    /// Stops the process for such a short time that no report of its failure is excused.
    pub(crate) fn freeze(&self, time: Duration) -> Result<(), Problem> {
        self.signal("-STOP")?;
        thread::sleep(time);
        self.signal("-CONT")
    }

    /// `kill -9`. Returns the time.
    pub(crate) fn crash(&mut self) -> Result<u64, Problem> {
        let at = now();
        self.away.push((at, NEVER));
        self.child.kill()?;
        self.child.wait()?;
        Ok(at)
    }

    /// From now on reports of its failure are right. Returns the time.
    pub(crate) fn will_be_gone(&mut self) -> u64 {
        let at = now();
        self.away.push((at, NEVER));
        at
    }

    pub(crate) fn was_away(&self, at: u64) -> bool {
        self.away.iter().any(|&(from, until)| (from..=until).contains(&at))
    }

    /// The events that it printed, in order.
    pub(crate) fn told(&self) -> Vec<Told> {
        self.told.lock().clone()
    }

    /// Its first event at `from` or later for which `is` holds.
    pub(crate) fn first(&self, from: u64, is: impl Fn(&Told) -> bool) -> Option<Told> {
        self.told.lock().iter().find(|told| told.at >= from && is(told)).cloned()
    }

    /// The time since which it has listed exactly these as live, if it does now.
    pub(crate) fn lists_since(&self, expected: &BTreeSet<String>) -> Option<u64> {
        let (mut live, mut since) = (BTreeSet::new(), None);
        for told in &*self.told.lock() {
            let changed = match &*told.kind {
                "joined" => live.insert(told.name.clone()),
                "left" | "failed" => live.remove(&told.name),
                _ => false,
            };
            if changed {
                since = (live == *expected).then_some(told.at);
            }
        }
        since
    }

    /// Lines of its log at level WARN or ERROR that hold all of `words`.
    pub(crate) fn warnings(&self, words: &[&str]) -> Vec<String> {
        let log = fs::read_to_string(&self.log).unwrap_or_default();
        let loud = |line: &&str| line.contains("WARN ") || line.contains("ERROR ");
        let holds = |line: &&str| words.iter().all(|word| line.contains(word));
        log.lines().filter(loud).filter(holds).map(str::to_owned).collect()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Waits until `look` finds something.
pub(crate) fn within<T>(limit: Duration, mut look: impl FnMut() -> Option<T>) -> Option<T> {
    let deadline = Instant::now() + limit;
    loop {
        let found = look();
        if found.is_some() || Instant::now() >= deadline {
            return found;
        }
        thread::sleep(Duration::from_millis(20));
    }
}
