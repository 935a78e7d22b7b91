//! Real processes of the examples: a crash, a restart and a leave, as the others report them, and metrics over HTTP.
#![cfg(unix)]

use std::{
    env, fs,
    io::{BufRead, BufReader, Read, Write},
    net::TcpStream,
    os::unix::net::UnixDatagram,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use crossbeam_channel::{Receiver, RecvTimeoutError, unbounded};

const LONG: Duration = Duration::from_secs(60);

/// A running `node` and the lines it prints; killed when dropped.
struct Process {
    child: Child,
    lines: Receiver<String>,
    heard: Vec<String>,
}

impl Process {
    fn start(name: &str, join: Option<&str>) -> Self {
        Self::notifying(name, join, None)
    }

    /// Starts it like a service manager that wants notifications.
    fn notifying(name: &str, join: Option<&str>, socket: Option<&Path>) -> Self {
        let mut command = Command::new(example("node"));
        command.env_remove("NOTIFY_SOCKET").envs(socket.map(|path| ("NOTIFY_SOCKET", path)));
        command.args(["--name", name, "--bind", "127.0.0.1:0", "--tag", "role=test"]);
        command.args(join.map(|seed| ["--join", seed]).into_iter().flatten());
        Self::spawn(command)
    }

    fn spawn(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).spawn().expect("the example was built");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (tell, lines) = unbounded();
        let read = move || stdout.lines().map_while(Result::ok).try_for_each(|line| tell.send(line));
        thread::Builder::new().spawn(read).expect("a thread");
        Self { child, lines, heard: Vec::new() }
    }

    /// Reads on until a line holds all of `words`.
    #[track_caller]
    fn expect(&mut self, words: &[&str]) -> String {
        loop {
            let line = match self.lines.recv_timeout(LONG) {
                Ok(line) => line,
                Err(RecvTimeoutError::Timeout) => panic!("no line with {words:?} in {:#?}", self.heard),
                Err(RecvTimeoutError::Disconnected) => {
                    panic!("it ended without {words:?}: {:#?}", self.heard)
                }
            };
            self.heard.push(line.clone());
            if words.iter().all(|word| line.contains(word)) {
                return line;
            }
        }
    }

    fn addr(&mut self) -> String {
        let line = self.expect(&["listens on"]);
        let addr = line.split(" listens on ").nth(1).and_then(|rest| rest.split(';').next());
        addr.expect("an address").to_owned()
    }

    /// Whether a line read so far holds all of `words`.
    fn has_heard(&self, words: &[&str]) -> bool {
        self.heard.iter().any(|line| words.iter().all(|word| line.contains(word)))
    }

    fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status();
        assert!(sent.expect("`kill` runs").success());
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // The process may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `cargo test` builds the examples beside the tests.
fn example(name: &str) -> PathBuf {
    let test = std::env::current_exe().expect("a path");
    let profile = test.parent().and_then(|deps| deps.parent()).expect("target/<profile>/deps/<test>");
    let path = profile.join("examples").join(name);
    assert!(path.exists(), "{} is missing: run `cargo test -p examples`", path.display());
    path
}

#[test]
fn processes_find_each_other_and_report_a_crash_a_restart_and_a_leave() {
    let mut a = Process::start("a", None);
    let seed = a.addr();
    let mut b = Process::start("b", Some(&seed));
    let mut c = Process::start("c", Some(&seed));
    let first = c.addr();
    for node in [&mut a, &mut b, &mut c] {
        node.expect(&["3 live: a b c"]);
    }

    c.child.kill().unwrap();
    c.child.wait().unwrap();
    for node in [&mut a, &mut b] {
        node.expect(&["failed", "c at"]);
    }

    // The same name, on another port.
    let mut c = Process::start("c", Some(&seed));
    let second = c.addr();
    assert_ne!(first, second);
    for node in [&mut a, &mut b] {
        node.expect(&["joined", &format!("c at {second} (role=test)")]);
    }
    c.expect(&["3 live: a b c"]);

    c.signal("-INT");
    c.expect(&["left after"]);
    assert!(c.child.wait().unwrap().success());
    for node in [&mut a, &mut b] {
        node.expect(&["left", &format!("c at {second}")]);
        assert!(!node.has_heard(&["failed", &second]), "a leave is no failure: {:#?}", node.heard);
    }
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it waits for a file, with a deadline")]
fn a_node_with_a_state_file_needs_no_seed_the_second_time() {
    let file = env::temp_dir().join(format!("syncswim-example-{}.state", std::process::id()));
    let start = |join: Option<&str>| {
        let mut command = Command::new(example("node"));
        command.args(["--name", "b", "--bind", "127.0.0.1:0", "--state"]).arg(&file);
        command.args(join.map(|seed| ["--join", seed]).into_iter().flatten());
        Process::spawn(command)
    };
    let mut a = Process::start("a", None);
    let mut b = start(Some(&a.addr()));
    b.expect(&["2 live: a b"]);
    // New knowledge is written within a second or so.
    let deadline = Instant::now() + LONG;
    while !fs::read(&file).is_ok_and(|bytes| bytes.windows(2).any(|part| part == b"\x01a")) {
        assert!(Instant::now() < deadline, "it is never written");
        thread::sleep(Duration::from_millis(10));
    }
    b.child.kill().unwrap();
    b.child.wait().unwrap();
    let mut b = start(None);
    b.expect(&["2 live: a b"]);
    fs::remove_file(file).unwrap();
}

#[test]
fn a_service_manager_is_told_when_it_is_up_and_it_leaves_at_its_signal() {
    let folder = env::temp_dir().join(format!("syncswim-notify-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("socket");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager.set_read_timeout(Some(LONG)).unwrap();
    let hear = || {
        let mut buffer = [0; 64];
        let length = manager.recv(&mut buffer).expect("it tells in time");
        String::from_utf8_lossy(&buffer[..length]).into_owned()
    };
    let mut a = Process::start("a", None);
    let seed = a.addr();
    let mut b = Process::notifying("b", Some(&seed), Some(&path));
    assert_eq!(hear(), "READY=1");
    a.expect(&["joined", "b at"]);

    b.signal("-TERM");
    assert_eq!(hear(), "STOPPING=1");
    a.expect(&["left", "b at"]);
    b.expect(&["left after"]);
    assert!(b.child.wait().unwrap().success());
    assert!(!a.has_heard(&["failed", "b at"]), "a leave is no failure: {:#?}", a.heard);
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn the_readme_s_first_program_ends_at_either_signal_and_leaves() {
    let mut a = Process::start("a", None);
    let seed = a.addr();
    for signal in ["-INT", "-TERM"] {
        let mut command = Command::new(example("peers"));
        command.args(["b", "127.0.0.1:0", &seed]);
        let mut b = Process::spawn(command);
        b.expect(&["active", &seed]);
        a.expect(&["joined", "b at"]);

        b.signal(signal);
        b.expect(&["stopped"]);
        assert!(b.child.wait().unwrap().success());
        a.expect(&["left", "b at"]);
        assert!(!a.has_heard(&["failed", "b at"]), "a leave is no failure: {:#?}", a.heard);
    }
}

/// An HTTP server's answer to a request.
fn answer(server: &str, request: &str) -> String {
    let mut connection = TcpStream::connect(server).unwrap();
    connection.set_read_timeout(Some(LONG)).unwrap();
    connection.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    connection.read_to_string(&mut answer).unwrap();
    answer
}

#[test]
#[expect(clippy::disallowed_methods, reason = "it waits for an answer, with a deadline")]
fn a_program_without_a_runtime_shows_its_metrics_to_prometheus() {
    let start = |name: &str, seed: Option<&str>| {
        let mut command = Command::new(example("metrics"));
        command.args([name, "127.0.0.1:0", "127.0.0.1:0"]).args(seed);
        Process::spawn(command)
    };
    let mut a = start("a", None);
    let seed = a.addr();
    let page = a.expect(&["http://"]).rsplit("http://").next().unwrap().replace("/metrics", "");
    let _b = start("b", Some(&seed));
    let get = "GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: */*\r\n\r\n";
    let (head, text) = loop {
        let answer = answer(&page, get);
        let (head, text) = answer.split_once("\r\n\r\n").expect("a head and a body");
        if text.contains("\nsyncswim_members{state=\"alive\"} 2\n") {
            break (head.to_owned(), text.to_owned());
        }
        thread::yield_now();
    };
    assert!(head.starts_with("HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4"), "{head}");
    assert!(head.contains(&format!("Content-Length: {}\r\n", text.len())), "{head}");
    assert!(text.starts_with("# HELP syncswim_") && text.ends_with('\n'));
    for other in ["GET / HTTP/1.1\r\n\r\n", "POST /metrics HTTP/1.1\r\n\r\n", "\r\n\r\n"] {
        assert!(answer(&page, other).starts_with("HTTP/1.1 404 "), "{other:?}");
    }
    // A client that sends a byte now and then does not delay others.
    let mut slow = TcpStream::connect(&page).unwrap();
    let writing = thread::Builder::new().spawn(move || {
        while slow.write_all(b"x").is_ok() {
            thread::park_timeout(Duration::from_millis(300));
        }
    });
    let begun = Instant::now();
    assert!(answer(&page, get).starts_with("HTTP/1.1 200 OK"));
    assert!(begun.elapsed() < LONG / 4, "{:?}", begun.elapsed());
    writing.unwrap().join().unwrap();
    a.signal("-INT");
    assert!(a.child.wait().unwrap().success());
}

#[test]
fn what_cannot_work_is_said_on_stderr_and_ends_with_a_failure() {
    let mut a = Process::start("a", None);
    let taken = a.addr();
    let run = |args: &[&str]| Command::new(example("node")).args(args).output().unwrap();
    for (args, expected) in [
        (&["--name", "b", "--bind", &taken][..], &*taken),
        (&["--name", ""][..], "`name`"),
        (&["--bind", "127.0.0.1:0"][..], "--name is missing"),
        (&["--name", "b", "--bind", "http://here"][..], "`bind`"),
        (
            &["--name", "b", "--bind", "0.0.0.0:0", "--join", "localhost:9", "--advertise", "[fd00::1]"][..],
            "`advertise`",
        ),
        (&["--name", "b", "--tag", &format!("k={}", "x".repeat(600))][..], "512"),
    ] {
        let output = run(args);
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert!(!output.status.success() && stderr.contains(expected), "{args:?}: {stderr}");
    }
}

#[test]
fn nodes_count_primes_together_and_the_asking_one_does_what_a_killed_one_has_not() {
    let work = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_work"));
        command.args(arguments).stdin(Stdio::piped());
        Process::spawn(command)
    };
    let mut first = work(&["a", "127.0.0.1:0"]);
    let addr = first.expect(&["listens on"]).replace("listens on ", "");
    let mut others = ["b", "c"].map(|name| work(&[name, "127.0.0.1:0", &addr]));
    others.iter_mut().for_each(|other| drop(other.expect(&["listens on"])));
    let mut input = first.child.stdin.take().expect("it is piped");
    while !first.has_heard(&["9592 primes", "3 of 3 answered"]) {
        writeln!(input, "100000").expect("it reads");
        first.expect(&["9592 primes below 100000"]);
    }
    let [b, c] = others;
    b.signal("-KILL");
    writeln!(input, "100000").expect("it reads");
    first.expect(&["9592 primes below 100000: 2 of 3 answered; b: "]);
    drop((input, c));
}

#[test]
fn what_one_node_drops_all_nodes_drop_from_their_caches() {
    let cache = |arguments: &[&str]| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_cache"));
        command.args(arguments).stdin(Stdio::piped());
        Process::spawn(command)
    };
    let tell = |process: &mut Process, line: &str| {
        let input = process.child.stdin.as_mut().expect("it is piped");
        writeln!(input, "{line}").expect("it reads");
    };
    let mut first = cache(&["a", "127.0.0.1:0"]);
    let addr = first.expect(&["listens on"]).replace("listens on ", "");
    let mut second = cache(&["b", "127.0.0.1:0", &addr]);
    second.expect(&["listens on"]);
    tell(&mut second, "get user:17");
    second.expect(&["loads user:17"]);
    tell(&mut second, "get user:17");
    second.expect(&["has user:17"]);
    // A node that joins receives later broadcasts.
    let hears = |line: Result<String, _>| line.is_ok_and(|line| line == "drops user:17");
    let is_dropped = (0..600).any(|_| {
        tell(&mut first, "drop user:17");
        hears(second.lines.recv_timeout(Duration::from_millis(100)))
    });
    assert!(is_dropped, "the second never hears of it");
    tell(&mut second, "get user:17");
    second.expect(&["loads user:17"]);
}
