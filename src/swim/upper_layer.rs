//! The interface of the protocol to the [data layer](crate::data): the sender of its sections, room in packets to members,
//! rounds of gossip, and streams. The protocol does not know their content, and no rule of membership depends on it.

use std::{collections::VecDeque, net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    carry::Priority,
    entry::Input,
    member::{MemberId, Record},
    node::Node,
    phase::Phase,
    session::{Purpose, Step},
    share::Account,
    stream::{MAX_STREAMS, StreamFailure, StreamId},
    time::Time,
    timers::Timer,
    transmit::Destination,
};
use crate::wire::packet::{self, Header, Sections};

/// Data streams at the same time that this node opened, and as many that others did: streams of the protocol have places of
/// their own.
const MAX_DATA_STREAMS: usize = 16;
/// How many of these may be with one member, and with one account: none keeps all others waiting.
const MAX_WITH_ONE: usize = 4;

/// One life of a name.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub(crate) struct Life {
    pub(crate) name: Arc<str>,
    pub(crate) epoch: u64,
}

impl Life {
    fn of(record: &Record) -> Self {
        Self { name: Arc::clone(&record.name), epoch: record.identity.epoch }
    }
}

#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct UpperLayer {
    /// The live member that is proven to have sent the sections for the layer above in the last input, if there were any.
    sender: Option<MemberId>,
    /// The recipient of the packet that was written last, if more may be added to it.
    pub(super) recipient: Option<MemberId>,
    /// After how many transmissions what is added to that packet is done; `None`: it does not count as one.
    pub(super) limit: Option<u32>,
    /// Bytes that the layer above would add to packets.
    pub(super) wants: usize,
    /// Its streams that have ended.
    ended: VecDeque<EndedStream>,
}

#[derive(Debug, Serialize, Deserialize)]
struct EndedStream {
    #[serde(with = "super::stored::StreamIdForm")]
    stream: StreamId,
    #[serde(with = "super::stored::result")]
    result: Result<(), StreamFailure>,
}

/// Why a stream to a member was not opened.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NotOpened {
    /// That life of the member is not live.
    NotLive,
    /// Too many streams are open.
    Full,
    /// Too many streams are open with this member, or with members of its host.
    FullWithIt,
}

/// How a member is reached.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WayTo {
    /// That life of it is not live.
    NotLive,
    /// It would not hear this node, which has no token of it yet: see [`Node::ask_for_token`].
    Unproven,
    /// By datagram, and by stream.
    Datagram,
    /// By stream alone.
    Stream,
}

impl UpperLayer {
    /// Nothing of the next input has been looked at yet.
    pub(super) fn begin(&mut self) {
        self.sender = None;
    }

    /// Whether it is about to add something to the packet that was written last.
    pub(super) fn is_awaited(&self) -> bool {
        self.wants > 0 && self.recipient.is_some()
    }

    /// The part of a packet's room that updates leave to the layer above: what it wants, a quarter at most.
    pub(super) fn kept_room(&self, room: usize) -> usize {
        self.wants.min(room / 4)
    }
}

impl Node {
    /// Sections for the layer above came from this member, if it is known and proven.
    pub(super) fn note_data_from(&mut self, id: Option<MemberId>) {
        let live = |id: &MemberId| *id != MemberId::SELF && self.table.get(*id).state.is_live();
        self.upper.sender = id.filter(live);
    }

    /// The sender of the sections for the layer above in the last input; `None` if there were none that count.
    pub(crate) fn data_sender(&self) -> Option<Life> {
        self.upper.sender.map(|id| Life::of(self.table.get(id)))
    }

    /// The recipient of the datagram or frame that was written last, if sections may be added to it; and after how many
    /// transmissions an addition is done, if this packet counts as one: a packet that others caused does not, as for
    /// updates.
    pub(crate) fn data_recipient(&self) -> Option<(Life, Option<u32>)> {
        self.upper.recipient.map(|id| (Life::of(self.table.get(id)), self.upper.limit))
    }

    /// The life of a live member other than this node.
    pub(crate) fn live_life(&self, name: &str) -> Option<Life> {
        let id = self.table.find_live(name).filter(|id| *id != MemberId::SELF)?;
        Some(Life::of(self.table.get(id)))
    }

    /// Which life of a listed name this node knows, and whether that one is live.
    pub(crate) fn listed_life(&self, name: &str) -> Option<(u64, bool)> {
        let record = self.table.get(self.table.find_listed(name)?);
        Some((record.identity.epoch, record.state.is_live()))
    }

    /// The present life of a member as this node knows it, and whether it is live.
    pub(crate) fn known_life(&self, name: &str) -> Option<(Life, bool)> {
        let record = self.table.get(self.table.find_listed(name)?);
        Some((Life::of(record), record.state.is_live()))
    }

    /// The life of a live member other than this node, by any number.
    pub(crate) fn any_live(&self, number: usize) -> Option<Life> {
        let at = number.checked_rem(self.table.others())?;
        Some(Life::of(self.table.get(self.table.other(at))))
    }

