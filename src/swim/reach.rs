//! How others see this node: where its datagrams come from, and whether anybody reaches it at the address that it
//! advertises.
//!
//! A node whose advertised address is wrong lists everybody, and nobody lists it. So where no ping has come for a while,
//! tables are exchanged, and two in a row that do not list this node show it. The source address that others observe is
//! for people to read; nothing else depends on it.

use std::{fmt, net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    entry::Input,
    event::{Event, JoinResult, Output},
    member::MemberId,
    node::Node,
    stream::StreamId,
    time::Time,
    validation::Sender,
};
use crate::{
    JoinProblem,
    wire::{
        hash,
        message::{Alive, Message},
    },
};

/// Probe intervals without a ping after which tables are exchanged: of a node that was never pinged, and of
/// one that was. Each member pings another about once in an interval.
const UNPINGED: (u32, u32) = (5, 10);
/// Probe intervals between two such exchanges.
const LOOK_AGAIN: u32 = 2;
/// Tables in a row that do not list this node.
const CERTAIN: u32 = 2;

/// Why others cannot reach this node as they should. Its text says what to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum ReachProblem {
    /// No datagrams (UDP) get through between this node and some members, though streams (TCP) do. Everything then goes by
    /// stream, which costs a connection for each message.
    #[non_exhaustive]
    Datagrams {
        /// The first eight by name.
        members: Vec<Arc<str>>,
        /// The number of such members.
        count: usize,
    },
    /// No member lists this node, and none reaches it at its advertised address, but it reaches them. It has to advertise
    /// another address, or a firewall has to let packets to that one through.
    #[non_exhaustive]
    Unreachable {
        /// The advertised address.
        addr: SocketAddr,
        /// The address that members see its datagrams come from, if they reported it recently.
        observed: Option<SocketAddr>,
    },
    /// The advertised address was an address of this host and no longer is.
    #[non_exhaustive]
    AddressGone {
        /// The advertised address.
        addr: SocketAddr,
    },
}

impl fmt::Display for ReachProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Datagrams { members, count } => {
                let more = count.saturating_sub(members.len());
                write!(f, "no datagrams (UDP) get through to {}", members.join(", "))?;
                if more > 0 {
                    write!(f, " and {more} more")?;
                }
                write!(f, ", only streams (TCP); check that firewalls let UDP through, both ways")
            }
            Self::Unreachable { addr, observed } => {
                write!(
                    f,
                    "nobody can reach this node at {addr}; check `advertise`, and that firewalls let UDP and TCP in"
                )?;
                observed.map_or(Ok(()), |seen| write!(f, " (others see its datagrams come from {seen})"))
            }
            Self::AddressGone { addr } => {
                write!(
                    f,
                    "{} is no longer an address of this host; give it back, or restart with another `advertise`",
                    addr.ip()
                )
            }
        }
    }
}

impl std::error::Error for ReachProblem {}

/// How others see this node, as far as it is known.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Reach {
    /// The source address of this node's datagrams that a member observed, and when.
    observed: Option<(SocketAddr, Time)>,
    /// When this node was pinged last, or could have been.
    pinged: Time,
    /// Whether it ever was.
    ever: bool,
    next_look: Time,
    /// Tables in a row that do not list this node.
    lacking: u32,
    /// The reported problem.
    unreached: Option<ReachProblem>,
    gone: Option<ReachProblem>,
}

impl Reach {
    /// The problems that are reported now.
    pub(super) fn problems(&self) -> impl Iterator<Item = &ReachProblem> {
        self.unreached.iter().chain(&self.gone)
    }

    pub(super) fn is_unreached(&self) -> bool {
        self.unreached.is_some()
    }

    pub(super) fn is_gone(&self) -> bool {
        self.gone.is_some()
    }

    /// Silence counts from now on.
    pub(super) fn begin(&mut self, now: Time) {
        self.pinged = now;
    }

    /// A ping came; returns the problem that is solved by it.
    fn on_ping(&mut self, now: Time) -> Option<ReachProblem> {
        (self.pinged, self.ever) = (now, true);
        let solved = self.unreached.take();
        self.lacking = if solved.is_some() { 0 } else { self.lacking };
        solved
    }

    /// Whether no ping has come for long.
    fn is_silent(&self, now: Time, interval: Duration) -> bool {
        let patience = if self.ever { UNPINGED.1 } else { UNPINGED.0 };
        now.since(self.pinged) >= interval.saturating_mul(patience)
    }

    /// Counts a table that does not list this node. Returns whether the problem is certain now, and not reported yet.
    fn count_lacking(&mut self) -> bool {
        self.lacking += 1;
        self.lacking >= CERTAIN && !self.is_unreached()
    }
}

impl Node {
    /// Where members see this node's datagrams come from, if that is not the address that it advertises: a translator of
    /// addresses is on the way, or this host sends from another of its own. Normal, as long as the advertised one works.
    ///
    /// So it is a field to read and no warning: nothing is wrong before nobody reaches this node
    /// ([`ReachProblem::Unreachable`], which has it too).
    #[must_use]
    pub fn observed_addr(&self) -> Option<SocketAddr> {
        let lately = self.scaled_sync_interval().saturating_mul(2);
        self.reach.observed.filter(|(_, at)| self.now.since(*at) < lately).map(|(addr, _)| addr)
    }

    /// A member tells the source address of this node's ping. For people to read; only from members that are proven.
    pub(super) fn note_observed(&mut self, sender: &Sender, addr: SocketAddr) {
        if sender.proven {
            self.reach.observed = Some((addr, self.now));
        }
    }

    /// A ping reached this node at its address.
    pub(super) fn note_pinged(&mut self) {
        let solved = self.reach.on_ping(self.now);
        self.tell_reach(None, solved);
    }

