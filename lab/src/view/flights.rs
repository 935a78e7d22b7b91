//! Datagrams: matching receipts with sendings, and choosing those that are kept.

use std::collections::{HashMap, VecDeque};

use super::{
    account::{Account, Content, Seen},
    names::Names,
    page::size,
    run::{Belief, Change, Fate, Flight, Node, Text, Verdict},
};
use crate::recording::UNDER_WAY;

/// How many microseconds two aligned clocks may still differ.
const SLACK: u64 = 20_000;
/// For a verdict, datagrams are kept from this time before its suspicion began, in microseconds,
const BEFORE: u64 = 3_000_000;
/// to this time after it.
const BEHIND: u64 = 1_000_000;

/// The most bytes that the numbers of one take in the page.
const FLIGHT: usize = 40;

/// The identity of a datagram at both ends: sender, receiver, and a hash of the bytes.
type Key = (usize, usize, u64);

/// Every sent or received datagram of an account, and their contents.
pub(super) struct Flights {
    pub(super) all: Vec<Flight>,
    pub(super) texts: Vec<Text>,
    places: HashMap<Content, usize>,
}

impl Flights {
    pub(super) fn of(accounts: &[Account], names: &Names, nodes: &[Node], start: u64) -> Self {
        let mut flights = Self { all: Vec::new(), texts: Vec::new(), places: HashMap::new() };
        let mut under_way: HashMap<Key, VecDeque<usize>> = HashMap::new();
        for (own, seen) in each(accounts, names, |account| &account.sent) {
            let Some(to) = names.marked(seen.other) else { continue };
            let sent = seen.at - start;
            let fate = if was_recorded(&nodes[to], sent) { Fate::Lost } else { Fate::Unseen };
            let text = flights.text(&seen.content, names);
            under_way.entry((own, to, seen.hash)).or_default().push_back(flights.all.len());
            flights.all.push(Flight { sent, took: 0, from: own, to, text, fate });
        }
        for (own, seen) in each(accounts, names, |account| &account.received) {
            let Some(from) = names.marked(seen.other) else { continue };
            let at = seen.at - start;
            match under_way.get_mut(&(from, own, seen.hash)) {
                // What was taken out already comes twice.
                Some(waiting) => {
                    let sent = waiting.front().map(|place| flights.all[*place].sent);
                    if sent.is_some_and(|sent| sent <= at + SLACK) {
                        let flight = waiting.pop_front().map(|place| &mut flights.all[place]);
                        flight.into_iter().for_each(|flight| {
                            (flight.took, flight.fate) = (at.saturating_sub(flight.sent), Fate::Arrived);
                        });
                    }
                }
                None => {
                    let text = flights.text(&seen.content, names);
                    flights.all.push(Flight { sent: at, took: 0, from, to: own, text, fate: Fate::Unsent });
                }
            }
        }
        flights.all.sort_by_key(|flight| flight.sent);
        flights
    }

    fn text(&mut self, content: &Content, names: &Names) -> usize {
        if let Some(place) = self.places.get(content) {
            return *place;
        }
        let claims = content.claims.iter();
        self.texts.push(Text {
            text: content.text.clone(),
            kind: content.kind,
            target: content.target.as_deref().and_then(|name| names.place(name)),
            claims: claims.filter_map(|(name, bit)| Some((names.place(name)?, *bit))).collect(),
        });
        self.places.insert(content.clone(), self.texts.len() - 1);
        self.texts.len() - 1
    }

    /// Keeps at most so many, and so many bytes of the page: those of the member that a verdict is about first, then all of
    /// that time, then the others. Returns the times for which all of the first are kept, and the sentences about those that
    /// are not.
    pub(super) fn keep(
        &mut self,
        most: usize,
        most_bytes: usize,
        around: &[Around],
        end: u64,
    ) -> (Vec<(u64, u64)>, Option<String>) {
        let all = self.all.len();
        if all <= most && self.fit(self.all.iter(), most_bytes) == all {
            return (vec![(0, end)], None);
        }
        let rank = |flight: &Flight| {
            let at = flight.sent;
            let near = around.iter().filter(|around| (around.from..=around.to).contains(&at));
            let class = near.map(|around| u8::from(!self.is_of(flight, around.subject))).min().unwrap_or(2);
            let distance = around.iter().map(|around| at.abs_diff(around.verdict)).min();
            (class, distance.unwrap_or(end - at.min(end)))
        };
        let mut ranked: Vec<_> = self.all.iter().map(|flight| (rank(flight), *flight)).collect();
        ranked.sort_by_key(|(rank, flight)| (*rank, flight.sent));
        let fit = self.fit(ranked.iter().map(|(_, flight)| flight), most_bytes);
        ranked.truncate(most.min(fit));
        self.all = ranked.into_iter().map(|(_, flight)| flight).collect();
        self.all.sort_by_key(|flight| flight.sent);
        let said = format!(
            "{} of {all} datagrams: kept are those around verdicts, of the member that a verdict is about first",
            all - self.all.len()
        );
        let windows = around.iter().map(|around| (around.from, around.to)).collect();
        (merged(windows, (self.all.first().map_or(0, |first| first.sent), end)), Some(said))
    }

