//! One life of an origin: which of its broadcasts are known, and the order in which readers receive them.

use std::{
    collections::{BTreeMap, VecDeque},
    sync::Arc,
    time::Duration,
};

use super::{
    MAX_LARGE, OWN,
    given_up::GivenUp,
    item::Item,
    log::KEEP,
    window::{WIDTH, Window},
};
use crate::{
    data::rate::Bucket,
    swim::{Account, Life, Time},
    wire::hash,
};

/// How long a broadcast waits for a missing earlier one of its origin.
pub(super) const HOLD: Duration = Duration::from_secs(2);
/// The most broadcasts of an origin that wait, and their bytes: as many as an origin may send at once, with a large one
/// among them.
pub(super) const MAX_HELD: usize = 256;
const MAX_HELD_BYTES: usize = (192 << 10) + MAX_LARGE;
/// How long this node waits for a broadcast that one member knows and cannot give: another may have it.
pub(super) const UNGIVEN: Duration = Duration::from_secs(15);
/// How long a missing broadcast is left to gossip before a member is asked for it, and the pause before the next time.
const ASK_AFTER: Duration = Duration::from_millis(200);
const ASK_AGAIN: Duration = Duration::from_millis(500);

/// A delivery to readers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Delivery {
    /// A broadcast. The `gap` broadcasts before it are missing and may still come; they are then `late`.
    Item { item: Arc<Item>, gap: u64, late: bool },
    /// `count` broadcasts of an origin will not come any more.
    Lost { origin: Life, count: u64 },
}

#[derive(Debug)]
pub(super) struct Heard {
    pub(super) life: Life,
    pub(super) window: Window,
    given_up: GivenUp,
    /// Since when the life is known, how many of its broadcasts arrived or were reported as lost, and how often more were
    /// claimed than it can have sent.
    since: Time,
    used: u64,
    pub(super) implausible: u64,
    /// The window that a state file has.
    kept: Window,
    /// Its share of the digest; 0 while it has none.
    pub(super) share: u64,
    /// Limits how many of its broadcasts are passed on.
    pub(super) passed: Bucket,
    /// Readers have received every broadcast up to this number, or know of the gap.
    told: u64,
    /// The highest number that readers have received.
    last: u64,
    /// Broadcasts that wait for an earlier one, and since when.
    held: BTreeMap<u64, (Time, Arc<Item>)>,
    held_bytes: usize,
    /// The account that pays for the waiting ones.
    pub(super) account: Option<Account>,
    /// When to ask for missing broadcasts, and whom.
    ask: Option<(Time, Life)>,
    /// Broadcasts up to this number that are still missing at that time are lost.
    lost: Option<(Time, u64)>,
    /// Numbers that some members know and could not give, each with the time when they are lost if no other member gives them:
    /// the first that were noted, and those since then.
    ungiven: [Option<(Time, Window)>; 2],
}

impl Heard {
    /// Begins with all numbers up to `below` known, or of no interest.
    pub(super) fn new(life: Life, below: u64, since: Time) -> Self {
        let mut given_up = GivenUp::default();
        given_up.add(1, below);
        Self {
            life,
            window: Window::up_to(below),
            given_up,
            since,
            used: 0,
            implausible: 0,
            kept: Window::default(),
            share: 0,
            passed: Bucket::default(),
            told: below,
            last: 0,
            held: BTreeMap::new(),
            held_bytes: 0,
            account: Some(Account::UNMET),
            ask: None,
            lost: None,
            ungiven: [None; 2],
        }
    }

    /// Restores the numbers that an earlier life of this node has handed to readers.
    pub(super) fn restore(&mut self, window: Window) {
        (self.window, self.kept, self.told) = (window, window, window.below());
    }

    /// The numbers that readers received, or know to be lost, if they have changed. Waiting broadcasts are not among them.
    pub(super) fn take_change(&mut self) -> Option<Window> {
        let mut window = self.window;
        self.held.keys().for_each(|seq| window.remove(*seq));
        (std::mem::replace(&mut self.kept, window) != window).then_some(window)
    }

    /// Its share of the digest while its origin is live.
    pub(super) fn hash(&self) -> u64 {
        let (bytes, len) = self.window.bytes();
        hash::broadcasts(&self.life.name, self.life.epoch, self.window.below(), &bytes[..len])
    }

