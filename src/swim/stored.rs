//! How a recording writes a node, and what a node puts out.
//!
//! Types that only a driver of the core sees ([`Node`], [`Output`], and what an output holds) do not implement serde
//! publicly. A [`Node`] that is read from bytes would be one that `Node::new` has not validated, and each of its private
//! fields would be a format that later versions had to keep. So each of these types has a private form here, which serde
//! writes in its place (`#[serde(remote)]`). A form that lacks a field or a variant of its type does not compile.

use std::{
    borrow::Cow,
    collections::{BTreeMap, HashMap, VecDeque},
    hash::Hash,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::{
    anti_entropy::SyncPace,
    carry::Carrier,
    config::Config,
    dissemination::Pace,
    event::{Event, JoinResult, Output},
    flap::Flaps,
    health::Health,
    history::History,
    introduce::Unverified,
    join::{JoinOrigin, Joins},
    lately_departed::LatelyDeparted,
    leave::Leave,
    member::MemberId,
    metrics::Metrics,
    moves::Moves,
    node::Node,
    phase::Phase,
    probe::Prober,
    reach::Reach,
    reconnect::Reconnects,
    recorder::Recorder,
    rejoin::Rejoin,
    relay::Relays,
    secret::Numbers,
    self_claims::NameConflict,
    stream::{StreamFailure, StreamId, StreamKind, StreamStep, Streams},
    table::Table,
    time::Time,
    timers::Timers,
    transmit::{Destination, Transmit},
    updates::UpdateQueue,
    upper_layer::UpperLayer,
    validation::{Challenged, Guesses, Pinged},
};

#[derive(Serialize, Deserialize)]
#[serde(remote = "Node")]
struct NodeForm {
    config: Config,
    name: Arc<str>,
    cluster: u32,
    mark: u32,
    #[serde(with = "rng")]
    rng: fastrand::Rng,
    numbers: Numbers,
    now: Time,
    clock: u64,
    phase: Phase,
    table: Table,
    timers: Timers,
    health: Health,
    flaps: Flaps,
    last_stall: Duration,
    updates: UpdateQueue<MemberId>,
    pace: Pace,
    lately_departed: LatelyDeparted,
    picks: Vec<usize>,
    prober: Prober,
    relays: Relays,
    streams: Streams,
    sync_pace: SyncPace,
    joins: Joins,
    rejoin: Rejoin,
    reconnects: Reconnects,
    conflict: NameConflict,
    unverified: Pinged<Unverified>,
    challenges: Pinged<Challenged>,
    moves: Moves,
    guesses: Guesses,
    leave: Leave,
    carrier: Carrier,
    reach: Reach,
    upper: UpperLayer,
    metrics: Metrics,
    history: History,
    heard_from: Option<u32>,
    transmits: VecDeque<Transmit>,
    #[serde(with = "list")]
    outputs: VecDeque<Output>,
    #[serde(skip)]
    recorder: Recorder,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Output")]
enum OutputForm {
    Event(Event),
    OpenStream {
        #[serde(with = "StreamIdForm")]
        stream: StreamId,
        addr: SocketAddr,
        timeout: Duration,
        #[serde(with = "StreamKindForm")]
        kind: StreamKind,
    },
    ResolveSeeds,
    JoinDone {
        ticket: u64,
        result: JoinResult,
    },
    SeedsTried {
        result: JoinResult,
    },
    RejoinTried {
        result: JoinResult,
    },
    LeaveDone {
        confirmed: bool,
    },
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "StreamId")]
pub(super) struct StreamIdForm(u64);

#[derive(Serialize, Deserialize)]
#[serde(remote = "StreamKind")]
enum StreamKindForm {
    Exchange,
    Join,
    Urgent,
    Question,
    Data,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "StreamStep")]
pub(super) enum StreamStepForm {
    Send,
    Receive,
    Close,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "StreamFailure")]
pub(super) enum StreamFailureForm {
    Refused,
    TimedOut,
    Rejected,
    NotTried,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "JoinOrigin")]
