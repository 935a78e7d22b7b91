//! Runs the command of an `exec:` seed: its time and its output have bounds, and it does not outlive a stop.

use std::{io, time::Duration};

/// The most that a command may print, in bytes.
pub(super) const MAX_OUTPUT: usize = 64 << 10;
/// How long a command may take.
const LIMIT: Duration = Duration::from_secs(10);

/// The output of a command, which `sh -c` runs without input.
///
/// # Errors
/// If it cannot be run, takes more than 10 s, prints more than 64 KiB, ends without success, or is stopped.
pub(super) fn run(command: &str, is_stopped: &dyn Fn() -> bool) -> io::Result<Vec<u8>> {
    run_within(command, LIMIT, is_stopped)
}

#[cfg(not(unix))]
fn run_within(_: &str, _: Duration, _: &dyn Fn() -> bool) -> io::Result<Vec<u8>> {
    Err(io::Error::new(
        io::ErrorKind::Unsupported,
        format!("commands (up to {MAX_OUTPUT} bytes, {LIMIT:?}) need Unix"),
    ))
}

#[cfg(unix)]
fn run_within(command: &str, limit: Duration, is_stopped: &dyn Fn() -> bool) -> io::Result<Vec<u8>> {
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

    /// A command that runs, in a process group of its own.
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
            let child = shell(command).stdout(OwnedFd::from(theirs)).process_group(0).spawn()?;
            Ok(Self { child, output, ended: false })
        }

        /// The output of the command, once it has ended. On an error before that, the command is killed with its
        /// process group.
        pub(super) fn finish(
            mut self,
            limit: Duration,
            is_stopped: &dyn Fn() -> bool,
        ) -> io::Result<Vec<u8>> {
            self.read(limit, is_stopped).map_err(|error| match self.kill() {
                Ok(()) => error,
                Err(why) => io::Error::new(
                    error.kind(),
                    format!("{error}; and it may go on, since it could not be killed: {why}"),
                ),
            })
        }

        fn read(&mut self, limit: Duration, is_stopped: &dyn Fn() -> bool) -> io::Result<Vec<u8>> {
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
            Ok(text)
        }

        /// Whether the command has ended; its failure is an error.
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

        fn kill(&mut self) -> io::Result<()> {
            if self.ended {
                return Ok(());
            }
            // The standard library cannot kill a process group. A shell can, without a program `kill`, which images of
            // containers may lack. dash and BusyBox understand `--` differently here.
            let killer = shell(&format!("kill -KILL -{}", self.child.id())).spawn();
            // Where SIGCHLD is ignored, the result is not known.
            let has_failed = killer.map(|mut killer| killer.wait().is_ok_and(|status| !status.success()));
            let _ = self.child.kill();
            let _ = self.child.wait();
            if has_failed? { Err(io::Error::other("`kill` of the shell failed")) } else { Ok(()) }
        }
    }

    /// A shell for a command, without input and output.
    fn shell(command: &str) -> Command {
        let mut shell = Command::new("sh");
        shell.args(["-c", command]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
        shell
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::{
        env, fs,
        io::ErrorKind,
        process::Command,
        sync::atomic::{AtomicBool, Ordering},
    };

    use super::*;

    /// Where the commands of these tests find their programs, also if this process finds only a shell.
    const PROGRAMS: &str = "PATH=/usr/bin:/bin";

    #[test]
    fn the_output_of_a_command_is_returned() {
        assert_eq!(run("echo db-1; echo db-2", &|| false).unwrap(), b"db-1\ndb-2\n");
        // A process that the command left behind keeps its output open.
        assert_eq!(run("sleep 30 & echo db", &|| false).unwrap(), b"db\n");
    }

    #[test]
    fn a_command_that_fails_or_prints_too_much_is_an_error() {
        let problem = |command| run(command, &|| false).unwrap_err().to_string();
        assert!(problem("echo db; exit 3").contains("it failed: exit status: 3"));
        assert!(problem("no-such-command-of-ours").contains("it failed"));
        assert!(problem("yes").contains("more than 65536 bytes"));
    }

    #[test]
    fn a_command_that_takes_too_long_or_is_stopped_is_killed_with_its_children() {
        let flag = env::temp_dir().join(format!("syncswim-command-{}", std::process::id()));
        let command = format!(
            "{PROGRAMS}; (trap '' HUP TERM; while :; do sleep 0.05; : > {}; done) | cat",
            flag.display()
        );
        let error = run_within(&command, Duration::from_millis(300), &|| false).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::TimedOut);
        let asked = AtomicBool::new(false);
        let error = run(&command, &|| asked.swap(true, Ordering::Relaxed)).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        // One of the processes may have been about to write: then it writes once more at most.
        let end = crate::blocking::now() + Duration::from_secs(60);
        let gone = || {
            let _ = fs::remove_file(&flag);
            (0..10).all(|_| !crate::Stop::new().wait(Duration::from_millis(50)) && !flag.exists())
        };
        while !gone() {
            assert!(crate::blocking::now() < end, "it still writes");
        }
    }

    /// Runs a test of this file in a process that finds only a shell.
    fn run_with_only_a_shell(test: &str) {
        let folder = env::temp_dir().join(format!("syncswim-{test}-{}", std::process::id()));
        fs::create_dir(&folder).unwrap();
        std::os::unix::fs::symlink("/bin/sh", folder.join("sh")).unwrap();
        let name = format!("{}::{test}", module_path!().split_once("::").unwrap().1);
        let output = Command::new(env::current_exe().unwrap())
            .args(["--exact", &name, "--include-ignored"])
            .env("PATH", &folder)
            .output();
        fs::remove_dir_all(&folder).unwrap();
        let output = output.unwrap();
        let said = String::from_utf8_lossy(&output.stdout);
        assert!(output.status.success() && said.contains("1 passed"), "{said}");
    }

    #[test]
    fn it_is_killed_with_its_children_where_there_is_no_program_kill() {
        run_with_only_a_shell("a_command_that_takes_too_long_or_is_stopped_is_killed_with_its_children");
    }

    #[test]
    fn that_it_could_not_be_killed_is_reported() {
        run_with_only_a_shell("a_command_that_takes_the_only_shell_away");
    }

    #[test]
    #[ignore = "another runs it, where there is only one shell"]
    fn a_command_that_takes_the_only_shell_away() {
        let command = format!("shell=$PATH/sh; {PROGRAMS}; rm $shell; exec sleep 60");
        let running = unix::Running::start(&command).unwrap();
        let shell = std::path::Path::new(&env::var("PATH").unwrap()).join("sh");
        let end = crate::blocking::now() + Duration::from_secs(60);
        while shell.exists() {
            assert!(crate::blocking::now() < end && !crate::Stop::new().wait(Duration::from_millis(5)));
        }
        let error = running.finish(LIMIT, &|| true).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Interrupted);
        assert!(error.to_string().contains("it may go on"), "{error}");
    }

    #[test]
    fn a_command_that_always_has_something_to_read_is_stopped_all_the_same() {
        let flag = env::temp_dir().join(format!("syncswim-printed-{}", std::process::id()));
        let command = format!("head -c 60000 /dev/zero; : > {}", flag.display());
        let running = unix::Running::start(&command).unwrap();
        let end = crate::blocking::now() + Duration::from_secs(60);
        while !flag.exists() {
            assert!(crate::blocking::now() < end && !crate::Stop::new().wait(Duration::from_millis(5)));
        }
        fs::remove_file(&flag).unwrap();
        assert_eq!(running.finish(LIMIT, &|| true).unwrap_err().kind(), ErrorKind::Interrupted);
    }
}
