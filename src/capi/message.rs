//! Messages, requests and answers as a program reads them.

use std::{
    ffi::{CString, c_char, c_int},
    ptr,
};

use crossbeam_channel::RecvTimeoutError;
use parking_lot::Mutex;

use super::{
    handle::Registry,
    pointer::Out,
    status::{
        Failure, SYNCSWIM_CLOSED, SYNCSWIM_ERR_BUSY, SYNCSWIM_ERR_NO_READER, SYNCSWIM_ERR_NOT_REACHED,
        SYNCSWIM_ERR_REFUSED, SYNCSWIM_ERR_TOO_LARGE, SYNCSWIM_ERR_UNANSWERED, SYNCSWIM_OK, SYNCSWIM_TIMEOUT,
        c_text, status, syncswim_status, value,
    },
};
use crate::{Answer, InboxItem, MemberLife, Message, MessageKind, QueryAnswer, QueryProblem, Request};

/// A message to this member.
pub const SYNCSWIM_MESSAGE_SENT: c_int = 0;
/// A broadcast to all.
pub const SYNCSWIM_MESSAGE_BROADCAST: c_int = 1;
/// Tells how many messages and broadcasts are lost.
pub const SYNCSWIM_MESSAGE_LOST: c_int = 2;
/// A request, which is to be answered.
pub const SYNCSWIM_MESSAGE_REQUEST: c_int = 3;
/// An answer, or why there is none.
pub const SYNCSWIM_MESSAGE_ANSWER: c_int = 4;

/// A message, a request, or an answer of a member. Any thread may read it, several at a time.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_message {
    _private: (),
}

pub(super) static MESSAGES: Registry<syncswim_message, Object> = Registry::new("message");

/// The object behind a `syncswim_message`.
pub(super) struct Object {
    from: CString,
    epoch: u64,
    topic: CString,
    payload: Payload,
    status: syncswim_status,
    kind: c_int,
    lost: u64,
    broadcast: OfBroadcast,
    /// The request, until it is answered.
    pub(super) request: Mutex<Option<Request>>,
}

type Payload = std::sync::Arc<[u8]>;

#[derive(Default)]
struct OfBroadcast {
    seq: u64,
    stamp: u64,
    gap: u64,
    late: bool,
}

impl Object {
    fn new(kind: c_int, from: &MemberLife, topic: &str, payload: Payload) -> Self {
        Self {
            from: c_text(&from.name),
            epoch: from.epoch,
            topic: c_text(topic),
            payload,
            status: SYNCSWIM_OK,
            kind,
            lost: 0,
            broadcast: OfBroadcast::default(),
            request: Mutex::new(None),
        }
    }

    pub(super) fn of_item(item: InboxItem) -> Self {
        match item {
            InboxItem::Message(Message { from, topic, payload, kind, .. }) => {
                let (kind, broadcast) = match kind {
                    MessageKind::Sent => (SYNCSWIM_MESSAGE_SENT, OfBroadcast::default()),
                    MessageKind::Broadcast { seq, stamp, gap, late } => {
                        let stamp = stamp.as_u64();
                        (SYNCSWIM_MESSAGE_BROADCAST, OfBroadcast { seq, stamp, gap, late })
                    }
                };
                Self { broadcast, ..Self::new(kind, &from, &topic, payload) }
            }
            InboxItem::Lost { from, count } => {
                let from = from.unwrap_or(MemberLife { name: "".into(), epoch: 0 });
                Self { lost: count, ..Self::new(SYNCSWIM_MESSAGE_LOST, &from, "", Payload::default()) }
            }
        }
    }

    pub(super) fn of_request(request: Request) -> Self {
        let (from, kind) = (request.from(), SYNCSWIM_MESSAGE_REQUEST);
        let object = Self::new(kind, &from, request.topic(), request.payload().into());
        Self { request: Mutex::new(Some(request)), ..object }
    }

    pub(super) fn of_request_answer(Answer { from, payload, .. }: Answer) -> Self {
        Self::new(SYNCSWIM_MESSAGE_ANSWER, &from, "", payload)
    }

    pub(super) fn of_answer(QueryAnswer { member, result, .. }: QueryAnswer) -> Self {
        match result {
            Ok(answer) => Self::of_request_answer(answer),
            Err(why) => {
                let reason = match &why {
                    QueryProblem::Refused { reason, .. } => reason.clone(),
                    why => why.to_string(),
                };
                let reason = reason.as_bytes();
                let answer = Self::new(SYNCSWIM_MESSAGE_ANSWER, &member, "", reason.into());
                Self { status: status_of(&why), ..answer }
            }
        }
    }
}

