//! Messages, requests and queries of the gossip node behind a cluster.

use std::{
    ffi::{CString, c_char, c_int},
    ptr,
};

use crossbeam_channel::RecvTimeoutError;
use parking_lot::Mutex;

use super::{
    cluster::{syncswim_cluster, with_gossip},
    handle::Registry,
    pointer::{Out, bytes, text},
    status::{
        Failure, SYNCSWIM_CLOSED, SYNCSWIM_ERR_BUSY, SYNCSWIM_ERR_NO_READER, SYNCSWIM_ERR_NOT_REACHED,
        SYNCSWIM_ERR_REFUSED, SYNCSWIM_ERR_STATE, SYNCSWIM_ERR_TOO_LARGE, SYNCSWIM_ERR_UNANSWERED,
        SYNCSWIM_OK, SYNCSWIM_TIMEOUT, c_text, status, syncswim_status, value,
    },
};
use crate::{
    Answer, Filter, Inbox, InboxItem, MemberLife, Message, MessageKind, Query, QueryAnswer, QueryAnswers,
    QueryProblem, Request, Requests, Topics,
};

/// It was sent to this member.
pub const SYNCSWIM_MESSAGE_SENT: c_int = 0;
/// It was broadcast to all.
pub const SYNCSWIM_MESSAGE_BROADCAST: c_int = 1;
/// It says how many messages and broadcasts are lost.
pub const SYNCSWIM_MESSAGE_LOST: c_int = 2;
/// It is to be answered.
pub const SYNCSWIM_MESSAGE_REQUEST: c_int = 3;
/// It is an answer, or says why there is none.
pub const SYNCSWIM_MESSAGE_ANSWER: c_int = 4;

/// Something that a member said: a message, a request, or an answer. Any thread may read it, several at a time.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_message {
    _private: (),
}

/// An inbox. Any thread may use it; if several read, each message goes to one of them. It outlives its cluster, delivers
/// what was queued, and then reports SYNCSWIM_CLOSED.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_inbox {
    _private: (),
}

/// The requests of a topic, to be answered. Any thread may use it; if several read, each request goes to one of them.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_requests {
    _private: (),
}

/// The answers to a query, as they come in. Any thread may use it; if several read, each answer goes to one of them.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_answers {
    _private: (),
}

static MESSAGES: Registry<syncswim_message, Object> = Registry::new("message");
static INBOXES: Registry<syncswim_inbox, Inbox> = Registry::new("inbox");
static REQUESTS: Registry<syncswim_requests, Requests> = Registry::new("requests");
static ANSWERS: Registry<syncswim_answers, QueryAnswers> = Registry::new("answers");

struct Object {
    from: CString,
    epoch: u64,
    topic: CString,
    payload: Payload,
    status: syncswim_status,
    kind: c_int,
    lost: u64,
    broadcast: OfBroadcast,
    /// Of a request, until it is answered.
    request: Mutex<Option<Request>>,
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

