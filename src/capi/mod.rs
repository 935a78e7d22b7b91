//! The C interface (feature `capi`): `include/syncswim.h` is its manual.
//!
//! This is the only place with `unsafe`: in `pointer`, which reads and writes the memory of C, and around callbacks. Every
//! function catches panics, checks its arguments and that this process is not a forked child (`status`), and looks its
//! handles up in a registry (`handle`). No rule of the protocol or of the membership is here.

#![expect(unsafe_code, reason = "C has no other way to call us")]
#![expect(unreachable_pub, reason = "it is reached by its symbols")]

mod broadcasts;
mod callback;
mod cluster;
mod config;
mod entries;
mod forwarder;
mod handle;
mod logger;
mod members;
mod membership;
mod message;
mod messages;
mod pointer;
mod pollable;
mod readiness;
mod report;
mod status;
mod watch;

use std::time::Duration;

/// A timeout from C, in milliseconds. A negative number stands for ever.
fn limit(timeout_ms: i64) -> Duration {
    u64::try_from(timeout_ms).map_or(Duration::MAX, Duration::from_millis)
}
