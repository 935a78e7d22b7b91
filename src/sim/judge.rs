//! Judges healthy members while an attacker lies: the promises that hold nevertheless, and within which time.
//!
//! [`check`](super::check) does not judge members that lies were about until all has been well for a while. This judge does,
//! in clusters that were well before. Lies are no excuse. Accidents are one (a process that stops, a network that is not
//! perfect, a path with other addresses, two holders of a name), until all has been well again. Clocks that differ are an
//! excuse for the rest of the run: a lie about the time can then not be refuted before the slower clock gets there.
//!
//! A pair of which one started or restarted is judged once one sees the other rightly, or others list these lives of both.
//! The remaining limits of the protocol are excuses, too, each by its name and for the members that it concerns:
//!
//! - *impostors*: a process that answers to the name of a member at an address of its own cannot be told from a second
//!   holder of that name, nor from a restart there (SECURITY.md, *Not defended*);
//! - *outnumbered*: where made-up or crashed members that have answered can be all relays of a probe, they can worsen the
//!   prober's awareness, keep it away, and put its verdicts off (SECURITY.md, *keep a healthy member out*). The addresses of
//!   others are judged nevertheless;
//! - *spoken for*: claims in a member's name in a stream from its own address, which no attacker could send, are excused for
//!   the time of a refutation;
//! - *misquoted*: claims about a member's tags are excused for the same time.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use crate::swim::{Config, Time};

/// A wrong view that a host has of another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wrong {
    /// The viewer does not list a healthy member as live.
    Away,
    /// The viewer lists a healthy member at a wrong address.
    Elsewhere,
    /// The viewer does not know the tags of a healthy member.
    Stale,
    /// The viewer lists a member as live that is down.
    Dead,
}

impl Wrong {
    /// The promise that is broken if the wrong view lasts.
    pub(super) fn rule(self) -> &'static str {
        match self {
            Self::Away => "lies keep no healthy member away",
            Self::Elsewhere => "lies have no healthy member listed elsewhere",
            Self::Stale => "lies keep nobody from hearing a healthy member",
            Self::Dead => "lies keep no dead member listed",
        }
    }

    /// How long the wrong view may last in a cluster of so many live members.
    pub(super) fn limit(self, config: &Config, live: usize) -> Duration {
        match self {
            Self::Dead => detection(config, live),
            Self::Away | Self::Elsewhere => refutation(config, live),
            // While an attacker has updates renewed all the time, no digest is sent: a member that missed one learns of it
            // by a push/pull.
            Self::Stale => refutation(config, live) + config.sync_interval,
        }
    }
}

/// The promise that is broken if claims of others raise the awareness of a node beyond [`AWARENESS`].
pub(super) const SLOWED: &str = "lies slow no healthy member's probes beyond half their pace";
pub(super) const AWARENESS: u32 = 1;

/// Probe intervals after an impostor's last answer within which a member that yielded to it has its name back.
pub(super) const RETURN: u32 = 30;

/// A member learns of claims about itself at the latest from the answer to its own probe of a member that believes them. It
/// gets through its probe ring within two rounds for each member, and its pace may be halved.
fn refutation(config: &Config, live: usize) -> Duration {
    config.probe_interval.saturating_mul(4 * live as u32)
}

/// A node believes others about a member until three of its own probes have failed, in three passes of its ring; then
/// an unconfirmed suspicion times out, which may be extended once.
fn detection(config: &Config, live: usize) -> Duration {
    let ring = config.probe_interval.saturating_mul(2 * live as u32);
    let scale = (live.max(1) as f64).log10().max(1.0);
    ring * 3 + config.longest_suspicion().mul_f64(scale) * 2
}

/// A claim of the attacker that is excused for the time of a refutation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Said {
    /// The attacker spoke in a host's own name, from the host's own address.
    ByItself,
    /// The attacker claimed a host's tags.
    Tags,
}

