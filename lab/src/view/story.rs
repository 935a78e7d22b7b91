//! The run in words: its verdicts, with the evidence in all recordings together, and other events.

use super::{
    account::{Account, Held},
    flights::{Around, suspicion_of},
    names::Names,
    run::{Belief, Change, Fate, Flight, Mark, NACK, Node, PING_REQ, Run, Told, Verdict},
    truth::Judge,
};

/// The number of explanations that are shown for one verdict.
const MOST_TOLD: usize = 12;
/// The number of sentences of one kind about a verdict.
const MOST_SENTENCES: usize = 4;
/// A relay's nack comes within this time of the request, in microseconds.
const NACK_WITHIN: u64 = 1_500_000;
/// With fewer datagrams from one node to another, losses prove nothing.
const LEAST: usize = 3;

/// Every verdict, in the order of time. Observers that believe the same about the same life of a member share one verdict.
pub(super) fn verdicts(accounts: &[Account], names: &Names, run: &Run, began: u64) -> Vec<Verdict> {
    let mut held: Vec<(usize, &Held)> = accounts
        .iter()
        .filter_map(|account| Some((names.place(&account.name)?, account)))
        .flat_map(|(observer, account)| account.held.iter().map(move |held| (observer, held)))
        .filter(|(observer, held)| names.place(&held.subject) != Some(*observer))
        .collect();
    held.sort_by_key(|(_, held)| held.at);
    let mut groups: Vec<Vec<(usize, &Held)>> = Vec::new();
    for (observer, one) in held {
        let is_same =
            |of: &Held| (&of.subject, of.identity, of.belief) == (&one.subject, one.identity, one.belief);
        match groups.iter_mut().find(|group| is_same(group[0].1)) {
            Some(group) => group.push((observer, one)),
            None => groups.push(vec![(observer, one)]),
        }
    }
    let judge = Judge::new(accounts, names, run, began);
    groups.iter().map(|group| verdict(group, names, run, began, &judge)).collect()
}

fn verdict(group: &[(usize, &Held)], names: &Names, run: &Run, began: u64, judge: &Judge<'_>) -> Verdict {
    let (observer, first) = group[0];
    let subject = names.place(&first.subject).expect("it is a change of mind, too");
    let at = first.at - began;
    let mut accusers: Vec<usize> = Vec::new();
    for name in group.iter().flat_map(|(_, held)| &held.accusers) {
        accusers.extend(names.place(name).filter(|accuser| !accusers.contains(accuser)));
    }
    let (truth, is_false) = judge.judge(subject, first);
    let mut verdict = Verdict {
        subject,
        observer,
        at,
        belief: first.belief,
        removed_by: first.removed_by.clone(),
        suspected: suspicion_of(subject, at, &run.changes).map(|(suspected, _)| suspected),
        holders: group.len(),
        accusers,
        is_false,
        truth,
        words: Vec::new(),
        told: told(group, began),
    };
    verdict.words = words(&verdict, group, run, began);
    verdict
}

/// The explanations of those whose suspicion timed out first, since they know the reasons.
fn told(group: &[(usize, &Held)], began: u64) -> Vec<Told> {
    let mut sorted: Vec<_> = group.iter().collect();
    sorted.sort_by_key(|(_, held)| (!held.is_own, held.at));
    let tell = |(observer, held): &&(usize, &Held)| Told {
        observer: *observer,
        at: held.at - began,
        text: held.text.clone(),
        standing: held.standing.clone(),
        seen: held.seen.iter().map(|(at, what)| (at.saturating_sub(began), what.clone())).collect(),
    };
    sorted.iter().take(MOST_TOLD).map(tell).collect()
}

