//! Address validation: whose datagram is this? (After QUIC: RFC 9000 §8, §9.)
//!
//! The source address of a datagram proves nothing: it may be forged, or translated on the way. Each node gives every
//! member a *token* and sends it to the address that this member advertises; a sender that shows it in the header has
//! received something there, and only then do its claims count. An answer that repeats a sequence number which was sent
//! to a member proves the same, once.
//!
//! ```text
//! a (unknown to b)                              b
//! Ping(seq), no token or a wrong one ─────────▶    claims behind it do not count
//!          ◀───────────────────────── Retry(seq, token)   to a's advertised address alone
//! token in the header: claims count ──────────▶
//! ```
//!
//! Where a's datagrams come from another address than it advertises, the token travels behind b's next probe of a.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    carry::Priority,
    datagram::Heard,
    introduce::Introduced,
    member::{MemberId, Record},
    node::Node,
    phase::Phase,
    session::Purpose,
    table::Occupant,
    time::Time,
    transmit::{Behind, Content},
};
use crate::wire::{hash, message::Ping, packet::HEADER};

/// Such pings under way at the same time; the first makes room.
pub(super) const MAX_CHALLENGED: usize = 128;
/// Wrong tokens in a probe interval, after which tokens count only from where their members are known to be.
const MAX_GUESSES: u32 = 256;
/// Bytes of a NewToken.
const NEW_TOKEN: usize = 6;
/// Bytes of a datagram with a Retry.
const RETRY_ALONE: usize = HEADER + 10;

/// Recent wrong tokens.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Guesses {
    since: Time,
    count: u32,
}

impl Guesses {
    /// Whether a token from a place where its member is not known to be counts. Tokens have 32 bits: after too many wrong ones
    /// in a probe interval, none does until it is over.
    fn admit(&self, now: Time, interval: Duration) -> bool {
        now.since(self.since) >= interval || self.count < MAX_GUESSES
    }

    fn count_in(&mut self, now: Time, interval: Duration) {
        if now.since(self.since) >= interval {
            *self = Self { since: now, count: 0 };
        }
        self.count = self.count.saturating_add(1);
    }
}

/// Pings besides the probes that are not answered yet, with the intended recipients; the oldest is at the front.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Pinged<T> {
    pub(super) waiting: VecDeque<(u32, T)>,
    bound: usize,
}

/// A member that was challenged.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Challenged {
    name: Arc<str>,
    addr: SocketAddr,
    /// By stream, and datagrams were in vain until now.
    in_vain: bool,
}

impl<T> Pinged<T> {
    pub(super) fn new(bound: usize) -> Self {
        Self { waiting: VecDeque::new(), bound }
    }

    /// Adds a ping. Returns whether an older one had to make room.
    pub(super) fn push(&mut self, seq: u32, whom: T) -> bool {
        let full = self.waiting.len() == self.bound && self.waiting.pop_front().is_some();
        self.waiting.push_back((seq, whom));
        full
    }

    pub(super) fn take(&mut self, seq: u32) -> Option<T> {
        let at = self.waiting.iter().position(|(waiting, _)| *waiting == seq)?;
        self.waiting.remove(at).map(|(_, whom)| whom)
    }

    fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.waiting.iter_mut().map(|(_, whom)| whom)
    }

    #[cfg(any(test, feature = "sim", fuzzing))]
    pub(super) fn len(&self) -> usize {
        self.waiting.len()
    }
}

/// The sender of a datagram, as far as it is known.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sender {
    /// Where it came from.
    pub(super) source: SocketAddr,
    /// The name that its header gives, as a mark.
    pub(super) mark: u32,
    pub(super) token: u32,
    /// The record of this name, if there was one: see [`Node::id_of`].
    record: Option<Occupant>,
    /// Whether the sender is proven to be the one in the header.
    pub(super) proven: bool,
    /// It was not met before this datagram.
    new: bool,
    /// It came in a stream in place of a datagram.
    pub(super) by_stream: bool,
    /// The bytes of its datagram: while it is not proven, what is sent for it has no more. Streams have no such bound, as a
    /// host that completes a handshake is there.
    pub(super) received: usize,
}

/// The part of a sender that is stored until it can be answered.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct ReplyTo {
    pub(super) source: SocketAddr,
    pub(super) mark: u32,
    /// The token that proved it; 0 if none did.
    pub(super) token: u32,
}

impl ReplyTo {
    /// Whether both are one member, perhaps at different sources.
    pub(super) fn is_same(&self, other: &Self) -> bool {
        (self.mark, self.token) == (other.mark, other.token)
    }
}

impl Sender {
    pub(super) fn reply_to(&self) -> ReplyTo {
        let Self { source, mark, token, proven, .. } = *self;
        ReplyTo { source, mark, token: if proven { token } else { 0 } }
    }
}