    /// Notes whether the advertised address, which was one of this host, still is. The driver checks it.
    pub fn set_address_present(&mut self, now: Time, present: bool) {
        self.given(now, || Input::AddressPresent(present));
        self.advance(now);
        let addr = self.table.get(MemberId::SELF).addr;
        if present == self.reach.is_gone() {
            let lost = (!present).then_some(ReachProblem::AddressGone { addr });
            let solved = std::mem::replace(&mut self.reach.gone, lost.clone());
            self.tell_reach(lost, solved);
        }
    }

    /// Another address is advertised, which is one of this host: what was found of the last one is over.
    pub(super) fn begin_at_new_address(&mut self) {
        let Reach { ever, observed, .. } = self.reach;
        let past = std::mem::replace(
            &mut self.reach,
            Reach { ever, observed, pinged: self.now, ..Reach::default() },
        );
        for solved in [past.unreached, past.gone].into_iter().flatten() {
            self.tell_reach(None, Some(solved));
        }
    }

    pub(super) fn tell_reach(&mut self, lost: Option<ReachProblem>, solved: Option<ReachProblem>) {
        if let Some(problem) = solved {
            self.emit(Output::Event(Event::ReachabilityRestored { problem }));
        }
        if let Some(problem) = lost {
            self.emit(Output::Event(Event::ReachabilityLost { problem }));
        }
    }

    /// No ping for a while: looks whether another member's table lists this node.
    pub(super) fn look_whether_reached(&mut self) {
        let pause = self.config.probe_interval.saturating_mul(LOOK_AGAIN);
        if self.is_silent_around()
            && self.reach.next_look.pass(self.now, pause)
            && !self.table.rings.met().is_empty()
        {
            self.sync_with_anybody();
        }
    }

    fn is_silent_around(&self) -> bool {
        self.takes_part() && self.reach.is_silent(self.now, self.config.probe_interval)
    }

    /// Notes whether a table that is told lists this node.
    pub(super) fn note_mention(&mut self, stream: StreamId, claim: &Message<'_>) {
        let home = self.table.get(MemberId::SELF).addr;
        if let Message::Alive(Alive { name, addr, .. }) = claim
            && *addr == home
            && *name == &*self.name
            && let Some(session) = self.streams.sessions.get_mut(&stream)
        {
            session.lists_us = true;
        }
    }

    /// A table was told to its end, or is equal to this node's.
    pub(super) fn note_listing(&mut self, stream: StreamId, same: bool) {
        let Some(session) = self.streams.sessions.get(&stream) else { return };
        // This node may be in one of the buckets that are equal.
        let told = session.buckets >> hash::bucket(&self.name) & 1 == 1;
        if same || !told || session.lists_us {
            self.reach.lacking = 0;
        } else if self.is_silent_around() && self.reach.count_lacking() {
            self.nobody_reaches_us();
        }
    }

    fn nobody_reaches_us(&mut self) {
        let (addr, observed) = (self.table.get(MemberId::SELF).addr, self.observed_addr());
        let problem = ReachProblem::Unreachable { addr, observed };
        self.reach.unreached = Some(problem.clone());
        self.tell_reach(Some(problem), None);
        if !self.reach.ever {
            self.seeds_joined_in_vain();
        }
    }

    /// A join of a node that no member ever reached counts as failed until one does.
    pub(super) fn judge_join(&self, result: JoinResult) -> JoinResult {
        let in_vain = self.reach.is_unreached() && !self.reach.ever;
        let addr = self.table.get(MemberId::SELF).addr;
        if in_vain { result.and(Err(JoinProblem::AddressUnreachable { addr })) } else { result }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::{Config, Start},
        *,
    };
    use crate::wire::Tags;

    #[test]
    fn tables_that_lack_this_node_are_certain_once_there_are_enough_until_that_is_reported() {
        let mut reach = Reach::default();
        let certain: Vec<_> = (0..=CERTAIN).map(|_| reach.count_lacking()).collect();
        assert_eq!(certain, [false, true, true]);
        reach.unreached = Some(ReachProblem::AddressGone { addr: ([10, 0, 0, 1], 1).into() });
        assert!(!reach.count_lacking());
    }

    /// Otherwise nobody could have pinged the new one before it is said to be out of reach.
    #[test]
    fn another_address_begins_without_the_silence_at_the_last_one() {
        let start = Start { addr: ([10, 0, 0, 1], 1).into(), epoch: 1, seed: 1, tags: Tags::default() };
        let mut node = Node::new(Config::lan("me"), start, Time::ZERO);
        let problem = ReachProblem::Unreachable { addr: ([10, 0, 0, 1], 1).into(), observed: None };
        (node.reach.unreached, node.reach.lacking) = (Some(problem.clone()), 1);
        let now = Time::ZERO + Duration::from_secs(60);
        node.set_addr(now, ([10, 0, 0, 2], 1).into());
        let restored = Output::Event(Event::ReachabilityRestored { problem });
        assert!(std::iter::from_fn(|| node.poll_output()).any(|output| output == restored));
        assert_eq!((node.reach.lacking, node.reach.problems().count()), (0, 0));
        assert!(!node.reach.is_silent(now, Duration::from_secs(1)));
    }

    #[test]
    fn those_beyond_the_first_are_counted() {
        let problem =
            |count| ReachProblem::Datagrams { members: vec!["a".into(), "b".into()], count }.to_string();
        assert!(problem(2).contains("get through to a, b, only streams"), "{}", problem(2));
        assert!(problem(5).contains("get through to a, b and 3 more, only streams"), "{}", problem(5));
    }
}
