//! Whether the member of a verdict ran: what its own recording shows, and what others received from it.
//!
//! A recording that ends is no proof that its node ended: of a killed process the end is missing, and a recording may be stopped,
//! or its disk be full.

use std::collections::BTreeMap;

use super::{
    account::{Account, Held},
    names::Names,
    run::{Belief, Fate, Flight, Run},
    story::seconds,
};

/// By how much two events of different nodes must differ, in microseconds, for their order to be certain: clocks differ,
/// datagrams are under way, and a process may be stalled for a moment.
const APART: u64 = 1_000_000;

/// Judges verdicts by all recordings.
pub(super) struct Judge<'a> {
    accounts: &'a [Account],
    run: &'a Run,
    began: u64,
    /// When each life of each member was first heard of, by the member and the epoch.
    lives: BTreeMap<(usize, u64), u64>,
}

impl<'a> Judge<'a> {
    pub(super) fn new(accounts: &'a [Account], names: &Names, run: &'a Run, began: u64) -> Self {
        let mut lives = BTreeMap::new();
        for (at, name, epoch) in accounts.iter().flat_map(|account| &account.lives) {
            let Some(place) = names.place(name) else { continue };
            let first = lives.entry((place, *epoch)).or_insert(*at);
            *first = (*first).min(*at);
        }
        Self { accounts, run, began, lives }
    }

    /// The evidence in a sentence, and whether the verdict is false, if that is known.
    pub(super) fn judge(&self, subject: usize, held: &Held) -> (String, Option<bool>) {
        let name = &self.run.nodes[subject].name;
        match &held.removed_by {
            None if held.belief == Belief::Left => (format!("{name} left on purpose."), Some(false)),
            None => self.judge_failure(subject, held),
            Some(by) => {
                let (truth, is_false) = self.judge_failure(subject, held);
                (format!("{name} was removed by {by}. {truth}"), is_false)
            }
        }
    }

    fn judge_failure(&self, subject: usize, held: &Held) -> (String, Option<bool>) {
        let (name, at) = (&self.run.nodes[subject].name, held.at);
        let own = self.accounts_of(name, held.identity.0).max_by_key(|account| account.span.1);
        if let Some(left) = self.left(name, held) {
            return (format!("{name} had left on purpose {} before.", seconds(at - left)), Some(false));
        }
        if let Some(end) = own.map(|account| account.span.1).filter(|end| *end > at) {
            let evidence = format!("Its own recording goes on for {} after it.", seconds(end - at));
            return (format!("A false verdict: {name} ran. {evidence}"), Some(true));
        }
        let next = self.next_life(subject, held.identity.0);
        if next.is_some_and(|next| next <= at) {
            return (format!("{name} did not run: it had been started again."), Some(false));
        }
        if let Some(flight) = self.heard_after(subject, at, next) {
            let (by, later) = (&self.run.nodes[flight.to].name, seconds(flight.sent + self.began - at));
            let evidence = format!("{by} received a datagram from it {later} after it.");
            return (format!("A false verdict: {name} ran. {evidence}"), Some(true));
        }
        let Some(own) = own else {
            return (format!("There is no recording of {name} then: whether it ran, nobody knows."), None);
        };
        let ended = format!("its own recording had ended {} before", seconds(at - own.span.1));
        match own.is_whole {
            true => (format!("{name} did not run: {ended}."), Some(false)),
            false => {
                (format!("Whether {name} ran, nobody knows: {ended}, and its end may be missing."), None)
            }
        }
    }

    /// What is recorded of one life of a member.
    fn accounts_of<'n>(&self, name: &'n str, epoch: u64) -> impl Iterator<Item = &'a Account> + use<'a, 'n> {
        let is_of_life = move |account: &&Account| {
            account.name == name && account.lives.iter().any(|(_, of, life)| of == name && *life == epoch)
        };
        self.accounts.iter().filter(is_of_life)
    }

    /// When the subject had left before the verdict, according to itself.
    fn left(&self, name: &str, held: &Held) -> Option<u64> {
        let own = self.accounts_of(name, held.identity.0).flat_map(|account| &account.beliefs);
        let mut left = own.filter(|(_, of, belief)| of == name && *belief == Belief::Left);
        left.find_map(|(at, ..)| (*at <= held.at).then_some(*at))
    }

    /// When anybody first heard of a later life of a member.
    fn next_life(&self, subject: usize, epoch: u64) -> Option<u64> {
        let lives = self.lives.range((subject, epoch)..=(subject, u64::MAX));
        lives.filter(|((_, life), _)| *life > epoch).map(|(_, at)| *at).min()
    }

    /// The first datagram of that life that was certainly sent after this time, and is not in the sender's own recording.
    fn heard_after(&self, subject: usize, at: u64, next: Option<u64>) -> Option<&'a Flight> {
        let (at, next) = (at - self.began, next.map_or(u64::MAX, |next| next.saturating_sub(self.began)));
        let is_after = at + APART..next.saturating_sub(APART);
        // While its receiver was stalled, it waited there.
        let may_have_waited = |flight: &Flight| {
            let mut stalls = self.run.nodes[flight.to].stalls.iter();
            stalls.any(|(from, to)| *from <= at && flight.sent <= to + APART)
        };
        self.run.flights.iter().find(|flight| {
            (flight.from, flight.fate) == (subject, Fate::Unsent)
                && is_after.contains(&flight.sent)
                && !may_have_waited(flight)
        })
    }
}
