//! One node as a process, which the scenarios start in a namespace: this program itself with `--as-node`.
//!
//! It prints each event with its time, and obeys lines on its standard input: `tag KEY=VALUE`, `join SEED`, `leave`.
//! It leaves at SIGTERM too. When the input ends, it ends without leaving.

use std::{
    env,
    io::stdin,
    net::SocketAddr,
    process::ExitCode,
    thread,
    time::{SystemTime, UNIX_EPOCH},
};

use crossbeam_channel::{Receiver, select, unbounded};
use lexopt::{
    Arg::{Long, Value},
    ValueExt,
};
use syncswim::{Event, Gossip, GossipConfig, Member, Tags};

/// Microseconds since 1970: one clock for all processes of a scenario.
pub(crate) fn now() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).expect("it is later than 1970");
    since.as_micros().try_into().expect("it is earlier than 586,000")
}

pub(crate) fn main(args: impl Iterator<Item = String>) -> ExitCode {
    env_logger::Builder::from_env(env_logger::Env::default().default_filter_or("info")).init();
    let config = parse(lexopt::Parser::from_args(args)).map_err(|mistake| mistake.to_string());
    match config.and_then(|config| Gossip::start(config).map_err(|error| error.report())) {
        Ok(gossip) => run(&gossip),
        Err(problem) => {
            say("refused", &problem);
            ExitCode::FAILURE
        }
    }
}

fn parse(mut parser: lexopt::Parser) -> Result<GossipConfig, lexopt::Error> {
    let (mut name, mut bind, mut advertise): (Option<String>, Option<SocketAddr>, Option<SocketAddr>) =
        (None, None, None);
    let (mut seeds, mut max_datagram): (Vec<String>, Option<usize>) = (Vec::new(), None);
    while let Some(argument) = parser.next()? {
        match argument {
            Value(text) if name.is_none() => name = Some(text.string()?),
            Long("bind") => bind = Some(parser.value()?.parse()?),
            Long("advertise") => advertise = Some(parser.value()?.parse()?),
            Long("seed") => seeds.push(parser.value()?.string()?),
            Long("max-datagram") => max_datagram = Some(parser.value()?.parse()?),
            Long("busy") => starve(parser.value()?.parse()?),
            unknown => return Err(unknown.unexpected()),
        }
    }
    let wan = env::var("PRESET").is_ok_and(|preset| preset == "wan");
    let preset = if wan { GossipConfig::wan } else { GossipConfig::lan };
    let mut config = preset(name.ok_or("a name is missing")?);
    config.swim.max_datagram = max_datagram.unwrap_or(config.swim.max_datagram);
    if let Some(addr) = bind {
        config = config.bind(addr);
    }
    if let Some(addr) = advertise {
        config = config.advertise(addr);
    }
    Ok(seeds.into_iter().fold(config, GossipConfig::seed))
}

/// Starts threads that never sleep.
fn starve(threads: usize) {
    for n in 0..threads {
        let spin = || {
            loop {
                std::hint::spin_loop();
            }
        };
        let _: thread::JoinHandle<()> =
            thread::Builder::new().name(format!("busy-{n}")).spawn(spin).expect("a thread");
    }
}

fn run(gossip: &Gossip) -> ExitCode {
    let commands = read_commands();
    let (members, events) = gossip.follow();
    for member in members.live() {
        say("joined", &describe(member));
    }
    loop {
        select! {
            recv(events.receiver()) -> token => {
                while let Ok(event) = events.try_recv() {
                    say_event(&event);
                }
                if token.is_err() {
                    say("ended", &gossip.leave().err().map_or_else(String::new, |error| error.report()));
                    return ExitCode::FAILURE;
                }
            }
            recv(commands) -> line => match line.as_deref().map(|line| line.split_once(' ').unwrap_or((line, ""))) {
                Ok(("tag", tag)) => {
                    let tags = Tags::new(tag.split_once('=')).expect("the lab knows what a tag may be");
                    say("tagging", tag);
                    report("tagged", gossip.set_tags(tags).map(|()| tag.to_owned()));
                }
                Ok(("join", seed)) => report("join", gossip.join([seed]).map(|n| n.to_string())),
                Ok(("metrics", _)) => {
                    let metrics = gossip.metrics();
                    let lines: Vec<_> = metrics.iter().filter_map(|metric| Some(format!("{}={}", metric.name, metric.value.number()?))).collect();
                    say("metrics", &lines.join(" "));
                }
                Ok(("leave", _)) => {
                    say("leaving", "");
                    report("gone", gossip.shutdown().map(|()| "ok".to_owned()));
                    return ExitCode::SUCCESS;
                }
                Ok((other, _)) => say("unknown", other),
                // The process that started it is gone.
                Err(_) => std::process::exit(0),
            }
        }
    }
}

fn read_commands() -> Receiver<String> {
    let (tell, commands) = unbounded();
    let terminated = tell.clone();
    // The receiver is gone only when the process ends.
    ctrlc::set_handler(move || drop(terminated.send("leave".into()))).expect("nobody else handles signals");
    let read = move || stdin().lines().map_while(Result::ok).try_for_each(|line| tell.send(line));
    thread::Builder::new().name("commands".into()).spawn(read).expect("a thread");
    commands
}

fn say(kind: &str, rest: &str) {
    println!("{} {kind} {}", now(), rest.replace('\n', " "));
}

fn report(kind: &str, result: Result<String, syncswim::Error>) {
    say(kind, &result.unwrap_or_else(|error| format!("error {}", error.report())));
}

fn describe(member: &Member) -> String {
    format!("{} {} {}", member.name, member.addr, member.tags)
}

fn say_event(event: &Event) {
    match event {
        Event::Joined { member, .. } => say("joined", &describe(member)),
        Event::Updated { member, .. } => say("updated", &describe(member)),
        Event::Suspected { member, .. } => say("suspected", &describe(member)),
        Event::Left { member, .. } => say("left", &describe(member)),
        Event::Failed { member, .. } => say("failed", &describe(member)),
        Event::Reaped { member, .. } => say("reaped", &describe(member)),
        // Events that this program does not know by name are printed as well, since scenarios look for words in them.
        other => say("other", &format!("{other:?}")),
    }
}
