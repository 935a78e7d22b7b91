//! Handles: numbers that C holds as pointers.
//!
//! A handle is never followed, only looked up. So a handle that was freed, or freed twice, or of another kind, is
//! an error instead of a crash; and an object lives on while a call on another thread uses it.

use std::{
    collections::BTreeMap,
    marker::PhantomData,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
};

use parking_lot::Mutex;

use super::status::{Failure, SYNCSWIM_ERR_HANDLE, SYNCSWIM_ERR_NULL};

/// The source of all handles, so that none is valid for two objects. Never reused.
static NEXT: AtomicUsize = AtomicUsize::new(0x1000);

/// The objects of one kind: `H` is the handle type in C, `T` the object.
pub(super) struct Registry<H, T> {
    what: &'static str,
    objects: Mutex<BTreeMap<usize, Arc<T>>>,
    handle: PhantomData<fn() -> H>,
}

impl<H, T> Registry<H, T> {
    pub(super) const fn new(what: &'static str) -> Self {
        Self { what, objects: Mutex::new(BTreeMap::new()), handle: PhantomData }
    }

    pub(super) fn insert(&self, object: T) -> *mut H {
        let handle = NEXT.fetch_add(16, Ordering::Relaxed);
        self.objects.lock().insert(handle, Arc::new(object));
        std::ptr::without_provenance_mut(handle)
    }

    pub(super) fn get(&self, handle: *const H) -> Result<Arc<T>, Failure> {
        if handle.is_null() {
            return Err(Failure::new(SYNCSWIM_ERR_NULL, format!("the {} is NULL", self.what)));
        }
        self.objects.lock().get(&handle.addr()).cloned().ok_or_else(|| self.unknown())
    }

    /// Takes an object out; `None` for NULL.
    pub(super) fn remove(&self, handle: *mut H) -> Result<Option<Arc<T>>, Failure> {
        if handle.is_null() {
            return Ok(None);
        }
        self.objects.lock().remove(&handle.addr()).map(Some).ok_or_else(|| self.unknown())
    }

    fn unknown(&self) -> Failure {
        let message = format!("that is no {0}: it was freed already, or is something else", self.what);
        Failure::new(SYNCSWIM_ERR_HANDLE, message)
    }
}
