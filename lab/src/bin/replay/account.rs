//! The contents of a recording, and the result of running it again.

use std::collections::BTreeMap;

use lab::recording::{Recording, Replay, WhatIf};
use syncswim::{
    GossipConfig,
    recording::Input,
    swim::{Config, Event, Time},
};

use crate::Options;

/// Prints an account of a recording. Returns whether its replay is as recorded.
pub(crate) fn run(recording: &Recording, options: &Options) -> bool {
    println!("{}: recorded by {}", recording.name(), recording.build());
    if !recording.is_of_this_build() {
        println!("  THIS PROGRAM HAS ANOTHER CORE: it may do something else");
    }
    recording.damage().iter().for_each(|damage| println!("  DAMAGED: {damage}"));
    let began = recording.segments()[0].at();
    // With a verdict, the time chooses which.
    let until = options.at.filter(|_| options.verdict.is_none()).map(|after| began + after);
    let mut replay = recording.replay();
    let mut counted = Counted::default();
    let (mut is_well, mut extent) = (true, "every output and every state");
    for (number, step) in replay.by_ref().enumerate() {
        match step {
            Ok(step) => {
                if number == 0 {
                    println!("  from {:.3} s since 1970", step.wall.as_secs_f64());
                }
                counted.last = step.at;
                counted.sent += step.sent.len();
                if step.restored && counted.last > began {
                    println!("  {:>12} a gap: the state is taken from the recording", since(began, step.at));
                }
                if let Some(input) = &step.input {
                    *counted.inputs.entry(kind(input)).or_default() += 1;
                }
                counted.events.extend(step.events().map(|event| (step.at, event.clone())));
                if until.is_some_and(|until| step.at >= until) {
                    extent = "so far every output and every state";
                    break;
                }
            }
            Err(difference) => {
                println!("  FAILED: {difference}");
                is_well = false;
            }
        }
    }
    counted.print(recording, began);
    explain(&replay, counted.last, options);
    if is_well {
        println!("  replayed: {extent} is as recorded");
    }
    is_well && what_if(recording, began, options)
}

#[derive(Default)]
struct Counted {
    inputs: BTreeMap<&'static str, u64>,
    sent: usize,
    events: Vec<(Time, Event)>,
    last: Time,
}

impl Counted {
    fn print(&self, recording: &Recording, began: Time) {
        let segments = recording.segments();
        let numbers = segments.first().zip(segments.last());
        let (first, last) = numbers.map_or((0, 0), |(first, last)| (first.number(), last.number()));
        println!(
            "  {:.3} s in {} segments (numbers {first} to {last}); inputs known to be lost: {}",
            self.last.since(began).as_secs_f64(),
            segments.len(),
            segments.iter().map(|segment| segment.lost()).sum::<u64>(),
        );
        let inputs: Vec<_> = self.inputs.iter().map(|(kind, count)| format!("{count} {kind}")).collect();
        println!("  inputs: {}; datagrams sent: {}", inputs.join(", "), self.sent);
        for (at, event) in &self.events {
            println!("  {:>12} {event}", since(began, *at));
        }
    }
}

fn since(began: Time, at: Time) -> String {
    format!("{:+.3}", at.since(began).as_secs_f64())
}

fn kind(input: &Input<'_>) -> &'static str {
    match input {
        Input::Datagram { .. } => "datagrams",
        Input::Timeout => "timeouts",
        Input::PollStream(_) | Input::Frame { .. } | Input::AcceptStream { .. } => "of streams",
        Input::StreamBegan(_) | Input::StreamFailed(..) => "of streams",
        Input::WantRoom(_)
        | Input::AskForToken { .. }
        | Input::OpenDataStream { .. }
        | Input::CloseDataStream(_) => "of data",
        _ => "commands",
    }
}

fn explain(replay: &Replay<'_>, at: Time, options: &Options) {
    if let Some(name) = &options.explain {
        println!("\n{}\n", replay.node().explain(at, name));
    }
}

/// The configuration that the recording begins with, changed as asked.
fn changed(recorded: &Config, keys: &[String]) -> Result<Config, String> {
    let mut config = GossipConfig::lan("what-if");
    config.swim = recorded.clone();
    for setting in keys {
        let (key, value) = setting.split_once('=').ok_or_else(|| format!("{setting}: is not KEY=VALUE"))?;
        let before = format!("{:?}", config.swim);
        config.set(key, value).map_err(|error| error.to_string())?;
        let is_kept = matches!(key, "cluster" | "history" | "max_reconnects");
        if is_kept || format!("{:?}", config.swim) == before {
            return Err(format!("{setting}: changes nothing of what the core does in this recording"));
        }
    }
    Ok(config.swim)
}

fn what_if(recording: &Recording, began: Time, options: &Options) -> bool {
    if options.what_if.is_empty() {
        return true;
    }
    println!("\n  what if {}:", options.what_if.join(", "));
    let answer = changed(recording.replay().node().config(), &options.what_if)
        .and_then(|config| recording.what_if(&config).map_err(|problem| problem.to_string()));
    match answer {
        Ok(answer) => {
            print_answer(&answer, began);
            true
        }
        Err(problem) => {
            println!("  no answer: {problem}");
            false
        }
    }
}

/// The identity of an event, without its durations.
fn identity(event: &Event) -> String {
    let text = event.to_string();
    let kind = text.split(':').next().unwrap_or_default();
    match event.member() {
        Some(member) => format!("{kind}: {} {}", member.name, member.identity),
        None => text,
    }
}

/// Events with the same identity are matched in order: the first with the first, the second with the second, and so on.
fn numbered(events: &[(Time, Event)]) -> BTreeMap<(String, u32), Time> {
    let mut seen: BTreeMap<String, u32> = BTreeMap::new();
    let number = |(at, event): &(Time, Event)| {
        let identity = identity(event);
        let count = seen.entry(identity.clone()).or_default();
        *count += 1;
        ((identity, *count), *at)
    };
    events.iter().map(number).collect()
}

fn print_answer(answer: &WhatIf, began: Time) {
    let (recorded, changed) = (numbered(&answer.recorded), numbered(&answer.changed));
    let mut lines = Vec::new();
    for (event, at) in &recorded {
        match changed.get(event) {
            None => lines.push((*at, format!("- {}: not", event.0))),
            Some(then) => {
                let shift = then.since_origin().as_secs_f64() - at.since_origin().as_secs_f64();
                // A recording has an event when the node was polled for it, microseconds after its cause.
                if shift.abs() >= 0.001 {
                    lines.push((*at, format!("~ {}: {shift:+.3} s", event.0)));
                }
            }
        }
    }
    let new = changed.iter().filter(|(event, _)| !recorded.contains_key(*event));
    lines.extend(new.map(|(event, at)| (*at, format!("+ {}", event.0))));
    lines.sort();
    if lines.is_empty() {
        println!("  the same events at the same times");
    }
    lines.iter().for_each(|(at, line)| println!("  {:>12} {line}", since(began, *at)));
    if let Some(at) = answer.parted {
        println!(
            "  From {} on it asks other questions than were answered in the recording: what it makes of silence from then on \
             is not evidence.",
            since(began, at)
        );
    }
}
