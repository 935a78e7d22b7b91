//! Writes what a node records to its file: on a thread of its own, which alone waits for the disk.
//!
//! The core hands over chunks under the node's lock, without waiting: what the queue has no room for stays in the core, up to
//! a bound, and beyond it inputs are lost, counted, and said in the file.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::{Path, PathBuf},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::{clock::wall_nanos, counters::Counters, shared_node::SharedNode};
use crate::{
    Error,
    log_line::{Topic, log},
    recording::{Writer, check_limit, segment_size},
    swim::Chunk,
};

/// Chunks that wait for the disk.
const QUEUE: usize = 8;
/// How long the end of a recording waits for the disk.
const LAST_WAIT: Duration = Duration::from_secs(1);

/// Turns the recording of a node on and off.
#[derive(Debug)]
pub(super) struct FlightRecorder {
    node: Arc<SharedNode>,
    counters: Arc<Counters>,
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

    /// Begins a file, in place of the one at hand.
    pub(super) fn start(&self, path: &Path, limit: u64) -> Result<(), Error> {
        check_limit(limit)?;
        self.stop();
        let file = create(path).and_then(|file| Writer::new(file, &self.node.name, limit));
        let file = file.map_err(|source| Error::Recording { path: path.to_owned(), source })?;
        let (chunks, written) = bounded::<Chunk>(QUEUE);
        let (running, ended) = bounded::<()>(0);
        let work = Work {
            node: Arc::clone(&self.node),
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
        let sink = chunks.clone();
        self.node.command(|node, now| {
            let take = move |chunk| sink.try_send(chunk).map_err(|refused| refused.into_inner());
            node.start_recording(now, segment_size(limit), Box::new(take));
        });
        *self.open.lock() = Some(Open { chunks, ended, thread });
        Ok(())
    }

    /// Ends the file, if there is one. It waits for the disk, but not for ever.
    pub(super) fn stop(&self) {
        let Some(Open { chunks, ended, thread }) = self.open.lock().take() else { return };
        let rest = self.node.with(|node, _| node.stop_recording());
        for chunk in rest {
            if chunks.send_timeout(chunk, LAST_WAIT).is_err() {
                break;
            }
        }
        drop(chunks);
        if ended.recv_timeout(LAST_WAIT) == Err(crossbeam_channel::RecvTimeoutError::Disconnected) {
            let _ = thread.join();
        }
    }
}

/// What the thread has.
struct Work {
    node: Arc<SharedNode>,
    counters: Arc<Counters>,
    path: PathBuf,
    file: Writer<File>,
}

impl Work {
    fn run(mut self, chunks: &Receiver<Chunk>) {
        for chunk in chunks {
            if let Err(error) = self.write(&chunk) {
                // What the core still holds is of no use.
                self.node.with(|node, _| node.stop_recording());
                self.counters.count(|counted| counted.recording_failures += 1);
                let path = self.path.display();
                log(Topic::RecordingEnded, &[("path", &path), ("error", &error), ("node", &self.node.name)]);
                return;
            }
        }
    }

    fn write(&mut self, chunk: &Chunk) -> io::Result<()> {
        if chunk.bytes.is_empty() {
            return Err(io::Error::other("the state of this node does not fit in it: raise its limit"));
        }
        self.counters.count(|counted| counted.recording_lost_inputs += chunk.lost);
        self.file.write(chunk, wall_nanos(), self.node.now())
    }
}

/// A file that this user alone may read; the one that was there keeps its contents, with `.old` behind its name.
fn create(path: &Path) -> io::Result<File> {
    if fs::metadata(path).is_ok_and(|found| found.is_file() && found.len() > 0) {
        let mut old = path.as_os_str().to_owned();
        old.push(".old");
        fs::rename(path, old)?;
    }
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}
