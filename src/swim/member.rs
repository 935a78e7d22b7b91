//! A member: its state, its identity, and its record.

use std::{fmt, net::SocketAddr, str::FromStr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    contact::Contact,
    suspicion::Suspicion,
    time::Time,
    verdict::{Origin, Verdict},
};
use crate::{
    Error,
    text::Quoted,
    wire::{Tags, hash, message},
};

/// The state of a member, as this node sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum MemberState {
    /// It answers, or no member has accused it.
    Alive,
    /// A member's probes of it went unanswered; it may still refute. It counts as live.
    Suspect,
    /// A suspicion timed out without a refutation.
    Failed,
    /// It left on purpose.
    Left,
}

impl MemberState {
    /// Alive or suspect.
    #[must_use]
    pub fn is_live(self) -> bool {
        matches!(self, Self::Alive | Self::Suspect)
    }
}

/// Parses the text that `Display` writes.
///
/// ```
/// use syncswim::MemberState;
///
/// assert_eq!("failed".parse::<MemberState>()?, MemberState::Failed);
/// assert!("dead".parse::<MemberState>().unwrap_err().to_string().contains("alive, suspect, failed or left"));
/// # Ok::<(), syncswim::Error>(())
/// ```
impl FromStr for MemberState {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::Invalid`] if the text is none of `alive`, `suspect`, `failed` and `left`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let all = [Self::Alive, Self::Suspect, Self::Failed, Self::Left];
        let found = all.into_iter().find(|state| state.to_string() == text);
        let problem = || format!("is {}; it must be alive, suspect, failed or left", Quoted(text));
        found.ok_or_else(|| Error::invalid("state", problem()))
    }
}

impl fmt::Display for MemberState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Alive => "alive",
            Self::Suspect => "suspect",
            Self::Failed => "failed",
            Self::Left => "left",
        })
    }
}

/// A life of a name, and a version of what the member says in that life: a later identity supersedes an earlier one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Identity {
    /// Start time of this life in milliseconds since 1970, raised above every epoch known for the name.
    pub epoch: u64,
    /// Raised by the member itself with each refutation and each change of its tags.
    pub incarnation: u64,
}

impl Identity {
    /// The identity of this epoch and incarnation.
    #[must_use]
    pub const fn new(epoch: u64, incarnation: u64) -> Self {
        Self { epoch, incarnation }
    }
}

impl fmt::Display for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.epoch, self.incarnation)
    }
}

/// Parses a text such as `1700000000000.3`.
impl FromStr for Identity {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::Invalid`] if the text is not two numbers with a dot between them.
    fn from_str(text: &str) -> Result<Self, Error> {
        let parsed = text.split_once('.').and_then(|(epoch, incarnation)| {
            let number =
                |text: &str| text.bytes().all(|byte| byte.is_ascii_digit()).then(|| text.parse().ok());
            Some(Self::new(number(epoch)??, number(incarnation)??))
        });
        let problem = || format!("is {}; write it as epoch.incarnation, two numbers", Quoted(text));
        parsed.ok_or_else(|| Error::invalid("identity", problem()))
    }
}

/// A node's knowledge of one member at one moment. Cheap to clone.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Member {
    /// Its unique name.
    pub name: Arc<str>,
    /// Its address with port, over UDP and TCP.
    pub addr: SocketAddr,
    /// Its state in this node's view.
    pub state: MemberState,
    /// The tags that it shows.
    pub tags: Tags,
    /// Its epoch and incarnation.
    pub identity: Identity,
    /// The time since which it is in this state, in this node's view: [`Gossip::time`](crate::Gossip::time) is the present
    /// time on the same clock. A restarted member is in its state since its return. Another node or process counts from
    /// another origin.
    #[serde(default)]
    pub since: Time,
    /// The name of the member that [removed](crate::Gossip::remove) it, if it has left because it was removed, as that
    /// member or another claims. Nothing else depends on it.
    #[serde(default)]
    pub removed_by: Option<Arc<str>>,
}

