//! Several recordings on one timeline, and the evidence for a verdict.

use std::time::Duration;

use lab::recording::{Flight, Moment, Recording, Timeline, What};
use syncswim::swim::{Event, Observation};

/// Prints what happened at all nodes.
pub(crate) fn timeline(recordings: &[Recording], datagrams: bool) {
    let timeline = Timeline::merge(recordings);
    print_clocks(&timeline);
    let Some(began) = timeline.moments.first().map(|moment| moment.at) else { return };
    for moment in &timeline.moments {
        if let Some(text) = in_words(&timeline, moment, datagrams) {
            print_line(began, moment.at, &timeline.nodes[moment.node].name, &text);
        }
    }
    let lost =
        timeline.flights.iter().filter(|flight| flight.to.is_some() && flight.received.is_none()).count();
    let between = timeline.flights.iter().filter(|flight| flight.to.is_some()).count();
    println!("{between} datagrams between these nodes, of which {lost} did not arrive");
}

fn print_clocks(timeline: &Timeline) {
    println!("clocks, as the first node's shows them:");
    for node in &timeline.nodes {
        let how =
            if node.is_aligned { "by datagrams" } else { "taken to be right: no datagrams both ways tell" };
        println!("  {:<16} {:+.6} s ({how})", node.name, node.offset as f64 / 1e9);
    }
}

fn print_line(began: Duration, at: Duration, node: &str, text: &str) {
    let seconds = at.as_secs_f64() - began.as_secs_f64();
    println!("{seconds:>+14.6} {node:<16} {text}");
}

fn in_words(timeline: &Timeline, moment: &Moment, datagrams: bool) -> Option<String> {
    match &moment.what {
        What::Began { lost: 0 } => Some("(its recording begins)".into()),
        What::Began { lost } => Some(format!("(a gap: {lost} inputs are lost)")),
        What::Event(event) => Some(event.to_string()),
        What::Sent(flight) if datagrams => Some(flight_in_words(timeline, &timeline.flights[*flight])),
        What::Heard(said) if datagrams => Some(format!("← somebody who is not recorded: {said}")),
        _ => None,
    }
}

fn flight_in_words(timeline: &Timeline, flight: &Flight) -> String {
    let to = flight.to.map_or("somebody who is not recorded", |to| &timeline.nodes[to].name);
    let fate = match (flight.to, flight.received) {
        (_, Some(at)) => {
            format!("arrived after {:.3} ms", (at.as_secs_f64() - flight.sent.as_secs_f64()) * 1e3)
        }
        (Some(_), None) => "LOST: it is not among what was received there".into(),
        (None, None) => "arrival unknown".into(),
    };
    format!("→ {to}: {}; {fate}", flight.said)
}

/// Prints the evidence for the first verdict that a member failed, or was suspected; says whether there is one.
pub(crate) fn verdict(recordings: &[Recording], name: &str) -> bool {
    let timeline = Timeline::merge(recordings);
    print_clocks(&timeline);
    let is_about = |moment: &&Moment, failed: bool| match &moment.what {
        What::Event(Event::Failed { member, .. }) => failed && *member.name == *name,
        What::Event(Event::Suspected { member, .. }) => !failed && *member.name == *name,
        _ => false,
    };
    let find = |failed| timeline.moments.iter().find(|moment| is_about(moment, failed));
    let Some(verdict) = find(true).or_else(|| find(false)) else {
        println!("nobody here suspected {name}");
        return false;
    };
    let suspected = find(false).map_or(verdict.at, |moment| moment.at.min(verdict.at));
    let mut lines: Vec<(Duration, usize, String)> = Vec::new();
    for (node, recording) in recordings.iter().enumerate() {
        lines.extend(observations(&timeline, node, recording, name, verdict.at));
    }
    let missed = lines.iter().filter(|(.., text)| text.starts_with("did not answer")).map(|(at, ..)| *at);
    // Whoever missed a probe had sent it a while before.
    let from = missed.chain([suspected]).min().unwrap_or(suspected).saturating_sub(Duration::from_secs(3));
    let until = verdict.at + Duration::from_millis(500);
    lines.retain(|(at, ..)| *at >= from && *at <= until);
    let subject = timeline.nodes.iter().position(|node| node.name == name);
    let is_between = |flight: &&Flight| flight.is_about(name) || Some(flight.from) == subject;
    for flight in timeline.flights.iter().filter(is_between) {
        if flight.sent >= from && flight.sent <= until {
            lines.push((flight.sent, flight.from, flight_in_words(&timeline, flight)));
        }
    }
    for moment in timeline.moments.iter().filter(|moment| moment.at >= from && moment.at <= until) {
        if let What::Event(event) = &moment.what
            && event.member().is_some_and(|member| *member.name == *name)
        {
            lines.push((moment.at, moment.node, format!("EVENT {event}")));
        }
    }
    lines.sort();
    println!(
        "\nthe evidence about {name}, in seconds before and after the verdict of {}:",
        timeline.nodes[verdict.node].name
    );
    for (at, node, text) in &lines {
        print_line(verdict.at, *at, &timeline.nodes[*node].name, text);
    }
    if subject.is_none() {
        println!("(no recording of {name} itself was given: what it received is not known)");
    }
    true
}

/// What a node had seen of a member, and of itself, when a verdict fell.
fn observations(
    timeline: &Timeline,
    node: usize,
    recording: &Recording,
    name: &str,
    verdict: Duration,
) -> Vec<(Duration, usize, String)> {
    let offset = timeline.nodes[node].offset;
    let aligned =
        |wall: Duration| Duration::from_nanos((wall.as_nanos() as i64).saturating_add(offset).max(0) as u64);
    let mut replay = recording.replay();
    let mut last = None;
    while let Some(Ok(step)) = replay.next() {
        last = Some((step.at, aligned(step.wall)));
        if aligned(step.wall) > verdict + Duration::from_millis(500) {
            break;
        }
    }
    let Some((now, wall)) = last else { return Vec::new() };
    let about = if recording.name() == name { recording.name() } else { name };
    let explanation = replay.node().explain(now, about);
    let tell = |(at, what): (_, Observation)| (wall.saturating_sub(now.since(at)), node, what.to_string());
    explanation.observations.into_iter().map(tell).collect()
}
