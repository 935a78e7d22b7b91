//! Watches and the changes that they deliver: by waiting, by a descriptor, or by a callback.

use std::{
    ffi::{CString, c_char, c_int, c_void},
    ptr,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, TryRecvError};

use super::{
    callback::{Context, syncswim_release_fn},
    handle::Registry,
    membership::at,
    pointer::Out,
    pollable::{Pollable, put_descriptor},
    status::{
        Failure, SYNCSWIM_CLOSED, SYNCSWIM_ERR_NULL, SYNCSWIM_ERR_RANGE, SYNCSWIM_OK, SYNCSWIM_TIMEOUT,
        c_text, status, syncswim_status, value,
    },
};
use crate::{MembershipChange, Watch, reader::Reader};

/// A subscription to the changes of a membership. A slow reader delays nobody: the changes that it missed are folded into
/// one that leads to the same state. Any thread may use it; if several read, each change goes to one of them. It outlives
/// its cluster, delivers what was queued, and then reports SYNCSWIM_CLOSED.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_watch {
    _private: (),
}

/// A change: the peers that are now active and were not, those that left, and those that were removed. Any thread may read
/// it, several at a time.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_change {
    _private: (),
}

/// Peers that are active now.
pub const SYNCSWIM_ACTIVE: c_int = 0;
/// Peers that left, whether they said so or failed.
pub const SYNCSWIM_LEFT: c_int = 1;
/// Peers that were removed.
pub const SYNCSWIM_REMOVED: c_int = 2;

/// Receives a change, which it must free. It is called on a thread of its own and may call any function of this library.
#[allow(non_camel_case_types)]
pub type syncswim_watch_fn = Option<unsafe extern "C" fn(context: *mut c_void, change: *mut syncswim_change)>;

static WATCHES: Registry<syncswim_watch, Pollable<Listed>> = Registry::new("watch");
static CHANGES: Registry<syncswim_change, [Vec<CString>; 3]> = Registry::new("change");

/// Of the changes those of the lists that C sees.
struct Listed(Watch);

impl Reader for Listed {
    type Item = MembershipChange;

    fn receiver(&self) -> &Receiver<()> {
        self.0.receiver()
    }

    fn try_recv(&self) -> Result<MembershipChange, TryRecvError> {
        loop {
            let change = self.0.try_recv()?;
            if !change.is_a_correction() {
                return Ok(change);
            }
        }
    }
}

pub(super) fn watches(watch: Watch) -> *mut syncswim_watch {
    WATCHES.insert(Pollable::new(Listed(watch)))
}

pub(super) fn changes(change: &MembershipChange) -> *mut syncswim_change {
    let names = |peers: &[crate::Peer]| peers.iter().map(|peer| c_text(peer)).collect();
    CHANGES.insert([names(&change.active), names(&change.left), names(&change.removed)])
}

/// Waits for the next change, which the caller frees: up to `timeout_ms` milliseconds, 0 to only look, or for
/// ever if it is negative. Returns SYNCSWIM_TIMEOUT if none came, and SYNCSWIM_CLOSED if none will: then `out`
/// is as it was.
///
/// # Safety
/// `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_watch_next(
    watch: *const syncswim_watch,
    timeout_ms: i64,
    out: *mut *mut syncswim_change,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let out = unsafe { Out::new(out, "out")? };
        match WATCHES.get(watch)?.next(super::limit(timeout_ms))? {
            Ok(change) => out.put(changes(&change)),
            Err(RecvTimeoutError::Timeout) => return Ok(SYNCSWIM_TIMEOUT),
            Err(RecvTimeoutError::Disconnected) => return Ok(SYNCSWIM_CLOSED),
        }
        Ok(SYNCSWIM_OK)
    })
}