fn status_of(why: &QueryProblem) -> syncswim_status {
    match why {
        QueryProblem::Refused { .. } | QueryProblem::Dropped => SYNCSWIM_ERR_REFUSED,
        QueryProblem::NoReader => SYNCSWIM_ERR_NO_READER,
        QueryProblem::Busy => SYNCSWIM_ERR_BUSY,
        QueryProblem::TooLarge => SYNCSWIM_ERR_TOO_LARGE,
        QueryProblem::Silent { .. } => SYNCSWIM_ERR_UNANSWERED,
        QueryProblem::NotReached { .. } => SYNCSWIM_ERR_NOT_REACHED,
    }
}

/// Returns a message to the caller, or why there is none.
pub(super) fn put(
    received: Result<Object, RecvTimeoutError>,
    out: Out<*mut syncswim_message>,
) -> Result<syncswim_status, Failure> {
    match received {
        Ok(object) => out.put(MESSAGES.insert(object)),
        Err(RecvTimeoutError::Timeout) => return Ok(SYNCSWIM_TIMEOUT),
        Err(RecvTimeoutError::Disconnected) => return Ok(SYNCSWIM_CLOSED),
    }
    Ok(SYNCSWIM_OK)
}

/// The name of the member that sent it. Valid until it is freed; NULL if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_from(message: *const syncswim_message) -> *const c_char {
    value(ptr::null(), || Ok(MESSAGES.get(message)?.from.as_ptr()))
}

/// The sender's life: the epoch in syncswim_member. 0 if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_epoch(message: *const syncswim_message) -> u64 {
    value(0, || Ok(MESSAGES.get(message)?.epoch))
}

/// The topic that it was sent to; empty for an answer. Valid until it is freed; NULL if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_topic(message: *const syncswim_message) -> *const c_char {
    value(ptr::null(), || Ok(MESSAGES.get(message)?.topic.as_ptr()))
}

/// Its bytes, syncswim_message_len of them. Valid until it is freed; NULL if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_payload(message: *const syncswim_message) -> *const u8 {
    value(ptr::null(), || Ok(MESSAGES.get(message)?.payload.as_ptr()))
}

/// How many bytes it has; 0 if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_len(message: *const syncswim_message) -> usize {
    value(0, || Ok(MESSAGES.get(message)?.payload.len()))
}

/// Its kind: SYNCSWIM_MESSAGE_SENT and those that follow. -1 if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_kind(message: *const syncswim_message) -> c_int {
    value(-1, || Ok(MESSAGES.get(message)?.kind))
}

/// SYNCSWIM_OK, except for a result of a query that is not an answer. That one has the same errors as
/// syncswim_cluster_request: SYNCSWIM_ERR_REFUSED, SYNCSWIM_ERR_NO_READER, SYNCSWIM_ERR_BUSY, SYNCSWIM_ERR_TOO_LARGE;
/// SYNCSWIM_ERR_UNANSWERED if the member was asked and may have acted, SYNCSWIM_ERR_NOT_REACHED if it was not reached, so
/// that it has not acted. The payload says why, in words.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_status(message: *const syncswim_message) -> syncswim_status {
    status(|| Ok(MESSAGES.get(message)?.status))
}

/// How many messages and broadcasts of that member are lost for the inbox, because it was full, or because broadcasts did
/// not arrive and never will. Such a message has no topic and no payload; it has no sender if it counts losses of many
/// members together. 0 if it is another kind of message, or if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_lost(message: *const syncswim_message) -> u64 {
    value(0, || Ok(MESSAGES.get(message)?.lost))
}

/// The number of a broadcast in an inbox, which its sender counts from 1 in each of its lives. 0 if it is not a broadcast,
/// or if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_seq(message: *const syncswim_message) -> u64 {
    value(0, || Ok(MESSAGES.get(message)?.broadcast.seq))
}

/// The stamp of a broadcast, which orders the broadcasts of all senders as far as they had received each other's:
/// milliseconds since 1970 by its sender's clock, times 65,536, or more if its sender had received a greater one. 0 as for
/// syncswim_message_seq.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_stamp(message: *const syncswim_message) -> u64 {
    value(0, || Ok(MESSAGES.get(message)?.broadcast.stamp))
}

/// How many broadcasts of its sender just before this one are missing; they may still arrive late. 0 as for
/// syncswim_message_seq.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_gap(message: *const syncswim_message) -> u64 {
    value(0, || Ok(MESSAGES.get(message)?.broadcast.gap))
}

/// 1 if later broadcasts of its sender were delivered before this one. 0 if not, and as for syncswim_message_seq.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_late(message: *const syncswim_message) -> c_int {
    value(0, || Ok(c_int::from(MESSAGES.get(message)?.broadcast.late)))
}

/// Frees it. A request that was not answered is thereby refused. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_free(message: *mut syncswim_message) {
    value((), || MESSAGES.remove(message).map(drop));
}