    /// The lives of all live members but this node.
    pub(crate) fn live_lives(&self) -> Vec<Life> {
        let live = |(_, record): &(usize, &Record)| record.state.is_live();
        self.table.walk(MemberId::SELF.index() + 1).filter(live).map(|(_, record)| Life::of(record)).collect()
    }

    /// The time of the last input.
    pub(crate) fn now(&self) -> Time {
        self.now
    }

    /// This node's own life.
    pub(crate) fn own_life(&self) -> Life {
        Life::of(self.table.get(MemberId::SELF))
    }

    /// How a member is reached.
    pub(crate) fn way_to(&self, to: &Life) -> WayTo {
        let Some(record) = self.live_member(to).map(|id| self.table.get(id)) else { return WayTo::NotLive };
        if !record.contact.takes_updates() || self.phase == Phase::Displaced {
            WayTo::Unproven
        } else if self.carrier.carries_to(&record.name) {
            WayTo::Stream
        } else {
            WayTo::Datagram
        }
    }

    /// Pings a member that would not hear this node yet, for its token: with that, it does.
    pub(crate) fn ask_for_token(&mut self, now: Time, to: &Life) {
        self.given(now, || Input::AskForToken { name: (&*to.name).into(), epoch: to.epoch });
        self.advance(now);
        if let Some(id) = self.live_member(to).filter(|_| self.way_to(to) == WayTo::Unproven) {
            self.challenge(id, Priority::Updates);
        }
    }

    /// The smoothed round-trip time to a member, if it was measured.
    pub(crate) fn round_trip(&self, to: &Life) -> Option<Duration> {
        self.table.get(self.live_member(to)?).contact.round_trip.smoothed()
    }

    /// How many datagrams wait to be sent.
    pub(crate) fn waiting_transmits(&self) -> usize {
        self.transmits.len()
    }

    /// The member that is live in this life.
    fn live_member(&self, life: &Life) -> Option<MemberId> {
        let id = self.table.find_live(&life.name).filter(|id| *id != MemberId::SELF)?;
        (self.table.get(id).identity.epoch == life.epoch).then_some(id)
    }

    /// How many bytes the layer above would like to add to packets: while it is not 0, there are rounds of gossip.
    pub(crate) fn want_room(&mut self, now: Time, bytes: usize) {
        if bytes == self.upper.wants {
            return;
        }
        self.given(now, || Input::WantRoom(bytes));
        self.advance(now);
        let before = std::mem::replace(&mut self.upper.wants, bytes);
        if bytes > 0 {
            if before == 0 {
                self.timers.cancel(Timer::Gossip);
            }
            self.schedule_gossip();
        } else if !self.has_updates() && self.timers.is_set(Timer::Gossip) {
            // A round in which nothing is said costs credit. It comes if nothing else has one until then.
            self.set_timer_at(Timer::Gossip, now + self.config.gossip_interval * 2);
        }
    }

    /// Whether updates wait for packets, so that there are rounds of gossip for them.
    pub(crate) fn has_updates(&self) -> bool {
        !self.updates.is_empty()
    }

    /// Begins a datagram of the layer above to a member, or returns `None` if none reaches it. What is added goes behind.
    pub(crate) fn begin_data_datagram(&self, to: &Life, buffer: &mut Vec<u8>) -> Option<Destination> {
        if self.way_to(to) != WayTo::Datagram {
            return None;
        }
        let record = self.table.get(self.live_member(to)?);
        let header = Header { cluster: self.cluster, sender: self.mark, token: record.contact.held };
        packet::Writer::new(buffer, header, self.config.max_datagram).finish();
        Some(Destination { addr: record.addr, recipient: record.mark })
    }

    /// A section for the layer above did not decode.
    pub(crate) fn count_malformed(&mut self) {
        self.metrics.dropped_malformed += 1;
    }

    /// This many bytes were added to the datagram that was written last.
    pub(crate) fn count_added(&mut self, bytes: usize) {
        self.metrics.bytes_sent += bytes as u64;
    }

    /// A datagram of the layer above is on its way.
    pub(crate) fn count_data_datagram(&mut self, bytes: usize) {
        self.metrics.datagrams_sent += 1;
        self.count_added(bytes);
    }

    /// Opens a stream of the layer above to a member.
    pub(crate) fn open_data_stream(
        &mut self,
        now: Time,
        to: &Life,
        timeout: Duration,
    ) -> Result<StreamId, NotOpened> {
        self.given(now, || Input::OpenDataStream { name: (&*to.name).into(), epoch: to.epoch, timeout });
        self.advance(now);
        let id = self.live_member(to).ok_or(NotOpened::NotLive)?;
        let addr = self.table.get(id).addr;
        self.has_room_for_data_stream(true, (to, addr), (0, 0))?;
        self.open(Purpose::Data(to.clone()), addr, timeout).ok_or(NotOpened::Full)
    }

    /// Whether this node may open one more stream of the layer above to a member, and after it still as many as are spared, in
    /// all and with that member.
    pub(crate) fn may_open_data_stream(&self, to: &Life, spared: (usize, usize)) -> Result<(), NotOpened> {
        let id = self.live_member(to).ok_or(NotOpened::NotLive)?;
        self.has_room_for_data_stream(true, (to, self.table.get(id).addr), spared)
    }

