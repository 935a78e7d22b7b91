//! A sync: the stream in which two members bring each other up to date.
//!
//! Behind an ack a member sends a digest of each kind of data ([`DataDigest`]), while it has any and the digest is settled.
//! A member whose own digest differs opens a stream. In it both sides speak in four turns, the opener first; `PROTOCOL.md`,
//! Syncs, says what each turn holds. A turn is any number of frames and ends with [`DataEnd`]; the first turn of each side
//! begins with [`DataHello`].
//!
//! **Another kind of data** needs a field in [`DataKinds`], a field in [`Exchange`] for its state in a stream, and these
//! functions, called where those of `key_values` are: `settled_digest` for [`DataDigest`], and `digest` for [`DataHello`];
//! `begin_turn(exchange, turn, anew)` plans a turn; `say(exchange, packet)` writes as much as fits into a frame and returns
//! whether that was all; `on_section(…, message)` processes one section and returns whether the section was its own;
//! `end_turn` is called at the end of the other side's turn; and if `is_behind` holds, since the other side could not say
//! all in one exchange, the opener begins another at once.
//!
//! After a sync that changed nothing, or failed, this node ignores digests of the same account ([`Node::account_of_member`])
//! for longer and longer, as it does for push/pulls.

use std::{collections::BTreeMap, time::Duration};

use super::{
    broadcasts::{self, Broadcasts},
    key_values::{self, KeyValues},
};
use crate::{
    swim::{Account, BackOff, Life, Node, NotOpened, StreamFailure, StreamId, StreamStep, Taught, Time},
    wire::{
        data::{DataDigest, DataEnd, DataHello, DataMessage},
        frame::MAX_FRAME,
        packet::Writer,
    },
};

/// Syncs that this node may have opened at the same time, at most one with each account.
const MAX_OWN_SYNCS: usize = 2;
/// Turns of a sync.
const TURNS: u8 = 4;

/// The kinds of data that are brought up to date.
#[derive(Debug)]
pub(super) struct DataKinds<'a> {
    pub(super) broadcasts: &'a mut Broadcasts,
    pub(super) key_values: &'a mut KeyValues,
}

impl DataKinds<'_> {
    /// The digest of each kind, settled or not.
    fn digests(&self) -> DataDigest {
        DataDigest { broadcasts: self.broadcasts.digest(), key_values: self.key_values.digest() }
    }

    /// The digest of each kind, or 0 if it has no data or is not settled.
    fn settled_digests(&self, now: Time, node: &Node) -> DataDigest {
        let broadcasts = self.broadcasts.settled_digest(now);
        DataDigest { broadcasts, key_values: self.key_values.settled_digest(now, node) }
    }
}

/// The syncs that are under way, and when the next may begin.
#[derive(Debug, Default)]
pub(super) struct Sync {
    exchanges: BTreeMap<StreamId, Exchange>,
    pace: BackOff,
    broadcasts_pace: BackOff,
    /// The member to sync with at once, whatever the pace, but not before that time; and how long that may take.
    urgent: Option<(Life, Duration)>,
    not_before: Time,
    begun: u64,
}

/// One stream.
#[derive(Debug)]
struct Exchange {
    with: Life,
    /// The account of the other side, if this node opened the stream.
    opened: Option<Account>,
    /// The present turn; [`TURNS`] once both sides have said all.
    turn: u8,
    /// Whether it is this side's turn.
    speaks: bool,
    said_hello: bool,
    /// This node gives up sooner than the other side may need.
    is_hurried: bool,
    /// This node's digests at the beginning, and those of the other side.
    before: DataDigest,
    theirs: Option<DataDigest>,
    broadcasts: broadcasts::Exchange,
    key_values: key_values::Exchange,
}

impl Exchange {
    fn new(with: Life, opened: Option<Account>, before: DataDigest) -> Self {
        Self {
            with: with.clone(),
            opened,
            turn: 0,
            speaks: opened.is_some(),
            said_hello: false,
            is_hurried: false,
            before,
            theirs: None,
            broadcasts: broadcasts::Exchange::new(with),
            key_values: key_values::Exchange::default(),
        }
    }

    fn is_over(&self) -> bool {
        self.turn == TURNS
    }

    /// Plans this side's turn.
    fn begin_turn(&mut self, parts: &DataKinds<'_>) {
        let anew = self.theirs.is_some_and(|theirs| theirs.key_values == 0);
        Broadcasts::begin_turn(&mut self.broadcasts, self.turn);
        parts.key_values.begin_turn(&mut self.key_values, self.turn, anew);
    }

