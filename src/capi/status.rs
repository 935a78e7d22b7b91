//! The end of a call: a status for the caller, an error message for its thread. No panic crosses into C.

use std::{
    any::Any,
    cell::RefCell,
    ffi::{CStr, CString, c_char},
    panic::{AssertUnwindSafe, catch_unwind},
    sync::atomic::{AtomicU32, Ordering},
};

use crate::{Error, error::message_of};

/// The outcome of a call: 0 is success, a positive number an outcome that is not an error, a negative one an error. The
/// numbers never change their meaning; new ones may be added.
#[allow(non_camel_case_types)]
pub type syncswim_status = i32;

/// Success.
pub const SYNCSWIM_OK: syncswim_status = 0;
/// The time was over before it happened. The call can be repeated.
pub const SYNCSWIM_TIMEOUT: syncswim_status = 1;
/// There will be no more items: the cluster has ended. All that was queued has been delivered.
pub const SYNCSWIM_CLOSED: syncswim_status = 2;

/// A pointer that must not be NULL is NULL.
pub const SYNCSWIM_ERR_NULL: syncswim_status = -1;
/// A text is not UTF-8, or holds a NUL.
pub const SYNCSWIM_ERR_TEXT: syncswim_status = -2;
/// A handle was freed already, or is of another kind.
pub const SYNCSWIM_ERR_HANDLE: syncswim_status = -3;
/// The call comes at the wrong time: before the start, after it, or after the end.
pub const SYNCSWIM_ERR_STATE: syncswim_status = -4;
/// An argument, or a value of the configuration, cannot work. The message names it.
pub const SYNCSWIM_ERR_CONFIG: syncswim_status = -5;
/// The address cannot be bound: it is taken, or not of this host.
pub const SYNCSWIM_ERR_BIND: syncswim_status = -6;
/// A name has no address.
pub const SYNCSWIM_ERR_RESOLVE: syncswim_status = -7;
/// No seed could be joined.
pub const SYNCSWIM_ERR_JOIN: syncswim_status = -8;
/// A live node has this node's name.
pub const SYNCSWIM_ERR_NAME_TAKEN: syncswim_status = -9;
/// The system refused a thread, a descriptor or the file of a recording; or the state file cannot be used.
pub const SYNCSWIM_ERR_SYSTEM: syncswim_status = -10;
/// A discovery failed in another way. The message says how.
pub const SYNCSWIM_ERR_DISCOVERY: syncswim_status = -11;
/// Something panicked inside. That is a bug in syncswim; the object should be freed.
pub const SYNCSWIM_ERR_PANIC: syncswim_status = -12;
/// This process was forked from the one that uses the library. Call exec, or use the library only there.
pub const SYNCSWIM_ERR_FORKED: syncswim_status = -13;
/// An index is beyond the end, or a number out of range.
pub const SYNCSWIM_ERR_RANGE: syncswim_status = -14;
/// This platform cannot do it.
pub const SYNCSWIM_ERR_UNSUPPORTED: syncswim_status = -15;
/// No member of that name is listed.
pub const SYNCSWIM_ERR_UNKNOWN_MEMBER: syncswim_status = -16;
/// The member has failed or left, or was not reached. It did not act; but a member that did not confirm a broadcast may have
/// received it.
pub const SYNCSWIM_ERR_NOT_REACHED: syncswim_status = -17;
/// The member has no reader for the topic. The message was not delivered.
pub const SYNCSWIM_ERR_NO_READER: syncswim_status = -18;
/// A queue at the member is full, or too much is under way in this node. The message was not delivered.
pub const SYNCSWIM_ERR_BUSY: syncswim_status = -19;
/// A size exceeds its limit. Nothing was delivered.
pub const SYNCSWIM_ERR_TOO_LARGE: syncswim_status = -20;
/// No answer came in time, or the member failed, restarted or left meanwhile: it may have acted.
pub const SYNCSWIM_ERR_UNANSWERED: syncswim_status = -21;
/// The application there refused. The message says why.
pub const SYNCSWIM_ERR_REFUSED: syncswim_status = -22;
/// The member is live, and that can be done only with a failed one.
pub const SYNCSWIM_ERR_STILL_LIVE: syncswim_status = -23;
/// The requester has given up, so the answer was not delivered.
pub const SYNCSWIM_ERR_TOO_LATE: syncswim_status = -24;

/// A status with its message.
#[derive(Debug)]
pub(super) struct Failure {
    status: syncswim_status,
    message: String,
}

impl Failure {
    pub(super) fn new(status: syncswim_status, message: impl Into<String>) -> Self {
        Self { status, message: message.into() }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self { status: status_of(&error), message: error.report() }
    }
}

fn status_of(error: &Error) -> syncswim_status {
    match error {
        Error::Bind { .. } => SYNCSWIM_ERR_BIND,
        Error::Config { .. } | Error::Invalid { .. } | Error::Key { .. } => SYNCSWIM_ERR_CONFIG,
        Error::Resolve { .. } => SYNCSWIM_ERR_RESOLVE,
        Error::Join { .. } | Error::AddressUnreachable { .. } => SYNCSWIM_ERR_JOIN,
        Error::NameTaken { .. } => SYNCSWIM_ERR_NAME_TAKEN,
        Error::Spawn { .. }
        | Error::Randomness { .. }
        | Error::Recording { .. }
        | Error::StateFile { .. } => SYNCSWIM_ERR_SYSTEM,
        Error::Discovery { source, .. } => {
            source.downcast_ref::<Error>().map_or(SYNCSWIM_ERR_DISCOVERY, status_of)
        }
        Error::Panicked { .. } => SYNCSWIM_ERR_PANIC,
        Error::UnknownMember { .. } => SYNCSWIM_ERR_UNKNOWN_MEMBER,
        Error::NotLive { .. } | Error::NotReached { .. } => SYNCSWIM_ERR_NOT_REACHED,
        Error::NoReader { .. } => SYNCSWIM_ERR_NO_READER,
        Error::Busy { .. } => SYNCSWIM_ERR_BUSY,
        Error::TooLarge { .. } => SYNCSWIM_ERR_TOO_LARGE,
        Error::Unanswered { .. } => SYNCSWIM_ERR_UNANSWERED,
        Error::Refused { .. } => SYNCSWIM_ERR_REFUSED,
        Error::TooLate => SYNCSWIM_ERR_TOO_LATE,
        Error::StillLive { .. } => SYNCSWIM_ERR_STILL_LIVE,
        Error::Left | Error::Stopped => SYNCSWIM_ERR_STATE,
        Error::Timeout { .. } | Error::LeaveUnconfirmed { .. } => SYNCSWIM_TIMEOUT,
    }
}