    /// Whether there may be one more stream of the layer above with a member at an address, beside those that this node opened,
    /// or others did.
    fn has_room_for_data_stream(
        &self,
        opened: bool,
        (with, addr): (&Life, SocketAddr),
        spared: (usize, usize),
    ) -> Result<(), NotOpened> {
        let is_ours = |id: &&StreamId| self.streams.opened.contains_key(id) == opened;
        let (mut all, mut with_it) = spared;
        let account = self.table.account_of(addr);
        // The order does not matter for a count.
        self.streams.ids().filter(is_ours).filter_map(|id| self.streams.sessions.get(id)).for_each(
            |session| {
                let Purpose::Data(life) = &session.purpose else { return };
                all += 1;
                with_it += usize::from(life.name == with.name || account.is_of(session.peer));
            },
        );
        match (all >= MAX_DATA_STREAMS, with_it >= MAX_WITH_ONE) {
            (true, _) => Err(NotOpened::Full),
            (false, true) => Err(NotOpened::FullWithIt),
            (false, false) => Ok(()),
        }
    }

    /// The account of a listed member other than this node.
    pub(crate) fn account_of_member(&self, name: &str) -> Option<Account> {
        let id = self.table.find_listed(name).filter(|id| *id != MemberId::SELF)?;
        Some(self.table.account_of(self.table.get(id).addr))
    }

    /// The account that an item counts for whose claimed origin or owner is not this node: that of the origin's host once the
    /// origin has answered; before, its address is only hearsay.
    pub(crate) fn account_of_said(&self, of: &str) -> Option<Account> {
        let record = self.table.find_listed(of).map(|id| (id, self.table.get(id)));
        match record {
            Some((MemberId::SELF, _)) => None,
            Some((_, record)) if record.contact.met => Some(self.table.account_of(record.addr)),
            _ => Some(Account::UNMET),
        }
    }

    /// The member of a stream of the data layer, if it is one.
    pub(crate) fn data_stream(&self, stream: StreamId) -> Option<&Life> {
        match &self.streams.sessions.get(&stream)?.purpose {
            Purpose::Data(life) => Some(life),
            _ => None,
        }
    }

    /// The header of a frame in a stream of the layer above.
    pub(crate) fn data_header(&self, stream: StreamId) -> Header {
        let peer = self.data_stream(stream).and_then(|life| self.table.find(&life.name));
        let token = peer.map_or(0, |id| self.table.get(id).contact.held);
        Header { cluster: self.cluster, sender: self.mark, token }
    }

    /// A stream of the layer above is done.
    pub(crate) fn close_data_stream(&mut self, now: Time, stream: StreamId) {
        self.given(now, || Input::CloseDataStream(stream));
        self.advance(now);
        if self.data_stream(stream).is_some() {
            self.end(stream, Ok(()));
        }
    }

    /// The next of its streams that has ended.
    pub(crate) fn poll_data_stream_end(&mut self) -> Option<(StreamId, Result<(), StreamFailure>)> {
        self.upper.ended.pop_front().map(|EndedStream { stream, result }| (stream, result))
    }

    pub(super) fn data_stream_ended(&mut self, stream: StreamId, result: Result<(), StreamFailure>) {
        // The layer above asks after each input; where there is none, nothing may pile up.
        if self.upper.ended.len() == MAX_STREAMS {
            self.upper.ended.pop_front();
        }
        self.upper.ended.push_back(EndedStream { stream, result });
    }

    /// Whether a frame is for the layer above: in one of its streams, or the first in a stream from others.
    pub(super) fn is_data_frame(&self, stream: StreamId, sections: &Sections<'_>) -> bool {
        match self.streams.sessions.get(&stream) {
            Some(session) if session.step == Step::AwaitOpening => {
                sections.clone().next().is_some_and(|first| first.is_ok_and(packet::Section::is_data))
            }
            Some(session) => matches!(session.purpose, Purpose::Data(_)),
            None => false,
        }
    }

    /// Takes in a frame for the layer above, or says that the stream is none of a member.
    pub(super) fn on_data_frame(&mut self, stream: StreamId, header: Header) -> bool {
        let Some(session) = self.streams.sessions.get(&stream) else { return false };
        if let Purpose::Data(life) = &session.purpose {
            let member = self.live_member(life);
            self.note_data_from(member);
            return member.is_some();
        }
        let peer = session.peer;
        let sender = self.recognize(peer, true, header.sender, header.token);
        self.note_data_from(self.id_of(&sender).filter(|_| sender.proven));
        let Some(life) = self.data_sender() else { return false };
        if self.has_room_for_data_stream(false, (&life, peer), (0, 0)).is_err() {
            self.metrics.refused_streams += 1;
            return false;
        }
        if let Some(session) = self.streams.sessions.get_mut(&stream) {
            (session.purpose, session.step) = (Purpose::Data(life), Step::Data);
        }
        true
    }
}
