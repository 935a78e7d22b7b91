//! Writes a node's recording to its file, on a thread of its own: no other thread waits for the disk.
//!
//! The core hands over chunks under the node's lock, without waiting. Chunks for which the queue has no room stay in the
//! core, up to a bound; beyond it inputs are lost and counted, and the file says so. The thread has no reference to the
//! node: it ends once the recording has, and the recording ends at the next chunk once the thread has.

use std::{
    fs::{self, File},
    io::{self, Seek, Write},
    panic::{AssertUnwindSafe, catch_unwind},
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, RecvTimeoutError, Sender, TryRecvError, TrySendError, bounded};
use parking_lot::Mutex;

use super::{
    clock::{Clock, wall_nanos},
    counters::Counters,
    shared_node::SharedNode,
};
use crate::{
    Error,
    blocking::now,
    error::message_of,
    log_line::{Topic, log},
    private_file,
    recording::{Writer, check_limit, segment_size},
    swim::{Chunk, Refused},
};

/// Chunks that wait for the disk.
const QUEUE: usize = 8;
/// How long the end of a recording waits for the disk, in all.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Turns the recording of a node on and off.
#[derive(Debug)]
pub(super) struct FlightRecorder {
    node: Arc<SharedNode>,
    counters: Arc<Counters>,
    /// Locked while the node's recording is changed, so that the node writes to this file; never while waiting for a
    /// disk.
    open: Mutex<Option<Open>>,
}

#[derive(Debug)]
struct Open {
    chunks: Sender<Chunk>,
    /// Disconnected once the thread has ended.
    ended: Receiver<()>,
    thread: JoinHandle<()>,
}

impl FlightRecorder {
    pub(super) fn new(node: Arc<SharedNode>, counters: Arc<Counters>) -> Self {
        Self { node, counters, open: Mutex::default() }
    }

    /// Begins a file in place of the present one, which goes on if the new one cannot be made.
    pub(super) fn start(&self, path: &Path, limit: u64) -> Result<(), Error> {
        check_limit(limit)?;
        let file = create(path).and_then(|file| Writer::new(file, &self.node.name, limit));
        let file = file.map_err(|source| Error::Recording { path: path.to_owned(), source })?;
        self.begin(path, file, limit)?;
        // The node may have ended before there was a recording to end.
        if self.node.stop.is_stopped() {
            self.stop();
            return Err(self.node.ended());
        }
        Ok(())
    }

    fn begin<F: Write + Seek + Send + 'static>(
        &self,
        path: &Path,
        file: Writer<F>,
        limit: u64,
    ) -> Result<(), Error> {
        let open = self.spawn(path, file)?;
        let sink = open.chunks.clone();
        let take = move |chunk| {
            sink.try_send(chunk).map_err(|refused| match refused {
                TrySendError::Full(chunk) => Refused::Full(chunk),
                TrySendError::Disconnected(_) => Refused::Gone,
            })
        };
        let mut at_hand = self.open.lock();
        let rest = self.node.command(|node, _| {
            let rest = node.stop_recording();
            node.start_recording(segment_size(limit), Box::new(take));
            rest
        });
        let before = at_hand.replace(open);
        drop(at_hand);
        if let Some(before) = before {
            before.finish(rest);
        }
        Ok(())
    }

    fn spawn<F: Write + Seek + Send + 'static>(&self, path: &Path, file: Writer<F>) -> Result<Open, Error> {
        let (chunks, written) = bounded::<Chunk>(QUEUE);
        let (running, ended) = bounded::<()>(0);
        let work = Work {
            node: self.node.name.clone(),
            clock: self.node.clock,
            counters: Arc::clone(&self.counters),
            path: path.to_owned(),
            file,
        };
        let name = format!("{}-rec", self.node.name);
        let thread = std::thread::Builder::new().name(name.clone()).spawn(move || {
            let _running = running;
            work.run(&written);
        });
        let thread = thread.map_err(|source| Error::Spawn { what: format!("thread {name}"), source })?;
        Ok(Open { chunks, ended, thread })
    }

    /// Whether a recording is written. One that ended by itself is at hand until it is stopped or replaced.
    pub(super) fn is_on(&self) -> bool {
        let at_hand = self.open.lock();
        at_hand.as_ref().is_some_and(|open| open.ended.try_recv() == Err(TryRecvError::Empty))
    }

    /// Ends the file, if there is one. Waits for the disk, but with a limit.
    pub(super) fn stop(&self) {
        let mut at_hand = self.open.lock();
        let Some(open) = at_hand.take() else { return };
        let rest = self.node.with(|node, _| node.stop_recording());
        drop(at_hand);
        open.finish(rest);
    }
}