pub(super) enum JoinOriginForm {
    Seeds,
    Ticket { ticket: u64 },
    Remembered,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Destination")]
pub(super) struct DestinationForm {
    addr: SocketAddr,
    recipient: u32,
}

/// A type that is written in its form.
pub(crate) trait Stored: Sized {
    fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error>;
    fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error>;
}

macro_rules! stored {
    ($($type:ident in $form:ident;)*) => {$(
        impl Stored for $type {
            fn write<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                $form::serialize(self, serializer)
            }

            fn read<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                $form::deserialize(deserializer)
            }
        }
    )*};
}

stored! {
    Node in NodeForm;
    Output in OutputForm;
    StreamFailure in StreamFailureForm;
    StreamId in StreamIdForm;
}

/// Such a type in serde: a reference to write it, or the value that was read.
#[derive(Debug)]
pub(crate) struct InForm<T>(pub(crate) T);

impl<T: Stored> Serialize for InForm<&T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.0.write(serializer)
    }
}

impl<'de, T: Stored> Deserialize<'de> for InForm<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        T::read(deserializer).map(Self)
    }
}

/// A list of such a type.
pub(super) mod list {
    use super::*;

    pub(in crate::swim) fn serialize<T: Stored, S: Serializer>(
        list: &VecDeque<T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(list.iter().map(InForm))
    }

    pub(in crate::swim) fn deserialize<'de, T: Stored, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<VecDeque<T>, D::Error> {
        let list = VecDeque::<InForm<T>>::deserialize(deserializer)?;
        Ok(list.into_iter().map(|InForm(one)| one).collect())
    }
}

/// One that may be borrowed.
pub(super) mod cow {
    use super::*;

    #[expect(clippy::ptr_arg, reason = "it is what serde has")]
    pub(in crate::swim) fn serialize<T: Stored + Clone, S: Serializer>(
        one: &Cow<'_, T>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        one.write(serializer)
    }

    pub(in crate::swim) fn deserialize<'de, 'a, T: Stored + Clone, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Cow<'a, T>, D::Error> {
        T::read(deserializer).map(Cow::Owned)
    }
}

/// A result whose error is such a type.
pub(super) mod result {
    use super::*;

    pub(in crate::swim) fn serialize<E: Stored, S: Serializer>(
        result: &Result<(), E>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        result.as_ref().map_err(InForm).serialize(serializer)
    }

    pub(in crate::swim) fn deserialize<'de, E: Stored, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Result<(), E>, D::Error> {
        Ok(Result::<(), InForm<E>>::deserialize(deserializer)?.map_err(|InForm(error)| error))
    }
}

/// A map of streams, in the order of their numbers.
pub(super) mod by_stream {
    use super::*;

    pub(in crate::swim) fn serialize<'a, M, V, S>(map: &'a M, serializer: S) -> Result<S::Ok, S::Error>
    where
        &'a M: IntoIterator<Item = (&'a StreamId, &'a V)>,
        V: Serialize + 'a,
        S: Serializer,
    {
        map.into_iter().map(|(id, value)| (id.0, value)).collect::<BTreeMap<_, _>>().serialize(serializer)
    }

    pub(in crate::swim) fn deserialize<'de, M, V, D>(deserializer: D) -> Result<M, D::Error>
    where
        M: FromIterator<(StreamId, V)>,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        let map = BTreeMap::<u64, V>::deserialize(deserializer)?;
        Ok(map.into_iter().map(|(id, value)| (StreamId(id), value)).collect())
    }
}

/// A hash map in the order of its keys: the same state gives the same bytes.
pub(super) mod sorted {
    use super::*;

    pub(in crate::swim) fn serialize<K, V, S>(map: &HashMap<K, V>, serializer: S) -> Result<S::Ok, S::Error>
    where
        K: Ord + Serialize,
        V: Serialize,
        S: Serializer,
    {
        map.iter().collect::<BTreeMap<_, _>>().serialize(serializer)
    }

    pub(in crate::swim) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<HashMap<K, V>, D::Error>
    where
        K: Eq + Hash + Deserialize<'de>,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        HashMap::deserialize(deserializer)
    }
}

/// The state of the random generator.
mod rng {
    use super::*;

    pub(super) fn serialize<S: Serializer>(rng: &fastrand::Rng, serializer: S) -> Result<S::Ok, S::Error> {
        rng.get_seed().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<fastrand::Rng, D::Error> {
        u64::deserialize(deserializer).map(fastrand::Rng::with_seed)
    }
}