    fn of_item(item: InboxItem) -> Self {
        match item {
            InboxItem::Message(Message { from, topic, payload, kind, .. }) => {
                let (kind, broadcast) = match kind {
                    MessageKind::Sent => (SYNCSWIM_MESSAGE_SENT, OfBroadcast::default()),
                    MessageKind::Broadcast { seq, stamp, gap, late } => {
                        (SYNCSWIM_MESSAGE_BROADCAST, OfBroadcast { seq, stamp: stamp.as_u64(), gap, late })
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

    fn of_request(request: Request) -> Self {
        let (from, kind) = (request.from(), SYNCSWIM_MESSAGE_REQUEST);
        let object = Self::new(kind, &from, request.topic(), request.payload().into());
        Self { request: Mutex::new(Some(request)), ..object }
    }

    fn of_request_answer(Answer { from, payload, .. }: Answer) -> Self {
        Self::new(SYNCSWIM_MESSAGE_ANSWER, &from, "", payload)
    }

    fn of_answer(QueryAnswer { member, result, .. }: QueryAnswer) -> Self {
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

fn put(
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

/// Sends a message to a member, and waits until it is in that member's inboxes for the topic: then, and only then, the call
/// returns SYNCSWIM_OK. Waits for `timeout_ms` milliseconds at most, or a day if it is negative; not for 0.
/// SYNCSWIM_ERR_UNANSWERED says that it may have arrived, SYNCSWIM_ERR_UNKNOWN_MEMBER, SYNCSWIM_ERR_NOT_REACHED,
/// SYNCSWIM_ERR_NO_READER, SYNCSWIM_ERR_BUSY and SYNCSWIM_ERR_TOO_LARGE (1 MiB is the most) that it has not.
///
/// # Safety
/// `member` and `topic` must end with NUL; `payload` must have `length` bytes, and may be NULL if there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_send(
    cluster: *const syncswim_cluster,
    member: *const c_char,
    topic: *const c_char,
    payload: *const u8,
    length: usize,
    timeout_ms: i64,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (member, topic) = unsafe { (text(member, "member")?, text(topic, "topic")?) };
        // SAFETY: the same.
        let payload = unsafe { bytes(payload, length, "payload")? };
        let limit = super::limit(timeout_ms);
        with_gossip(cluster, |node| node.send_within(member, topic, payload, limit))??;
        Ok(SYNCSWIM_OK)
    })
}

/// Asks a member, and waits for the answer of its application, which the caller frees. Errors as for
/// syncswim_cluster_send, and SYNCSWIM_ERR_REFUSED if the application there refuses.
///
/// # Safety
/// As for syncswim_cluster_send; `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_request(
    cluster: *const syncswim_cluster,
    member: *const c_char,
    topic: *const c_char,
    payload: *const u8,
    length: usize,
    timeout_ms: i64,
    out: *mut *mut syncswim_message,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (member, topic) = unsafe { (text(member, "member")?, text(topic, "topic")?) };
        // SAFETY: the same.
        let (payload, out) = unsafe { (bytes(payload, length, "payload")?, Out::new(out, "out")?) };
        let limit = super::limit(timeout_ms);
        let answer = with_gossip(cluster, |node| node.request(member, topic, payload, limit))??;
        out.put(MESSAGES.insert(Object::of_request_answer(answer)));
        Ok(SYNCSWIM_OK)
    })
}

/// Opens an inbox for what members send to a topic from now on: to all that begin with a text if there is "*" behind it, to
/// all if there is nothing else. It holds up to 1,024 messages of one host, and about 4 MiB of them, but no more than those
/// of all hosts leave free of 2,048 and of 8 MiB; and as many broadcasts. What comes while it is full is lost for it
/// (syncswim_message_lost), or refused with SYNCSWIM_ERR_BUSY if no other inbox takes it. SYNCSWIM_ERR_BUSY is also the 65th
/// inbox.
///
/// # Safety
/// `topics` must end with NUL; `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_inbox(
    cluster: *const syncswim_cluster,
    topics: *const c_char,
    out: *mut *mut syncswim_inbox,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (topics, out) = unsafe { (text(topics, "topics")?, Out::new(out, "out")?) };
        let topics = topics.strip_suffix('*').map_or_else(|| topics.into(), Topics::prefix);
        out.put(INBOXES.insert(with_gossip(cluster, |node| node.inbox(topics))??));
        Ok(SYNCSWIM_OK)
    })
}

/// Waits for the next message, which the caller frees: up to `timeout_ms` milliseconds, 0 to only look, or for ever if it is
/// negative. Returns SYNCSWIM_TIMEOUT if none came, and SYNCSWIM_CLOSED if none will: then `out` is as it was.
///
/// # Safety
/// `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_inbox_next(
    inbox: *const syncswim_inbox,
    timeout_ms: i64,
    out: *mut *mut syncswim_message,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let out = unsafe { Out::new(out, "out")? };
        let inbox = INBOXES.get(inbox)?;
        put(inbox.recv_timeout(super::limit(timeout_ms)).map(Object::of_item), out)
    })
}