    /// Takes in a broadcast from a member, if it is new.
    pub(super) fn take(&mut self, now: Time, item: Arc<Item>, from: &Life, out: &mut VecDeque<Delivery>) {
        if self.window.contains(item.seq) {
            return;
        }
        let given_up = self.give_up(&Window::up_to(item.seq.saturating_sub(WIDTH + 1)));
        self.window.insert(item.seq);
        self.used = self.used.saturating_add(1);
        self.tell_lost(now, given_up, out);
        if item.seq <= self.told {
            self.hand_out(item, 0, out);
        } else if item.seq == self.told + 1 {
            self.told = item.seq;
            self.hand_out(item, 0, out);
        } else {
            self.held_bytes += item.size();
            self.held.insert(item.seq, (now, item));
            self.ask.get_or_insert_with(|| (now + ASK_AFTER, from.clone())).1 = from.clone();
            while self.held.len() > MAX_HELD || self.held_bytes > MAX_HELD_BYTES {
                self.pass_gap(now, out);
            }
        }
        self.settle(out);
    }

    /// A member has given all that it can of what it knows. Other members may have more: this one may have taken over its
    /// knowledge.
    pub(super) fn note_ungiven(&mut self, now: Time, theirs: &Window) {
        let (until, [first, later]) = (now + UNGIVEN, &mut self.ungiven);
        match first {
            None => *first = Some((until, *theirs)),
            Some((_, noted)) if noted.lacks(theirs) => {
                let (at, noted) = later.get_or_insert((until, *theirs));
                if noted.give_up(theirs) > 0 {
                    *at = until;
                }
            }
            Some(_) => {}
        }
    }

    /// Takes over a member's knowledge as of before this node's time.
    pub(super) fn take_over(&mut self, theirs: &Window, out: &mut VecDeque<Delivery>) {
        self.give_up(theirs);
        self.settle(out);
    }

    /// Makes the numbers of another window count as known. Returns how many were not known.
    fn give_up(&mut self, theirs: &Window) -> u64 {
        let Self { window, given_up, .. } = self;
        window.each_lacked(theirs, |first, last| given_up.add(first, last));
        window.give_up(theirs)
    }

    /// Whether the broadcast of a known number reached readers. `Some(false)`: it did not, and still may; `None`: that is
    /// forgotten, or readers would get it ahead of its turn.
    pub(super) fn has_come(&self, seq: u64) -> Option<bool> {
        self.given_up.has_come(seq).filter(|come| *come || seq <= self.told)
    }

    /// Hands out a broadcast whose number counted as known, and which has arrived after all.
    pub(super) fn take_given_up(&mut self, item: Arc<Item>, out: &mut VecDeque<Delivery>) {
        self.given_up.remove(item.seq);
        self.hand_out(item, 0, out);
    }

    fn hand_out(&mut self, item: Arc<Item>, gap: u64, out: &mut VecDeque<Delivery>) {
        let late = item.seq < self.last;
        self.last = self.last.max(item.seq);
        out.push_back(Delivery::Item { item, gap, late });
    }

    /// When [`expire`](Self::expire) has something to do.
    pub(super) fn due(&self) -> Option<Time> {
        let held = self.held.values().map(|(since, _)| *since + HOLD).min();
        let asked = self.ask.as_ref().filter(|_| held.is_some()).map(|(at, _)| *at);
        let (lost, ungiven) = (self.lost.map(|(at, _)| at), self.ungiven[0].map(|(at, _)| at));
        // Options of one another are compared in ways that valgrind takes for reads of what was never written.
        let times = [held, asked, lost, ungiven].map(|at| at.unwrap_or(Time::MAX));
        times.into_iter().min().filter(|at| *at < Time::MAX)
    }

    /// Runs work that is due. Returns the member to ask for missing broadcasts, if it is time.
    pub(super) fn expire(&mut self, now: Time, out: &mut VecDeque<Delivery>) -> Option<Life> {
        if let Some((_, limit)) = self.lost.filter(|(at, _)| *at <= now) {
            self.lost = None;
            self.lose(now, &Window::up_to(limit), out);
            self.expect_loss(now);
        }
        while self.held.values().any(|(since, _)| now.since(*since) >= HOLD) {
            self.pass_gap(now, out);
        }
        while let Some((_, theirs)) = self.ungiven[0].filter(|(at, _)| *at <= now) {
            self.ungiven = [self.ungiven[1], None];
            self.lose(now, &theirs, out);
        }
        let (at, from) = self.ask.as_mut().filter(|(at, _)| *at <= now)?;
        *at = now + ASK_AGAIN;
        Some(from.clone())
    }

