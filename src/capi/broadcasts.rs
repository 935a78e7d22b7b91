//! Broadcasts of the gossip node behind a cluster. They arrive in inboxes, as messages do.

use std::{
    ffi::{CString, c_char, c_int},
    ptr,
    time::Duration,
};

use super::{
    cluster::{syncswim_cluster, with_gossip},
    handle::Registry,
    membership::{at, beyond},
    pointer::{Out, bytes, text},
    status::{
        SYNCSWIM_ERR_NOT_REACHED, SYNCSWIM_ERR_STATE, SYNCSWIM_ERR_UNANSWERED, SYNCSWIM_OK, c_text, status,
        syncswim_status, value,
    },
};
use crate::{BroadcastMiss, BroadcastReport, Unconfirmed};

/// Which members have a confirmed broadcast. Any thread may read it, several at a time.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_broadcast_report {
    _private: (),
}

static REPORTS: Registry<syncswim_broadcast_report, Object> = Registry::new("broadcast report");

struct Object {
    reached: usize,
    missing: Vec<CString>,
    why: Vec<syncswim_status>,
    repaired: usize,
    p50: u64,
    p99: u64,
}

impl Object {
    fn new(BroadcastReport { reached, missing, repaired, p50, p99, .. }: BroadcastReport) -> Self {
        let each = |BroadcastMiss { member, why }| (c_text(&member.name), status_of(why));
        let (missing, why) = missing.into_iter().map(each).unzip();
        let micros = |time: Option<Duration>| {
            time.map_or(0, |time| u64::try_from(time.as_micros()).unwrap_or(u64::MAX))
        };
        Self { reached, missing, why, repaired, p50: micros(p50), p99: micros(p99) }
    }
}

fn status_of(why: Unconfirmed) -> syncswim_status {
    match why {
        Unconfirmed::Silent => SYNCSWIM_ERR_UNANSWERED,
        Unconfirmed::Failed | Unconfirmed::Left => SYNCSWIM_ERR_NOT_REACHED,
        Unconfirmed::Abandoned => SYNCSWIM_ERR_STATE,
    }
}

/// Sends a payload to every member, this node included, and returns at once. It arrives in the inboxes for the topic, at
/// every member that stays connected for a minute, once and in the order of this node's calls. A payload has at most 512
/// bytes (SYNCSWIM_ERR_TOO_LARGE); a node may broadcast 50 times a second and 256 times at once (SYNCSWIM_ERR_BUSY). If
/// `newest` is not 0, it takes the place of an earlier such broadcast to the topic in a full inbox. `number` is set to the
/// broadcast's number in this life of the node.
///
/// # Safety
/// `topic` must end with NUL; `payload` must have `length` bytes, and may be NULL if there are none; `number` must be NULL
/// or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_broadcast(
    cluster: *const syncswim_cluster,
    topic: *const c_char,
    payload: *const u8,
    length: usize,
    newest: c_int,
    number: *mut u64,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (topic, payload) = unsafe { (text(topic, "topic")?, bytes(payload, length, "payload")?) };
        // SAFETY: the same.
        let number = unsafe { Out::new(number, "number")? };
        let id = with_gossip(cluster, |node| match newest {
            0 => node.broadcast(topic, payload),
            _ => node.broadcast_newest(topic, payload),
        })??;
        number.put(id.seq);
        Ok(SYNCSWIM_OK)
    })
}

/// The same, and waits until all members that are live now have confirmed it (of more than 256 members, a sample), for at
/// most `timeout_ms` milliseconds; 0 is an error. The report, which the caller frees, names the members that have not
/// confirmed it. The payload may have 1 MiB less 64 bytes; one of more than 512 bytes costs a stream for each member, and a
/// member that is not reached in time does not get it later.
///
/// # Safety
/// As for syncswim_cluster_broadcast; `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_broadcast_confirmed(
    cluster: *const syncswim_cluster,
    topic: *const c_char,
    payload: *const u8,
    length: usize,
    timeout_ms: i64,
    out: *mut *mut syncswim_broadcast_report,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (topic, payload) = unsafe { (text(topic, "topic")?, bytes(payload, length, "payload")?) };
        // SAFETY: the same.
        let out = unsafe { Out::new(out, "out")? };
        let limit = super::limit(timeout_ms);
        let report = with_gossip(cluster, |node| node.broadcast_confirmed(topic, payload, limit))??;
        out.put(REPORTS.insert(Object::new(report)));
        Ok(SYNCSWIM_OK)
    })
}

/// How many members confirmed it; 0 if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_broadcast_report_reached(report: *const syncswim_broadcast_report) -> usize {
    value(0, || Ok(REPORTS.get(report)?.reached))
}

/// How many of these confirmed it only after it was sent to them directly; 0 if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_broadcast_report_repaired(report: *const syncswim_broadcast_report) -> usize {
    value(0, || Ok(REPORTS.get(report)?.repaired))
}

/// The microseconds until half of these had confirmed it; 0 if there are none, or if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_broadcast_report_p50(report: *const syncswim_broadcast_report) -> u64 {
    value(0, || Ok(REPORTS.get(report)?.p50))
}

/// The microseconds until 99 of 100 had confirmed it; 0 as for syncswim_broadcast_report_p50.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_broadcast_report_p99(report: *const syncswim_broadcast_report) -> u64 {
    value(0, || Ok(REPORTS.get(report)?.p99))
}

/// How many members did not confirm it; 0 if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_broadcast_report_missing(report: *const syncswim_broadcast_report) -> usize {
    value(0, || Ok(REPORTS.get(report)?.missing.len()))
}

/// The name of the i-th member that did not confirm it, in ascending order. Valid until the report is freed; NULL if the
/// call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_broadcast_report_name(
    report: *const syncswim_broadcast_report,
    i: usize,
) -> *const c_char {
    value(ptr::null(), || at(&REPORTS.get(report)?.missing, i))
}

/// Why that member did not confirm it: SYNCSWIM_ERR_UNANSWERED if it is live and did not answer, SYNCSWIM_ERR_NOT_REACHED if
/// it failed or left meanwhile, SYNCSWIM_ERR_STATE if this node left. In all cases it may have received the broadcast.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_broadcast_report_why(
    report: *const syncswim_broadcast_report,
    i: usize,
) -> syncswim_status {
    status(|| {
        let report = REPORTS.get(report)?;
        report.why.get(i).copied().ok_or_else(|| beyond(i, report.why.len()))
    })
}

/// Frees a report. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_broadcast_report_free(report: *mut syncswim_broadcast_report) {
    value((), || REPORTS.remove(report).map(drop));
}