    /// Writes the next frame of this side's turn.
    fn write(&mut self, parts: &DataKinds<'_>, packet: &mut Writer<'_>) {
        if !self.said_hello {
            let DataDigest { broadcasts, key_values } = parts.digests();
            self.said_hello = packet.message(&DataHello { broadcasts, key_values });
        }
        let all = parts.broadcasts.say(&mut self.broadcasts, packet);
        if all && KeyValues::say(&mut self.key_values, packet) && packet.message(&DataEnd {}) {
            (self.turn, self.speaks) = (self.turn + 1, false);
        }
    }
}

impl Sync {
    /// Whether a stream is a sync.
    pub(super) fn has(&self, stream: StreamId) -> bool {
        self.exchanges.contains_key(&stream)
    }

    /// Whether a section belongs to a sync: its stream is one, or the section begins one.
    pub(super) fn takes(&self, stream: StreamId, message: &DataMessage<'_>) -> bool {
        self.has(stream) || matches!(message, DataMessage::DataHello(_))
    }

    pub(super) fn begun(&self) -> u64 {
        self.begun
    }

    /// The digests to send behind an ack; none if no kind of data is settled.
    pub(super) fn told_digest(now: Time, node: &Node, parts: &DataKinds<'_>) -> Option<DataDigest> {
        let told = parts.settled_digests(now, node);
        (told.broadcasts != 0 || told.key_values != 0).then_some(told)
    }

    /// A member sent its digests: if one differs from this node's, the two nodes sync.
    pub(super) fn compare(
        &mut self,
        now: Time,
        node: &mut Node,
        parts: &DataKinds<'_>,
        from: &Life,
        theirs: &DataDigest,
    ) {
        let ours = parts.settled_digests(now, node);
        let known = parts.digests();
        // A digest that is not settled is sent as 0. A kind without data counts as settled.
        let differ =
            |theirs: u64, ours: u64, known: u64| theirs != 0 && theirs != ours && (ours != 0 || known == 0);
        let broadcasts = parts.broadcasts.differs_from(now, theirs.broadcasts);
        if broadcasts
            && let Some(account) = self.account_with_room(node, from)
            && self.broadcasts_pace.may_begin(now, account)
        {
            if self.open(now, node, parts, (from, account), node.config().stream_timeout) {
                self.broadcasts_pace.begin(now, account, broadcasts::pace(node));
            }
        } else if differ(theirs.key_values, ours.key_values, known.key_values) {
            self.ask(now, node, parts, from);
        }
    }

    /// Syncs with a member, unless there is reason to wait.
    pub(super) fn ask(&mut self, now: Time, node: &mut Node, parts: &DataKinds<'_>, with: &Life) {
        if let Some(account) = self.account_with_room(node, with)
            && self.pace.may_begin(now, account)
            && self.open(now, node, parts, (with, account), node.config().stream_timeout)
        {
            self.pace.begin(now, account, pace(node));
        }
    }

    /// The next sync is with this member, which has something that gossip does not bring, or lacks such a thing.
    pub(super) fn hasten(&mut self, with: Life, limit: Duration) {
        self.urgent = Some((with, limit));
    }

    /// Whether this node has no sync under way that it began.
    pub(super) fn is_idle(&self) -> bool {
        self.exchanges.values().all(|exchange| exchange.opened.is_none())
    }

    /// Begins a sync that is due.
    pub(super) fn settle(&mut self, now: Time, node: &mut Node, parts: &DataKinds<'_>) {
        if self.not_before <= now
            && self.is_urgent(node)
            && let Some((with, limit)) = self.urgent.take()
            && let Some(account) = node.account_of_member(&with.name)
        {
            self.not_before = now + node.config().gossip_interval / 10;
            self.open(now, node, parts, (&with, account), limit);
        }
    }

    /// When to call [`settle`](Self::settle).
    pub(super) fn poll_timeout(&self, node: &Node) -> Option<Time> {
        self.is_urgent(node).then_some(self.not_before)
    }

    /// Whether a member waits to be asked that can be.
    pub(super) fn is_urgent(&self, node: &Node) -> bool {
        self.urgent.as_ref().is_some_and(|(with, _)| self.may_begin(node, with))
    }

    /// Whether one more sync with a member may be under way.
    pub(super) fn may_begin(&self, node: &Node, with: &Life) -> bool {
        self.account_with_room(node, with).is_some()
    }

    /// The account of a listed member, if one more sync with it may be under way.
    fn account_with_room(&self, node: &Node, with: &Life) -> Option<Account> {
        let mut opened = self.exchanges.values().filter_map(|exchange| exchange.opened);
        if opened.clone().count() >= MAX_OWN_SYNCS {
            return None;
        }
        node.account_of_member(&with.name).filter(|account| opened.all(|other| other != *account))
    }