impl Node {
    /// The sender of a datagram, or of a frame in a stream.
    pub(super) fn recognize(&mut self, source: SocketAddr, by_stream: bool, mark: u32, token: u32) -> Sender {
        let shown = self.table.find_mark(mark, |record| token != 0 && record.contact.given == token);
        let (now, interval) = (self.now, self.config.probe_interval);
        // It opens streams from any port.
        let is_home = shown.is_some_and(|id| {
            let addr = self.table.get(id).addr;
            addr == source || by_stream && addr.ip() == source.ip()
        });
        // Guesses of others do not mute a member where it is at home or was heard from last, nor its streams from that host.
        let is_last = |id| {
            let contact = &self.table.get(id).contact;
            match by_stream {
                true => contact.other_host == self.table.hash_host(source),
                false => contact.other_source == self.table.hash_source(source),
            }
        };
        let admitted = shown.filter(|id| is_home || is_last(*id) || self.guesses.admit(now, interval));
        self.metrics.refused_tokens += u64::from(shown.is_some() && admitted.is_none());
        let shown = admitted;
        let new = shown.is_some_and(|id| !self.table.get(id).contact.met);
        if let Some(id) = shown {
            if !is_home {
                let (other_source, other_host) =
                    (self.table.hash_source(source), self.table.hash_host(source));
                let contact = self.table.contact_mut(id);
                contact.other_host = other_host;
                contact.other_source = if by_stream { contact.other_source } else { other_source };
            }
            self.table.contact_mut(id).shown = true;
            self.note_answer(id);
        }
        let id = shown
            .or_else(|| self.table.find_mark_rather_met(mark, |record| record.addr == source))
            .or_else(|| self.table.find_mark(mark, |_| true));
        // Under a name that is not in the table, it is the token of a join or of an introduction.
        if shown.is_none() && token != 0 && id.is_some() {
            self.guesses.count_in(now, interval);
        }
        let record = id.map(|id| self.table.occupant(id));
        Sender { source, mark, token, record, proven: shown.is_some(), new, by_stream, received: usize::MAX }
    }

    /// Whether a sender's token is this one, which it would show if it lived at this address. From elsewhere it may be a guess,
    /// and counts as others do.
    pub(super) fn check_token(&mut self, sender: &Sender, token: u32, home: SocketAddr) -> bool {
        let (now, interval) = (self.now, self.config.probe_interval);
        let is_it = sender.token == token;
        if home == sender.source || sender.token == 0 {
            return is_it;
        }
        let admitted = self.guesses.admit(now, interval);
        if !is_it {
            self.guesses.count_in(now, interval);
        }
        self.metrics.refused_tokens += u64::from(is_it && !admitted);
        is_it && admitted
    }

    /// A member has said something, perhaps that it is another life, and has shown its token by that.
    pub(super) fn note_shown(&mut self, sender: &Sender) {
        if let Some(id) = self.id_of(sender)
            && self.table.get(id).contact.given == sender.token
        {
            self.table.contact_mut(id).shown = true;
        }
    }

    /// The record of a sender: not if something else that its datagram said had it forgotten meanwhile.
    pub(super) fn id_of(&self, sender: &Sender) -> Option<MemberId> {
        self.table.find_occupant(sender.record?)
    }

    /// Something that was sent to a member's address was answered.
    fn note_answer(&mut self, id: MemberId) {
        self.prober.heard_from_last = self.table.get(id).mark;
        let now = self.now;
        let contact = self.table.contact_mut(id);
        contact.on_answer(now);
        let record = self.table.get(id);
        if !record.contact.met {
            self.reconnects.forget_known(&record.name);
            let Record { addr, mark, .. } = *record;
            let host = self.table.hash_host(addr);
            let is_one_more = self.has_room_for_mark_on(mark, host);
            self.table.update(id, &mut self.rng, |record| {
                record.contact.met = true;
                if is_one_more || record.contact.met_on_host == 0 {
                    record.contact.met_on_host = host;
                }
            });
        }
    }

    /// A relay reached it.
    pub(super) fn reached(&mut self, name: &str) {
        if let Some(id) = self.table.find(name) {
            self.table.contact_mut(id).reached();
        }
    }

    /// A node of this name answered at this address.
    pub(super) fn note_answer_at(&mut self, name: &str, addr: SocketAddr) {
        let found = self.table.find(name).filter(|id| *id != MemberId::SELF);
        if let Some(id) = found.filter(|id| self.table.get(*id).addr == addr) {
            self.note_answer(id);
        }
    }

