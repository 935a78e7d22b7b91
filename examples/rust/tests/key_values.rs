//! The examples with key–values, as real processes.

use std::{
    io::{BufRead, BufReader, Write},
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::Duration,
};

use crossbeam_channel::{Receiver, unbounded};

const LONG: Duration = Duration::from_secs(60);

/// A running program and the lines it prints; killed when dropped.
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: Receiver<String>,
}

impl Process {
    fn start(program: &str, arguments: &[&str]) -> Self {
        let mut command = Command::new(program);
        let mut child = command
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("the example was built");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (tell, lines) = unbounded();
        let read = move || stdout.lines().map_while(Result::ok).try_for_each(|line| tell.send(line));
        thread::Builder::new().spawn(read).expect("a thread");
        let stdin = child.stdin.take();
        Self { child, stdin, lines }
    }

    #[track_caller]
    fn line(&self) -> String {
        self.lines.recv_timeout(LONG).expect("a line")
    }

    /// Reads on until a line matches.
    #[track_caller]
    fn expect(&self, wanted: impl Fn(&str) -> bool) -> String {
        loop {
            let line = self.line();
            if wanted(&line) {
                return line;
            }
        }
    }

    fn addr(&self) -> String {
        let line = self.expect(|line| line.contains(" listens on "));
        line.rsplit(' ').next().expect("an address").to_owned()
    }

    fn say(&mut self, line: &str) {
        writeln!(self.stdin.as_mut().expect("it reads"), "{line}").expect("it reads");
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_configuration_that_is_pushed_reaches_all_and_the_last_one_counts() {
    let program = env!("CARGO_BIN_EXE_push");
    let mut a = Process::start(program, &["a", "127.0.0.1:0"]);
    let seed = a.addr();
    a.say("limit 100");
    a.expect(|line| line == "limit is 100 since a set it");
    let mut b = Process::start(program, &["b", "127.0.0.1:0", &seed]);
    b.expect(|line| line == "limit is 100 since a set it");
    b.say("limit 200");
    a.expect(|line| line == "limit is 200 since b set it");
    // When its owner is gone, the value that was set before counts again.
    drop(b.stdin.take());
    assert!(b.child.wait().unwrap().success());
}

#[test]
fn shards_go_to_live_members_by_their_weights() {
    let program = env!("CARGO_BIN_EXE_shards");
    let a = Process::start(program, &["a", "127.0.0.1:0", "1"]);
    let seed = a.addr();
    let b = Process::start(program, &["b", "127.0.0.1:0", "3", &seed]);
    let both = |line: &str| line.contains('a') && line.contains('b') && line.split(' ').count() == 16;
    let (one, other) = (a.expect(both), b.expect(both));
    assert_eq!(one, other);
    let of_b = one.split(' ').filter(|owner| *owner == "b").count();
    assert!((9..16).contains(&of_b), "{one}");
    drop(b);
    a.expect(|line| line == ["a"; 16].join(" "));
}

#[test]
fn a_limit_counts_the_calls_of_all() {
    let program = env!("CARGO_BIN_EXE_limits");
    let mut a = Process::start(program, &["a", "127.0.0.1:0", "3"]);
    let seed = a.addr();
    let mut b = Process::start(program, &["b", "127.0.0.1:0", "3", &seed]);
    b.addr();
    // The minute may end between two calls, and a sum takes a moment to arrive, so the number of calls is not fixed.
    let mut refused = false;
    for call in 0..1000 {
        for process in [&mut a, &mut b] {
            process.say(&call.to_string());
            refused |= process.line().starts_with("refused");
        }
        if refused && call > 20 {
            return;
        }
    }
    panic!("nothing was refused");
}

#[test]
fn the_longest_life_leads_while_most_are_live() {
    let program = env!("CARGO_BIN_EXE_leader");
    let a = Process::start(program, &["a", "127.0.0.1:0", "3"]);
    let seed = a.addr();
    let b = Process::start(program, &["b", "127.0.0.1:0", "3", &seed]);
    a.expect(|line| line == "this node leads");
    b.expect(|line| line == "a leads");
    let c = Process::start(program, &["c", "127.0.0.1:0", "3", &seed]);
    c.expect(|line| line == "a leads");
    drop(a);
    c.expect(|line| line == "b leads");
    drop(b);
    c.expect(|line| line == "nobody leads");
}