fn words(verdict: &Verdict, group: &[(usize, &Held)], run: &Run, began: u64) -> Vec<String> {
    let name = |node: usize| run.nodes[node].name.as_str();
    let Verdict { subject, observer, at, .. } = *verdict;
    let own = group.iter().filter(|(_, held)| held.is_own).count();
    let last = group.iter().map(|(_, held)| held.at - began).max().unwrap_or(at);
    let how = match own {
        0 => "All of them were told.".to_owned(),
        own if own == group.len() => "At all of them the suspicion ran out.".to_owned(),
        own => format!("At {own} of them the suspicion ran out; others were told."),
    };
    let mut words = vec![match group.len() {
        1 => format!("{} alone held it.", name(observer)),
        n => format!(
            "{} was the first of {n} to hold it, the last did {} later. {how}",
            name(observer),
            seconds(last - at)
        ),
    }];
    if let Some((suspected, by)) = suspicion_of(subject, at, &run.changes) {
        words.push(format!("The suspicion began {} before, at {}.", seconds(at - suspected), name(by)));
    }
    if !verdict.accusers.is_empty() {
        let accusers: Vec<_> = verdict.accusers.iter().map(|accuser| name(*accuser)).collect();
        words.push(format!("Accused by {}.", accusers.join(", ")));
    }
    let missed = group.iter().filter(|(observer, held)| held.missed && !verdict.accusers.contains(observer));
    let missed: Vec<_> = missed.map(|(observer, _)| name(*observer)).collect();
    if !missed.is_empty() {
        let missed = missed.join(", ");
        words.push(format!("Probes failed at {missed} as well; enough others had accused it already."));
    }
    let around = Around::of(verdict, &run.changes);
    words.extend(relays(subject, &around, run));
    words.extend(held_up(&around, &run.nodes));
    words.extend(one_way(subject, &around, run));
    words
}

fn within<'a>(around: &Around, run: &'a Run) -> impl Iterator<Item = &'a Flight> + use<'a> {
    let (from, to) = (around.from, around.verdict);
    run.flights.iter().filter(move |flight| (from..=to).contains(&flight.sent))
}

/// The relays that were asked to ping the subject, and the results.
fn relays(subject: usize, around: &Around, run: &Run) -> Vec<String> {
    let asks = |flight: &&Flight| {
        let text = &run.texts[flight.text];
        text.kind & PING_REQ != 0 && text.target == Some(subject)
    };
    let name = |node: usize| run.nodes[node].name.as_str();
    let mut by: Vec<(usize, Vec<&Flight>)> = Vec::new();
    for request in within(around, run).filter(asks) {
        match by.iter_mut().find(|(asker, _)| *asker == request.from) {
            Some((_, requests)) => requests.push(request),
            None => by.push((request.from, vec![request])),
        }
    }
    let nacks: Vec<_> = within(around, run)
        .filter(|flight| run.texts[flight.text].kind & NACK != 0 && flight.fate != Fate::Lost)
        .collect();
    let has_nack = |request: &&&Flight| {
        let soon = request.sent..request.sent + NACK_WITHIN;
        nacks
            .iter()
            .any(|nack| (nack.from, nack.to) == (request.to, request.from) && soon.contains(&nack.sent))
    };
    let more = by.len().saturating_sub(MOST_SENTENCES);
    let tell = |(asker, requests): &(usize, Vec<&Flight>)| {
        let came = requests.iter().filter(has_nack).count();
        let mut relays: Vec<_> = requests.iter().map(|request| request.to).collect();
        relays.sort_unstable();
        relays.dedup();
        let relays: Vec<_> = relays.into_iter().map(name).collect();
        let (asker, relays) = (name(*asker), relays.join(", "));
        format!("{asker} asked {relays} to ping it: requests {}, nacks {came}.", requests.len())
    };
    let mut said: Vec<_> = by.iter().take(MOST_SENTENCES).map(tell).collect();
    said.extend((more > 0).then(|| format!("{more} more asked relays.")));
    said
}

fn held_up(around: &Around, nodes: &[Node]) -> Vec<String> {
    let overlaps = |(from, to): &&(u64, u64)| *from <= around.verdict && *to >= around.from;
    let each =
        nodes.iter().flat_map(|node| node.stalls.iter().filter(overlaps).map(move |stall| (node, stall)));
    each.take(MOST_SENTENCES)
        .map(|(node, (from, to))| {
            format!("{} was held up for {}, from {} on.", node.name, seconds(to - from), seconds(*from))
        })
        .collect()
}

