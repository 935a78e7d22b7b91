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
    stream::{StreamId, StreamStep},
    time::Time,
    transmit::{Content, Transmit, Way},
};
use crate::wire::packet::{Header, Sections};

/// Probe rounds in a row that were answered by stream alone, after which all members count as unreached by datagrams: if
/// no datagram of this node was ever answered, and if one was.
const MUTE: (u32, u32) = (1, 2);
/// Such rounds of one member, or in a row, after which it is reported.
const CERTAIN: u32 = 3;
/// Streams for datagrams at the same time, without the urgent ones.
const MAX_CARRIED: usize = 16;
/// Such streams opened in a probe interval.
const MAX_OPENED: u32 = 64;
/// Of the streams opened in a probe interval those that other nodes caused, and how many of those at the same time.
const MAX_PROVOKED: (u32, usize) = (16, 8);
/// Probe intervals until more members are reported.
const TELL_AGAIN: u32 = 60;
/// Members that are named.
const MAX_NAMED: usize = 8;

/// Members that datagrams do not reach, and the streams that are opened for them.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Carrier {
    /// Members whose last probes were answered by stream alone, and how many of each that saved.
    saved: BTreeMap<Arc<str>, u32>,
    /// Probe rounds in a row that were, whichever members were probed.
    in_a_row: u32,
    /// Whether a datagram of this node was ever answered by one.
    ever: bool,
    /// Streams opened since then.
    opened: u32,
    since: Time,
    /// What was told, and when more may be.
    told: Option<ReachProblem>,
    next: Time,
}

/// What a stream is opened for in place of a datagram.
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
        self.saved.get(name).copied().unwrap_or(0)
    }

    /// What is told of now.
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

    fn is_certain(&self, count: u32) -> bool {
        count >= CERTAIN || self.in_a_row >= CERTAIN
    }

    /// Counts a stream, unless there were too many in this probe interval.
    fn count_stream(&mut self, now: Time, interval: Duration, priority: Priority) -> bool {
        if now.since(self.since) >= interval {
            (self.opened, self.since) = (0, now);
        }
        let may = self.opened < priority.bounds().0;
        self.opened += u32::from(may && priority != Priority::Urgent);
        may
    }
}

impl Node {
    /// A probe round was answered, by stream alone.
    pub(super) fn saved_by_stream(&mut self, name: &Arc<str>) {
        self.metrics.probes_saved_by_stream += 1;
        let Some(id) = self.table.find_live(name).filter(|id| *id != MemberId::SELF) else { return };
        let was_mute = self.carrier.is_mute();
        self.carrier.in_a_row = self.carrier.in_a_row.saturating_add(1);
        let count = self.carrier.saved.entry(Arc::clone(name)).or_default();
        *count = count.saturating_add(1);
        let count = *count;
        if !self.carrier.is_certain(count) {
            // It may have been chance: probed again.
            self.table.rings.probe_next(id);
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

    /// Live members that datagrams do not reach.
    pub(super) fn streams_only_members(&self) -> impl Iterator<Item = (&Arc<str>, u32)> {
        let live = |(name, _): &(&Arc<str>, &u32)| self.table.find_live(name).is_some();
        self.carrier.saved.iter().filter(live).map(|(name, count)| (name, *count))
    }

    /// Reports once that there are some, then at most once in a while that there are more, and that there are none.
    fn tell_of_saved(&mut self) {
        let saved = self.streams_only_members().count();
        let certain: Vec<_> = self
            .streams_only_members()
            .filter(|(_, n)| self.carrier.is_certain(*n))
            .map(|(name, _)| Arc::clone(name))
            .collect();
        let count = certain.len();
        if saved == 0 {
            let solved = self.carrier.told.take();
            return self.tell_reach(None, solved);
        }
        let told = match self.carrier.told {
            Some(ReachProblem::Datagrams { count, .. }) => count,
            _ => 0,
        };
        if count > told && (told == 0 || self.now >= self.carrier.next) {
            self.carrier.next = self.now + self.config.probe_interval.saturating_mul(TELL_AGAIN);
            let members = certain.into_iter().take(MAX_NAMED).collect();
            let problem = ReachProblem::Datagrams { members, count };
            self.carrier.told = Some(problem.clone());
            self.tell_reach(Some(problem), None);
        }
    }

    /// Opens a stream for what would be a datagram.
    pub(super) fn carry(&mut self, to: SocketAddr, name: &str, content: Content, priority: Priority) {
        let (interval, timeout) = (self.config.probe_interval, self.config.probe_timeout);
        let waits = |session: &&Session| matches!(session.purpose, Purpose::Carry { urgent: false, .. });
        let full = self.streams.sessions.values().filter(waits).count() >= priority.bounds().1;
        let datagram = Some(Box::new(Transmit::new(to, name, content)));
        let purpose = Purpose::Carry { datagram, urgent: priority == Priority::Urgent };
        let may = !full && self.carrier.count_stream(self.now, interval, priority);
        if !may || self.open(purpose, to, timeout).is_none() {
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
        // The port of whoever opened the stream is no member's address.
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
