//! The key–values of a cluster's members.

use std::{
    ffi::{CString, c_char, c_int},
    mem, ptr,
    sync::Arc,
};

use crossbeam_channel::RecvTimeoutError;

use super::{
    cluster::{syncswim_cluster, with_gossip},
    handle::Registry,
    membership::beyond,
    pointer::{Out, bytes, text},
    pollable::{Pollable, put_descriptor},
    status::{
        Failure, SYNCSWIM_CLOSED, SYNCSWIM_ERR_NULL, SYNCSWIM_ERR_RANGE, SYNCSWIM_OK, SYNCSWIM_TIMEOUT,
        c_text, status, syncswim_status, value,
    },
};
use crate::{Entries, EntryChange, EntryWatch};

/// Key-values of members: all at one moment, by owner and key, or the changes that a watch delivered. They never change; any
/// thread may read them, several at a time.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_entries {
    _private: (),
}

/// A subscription to key-values. A slow reader delays nobody: it receives the changes from the state that it has read to the
/// latest one. Any thread may use it; it outlives its cluster, and then reports SYNCSWIM_CLOSED.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_entry_watch {
    _private: (),
}

/// The owner has this value under the key, or has set it.
pub const SYNCSWIM_ENTRY_SET: c_int = 0;
/// The owner has deleted the key. It has no value.
pub const SYNCSWIM_ENTRY_DELETED: c_int = 1;
/// The owner is no longer listed, or has restarted: all its keys are gone. There is no key, and no value.
pub const SYNCSWIM_ENTRY_OWNER_GONE: c_int = 2;

/// One key-value. Set struct_size to sizeof(struct syncswim_entry) before a call: no more than that is written, so
/// that later versions can append fields.
#[derive(Debug)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct syncswim_entry {
    /// The caller's sizeof.
    pub struct_size: usize,
    /// SYNCSWIM_ENTRY_SET, SYNCSWIM_ENTRY_DELETED or SYNCSWIM_ENTRY_OWNER_GONE.
    pub kind: c_int,
    /// The member that owns it. Valid until the entries are freed, as all that is pointed to.
    pub owner: *const c_char,
    /// The key; an empty text if all of the owner are meant.
    pub key: *const c_char,
    /// The value, and how many bytes it has.
    pub value: *const u8,
    /// How many bytes the value has.
    pub value_len: usize,
    /// Which of the owner's changes it was, counted from 1 in each life of the owner.
    pub version: u64,
    /// When it was set, by the owner's clock: milliseconds since 1970, times 65,536.
    pub stamp: u64,
}

static ENTRIES: Registry<syncswim_entries, Vec<Item>> = Registry::new("list of key-values");
static WATCHES: Registry<syncswim_entry_watch, Pollable<EntryWatch>> = Registry::new("watch of key-values");

struct Item {
    kind: c_int,
    owner: CString,
    key: CString,
    entry: Option<crate::Entry>,
}

impl Item {
    fn set(owner: &str, key: &str, entry: &crate::Entry) -> Self {
        let entry = Some(entry.clone());
        Self { kind: SYNCSWIM_ENTRY_SET, owner: c_text(owner), key: c_text(key), entry }
    }

    fn of_change(change: &EntryChange) -> Self {
        let gone =
            |kind, owner: &str, key: &str| Self { kind, owner: c_text(owner), key: c_text(key), entry: None };
        match change {
            EntryChange::Set { owner, key, entry } => Self::set(owner, key, entry),
            EntryChange::Deleted { owner, key } => gone(SYNCSWIM_ENTRY_DELETED, owner, key),
            EntryChange::OwnerGone { owner } => gone(SYNCSWIM_ENTRY_OWNER_GONE, owner, ""),
        }
    }

    fn view(&self) -> syncswim_entry {
        let entry = self.entry.as_ref();
        syncswim_entry {
            struct_size: mem::size_of::<syncswim_entry>(),
            kind: self.kind,
            owner: self.owner.as_ptr(),
            key: self.key.as_ptr(),
            value: entry.map_or(ptr::null(), |entry| entry.value.as_ptr()),
            value_len: entry.map_or(0, |entry| entry.value.len()),
            version: entry.map_or(0, |entry| entry.version),
            stamp: entry.map_or(0, |entry| entry.stamp.as_u64()),
        }
    }
}

/// Sets a key of this node's own map. Only this node writes there, and every member reads it: see syncswim_cluster_entries.
/// Fails with SYNCSWIM_ERR_TOO_LARGE beyond 64 bytes of a key, 15,360 of a value, 256 keys, or 64 KiB of all keys and
/// values; with SYNCSWIM_ERR_BUSY beyond 10 changes a second, 64 at once. `version` is set to the number of this change in
/// this life of the node; it may be NULL. The map is empty after a restart.
///
/// # Safety
/// `key` must end with NUL, `value` have `value_len` bytes, and `version` be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_set(
    cluster: *const syncswim_cluster,
    key: *const c_char,
    value: *const u8,
    value_len: usize,
    version: *mut u64,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (key, value) = unsafe { (text(key, "key")?, bytes(value, value_len, "value")?) };
        let set = with_gossip(cluster, |node| node.set(key, value))??;
        if !version.is_null() {
            // SAFETY: not null, and as the caller of this function promises.
            unsafe { Out::new(version, "version")? }.put(set);
        }
        Ok(SYNCSWIM_OK)
    })
}

/// Deletes a key of this node's own map. A key that does not exist is not an error.
///
/// # Safety
/// `key` must end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_delete(
    cluster: *const syncswim_cluster,
    key: *const c_char,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let key = unsafe { text(key, "key")? };
        with_gossip(cluster, |node| node.delete(key))??;
        Ok(SYNCSWIM_OK)
    })
}