    /// How many of the first flights fit in this part of the page.
    fn fit<'a>(&self, flights: impl Iterator<Item = &'a Flight>, most_bytes: usize) -> usize {
        let (mut bytes, mut has_text) = (0, vec![false; self.texts.len()]);
        let fits = |flight: &&Flight| {
            let is_new = !std::mem::replace(&mut has_text[flight.text], true);
            bytes += FLIGHT + if is_new { size(&self.texts[flight.text]) + 1 } else { 0 };
            bytes <= most_bytes
        };
        flights.take_while(fits).count()
    }

    fn is_of(&self, flight: &Flight, subject: usize) -> bool {
        let text = &self.texts[flight.text];
        flight.from == subject
            || flight.to == subject
            || text.target == Some(subject)
            || text.claims.iter().any(|(of, _)| *of == subject)
    }

    /// Drops the texts that no datagram has any longer.
    pub(super) fn drop_unused_texts(&mut self) {
        let mut places = vec![usize::MAX; self.texts.len()];
        let mut kept = Vec::new();
        for flight in &mut self.all {
            if places[flight.text] == usize::MAX {
                places[flight.text] = kept.len();
                kept.push(self.texts[flight.text].clone());
            }
            flight.text = places[flight.text];
        }
        self.texts = kept;
    }
}

/// The time around a verdict.
pub(super) struct Around {
    pub(super) subject: usize,
    pub(super) from: u64,
    pub(super) verdict: u64,
    pub(super) to: u64,
}

impl Around {
    pub(super) fn of(verdict: &Verdict, changes: &[Change]) -> Self {
        let Verdict { subject, at, .. } = *verdict;
        let began = suspicion_of(subject, at, changes).map_or(at, |(began, _)| began);
        Self { subject, from: began.saturating_sub(BEFORE), verdict: at, to: at + BEHIND }
    }
}

/// When the suspicion that ended in a verdict began, and at which node: the first whose suspicion has not ended since.
pub(super) fn suspicion_of(subject: usize, at: u64, changes: &[Change]) -> Option<(u64, usize)> {
    let mut suspecting: Vec<(u64, usize)> = Vec::new();
    for change in changes.iter().filter(|change| change.subject == subject && change.at <= at) {
        match change.belief {
            Belief::Suspect => suspecting.push((change.at, change.observer)),
            Belief::Alive => suspecting.retain(|(_, observer)| *observer != change.observer),
            _ => {}
        }
    }
    suspecting.first().copied()
}

/// In the order of time.
fn each<'a>(
    accounts: &'a [Account],
    names: &Names,
    pick: fn(&Account) -> &Vec<Seen>,
) -> Vec<(usize, &'a Seen)> {
    let mut all: Vec<_> = accounts
        .iter()
        .filter_map(|account| Some((names.place(&account.name)?, account)))
        .flat_map(|(own, account)| pick(account).iter().map(move |seen| (own, seen)))
        .collect();
    all.sort_by_key(|(_, seen)| seen.at);
    all
}

/// Whether what was sent to a node at this time would have been recorded there.
fn was_recorded(node: &Node, at: u64) -> bool {
    let arrives = at + UNDER_WAY.as_micros() as u64;
    node.recorded.iter().any(|(from, to)| *from <= at && arrives < *to)
}

/// Windows that overlap become one; if there is none, the given one is used.
fn merged(mut windows: Vec<(u64, u64)>, otherwise: (u64, u64)) -> Vec<(u64, u64)> {
    windows.sort_unstable();
    let mut merged: Vec<(u64, u64)> = Vec::new();
    for (from, to) in windows {
        match merged.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => merged.push((from, to)),
        }
    }
    if merged.is_empty() { vec![otherwise] } else { merged }
}
