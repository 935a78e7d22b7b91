//! Passes the library's log to a host that has no Rust logger.

use std::{
    ffi::{c_char, c_int, c_void},
    sync::Arc,
};

use log::{Level, LevelFilter, Log, Metadata, Record};
use parking_lot::RwLock;

use super::{
    callback::{Context, syncswim_release_fn},
    status::{
        Failure, SYNCSWIM_ERR_RANGE, SYNCSWIM_ERR_STATE, SYNCSWIM_OK, c_text, is_forked, status,
        syncswim_status,
    },
};

/// Receives a line of the log: its level, from 1 (error) to 5 (trace), and its text, valid during the call. It may be called
/// on any thread, several at a time, and must not block for long.
#[allow(non_camel_case_types)]
pub type syncswim_log_fn =
    Option<unsafe extern "C" fn(context: *mut c_void, level: c_int, message: *const c_char)>;

struct Sink {
    callback: unsafe extern "C" fn(*mut c_void, c_int, *const c_char),
    context: Context,
}

static SINK: RwLock<Option<Arc<Sink>>> = RwLock::new(None);
static LOGGER: Logger = Logger;

struct Logger;

impl Log for Logger {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.target().starts_with("syncswim")
    }

    fn log(&self, record: &Record<'_>) {
        if !self.enabled(record.metadata()) || is_forked() {
            return;
        }
        // The lock is released before the host's code runs.
        let sink = SINK.read().clone();
        let Some(sink) = sink else { return };
        let (level, message) = (record.level() as usize as c_int, c_text(&record.args().to_string()));
        // SAFETY: as the caller of `syncswim_log` promised.
        unsafe { (sink.callback)(sink.context.pointer(), level, message.as_ptr()) }
    }

    fn flush(&self) {}
}

/// Passes the library's log, up to a level from 1 (errors only) to 5 (everything), to `callback`, in place of an earlier
/// callback. NULL ends it. It is for the whole process. When a callback will not be called any more, or if this call fails,
/// `release` is called once with its context, unless it is NULL. Fails with SYNCSWIM_ERR_STATE in a process that has a Rust
/// logger already: that logger receives the log.
///
/// # Safety
/// The callbacks must be able to run on any thread with this context until `release` was called.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_log(
    level: c_int,
    callback: syncswim_log_fn,
    context: *mut c_void,
    release: syncswim_release_fn,
) -> syncswim_status {
    let context = Context::new(context, release);
    status(|| {
        let Some(callback) = callback else {
            let before = SINK.write().take();
            // The `release` of the earlier callback runs here, under no lock.
            drop(before);
            return Ok(SYNCSWIM_OK);
        };
        let levels = Level::iter().map(|level| level.to_level_filter());
        let filter = levels.into_iter().find(|known| *known as usize == usize::try_from(level).unwrap_or(0));
        let filter = filter.filter(|filter| *filter != LevelFilter::Off).ok_or_else(|| {
            Failure::new(SYNCSWIM_ERR_RANGE, format!("the level {level} is not from 1 (error) to 5 (trace)"))
        })?;
        install()?;
        let before = SINK.write().replace(Arc::new(Sink { callback, context }));
        log::set_max_level(filter);
        drop(before);
        Ok(SYNCSWIM_OK)
    })
}

fn install() -> Result<(), Failure> {
    static INSTALLED: std::sync::OnceLock<bool> = std::sync::OnceLock::new();
    match INSTALLED.get_or_init(|| log::set_logger(&LOGGER).is_ok()) {
        true => Ok(()),
        false => Err(Failure::new(SYNCSWIM_ERR_STATE, "this process has a logger already: use that one")),
    }
}