/// Closes an inbox and frees it. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_inbox_free(inbox: *mut syncswim_inbox) {
    value((), || INBOXES.remove(inbox).map(drop));
}

/// Serves a topic: the requests that members send to it are to be answered. Several that serve one topic share its requests.
/// While 256 wait, or 4 MiB, senders get SYNCSWIM_ERR_BUSY. Topics that begin with "syncswim/" are the node's own.
///
/// # Safety
/// `topic` must end with NUL; `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_serve(
    cluster: *const syncswim_cluster,
    topic: *const c_char,
    out: *mut *mut syncswim_requests,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (topic, out) = unsafe { (text(topic, "topic")?, Out::new(out, "out")?) };
        out.put(REQUESTS.insert(with_gossip(cluster, |node| node.serve(topic))??));
        Ok(SYNCSWIM_OK)
    })
}

/// Waits for the next request, as syncswim_inbox_next does. To free it unanswered tells its sender so.
///
/// # Safety
/// `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_requests_next(
    requests: *const syncswim_requests,
    timeout_ms: i64,
    out: *mut *mut syncswim_message,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let out = unsafe { Out::new(out, "out")? };
        let requests = REQUESTS.get(requests)?;
        put(requests.recv_timeout(super::limit(timeout_ms)).map(Object::of_request), out)
    })
}

/// Ends the service and frees it. If it was the last of its topic, the requests that wait are refused with
/// SYNCSWIM_ERR_NO_READER. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_requests_free(requests: *mut syncswim_requests) {
    value((), || REQUESTS.remove(requests).map(drop));
}

/// Answers a request, once: SYNCSWIM_ERR_STATE if it is none, or was answered. SYNCSWIM_ERR_TOO_LATE if its sender has given up.
/// SYNCSWIM_OK says that the answer is on its way.
///
/// # Safety
/// `payload` must have `length` bytes, and may be NULL if there are none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_request_answer(
    request: *const syncswim_message,
    payload: *const u8,
    length: usize,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let payload = unsafe { bytes(payload, length, "payload")? };
        take_request(request)?.answer(payload)?;
        Ok(SYNCSWIM_OK)
    })
}

/// Refuses a request, once. What is beyond 512 bytes of the reason is cut off. Errors as for syncswim_request_answer.
///
/// # Safety
/// `reason` must end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_request_refuse(
    request: *const syncswim_message,
    reason: *const c_char,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let reason = unsafe { text(reason, "reason")? };
        take_request(request)?.refuse(reason)?;
        Ok(SYNCSWIM_OK)
    })
}

fn take_request(message: *const syncswim_message) -> Result<Request, Failure> {
    let request = MESSAGES.get(message)?.request.lock().take();
    let none = || Failure::new(SYNCSWIM_ERR_STATE, "it is not a request, or was answered already");
    request.ok_or_else(none)
}

/// Asks all live members that a filter matches, this node included if it does: "" for all, "role=db,!zone=a", "@others" for
/// all but this node. syncswim_answers_next hands out one result for each.
///
/// # Safety
/// As for syncswim_cluster_send; `filter` must end with NUL; `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_query(
    cluster: *const syncswim_cluster,
    filter: *const c_char,
    topic: *const c_char,
    payload: *const u8,
    length: usize,
    timeout_ms: i64,
    out: *mut *mut syncswim_answers,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (filter, topic) = unsafe { (text(filter, "filter")?, text(topic, "topic")?) };
        // SAFETY: the same.
        let (payload, out) = unsafe { (bytes(payload, length, "payload")?, Out::new(out, "out")?) };
        let query = Query::new(topic).payload(payload).to(filter.parse::<Filter>()?);
        let query = query.within(super::limit(timeout_ms));
        out.put(ANSWERS.insert(with_gossip(cluster, |node| node.query(&query))??));
        Ok(SYNCSWIM_OK)
    })
}

