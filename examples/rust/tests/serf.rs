//! The example `serf` follows real agents of Serf, where Debian's package `serf` is installed.
#![cfg(unix)]

use std::{
    env, fs,
    io::{BufRead, BufReader, ErrorKind, Read},
    net::{TcpListener, UdpSocket},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, unbounded};

const LONG: Duration = Duration::from_secs(60);

/// A process; killed when dropped.
struct Process(Child);

impl Process {
    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.0.id().to_string()]).status();
        assert!(sent.expect("`kill` runs").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// A port that is free over TCP and UDP, and most likely still free when it is used.
fn port() -> u16 {
    loop {
        let tcp = TcpListener::bind("127.0.0.1:0").expect("a port");
        let addr = tcp.local_addr().expect("it is bound");
        if UdpSocket::bind(addr).is_ok() {
            return addr.port();
        }
    }
}

/// The addresses of an agent: the port of its cluster, and its control port.
#[derive(Clone, Copy)]
struct Place(u16, u16);

impl Place {
    fn new() -> Self {
        Self(port(), port())
    }
}

/// Starts an agent that forgets failed or left members after two seconds, at its next check every 15 s.
fn agent(folder: &Path, name: &str, Place(bind, control): Place, join: Option<Place>) -> Process {
    let config = folder.join("serf.json");
    fs::write(&config, r#"{"reconnect_timeout":"2s","tombstone_timeout":"2s"}"#).expect("a file");
    let mut command = Command::new("serf");
    command.args(["agent", "-profile=local", "-log-level=err", "-node", name]);
    command.arg(format!("-bind=127.0.0.1:{bind}")).arg(format!("-rpc-addr=127.0.0.1:{control}"));
    command.arg(format!("-config-file={}", config.display()));
    command.args(join.map(|Place(bind, _)| format!("-retry-join=127.0.0.1:{bind}")));
    command.args(["-retry-interval=1s"]);
    Process(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().expect("serf starts"))
}

/// The example, and the changes that it prints.
struct Follower {
    process: Process,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Follower {
    fn start(control: u16, more: &[&str]) -> Self {
        let test = env::current_exe().expect("a path");
        let profile = test.parent().and_then(|deps| deps.parent()).expect("target/<profile>/deps/<test>");
        let mut command = Command::new(profile.join("examples/serf"));
        command.arg(format!("127.0.0.1:{control}")).args(more).stdout(Stdio::piped()).stderr(Stdio::null());
        let mut child = command.spawn().expect("run `cargo test -p examples`");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (tell, lines) = unbounded();
        let read = move || stdout.lines().map_while(Result::ok).try_for_each(|line| tell.send(line));
        thread::Builder::new().spawn(read).expect("a thread");
        Self { process: Process(child), lines, heard: Vec::new() }
    }

    /// Reads on until a change has all these words.
    #[track_caller]
    fn expect(&mut self, words: &[&str]) {
        loop {
            let line = self.lines.recv_timeout(LONG);
            let line = line.unwrap_or_else(|_| panic!("no line with {words:?} in {:#?}", self.heard));
            self.heard.push(line.clone());
            if words.iter().all(|word| line.contains(word)) {
                return;
            }
        }
    }
}

#[test]
fn joins_failures_and_leaves_of_a_serf_cluster_arrive_and_a_restart_of_the_agent_changes_nothing() {
    match Command::new("serf").arg("version").output() {
        Err(problem) if problem.kind() == ErrorKind::NotFound => {
            return println!("skipped: there is no `serf` here (Debian has it in the package `serf`)");
        }
        version => assert!(version.expect("it runs").status.success()),
    }
    let folder: PathBuf = env::temp_dir().join(format!("syncswim-serf-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let places = [(); 5].map(|()| Place::new());
    let [at_a, at_b, at_c, at_d, at_e] = places;

    // The example starts before its agent, and runs a node of its own.
    let mut follower = Follower::start(at_a.1, &["new-1", "127.0.0.1:0"]);
    follower.expect(&["active", "new-1"]);
    let a = agent(&folder, "old-a", at_a, None);
    follower.expect(&["active", "old-a"]);
    let b = agent(&folder, "old-b", at_b, Some(at_a));
    let _d = agent(&folder, "old-d", at_d, Some(at_a));
    follower.expect(&["old-b"]);

    drop(b);
    follower.expect(&["failed", "old-b"]);
    let c = agent(&folder, "old-c", at_c, Some(at_a));
    follower.expect(&["active", "old-c"]);
    c.signal("-INT");
    follower.expect(&["left", "old-c"]);
    // Serf forgets them after a while.
    follower.expect(&["removed", "old-c"]);
    let heard = follower.heard.join("\n");
    assert!(heard.contains("removed") && heard.contains("old-b"), "{heard}");

    // The agent dies, and restarts without knowing any member.
    drop(a);
    let before = follower.heard.len();
    let _a = agent(&folder, "old-a", at_a, Some(at_d));
    let _e = agent(&folder, "old-e", at_e, Some(at_d));
    follower.expect(&["active", "old-e"]);
    let after = follower.heard[before..].join("\n");
    assert!(!after.contains("old-d") && !after.contains("new-1") && !after.contains("removed"), "{after}");

    follower.process.signal("-INT");
    follower.expect(&["stopped"]);
    assert!(follower.process.0.wait().unwrap().success());
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn an_agent_that_refuses_the_key_ends_it_with_what_the_agent_says() {
    if Command::new("serf").arg("version").output().is_err() {
        return println!("skipped: there is no `serf` here (Debian has it in the package `serf`)");
    }
    let folder: PathBuf = env::temp_dir().join(format!("syncswim-serf-key-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let place = Place::new();
    let config = folder.join("key.json");
    fs::write(&config, r#"{"rpc_auth":"right"}"#).unwrap();
    let mut command = Command::new("serf");
    command.args(["agent", "-node=a", "-log-level=err"]).arg(format!("-config-file={}", config.display()));
    command.arg(format!("-bind=127.0.0.1:{}", place.0)).arg(format!("-rpc-addr=127.0.0.1:{}", place.1));
    let _agent = Process(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap());
    let test = env::current_exe().expect("a path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("target/<profile>/deps/<test>");
    for (key, ends) in [("wrong", true), ("right", false)] {
        let mut command = Command::new(profile.join("examples/serf"));
        command.arg(format!("127.0.0.1:{}", place.1)).env("SERF_RPC_AUTH", key);
        let mut child = Process(command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap());
        if ends {
            let mut said = String::new();
            child.0.stderr.take().unwrap().read_to_string(&mut said).unwrap();
            assert!(said.contains("the agent at 127.0.0.1") && said.contains("uth"), "{said}");
            assert!(!child.0.wait().unwrap().success());
        } else {
            // The first line shows the state at the start, usually empty.
            let mut lines = BufReader::new(child.0.stdout.take().unwrap()).lines().map_while(Result::ok);
            assert!(lines.any(|line| line == "active a"));
        }
    }
    fs::remove_dir_all(folder).unwrap();
}