/// All key-values of the listed members at this moment, live or not, this node's own among them, by owner and key.
///
/// # Safety
/// `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_entries(
    cluster: *const syncswim_cluster,
    out: *mut *mut syncswim_entries,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let out = unsafe { Out::new(out, "out")? };
        let entries: Entries = with_gossip(cluster, crate::Gossip::entries)?;
        out.put(
            ENTRIES.insert(entries.iter().map(|(owner, key, entry)| Item::set(owner, key, entry)).collect()),
        );
        Ok(SYNCSWIM_OK)
    })
}

/// How many there are; 0 if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_entries_len(entries: *const syncswim_entries) -> usize {
    value(0, || Ok(ENTRIES.get(entries)?.len()))
}

/// The index of an owner's key; with NULL for the owner, of the key of the owner that set it last. The length if there is
/// none, or if the call failed.
///
/// # Safety
/// `owner` must be NULL or end with NUL, and `key` end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_entries_find(
    entries: *const syncswim_entries,
    owner: *const c_char,
    key: *const c_char,
) -> usize {
    value(0, || {
        let entries = ENTRIES.get(entries)?;
        // SAFETY: as the caller of this function promises.
        let key = unsafe { text(key, "key")? };
        // SAFETY: the same.
        let owner = if owner.is_null() { None } else { Some(unsafe { text(owner, "owner")? }) };
        let is_meant = |item: &Item| {
            item.entry.is_some()
                && item.key.to_bytes() == key.as_bytes()
                && owner.is_none_or(|owner| item.owner.to_bytes() == owner.as_bytes())
        };
        let found = entries.iter().enumerate().filter(|(_, item)| is_meant(item));
        let stamp = |item: &Item| item.entry.as_ref().map(|entry| entry.stamp);
        let last = found.max_by_key(|(_, item)| (stamp(item), item.owner.clone()));
        Ok(last.map_or(entries.len(), |(at, _)| at))
    })
}

/// Writes one entry into `out`, whose struct_size must be set.
///
/// # Safety
/// `out` must be NULL or have struct_size bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_entries_get(
    entries: *const syncswim_entries,
    index: usize,
    out: *mut syncswim_entry,
) -> syncswim_status {
    status(|| {
        if out.is_null() {
            return Err(Failure::new(SYNCSWIM_ERR_NULL, "`out` is NULL"));
        }
        // SAFETY: not null, and the caller set the field.
        let size = unsafe { (&raw const (*out).struct_size).read() };
        if size < mem::size_of::<usize>() || size > 4096 {
            let message = format!("struct_size is {size}: set it to sizeof(struct syncswim_entry)");
            return Err(Failure::new(SYNCSWIM_ERR_RANGE, message));
        }
        let entries: Arc<Vec<Item>> = ENTRIES.get(entries)?;
        let entry = entries.get(index).ok_or_else(|| beyond(index, entries.len()))?.view();
        let known = size.min(mem::size_of::<syncswim_entry>());
        // SAFETY: `out` has `size` bytes, as the caller promises, and `known` is no more.
        unsafe { ptr::copy_nonoverlapping((&raw const entry).cast::<u8>(), out.cast::<u8>(), known) };
        // SAFETY: the same. What the caller knows of the struct is its own.
        unsafe { (&raw mut (*out).struct_size).write(size) };
        Ok(SYNCSWIM_OK)
    })
}

/// Frees entries and all that they point to. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_entries_free(entries: *mut syncswim_entries) {
    value((), || ENTRIES.remove(entries).map(drop));
}

/// Follows a key of all members, or all keys if it is NULL. The first changes lead from nothing to the present state.
///
/// # Safety
/// `key` must be NULL or end with NUL, and `out` be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_watch_entries(
    cluster: *const syncswim_cluster,
    key: *const c_char,
    out: *mut *mut syncswim_entry_watch,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let out = unsafe { Out::new(out, "out")? };
        // SAFETY: the same.
        let key = if key.is_null() { None } else { Some(unsafe { text(key, "key")? }) };
        out.put(WATCHES.insert(Pollable::new(with_gossip(cluster, |node| node.watch_entries(key))?)));
        Ok(SYNCSWIM_OK)
    })
}

/// Waits for the next changes, which the caller frees: up to `timeout_ms` milliseconds, 0 to only look, or for ever if it
/// is negative. Returns SYNCSWIM_TIMEOUT if none came, and SYNCSWIM_CLOSED if none will: then `out` is as it was.
///
/// # Safety
/// `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_entry_watch_next(
    watch: *const syncswim_entry_watch,
    timeout_ms: i64,
    out: *mut *mut syncswim_entries,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let out = unsafe { Out::new(out, "out")? };
        match WATCHES.get(watch)?.next(super::limit(timeout_ms))? {
            Ok(changes) => out.put(ENTRIES.insert(changes.iter().map(Item::of_change).collect())),
            Err(RecvTimeoutError::Timeout) => return Ok(SYNCSWIM_TIMEOUT),
            Err(RecvTimeoutError::Disconnected) => return Ok(SYNCSWIM_CLOSED),
        }
        Ok(SYNCSWIM_OK)
    })
}

/// A descriptor as that of syncswim_watch_fd: readable while a change waits, or none will come any more.
///
/// # Safety
/// `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_entry_watch_fd(
    watch: *const syncswim_entry_watch,
    out: *mut c_int,
) -> syncswim_status {
    // SAFETY: as the caller of this function promises.
    unsafe { put_descriptor(&WATCHES, watch, out) }
}

/// Cancels the watch and frees it. A call that waits for it on another thread is not woken by this; use time-outs. NULL does
/// nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_entry_watch_free(watch: *mut syncswim_entry_watch) {
    value((), || WATCHES.remove(watch).map(drop));
}