/// Its name and address, and its tags if it has any: `db-1 at 10.0.0.5:7946 (role=db)`.
impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.name, self.addr)?;
        if self.tags.is_empty() { Ok(()) } else { write!(f, " ({})", self.tags) }
    }
}

/// A place in the table. It is reused once its member was forgotten. So an id is kept only where `Node::forget` takes it
/// out again: in `updates`, `lately_departed`, timers and the probe rings (see `audit`). Everything else that waits keeps the
/// name. A [`Sender`](super::validation::Sender) is checked against the member that has the place.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(super) struct MemberId(pub(super) u32);

impl MemberId {
    /// This node itself.
    pub(super) const SELF: MemberId = MemberId(0);

    pub(super) fn index(self) -> usize {
        self.0 as usize
    }
}

/// Kept of a member that was removed, to pass it on.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Removed {
    pub(super) by: Arc<str>,
    pub(super) reap: bool,
}

impl Removed {
    pub(super) fn of(said: message::Removed<'_>) -> Self {
        Self { by: said.by.into(), reap: said.reap }
    }

    pub(super) fn told(&self) -> message::Removed<'_> {
        message::Removed { by: &self.by, reap: self.reap }
    }
}

/// After this many refuted departures failures are doubted.
const FAILURES_DOUBTED: usize = 2;
/// After this many returns from leaves further leaves are doubted. A refuted leave cannot be told from a restart after a leave, since
/// the claimant of a leave can choose in which epoch it is refuted; so restarts count too, and more of them are needed.
const LEAVES_DOUBTED: usize = 4;

/// When a member refuted its last departures, the latest first: all of them, since a failure may be claimed and then a leave; and those
/// that were a leave.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Refuted {
    all: [Option<Time>; FAILURES_DOUBTED],
    leaves: [Option<Time>; LEAVES_DOUBTED],
    /// The greatest identity that departed or refuted: what refutes is greater, and counts once.
    greatest: Identity,
}

impl Refuted {
    /// A live member departs by this identity.
    pub(super) fn note_departure(&mut self, identity: Identity) {
        self.greatest = self.greatest.max(identity);
    }

    pub(super) fn note(&mut self, departure: MemberState, by: Identity, now: Time) {
        if by <= self.greatest {
            return;
        }
        self.greatest = by;
        let note = |times: &mut [Option<Time>]| {
            times.rotate_right(1);
            times[0] = Some(now);
        };
        note(&mut self.all);
        if departure == MemberState::Left {
            note(&mut self.leaves);
        }
    }

    /// Whether it refuted so many departures of this kind, all of them less than `memory` ago, that one more is doubted.
    pub(super) fn is_doubted(&self, departure: MemberState, now: Time, memory: Duration) -> bool {
        let of_kind: &[_] = if departure == MemberState::Left { &self.leaves } else { &self.all };
        of_kind.iter().all(|at| at.is_some_and(|at| now.since(at) < memory))
    }
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Record {
    pub(super) name: Arc<str>,
    pub(super) addr: SocketAddr,
    pub(super) state: MemberState,
    pub(super) tags: Tags,
    /// The incarnation of the Alive that they are from. Its identity may be greater: others suspect it under what they claim.
    pub(super) tags_incarnation: u64,
    pub(super) identity: Identity,
    /// When `state` was entered.
    pub(super) since: Time,
    /// Departed and no longer listed; kept so that no old update brings it back.
    pub(super) tombstone: bool,
    pub(super) suspicion: Option<Box<Suspicion>>,
    /// It left because it was removed.
    pub(super) removed: Option<Box<Removed>>,
    /// Present if the member has departed before.
    pub(super) refuted: Option<Box<Refuted>>,
    pub(super) contact: Contact,
    /// The hash of its name that stands for it in the headers of packets.
    pub(super) mark: u32,
    /// The bucket of the table that its name is in.
    pub(super) bucket: u8,
}

impl Record {
    pub(super) fn new(
        name: Arc<str>,
        addr: SocketAddr,
        state: MemberState,
        identity: Identity,
        since: Time,
    ) -> Self {
        Self {
            mark: hash::member(&name),
            bucket: hash::bucket(&name) as u8,
            name,
            addr,
            state,
            tags: Tags::default(),
            tags_incarnation: identity.incarnation,
            identity,
            since,
            tombstone: false,
            suspicion: None,
            removed: None,
            refuted: None,
            contact: Contact::default(),
        }
    }