impl Open {
    /// Writes the rest, as far as the disk takes it in time, and ends the thread.
    fn finish(self, rest: impl IntoIterator<Item = Chunk>) {
        let deadline = now() + LAST_WAIT;
        for chunk in rest {
            if self.chunks.send_deadline(chunk, deadline).is_err() {
                break;
            }
        }
        drop(self.chunks);
        if self.ended.recv_deadline(deadline) == Err(RecvTimeoutError::Disconnected) {
            // A panic of the thread, if any, was caught and logged.
            let _ = self.thread.join();
        }
    }
}

/// The state of the thread.
pub(super) struct Work<F> {
    pub(super) node: String,
    pub(super) clock: Clock,
    pub(super) counters: Arc<Counters>,
    pub(super) path: PathBuf,
    pub(super) file: Writer<F>,
}

impl<F: Write + Seek> Work<F> {
    /// Writes until the recording ends or writing fails. A panic ends the recording, but not the node.
    pub(super) fn run(mut self, chunks: &Receiver<Chunk>) {
        let written =
            catch_unwind(AssertUnwindSafe(|| chunks.iter().try_for_each(|chunk| self.write(&chunk))));
        let written = written.unwrap_or_else(|panic| Err(io::Error::other(message_of(&*panic))));
        if let Err(error) = written {
            self.counters.count(|counted| counted.recording_failures += 1);
            let path = self.path.display();
            log(Topic::RecordingEnded, &[("path", &path), ("error", &error), ("node", &self.node)]);
        }
    }

    fn write(&mut self, chunk: &Chunk) -> io::Result<()> {
        if chunk.bytes.is_empty() {
            return Err(io::Error::other("the state of this node does not fit in it: raise its limit"));
        }
        self.file.write(chunk, wall_nanos(), self.clock.now())
    }
}

/// Creates a file, which on Unix only this user may read. An existing regular file at this path is renamed, with `.old`
/// behind its name; nothing else is replaced, and symbolic links are not followed.
fn create(path: &Path) -> io::Result<File> {
    match private_file::find(path)? {
        Some(found) if found.len() > 0 => {
            let mut old = path.as_os_str().to_owned();
            old.push(".old");
            fs::rename(path, old)?;
        }
        Some(_) => fs::remove_file(path)?,
        None => {}
    }
    private_file::create(path)
}

#[cfg(test)]
mod tests {
    use std::{io::Cursor, thread};

    use super::*;
    use crate::{
        gossip::{GossipConfig, running::Running, sockets::Sockets},
        swim::Metrics,
    };

    /// Longer than any machine takes.
    const LONG: Duration = Duration::from_secs(60);
    const LIMIT: u64 = 64 << 20;

    /// A disk that accepts the header, then blocks each write until the test says how it ends.
    struct Hung(Cursor<Vec<u8>>, Receiver<io::ErrorKind>);

    impl Write for Hung {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            if self.0.position() < 1024 {
                return self.0.write(bytes);
            }
            match self.1.recv() {
                Ok(io::ErrorKind::Unsupported) => panic!("a disk of this test"),
                Ok(kind) => Err(kind.into()),
                Err(_) => self.0.write(bytes),
            }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Hung {
        fn seek(&mut self, to: io::SeekFrom) -> io::Result<u64> {
            self.0.seek(to)
        }
    }

    /// A node whose threads do not run.
    fn node() -> Running {
        let config = GossipConfig::local("me").bind(([127, 0, 0, 1], 0));
        let sockets = Sockets::bind(&config).unwrap();
        Running::assemble(config, sockets, Arc::default()).unwrap().0
    }

    /// Records to a disk that blocks until the test says how it fails, or drops the other end of the channel.
    fn record(running: &Running) -> Sender<io::ErrorKind> {
        let (fail, told) = bounded(1);
        let file = Writer::new(Hung(Cursor::default(), told), "me", LIMIT).unwrap();
        running.recorder.begin(Path::new("hung"), file, LIMIT).unwrap();
        fail
    }

    /// Records so many kilobytes.
    fn feed(running: &Running, count: usize) {
        let from = ([127, 0, 0, 1], 9).into();
        (0..count).for_each(|_| running.node.with(|node, now| node.handle_datagram(now, from, &[7; 1024])));
    }