    /// Opens a sync. Returns whether it did.
    fn open(
        &mut self,
        now: Time,
        node: &mut Node,
        parts: &DataKinds<'_>,
        (with, account): (&Life, Account),
        limit: Duration,
    ) -> bool {
        match node.open_data_stream(now, with, limit) {
            Ok(stream) => {
                let mut exchange = Exchange::new(with.clone(), Some(account), parts.digests());
                exchange.is_hurried = limit < node.config().stream_timeout;
                exchange.begin_turn(parts);
                self.exchanges.insert(stream, exchange);
                self.begun += 1;
                return true;
            }
            Err(NotOpened::NotLive) => {}
            // Try again soon.
            Err(NotOpened::Full | NotOpened::FullWithIt) => {
                self.urgent.get_or_insert((with.clone(), limit));
            }
        }
        false
    }

    /// The next step of a stream; a frame to send is put into `buffer`.
    pub(super) fn poll(
        &mut self,
        now: Time,
        node: &mut Node,
        parts: &DataKinds<'_>,
        stream: StreamId,
        buffer: &mut Vec<u8>,
    ) -> StreamStep {
        let Some(exchange) = self.exchanges.get_mut(&stream) else { return StreamStep::Close };
        if exchange.is_over() {
            node.close_data_stream(now, stream);
            return StreamStep::Close;
        }
        if !exchange.speaks {
            return StreamStep::Receive;
        }
        let mut packet = Writer::new(buffer, node.data_header(stream), MAX_FRAME);
        exchange.write(parts, &mut packet);
        packet.finish();
        StreamStep::Send
    }

    /// Processes a section of a stream, which may begin a sync. Returns whether the section has its place there.
    pub(super) fn on_section(
        &mut self,
        now: Time,
        node: &Node,
        parts: &mut DataKinds<'_>,
        (stream, from): (StreamId, &Life),
        message: &DataMessage<'_>,
    ) -> bool {
        if matches!(message, DataMessage::DataHello(_)) && !self.has(stream) {
            self.exchanges.insert(stream, Exchange::new(from.clone(), None, parts.digests()));
        }
        let Some(exchange) =
            self.exchanges.get_mut(&stream).filter(|exchange| !exchange.speaks && !exchange.is_over())
        else {
            return false;
        };
        match message {
            DataMessage::DataHello(DataHello { broadcasts, key_values }) if exchange.theirs.is_none() => {
                let (broadcasts, key_values) = (*broadcasts, *key_values);
                exchange.theirs = Some(DataDigest { broadcasts, key_values });
            }
            DataMessage::DataEnd(DataEnd {}) if exchange.theirs.is_some() => {
                parts.broadcasts.end_turn(&mut exchange.broadcasts, exchange.turn);
                parts.key_values.end_turn(now, node, &mut exchange.key_values);
                (exchange.turn, exchange.speaks) = (exchange.turn + 1, exchange.turn + 1 < TURNS);
                if exchange.speaks {
                    exchange.begin_turn(parts);
                }
            }
            other => {
                let Exchange { broadcasts, .. } = exchange;
                if parts.broadcasts.on_section(now, node, broadcasts, from, other) {
                    return true;
                }
                return parts.key_values.on_section(now, node, &mut exchange.key_values, &from.name, other);
            }
        }
        true
    }

    /// A stream has ended.
    pub(super) fn ended(
        &mut self,
        node: &Node,
        parts: &DataKinds<'_>,
        stream: StreamId,
        result: Result<(), StreamFailure>,
    ) {
        let Some(exchange) = self.exchanges.remove(&stream) else { return };
        let Some(account) = exchange.opened else { return };
        let now = node.now();
        match result {
            Ok(()) => {}
            // A stream that was not tried, or given up soon, says nothing about the other side.
            Err(StreamFailure::NotTried) => return,
            Err(StreamFailure::TimedOut) if exchange.is_hurried => return,
            Err(_) => {
                self.pace.adapt(now, account, Taught::Failed, pace(node));
                return self.broadcasts_pace.adapt(now, account, Taught::Failed, broadcasts::pace(node));
            }
        }
        let (ours, before, theirs) = (parts.digests(), exchange.before, exchange.theirs.unwrap_or_default());
        let taught = |before, ours| if before == ours { Taught::Nothing } else { Taught::Something };
        let of_key_values = taught(before.key_values, ours.key_values);
        if theirs.key_values != before.key_values {
            self.pace.adapt(now, account, of_key_values, pace(node));
        }
        if theirs.broadcasts != before.broadcasts {
            let of_broadcasts = taught(before.broadcasts, ours.broadcasts);
            self.broadcasts_pace.adapt(now, account, of_broadcasts, broadcasts::pace(node));
        }
        let goes_on = of_key_values == Taught::Something && !self.is_urgent(node);
        if goes_on && parts.key_values.is_behind(node, &exchange.key_values) {
            self.hasten(exchange.with, node.config().stream_timeout);
        }
    }
}

/// The least time between two syncs for key–values, and the longest after syncs that changed nothing.
fn pace(node: &Node) -> (Duration, Duration) {
    (node.config().probe_interval, node.config().sync_interval)
}
