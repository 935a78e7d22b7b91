//! Nodes over real sockets are recorded, and run again to the same outputs; no key is in a recording.

#![cfg(unix)]
#![allow(clippy::disallowed_methods, reason = "tests wait in real time, with deadlines")]

mod support;

use std::{
    env, fs,
    io::Read as _,
    os::unix::fs::PermissionsExt as _,
    path::Path,
    process::{Command, Stdio},
};

use support::{await_that, folder::Folder};
use syncswim::{Error, Gossip, GossipConfig, MemberState, Tags, recording::Recording};

const LIMIT: u64 = 8 << 20;

fn config(name: &str, seed: Option<&Gossip>) -> GossipConfig {
    let config = GossipConfig::local(name).bind("127.0.0.1:0");
    match seed {
        Some(seed) => config.seed(seed.local().addr.to_string()),
        None => config,
    }
}

/// Replays a file and returns how many inputs there were.
fn replayed(path: &Path) -> usize {
    let recording = Recording::parse(&fs::read(path).unwrap()).unwrap();
    assert!(recording.is_of_this_build());
    assert_eq!(recording.damage(), [""; 0]);
    let steps: Result<Vec<_>, _> = recording.replay().collect();
    steps.unwrap_or_else(|difference| panic!("{difference}")).len()
}

#[test]
fn three_nodes_over_real_sockets_are_replayed_as_they_were() {
    let folder = Folder::new("replayed");
    let start = |name: &str, seed: Option<&Gossip>| {
        let mut config = config(name, seed);
        config.set("record", folder.file(name).to_str().unwrap()).unwrap();
        Gossip::start(config).unwrap()
    };
    let a = start("a", None);
    let b = start("b", Some(&a));
    let c = start("c", Some(&a));
    a.wait_for_members(3, support::LONG).unwrap();
    b.wait_for_members(3, support::LONG).unwrap();
    b.set_tags(Tags::new([("role", "db")]).unwrap()).unwrap();
    c.abort().unwrap();
    let fails = |node: &Gossip| {
        let members = node.members();
        members.iter().any(|member| &*member.name == "c" && member.state == MemberState::Failed)
    };
    await_that("c is declared failed", || fails(&a) && fails(&b));
    b.shutdown().unwrap();
    a.shutdown().unwrap();
    for name in ["a", "b", "c"] {
        assert!(replayed(&folder.file(name)) > 5, "{name}");
    }
    let recording = Recording::parse(&fs::read(folder.file("a")).unwrap()).unwrap();
    let mut replay = recording.replay();
    while replay.next().is_some() {}
    assert_eq!(replay.node().member("c").unwrap().state, MemberState::Failed);
    assert_eq!(replay.node().member("b").unwrap().tags.get("role"), Some("db"));
}

#[test]
fn a_recording_can_be_turned_on_and_off_while_a_node_runs() {
    let folder = Folder::new("on-and-off");
    let (a, path) = (Gossip::start(config("a", None)).unwrap(), folder.file("a.rec"));
    let b = Gossip::start(config("b", Some(&a))).unwrap();
    a.wait_for_members(2, support::LONG).unwrap();
    assert_eq!(a.metrics().recording, 0);
    a.record(&path, LIMIT).unwrap();
    assert_eq!(a.metrics().recording, 1);
    assert_eq!(fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    let probes = a.metrics().probes;
    await_that("it probes", || a.metrics().probes > probes + 3);
    a.stop_recording();
    a.stop_recording();
    assert_eq!(a.metrics().recording, 0);
    assert!(replayed(&path) > 2);
    let (len, probes) = (fs::metadata(&path).unwrap().len(), a.metrics().probes);
    await_that("it goes on", || a.metrics().probes > probes + 3);
    assert_eq!(fs::metadata(&path).unwrap().len(), len);
    // The earlier file is renamed.
    a.record(&path, LIMIT).unwrap();
    drop(a);
    assert!(replayed(&path) > 0);
    assert!(replayed(&folder.file("a.rec.old")) > 2);
    drop(b);
}

/// What the process that the test below starts runs; without it, nothing.
#[test]
fn a_recorded_node_in_a_process_of_its_own() {
    let (Ok(file), Ok(seed)) = (env::var("RECORDED_FILE"), env::var("RECORDED_SEED")) else { return };
    let mut config = GossipConfig::local("killed").bind("127.0.0.1:0").seed(seed);
    config.set("record", &file).unwrap();
    let _node = Gossip::start(config).unwrap();
    // Until it is killed, or nobody waits for it any more.
    std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
}

/// `kill -9`: nothing is flushed. What an event was told of is there within a tenth of a second.
#[test]
fn the_recording_of_a_process_that_is_killed_is_replayed_up_to_its_last_events() {
    let folder = Folder::new("killed");
    let (a, file) = (Gossip::start(config("a", None)).unwrap(), folder.file("killed.rec"));
    let mut command = Command::new(env::current_exe().unwrap());
    command.args(["a_recorded_node_in_a_process_of_its_own", "--exact", "--nocapture"]);
    command.env("RECORDED_FILE", &file).env("RECORDED_SEED", a.local().addr.to_string());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::null()).spawn().unwrap();
    a.wait_for_members(2, support::LONG).unwrap();
    let last_known = || {
        let recording = Recording::parse(&fs::read(&file).ok()?).ok()?;
        let mut replay = recording.replay();
        replay.by_ref().for_each(|step| drop(step.unwrap()));
        Some(replay.node().members())
    };
    let knows_a = || last_known().is_some_and(|members| members.iter().any(|member| &*member.name == "a"));
    await_that("it is written that it has joined", knows_a);
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(knows_a());
}