/// The view that a host has of another at some moment.
#[derive(Debug)]
pub(super) struct Sight {
    /// The viewer, in one of its lives.
    pub(super) viewer: (usize, u32),
    /// The subject, in one of its lives.
    pub(super) subject: (usize, u32),
    /// Whether the subject runs and has not left.
    pub(super) is_up: bool,
    /// The tags that the subject shows.
    pub(super) tags: Vec<u8>,
    pub(super) wrong: Option<Wrong>,
    pub(super) limit: Duration,
    /// Whether the viewer lists this life of the subject as live.
    pub(super) lists: bool,
}

/// How many views were looked at while the attacker lied.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Looks {
    /// How many of them were judged completely.
    pub(super) judged: u64,
    pub(super) all: u64,
}

impl std::ops::AddAssign for Looks {
    fn add_assign(&mut self, other: Self) {
        (self.judged, self.all) = (self.judged + other.judged, self.all + other.all);
    }
}

/// The observations of one pair.
#[derive(Debug, Default)]
struct Pair {
    lives: (u32, u32),
    is_up: bool,
    tags: Vec<u8>,
    /// Whether the viewer saw the subject rightly, or others listed both: from then on a wrong view counts.
    met: bool,
    /// The wrong view at the last look, and the time of that look.
    wrong: Option<Wrong>,
    looked: Time,
    /// How long the view was wrong, less a quarter of the time for which it was right, so that wrong views on and off count,
    /// too.
    lasted: Duration,
}

/// Follows the view that each host has of the others.
#[derive(Debug, Default)]
pub(super) struct Judge {
    on: bool,
    settled: bool,
    pairs: BTreeMap<(usize, usize), Pair>,
    /// For each host, the made-up members that were claimed to be it, and may answer to its name.
    impostors: BTreeMap<usize, BTreeSet<usize>>,
    outnumbered: BTreeSet<usize>,
    /// The life of each host that others list.
    let_in: BTreeMap<usize, u32>,
    /// Until when each kind of claim about a host is excused.
    said: BTreeMap<(Said, usize), Time>,
    looks: Looks,
}

impl Judge {
    /// Begins to judge, until clocks differ. The cluster is new, so all is well.
    pub(super) fn begin(&mut self) {
        (self.on, self.settled) = (true, true);
    }

    /// Ends judging: clocks differ, or the configuration of these nodes suits no network.
    pub(super) fn end(&mut self) {
        (self.on, self.settled) = (false, false);
    }

    pub(super) fn is_settled(&self) -> bool {
        self.settled
    }

    /// An accident: no member is judged until all has been well.
    pub(super) fn unsettle(&mut self) {
        self.settled = false;
        self.pairs.clear();
    }

    /// All has been well for long enough.
    pub(super) fn settle(&mut self) {
        self.settled = self.on;
    }

    /// Whether any wrong view that the viewer has of the subject counts.
    pub(super) fn have_met(&self, viewer: usize, subject: usize) -> bool {
        self.pairs.get(&(viewer, subject)).is_some_and(|pair| pair.met)
    }

    pub(super) fn stopped(&mut self, host: usize) {
        self.pairs.retain(|(viewer, _), _| *viewer != host);
        self.outnumbered.remove(&host);
    }

    /// A made-up member that answers to any name was claimed to be this host.
    pub(super) fn note_impostor(&mut self, host: usize, ghost: usize) {
        self.impostors.entry(host).or_default().insert(ghost);
    }

    /// The made-up members that were claimed to be this host.
    pub(super) fn impostors(&self, host: usize) -> impl Iterator<Item = usize> {
        self.impostors.get(&host).into_iter().flatten().copied()
    }

    /// Notes whether made-up or crashed members can be all relays of a host's probes, since the host has met so many.
    /// The note is dropped once they cannot be, and the host is well again (`steady`).
    pub(super) fn count_doubtful(&mut self, host: usize, doubtful: usize, most: usize, steady: bool) {
        if doubtful > 0 && doubtful >= most {
            self.outnumbered.insert(host);
        } else if steady {
            self.outnumbered.remove(&host);
        }
    }