/// Waits for the next result of a query, as syncswim_inbox_next does; syncswim_message_status says what it is.
/// SYNCSWIM_CLOSED: each member has had its result.
///
/// # Safety
/// `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_answers_next(
    answers: *const syncswim_answers,
    timeout_ms: i64,
    out: *mut *mut syncswim_message,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let out = unsafe { Out::new(out, "out")? };
        let answers = ANSWERS.get(answers)?;
        let next = answers.recv_timeout(super::limit(timeout_ms));
        put(next.map(Object::of_answer), out)
    })
}

/// Frees the results of a query. If it is not over, it is cancelled: members that were not asked yet will not be. NULL does
/// nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_answers_free(answers: *mut syncswim_answers) {
    value((), || ANSWERS.remove(answers).map(drop));
}

/// The name of the member that said it. Valid until it is freed; NULL if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_from(message: *const syncswim_message) -> *const c_char {
    value(ptr::null(), || Ok(MESSAGES.get(message)?.from.as_ptr()))
}

/// In which life of that member: the epoch in syncswim_member. 0 if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_epoch(message: *const syncswim_message) -> u64 {
    value(0, || Ok(MESSAGES.get(message)?.epoch))
}

/// The topic that it was sent to; of an answer empty. Valid until it is freed; NULL if the call failed.
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

/// What it is: SYNCSWIM_MESSAGE_SENT and those that follow. -1 if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_kind(message: *const syncswim_message) -> c_int {
    value(-1, || Ok(MESSAGES.get(message)?.kind))
}

/// SYNCSWIM_OK. A result of a query that is not an answer has the same errors as syncswim_cluster_request:
/// SYNCSWIM_ERR_REFUSED, SYNCSWIM_ERR_NO_READER, SYNCSWIM_ERR_BUSY, SYNCSWIM_ERR_TOO_LARGE; SYNCSWIM_ERR_UNANSWERED if the
/// member was asked and may have acted, SYNCSWIM_ERR_NOT_REACHED if it was not reached, so that it has not. The payload says
/// in words why.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_status(message: *const syncswim_message) -> syncswim_status {
    status(|| Ok(MESSAGES.get(message)?.status))
}

/// How many messages and broadcasts of that member are lost for the inbox: it was full, or broadcasts did not come and will
/// not. It has no topic and no payload then; and no sender, if it is what was lost of many members together. 0 if it says
/// something, or if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_lost(message: *const syncswim_message) -> u64 {
    value(0, || Ok(MESSAGES.get(message)?.lost))
}

/// The number of a broadcast in an inbox, which its sender counts from 1 in each of its lives. 0 if it is a message to this
/// node alone, or something else, or if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_seq(message: *const syncswim_message) -> u64 {
    value(0, || Ok(MESSAGES.get(message)?.broadcast.seq))
}

/// Of a broadcast: its stamp, which orders those of all senders, as far as they heard of each other. Else 0.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_stamp(message: *const syncswim_message) -> u64 {
    value(0, || Ok(MESSAGES.get(message)?.broadcast.stamp))
}

/// Of a broadcast: so many of its sender just before it are missing, and may still come, late. 0 as for syncswim_message_seq.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_gap(message: *const syncswim_message) -> u64 {
    value(0, || Ok(MESSAGES.get(message)?.broadcast.gap))
}

/// Of a broadcast: 1 if later ones of its sender came before it, or it counted as lost. Else 0.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_late(message: *const syncswim_message) -> c_int {
    value(0, || Ok(c_int::from(MESSAGES.get(message)?.broadcast.late)))
}

/// Frees it. A request that was not answered is refused so. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_message_free(message: *mut syncswim_message) {
    value((), || MESSAGES.remove(message).map(drop));
}
