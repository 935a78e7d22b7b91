//! Blocking calls in short slices of time, so that a stop is noticed within one slice.

use std::{
    io::{self, ErrorKind},
    time::{Duration, Instant},
};

use socket2::Socket;

use crate::Stop;

/// The longest that a blocking call goes without a look at the stop flag.
pub(crate) const SLICE: Duration = Duration::from_millis(50);

#[expect(clippy::disallowed_methods, reason = "streams, jobs and clocks are of real time")]
pub(crate) fn now() -> Instant {
    Instant::now()
}

pub(crate) fn pause(length: Duration) {
    Stop::new().wait(length);
}

/// Whether an error only says that nothing has arrived yet.
pub(crate) fn is_nothing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}

/// Whether a non-blocking connect has finished. Its failure is returned as the error.
pub(crate) fn is_connected(socket: &Socket) -> io::Result<bool> {
    if socket.peer_addr().is_ok() {
        return Ok(true);
    }
    socket.take_error()?.map_or(Ok(false), Err)
}
