//! State files of real nodes: restarts without seeds, `kill -9` in a loop, files of other nodes.

#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "tests wait in real time, with deadlines")]

mod support;

use std::{
    env, fs,
    io::{BufRead, BufReader, Write},
    net::{SocketAddr, UdpSocket},
    os::unix::fs::{PermissionsExt as _, symlink},
    path::Path,
    process::{Child, Command, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use support::{LONG, await_that, folder::Folder};
use syncswim::{Error, Gossip, GossipConfig, MemberState};

fn config(name: &str, file: &Path) -> GossipConfig {
    GossipConfig::local(name).bind("127.0.0.1:0").state_file(file)
}

fn holds(file: &Path, name: &str) -> bool {
    fs::read(file).is_ok_and(|bytes| bytes.windows(name.len()).any(|part| part == name.as_bytes()))
}

/// Addresses that are free now.
fn free(n: usize) -> Vec<SocketAddr> {
    let sockets: Vec<_> = (0..n).map(|_| UdpSocket::bind("127.0.0.1:0").unwrap()).collect();
    sockets.iter().map(|socket| socket.local_addr().unwrap()).collect()
}

/// Waits until the first lists the second as well: before that, a leave would be told to no member.
fn see_each_other(a: &Gossip, b: &Gossip) {
    b.wait_for_members(2, LONG).unwrap();
    a.wait_for_members(2, LONG).unwrap();
}

/// A node in a process of its own, which is this program once more; killed when dropped.
struct Process {
    child: Child,
    lines: Receiver<String>,
}

/// The program of such a process, which runs until it is killed. As a test of its own it does nothing.
#[test]
fn a_node_in_a_process_of_its_own() {
    let Ok(name) = env::var("STATE_NODE") else { return };
    let var = |key: &str| env::var(key).unwrap_or_default();
    let mut config = GossipConfig::local(name).bind(var("STATE_BIND")).state_file(var("STATE_FILE"));
    config.seeds.extend(env::var("STATE_SEED"));
    let node = Gossip::start(config).unwrap();
    let (_, events) = node.follow();
    let inbox = node.inbox("t").unwrap();
    thread::spawn(move || {
        for id in inbox.filter_map(|item| item.into_message()?.broadcast_id()) {
            writeln!(std::io::stdout(), "\ngot {}", id.seq).unwrap();
        }
    });
    let tell = |live: usize| writeln!(std::io::stdout(), "\nlive {live}").unwrap();
    tell(1);
    for _ in &events {
        tell(node.members().live().count());
    }
}

impl Process {
    fn start(name: &str, bind: SocketAddr, file: &Path, seed: Option<SocketAddr>) -> Self {
        let mut command = Command::new(env::current_exe().unwrap());
        command.args(["a_node_in_a_process_of_its_own", "--exact", "--nocapture"]);
        command.env("STATE_NODE", name).env("STATE_BIND", bind.to_string()).env("STATE_FILE", file);
        command.envs(seed.map(|seed| ("STATE_SEED", seed.to_string())));
        let mut child = command.stdout(Stdio::piped()).spawn().unwrap();
        let output = BufReader::new(child.stdout.take().unwrap());
        let (tell, lines) = channel();
        let read = move || output.lines().map_while(Result::ok).try_for_each(|line| tell.send(line));
        thread::Builder::new().spawn(read).unwrap();
        Self { child, lines }
    }

    /// Waits until it sees so many live members.
    #[track_caller]
    fn sees(&self, live: usize) {
        let (wanted, deadline) = (format!("live {live}"), Instant::now() + LONG);
        loop {
            let left = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(left) {
                Ok(line) if line == wanted => return,
                Ok(_) => {}
                Err(error) => panic!("it never sees {live}: {error}"),
            }
        }
    }

    /// Waits for this broadcast, and returns the numbers of all that arrived up to it.
    #[track_caller]
    fn gets(&self, wanted: u64) -> Vec<u64> {
        let (mut numbers, deadline) = (Vec::new(), Instant::now() + LONG);
        while numbers.last() != Some(&wanted) {
            let line = self.lines.recv_timeout(deadline.saturating_duration_since(Instant::now()));
            let line = line.unwrap_or_else(|error| panic!("no {wanted} after {numbers:?}: {error}"));
            numbers.extend(line.strip_prefix("got ").and_then(|number| number.parse::<u64>().ok()));
        }
        numbers
    }

    /// `kill -9`.
    fn kill(mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_process_that_is_killed_a_hundred_times_finds_its_cluster_each_time_without_a_seed() {
    let folder = Folder::new("killed");
    let (file, mut rng) = (folder.file("c"), Rng::with_seed(7));
    let plain = |name: &str| GossipConfig::local(name).bind("127.0.0.1:0");
    let a = Gossip::start(plain("a")).unwrap();
    let b = Gossip::start(plain("b").seed(a.local().addr.to_string())).unwrap();
    a.wait_for_members(2, LONG).unwrap();
    let (bind, seed) = (free(1)[0], a.local().addr);
    let epoch = || a.members().named("c").map_or(0, |c| c.identity.epoch);
    let c = Process::start("c", bind, &file, Some(seed));
    c.sees(3);
    await_that("it has written both", || holds(&file, "\u{1}a") && holds(&file, "\u{1}b"));
    c.kill();
    let mut last = epoch();
    assert!(last > 0);
    for kill in 0..100 {
        let c = Process::start("c", bind, &file, None);
        if kill % 4 == 0 {
            c.sees(3);
            await_that("the others see another life of it", || epoch() > last);
            last = epoch();
        }
        // At some time between its first steps and its first batch of records.
        thread::sleep(Duration::from_millis(rng.u64(..=60)));
        c.kill();
    }
    let c = Process::start("c", bind, &file, None);
    c.sees(3);
    await_that("the others see its last life", || epoch() > last);
    drop((c, b));
}

/// The others still pass a burst on when its receiver is killed and restarted.
#[test]
fn a_process_that_is_killed_gets_no_broadcast_of_its_file_again_and_all_that_comes() {
    let folder = Folder::new("broadcasts");
    let file = folder.file("c");
    let slow = |name: &str| GossipConfig::lan(name).bind("127.0.0.1:0");
    let a = Gossip::start(slow("a")).unwrap();
    let b = Gossip::start(slow("b").seed(a.local().addr.to_string())).unwrap();
    see_each_other(&a, &b);
    let bind = free(1)[0];
    let c = Process::start("c", bind, &file, Some(a.local().addr));
    let epochs = || [&a, &b].map(|node| node.members().named("c").map_or(0, |c| c.identity.epoch));
    c.sees(3);
    await_that("it is listed", || !epochs().contains(&0));
    let before = epochs()[0];
    (0..100).for_each(|_| _ = a.broadcast("t", [7; 512]).unwrap());
    assert_eq!(c.gets(100), (1..=100).collect::<Vec<_>>());
    // All numbers up to 100, and none above.
    let mut head = b"\x05\x01a".to_vec();
    let mut rest = a.local().identity.epoch;
    while rest > 0 {
        head.push((rest & 0x7f) as u8 | if rest > 0x7f { 0x80 } else { 0 });
        rest >>= 7;
    }
    head.extend([100, 0]);
    await_that("it is written", || {
        fs::read(&file).is_ok_and(|bytes| bytes.windows(head.len()).any(|part| part == head))
    });
    c.kill();
    println!("{} are still passed on", a.metrics().queued_broadcasts);
    let c = Process::start("c", bind, &file, None);
    c.sees(3);
    await_that("its new life is listed", || epochs().iter().all(|epoch| *epoch > before));
    a.broadcast("t", b"the next").unwrap();
    assert_eq!(c.gets(101), [101]);
}

/// Row 9 of the promises, with processes: all at once, without seeds.
#[test]
fn a_cluster_of_processes_that_are_all_killed_is_one_again_within_ten_seconds_without_seeds() {
    let folder = Folder::new("all-killed");
    let (addrs, names) = (free(5), ["n0", "n1", "n2", "n3", "n4"]);
    let start = |seed: Option<SocketAddr>| -> Vec<Process> {
        let nodes = names.iter().zip(&addrs);
        nodes.map(|(name, addr)| Process::start(name, *addr, &folder.file(name), seed)).collect()
    };
    let nodes = start(Some(addrs[0]));
    nodes.iter().for_each(|node| node.sees(5));
    let knows_all = |name: &&str| {
        names.iter().filter(|other| *other != name).all(|other| holds(&folder.file(name), other))
    };
    await_that("all files have all names", || names.iter().all(knows_all));
    nodes.into_iter().for_each(Process::kill);
    let (nodes, began) = (start(None), Instant::now());
    nodes.iter().for_each(|node| node.sees(5));
    let took = began.elapsed();
    println!("one cluster again after {took:?}");
    assert!(took < Duration::from_secs(10), "{took:?}");
}

#[test]
fn a_node_that_left_stays_alone_unless_it_is_to_rejoin() {
    let folder = Folder::new("left");
    let file = folder.file("b");
    let a = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0")).unwrap();
    let seed = a.local().addr.to_string();
    let b = Gossip::start(config("b", &file).seed(&seed)).unwrap();
    see_each_other(&a, &b);
    b.shutdown().unwrap();
    let left = || a.members().named("b").is_some_and(|b| b.state == MemberState::Left);
    await_that("it has left", left);

    let b = Gossip::start(config("b", &file).rejoin_after_leave(true)).unwrap();
    see_each_other(&a, &b);
    b.shutdown().unwrap();
    await_that("it has left again", left);

    let b = Gossip::start(config("b", &file)).unwrap();
    thread::sleep(Duration::from_secs(2));
    assert!(b.members().len() == 1 && left(), "{:?}", b.members());
    // The application may still join explicitly.
    b.join([&*seed]).unwrap();
    b.wait_for_members(2, LONG).unwrap();
}

#[test]
fn the_file_is_private_and_comes_back_when_it_is_removed() {
    let folder = Folder::new("removed");
    let file = folder.file("a");
    let a = Gossip::start(config("a", &file)).unwrap();
    let b = Gossip::start(config("b", &folder.file("b")).seed(a.local().addr.to_string())).unwrap();
    await_that("it knows b", || holds(&file, "\u{1}b"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    fs::remove_file(&file).unwrap();
    let c = Gossip::start(config("c", &folder.file("c")).seed(a.local().addr.to_string())).unwrap();
    await_that("it is there again, with all", || holds(&file, "\u{1}b") && holds(&file, "\u{1}c"));
    assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o777, 0o600);
    assert_eq!(a.metrics().state_file_errors, 0);
    // Without its folder it cannot rejoin; the others are not affected.
    fs::remove_dir_all(folder.path()).unwrap();
    let d =
        Gossip::start(GossipConfig::local("d").bind("127.0.0.1:0").seed(a.local().addr.to_string())).unwrap();
    await_that("the failure is counted", || a.metrics().state_file_errors > 0);
    a.wait_for_members(4, LONG).unwrap();
    [a, b, c, d].iter().for_each(|node| node.shutdown().unwrap());
}

/// As `> file`, `logrotate` with `copytruncate` and editors do.
#[test]
fn a_file_that_is_cut_off_or_overwritten_while_the_node_runs_is_written_anew() {
    let folder = Folder::new("overwritten");
    let file = folder.file("a");
    let a = Gossip::start(config("a", &file)).unwrap();
    let member = |name: &str| {
        let seed = a.local().addr.to_string();
        Gossip::start(GossipConfig::local(name).bind("127.0.0.1:0").seed(seed)).unwrap()
    };
    let mut others = vec![member("b")];
    await_that("it knows b", || holds(&file, "\u{1}b"));
    for name in ["c", "d"] {
        let size = if name == "c" { 0 } else { fs::metadata(&file).unwrap().len() };
        fs::write(&file, vec![b'#'; size as usize]).unwrap();
        others.push(member(name));
        await_that("all are in it", || holds(&file, &format!("\u{1}{name}")) && holds(&file, "\u{1}b"));
    }
    a.abort().unwrap();
    let a = Gossip::start(config("a", &file)).unwrap();
    a.wait_for_members(4, LONG).unwrap();
}

/// Root can write to nearly every folder, but not to this one.
#[cfg(target_os = "linux")]
#[test]
fn a_folder_that_cannot_be_written_to_shows_at_the_start() {
    let error = Gossip::start(config("a", Path::new("/proc/a.state"))).unwrap_err();
    assert!(matches!(error, Error::StateFile { .. }), "{error:?}");
    let folder = Folder::new("read-only");
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o555)).unwrap();
    let is_root = fs::write(folder.file("probe"), "").is_ok();
    let started = Gossip::start(config("a", &folder.file("a")));
    assert!(is_root || matches!(started, Err(Error::StateFile { .. })));
    drop(started);
    fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn a_file_of_another_node_is_refused_and_left_as_it_is() {
    let folder = Folder::new("refused");
    let file = folder.file("a");
    Gossip::start(config("a", &file)).unwrap().shutdown().unwrap();
    let before = fs::read(&file).unwrap();
    let refusal = |config: GossipConfig| {
        let error = Gossip::start(config).unwrap_err();
        assert!(matches!(error, Error::StateFile { .. }), "{error:?}");
        error.report()
    };
    let report = refusal(config("b", &file));
    assert!(report.contains("give this node a file of its own"), "{report}");
    assert!(report.ends_with("it is of another node"), "{report}");
    let report = refusal(config("a", &file).cluster("blue"));
    assert!(report.ends_with("it is of another cluster"), "{report}");
    assert_eq!(fs::read(&file).unwrap(), before);

    let text = folder.file("text");
    fs::write(&text, "precious, and given by mistake").unwrap();
    assert!(refusal(config("a", &text)).ends_with("it is not a state file"));
    assert_eq!(fs::read(&text).unwrap(), b"precious, and given by mistake");
    let link = folder.file("link");
    symlink(&file, &link).unwrap();
    for path in [&link, folder.path(), Path::new("/dev/null")] {
        assert!(refusal(config("a", path)).ends_with("no regular file"));
    }
    assert!(refusal(config("a", &folder.file("missing").join("a"))).contains("missing/a"));
    Gossip::start(config("a", &file)).unwrap().shutdown().unwrap();
}

#[test]
fn a_file_that_is_damaged_keeps_no_node_from_starting() {
    let folder = Folder::new("damaged");
    let file = folder.file("b");
    let a = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0")).unwrap();
    let b = Gossip::start(config("b", &file).seed(a.local().addr.to_string())).unwrap();
    b.wait_for_members(2, LONG).unwrap();
    b.abort().unwrap();
    let whole = fs::read(&file).unwrap();
    let mut rng = Rng::with_seed(3);
    for _ in 0..30 {
        let mut bytes = whole.clone();
        if rng.bool() {
            bytes.truncate(rng.usize(..=whole.len()));
        } else {
            *rng.choice(&mut bytes).unwrap() ^= 1 << rng.u8(..8);
        }
        fs::write(&file, bytes).unwrap();
        Gossip::start(config("b", &file)).unwrap().abort().unwrap();
    }
    // A tail of zeros hides no damage.
    fs::write(&file, [&whole[..], &[0; 4096]].concat()).unwrap();
    Gossip::start(config("b", &file)).unwrap().wait_for_members(2, LONG).unwrap();
}

#[test]
fn two_nodes_on_one_file_leave_one_that_can_be_read() {
    let folder = Folder::new("two");
    let file = folder.file("a");
    let plain = |name: &str, seed: &Gossip| {
        Gossip::start(GossipConfig::local(name).bind("127.0.0.1:0").seed(seed.local().addr.to_string()))
            .unwrap()
    };
    // The two nodes never learn of each other.
    let twins = [(); 2].map(|()| Gossip::start(config("a", &file)).unwrap());
    let mut others = Vec::new();
    for round in 0..3 {
        others.extend(twins.iter().enumerate().map(|(at, twin)| plain(&format!("m{round}-{at}"), twin)));
        thread::sleep(Duration::from_millis(1200));
        assert!(file.exists(), "at no moment is there none");
    }
    twins.iter().for_each(|twin| twin.abort().unwrap());
    let next = Gossip::start(config("a", &file)).unwrap();
    next.wait_for_members(4, LONG).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn a_stop_leaves_no_thread_of_it() {
    let folder = Folder::new("threads");
    let threads = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.trim() == "stopper-state").count()
    };
    for graceful in [true, false] {
        let node = Gossip::start(config("stopper", &folder.file("a"))).unwrap();
        await_that("it runs", || threads() == 1);
        if graceful {
            node.shutdown().unwrap()
        } else {
            node.abort().unwrap()
        }
        assert_eq!(threads(), 0);
    }
}

/// The program in the document shows the contents of a file.
#[test]
fn the_program_of_the_document_shows_a_file() {
    if Command::new("python3").arg("--version").output().is_err() {
        return println!("skipped: there is no python3");
    }
    let folder = Folder::new("shown");
    let file = folder.file("b");
    let a = Gossip::start(GossipConfig::local("node-a").bind("127.0.0.1:0")).unwrap();
    let addr = a.local().addr;
    let b = Gossip::start(config("b", &file).seed(addr.to_string())).unwrap();
    see_each_other(&a, &b);
    let inbox = b.inbox("t").unwrap();
    a.broadcast("t", b"x").unwrap();
    inbox.recv_timeout(LONG).unwrap();
    b.shutdown().unwrap();
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operating/STATE_FILE.md");
    let document = fs::read_to_string(document).unwrap();
    let program = document.split("```python\n").nth(1).and_then(|rest| rest.split("```").next()).unwrap();
    let shown = Command::new("python3").args(["-c", program]).arg(&file).output().unwrap();
    let text = String::from_utf8(shown.stdout).unwrap();
    assert!(shown.status.success(), "{}", String::from_utf8_lossy(&shown.stderr));
    let life = format!("life {}", b.local().identity.epoch);
    let head = format!("head ('node-a', 'epoch {}', 'all up to 1')", a.local().identity.epoch);
    let words = [&*life, "member ('node-a', '127.0.0.1 port", "'live'", "left", &head];
    assert!(words.iter().all(|words| text.contains(words)), "{text}");
    assert!(text.contains(&format!("port {}'", addr.port())), "{text}");
    assert!(text.ends_with("0 bytes cannot be read\n"), "{text}");
}