thread_local! {
    static LAST_ERROR: RefCell<CString> = RefCell::default();
}

/// The message of this thread's last call that failed; an empty text if none did. Valid until the next call on
/// this thread that fails, or the thread's end. May be called at any time, after a fork as well.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_last_error() -> *const c_char {
    // While the thread ends, its message is gone.
    LAST_ERROR.try_with(|last| last.borrow().as_ptr()).unwrap_or(c"".as_ptr())
}

fn remember(message: &str) {
    let text = CString::new(message.replace('\0', "\u{fffd}")).unwrap_or_default();
    let _ = LAST_ERROR.try_with(|last| *last.borrow_mut() = text);
}

/// The process that uses the library; 0 until one does.
static OWNER: AtomicU32 = AtomicU32::new(0);

/// Whether this process is not the one that uses the library, but a fork of it.
pub(super) fn is_forked() -> bool {
    let own = std::process::id();
    OWNER.compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed).is_err_and(|owner| owner != own)
}

/// Runs a call's work. Every exported function that does more than return a constant goes through here or
/// through [`value`].
pub(super) fn status(work: impl FnOnce() -> Result<syncswim_status, Failure>) -> syncswim_status {
    // Before any lock is taken: in a forked child, the thread that held it does not exist.
    let ended = if is_forked() {
        let message = "this process was forked from the one that uses syncswim: call exec first";
        Err(Failure::new(SYNCSWIM_ERR_FORKED, message))
    } else {
        catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| Err(Failure::panicked(&*panic)))
    };
    ended.unwrap_or_else(|failure| {
        remember(&failure.message);
        failure.status
    })
}

/// The same for calls that return a value, and `otherwise` if they fail.
pub(super) fn value<T>(otherwise: T, work: impl FnOnce() -> Result<T, Failure>) -> T {
    let mut result = otherwise;
    status(|| {
        result = work()?;
        Ok(SYNCSWIM_OK)
    });
    result
}

impl Failure {
    pub(super) fn to_parts(&self) -> (syncswim_status, String) {
        (self.status, self.message.clone())
    }

    fn panicked(panic: &(dyn Any + Send)) -> Self {
        Self::new(
            SYNCSWIM_ERR_PANIC,
            format!("syncswim panicked: {}; this is a bug in it", message_of(panic)),
        )
    }
}

/// A text for C. A NUL within it would end it early, so it is replaced.
pub(super) fn c_text(text: &str) -> CString {
    CString::new(text.replace('\0', "\u{fffd}")).unwrap_or_default()
}

/// The library's version, as "0.1.0". A constant.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_version() -> *const c_char {
    const VERSION: &CStr =
        match CStr::from_bytes_with_nul(concat!(env!("CARGO_PKG_VERSION"), "\0").as_bytes()) {
            Ok(version) => version,
            Err(_) => panic!("a version holds no NUL"),
        };
    VERSION.as_ptr()
}

/// The version of this interface that a program was compiled against.
pub const SYNCSWIM_ABI_VERSION: u32 = 1;

/// The version of this interface in the loaded library. A program must not go on if it is less than SYNCSWIM_ABI_VERSION. It
/// rises with each addition; nothing is removed or changed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_abi_version() -> u32 {
    SYNCSWIM_ABI_VERSION
}

#[cfg(test)]
mod tests {
    use super::*;

    fn last_error() -> String {
        // SAFETY: the pointer is to a text of this thread, read before the next call.
        unsafe { CStr::from_ptr(syncswim_last_error()) }.to_str().unwrap().to_owned()
    }

    #[test]
    fn a_panic_inside_is_a_status_with_its_message() {
        assert_eq!(status(|| panic!("oh\0no")), SYNCSWIM_ERR_PANIC);
        assert!(last_error().contains("oh\u{fffd}no"), "{}", last_error());
        assert_eq!(value(7, || panic!("again")), 7);
    }

    #[test]
    fn success_leaves_the_last_message_alone() {
        assert_eq!(status(|| Err(Failure::new(SYNCSWIM_ERR_STATE, "too early"))), SYNCSWIM_ERR_STATE);
        assert_eq!(status(|| Ok(SYNCSWIM_OK)), SYNCSWIM_OK);
        assert_eq!(last_error(), "too early");
    }

    #[test]
    fn an_error_inside_a_discoverys_error_decides_the_status() {
        let source: crate::BoxError = Error::Stopped.into();
        assert_eq!(status_of(&Error::Discovery { name: "x".into(), source }), SYNCSWIM_ERR_STATE);
        let source: crate::BoxError = "out of ideas".into();
        assert_eq!(status_of(&Error::Discovery { name: "x".into(), source }), SYNCSWIM_ERR_DISCOVERY);
    }
}
