//! Datagrams by stream, to members that datagrams do not reach: where a firewall lets TCP pass and drops UDP.
//!
//! A probe that was answered by stream alone shows a member that datagrams do not reach. After two such rounds in a row,
//! whichever members were probed (after the first, if no datagram of this node was ever answered), all members count as
//! unreached by datagrams, until a datagram is answered. What would go to such a member by datagram then goes in a stream
//! that is opened for it, and is taken in as a datagram would be; the answer comes back in the same stream. So all other
//! rules stay as they are.

use std::{collections::BTreeMap, net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    member::MemberId,
    node::Node,
    reach::ReachProblem,
    session::{Purpose, Session, Step},
    stream::{MAX_STREAMS, StreamId, StreamStep},
    time::Time,
    transmit::{Content, Transmit, Way},
};
use crate::wire::packet::{Header, Sections};

/// Probe rounds in a row that were answered by stream alone, after which all members count as unreached by datagrams: if
/// no datagram of this node was ever answered, and if one was.
const MUTE: (u32, u32) = (1, 2);
/// Such rounds of one member, or in a row, after which it is reported that datagrams do not reach it.
///
/// Loss must not look like a firewall. With 30 % of all datagrams lost, a ping or its answer is lost with probability
/// 1 - 0.7^2 = 0.51, and so is the way through a relay with 1 - 0.7^4 = 0.76. The first round of a member asks three relays,
/// and by chance nobody answers by datagram in 0.51 * 0.76^3 = 0.22 of all. Each further round of one that is unreached by
/// datagrams has three bare pings (`probe.rs`), which are lost together with probability 0.51^3 = 0.13. So seven rounds of one
/// member are chance in 0.22 * 0.13^6 = 1.2e-6 of all, and seven in a row of any, of which the first two ask relays
/// ([`MUTE`]), in 0.22^2 * 0.13^5 = 2e-6. With a round a second that is a false report in three or four days. A firewall is
/// reported after seven rounds if nothing gets through, or after thirteen if one member is probed every other round.
const CERTAIN: u32 = 7;
/// Streams for datagrams at the same time, without the urgent ones.
const MAX_CARRIED: usize = 16;
/// Such streams opened in a probe interval.
const MAX_OPENED: u32 = 64;
/// Streams opened in a probe interval that others caused, and how many of those at the same time.
const MAX_PROVOKED: (u32, usize) = (16, 8);
/// Probe intervals until more members are reported.
const TELL_AGAIN: u32 = 60;
/// Members that are named.
const MAX_NAMED: usize = 8;

/// Members that datagrams do not reach, and the streams that are opened for them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Carrier {
    /// Members whose last probes were answered by stream alone.
    saved: BTreeMap<Arc<str>, Saved>,
    /// Probe rounds in a row that were, whichever members were probed.
    in_a_row: u32,
    /// Whether a datagram of this node was ever answered by one.
    ever: bool,
    /// Streams opened since then.
    opened: u32,
    since: Time,
    /// The problem that is reported now, and when more members may be reported, also if it is over by then.
    told: Option<ReachProblem>,
    next: Time,
}

/// A member whose last probes were answered by stream alone.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
struct Saved {
    /// How many in a row.
    rounds: u32,
    /// It is no longer chance.
    certain: bool,
}

/// Why a stream is opened in place of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Priority {
    /// A verdict or a leave depends on it: bounded by the rule that asks for it.
    Urgent,
    Updates,
    /// Others caused it.
    Provoked,
}

impl Priority {
    /// The streams that may be opened in a probe interval, and be open at the same time.
    fn bounds(self) -> (u32, usize) {
        match self {
            Self::Urgent => (u32::MAX, usize::MAX),
            Self::Updates => (MAX_OPENED, MAX_CARRIED),
            Self::Provoked => MAX_PROVOKED,
        }
    }
}

impl Carrier {
    /// Whether what is for this member goes by stream.
    pub(super) fn carries_to(&self, name: &str) -> bool {
        self.is_mute() || self.saved.contains_key(name)
    }

