//! Several recordings on one timeline, and the evidence for a verdict.

use std::time::Duration;

use lab::recording::{Flight, Moment, Recording, Said, Timeline, What, aligned};
use syncswim::swim::{Event, Observed};

/// Prints the events of all nodes.
pub(crate) fn timeline(recordings: &[Recording], datagrams: bool) {
    let timeline = Timeline::merge(recordings);
    print_clocks(&timeline);
    let Some(began) = timeline.moments.first().map(|moment| moment.at) else { return };
    for moment in &timeline.moments {
        if let Some(text) = in_words(&timeline, moment, datagrams) {
            print_line(began, moment.at, &timeline.nodes[moment.node].name, &text);
        }
    }
    println!("{}", tally(&timeline));
}

fn tally(timeline: &Timeline) -> String {
    let between: Vec<_> = timeline.flights.iter().filter(|flight| flight.to.is_some()).collect();
    let lost = between.iter().filter(|flight| timeline.is_lost(flight)).count();
    let unknown = between.iter().filter(|flight| flight.received.is_none()).count() - lost;
    let between = between.len();
    format!(
        "{between} datagrams between these nodes: lost {lost}, to a receiver that was not recorded then {unknown}"
    )
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
    let fate = match flight.received {
        Some(at) => format!("arrived after {:.3} ms", (at.as_secs_f64() - flight.sent.as_secs_f64()) * 1e3),
        None if timeline.is_lost(flight) => "LOST: it is not among what was received there".into(),
        None if flight.to.is_some() => "arrival unknown: it was not recorded then".into(),
        None => "arrival unknown".into(),
    };
    format!("→ {to}: {}; {fate}", flight.said)
}

/// How long before a verdict an observation may be evidence for it.
const MEMORY: Duration = Duration::from_secs(60);
/// How much is shown before the first sign of trouble and after the verdict.
const BEFORE: Duration = Duration::from_secs(3);
const BEHIND: Duration = Duration::from_millis(500);

/// How much later than it is printed a time may be taken for.
const ROUNDED: Duration = Duration::from_micros(500);

type Line = (Duration, usize, String);

/// Prints the evidence for the first verdict that a member failed, so long after the beginning or later, or the first suspicion.
/// Returns whether there is one.
pub(crate) fn verdict(recordings: &[Recording], name: &str, after: Duration) -> bool {
    let timeline = Timeline::merge(recordings);
    print_clocks(&timeline);
    let Some(verdict) = find_verdict(&timeline, name, after) else {
        println!("nobody here suspected {name}{}", if after.is_zero() { "" } else { " from then on" });
        return false;
    };
    let seen = recordings.iter().enumerate();
    let mut lines: Vec<Line> = seen
        .flat_map(|(node, recording)| observations(&timeline, node, recording, name, verdict.at))
        .collect();
    // The probe was sent a while before it counts as missed.
    let missed = lines.iter().filter(|(.., text)| text.starts_with("did not answer")).map(|(at, ..)| *at);
    let suspected = timeline.moments.iter().filter(|moment| suspects(moment, name)).map(|moment| moment.at);
    let signs = missed.chain(suspected).filter(|at| *at + MEMORY > verdict.at);
    let first = signs.chain([verdict.at]).min().unwrap_or(verdict.at);
    let shown = first.saturating_sub(BEFORE)..=verdict.at + BEHIND;
    lines.extend(flights_about(&timeline, name));
    lines.extend(timeline.moments.iter().filter_map(|moment| match &moment.what {
        What::Event(event) if is_about(event, name) => {
            Some((moment.at, moment.node, format!("EVENT {event}")))
        }
        _ => None,
    }));
    lines.retain(|(at, ..)| shown.contains(at));
    lines.sort();
    println!(
        "\nthe evidence about {name}, in seconds from the verdict of {}:",
        timeline.nodes[verdict.node].name
    );
    for (at, node, text) in &lines {
        print_line(verdict.at, *at, &timeline.nodes[*node].name, text);
    }
    if timeline.nodes.iter().all(|node| node.name != name) {
        println!("(no recording of {name} itself was given: what it received is not known)");
    }
    true
}

