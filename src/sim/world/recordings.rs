//! Recordings of the nodes of a world.

use std::{
    collections::VecDeque,
    io::Cursor,
    mem,
    sync::{Arc, Mutex, PoisonError},
};

use super::{ORIGIN, World};
use crate::{
    recording::{Recording, Writer, segment_size},
    swim::{Chunk, Node, Time},
};

/// The time at which a world begins, in nanoseconds since 1970.
const EPOCH: u64 = 1_700_000_000 * 1_000_000_000;

type Chunks = Arc<Mutex<VecDeque<Chunk>>>;

/// The recordings of a world.
#[derive(Debug, Default)]
pub(super) struct Recordings {
    limit: Option<u64>,
    /// One recording for each life of a host.
    lives: Vec<Life>,
}

#[derive(Debug)]
struct Life {
    host: usize,
    is_over: bool,
    chunks: Chunks,
    file: Writer<Cursor<Vec<u8>>>,
}

impl World {
    /// Records every node from now on, and later ones from their start; at most this many bytes of each life.
    ///
    /// ```
    /// use std::time::Duration;
    /// use syncswim::{sim::World, swim::Config};
    ///
    /// let mut world = World::new(7);
    /// world.record(1 << 20);
    /// world.start_cluster(3, Config::lan);
    /// world.run_for(Duration::from_secs(60));
    /// for recording in world.recordings() {
    ///     let replayed: Result<Vec<_>, _> = recording.replay().collect();
    ///     assert!(replayed?.iter().any(|step| step.events().next().is_some()));
    /// }
    /// # Ok::<(), syncswim::recording::Difference>(())
    /// ```
    pub fn record(&mut self, limit: u64) {
        self.recordings.limit = Some(limit);
        for host in 0..self.hosts.len() {
            if let Some(mut endpoint) = self.hosts[host].endpoint.take() {
                self.record_life(host, &mut endpoint.node);
                self.hosts[host].endpoint = Some(endpoint);
            }
        }
    }

    /// The recordings so far, of each life of a host, in the order in which they began.
    ///
    /// # Panics
    /// If the limit given to [`record`](Self::record) is too small for a node's state.
    pub fn recordings(&mut self) -> Vec<Recording> {
        for host in 0..self.hosts.len() {
            if let Some(node) = self.hosts[host].node_mut() {
                node.flush_recording();
            }
            self.keep_recorded(host);
        }
        let files = self.recordings.lives.iter().map(|life| Recording::parse(life.file.get_ref().get_ref()));
        files.map(|file| file.expect("the limit is large enough")).collect()
    }

    /// The recording file of the present life.
    #[cfg(test)]
    pub(crate) fn recorded_file(&mut self, host: usize) -> Vec<u8> {
        self.recordings();
        let life = self.recordings.lives.iter().rfind(|life| life.host == host);
        life.expect("it is recorded").file.get_ref().get_ref().clone()
    }

    /// Begins the recording of a new life, if the world is recorded.
    pub(super) fn record_life(&mut self, host: usize, node: &mut Node) {
        let Some(limit) = self.recordings.limit else { return };
        let chunks = Chunks::default();
        let sink = Arc::clone(&chunks);
        let take = move |chunk| {
            lock(&sink).push_back(chunk);
            Ok(())
        };
        node.start_recording(segment_size(limit), Box::new(take));
        let file = Writer::new(Cursor::default(), &self.hosts[host].config.name, limit);
        let file = file.expect("memory takes all");
        self.recordings.lives.push(Life { host, is_over: false, chunks, file });
    }

    /// Stores what the present life of a host has recorded.
    pub(super) fn keep_recorded(&mut self, host: usize) {
        let (wall, at) = self.both_clocks(host);
        let mut lives = self.recordings.lives.iter_mut().rev();
        let Some(life) = lives.find(|life| life.host == host && !life.is_over) else { return };
        let chunks = mem::take(&mut *lock(&life.chunks));
        chunks.iter().for_each(|chunk| life.file.write(chunk, wall, at).expect("memory takes all"));
    }

    /// Ends the recording of a host's life.
    pub(super) fn end_recording(&mut self, host: usize) {
        if let Some(node) = self.hosts[host].node_mut() {
            node.flush_recording();
        }
        self.keep_recorded(host);
        self.recordings
            .lives
            .iter_mut()
            .filter(|life| life.host == host)
            .for_each(|life| life.is_over = true);
    }

    fn both_clocks(&self, host: usize) -> (u64, Time) {
        let wall = EPOCH + self.now.since(ORIGIN).as_nanos() as u64;
        (wall, self.now + self.hosts[host].clock)
    }
}

fn lock(chunks: &Chunks) -> impl std::ops::DerefMut<Target = VecDeque<Chunk>> {
    chunks.lock().unwrap_or_else(PoisonError::into_inner)
}
