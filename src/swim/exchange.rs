//! What an exchange of tables tells, what comes of it, and when one is worth it (push/pull, anti-entropy).

use std::time::Duration;

use super::{
    dissemination::{ENOUGH_MET, put_alive, put_update},
    member::{Identity, MemberId, MemberState, Record},
    node::Node,
    question::Question,
    self_claims::Phase,
    session::{Purpose, Session, Step},
    sync::{MAX_ENTRY, StreamId},
    timers::Timer,
    validation::Sender,
};
use crate::wire::{
    hash,
    message::{Departed, End},
    packet,
};

/// Exchanges soon after going live in a small cluster.
const FIRST_SYNCS: u32 = 3;

impl Node {
    /// Writes records from a place on and says where to go on, or ends the table.
    pub(super) fn tell_table(
        &self,
        frame: &mut packet::Writer<'_>,
        from: usize,
        buckets: u64,
    ) -> Option<usize> {
        let chosen = |record: &Record| buckets >> hash::bucket(&record.name) & 1 == 1;
        for (at, record) in self.table.walk(from).filter(|(_, record)| chosen(record)) {
            if frame.room() < MAX_ENTRY {
                return Some(at);
            }
            if at != MemberId::SELF.index() || self.shows_itself() {
                self.tell(frame, record);
            }
        }
        frame.message(&End {});
        None
    }

    /// Live, and not *away* (`flap.rs`).
    pub(super) fn takes_part(&self) -> bool {
        self.phase == Phase::Live && !self.flaps.is_held()
    }

    /// Whether others are to hear that we are there.
    pub(super) fn shows_itself(&self) -> bool {
        match self.phase {
            Phase::Quiet | Phase::Displaced => false,
            Phase::Live => self.takes_part(),
            Phase::Leaving | Phase::Left => !self.leave.silent,
        }
    }

    pub(super) fn tell(&self, frame: &mut packet::Writer<'_>, record: &Record) {
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
            }),
        };
        debug_assert!(told, "a record fits in what is kept free for it");
    }

    pub(super) fn differing_buckets(&self, theirs: &[u8]) -> u64 {
        let ours = self.table.bucket_digests();
        let (theirs, _) = theirs.as_chunks::<8>();
        let differ = ours.iter().zip(theirs).map(|(ours, theirs)| *ours != u64::from_le_bytes(*theirs));
        differ.enumerate().fold(0, |buckets, (bucket, differs)| buckets | u64::from(differs) << bucket)
    }

    pub(super) fn select_buckets(&mut self, stream: StreamId, buckets: u64, next: Step) {
        self.metrics.syncs_partial += 1;
        if let Some(session) = self.exchanges.sessions.get_mut(&stream) {
            (session.buckets, session.step) = (buckets, next);
        }
    }

    /// Our turn; unless a rival of our name was heard of before anybody knows us. Then it is asked first.
    pub(super) fn heard_table(&mut self, stream: StreamId) {
        self.note_listing(stream, false);
        let joins = |session: &Session| matches!(session.purpose, Purpose::Join(_));
        let asks = self.phase == Phase::Quiet && self.exchanges.sessions.get(&stream).is_some_and(joins);
        let heard = if asks { self.conflict.heard.take() } else { None };
        let Some((identity, rival)) = heard else {
            self.go_live();
            self.keep_token_of_peer(stream);
            return self.set_step(stream, Step::SendTable(0));
        };
        let Some(session) = self.take_session(stream) else { return };
        if let Purpose::Join(join) = session.purpose {
            self.ask(Question::PastLife(identity, join, session.peer), rival);
        }
    }

    /// An exchange that taught us nothing was not worth it: digests are ignored for longer and longer.
    pub(super) fn adapt_quiet_time(&mut self, digest_before: u64) {
        let shortest = self.config.probe_interval;
        self.exchanges.quiet_for = if self.table.digest() == digest_before {
            self.exchanges.quiet_for.saturating_mul(2).min(self.config.sync_interval).max(shortest)
        } else {
            shortest
        };
    }

    /// A member told its settled digest: if it differs from ours, exchange tables.
    pub(super) fn compare_digest(&mut self, sender: &Sender, theirs: u64) {
        let ours = self.settled_digest();
        let differ = ours != 0 && theirs != 0 && ours != theirs;
        let live = self.id_of(sender).map(|id| self.table.get(id)).filter(|record| record.state.is_live());
        if let Some(addr) = live.map(|record| record.addr)
            && differ
            && self.now >= self.exchanges.quiet_until
        {
            let pause = self.exchanges.quiet_for.max(self.config.probe_interval);
            self.exchanges.quiet_until = self.now + pause;
            self.open(Purpose::Sync, addr, self.config.stream_timeout);
        }
    }

    /// Who goes live in a small cluster exchanges tables again soon, a few times: many may have started at once, and the
    /// news of those that came after us may have passed us by, or got lost.
    pub(super) fn schedule_first_syncs(&mut self) {
        if self.table.others() < ENOUGH_MET {
            self.exchanges.first_syncs = FIRST_SYNCS;
        }
        let delay = self.next_sync_delay().mul_f64(0.5 + self.rng.f64() / 2.0);
        self.set_timer(Timer::Sync, delay);
    }

    /// The first exchanges double their distance; then they are periodic.
    fn next_sync_delay(&mut self) -> Duration {
        let Some(left) = self.exchanges.first_syncs.checked_sub(1) else {
            return self.scaled_sync_interval();
        };
        self.exchanges.first_syncs = left;
        self.config.gossip_interval * 2_u32.pow(FIRST_SYNCS - 1 - left) / 2
    }

    pub(super) fn sync_periodically(&mut self) {
        if !self.watches() {
            return;
        }
        let delay = self.next_sync_delay();
        let next = self.jittered(delay);
        self.set_timer(Timer::Sync, next);
        self.sync_with_anybody();
    }

    pub(super) fn sync_with_anybody(&mut self) {
        if let Some((_, addr)) = self.pick_alive(1, None).pop() {
            self.open(Purpose::Sync, addr, self.config.stream_timeout);
        }
    }
}
