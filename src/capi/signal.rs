//! A descriptor that can be waited for: readable while its bell has rung, or is gone.

use std::{ffi::c_int, io};

use super::status::{Failure, SYNCSWIM_ERR_SYSTEM};

#[cfg(unix)]
mod system {
    use std::{
        io::{self, Read, Write},
        os::{fd::AsRawFd, unix::net::UnixStream},
    };

    pub(in super::super) type End = UnixStream;

    pub(super) fn pair() -> io::Result<(End, End)> {
        let (bell, listener) = UnixStream::pair()?;
        bell.set_nonblocking(true)?;
        listener.set_nonblocking(true)?;
        Ok((bell, listener))
    }

    pub(super) fn ring(end: &End) {
        // At most one byte waits, so there is room.
        let _ = (&mut &*end).write(&[1]);
    }

    pub(super) fn silence(end: &End) {
        let _ = (&mut &*end).read(&mut [0]);
    }

    pub(super) fn descriptor(end: &End) -> i32 {
        end.as_raw_fd()
    }
}

#[cfg(not(unix))]
mod system {
    use std::io;

    pub(in super::super) type End = ();

    pub(super) fn pair() -> io::Result<(End, End)> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn ring(_: &End) {}

    pub(super) fn silence(_: &End) {}

    pub(super) fn descriptor(_: &End) -> i32 {
        -1
    }
}

#[derive(Debug)]
pub(super) struct Bell(system::End);

#[derive(Debug)]
pub(super) struct Listener(system::End);

pub(super) fn pair() -> Result<(Bell, Listener), Failure> {
    let (bell, listener) = system::pair().map_err(|problem| failure(&problem))?;
    Ok((Bell(bell), Listener(listener)))
}

fn failure(problem: &io::Error) -> Failure {
    let status = match problem.kind() {
        io::ErrorKind::Unsupported => super::status::SYNCSWIM_ERR_UNSUPPORTED,
        _ => SYNCSWIM_ERR_SYSTEM,
    };
    Failure::new(status, format!("cannot make a descriptor: {problem}"))
}

impl Bell {
    pub(super) fn ring(&self) {
        system::ring(&self.0);
    }
}

impl Listener {
    pub(super) fn silence(&self) {
        system::silence(&self.0);
    }

    pub(super) fn descriptor(&self) -> c_int {
        system::descriptor(&self.0)
    }
}
