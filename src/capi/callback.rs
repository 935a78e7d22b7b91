//! The context that a host registers with a callback, and its release, which is called once.

use std::ffi::c_void;

use super::status::is_forked;

/// Is called once with the context of a callback when that will not be called any more.
#[allow(non_camel_case_types)]
pub type syncswim_release_fn = Option<unsafe extern "C" fn(context: *mut c_void)>;

#[derive(Debug)]
pub(super) struct Context {
    pointer: *mut c_void,
    release: syncswim_release_fn,
}

// SAFETY: the caller that registers a callback promises that it can run with its context on other threads.
unsafe impl Send for Context {}
// SAFETY: the same.
unsafe impl Sync for Context {}

impl Context {
    pub(super) fn new(pointer: *mut c_void, release: syncswim_release_fn) -> Self {
        Self { pointer, release }
    }

    pub(super) fn pointer(&self) -> *mut c_void {
        self.pointer
    }
}

impl Drop for Context {
    fn drop(&mut self) {
        if let Some(release) = self.release.filter(|_| !is_forked()) {
            // SAFETY: the caller that registered it promised that it can be called so; and this is the only call.
            unsafe { release(self.pointer) }
        }
    }
}
