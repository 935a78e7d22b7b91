//! The measurements of a scenario, and which claims held.

use std::{fmt::Write, sync::OnceLock, time::Duration};

/// A condition that must hold in every network in which nodes can reach each other.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Claim {
    AllSeeAll,
    TagsArrive,
    NobodyIsFailedThatIsThere,
    LeaversAreToldAsLeft,
    CrashesAreSeen,
    /// A call returns when its work is done, not when something else happens to wake the node.
    CallsReturn,
    /// A node whose address changes is found at the new one.
    AddressIsFollowed,
    /// The program and its log report the fault of the network.
    ProblemIsTold,
    /// They report nothing if there is no fault.
    NoProblemIsTold,
}

impl Claim {
    fn sentence(self) -> &'static str {
        match self {
            Self::AllSeeAll => "all see all",
            Self::TagsArrive => "a tag arrives at all",
            Self::NobodyIsFailedThatIsThere => "nobody is told as failed that is there",
            Self::LeaversAreToldAsLeft => "a leaver is told as left by all",
            Self::CrashesAreSeen => "a crash is seen by all",
            Self::CallsReturn => "a call returns when it is done",
            Self::AddressIsFollowed => "a changed address is followed",
            Self::ProblemIsTold => "the node says what is wrong",
            Self::NoProblemIsTold => "no node says that anything is wrong",
        }
    }
}

/// The time of a tag in the direct network, once it was measured: the unit of all others.
pub(crate) static DIRECT_TAG: OnceLock<Duration> = OnceLock::new();

/// A claim that does not hold yet, and its cause.
pub(crate) type Known = (Claim, &'static str);

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) nodes: usize,
    /// The time until all saw all.
    pub(crate) start: Option<Duration>,
    /// The time until the last member had a tag, in the slowest of all rounds.
    pub(crate) tag: Option<Duration>,
    /// The time until the last member saw a crash.
    pub(crate) crash: Option<Duration>,
    /// How many others reported a leaver as left, how many as failed, and how many others there were.
    pub(crate) leave: Option<(usize, usize, usize)>,
    pub(crate) false_verdicts: usize,
    broken: Vec<(Claim, String)>,
    kept: Vec<Claim>,
    pub(crate) notes: Vec<String>,
}

impl Report {
    /// Stores whether a claim held, with the observation if it did not.
    pub(crate) fn claim(&mut self, claim: Claim, holds: bool, seen: impl FnOnce() -> String) -> bool {
        if holds {
            self.kept.push(claim);
        } else {
            self.broken.push((claim, seen()));
        }
        holds
    }

    pub(crate) fn note(&mut self, text: impl Into<String>) {
        self.notes.push(text.into());
    }

    /// Broken claims that are not known.
    pub(crate) fn failures<'a>(&'a self, known: &'a [Known]) -> impl Iterator<Item = &'a (Claim, String)> {
        self.broken.iter().filter(|(claim, _)| known.iter().all(|(known, _)| known != claim))
    }

    /// The scenario's row, and a line for each claim that needs one.
    pub(crate) fn print(&self, name: &str, known: &[Known]) -> String {
        let time = |t: Option<Duration>| t.map_or("-".into(), |t| format!("{:.2} s", t.as_secs_f64()));
        let ratio = match (self.tag, DIRECT_TAG.get()) {
            (Some(tag), Some(direct)) => {
                format!(" ({:.1} x direct)", tag.as_secs_f64() / direct.as_secs_f64())
            }
            _ => String::new(),
        };
        let leave = self
            .leave
            .map_or("-".into(), |(left, failed, of)| format!("{left} left, {failed} failed of {of}"));
        let failed = self.failures(known).next().is_some();
        let mut text = format!(
            "{name}: {} nodes; start {}; tag {}{ratio}; crash {}; leave {leave}; false verdicts {}; {}\n",
            self.nodes,
            time(self.start),
            time(self.tag),
            time(self.crash),
            self.false_verdicts,
            if failed { "FAILED" } else { "ok" },
        );
        for note in &self.notes {
            let _ = writeln!(text, "    {note}");
        }
        for (claim, seen) in self.failures(known) {
            let _ = writeln!(text, "    FAILED: {}: {seen}", claim.sentence());
        }
        for (claim, cause) in known {
            let seen = self.broken.iter().find(|(broken, _)| broken == claim);
            let _ = match seen {
                Some((_, seen)) => writeln!(text, "    known: {}: {seen} ({cause})", claim.sentence()),
                None if self.kept.contains(claim) => {
                    writeln!(text, "    held this time: {} (known: {cause})", claim.sentence())
                }
                None => Ok(()),
            };
        }
        text
    }
}