    fn is_mute(&self) -> bool {
        self.in_a_row >= if self.ever { MUTE.1 } else { MUTE.0 }
    }

    /// Probes of a member in a row that were answered by stream alone.
    pub(super) fn saved(&self, name: &str) -> u32 {
        self.saved.get(name).map_or(0, |saved| saved.rounds)
    }

    /// Live members that datagrams do not reach for certain.
    pub(super) fn streams_only(&self) -> impl Iterator<Item = &Arc<str>> {
        self.saved.iter().filter(|(_, saved)| saved.certain).map(|(name, _)| name)
    }

    /// The problem that is reported now.
    pub(super) fn problem(&self) -> Option<&ReachProblem> {
        self.told.as_ref()
    }

    pub(super) fn forget(&mut self, name: &str) {
        self.saved.remove(name);
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.saved.len()
    }

    /// Counts a round of a member that was answered by stream alone. Returns whether it is certain that datagrams do not
    /// reach it.
    fn count_saved(&mut self, name: &Arc<str>) -> bool {
        self.in_a_row = self.in_a_row.saturating_add(1);
        let all = self.in_a_row >= CERTAIN;
        let saved = self.saved.entry(Arc::clone(name)).or_default();
        saved.rounds = saved.rounds.saturating_add(1);
        saved.certain |= saved.rounds >= CERTAIN || all;
        let certain = saved.certain;
        if all {
            // Not of those that are in doubt.
            let counted = self.saved.values_mut().filter(|saved| saved.rounds > 0);
            counted.for_each(|saved| saved.certain = true);
        }
        certain
    }

    /// Whether one more stream may be opened in this probe interval.
    fn may_open(&mut self, now: Time, interval: Duration, priority: Priority) -> bool {
        if now.since(self.since) >= interval {
            (self.opened, self.since) = (0, now);
        }
        self.opened < priority.bounds().0
    }
}

impl Node {
    /// It departed, was restarted or has moved: whether datagrams reach it is certain no more. Streams carry what is for it until
    /// a datagram is answered: where it lives, they may still be filtered.
    pub(super) fn doubt_saved(&mut self, name: &str) {
        let saved = self.carrier.saved.get_mut(name).map(std::mem::take);
        if saved.is_some_and(|saved| saved.certain) {
            self.tell_of_saved();
        }
    }

    /// A member answered by stream what datagrams had asked in vain. It is probed next, also by datagram: until one is answered,
    /// streams carry what is for it.
    pub(super) fn carry_from_now_on(&mut self, name: &Arc<str>, addr: SocketAddr) {
        let Some(id) = self.table.find_live(name).filter(|id| self.table.get(*id).addr == addr) else {
            return;
        };
        self.carrier.saved.entry(Arc::clone(name)).or_default();
        self.table.probe_next(id);
    }

    /// A probe round was answered, by stream alone.
    pub(super) fn saved_by_stream(&mut self, name: &Arc<str>) {
        self.metrics.probes_saved_by_stream += 1;
        let Some(id) = self.table.find_live(name).filter(|id| *id != MemberId::SELF) else { return };
        let was_mute = self.carrier.is_mute();
        if !self.carrier.count_saved(name) {
            // It may have been chance: probed again.
            self.table.probe_next(id);
        }
        if self.carrier.is_mute() && !was_mute {
            // Updates by datagram have not arrived until now, in either direction.
            self.sync_with_anybody();
        }
        self.tell_of_saved();
    }

    /// A datagram of this node was answered by datagram, by this member or by a relay.
    pub(super) fn reached_by_datagram(&mut self, name: Option<&str>) {
        (self.carrier.in_a_row, self.carrier.ever) = (0, true);
        if !self.carrier.saved.is_empty() {
            name.into_iter().for_each(|name| self.carrier.forget(name));
            self.tell_of_saved();
        }
    }