/// The first verdict that a member failed, so long after the beginning or later; or the first suspicion.
fn find_verdict<'a>(timeline: &'a Timeline, name: &str, after: Duration) -> Option<&'a Moment> {
    let from = timeline.moments.first()?.at + after;
    let mut moments = timeline.moments.iter().filter(|moment| moment.at + ROUNDED >= from);
    let failed = moments.clone().find(|moment| fails(moment, name));
    failed.or_else(|| moments.find(|moment| suspects(moment, name)))
}

fn fails(moment: &Moment, name: &str) -> bool {
    matches!(&moment.what, What::Event(event @ Event::Failed { .. }) if is_about(event, name))
}

fn suspects(moment: &Moment, name: &str) -> bool {
    matches!(&moment.what, What::Event(event @ Event::Suspected { .. }) if is_about(event, name))
}

fn is_about(event: &Event, name: &str) -> bool {
    event.member().is_some_and(|member| *member.name == *name)
}

/// Questions and claims about a member, and its answers.
fn flights_about<'a>(timeline: &'a Timeline, name: &'a str) -> impl Iterator<Item = Line> + 'a {
    let subject = timeline.nodes.iter().position(|node| node.name == name);
    let is_answer = move |said: &Said| match said {
        Said::Ack { .. } => true,
        Said::Alive { name: about, .. } => about == name,
        _ => false,
    };
    let is_evidence = move |flight: &&Flight| {
        flight.is_about(name) || Some(flight.from) == subject && flight.said.messages.iter().any(is_answer)
    };
    let flights = timeline.flights.iter().filter(is_evidence);
    flights.map(|flight| (flight.sent, flight.from, flight_in_words(timeline, flight)))
}

/// A node's observations of a member, and of itself, at the time of a verdict.
fn observations(
    timeline: &Timeline,
    node: usize,
    recording: &Recording,
    name: &str,
    verdict: Duration,
) -> Vec<Line> {
    let aligned = |wall: Duration| aligned(wall.as_nanos() as i64, timeline.nodes[node].offset);
    let mut replay = recording.replay();
    let mut last = None;
    while let Some(Ok(step)) = replay.next() {
        last = Some((step.at, aligned(step.wall)));
        if aligned(step.wall) > verdict + BEHIND {
            break;
        }
    }
    let Some((now, wall)) = last else { return Vec::new() };
    let explanation = replay.node().explain(now, name);
    let tell = |seen: Observed| (wall.saturating_sub(now.since(seen.at)), node, seen.what.to_string());
    explanation.observations.into_iter().map(tell).collect()
}

#[cfg(test)]
mod tests {
    use syncswim::{sim::World, swim::Config};

    use super::*;

    #[test]
    fn a_later_verdict_can_be_chosen() {
        let mut world = World::new(3);
        world.record(1 << 22);
        world.start_cluster(3, Config::lan);
        let mut pass = |seconds, then: fn(&mut World)| {
            world.run_for(Duration::from_secs(seconds));
            then(&mut world);
        };
        pass(20, |world| world.crash(2));
        pass(30, |world| world.restart(2));
        pass(20, |world| world.crash(2));
        pass(30, |_| {});
        let timeline = Timeline::merge(&world.recordings());
        let began = timeline.moments[0].at;
        let found = |after| {
            let verdict = find_verdict(&timeline, "n2", Duration::from_secs(after))?;
            assert!(fails(verdict, "n2"));
            Some((verdict.at - began).as_secs())
        };
        assert!(found(0).is_some_and(|at| (20..50).contains(&at)));
        assert!(found(60).is_some_and(|at| (70..100).contains(&at)));
        assert_eq!(found(1000), None);
        let verdict = find_verdict(&timeline, "n2", Duration::from_secs(60)).expect("there is a second one");
        let printed = format!("{:.3}", (verdict.at - began).as_secs_f64());
        let again = Duration::from_secs_f64(printed.parse().expect("it is a number"));
        assert_eq!(find_verdict(&timeline, "n2", again).map(|moment| moment.at), Some(verdict.at));
    }
}