    pub(super) fn view(&self) -> Member {
        let Self { name, tags, .. } = self;
        Member {
            name: name.clone(),
            addr: self.addr,
            state: self.state,
            tags: tags.clone(),
            identity: self.identity,
            since: self.since,
            removed_by: self.removed.as_deref().map(|removed| Arc::clone(&removed.by)),
        }
    }

    /// The evidence against it, as a verdict falls; `own` is this node's name.
    pub(super) fn verdict(&self, own: &str, now: Time, origin: Origin) -> Verdict {
        match &self.suspicion {
            Some(suspicion) => suspicion.verdict(own, self.since, now, origin),
            None => Verdict { origin, accusers: Vec::new(), suspected: None, waited: Duration::ZERO },
        }
    }

    pub(super) fn digest(&self) -> u64 {
        if !self.state.is_live() {
            return 0;
        }
        hash::live(&self.name, self.identity.epoch, self.identity.incarnation, self.addr)
    }

    /// Whether accusations under another identity count against it: others can raise its incarnation, and its epoch, at each node
    /// alone, and then no node could confirm what another finds. Of another epoch they count once three probes have failed:
    /// after a restart, old claims about the past life go round.
    pub(super) fn is_accused_under(&self, identity: Identity) -> bool {
        match identity.epoch == self.identity.epoch {
            true => self.contact.missed_last(),
            false => self.contact.is_missed(),
        }
    }

    /// Whether a member removed it, to be listed no longer.
    pub(super) fn is_to_be_reaped(&self) -> bool {
        self.removed.as_deref().is_some_and(|removed| removed.reap)
    }

    /// Its share in the digest of those that were removed.
    pub(super) fn removal_digest(&self) -> u64 {
        let Identity { epoch, incarnation } = self.identity;
        let removed = self.removed.as_deref();
        removed.map_or(0, |removed| hash::removal(&self.name, epoch, incarnation, removed.reap))
    }
}

#[cfg(test)]
mod tests {
    use super::{
        MemberState::{Failed, Left},
        *,
    };

    const MEMORY: Duration = Duration::from_secs(600);

    fn refuted(departures: &[(MemberState, u64)]) -> Refuted {
        let mut refuted = Refuted::default();
        for &(departure, incarnation) in departures {
            refuted.note(departure, Identity::new(1, incarnation), Time::ZERO);
        }
        refuted
    }

    /// Whether one more failure is doubted, and one more leave.
    fn doubts(refuted: Refuted, after: Duration) -> [bool; 2] {
        [Failed, Left].map(|departure| refuted.is_doubted(departure, Time::ZERO + after, MEMORY))
    }

    #[test]
    fn failures_are_doubted_after_two_refutations_and_leaves_after_those_of_four_leaves() {
        let doubts = |departure, times| {
            let departures: Vec<_> = (1..=times).map(|incarnation| (departure, incarnation)).collect();
            doubts(refuted(&departures), Duration::ZERO)
        };
        assert_eq!([doubts(Failed, 1), doubts(Failed, 2)], [[false, false], [true, false]]);
        assert_eq!([doubts(Left, 3), doubts(Left, 4)], [[true, false], [true, true]]);
        assert_eq!(doubts(Failed, 4), [true, false], "no leave was refuted");
    }

    #[test]
    fn a_refutation_that_comes_again_counts_once() {
        assert_eq!(doubts(refuted(&[(Failed, 1), (Failed, 1)]), Duration::ZERO), [false, false]);
    }

    #[test]
    fn refutations_are_forgotten_in_time() {
        let refuted = refuted(&[(Failed, 1), (Failed, 2)]);
        let last = MEMORY - Duration::from_nanos(1);
        assert_eq!([doubts(refuted, last), doubts(refuted, MEMORY)], [[true, false], [false, false]]);
    }
}
