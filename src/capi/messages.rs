//! Messages, requests and queries of the gossip node behind a cluster.

use std::ffi::{c_char, c_int};

use super::{
    cluster::{syncswim_cluster, with_gossip},
    handle::Registry,
    message::{MESSAGES, Object, put, syncswim_message},
    pointer::{Out, bytes, text},
    pollable::{Pollable, put_descriptor},
    status::{Failure, SYNCSWIM_ERR_STATE, SYNCSWIM_OK, status, syncswim_status, value},
};
use crate::{Filter, Inbox, Query, QueryAnswers, Request, Requests, Topics};

/// An inbox. Any thread may use it; if several read, each message goes to one of them. It outlives its cluster, delivers
/// what was queued, and then reports SYNCSWIM_CLOSED.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_inbox {
    _private: (),
}

/// The requests to a topic. Any thread may use it; if several read, each request goes to one of them.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_requests {
    _private: (),
}

/// The answers to a query as they arrive. Any thread may use it; if several read, each answer goes to one of them.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_answers {
    _private: (),
}

static INBOXES: Registry<syncswim_inbox, Pollable<Inbox>> = Registry::new("inbox");
static REQUESTS: Registry<syncswim_requests, Pollable<Requests>> = Registry::new("requests");
static ANSWERS: Registry<syncswim_answers, Pollable<QueryAnswers>> = Registry::new("answers");

/// Sends a message to a member, and waits until it is in that member's inboxes for the topic: only then the call returns
/// SYNCSWIM_OK. Waits for at most `timeout_ms` milliseconds, or a day if it is negative; 0 is an error.
/// SYNCSWIM_ERR_UNANSWERED says that the message may have arrived; SYNCSWIM_ERR_UNKNOWN_MEMBER, SYNCSWIM_ERR_NOT_REACHED,
/// SYNCSWIM_ERR_NO_READER, SYNCSWIM_ERR_BUSY and SYNCSWIM_ERR_TOO_LARGE (the limit is 1 MiB) say that it has not.
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

/// Sends a request to a member, and waits for the answer of its application, which the caller frees. Errors as for
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

/// Opens an inbox for the messages that members send to a topic from now on. A text with "*" behind it stands for all topics
/// that begin with the text, "*" alone for all topics. The inbox holds up to 1,024 messages of one host, and about 4 MiB of
/// them, but no more than the messages of all hosts leave free of 2,048 and of 8 MiB; and as many broadcasts. Messages that
/// arrive while it is full are lost for it (syncswim_message_lost), or refused with SYNCSWIM_ERR_BUSY if no other inbox
/// takes them. The 65th inbox is refused with SYNCSWIM_ERR_BUSY.
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
        out.put(INBOXES.insert(Pollable::new(with_gossip(cluster, |node| node.inbox(topics))??)));
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
        put(INBOXES.get(inbox)?.next(super::limit(timeout_ms))?.map(Object::of_item), out)
    })
}

/// A descriptor as that of syncswim_watch_fd: readable while a message waits, or none will come any more.
///
/// # Safety
/// `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_inbox_fd(inbox: *const syncswim_inbox, out: *mut c_int) -> syncswim_status {
    // SAFETY: as the caller of this function promises.
    unsafe { put_descriptor(&INBOXES, inbox, out) }
}

/// Closes an inbox and frees it. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_inbox_free(inbox: *mut syncswim_inbox) {
    value((), || INBOXES.remove(inbox).map(drop));
}

/// Serves a topic: the program answers the requests that members send to it. Several services of one topic share its
/// requests. While 256 requests wait, or 4 MiB, senders get SYNCSWIM_ERR_BUSY. Topics that begin with "syncswim/" are the
/// node's own.
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
        out.put(REQUESTS.insert(Pollable::new(with_gossip(cluster, |node| node.serve(topic))??)));
        Ok(SYNCSWIM_OK)
    })
}

/// Waits for the next request, as syncswim_inbox_next does. If the program frees it unanswered, its sender gets a refusal.
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
        put(REQUESTS.get(requests)?.next(super::limit(timeout_ms))?.map(Object::of_request), out)
    })
}

/// A descriptor as that of syncswim_watch_fd: readable while a request waits, or none will come any more. A request that made it
/// readable counts as read: if the service is freed, its sender gets a refusal.
///
/// # Safety
/// `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_requests_fd(
    requests: *const syncswim_requests,
    out: *mut c_int,
) -> syncswim_status {
    // SAFETY: as the caller of this function promises.
    unsafe { put_descriptor(&REQUESTS, requests, out) }
}

/// Ends the service and frees it. If it was the last of its topic, the requests that wait are refused with
/// SYNCSWIM_ERR_NO_READER. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_requests_free(requests: *mut syncswim_requests) {
    value((), || REQUESTS.remove(requests).map(drop));
}

/// Answers a request, once: SYNCSWIM_ERR_STATE if it is not a request, or was answered. SYNCSWIM_ERR_TOO_LATE if its sender
/// has given up. SYNCSWIM_OK says that the answer is on its way.
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

/// Refuses a request, once. The reason is cut to 512 bytes. Errors as for syncswim_request_answer.
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

/// Asks all live members that a filter matches: "" for all, this node included; "role=db,!zone=a"; "@others" for all but
/// this node. syncswim_answers_next returns one result for each.
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
        out.put(ANSWERS.insert(Pollable::new(with_gossip(cluster, |node| node.query(&query))??)));
        Ok(SYNCSWIM_OK)
    })
}

/// Waits for the next result of a query, as syncswim_inbox_next does; syncswim_message_status says whether it is an answer.
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
        put(ANSWERS.get(answers)?.next(super::limit(timeout_ms))?.map(Object::of_answer), out)
    })
}

/// A descriptor as that of syncswim_watch_fd: readable while a result waits, or none will come any more.
///
/// # Safety
/// `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_answers_fd(
    answers: *const syncswim_answers,
    out: *mut c_int,
) -> syncswim_status {
    // SAFETY: as the caller of this function promises.
    unsafe { put_descriptor(&ANSWERS, answers, out) }
}

/// Frees the results of a query. A query that is not over is cancelled: members that were not asked yet will not be. NULL
/// does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_answers_free(answers: *mut syncswim_answers) {
    value((), || ANSWERS.remove(answers).map(drop));
}
