//! A subscription as C reads it: by waiting, by a descriptor, or by a callback.

use std::{ffi::c_int, sync::Arc, time::Duration};

use crossbeam_channel::RecvTimeoutError;
use parking_lot::Mutex;

use super::{
    forwarder::Forwarder,
    handle::Registry,
    pointer::Out,
    status::{Failure, SYNCSWIM_ERR_STATE, SYNCSWIM_OK, status, syncswim_status},
};
use crate::reader::Reader;

pub(super) struct Pollable<R: Reader> {
    reader: Arc<R>,
    /// The forwarder that reads the subscription, unless the program does so by waiting.
    forwarder: Mutex<Option<Arc<Forwarder<R::Item>>>>,
}

impl<R: Reader<Item: Send> + Send + Sync + 'static> Pollable<R> {
    pub(super) fn new(reader: R) -> Self {
        Self { reader: Arc::new(reader), forwarder: Mutex::new(None) }
    }

    /// Waits for the next item.
    pub(super) fn next(&self, limit: Duration) -> Result<Result<R::Item, RecvTimeoutError>, Failure> {
        let forwarder = self.forwarder.lock().clone();
        forwarder
            .map_or_else(|| Ok(self.reader.recv_timeout(limit)), |forwarder| forwarder.recv_timeout(limit))
    }

    /// A descriptor that is readable while there is an item, or none will come any more.
    pub(super) fn descriptor(&self) -> Result<c_int, Failure> {
        let known = self.forwarder.lock().clone();
        let forwarder = match known {
            Some(forwarder) => forwarder,
            // If another thread has installed one meanwhile, this one is dropped, and has taken nothing.
            None => self.install(Forwarder::to_descriptor(Arc::clone(&self.reader))?).0,
        };
        forwarder.descriptor()
    }

    /// Calls `deliver` with each item from now on.
    pub(super) fn call(&self, deliver: impl Fn(&R::Item) + Send + 'static) -> Result<(), Failure> {
        let is_ours = self.forwarder.lock().is_none()
            && self.install(Forwarder::to_callback(Arc::clone(&self.reader), deliver)?).1;
        let taken = || Failure::new(SYNCSWIM_ERR_STATE, "the watch has a callback or a descriptor already");
        is_ours.then_some(()).ok_or_else(taken)
    }

    /// Makes a forwarder the reader, unless there is one. Returns the installed one, and whether it is the given one.
    fn install(&self, forwarder: Forwarder<R::Item>) -> (Arc<Forwarder<R::Item>>, bool) {
        let forwarder = Arc::new(forwarder);
        let installed = Arc::clone(self.forwarder.lock().get_or_insert_with(|| Arc::clone(&forwarder)));
        let is_ours = Arc::ptr_eq(&installed, &forwarder);
        if is_ours {
            forwarder.begin();
        }
        (installed, is_ours)
    }
}

/// Puts the descriptor of a subscription, which C names by a handle.
///
/// # Safety
/// `out` must be NULL or writable.
pub(super) unsafe fn put_descriptor<H, R: Reader<Item: Send> + Send + Sync + 'static>(
    registry: &Registry<H, Pollable<R>>,
    handle: *const H,
    out: *mut c_int,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let out = unsafe { Out::new(out, "out")? };
        out.put(registry.get(handle)?.descriptor()?);
        Ok(SYNCSWIM_OK)
    })
}
