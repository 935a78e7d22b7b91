//! Push/pull: two nodes exchange their tables over a stream.
//!
//! ```text
//! initiator                       responder
//! hello (digest) ───────────────▶
//!                ◀─────────────── same                      if all digests are equal, else
//!                ◀─────────────── bucket digests            if both are settled: digests of the 64 buckets
//! selection ─────────────────────▶                           the buckets that differ; from here on only these
//!                ◀─────────────── its table … end
//! own table … end ──────────────▶
//!                ◀─────────────── end                       so that the initiator knows it was heard
//! ```
//!
//! The initiator listens first: a node that joins learns what its name did before, then announces itself.

use std::net::SocketAddr;

use super::{
    dissemination::{put_alive, put_update},
    join::Attempt,
    member::{Identity, MemberId, MemberState, Record, Removed},
    node::Node,
    phase::Phase,
    question::Question,
    session::{Purpose, Session, Step},
    stream::StreamId,
};
use crate::{
    JoinProblem,
    wire::{
        hash,
        message::{Departed, End, Hello, Message},
        packet,
    },
};

/// A record never takes more than this in a frame: keep that much free for it.
const MAX_ENTRY: usize = 2048;

impl Node {
    pub(super) fn write_hello(&self, frame: &mut packet::Writer<'_>, session: &Session) -> Step {
        // A newcomer needs the table, and shows itself. A seed that is no member, or is one under another address, is
        // tried again and again.
        let compares = matches!(session.purpose, Purpose::Sync) || self.phase != Phase::Starting;
        let digest = if compares { self.settled_digest() } else { 0 };
        let removals = if compares { self.table.removals_digest() } else { 0 };
        frame.message(&Hello { name: &self.name, digest, removals });
        Step::AwaitTable
    }

    /// Writes this node's records from a place in the table on, as many as fit, or ends the table.
    pub(super) fn write_table(&self, frame: &mut packet::Writer<'_>, from: usize, session: &Session) -> Step {
        let chosen = |record: &Record| match session.buckets {
            0 => record.removed.is_some(),
            buckets => buckets >> record.bucket & 1 == 1,
        };
        for (at, record) in self.table.walk(from).filter(|(_, record)| chosen(record)) {
            if frame.room() < MAX_ENTRY {
                return Step::SendTable(at);
            }
            if at != MemberId::SELF.index() || self.shows_itself() {
                self.tell(frame, record);
            }
        }
        frame.message(&End {});
        let answers = matches!(session.purpose, Purpose::Answer);
        if answers { Step::AwaitReturn } else { Step::AwaitEnd }
    }

    /// Processes a message of an exchange. Returns whether it belongs here.
    pub(super) fn on_push_pull(&mut self, stream: StreamId, token: u32, message: &Message<'_>) -> bool {
        let Some(session) = self.streams.sessions.get(&stream) else { return true };
        match (session.step, message) {
            (Step::AwaitOpening, Message::Hello(hello)) => self.on_hello(stream, token, hello),
            (Step::AwaitTable, Message::BucketDigests(theirs)) if session.buckets == u64::MAX => {
                let buckets = self.differing_buckets(theirs.digests);
                self.select_buckets(stream, buckets, Step::SendSelection);
            }
            (Step::AwaitReturn, claim) if claim.is_claim() && !session.proven => {
                self.on_unproven_claim(stream, claim);
            }
            (Step::AwaitReturn, claim) if claim.is_claim() => {
                let by_itself = claim.is_about(&session.caller);
                let claimant = self.table.claimant(self.table.find(&session.caller), session.peer);
                self.handle_claim(claim, by_itself, claimant);
            }
            (Step::AwaitTable, claim) if claim.is_claim() => {
                // The member that lives at the address which was called speaks for itself, under one name.
                let (peer, mark) = (session.peer, session.mark);
                let is_its = |name: &str, addr: SocketAddr| addr == peer && hash::member(name) == mark;
                let by_itself = match claim {
                    Message::Alive(alive) => is_its(alive.name, alive.addr),
                    // Not at an address that this stream alone gave it, where it has not answered.
                    Message::Departed(Departed { name, .. }) => {
                        let known = self.table.find(name).map(|id| self.table.get(id));
                        known.is_some_and(|known| known.contact.met && is_its(name, known.addr))
                    }
                    _ => false,
                };
                self.note_mention(stream, claim);
                let claimant = self.table.claimant_at(peer);
                self.handle_claim(claim, by_itself, claimant);
            }
            (Step::AwaitSelection, Message::BucketSelection(selection)) => {
                self.select_buckets(stream, selection.buckets, Step::SendTable(0));
            }
            // A newcomer has offered no digest to compare.
            (Step::AwaitTable, Message::Same(_)) if self.phase != Phase::Starting => {
                self.note_listing(stream, true);
                self.metrics.syncs += 1;
                self.metrics.syncs_equal += 1;
                self.end(stream, Ok(()));
            }
            (Step::AwaitTable, Message::End(_)) => self.on_table_end(stream),
            (Step::AwaitReturn, Message::End(_)) => {
                self.metrics.syncs += 1;
                self.set_step(stream, Step::SendEnd);
            }
            (Step::AwaitEnd, Message::End(_)) => {
                self.metrics.syncs += 1;
                self.end(stream, Ok(()));
            }
            _ => return false,
        }
        true
    }

