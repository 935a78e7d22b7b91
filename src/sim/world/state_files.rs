//! State files of the nodes of a world, each on a disk of its machine.

use std::{io, mem, time::Duration};

use super::{super::disk::ModelDisk, World};
use crate::{
    state_file::{Found, StateFile},
    swim::Node,
};

/// As in the driver: how many records are written together, and how long the first of them waits.
const BATCH: usize = 64;
const PATIENCE: Duration = Duration::from_secs(1);

impl World {
    /// From now on every node keeps a [state file](crate::GossipConfig::state_file) on the disk of its machine, and
    /// [rejoins](crate::GossipConfig::rejoin_after_leave) from it.
    ///
    /// ```
    /// use std::time::Duration;
    /// use syncswim::{sim::World, swim::Config};
    ///
    /// let mut world = World::new(7);
    /// world.keep_state(false);
    /// world.start_cluster(5, Config::lan);
    /// world.run_for(Duration::from_secs(60));
    /// for host in 0..5 {
    ///     world.cut_power(host);
    ///     world.hosts[host].seeds.clear();
    /// }
    /// (0..5).for_each(|host| world.restart(host));
    /// world.run_until("one cluster", Duration::from_secs(10), |world| world.all_see(5));
    /// ```
    pub fn keep_state(&mut self, rejoin_after_leave: bool) {
        self.state_files = Some(rejoin_after_leave);
        for host in 0..self.hosts.len() {
            if let Some(endpoint) = self.hosts[host].endpoint.take() {
                self.read_state(host);
                self.begin_state(host, &endpoint.node);
                self.hosts[host].endpoint = Some(endpoint);
            }
        }
    }

    /// The machine crashes, without a leave, and its disk loses what was neither synced nor written back.
    pub fn cut_power(&mut self, host: usize) {
        self.crash(host);
        let disk = &mut self.hosts[host].disk;
        disk.now = self.now;
        disk.cut_power(&mut self.rng);
        if let Some(checker) = &mut self.checker {
            checker.broadcasts.file_lost(host);
        }
    }

    /// The earlier life, as a new life reads it from the file.
    pub(super) fn read_state(&mut self, at: usize) -> Option<Found> {
        let rejoin_after_leave = self.state_files?;
        let host = &mut self.hosts[at];
        let (disk, config) = (mem::take(&mut host.disk), &host.config);
        let names = (&*config.cluster, &*config.name);
        let read = StateFile::read(disk, names, config.max_reconnects, rejoin_after_leave);
        let (file, found) = read.expect("a state file keeps no node from starting");
        host.state = Some(file);
        host.forgets_unseen = Some(self.now + host.config.reap_failed_after);
        Some(found)
    }

    /// Creates the state file of a new life, or of one that goes on.
    pub(super) fn begin_state(&mut self, at: usize, node: &Node) {
        let (wall, now) = (self.epoch(), self.now);
        if let Some(state) = &mut self.hosts[at].state {
            state.note_all(&node.members(), wall);
            state.files_mut().now = now;
            // A failed write is repeated later.
            let _ = state.write();
        }
    }

    /// Writes records that have waited long enough.
    pub(super) fn write_state(&mut self, at: usize) {
        let (host, now) = (&mut self.hosts[at], self.now);
        let Some(state) = &mut host.state else { return };
        if host.forgets_unseen.take_if(|at| *at <= now).is_some() {
            let unseen = state.forget_unseen();
            if let Some(endpoint) = &mut host.endpoint {
                endpoint.broadcasts.forget_unlisted(&endpoint.node, unseen);
            }
        }
        let has_changed = host.endpoint.as_ref().is_some_and(|endpoint| endpoint.broadcasts.has_changed());
        if state.waiting() == 0 && !has_changed {
            return;
        }
        let since = *host.state_waits.get_or_insert(now);
        if state.waiting() >= BATCH || now.since(since) >= PATIENCE {
            host.state_waits = None;
            self.put_state(at, StateFile::write);
        }
    }

    fn put_state(&mut self, at: usize, write: impl FnOnce(&mut StateFile<ModelDisk>) -> io::Result<()>) {
        let host = &mut self.hosts[at];
        let (Some(state), Some(endpoint)) = (&mut host.state, &mut host.endpoint) else { return };
        endpoint.broadcasts.take_changed(|head| state.note_head(head));
        state.files_mut().now = self.now;
        // A failed write is repeated later.
        if write(state).is_ok()
            && let Some(checker) = &mut self.checker
        {
            checker.broadcasts.file_written(at);
        }
    }

    /// A process that ends by itself writes all records.
    pub(super) fn finish_state(&mut self, at: usize) {
        self.put_state(at, StateFile::finish);
    }

    /// The process ends; the disk stays.
    pub(super) fn end_state(&mut self, at: usize) {
        let host = &mut self.hosts[at];
        if let Some(state) = host.state.take() {
            host.disk = state.into_files();
        }
        (host.state_waits, host.forgets_unseen) = (None, None);
    }
}