#[test]
fn a_recording_that_cannot_begin_is_an_error() {
    let folder = Folder::new("refused");
    let node = Gossip::start(config("a", None)).unwrap();
    let kept = folder.file("kept.rec");
    node.record(&kept, LIMIT).unwrap();
    let nowhere = folder.file("missing").join("a.rec");
    let error = node.record(&nowhere, LIMIT).unwrap_err();
    assert!(matches!(error, Error::Recording { .. }));
    let report = error.report();
    assert!(report.contains("missing/a.rec") && report.contains("No such file"), "{report}");
    let error = node.record(folder.file("a.rec"), 1000).unwrap_err();
    assert_eq!(error.to_string(), "`max_bytes` is 1000 bytes; it must be at least 1048576");
    let mut config = config("b", None);
    config.record = Some(nowhere);
    assert!(matches!(Gossip::start(config), Err(Error::Recording { .. })));
    assert!(matches!(node.record("/dev/null", LIMIT), Err(Error::Recording { .. })), "no file");
    assert_eq!(node.metrics().recording_failures, 0, "none of them began");
    let tags = Tags::new([("role", "db")]).unwrap();
    node.set_tags(tags.clone()).unwrap();
    node.stop_recording();
    let recording = Recording::parse(&fs::read(kept).unwrap()).unwrap();
    let mut replay = recording.replay();
    assert!(replay.by_ref().all(|step| step.is_ok()));
    assert_eq!(replay.node().local().tags, tags, "the one at hand went on");
    assert_eq!(node.members().len(), 1);
    node.shutdown().unwrap();
    assert!(matches!(node.record(folder.file("a.rec"), LIMIT), Err(Error::Stopped { .. })));
}

/// Whenever a recording begins while its node ends, no thread remains.
#[cfg(target_os = "linux")]
#[test]
fn recordings_that_begin_while_the_node_ends_leave_no_thread() {
    let folder = Folder::new("racing");
    let threads = || {
        let tasks = fs::read_dir("/proc/self/task").unwrap().flatten();
        let names = tasks.filter_map(|task| fs::read_to_string(task.path().join("comm")).ok());
        names.filter(|name| name.trim() == "racer-rec").count()
    };
    for _ in 0..20 {
        let node = Gossip::start(config("racer", None)).unwrap();
        std::thread::scope(|scope| {
            scope.spawn(|| while node.record(folder.file("racer"), LIMIT).is_ok() {});
            scope.spawn(|| while node.record(folder.file("other"), LIMIT).is_ok() {});
            node.shutdown().unwrap();
        });
        await_that("its threads end", || threads() == 0);
    }
}

/// The keys that seal, old and new, as bytes and as text, while the key is changed.
#[cfg(feature = "encryption")]
#[test]
fn no_key_is_in_a_recording() {
    use syncswim::{Key, Keyring};

    let folder = Folder::new("keys");
    let (old, new) = (Key::generate().unwrap(), Key::generate().unwrap());
    let start = |name: &str, seed: Option<&Gossip>| {
        let mut config = config(name, seed).keyring(&Keyring::new(old.clone()));
        config.record = Some(folder.file(name));
        Gossip::start(config).unwrap()
    };
    let a = start("a", None);
    let b = start("b", Some(&a));
    a.wait_for_members(2, support::LONG).unwrap();
    a.rotate_key(&new).unwrap();
    let received = a.metrics().datagrams_received;
    await_that("datagrams under the new key", || a.metrics().datagrams_received > received + 5);
    b.shutdown().unwrap();
    a.shutdown().unwrap();
    for name in ["a", "b"] {
        let file = fs::read(folder.file(name)).unwrap();
        assert!(replayed(&folder.file(name)) > 10);
        // The same search finds text that is in the file.
        assert!(file.windows(7).any(|window| window == b"default"));
        for key in [&old, &new] {
            let text: String = key.as_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
            for part in [&key.as_bytes()[..8], &key.as_bytes()[24..], &text.as_bytes()[..16]] {
                assert!(!file.windows(part.len()).any(|window| window == part), "a part of a key is in it");
            }
        }
    }
}
