//! Runs the command of an `exec:` seed: its time and its output have bounds, and it does not outlive a stop.

use std::{io, time::Duration};

/// The most that a command may print, in bytes.
pub(super) const MAX_OUTPUT: usize = 64 << 10;
/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The output of a command, which `sh -c` runs without input.
///
/// # Errors
/// If it cannot be run, takes more than 10 s, prints more than 64 KiB or something that is not UTF-8, ends without success,
/// or is stopped.
pub(super) fn run(command: &str, is_stopped: &dyn Fn() -> bool) -> io::Result<String> {
    run_within(command, LIMIT, is_stopped)
}

#[cfg(not(unix))]
fn run_within(_: &str, _: Duration, _: &dyn Fn() -> bool) -> io::Result<String> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("commands (up to {MAX_OUTPUT} bytes, {LIMIT:?}) need Unix"),
    ))
}

#[cfg(unix)]
fn run_within(command: &str, limit: Duration, is_stopped: &dyn Fn() -> bool) -> io::Result<String> {
    unix::Running::start(command)?.finish(limit, is_stopped)
}

#[cfg(unix)]
mod unix {
    use std::{
        io::{self, ErrorKind, Read},
        os::{
            fd::OwnedFd,
            unix::{net::UnixStream, process::CommandExt},
        },
        process::{Child, Command, Stdio},
        time::Duration,
    };

    use super::MAX_OUTPUT;
    use crate::blocking::{SLICE, is_nothing, now, pause};

    /// A command that runs, in a process group of its own. Dropping it kills the group.
    pub(super) struct Running {
        child: Child,
        /// A socket can be read with a timeout, which ends the wait where a process that the command left behind keeps the
        /// other end open.
        output: UnixStream,
        ended: bool,
    }

    impl Running {
        pub(super) fn start(command: &str) -> io::Result<Self> {
            let (output, theirs) = UnixStream::pair()?;
            output.set_read_timeout(Some(SLICE))?;
            let child = Command::new("sh")
                .args(["-c", command])
                .stdin(Stdio::null())
                .stdout(OwnedFd::from(theirs))
                .stderr(Stdio::null())
                .process_group(0)
                .spawn()?;
            Ok(Self { child, output, ended: false })
        }

        pub(super) fn finish(mut self, limit: Duration, is_stopped: &dyn Fn() -> bool) -> io::Result<String> {
            let end = now().checked_add(limit);
            let (mut text, mut buffer) = (Vec::new(), [0; 4096]);
            let mut is_open = true;
            loop {
                let before = self.has_ended()?;
                let mut more = false;
                if is_open {
                    match self.output.read(&mut buffer) {
                        Ok(0) => is_open = false,
                        Ok(len) => {
                            text.extend_from_slice(&buffer[..len]);
                            if text.len() > MAX_OUTPUT {
                                let problem = format!("it prints more than {MAX_OUTPUT} bytes");
                                return Err(io::Error::new(ErrorKind::InvalidData, problem));
                            }
                            more = true;
                        }
                        Err(error) if is_nothing(&error) => {}
                        Err(error) => return Err(error),
                    }
                } else if !before {
                    pause(SLICE / 5);
                }
                // What was printed before the end has been read by now.
                if before && !more {
                    break;
                }
                if is_stopped() {
                    return Err(io::Error::new(ErrorKind::Interrupted, "it was stopped"));
                }
                if end.is_some_and(|end| now() >= end) {
                    return Err(io::Error::new(
                        ErrorKind::TimedOut,
                        format!("it takes longer than {limit:?}"),
                    ));
                }
            }
            String::from_utf8(text)
                .map_err(|_| io::Error::new(ErrorKind::InvalidData, "it prints what is not UTF-8"))
        }

        /// Whether it has ended successfully; a failure is an error.
        fn has_ended(&mut self) -> io::Result<bool> {
            match self.child.try_wait() {
                Ok(None) => Ok(false),
                Ok(Some(status)) => {
                    self.ended = true;
                    if status.success() {
                        Ok(true)
                    } else {
                        Err(io::Error::other(format!("it failed: {status}")))
                    }
                }
                // A program that ignores SIGCHLD does not learn how its children end.
                Err(_) => {
                    self.ended = true;
                    Ok(true)
                }
            }
        }
    }

    impl Drop for Running {
        fn drop(&mut self) {
            if self.ended {
                return;
            }
            // The standard library cannot kill a process group; the command `kill` can.
            let group = format!("-{}", self.child.id());
            let quiet = || Stdio::null();
            let _ =
                Command::new("kill").args(["-KILL", "--", &group]).stdout(quiet()).stderr(quiet()).status();
            let _ = self.child.kill();
            let _ = self.child.wait();
        }
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        io::ErrorKind,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    #[test]
    fn the_output_of_a_command_is_returned() {
        assert_eq!(run("echo db-1; echo db-2", &|| false).unwrap(), "db-1\ndb-2\n");
        // A process that it left behind keeps its output open.
        assert_eq!(run("sleep 30 & echo db", &|| false).unwrap(), "db\n");
    }

    #[test]
    fn a_command_that_fails_or_prints_too_much_is_an_error() {
        let problem = |command| run(command, &|| false).unwrap_err().to_string();
        assert!(problem("echo db; exit 3").contains("it failed: exit status: 3"));
        assert!(problem("no-such-command-of-ours").contains("it failed"));
        assert!(problem("yes").contains("more than 65536 bytes"));
        assert!(problem("printf '\\377'").contains("UTF-8"));
    }

    #[test]
    fn a_command_that_takes_too_long_or_is_stopped_is_killed_with_its_children() {
        let flag = std::env::temp_dir().join(format!("syncswim-command-{}", std::process::id()));
        let command =
            format!("(trap '' HUP TERM; while :; do sleep 0.05; : > {}; done) | cat", flag.display());
        let error = run_within(&command, Duration::from_millis(300), &|| false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let asked = AtomicBool::new(false);
        let error = run(&command, &|| asked.swap(true, Ordering::Relaxed)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        // One of the processes may have been about to write: then it writes once more at most.
        let end = crate::blocking::now() + Duration::from_secs(60);
        let gone = || {
            let _ = std::fs::remove_file(&flag);
            (0..10).all(|_| !crate::Stop::new().wait(Duration::from_millis(50)) && !flag.exists())
        };
        while !gone() {
            assert!(crate::blocking::now() < end, "it still writes");
        }
    }

    #[test]
    fn a_command_that_always_has_something_to_read_is_stopped_all_the_same() {
        let flag = std::env::temp_dir().join(format!("syncswim-printed-{}", std::process::id()));
        let command = format!("head -c 60000 /dev/zero; : > {}", flag.display());
        let running = unix::Running::start(&command).unwrap();
        let end = crate::blocking::now() + Duration::from_secs(60);
        while !flag.exists() {
            assert!(crate::blocking::now() < end && !crate::Stop::new().wait(Duration::from_millis(5)));
        }
        std::fs::remove_file(&flag).unwrap();
        assert_eq!(running.finish(LIMIT, &|| true).unwrap_err().kind(), ErrorKind::Interrupted);
    }
}
