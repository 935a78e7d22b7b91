//! A descriptor to wait for: it is readable while its flag is raised, and once the flag is dropped.

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
        let (flag, reader) = UnixStream::pair()?;
        flag.set_nonblocking(true)?;
        reader.set_nonblocking(true)?;
        Ok((flag, reader))
    }

    pub(super) fn raise(end: &End) {
        // At most one byte is in the pipe, so there is room.
        let _ = (&mut &*end).write(&[1]);
    }

    pub(super) fn lower(end: &End) {
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

    pub(super) fn raise(_: &End) {}

    pub(super) fn lower(_: &End) {}

    pub(super) fn descriptor(_: &End) -> i32 {
        -1
    }
}

#[derive(Debug)]
pub(super) struct ReadyFlag(system::End);

#[derive(Debug)]
pub(super) struct ReadyDescriptor(system::End);

pub(super) fn pair() -> Result<(ReadyFlag, ReadyDescriptor), Failure> {
    let (flag, reader) = system::pair().map_err(|problem| failure(&problem))?;
    Ok((ReadyFlag(flag), ReadyDescriptor(reader)))
}

fn failure(problem: &io::Error) -> Failure {
    let status = match problem.kind() {
        io::ErrorKind::Unsupported => super::status::SYNCSWIM_ERR_UNSUPPORTED,
        _ => SYNCSWIM_ERR_SYSTEM,
    };
    Failure::new(status, format!("cannot make a descriptor: {problem}"))
}

impl ReadyFlag {
    pub(super) fn raise(&self) {
        system::raise(&self.0);
    }
}

impl ReadyDescriptor {
    pub(super) fn lower(&self) {
        system::lower(&self.0);
    }

    pub(super) fn descriptor(&self) -> c_int {
        system::descriptor(&self.0)
    }
}
