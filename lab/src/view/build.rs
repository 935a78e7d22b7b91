//! Builds the contents of a page from accounts.

use std::collections::BTreeMap;

use super::{
    account::Account,
    flights::{Around, Flights},
    names::Names,
    page::size,
    run::{Change, Mark, Node, Run},
    story,
};

/// The most changes of belief that are shown, the latest; before them the beliefs at that time are.
pub(super) const MOST_CHANGES: usize = 300_000;
/// The most marks that are listed, the latest.
const MOST_MARKS: usize = 400;
/// The most bytes of data in a page; browsers are slow with more.
const MOST_BYTES: usize = 19_000_000;
/// The most of these bytes for the observations in explanations.
const MOST_SEEN_BYTES: usize = 6_000_000;
/// The longest time that the diagram shows at first, in microseconds.
const SPAN: u64 = 4_000_000;

/// Information about a run that is not in the accounts.
#[derive(Debug, Clone, Default)]
pub struct About {
    /// What it is called.
    pub title: String,
    /// Its source: a simulation or recordings.
    pub source: String,
    /// The parameters for running it again.
    pub parameters: Vec<(String, String)>,
    /// Its faults, by the time since the first account began.
    pub faults: Vec<Mark>,
    /// The number of datagrams that are kept.
    pub most_datagrams: usize,
}

/// Combines the accounts of several nodes.
#[must_use]
pub fn build(accounts: &[Account], about: About) -> Run {
    let names = Names::of(accounts);
    let began = accounts.iter().map(|account| account.span.0).min().unwrap_or_default();
    let end = accounts.iter().map(|account| account.span.1 - began).max().unwrap_or_default();
    let mut run = Run { title: about.title, parameters: about.parameters, end, ..Run::default() };
    run.nodes = nodes(accounts, &names, began);
    run.changes = changes(accounts, &names, began);
    let mut flights = Flights::of(accounts, &names, &run.nodes, began);
    cut(&mut run);
    (run.flights, run.texts) = (std::mem::take(&mut flights.all), flights.texts.clone());
    run.verdicts = story::verdicts(accounts, &names, &run, began);
    run.verdicts.retain(|verdict| verdict.at >= run.start);
    drop_explanations(&mut run, MOST_SEEN_BYTES);
    run.marks = story::marks(&run, about.faults);
    run.marks.retain(|mark| mark.at >= run.start);
    let too_many = run.marks.len().saturating_sub(MOST_MARKS);
    if too_many > 0 {
        run.left_out.push(format!("the first {too_many} of {} things that happened", run.marks.len()));
        run.marks.drain(..too_many);
    }
    (flights.all, run.texts) = (std::mem::take(&mut run.flights), Vec::new());
    flights.all.retain(|flight| flight.sent >= run.start);
    let around: Vec<_> = run.verdicts.iter().map(|verdict| Around::of(verdict, &run.changes)).collect();
    let room = MOST_BYTES.saturating_sub(size(&run));
    let (windows, said) = flights.keep(about.most_datagrams, room, &around, run.end);
    flights.drop_unused_texts();
    run.windows = windows;
    run.left_out.extend(said);
    if run.left_out.is_empty() {
        run.left_out
            .push("Nothing is left out, but push/pulls and stream pings, which are not datagrams.".into());
    }
    (run.flights, run.texts) = (flights.all, flights.texts);
    run.longest = run.flights.iter().map(|flight| flight.took).max().unwrap_or_default();
    run.span = SPAN.min((run.end - run.start).max(1));
    let recorded = run.nodes.iter().filter(|node| !node.recorded.is_empty()).count();
    run.summary = format!(
        "{}: {} members, {recorded} of them recorded, for {}; {}",
        about.source,
        run.nodes.len(),
        story::seconds(run.end - run.start),
        tally(&run)
    );
    run
}

fn tally(run: &Run) -> String {
    let count = |is_it: Option<bool>| run.verdicts.iter().filter(|verdict| verdict.is_false == is_it).count();
    let unknown = match count(None) {
        0 => String::new(),
        unknown => format!(", unknown: {unknown}"),
    };
    format!("verdicts: {}, of them false: {}{unknown}", run.verdicts.len(), count(Some(true)))
}

/// Drops the observations of the first verdicts, as far as all take more bytes than these.
fn drop_explanations(run: &mut Run, most_bytes: usize) {
    let (mut bytes, mut dropped) = (0, 0);
    for told in run.verdicts.iter_mut().rev().flat_map(|verdict| &mut verdict.told) {
        bytes += size(&told.seen);
        if bytes > most_bytes && !told.seen.is_empty() {
            told.seen.clear();
            dropped += 1;
        }
    }
    if dropped > 0 {
        run.left_out.push(format!("what observers saw before the first verdicts: {dropped} explanations"));
    }
}

fn nodes(accounts: &[Account], names: &Names, began: u64) -> Vec<Node> {
    let since = |(from, to): &(u64, u64)| (from - began, to - began);
    let mut nodes: Vec<_> =
        names.all().iter().map(|name| Node { name: name.clone(), ..Node::default() }).collect();
    for account in accounts {
        let Some(node) = names.place(&account.name).map(|place| &mut nodes[place]) else { continue };
        node.recorded.push(since(&account.span));
        node.stalls.extend(account.stalls.iter().map(since));
    }
    for node in &mut nodes {
        node.recorded.sort_unstable();
        node.stalls.sort_unstable();
    }
    nodes
}

fn changes(accounts: &[Account], names: &Names, began: u64) -> Vec<Change> {
    let mut changes = Vec::new();
    for account in accounts {
        let Some(observer) = names.place(&account.name) else { continue };
        let mut beliefs = vec![None; names.all().len()];
        for (at, subject, belief) in &account.beliefs {
            let Some(subject) = names.place(subject) else { continue };
            if beliefs[subject].replace(*belief) != Some(*belief) {
                changes.push(Change { at: at - began, observer, subject, belief: *belief });
            }
        }
    }
    changes.sort_by_key(|change| change.at);
    changes
}

/// Drops the first changes, as far as there are too many. What was believed then becomes a change when the others begin.
fn cut(run: &mut Run) {
    let too_many = run.changes.len().saturating_sub(MOST_CHANGES);
    if too_many == 0 {
        return;
    }
    let start = run.changes[too_many].at;
    let mut before = BTreeMap::new();
    for change in run.changes.drain(..too_many) {
        before.insert((change.observer, change.subject), change);
    }
    // In a part of the observer's life that is recorded at that time.
    let is_held = |change: &Change| {
        let mut recorded = run.nodes[change.observer].recorded.iter();
        recorded.any(|(from, to)| *from <= change.at && (*from..*to).contains(&start))
    };
    let held = before.into_values().filter(is_held).map(|change| Change { at: start, ..change });
    run.changes = held.chain(std::mem::take(&mut run.changes)).collect();
    for node in &mut run.nodes {
        for spans in [&mut node.recorded, &mut node.stalls] {
            spans.retain(|(_, to)| *to > start);
            spans.iter_mut().for_each(|(from, _)| *from = start.max(*from));
        }
    }
    run.start = start;
    run.left_out.push(format!(
        "all before {}: a page holds the last {MOST_CHANGES} changes of mind. Ask for less time, or for fewer nodes",
        story::seconds(start)
    ));
}
