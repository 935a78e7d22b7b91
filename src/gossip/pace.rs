//! Limits the log lines about members: per member, per second, and a summary of the rest.
//!
//! All memory is bounded: [`MAX_MEMBERS`] names, and for each kind of change a number and [`EXAMPLES`] names.

use std::{collections::HashMap, mem, sync::Arc, time::Duration};

use crate::{
    log_line::{Names, Seconds, Sink, Topic},
    swim::Time,
};

/// Lines about one member in [`MEMBER_WINDOW`]. One more line gives the number of further changes.
pub(super) const MEMBER_LINES: u32 = 4;
pub(super) const MEMBER_WINDOW: Duration = Duration::from_secs(60);
/// Members whose lines are counted. Lines of further members have only the common limit.
pub(super) const MAX_MEMBERS: usize = 256;
/// Lines about single members in a [`WINDOW`]. Further changes are summarised; then all changes are, until a window has no
/// more than this number.
pub(super) const WINDOW_LINES: u32 = 20;
pub(super) const WINDOW: Duration = Duration::from_secs(1);
/// Names in a summary.
pub(super) const EXAMPLES: usize = 3;

/// The limited topics and the topics of their summaries.
const KINDS: [(Topic, Topic); 6] = [
    (Topic::MemberJoined, Topic::MembersJoined),
    (Topic::MemberReturned, Topic::MembersReturned),
    (Topic::MemberLeft, Topic::MembersLeft),
    (Topic::MemberRemoved, Topic::MembersRemoved),
    (Topic::MemberFailed, Topic::MembersFailed),
    (Topic::MemberRefuted, Topic::MembersRefuted),
];

#[derive(Debug, Default)]
pub(super) struct Pace {
    members: HashMap<Arc<str>, Recent>,
    /// When the present window began, and its number of changes.
    began: Time,
    changes: u32,
    /// Whether the window before had too many changes.
    is_storm: bool,
    held: [Held; KINDS.len()],
    /// Whether any line is withheld until later.
    withheld: bool,
}

/// The recent lines about a member.
#[derive(Debug)]
struct Recent {
    began: Time,
    changes: u32,
    last: Topic,
}

/// Changes of one kind in this window without a line of their own.
#[derive(Debug, Default)]
struct Held {
    count: u64,
    examples: Vec<Arc<str>>,
}

impl Pace {
    /// Counts a change of a member. Returns whether it gets a line of its own. [`tick`](Self::tick) must have been called
    /// for `now`.
    pub(super) fn admit(&mut self, now: Time, topic: Topic, name: &Arc<str>) -> bool {
        self.admit_member(now, topic, name) && self.admit_window(topic, name)
    }

    /// Whether this member is below its limit.
    fn admit_member(&mut self, now: Time, last: Topic, name: &Arc<str>) -> bool {
        let is_over = |recent: &Recent| now.since(recent.began) >= MEMBER_WINDOW;
        if let Some(recent) = self.members.get_mut(name) {
            // Changes beyond the limit are reported first.
            if is_over(recent) && recent.changes <= MEMBER_LINES {
                *recent = Recent { began: now, changes: 0, last };
            }
            recent.changes += 1;
            recent.last = last;
            let may = recent.changes <= MEMBER_LINES;
            self.withheld |= !may;
            return may;
        }
        if self.members.len() >= MAX_MEMBERS {
            self.members.retain(|_, recent| !is_over(recent));
        }
        if self.members.len() < MAX_MEMBERS {
            self.members.insert(Arc::clone(name), Recent { began: now, changes: 1, last });
        }
        true
    }

    /// Whether the window is below its limit.
    fn admit_window(&mut self, topic: Topic, name: &Arc<str>) -> bool {
        self.changes = self.changes.saturating_add(1);
        if !self.is_storm && self.changes <= WINDOW_LINES {
            return true;
        }
        let Some(at) = KINDS.iter().position(|(kind, _)| *kind == topic) else { return true };
        let held = &mut self.held[at];
        held.count += 1;
        if held.examples.len() < EXAMPLES && !held.examples.contains(name) {
            held.examples.push(Arc::clone(name));
        }
        self.withheld = true;
        false
    }

    /// Writes the lines that are due for withheld changes.
    pub(super) fn tick(&mut self, now: Time, node: &str, sink: &mut impl Sink) {
        if now.since(self.began) < WINDOW {
            return;
        }
        let within = now.since(self.began);
        self.is_storm = self.changes > WINDOW_LINES;
        (self.began, self.changes) = (now, 0);
        if mem::take(&mut self.withheld) {
            self.sum_up(within, node, sink);
            self.tell_unsettled(now, MEMBER_WINDOW, node, sink);
        }
    }

    /// Writes the lines for all withheld changes now, since the node ends.
    pub(super) fn finish(&mut self, now: Time, node: &str, sink: &mut impl Sink) {
        self.sum_up(now.since(self.began), node, sink);
        self.tell_unsettled(now, Duration::ZERO, node, sink);
    }

    fn sum_up(&mut self, within: Duration, node: &str, sink: &mut impl Sink) {
        for ((_, topic), held) in KINDS.into_iter().zip(&mut self.held) {
            let Held { count, examples } = mem::take(held);
            if count > 0 {
                let (examples, within) = (Names(&examples), Seconds(within));
                sink.write(
                    topic,
                    &[("count", &count), ("within", &within), ("examples", &examples), ("node", &node)],
                );
            }
        }
    }

    /// Reports members with more changes than lines whose window is over, and forgets them.
    fn tell_unsettled(&mut self, now: Time, window: Duration, node: &str, sink: &mut impl Sink) {
        let is_over = |recent: &Recent| now.since(recent.began) >= window;
        let mut told: Vec<_> = self.members.extract_if(|_, recent| is_over(recent)).collect();
        told.retain(|(_, recent)| recent.changes > MEMBER_LINES);
        told.sort_unstable_by(|(a, _), (b, _)| a.cmp(b));
        for (name, Recent { began, changes, last }) in told {
            let last = last.words().trim_start_matches("member ");
            let within = Seconds(now.since(began));
            sink.write(
                Topic::MemberUnsettled,
                &[
                    ("name", &name),
                    ("changes", &changes),
                    ("within", &within),
                    ("last", &last),
                    ("node", &node),
                ],
            );
        }
        self.withheld |= self.members.values().any(|recent| recent.changes > MEMBER_LINES);
    }

    /// How many members are counted, and the most names that wait for a summary.
    #[cfg(test)]
    pub(super) fn sizes(&self) -> (usize, usize) {
        let names = self.held.iter().map(|held| held.examples.len()).max();
        (self.members.len(), names.unwrap_or(0))
    }
}
