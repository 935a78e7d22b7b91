//! Observations of a siege: by the members, by third parties, and in the process.

use std::{
    collections::BTreeMap,
    fs,
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use syncswim::{Gossip, MemberState};

/// The pause between two looks.
pub(crate) const TICK: Duration = Duration::from_millis(20);

/// Third parties, which count the datagrams that arrive at them.
pub(crate) struct Bystanders {
    sockets: Vec<UdpSocket>,
    pub(crate) bytes: AtomicU64,
    pub(crate) datagrams: AtomicU64,
}

impl Bystanders {
    pub(crate) fn new() -> Self {
        let at = |i| {
            let socket = UdpSocket::bind((Ipv4Addr::new(127, 0, 3, i), 0)).unwrap();
            socket.set_nonblocking(true).unwrap();
            socket
        };
        Self { sockets: (1..6).map(at).collect(), bytes: AtomicU64::new(0), datagrams: AtomicU64::new(0) }
    }

    pub(crate) fn addrs(&self) -> Vec<SocketAddr> {
        self.sockets.iter().map(|socket| socket.local_addr().unwrap()).collect()
    }

    pub(crate) fn count(&self) {
        let mut buffer = [0; 2048];
        for socket in &self.sockets {
            while let Ok(len) = socket.recv(&mut buffer) {
                self.bytes.fetch_add(len as u64, Relaxed);
                self.datagrams.fetch_add(1, Relaxed);
            }
        }
    }
}

/// Wrong verdicts of honest members on honest members, and their lengths.
#[derive(Default)]
pub(crate) struct Verdicts {
    open: BTreeMap<(String, String, &'static str), Instant>,
    closed: BTreeMap<&'static str, Vec<Duration>>,
}

impl Verdicts {
    /// Notes which of these nodes the others do not list rightly.
    pub(crate) fn look(&mut self, healthy: &[Arc<Gossip>]) {
        let now = Instant::now();
        let them: Vec<_> = healthy.iter().map(|node| node.local()).collect();
        let mut wrong = Vec::new();
        for (node, me) in healthy.iter().zip(&them) {
            let members = node.members();
            for of in &them {
                let problem = match members.named(&of.name) {
                    None => "unlisted",
                    Some(member) if !member.state.is_live() => "departed",
                    Some(member) if member.addr != of.addr => "elsewhere",
                    Some(member) if member.state != MemberState::Alive => "suspected",
                    Some(_) => continue,
                };
                wrong.push((me.name.to_string(), of.name.to_string(), problem));
            }
        }
        self.open.retain(|key, since| {
            let goes_on = wrong.contains(key);
            if !goes_on {
                self.closed.entry(key.2).or_default().push(now - *since);
            }
            goes_on
        });
        for key in wrong {
            self.open.entry(key).or_insert(now);
        }
    }

    pub(crate) fn print(&mut self) {
        let now = Instant::now();
        for (key, since) in std::mem::take(&mut self.open) {
            println!("    still: {} has {} as {}", key.0, key.1, key.2);
            self.closed.entry(key.2).or_default().push(now - since);
        }
        for (problem, lengths) in &mut self.closed {
            lengths.sort();
            let (sum, longest) = (lengths.iter().sum::<Duration>(), lengths[lengths.len() - 1]);
            let median = lengths[lengths.len() / 2];
            println!(
                "    {problem}: {} times, {sum:.1?} in all, median {median:.2?}, longest {longest:.2?}",
                lengths.len()
            );
        }
        if self.closed.is_empty() {
            println!("    none");
        }
    }
}

/// Prints a node's state and counters.
pub(crate) fn describe(node: &Gossip) {
    let me = node.local();
    println!("{} {} {}, {:?}", me.name, me.identity, me.addr, me.state);
    for member in node.members().iter().filter(|member| member.name.starts_with('n')) {
        println!("    {} {} {}, {:?}", member.name, member.identity, member.addr, member.state);
    }
    let metrics = node.metrics();
    let counted: Vec<_> = metrics
        .iter()
        .map(|metric| (metric.name, metric.value.number()))
        .filter(|(_, value)| *value > Some(0))
        .collect();
    println!("    {counted:?}");
}

/// The resources of the process.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Resources {
    pub(crate) threads: usize,
    pub(crate) descriptors: usize,
    pub(crate) resident_kb: usize,
    /// CPU time of the last three seconds, in hundredths of a second.
    pub(crate) ticks: u64,
}

impl Resources {
    /// Whether it is about the same as then.
    pub(crate) fn is_like(&self, then: &Self) -> bool {
        self.threads <= then.threads + 8
            && self.descriptors <= then.descriptors + 8
            && self.resident_kb <= then.resident_kb + (64 << 10)
            && self.ticks <= 2 * then.ticks + 30
    }

    pub(crate) fn now() -> Self {
        let count = |dir| fs::read_dir(dir).unwrap().count();
        let before = cpu_ticks();
        thread::sleep(Duration::from_secs(3));
        let pages = fs::read_to_string("/proc/self/statm").unwrap();
        Self {
            threads: count("/proc/self/task"),
            descriptors: count("/proc/self/fd"),
            resident_kb: pages.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4,
            ticks: cpu_ticks() - before,
        }
    }
}

fn cpu_ticks() -> u64 {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    let fields: Vec<&str> = stat.rsplit(')').next().unwrap().split_whitespace().collect();
    fields[11..13].iter().map(|field| field.parse::<u64>().unwrap()).sum()
}
