//! `serf agent` as a child. Its log says what it sees; tags are set and read by the command `serf`, over the agent's
//! own port, which each namespace has for itself.

use std::{
    io::{BufRead, BufReader},
    process::{ChildStdout, Command, Stdio},
    thread,
};

use rustix::process::{Pid, Signal, kill_process};

use super::{Problem, Setup, say};

pub(super) fn run(setup: Setup) -> Result<(), Problem> {
    // No agent may outlive this process, which the lab kills for a crash.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "serf", "agent", "-profile=lan", "-retry-interval=1s"]);
    command.args([format!("-node={}", setup.name), format!("-bind={}", setup.bind)]);
    command.args(setup.advertise.map(|addr| format!("-advertise={addr}")));
    command.args(setup.seeds.iter().map(|seed| format!("-retry-join={seed}")));
    let mut agent = command.stdin(Stdio::null()).stdout(Stdio::piped()).spawn()?;
    let log = agent.stdout.take().ok_or("it has no log")?;
    thread::spawn(move || listen(log));
    for line in std::io::stdin().lines().map_while(Result::ok) {
        match line.split_once(' ').unwrap_or((&line, "")) {
            ("tag", tag) => {
                say("tagging", tag);
                Command::new("serf").args(["tags", "-set", tag]).stdout(Stdio::null()).status()?;
            }
            ("leave", _) => {
                say("leaving", "");
                kill_process(Pid::from_child(&agent), Signal::INT)?;
                say("gone", agent.wait()?);
                return Ok(());
            }
            (other, _) => say("unknown", other),
        }
    }
    // Whoever started it is gone; so is the agent then.
    Ok(())
}

/// Lines that count read `… serf: EventMemberJoin: NAME ADDRESS`.
fn listen(log: ChildStdout) {
    for line in BufReader::new(log).lines().map_while(Result::ok) {
        let Some((_, event)) = line.split_once(" serf: ") else { continue };
        let mut words = event.split_whitespace();
        let (Some(event), Some(member)) = (words.next(), words.next()) else { continue };
        let kind = match event {
            "EventMemberJoin:" => "joined",
            "EventMemberUpdate:" => "updated",
            "EventMemberLeave:" => "left",
            "EventMemberFailed:" => "failed",
            _ => continue,
        };
        let rest = if kind == "updated" { tags(member) } else { words.collect::<Vec<_>>().join(" ") };
        say(kind, format!("{member} {rest}"));
    }
}

/// A member's line as the agent lists it: name, address, state, tags.
fn tags(member: &str) -> String {
    let output = Command::new("serf").args(["members", &format!("-name=^{member}$")]).output();
    output.map_or_else(
        |error| error.to_string(),
        |output| {
            String::from_utf8_lossy(&output.stdout).split_whitespace().skip(1).collect::<Vec<_>>().join(" ")
        },
    )
}