    pub(super) fn is_outnumbered(&self, host: usize) -> bool {
        self.outnumbered.contains(&host)
    }

    /// Adds to the counts of views.
    pub(super) fn count(&mut self, looks: Looks) {
        self.looks += looks;
    }

    #[cfg(test)]
    pub(super) fn looks(&self) -> Looks {
        self.looks
    }

    pub(super) fn note_said(&mut self, what: Said, host: usize, until: Time) {
        self.said.insert((what, host), until);
    }

    pub(super) fn is_said(&self, what: Said, host: usize, now: Time) -> bool {
        self.said.get(&(what, host)).is_some_and(|until| now < *until)
    }

    fn is_let_in(&self, (host, life): (usize, u32)) -> bool {
        self.let_in.get(&host) == Some(&life)
    }

    /// Excuses the views of a host up to now.
    pub(super) fn excuse_viewer(&mut self, host: usize) {
        let pairs = self.pairs.iter_mut().filter(|((viewer, _), _)| *viewer == host);
        pairs.for_each(|(_, pair)| (pair.wrong, pair.lasted) = (None, Duration::ZERO));
    }

    /// Excuses the view of a pair up to now.
    pub(super) fn excuse_pair(&mut self, viewer: usize, subject: usize) {
        if let Some(pair) = self.pairs.get_mut(&(viewer, subject)) {
            (pair.wrong, pair.lasted) = (None, Duration::ZERO);
        }
    }