/// A descriptor for poll, select, epoll and their like: readable while a change is queued, or none will come any
/// more. Do not read from it, write to it or close it: call syncswim_watch_next with a timeout of 0. It is
/// closed when the watch is freed. Each call gives the same one. Not on Windows.
///
/// # Safety
/// `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_watch_fd(watch: *const syncswim_watch, out: *mut c_int) -> syncswim_status {
    // SAFETY: as the caller of this function promises.
    unsafe { put_descriptor(&WATCHES, watch, out) }
}

/// Calls `callback` on a thread of the watch's own with each change, the first one included, until the watch is freed or
/// there will be no more changes. Then, or if this call fails, `release` is called once with the context, unless it is NULL.
/// A watch has one callback at most, and none together with a descriptor.
///
/// syncswim_watch_free waits for a callback that is under way, unless it is called from it.
///
/// # Safety
/// The callbacks must be able to run on another thread with this context until `release` was called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_watch_callback(
    watch: *const syncswim_watch,
    callback: syncswim_watch_fn,
    context: *mut c_void,
    release: syncswim_release_fn,
) -> syncswim_status {
    let context = Context::new(context, release);
    status(|| {
        let callback = callback.ok_or_else(|| Failure::new(SYNCSWIM_ERR_NULL, "the callback is NULL"))?;
        let deliver = move |change: &MembershipChange| {
            // SAFETY: as the caller of this function promises.
            unsafe { callback(context.pointer(), changes(change)) }
        };
        WATCHES.get(watch)?.call(deliver)?;
        Ok(SYNCSWIM_OK)
    })
}

/// Cancels the watch and frees it. A call that waits for it on another thread is not woken by this; use time-outs. NULL does
/// nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_watch_free(watch: *mut syncswim_watch) {
    value((), || WATCHES.remove(watch).map(drop));
}

/// How many peers of a kind (SYNCSWIM_ACTIVE, SYNCSWIM_LEFT or SYNCSWIM_REMOVED) a change has; 0 if the call
/// failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_change_len(change: *const syncswim_change, kind: c_int) -> usize {
    value(0, || Ok(of_kind(&*CHANGES.get(change)?, kind)?.len()))
}

/// A peer, in ascending order of the bytes. The text is valid until the change is freed; NULL if there is none.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_change_peer(
    change: *const syncswim_change,
    kind: c_int,
    index: usize,
) -> *const c_char {
    value(ptr::null(), || at(of_kind(&*CHANGES.get(change)?, kind)?, index))
}

/// Frees a change and its texts. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_change_free(change: *mut syncswim_change) {
    value((), || CHANGES.remove(change).map(drop));
}

fn of_kind(change: &[Vec<CString>; 3], kind: c_int) -> Result<&[CString], Failure> {
    let at = [SYNCSWIM_ACTIVE, SYNCSWIM_LEFT, SYNCSWIM_REMOVED].iter().position(|known| *known == kind);
    at.map(|at| &change[at]).map(Vec::as_slice).ok_or_else(|| {
        let message = format!("{kind} is not a kind: use SYNCSWIM_ACTIVE, SYNCSWIM_LEFT or SYNCSWIM_REMOVED");
        Failure::new(SYNCSWIM_ERR_RANGE, message)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        Membership,
        membership::{Departure, SourceId},
    };

    #[test]
    fn a_change_without_a_list_in_the_c_interface_is_not_given_to_c() {
        let membership = Membership::new().for_source(SourceId(0));
        let watch = Listed(membership.watch());
        membership.list_departed(Departure::Failed, ["a"]);
        membership.list_departed(Departure::Left, ["a"]);
        let told = || watch.try_recv().map(|change| change.to_string());
        assert_eq!([told(), told()], [Ok("nothing changed".into()), Ok("left a; failed a".into())]);
        assert_eq!(told(), Err(TryRecvError::Empty));
        membership.list_departed(Departure::Failed, ["a"]);
        membership.remove(["a"]);
        assert_eq!(told(), Ok("removed a".into()));
        drop(membership);
        assert_eq!(told(), Err(TryRecvError::Disconnected));
    }
}