    fn await_metrics(running: &Running, what: &str, is_so: impl Fn(&Metrics) -> bool) {
        let deadline = now() + LONG;
        while !is_so(&running.metrics()) {
            assert!(now() < deadline, "not within {LONG:?}: {what}");
            feed(running, 10);
            crate::blocking::pause(Duration::from_millis(1));
        }
    }

    fn is_recording(running: &Running) -> bool {
        running.node.with(|node, _| node.is_recording())
    }

    #[test]
    fn a_disk_that_fails_or_a_panic_ends_the_recording_and_not_the_node() {
        for kind in [io::ErrorKind::StorageFull, io::ErrorKind::Unsupported] {
            let running = node();
            assert_eq!(running.metrics().recording, 0);
            let fail = record(&running);
            assert_eq!(running.metrics().recording, 1);
            fail.send(kind).unwrap();
            await_metrics(&running, "the failure is counted", |metrics| metrics.recording_failures == 1);
            // The next chunk finds no reader.
            await_metrics(&running, "the recording has ended", |_| !is_recording(&running));
            assert!(!running.node.stop.is_stopped());
            await_metrics(&running, "the gauge falls", |metrics| metrics.recording == 0);
            assert_eq!(running.metrics().recording_failures, 1);
        }
    }

    #[test]
    fn inputs_that_are_lost_are_counted_while_the_disk_hangs() {
        let running = node();
        let disk = record(&running);
        await_metrics(&running, "a loss is counted", |metrics| metrics.recording_lost_inputs > 100);
        drop(disk);
    }

    /// With a wait of a second for each chunk the end would take minutes.
    #[test]
    fn the_end_of_a_node_waits_once_for_a_disk_that_hangs() {
        let running = node();
        let disk = record(&running);
        await_metrics(&running, "the queue is full", |metrics| metrics.recording_lost_inputs > 0);
        let (ended, end) = bounded::<()>(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                running.recorder.stop();
                drop(ended);
            });
            assert_eq!(end.recv_timeout(LONG), Err(RecvTimeoutError::Disconnected));
        });
        drop(disk);
    }

    #[test]
    fn the_thread_of_an_old_recording_does_not_end_the_new_one() {
        let running = node();
        let old = record(&running);
        feed(&running, 100);
        running.recorder.stop();
        assert_eq!(running.metrics().recording, 0);
        let new = record(&running);
        old.send(io::ErrorKind::StorageFull).unwrap();
        await_metrics(&running, "the old one fails", |metrics| metrics.recording_failures == 1);
        assert!(is_recording(&running));
        assert_eq!(running.metrics().recording, 1);
        drop(new);
    }

    #[test]
    fn a_recording_that_begins_while_the_node_ends_is_refused_and_nothing_of_it_stays() {
        let folder = std::env::temp_dir().join(format!("syncswim-late-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let running = node();
        running.node.shut();
        assert!(matches!(running.recorder.start(&folder.join("late"), LIMIT), Err(Error::Stopped)));
        assert!(running.recorder.open.lock().is_none() && !is_recording(&running));
        let weak = Arc::downgrade(&running.node);
        drop(running);
        assert!(weak.upgrade().is_none());
        fs::remove_dir_all(folder).unwrap();
    }

    #[cfg(unix)]
    #[test]
    fn a_recording_is_always_a_new_file_for_its_owner_alone() {
        use std::os::unix::fs::{PermissionsExt as _, symlink};

        let folder = std::env::temp_dir().join(format!("syncswim-mode-{}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        let open_to_all = |name: &str, content: &str| {
            let path = folder.join(name);
            fs::write(&path, content).unwrap();
            fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
            path
        };
        let empty = open_to_all("empty", "");
        create(&empty).unwrap();
        assert_eq!(mode(&empty), 0o600);
        let full = open_to_all("full", "before");
        create(&full).unwrap();
        assert_eq!(
            (mode(&full), fs::read_to_string(folder.join("full.old")).unwrap()),
            (0o600, "before".into())
        );
        for (name, target) in
            [("dangling", folder.join("nothing")), ("link", full), ("device", "/dev/null".into())]
        {
            let link = folder.join(name);
            symlink(&target, &link).unwrap();
            assert!(create(&link).is_err(), "{name}");
        }
        assert!(!folder.join("nothing").exists());
        assert!(create(Path::new("/dev/null")).is_err());
        fs::remove_dir_all(folder).unwrap();
    }
}