    fn on_hello(&mut self, stream: StreamId, token: u32, hello: &Hello<'_>) {
        let ours = self.settled_digest();
        let (settled, same) = (hello.digest != 0 && ours != 0, hello.digest == ours);
        let next = match (settled, same) {
            (true, true) if hello.removals == self.table.removals_digest() => Step::SendSame,
            // With equal tables no bucket differs, and the removed members alone are exchanged.
            (true, _) => Step::SendBucketDigests,
            (false, _) => Step::SendTable(0),
        };
        self.note_caller(stream, token, hello.name);
        if hello.name == &*self.name && self.recognize_own_stream(token) {
            return self.set_step(stream, Step::Over);
        }
        self.go_live();
        if next == Step::SendSame {
            self.metrics.syncs += 1;
            self.metrics.syncs_equal += 1;
        }
        self.set_step(stream, next);
    }

    fn tell(&self, frame: &mut packet::Writer<'_>, record: &Record) {
        let Identity { epoch, incarnation } = record.identity;
        let told = match record.state {
            MemberState::Alive => put_alive(frame, record),
            MemberState::Suspect => put_alive(frame, record) && put_update(frame, record),
            MemberState::Failed | MemberState::Left => frame.message(&Departed {
                name: &record.name,
                epoch,
                incarnation,
                left: record.state == MemberState::Left,
                age_secs: self.now.since(record.since).as_secs(),
                removed: record.removed.as_deref().map(Removed::told),
            }),
        };
        debug_assert!(told, "a record fits in what is kept free for it");
    }

    fn differing_buckets(&self, theirs: &[u8]) -> u64 {
        let ours = self.table.bucket_digests();
        let (theirs, _) = theirs.as_chunks::<8>();
        let differ = ours.iter().zip(theirs).map(|(ours, theirs)| *ours != u64::from_le_bytes(*theirs));
        differ.enumerate().map(|(bucket, differs)| u64::from(differs) << bucket).sum()
    }

    fn select_buckets(&mut self, stream: StreamId, buckets: u64, next: Step) {
        self.metrics.syncs_partial += 1;
        if let Some(session) = self.streams.sessions.get_mut(&stream) {
            (session.buckets, session.step) = (buckets, next);
        }
    }

    /// This node's turn. If it is starting and the table showed another holder of its name, that one is asked first.
    fn on_table_end(&mut self, stream: StreamId) {
        self.note_listing(stream, false);
        let joins = |session: &Session| matches!(session.purpose, Purpose::Join(_));
        let asks = self.phase == Phase::Starting && self.streams.sessions.get(&stream).is_some_and(joins);
        let heard = if asks { self.conflict.heard.take() } else { None };
        let Some((identity, holder)) = heard else {
            self.go_live();
            self.keep_token_of_peer(stream);
            return self.set_step(stream, Step::SendTable(0));
        };
        let Some(session) = self.take_session(stream) else { return };
        let Purpose::Join(join) = session.purpose else { return };
        if self.count_holder_question(join) {
            self.ask(Question::PastLife(identity, join, session.peer), holder);
        } else {
            let problem = JoinProblem::Rejected { addr: session.peer };
            self.join_attempted(join, Attempt::Failed(problem));
        }
    }
}