/// For the datagrams between the subject and each other node, whether one direction lost all of them.
fn one_way(subject: usize, around: &Around, run: &Run) -> Vec<String> {
    let mut tallies = vec![[(0, 0); 2]; run.nodes.len()];
    for flight in within(around, run) {
        let (other, way) = match (flight.from == subject, flight.to == subject) {
            (true, false) => (flight.to, 0),
            (false, true) => (flight.from, 1),
            _ => continue,
        };
        let known = matches!(flight.fate, Fate::Arrived | Fate::Lost);
        let (arrived, sent) = &mut tallies[other][way];
        *sent += usize::from(known);
        *arrived += usize::from(flight.fate == Fate::Arrived);
    }
    let name = |node: usize| run.nodes[node].name.as_str();
    let tell = |(other, [out, back]): (usize, &[(usize, usize); 2])| {
        let (from, to, lost, well) = match (out, back) {
            ((0, sent), (arrived, _)) if *sent >= LEAST && *arrived > 0 => (subject, other, sent, back),
            ((arrived, _), (0, sent)) if *sent >= LEAST && *arrived > 0 => (other, subject, sent, out),
            _ => return None,
        };
        let (from, to) = (name(from), name(to));
        Some(format!(
            "One way only: of {lost} datagrams from {from} to {to} none arrived, of {} from {to} to {from} {} did.",
            well.1, well.0
        ))
    };
    tallies.iter().enumerate().filter_map(tell).take(MOST_SENTENCES).collect()
}

/// Other events: first suspicions, refutations, beginnings and ends of recordings, stalls.
pub(super) fn marks(run: &Run, faults: Vec<Mark>) -> Vec<Mark> {
    let mut marks = faults;
    let name = |node: usize| run.nodes[node].name.as_str();
    let mut suspecting = vec![0_usize; run.nodes.len()];
    let mut refuted = vec![true; run.nodes.len()];
    let mut beliefs = vec![Belief::Unknown; run.nodes.len() * run.nodes.len()];
    for change in &run.changes {
        let Change { at, observer, subject, belief } = *change;
        let before = std::mem::replace(&mut beliefs[observer * run.nodes.len() + subject], belief);
        let (of, by) = (name(subject), name(observer));
        if belief == Belief::Suspect {
            if suspecting[subject] == 0 {
                marks.push(Mark { at, text: format!("{by} suspects {of}, the first to do so") });
                refuted[subject] = false;
            }
            suspecting[subject] += 1;
        } else if before == Belief::Suspect {
            suspecting[subject] = suspecting[subject].saturating_sub(1);
            if belief == Belief::Alive && !refuted[subject] {
                marks.push(Mark { at, text: format!("{of} has refuted: {by} is the first to hear it") });
                refuted[subject] = true;
            }
        } else if belief == Belief::Alive
            && matches!(before, Belief::Failed | Belief::Left)
            && !refuted[subject]
        {
            marks.push(Mark { at, text: format!("{of} is back: {by} is the first to hear it") });
            refuted[subject] = true;
        }
    }
    for node in &run.nodes {
        for (from, to) in &node.stalls {
            marks.push(Mark {
                at: *from,
                text: format!("{} is held up for {}", node.name, seconds(to - from)),
            });
        }
        let ends = node.recorded.iter().filter(|(_, to)| *to < run.end);
        marks.extend(ends.map(|(_, to)| Mark { at: *to, text: format!("{}'s recording ends", node.name) }));
        let again = node.recorded.iter().skip(1);
        marks.extend(
            again.map(|(from, _)| Mark { at: *from, text: format!("{} is recorded again", node.name) }),
        );
    }
    marks.sort_by_key(|mark| mark.at);
    marks
}

pub(super) fn seconds(micros: u64) -> String {
    match micros {
        0..100_000 => format!("{:.1} ms", micros as f64 / 1e3),
        _ => format!("{:.1} s", micros as f64 / 1e6),
    }
}