    /// A number that was sent to `name` at `asked` came back, perhaps with a token.
    pub(super) fn on_direct_answer(
        &mut self,
        sender: &mut Sender,
        name: &str,
        asked: SocketAddr,
        token: Option<u32>,
    ) {
        let found = self.table.find(name).filter(|id| *id != MemberId::SELF);
        let Some(id) = found.filter(|id| self.table.get(*id).addr == asked) else { return };
        if sender.mark != self.table.get(id).mark {
            return;
        }
        self.note_answer(id);
        if !sender.by_stream {
            self.challenges
                .iter_mut()
                .filter(|other| *other.name == *name)
                .for_each(|other| other.in_vain = false);
            self.reached_by_datagram(Some(name));
            self.table.contact_mut(id).on_datagram_answer();
        }
        if sender.source == asked {
            (sender.record, sender.proven) = (Some(self.table.occupant(id)), true);
        }
        let record = self.table.get(id);
        let (live, contact) = (record.state.is_live(), self.table.contact_mut(id));
        let new = token.is_some_and(|token| token != 0 && token != contact.held);
        if let Some(token) = token {
            contact.held = token;
        }
        // It has shown the token before and does not any more: it was restarted, and may know no member.
        let forgot = contact.shown && sender.token != contact.given;
        if forgot {
            contact.shown = false;
            if live {
                self.open(Purpose::Sync, asked, self.config.stream_timeout);
            }
        }
        // Updates that it did not accept before.
        if new && !self.updates.is_empty() {
            self.transmit(asked, name, Content::Updates);
        }
    }

    /// A member gives this node the token to show to it.
    pub(super) fn on_new_token(&mut self, sender: &Sender, token: u32) {
        self.keep_token_for_streams(sender, token);
        let Some(id) = self.id_of(sender) else { return };
        // Its source address may be forged. A new life's token comes in a Retry, or once its epoch is known.
        let contact = self.table.contact_mut(id);
        if sender.proven || contact.held == 0 {
            contact.held = token;
        }
        self.prove_leave(id);
    }

    /// Answers a ping, once the rest of its datagram was looked at.
    pub(super) fn answer_ping(&mut self, sender: &Sender, ping: &Ping<'_>, heard: Heard<'_>) {
        if ping.target != &*self.name {
            self.metrics.dropped_wrong_target += 1;
            return;
        }
        if self.recognize_own_ping(sender, ping.seq) {
            return;
        }
        // It cannot be told that this node has left, and would take it for live as long as it answers.
        if self.phase == Phase::Left && !sender.proven {
            return;
        }
        self.note_pinged();
        if self.phase == Phase::Displaced && sender.mark == self.mark {
            // The holder of the name asks whether another has it: this node has yielded it.
            return;
        }
        let (seq, introduced) = (ping.seq, heard.introduced);
        // A leaver passes nothing on.
        let unheard = heard.dropped || heard.told && self.is_leaving();
        let content = match (self.id_of(sender), introduced) {
            // An Ack is never longer than a ping.
            _ if !sender.proven && sender.received < RETRY_ALONE => {
                Content::Ack { seq, seen: false, denies: false }
            }
            _ if self.is_leaving() && unheard => Content::Retry { seq, token: 0 },
            (Some(_), _) if sender.proven && heard.outdated => Content::Outdated { seq, token: sender.token },
            // The sender of the ping would take an Ack for consent. If the source may be forged, only few bytes go there.
            (Some(_), _)
                if sender.proven && heard.mistaken && (!self.shows_itself() || self.is_elsewhere(sender)) =>
            {
                Content::Retry { seq, token: sender.token }
            }
            (Some(_), _) if sender.proven => {
                Content::Ack { seq, seen: self.is_elsewhere(sender), denies: heard.mistaken }
            }
            (Some(id), _) if self.table.get(id).addr == sender.source => {
                Content::Retry { seq, token: self.table.get(id).contact.given }
            }
            (_, Some(introduced)) => Content::Retry { seq, token: introduced.token },
            _ if unheard || sender.token != 0 => Content::Retry { seq, token: 0 },
            _ => Content::Ack {
                seq,
                seen: heard.offered && self.is_elsewhere(sender) && self.may_say_seen(sender),
                denies: false,
            },
        };
        if !sender.proven
            && let Some(id) = self.id_of(sender)
        {
            if sender.by_stream {
                self.challenge_by(id, Some(Priority::Provoked));
            } else {
                self.probe_at_home(id, sender.source);
            }
        }
        self.reply(sender.reply_to(), content);
    }

    /// Whether its datagrams come from another address than it advertises.
    fn is_elsewhere(&self, sender: &Sender) -> bool {
        let home = match self.id_of(sender) {
            Some(id) => Some(self.table.get(id).addr),
            None => self.unverified.home_of(sender.mark),
        };
        !sender.by_stream && home.is_some_and(|home| home != sender.source)
    }