    /// Looks at the view of a pair. Returns the promise that a wrong view has broken, and for how long.
    pub(super) fn look(&mut self, now: Time, sight: Sight) -> Option<(&'static str, Duration)> {
        let Sight { viewer, subject, is_up, tags, wrong, limit, lists } = sight;
        if lists {
            self.let_in.insert(subject.0, subject.1);
        }
        let both_let_in = self.is_let_in(viewer) && self.is_let_in(subject);
        let pair = self.pairs.entry((viewer.0, subject.0)).or_default();
        let lives = (viewer.1, subject.1);
        if (pair.lives, pair.is_up) != (lives, is_up) {
            *pair = Pair { lives, is_up, met: !is_up, looked: now, ..Pair::default() };
        }
        let passed = now.since(std::mem::replace(&mut pair.looked, now));
        match pair.wrong {
            Some(_) => pair.lasted += passed,
            None => pair.lasted = pair.lasted.saturating_sub(passed / 4),
        }
        if std::mem::replace(&mut pair.tags, tags) != pair.tags && wrong == Some(Wrong::Stale) {
            pair.lasted = Duration::ZERO;
        }
        pair.met |= wrong.is_none() || both_let_in;
        pair.wrong = wrong.filter(|_| pair.met);
        let (wrong, lasted) = (pair.wrong?, pair.lasted);
        (lasted > limit).then_some((wrong.rule(), lasted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: Duration = Duration::from_secs(10);

    fn sight(is_up: bool, tags: u8, wrong: Option<Wrong>) -> Sight {
        Sight {
            viewer: (0, 1),
            subject: (1, 1),
            is_up,
            tags: vec![tags],
            wrong,
            limit: LIMIT,
            lists: wrong.is_none(),
        }
    }

    /// The first broken promise in these views, each at a second.
    fn found(looks: Vec<(u64, Sight)>) -> Option<&'static str> {
        let mut judge = Judge::default();
        let mut look = |(at, sight)| judge.look(Time::ZERO + Duration::from_secs(at), sight);
        looks.into_iter().filter_map(&mut look).map(|(rule, _)| rule).next()
    }

    #[test]
    fn a_view_that_is_wrong_for_too_long_is_noticed_and_one_that_ends_in_time_is_not() {
        for wrong in [Wrong::Away, Wrong::Elsewhere, Wrong::Stale] {
            let at = |at, wrong| (at, sight(true, 0, wrong));
            let wrong_at = |second| at(second, Some(wrong));
            assert_eq!(found(vec![at(0, None), wrong_at(1), wrong_at(11)]), None);
            assert_eq!(found(vec![at(0, None), wrong_at(1), wrong_at(12)]), Some(wrong.rule()));
            assert_eq!(found(vec![at(0, None), wrong_at(1), at(11, None), wrong_at(12)]), None);
            assert_eq!(found(vec![wrong_at(1), wrong_at(12)]), None, "it was never listed");
        }
    }

    #[test]
    fn a_view_that_is_wrong_most_of_the_time_is_noticed() {
        let away = |at: &u64| at % 10 != 9;
        let at = |at: u64| (at, sight(true, 0, Some(Wrong::Away).filter(|_| at > 0 && away(&at))));
        assert_eq!(found((0..60).map(at).collect()), Some(Wrong::Away.rule()));
        let seldom = |at: u64| (at, sight(true, 0, Some(Wrong::Away).filter(|_| at > 0 && at % 10 == 9)));
        assert_eq!(found((0..600).map(seldom).collect()), None);
    }

    #[test]
    fn a_member_that_is_gone_is_listed_by_no_node_for_longer_than_the_limit() {
        let at = |at, is_up, wrong| (at, sight(is_up, 0, wrong));
        let dead = Some(Wrong::Dead);
        let looks = vec![at(0, true, Some(Wrong::Away)), at(9, false, dead), at(19, false, dead)];
        assert_eq!(found(looks), None, "it counts from the crash");
        assert_eq!(found(vec![at(9, false, dead), at(20, false, dead)]), Some(Wrong::Dead.rule()));
    }

    #[test]
    fn other_wrongs_go_on_but_new_tags_have_their_own_time() {
        let at = |at, tags, wrong| (at, sight(true, tags, Some(wrong)));
        let right = || (0, sight(true, 0, None));
        let moved = vec![right(), at(1, 0, Wrong::Away), at(12, 0, Wrong::Elsewhere)];
        assert_eq!(found(moved), Some(Wrong::Elsewhere.rule()));
        let (stale, mut changed) = (Wrong::Stale, vec![right(), at(1, 1, Wrong::Stale)]);
        changed.extend([at(12, 2, stale), at(22, 2, stale)]);
        assert_eq!(found(changed), None);
    }

    #[test]
    fn accidents_and_excuses_begin_anew() {
        let mut judge = Judge::default();
        judge.begin();
        let secs = |secs| Time::ZERO + Duration::from_secs(secs);
        let away = || sight(true, 0, Some(Wrong::Away));
        assert_eq!(judge.look(secs(0), sight(true, 0, None)), None);
        assert_eq!(judge.look(secs(1), away()), None);
        judge.excuse_viewer(0);
        assert_eq!(judge.look(secs(12), away()), None);
        assert!(judge.look(secs(23), away()).is_some(), "an excuse ends");
        judge.unsettle();
        assert!(!judge.is_settled());
        judge.settle();
        assert!(judge.is_settled());
        assert_eq!(judge.look(secs(24), away()), None);
        judge.end();
        judge.settle();
        assert!(!judge.is_settled(), "clocks differ for good");
    }

    #[test]
    fn a_node_that_was_outnumbered_is_so_until_it_is_well() {
        let mut judge = Judge::default();
        for (doubtful, most, steady, outnumbered) in [
            (2, 3, true, false),
            (3, 3, true, true),
            (2, 3, false, true),
            (2, 3, true, false),
            (0, 0, true, false),
        ] {
            judge.count_doubtful(0, doubtful, most, steady);
            assert_eq!(judge.is_outnumbered(0), outnumbered, "{doubtful} of {most}");
        }
    }
}
