//! A cluster without a key under siege, over real sockets: insiders that joined, and outsiders that did not, attack in
//! random order. During the siege a crash is noticed; after it the cluster is as before.
//!
//! `SIEGE=600` is its length in seconds, 10 by default; the seed is printed, and `SEED=…` repeats it. `SIEGE_ONLY=relays,join`
//! lets only attacks with these words in their names take part, `SIEGE_ONLY=all` every one; else those of outsiders do.
//! `SIEGE_RECORD=dir` has each life recorded there, for `replay` and `view`.
//! It cannot, on one host, send from addresses of honest members, which are bound already.

#![cfg(target_os = "linux")]
#![allow(clippy::disallowed_methods, reason = "tests wait in real time, with deadlines")]

mod attackers;
mod attacks;
mod observe;
#[path = "../support/mod.rs"]
mod support;

use std::{
    net::{Ipv4Addr, SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use attackers::{Persona, SENT, serve_all};
use attacks::{Attacker, Field, inside};
use fastrand::Rng;
use observe::{Bystanders, Resources, TICK, Verdicts};
use parking_lot::Mutex;
use support::forge::Who;
use syncswim::{Gossip, GossipConfig, MemberState, Metrics};

const HONEST: usize = 5;
/// Far longer than it takes to notice a crash, with these presets.
const UNNOTICED: Duration = Duration::from_secs(120);
const ROUNDS: usize = 3;
/// How long a node stays away after its last trouble: 60 rounds, each twice as long while its awareness is 1.
const STEADY: Duration = Duration::from_secs(120);
/// The longest timeout of a suspicion among 256.
const SUSPECTED: Duration = Duration::from_secs(58);
/// By then, others have heard from a member that has just come back.
const SETTLED: Duration = Duration::from_secs(5);

/// A node, and when it started.
type Life = (Arc<Gossip>, Instant);

/// The honest nodes. Locks are held only for moments.
struct Cluster {
    nodes: Mutex<Vec<Option<Life>>>,
    addrs: Vec<SocketAddr>,
    late: SocketAddr,
    max_members: usize,
    /// How many lives have begun.
    lives: AtomicUsize,
    /// Counters of ended lives.
    past: Mutex<[u64; 3]>,
    /// The conditions that did not hold. They are reported at the end, so that one failure hides no other.
    complaints: Mutex<Vec<String>>,
}

impl Cluster {
    fn start(max_members: usize) -> Self {
        let late = free_at(Ipv4Addr::new(127, 0, 1, 9));
        let addrs = (1..=HONEST as u8).map(|i| free_at(Ipv4Addr::new(127, 0, 1, i))).collect();
        let nodes = (0..HONEST).map(|_| None).collect();
        let cluster = Self {
            nodes: Mutex::new(nodes),
            addrs,
            late,
            max_members,
            lives: AtomicUsize::new(0),
            past: Mutex::default(),
            complaints: Mutex::default(),
        };
        (0..HONEST).for_each(|i| cluster.start_one(i));
        cluster.all_see_all("the cluster forms", Duration::from_secs(60));
        cluster
    }

    fn config(&self, name: String, addr: SocketAddr) -> GossipConfig {
        let mut config = GossipConfig::lan(name.clone()).bind(addr);
        config.swim.max_members = self.max_members;
        config.swim.max_departed = self.max_members;
        config.swim.max_reconnects = 64;
        match std::env::var("SIEGE_RECORD") {
            Ok(dir) => {
                let life = self.lives.fetch_add(1, Relaxed);
                config.record(format!("{dir}/{life}-{name}.rec")).record_limit(256 << 20)
            }
            Err(_) => config,
        }
    }

    fn complain(&self, what: String) {
        println!("  ** {what}");
        self.complaints.lock().push(what);
    }

    fn expect(&self, holds: bool, what: impl FnOnce() -> String) {
        if !holds {
            self.complain(what());
        }
    }

    fn start_one(&self, i: usize) {
        let mut config = self.config(format!("n{i}"), self.addrs[i]).seed(self.late.to_string());
        config.seeds.extend(
            self.addrs.iter().take(2).filter(|addr| **addr != self.addrs[i]).map(ToString::to_string),
        );
        let node = Gossip::start(config).unwrap();
        self.nodes.lock()[i] = Some((Arc::new(node), Instant::now()));
    }

    /// Insiders that fall silent cause trouble for a node that probes three of them within 16 rounds, until a node has
    /// probed each; then that node stays away until it is steady; then tables are exchanged.
    fn back(&self) -> Duration {
        self.found_out() + STEADY + Duration::from_secs(60)
    }

    /// Each node detects about one silent member every other round.
    fn found_out(&self) -> Duration {
        Duration::from_secs(2 * self.max_members as u64 / HONEST as u64)
    }

    fn running(&self) -> Vec<Arc<Gossip>> {
        self.nodes.lock().iter().flatten().map(|(node, _)| Arc::clone(node)).collect()
    }

    /// The nodes that have run for a while.
    fn settled(&self, a_while: Duration) -> Vec<Arc<Gossip>> {
        let nodes = self.nodes.lock();
        let settled = nodes.iter().flatten().filter(|(_, since)| since.elapsed() >= a_while);
        settled.map(|(node, _)| Arc::clone(node)).collect()
    }

    fn healthy(&self) -> Vec<(String, SocketAddr)> {
        let nodes = self.nodes.lock();
        let named = |i: usize| (format!("n{i}"), self.addrs[i]);
        (0..nodes.len()).filter(|i| nodes[*i].is_some()).map(named).collect()
    }

    /// A node that all others list as live.
    fn listed_by_all(&self, random: &mut Rng) -> Option<usize> {
        let nodes = self.running();
        let lists = |of: &Gossip, name: &str| of.members().named(name).is_some_and(|m| m.state.is_live());
        let mut listed: Vec<_> =
            (0..HONEST).filter(|i| nodes.iter().all(|of| lists(of, &format!("n{i}")))).collect();
        random.shuffle(&mut listed);
        listed.pop()
    }

    /// Crashes a node, and waits until all others have listed it as failed.
    fn crash(&self, i: usize, field: &Field) -> Duration {
        let (node, _) = self.nodes.lock()[i].take().unwrap();
        field.crashes(who(&node));
        let name = node.local().name;
        self.count_past(&node.metrics());
        node.abort().unwrap();
        let (at, mut left) = (Instant::now(), self.running());
        while !left.is_empty() {
            if at.elapsed() > UNNOTICED {
                let left: Vec<_> = left.iter().map(|of| of.local().name).collect();
                self.running()
                    .iter()
                    .for_each(|of| println!("{} says: {}", of.local().name, of.explain(&name)));
                self.complain(format!("{name} is down, and {left:?} do not notice"));
                break;
            }
            left.retain(|of| of.members().named(&name).is_some_and(|member| member.state.is_live()));
            thread::sleep(TICK);
        }
        at.elapsed()
    }

    fn count_past(&self, metrics: &Metrics) {
        let mut past = self.past.lock();
        for (sum, of) in past.iter_mut().zip(counted(metrics)) {
            *sum += of;
        }
    }

    fn counters(&self) -> [u64; 3] {
        let mut all = *self.past.lock();
        for node in self.running() {
            all.iter_mut().zip(counted(&node.metrics())).for_each(|(sum, of)| *sum += of);
        }
        all
    }

    fn all_see_all(&self, what: &str, limit: Duration) {
        let (since, healthy) = (Instant::now(), self.healthy());
        loop {
            let nodes = self.running();
            let missing = nodes.iter().find_map(|node| {
                let members = node.members();
                let is_listed = |name: &str, addr| {
                    members.named(name).is_some_and(|m| m.state == MemberState::Alive && m.addr == addr)
                };
                let (name, _) = healthy.iter().find(|(name, addr)| !is_listed(name, *addr))?;
                Some((node.local().name, name.clone(), members.named(name).cloned()))
            });
            let Some((by, name, as_what)) = missing else { return };
            if since.elapsed() >= limit {
                nodes.iter().for_each(|node| observe::describe(node));
                nodes.iter().for_each(|node| println!("{} says: {}", node.local().name, node.explain(&name)));
                return self
                    .complain(format!("not within {limit:?}: {what}: {by} has {name} as {as_what:?}"));
            }
            thread::sleep(TICK);
        }
    }

    /// Waits until only honest members are listed as live. Returns how long it took.
    fn await_none_made_up(&self, limit: Duration) -> Duration {
        let since = Instant::now();
        let made_up = || {
            let nodes = self.running();
            nodes
                .iter()
                .map(|node| node.members().live().filter(|m| !m.name.starts_with('n')).count())
                .sum::<usize>()
        };
        while made_up() > 0 {
            if since.elapsed() >= limit {
                self.complain(format!("{} made-up members are listed after {limit:?}", made_up()));
                break;
            }
            thread::sleep(TICK);
        }
        since.elapsed()
    }
}

/// The number of probes, failed probes, and refutations.
fn counted(metrics: &Metrics) -> [u64; 3] {
    [metrics.probes, metrics.probes_failed, metrics.refutations]
}

fn who(node: &Gossip) -> Who {
    let me = node.local();
    let (epoch, incarnation) = (me.identity.epoch, me.identity.incarnation);
    Who { name: me.name.to_string(), addr: me.addr, epoch, incarnation }
}

fn free_at(ip: Ipv4Addr) -> SocketAddr {
    UdpSocket::bind((ip, 0)).unwrap().local_addr().unwrap()
}

/// Crashes and restarts nodes, one after the other; at the end all see all.
fn crashes(cluster: &Cluster, field: &Field, random: &mut Rng, times: usize) -> Vec<Duration> {
    let mut took = Vec::new();
    for _ in 0..times {
        let i = random.usize(..HONEST);
        took.push(cluster.crash(i, field));
        thread::sleep(Duration::from_millis(500));
        cluster.start_one(i);
        cluster.all_see_all("who is back is listed", cluster.back());
        *field.crashed.lock() = None;
    }
    took.sort();
    took
}

/// The same during the siege, without waiting for all to see all.
fn crashes_under_siege(
    cluster: &Cluster,
    field: &Field,
    random: &mut Rng,
    length: Duration,
) -> Vec<Duration> {
    let (since, mut took) = (Instant::now(), Vec::new());
    loop {
        thread::sleep(SETTLED);
        if since.elapsed() > length {
            cluster.expect(!took.is_empty(), || "nobody was listed by all at any time".into());
            took.sort();
            return took;
        }
        let Some(i) = cluster.listed_by_all(random) else { continue };
        took.push(cluster.crash(i, field));
        println!("  {:4.0?}: n{i} was found failed after {:.2?}", since.elapsed(), took[took.len() - 1]);
        thread::sleep(Duration::from_secs(random.u64(1..5)));
        cluster.start_one(i);
    }
}

fn median(sorted: &[Duration]) -> Duration {
    sorted.get(sorted.len() / 2).copied().unwrap_or_default()
}

#[test]
fn a_cluster_outlives_a_siege() {
    let setting = |name| std::env::var(name).ok().and_then(|of| of.parse().ok());
    let seed = setting("SEED").unwrap_or_else(|| fastrand::u64(..));
    let length = Duration::from_secs(setting("SIEGE").unwrap_or(10));
    println!("seed {seed}, {length:?}");
    let mut random = Rng::with_seed(seed);
    let max_members = if length > Duration::from_secs(60) { 256 } else { 64 };

    let cluster = Cluster::start(max_members);
    let bystanders = Bystanders::new();
    let field = Arc::new(Field {
        honest: Mutex::default(),
        crashed: Mutex::default(),
        personas: Mutex::new(vec![Persona::new("in-0", inside(&mut random), 1)]),
        bystanders: bystanders.addrs(),
        max_members,
    });
    let before = crashes(&cluster, &field, &mut random, ROUNDS);
    let at_first = Resources::now();
    println!("before: crashes found after {before:.2?}; {at_first:?}");

    let during = besiege(&cluster, &field, &bystanders, &mut random, length);

    let since = Instant::now();
    cluster.all_see_all("every healthy member is listed by all", cluster.back());
    println!("after: every healthy member is listed by all {:.1?} later", since.elapsed());
    // Such members are suspected for 57 s; for as long again if no other node has accused them; and once more if the node
    // had trouble of its own, which the silence of insiders causes.
    let silent = cluster.await_none_made_up(cluster.found_out() + 3 * SUSPECTED + Duration::from_secs(30));
    println!("  no made-up member is listed {silent:.1?} later");
    let after = crashes(&cluster, &field, &mut random, ROUNDS);
    println!("  crashes found after {after:.2?}");
    a_late_seed_is_found(&cluster);
    let at_last = Resources::now();
    println!("  {at_last:?}");

    let usual = median(&before).max(Duration::from_secs(6));
    cluster.expect(median(&during) <= 2 * usual, || format!("during: {during:.2?}, before: {before:.2?}"));
    cluster.expect(median(&after) <= 2 * usual, || format!("after: {after:.2?}, before: {before:.2?}"));
    cluster.expect(at_last.is_like(&at_first), || format!("{at_last:?}, not {at_first:?}"));
    for node in cluster.running() {
        node.shutdown().unwrap();
    }
    let complaints = std::mem::take(&mut *cluster.complaints.lock());
    assert!(complaints.is_empty(), "{complaints:#?}");
}

/// Returns how long it took to notice each crash.
fn besiege(
    cluster: &Cluster,
    field: &Arc<Field>,
    bystanders: &Bystanders,
    random: &mut Rng,
    length: Duration,
) -> Vec<Duration> {
    let (over, verdicts) = (AtomicBool::new(false), Mutex::new(Verdicts::default()));
    let [probes, failed, refuted] = cluster.counters();
    let outsider = Persona::new("outsider", Ipv4Addr::new(127, 0, 2, 9), 1);
    *field.honest.lock() = cluster.running().iter().map(|node| who(node)).collect();
    let mut attacker = Attacker::new(Arc::clone(field), Rng::with_seed(random.u64(..)), outsider);
    let took = thread::scope(|scope| {
        let spawn = |name: &str| thread::Builder::new().name(name.into());
        spawn("personas").spawn_scoped(scope, || serve_all(&field.personas, &over)).unwrap();
        let attacks = spawn("attacker").spawn_scoped(scope, || attacker.attack_until(&over)).unwrap();
        let look = || {
            while !over.load(Relaxed) {
                bystanders.count();
                verdicts.lock().look(&cluster.settled(SETTLED));
                *field.honest.lock() = cluster.running().iter().map(|node| who(node)).collect();
                thread::sleep(TICK);
            }
        };
        spawn("observer").spawn_scoped(scope, look).unwrap();
        // Any failure below ends the others.
        let _ends = Ends(&over);
        let took = crashes_under_siege(cluster, field, random, length);
        over.store(true, Relaxed);
        attacks.join().unwrap();
        took
    });
    *field.crashed.lock() = None;
    println!("during: crashes found after {took:.2?}");
    println!("  attacks: {:?}", attacker.took);
    let sent = SENT.load(Relaxed);
    let (bytes, datagrams) = (bystanders.bytes.load(Relaxed), bystanders.datagrams.load(Relaxed));
    println!("  attackers sent {sent} bytes; third parties got {bytes} in {datagrams} datagrams");
    let [probes, failed, refuted] =
        std::array::from_fn(|i| cluster.counters()[i] - [probes, failed, refuted][i]);
    println!("  {failed} of {probes} probes were lost, most of made-up members; {refuted} refutations");
    println!("  healthy members, as healthy members had them:");
    verdicts.lock().print();
    cluster.running().iter().for_each(|node| observe::describe(node));
    // The personas fall silent for good, and release their addresses.
    field.personas.lock().clear();
    took
}

struct Ends<'a>(&'a AtomicBool);

impl Drop for Ends<'_> {
    fn drop(&mut self) {
        self.0.store(true, Relaxed);
    }
}

/// All nodes had this seed from the start, but nothing listened there.
fn a_late_seed_is_found(cluster: &Cluster) {
    let late = Gossip::start(cluster.config("n-late".into(), cluster.late)).unwrap();
    let since = Instant::now();
    while late.members().live().count() < HONEST + 1 {
        if since.elapsed() > Duration::from_secs(90) {
            cluster.complain("a seed that came late is not found".into());
            break;
        }
        thread::sleep(TICK);
    }
    println!("  a late seed was found {:.1?} after it came", since.elapsed());
    late.shutdown().unwrap();
}