    /// An unverified peer gets no more bytes than it sent.
    fn may_say_seen(&self, sender: &Sender) -> bool {
        self.spare(NEW_TOKEN) >= if sender.source.is_ipv4() { 10 } else { 22 }
    }

    /// The bytes by which a ping of this name, with this many behind it, is at least longer than an ack.
    fn spare(&self, behind: usize) -> usize {
        1 + self.name.len() + behind
    }

    /// Makes a member be probed soon at its own address, after a ping in its name from another. (From its own address it
    /// will show the token that it was just given.) This takes no out-of-turn probe: in a young cluster such pings come all
    /// the time.
    fn probe_at_home(&mut self, id: MemberId, source: SocketAddr) {
        let record = self.table.get(id);
        if record.state.is_live() && record.addr != source && self.count_challenge(id, false) {
            self.table.rings.move_up(id);
        }
    }

    /// A claim was dropped and nothing was asked: pings the claimed address for proof.
    pub(super) fn challenge_sender(&mut self, sender: &Sender, introduced: Option<Introduced>) {
        match (self.id_of(sender), introduced) {
            _ if self.is_leaving() => {}
            (_, Some(introduced)) => self.ping_unverified(introduced, None),
            (Some(id), None) if !sender.proven => {
                self.challenge_by(id, sender.by_stream.then_some(Priority::Provoked));
            }
            _ => {}
        }
    }

    /// Sends updates to a member that has just shown its token for the first time.
    pub(super) fn tell_new_acquaintance(&mut self, sender: &Sender) {
        let Some(id) = self.id_of(sender).filter(|_| sender.new && !self.updates.is_empty()) else { return };
        let record = self.table.get(id);
        if record.state.is_live() && record.contact.takes_updates() {
            self.send_updates(id);
        }
    }

    /// Counts a challenge, if it may be sent. Some departed members have no known address.
    fn count_challenge(&mut self, id: MemberId, by_stream: bool) -> bool {
        let lives = self.table.get(id).addr.port() != 0;
        lives && self.table.contact_mut(id).count_challenge(by_stream)
    }

    /// Challenges a member that has not answered yet, or whose token is not known (QUIC: PATH_CHALLENGE): pings it at its
    /// address, unless that was done too often in vain. Updates follow when it answers. Returns whether it was pinged.
    pub(super) fn challenge(&mut self, id: MemberId, priority: Priority) -> bool {
        let record = self.table.get(id);
        // Names can be made up: a member that never answered has the priority of what others cause.
        let priority = if record.contact.met { priority } else { Priority::Provoked };
        let by_stream = self.carrier.carries_to(&record.name);
        self.challenge_by(id, by_stream.then_some(priority))
    }

    /// The same by stream, or by datagram.
    pub(super) fn challenge_by(&mut self, id: MemberId, by_stream: Option<Priority>) -> bool {
        // A challenge that is not sent asks nobody.
        let may_be_sent = by_stream.is_none_or(|priority| self.may_carry(priority));
        if !may_be_sent || !self.count_challenge(id, by_stream.is_some()) {
            self.metrics.dropped_transmits += u64::from(!may_be_sent);
            return false;
        }
        let Record { name, addr, contact, .. } = self.table.get(id);
        let in_vain = by_stream.is_some() && contact.was_challenged_in_vain();
        let (name, addr) = (Arc::clone(name), *addr);
        if by_stream.is_none() {
            self.table.contact_mut(id).ask_by_datagram();
        }
        let seq = self.ping_by(by_stream, addr, &name, Behind::Nothing);
        let challenged = Challenged { name, addr, in_vain };
        self.metrics.evicted_challenges += u64::from(self.challenges.push(seq, challenged));
        true
    }

    pub(super) fn take_challenge_answer(
        &mut self,
        sender: &mut Sender,
        seq: u32,
        token: Option<u32>,
    ) -> bool {
        let Some(Challenged { name, addr, in_vain }) = self.challenges.take(seq) else { return false };
        let waiting = self.transmits.len();
        // A member that took them before was challenged because a claim was made in its name, and receives updates in its
        // turn.
        let took = self.takes_updates_at(&name, addr);
        self.on_direct_answer(sender, &name, addr, token);
        if sender.mark != hash::member(&name) {
            return true;
        }
        if in_vain && sender.by_stream && self.config.stream_fallback {
            self.carry_from_now_on(&name, addr);
        }
        if !self.updates.is_empty()
            && self.transmits.len() == waiting
            && !took
            && self.takes_updates_at(&name, addr)
        {
            self.transmit(addr, &name, Content::Updates);
        }
        true
    }

    fn takes_updates_at(&self, name: &str, addr: SocketAddr) -> bool {
        let takes = |record: &Record| record.addr == addr && record.contact.takes_updates();
        self.table.find(name).is_some_and(|id| takes(self.table.get(id)))
    }
}