    /// How many broadcasts wait for an earlier one.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn held(&self) -> usize {
        self.held.len()
    }

    /// How many ranges were given up.
    #[cfg(any(test, feature = "sim"))]
    pub(super) fn given_up(&self) -> usize {
        self.given_up.len()
    }

    /// The bytes of the waiting broadcasts.
    pub(super) fn held_bytes(&self) -> usize {
        self.held_bytes
    }

    /// Nothing more is taken in: waiting broadcasts are handed out, and missing ones are lost.
    pub(super) fn end(&mut self, now: Time, out: &mut VecDeque<Delivery>) {
        while !self.held.is_empty() {
            self.pass_gap(now, out);
        }
        if let Some((_, limit)) = self.lost.take() {
            self.lose(now, &Window::up_to(limit), out);
        }
    }

    /// Broadcasts that are missing of another window are lost.
    fn lose(&mut self, now: Time, theirs: &Window, out: &mut VecDeque<Delivery>) {
        let given_up = self.give_up(theirs);
        self.tell_lost(now, given_up, out);
        self.settle(out);
    }

    /// Hands out the first waiting broadcast, though some before it are missing, and those that follow it without a gap.
    pub(super) fn pass_gap(&mut self, now: Time, out: &mut VecDeque<Delivery>) {
        let Some((seq, (_, item))) = self.held.pop_first() else { return };
        self.held_bytes -= item.size();
        let gap = self.window.missing_up_to(seq) - self.window.missing_up_to(self.told);
        self.told = seq;
        self.hand_out(item, gap, out);
        self.expect_loss(now);
        self.settle(out);
    }

    /// Missing broadcasts that readers know to be missing may still come for a while.
    fn expect_loss(&mut self, now: Time) {
        if self.window.below() < self.told {
            self.lost.get_or_insert((now + KEEP, self.told));
        }
    }

    /// Hands out broadcasts that need not wait any longer.
    fn settle(&mut self, out: &mut VecDeque<Delivery>) {
        loop {
            let first = self.held.first_key_value().map(|(seq, _)| *seq);
            self.told = self.told.max(self.window.below().min(first.map_or(u64::MAX, |seq| seq - 1)));
            let Some(next) = self.held.first_entry().filter(|next| *next.key() == self.told + 1) else {
                break;
            };
            let (_, item) = next.remove();
            self.held_bytes -= item.size();
            self.told += 1;
            self.hand_out(item, 0, out);
        }
        if self.held.is_empty() {
            self.ask = None;
        }
        if self.window.below() >= self.told {
            self.lost = None;
        }
        let [first, later] = self.ungiven.map(|noted| noted.filter(|(_, theirs)| self.window.lacks(theirs)));
        self.ungiven = if first.is_some() { [first, later] } else { [later, None] };
    }

    /// Reports no more losses than the origin can have sent since it is known here: a number may be forged.
    fn tell_lost(&mut self, now: Time, claimed: u64, out: &mut VecDeque<Delivery>) {
        let (per_second, burst) = (u64::from(OWN.0), u64::from(OWN.1));
        let sent = now.since(self.since).as_secs().saturating_add(1).saturating_mul(per_second) + 2 * burst;
        let count = claimed.min(sent.saturating_sub(self.used));
        self.implausible += u64::from(count < claimed);
        self.used = self.used.saturating_add(count);
        if count > 0 {
            out.push_back(Delivery::Lost { origin: self.life.clone(), count });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{item, life},
        *,
    };

    const BEGIN: Time = Time::from_origin(Duration::from_secs(100));

    /// The deliveries, as `seq`, `seq+gap`, `~seq` for late ones and `-count` for lost ones.
    fn told(out: &mut VecDeque<Delivery>) -> String {
        let one = |delivery| match delivery {
            Delivery::Item { item, late: true, .. } => format!("~{}", item.seq),
            Delivery::Item { item, gap: 0, .. } => item.seq.to_string(),
            Delivery::Item { item, gap, .. } => format!("{}+{gap}", item.seq),
            Delivery::Lost { count, .. } => format!("-{count}"),
        };
        out.drain(..).map(one).collect::<Vec<_>>().join(" ")
    }

    struct Rig {
        heard: Heard,
        out: VecDeque<Delivery>,
    }

    impl Rig {
        fn new() -> Self {
            Self { heard: Heard::new(life("a", 1), 0, Time::ZERO), out: VecDeque::new() }
        }

        fn take(&mut self, now: Time, seqs: impl IntoIterator<Item = u64>) -> String {
            for seq in seqs {
                self.heard.take(now, item("a", 1, seq), &life("b", 7), &mut self.out);
            }
            told(&mut self.out)
        }

        fn expire(&mut self, now: Time) -> (String, Option<Life>) {
            let asked = self.heard.expire(now, &mut self.out);
            (told(&mut self.out), asked)
        }
    }

    #[test]
    fn later_broadcasts_wait_for_missing_ones_and_then_report_the_gap() {
        let mut rig = Rig::new();
        assert_eq!(rig.take(BEGIN, [1, 1, 3, 5]), "1");
        assert_eq!(rig.heard.due(), Some(BEGIN + ASK_AFTER));
        assert_eq!(rig.expire(BEGIN + ASK_AFTER), (String::new(), Some(life("b", 7))), "it is asked for");
        assert_eq!(rig.take(BEGIN + HOLD / 2, [2]), "2 3");
        assert_eq!(rig.expire(BEGIN + HOLD).0, "5+1");
        assert_eq!(rig.take(BEGIN + HOLD, [6]), "6");
        assert_eq!(rig.take(BEGIN + HOLD * 2, [4, 4]), "~4", "late, once");
        assert_eq!((rig.heard.due(), rig.heard.window), (None, Window::up_to(6)));
    }

    #[test]
    fn a_broadcast_that_waits_for_an_earlier_one_is_not_kept_and_comes_in_the_next_life() {
        let mut rig = Rig::new();
        assert_eq!(
            (rig.take(BEGIN, [1, 2, 4]), rig.heard.take_change()),
            ("1 2".into(), Some(Window::up_to(2)))
        );
        assert_eq!(rig.heard.take_change(), None, "it is told once");
        assert_eq!(rig.expire(BEGIN + HOLD).0, "4+1");
        assert_eq!(rig.take(BEGIN + HOLD, [6]), "");
        let kept = rig.heard.take_change().unwrap();
        let mut next = Rig::new();
        next.heard.restore(kept);
        assert_eq!(next.heard.take_change(), None);
        assert_eq!(next.take(BEGIN, [1, 2, 4, 6]), "");
        assert_eq!(next.take(BEGIN, [3]), "3");
        assert_eq!(next.take(BEGIN, [4, 5, 6]), "5 6");
    }

    #[test]
    fn a_broadcast_that_is_missing_for_a_minute_is_lost() {
        let mut rig = Rig::new();
        assert_eq!(rig.take(BEGIN, [3]), "");
        assert_eq!(rig.expire(BEGIN + HOLD).0, "3+2");
        assert_eq!(rig.take(BEGIN + KEEP, [5]), "");
        assert_eq!(rig.expire(BEGIN + HOLD + KEEP).0, "-2 5+1");
        let again = BEGIN + HOLD + KEEP * 2;
        assert_eq!((rig.heard.due(), rig.expire(again).0), (Some(again), "-1".into()));
        assert_eq!((rig.heard.due(), rig.take(again, [4])), (None, String::new()));
    }

    #[test]
    fn no_number_has_more_lost_than_its_origin_can_have_sent() {
        let mut rig = Rig::new();
        rig.heard.since = BEGIN;
        let mut lost = |now, seq: u64| -> String {
            let told = rig.take(now, [seq]);
            told.split(' ').filter(|word| word.starts_with('-')).collect()
        };
        assert_eq!((lost(BEGIN, 1 << 40), lost(BEGIN, (1 << 40) + 9000)), ("-561".into(), String::new()));
        let later = BEGIN + Duration::from_secs(10);
        assert_eq!((lost(later, 1 << 41), lost(later, 1 << 42)), ("-498".into(), String::new()));
        assert_eq!(rig.heard.implausible, 4);
    }

    #[test]
    fn a_burst_waits_for_its_first_and_comes_in_order() {
        let mut rig = Rig::new();
        assert_eq!(rig.take(BEGIN, 2..2 + MAX_HELD as u64), "");
        assert_eq!(rig.heard.held(), MAX_HELD);
        let all: Vec<String> = (1..2 + MAX_HELD as u64).map(|seq| seq.to_string()).collect();
        assert_eq!(rig.take(BEGIN, [1]), all.join(" "));
        assert_eq!((rig.heard.held(), rig.heard.held_bytes), (0, 0));
    }

    #[test]
    fn the_bytes_that_wait_are_bounded() {
        let mut rig = Rig::new();
        for seq in 2..=250 {
            let mut large = Arc::into_inner(item("a", 1, seq)).unwrap();
            large.payload = vec![0; 6 << 10].into();
            rig.heard.take(BEGIN, Arc::new(large), &life("b", 7), &mut rig.out);
            assert!(rig.heard.held_bytes <= MAX_HELD_BYTES);
        }
        assert!(told(&mut rig.out).starts_with("2+1 3 4 ") && rig.heard.held() == 0);
    }

    #[test]
    fn broadcasts_reordered_by_up_to_three_hundred_come_once_or_are_reported_as_lost() {
        for (reach, all) in [(128, true), (300, false)] {
            let mut rng = fastrand::Rng::with_seed(3);
            let mut numbers: Vec<u64> = (1..=3000).collect();
            numbers.chunks_mut(reach).for_each(|chunk| rng.shuffle(chunk));
            let mut rig = Rig::new();
            let text = rig.take(BEGIN, numbers);
            let (mut seen, mut lost) = (std::collections::BTreeSet::new(), 0);
            for word in text.split(' ') {
                match word.strip_prefix('-') {
                    Some(count) => lost += count.parse::<usize>().unwrap(),
                    None => {
                        let seq = word.trim_start_matches('~').split('+').next().unwrap();
                        assert!(seen.insert(seq.parse::<u64>().unwrap()), "{seq} came twice");
                    }
                }
            }
            assert_eq!((seen.len() + lost, rig.heard.held()), (3000, 0));
            assert_eq!(lost == 0, all, "{lost} of numbers that are {reach} apart");
        }
    }

    #[test]
    fn a_broadcast_that_no_member_can_give_is_lost_soon() {
        let mut rig = Rig::new();
        assert_eq!(rig.take(BEGIN, [1, 2, 90, 91]), "1 2");
        rig.heard.note_ungiven(BEGIN, &Window::up_to(50));
        rig.heard.note_ungiven(BEGIN + HOLD, &Window::up_to(91));
        assert_eq!(rig.expire(BEGIN + HOLD).0, "90+87 91");
        assert_eq!(rig.take(BEGIN + HOLD, [7]), "~7", "another gives it");
        rig.heard.note_ungiven(BEGIN + UNGIVEN / 2, &Window::up_to(91));
        assert_eq!((rig.heard.due(), rig.expire(BEGIN + UNGIVEN).0), (Some(BEGIN + UNGIVEN), "-47".into()));
        let later = BEGIN + HOLD + UNGIVEN;
        assert_eq!((rig.heard.due(), rig.expire(later).0), (Some(later), "-39".into()));
        assert_eq!((rig.heard.due(), rig.heard.window), (None, Window::up_to(91)));
        rig.heard.take_over(&Window::up_to(1000), &mut rig.out);
        assert_eq!((told(&mut rig.out), rig.take(BEGIN, [1000, 1001])), (String::new(), "1001".into()));
    }

    /// A member that has just joined takes over the knowledge of others while a large broadcast is still on its way.
    #[test]
    fn a_broadcast_taken_over_from_others_is_late_only_after_a_later_one_was_read() {
        let mut rig = Rig::new();
        assert_eq!(rig.take(BEGIN, [1]), "1");
        rig.heard.take_over(&Window::up_to(3), &mut rig.out);
        rig.heard.take_given_up(item("a", 1, 2), &mut rig.out);
        assert_eq!(rig.take(BEGIN, [4]), "2 4");
        rig.heard.take_given_up(item("a", 1, 3), &mut rig.out);
        assert_eq!(told(&mut rig.out), "~3");
    }
}
