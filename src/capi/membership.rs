//! The sorted set of peers, and snapshots of it.

use std::{
    ffi::{CString, c_char},
    ptr,
};

use super::{
    handle::Registry,
    pointer::{Out, texts},
    status::{Failure, SYNCSWIM_ERR_RANGE, SYNCSWIM_OK, c_text, status, syncswim_status, value},
    watch::{syncswim_watch, watches},
};
use crate::{Membership, Peer};

/// A sorted set of peers, each either active or left. Any thread may use it, several at a time. It outlives its
/// cluster.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_membership {
    _private: (),
}

/// The set at one moment. It never changes; any thread may read it, several at a time.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_snapshot {
    _private: (),
}

pub(super) static MEMBERSHIPS: Registry<syncswim_membership, Membership> = Registry::new("membership");
static SNAPSHOTS: Registry<syncswim_snapshot, Peers> = Registry::new("snapshot");

struct Peers {
    names: Vec<CString>,
    failed: Vec<CString>,
    active_len: usize,
    majority: usize,
}

/// Marks peers as active, all of them at once. This is the application's report: it decides until a discovery reports
/// something new about them.
///
/// # Safety
/// `peers` must have `count` texts that end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_membership_add(
    membership: *const syncswim_membership,
    peers: *const *const c_char,
    count: usize,
) -> syncswim_status {
    // SAFETY: as the caller of this function promises.
    unsafe { tell(membership, peers, count, |membership, peers| membership.add(peers)) }
}

/// Marks peers as left. It does nothing to peers that are not known.
///
/// # Safety
/// `peers` must have `count` texts that end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_membership_mark_left(
    membership: *const syncswim_membership,
    peers: *const *const c_char,
    count: usize,
) -> syncswim_status {
    // SAFETY: as the caller of this function promises.
    unsafe { tell(membership, peers, count, |membership, peers| membership.mark_left(peers)) }
}

/// Marks peers as left because they failed. It does nothing to peers that are not active.
///
/// # Safety
/// `peers` must have `count` texts that end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_membership_mark_failed(
    membership: *const syncswim_membership,
    peers: *const *const c_char,
    count: usize,
) -> syncswim_status {
    // SAFETY: as the caller of this function promises.
    unsafe { tell(membership, peers, count, |membership, peers| membership.mark_failed(peers)) }
}

/// Forgets peers.
///
/// # Safety
/// `peers` must have `count` texts that end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_membership_remove(
    membership: *const syncswim_membership,
    peers: *const *const c_char,
    count: usize,
) -> syncswim_status {
    // SAFETY: as the caller of this function promises.
    unsafe { tell(membership, peers, count, |membership, peers| membership.remove(peers)) }
}

unsafe fn tell(
    membership: *const syncswim_membership,
    peers: *const *const c_char,
    count: usize,
    word: impl FnOnce(&Membership, Vec<&str>),
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let peers = unsafe { texts(peers, count, "peers")? };
        word(&*MEMBERSHIPS.get(membership)?, peers);
        Ok(SYNCSWIM_OK)
    })
}

/// The number of peers that is more than half of all, those that left included; 1 for an empty set. 0 if the
/// call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_membership_majority(membership: *const syncswim_membership) -> usize {
    value(0, || Ok(MEMBERSHIPS.get(membership)?.majority()))
}

/// The set at this moment.
///
/// # Safety
/// `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_membership_snapshot(
    membership: *const syncswim_membership,
    out: *mut *mut syncswim_snapshot,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let out = unsafe { Out::new(out, "out")? };
        let snapshot = MEMBERSHIPS.get(membership)?.snapshot();
        let texts = |peers: &[Peer]| peers.iter().map(|peer| c_text(peer)).collect();
        let (names, failed) = (texts(snapshot.peers()), texts(snapshot.failed()));
        let (active_len, majority) = (snapshot.active_len(), snapshot.majority());
        out.put(SNAPSHOTS.insert(Peers { names, failed, active_len, majority }));
        Ok(SYNCSWIM_OK)
    })
}

/// A subscription to all changes from now on; the first one delivered is the state at this moment.
///
/// # Safety
/// `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_membership_watch(
    membership: *const syncswim_membership,
    out: *mut *mut syncswim_watch,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let out = unsafe { Out::new(out, "out")? };
        out.put(watches(MEMBERSHIPS.get(membership)?.watch()));
        Ok(SYNCSWIM_OK)
    })
}

/// Frees a handle of a membership. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_membership_free(membership: *mut syncswim_membership) {
    value((), || MEMBERSHIPS.remove(membership).map(drop));
}

/// How many peers there are; 0 if the call failed. The active ones come first, in ascending order of their
/// bytes; then those that left, in the same order.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_snapshot_len(snapshot: *const syncswim_snapshot) -> usize {
    value(0, || Ok(SNAPSHOTS.get(snapshot)?.names.len()))
}

/// How many of them are active: the index of the first that left.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_snapshot_active_len(snapshot: *const syncswim_snapshot) -> usize {
    value(0, || Ok(SNAPSHOTS.get(snapshot)?.active_len))
}

/// The number that is more than half of them. 0 if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_snapshot_majority(snapshot: *const syncswim_snapshot) -> usize {
    value(0, || Ok(SNAPSHOTS.get(snapshot)?.majority))
}

/// A peer. The text is valid until the snapshot is freed; NULL if `index` is not below the length.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_snapshot_peer(snapshot: *const syncswim_snapshot, index: usize) -> *const c_char {
    value(ptr::null(), || at(&SNAPSHOTS.get(snapshot)?.names, index))
}

/// How many of the peers that left have failed: a discovery found that they stopped answering. The others announced that
/// they leave, or their source does not tell how they left. 0 if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_snapshot_failed_len(snapshot: *const syncswim_snapshot) -> usize {
    value(0, || Ok(SNAPSHOTS.get(snapshot)?.failed.len()))
}

/// A peer that failed, in ascending order of the bytes. The text is valid until the snapshot is freed; NULL if
/// `index` is not below the number of those that failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_snapshot_failed_peer(
    snapshot: *const syncswim_snapshot,
    index: usize,
) -> *const c_char {
    value(ptr::null(), || at(&SNAPSHOTS.get(snapshot)?.failed, index))
}

/// Frees a snapshot and its texts. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_snapshot_free(snapshot: *mut syncswim_snapshot) {
    value((), || SNAPSHOTS.remove(snapshot).map(drop));
}

pub(super) fn at(names: &[CString], index: usize) -> Result<*const c_char, Failure> {
    names.get(index).map(|name| name.as_ptr()).ok_or_else(|| beyond(index, names.len()))
}

pub(super) fn beyond(index: usize, len: usize) -> Failure {
    Failure::new(SYNCSWIM_ERR_RANGE, format!("the index {index} is not below the length {len}"))
}