    /// Reports which there are, or that they are others than before, at most once in a while; and at once that there are none.
    pub(super) fn tell_of_saved(&mut self) {
        let count = self.carrier.streams_only().count();
        if count == 0 {
            let solved = self.carrier.told.take();
            return self.tell_reach(None, solved);
        }
        let members = self.carrier.streams_only().take(MAX_NAMED).cloned().collect();
        let problem = ReachProblem::Datagrams { members, count };
        if self.carrier.told.as_ref() != Some(&problem) && self.now >= self.carrier.next {
            self.carrier.next = self.now + self.config.probe_interval.saturating_mul(TELL_AGAIN);
            self.carrier.told = Some(problem.clone());
            self.tell_reach(Some(problem), None);
        }
    }

    /// Whether a stream may be opened for what would be a datagram.
    pub(super) fn may_carry(&mut self, priority: Priority) -> bool {
        let waits = |session: &&Session| matches!(session.purpose, Purpose::Carry { urgent: false, .. });
        let under_way = self.streams.sessions.values().filter(waits).count();
        under_way < priority.bounds().1
            && self.streams.len() < MAX_STREAMS
            && self.carrier.may_open(self.now, self.config.probe_interval, priority)
    }

    /// Opens a stream for what would be a datagram.
    pub(super) fn carry(&mut self, to: SocketAddr, name: &str, content: Content, priority: Priority) {
        let may = self.may_carry(priority);
        self.carrier.opened += u32::from(may && priority != Priority::Urgent);
        let datagram = Some(Box::new(Transmit::new(to, name, content)));
        let purpose = Purpose::Carry { datagram, urgent: priority == Priority::Urgent };
        if !may || self.open(purpose, to, self.config.probe_timeout).is_none() {
            self.metrics.dropped_transmits += 1;
        }
    }

    /// Writes what a stream was opened for, or what is answered in it.
    pub(super) fn send_carried(&mut self, stream: StreamId, buffer: &mut Vec<u8>) -> StreamStep {
        let opens = self.streams.opened.contains_key(&stream);
        let datagram = match self.streams.sessions.get_mut(&stream).map(|session| &mut session.purpose) {
            Some(Purpose::Carry { datagram, .. }) => datagram.take(),
            _ => None,
        };
        let way = if opens { Way::Stream } else { Way::Back };
        let Some(datagram) = datagram.filter(|datagram| self.encode(datagram, buffer, way)) else {
            // No update is queued any more.
            self.end(stream, Ok(()));
            return StreamStep::Close;
        };
        self.metrics.carried_sent += 1;
        self.set_step(stream, if opens && datagram.is_answered() { Step::AwaitCarried } else { Step::Over });
        StreamStep::Send
    }

    /// Whether a frame stands for a datagram: the first in a stream from others, if it says so, or the answer to this node's.
    pub(super) fn is_carried(&self, stream: StreamId, sections: &Sections<'_>) -> bool {
        match self.streams.sessions.get(&stream).map(|session| session.step) {
            Some(Step::AwaitCarried) => true,
            Some(Step::AwaitOpening) => {
                sections.clone().next().is_some_and(|first| first.is_ok_and(|first| first.opens_datagram()))
            }
            _ => false,
        }
    }

    /// Takes in a frame as the datagram that it stands for. What would be sent back goes into the stream.
    pub(super) fn on_carried(&mut self, stream: StreamId, header: Header, mut sections: Sections<'_>) {
        self.metrics.carried_received += 1;
        let Some(session) = self.streams.sessions.get_mut(&stream) else { return };
        let ours = session.step == Step::AwaitCarried;
        // The port of the caller of the stream is not a member's address.
        let source = if ours { session.peer } else { SocketAddr::new(session.peer.ip(), 0) };
        session.step = Step::Over;
        if !ours {
            sections.next();
        }
        let sender = self.recognize(source, true, header.sender, header.token);
        self.take_in(sender, sections);
        let answers = !ours && self.transmits.back().is_some_and(|answer| answer.to() == source);
        let answer = if answers { self.transmits.pop_back() } else { None };
        if let (Some(datagram), Some(session)) = (answer, self.streams.sessions.get_mut(&stream)) {
            session.purpose = Purpose::Carry { datagram: Some(Box::new(datagram)), urgent: true };
            session.step = Step::SendCarried;
        }
    }
}
