//! A node and the machine it runs on.

use std::{net::SocketAddr, time::Duration};

use super::{broadcasts::Received, disk::ModelDisk};
use crate::{
    Membership,
    data::Endpoint,
    state_file::StateFile,
    swim::{BlockedIo, Config, Event, JoinResult, Node, Time},
};

/// The address of the i-th host of a cluster.
#[must_use]
pub fn addr(i: usize) -> SocketAddr {
    ([10, (i >> 16) as u8, (i >> 8) as u8, i as u8], 7946).into()
}

/// A machine that runs a node, or did.
#[derive(Debug)]
pub struct Host {
    /// The node and its data layer; `None` while the machine is down. Boxed, since each step takes it out of here.
    pub(crate) endpoint: Option<Box<Endpoint>>,
    /// The configuration of its next life.
    pub config: Config,
    /// The address where it is reached.
    pub addr: SocketAddr,
    /// The result of its name look-ups.
    pub seeds: Vec<SocketAddr>,
    /// The events of its node, if the world [keeps events](super::World::keep_events).
    pub events: Vec<(Time, Event)>,
    /// The broadcasts that its readers received.
    pub(super) received: Vec<Received>,
    /// When its present life began.
    pub(super) booted: Time,
    /// The membership of a program on this machine, once the program has asked for it; it ends with the node.
    pub(super) membership: Option<Membership>,
    /// The results of its joins and of its attempts to reach the seeds.
    pub joins: Vec<JoinResult>,
    /// Whether its node has left.
    pub left: bool,
    /// Until when its process is stopped: arriving data waits, and no timer fires.
    pub(super) paused_until: Time,
    /// Until when its sends block and arriving data waits, though timers fire: Lifeguard's anomaly (§V-D).
    pub(super) blocked_until: Time,
    /// The loops of its driver that block in a send, while sends block.
    pub(super) blocked_io: Option<BlockedIo>,
    /// How far its clock is ahead.
    pub(super) clock: Duration,
    /// The number of the machine's present life.
    pub(super) life: u32,
    /// Until when no timer fires, though the node takes in arriving data.
    pub(super) late_until: Time,
    /// The error of the clock from which its next life takes its epoch, in milliseconds.
    pub(super) epoch_error: i64,
    /// When the queue wakes it, and for which deadline.
    pub(super) wakes_at: Option<Time>,
    pub(super) wakes_for: Time,
    /// Whether the machine goes down once the leave is done.
    pub(super) stops_when_left: bool,
    /// Its disk, which outlives its lives.
    pub(in crate::sim) disk: ModelDisk,
    /// The node's state file on the disk.
    pub(super) state: Option<StateFile<ModelDisk>>,
    /// Since when a record waits to be written.
    pub(super) state_waits: Option<Time>,
    /// When it forgets the members of an earlier life that were not seen again.
    pub(super) forgets_unseen: Option<Time>,
    /// Until when arriving data waits, and how many bytes of datagrams wait.
    pub(super) waiting: (Time, usize),
}

impl Host {
    pub(super) fn new(config: Config, addr: SocketAddr, seeds: Vec<SocketAddr>) -> Self {
        Self {
            endpoint: None,
            config,
            addr,
            seeds,
            events: Vec::new(),
            received: Vec::new(),
            booted: Time::ZERO,
            membership: None,
            joins: Vec::new(),
            left: false,
            paused_until: Time::ZERO,
            blocked_until: Time::ZERO,
            blocked_io: None,
            clock: Duration::ZERO,
            life: 0,
            late_until: Time::ZERO,
            epoch_error: 0,
            wakes_at: None,
            wakes_for: Time::ZERO,
            stops_when_left: false,
            disk: ModelDisk::default(),
            state: None,
            state_waits: None,
            forgets_unseen: None,
            waiting: (Time::ZERO, 0),
        }
    }

    /// The node that it runs.
    #[must_use]
    pub fn node(&self) -> Option<&Node> {
        self.endpoint.as_ref().map(|endpoint| &endpoint.node)
    }

    pub(super) fn node_mut(&mut self) -> Option<&mut Node> {
        self.endpoint.as_mut().map(|endpoint| &mut endpoint.node)
    }

    pub(super) fn is_up(&self) -> bool {
        self.endpoint.is_some()
    }

    /// When the host takes in arriving data again.
    pub(super) fn listens_at(&self) -> Time {
        self.paused_until.max(self.blocked_until)
    }

    /// When the host's next timer fires, or its sends no longer block, by the world's clock.
    pub(super) fn deadline(&self) -> Option<Time> {
        let endpoint = self.endpoint.as_ref()?;
        let at = self
            .blocked_io
            .as_ref()
            .map_or_else(|| endpoint.poll_timeout(), |blocked| endpoint.node.poll_timeout_blocked(blocked));
        let at = at.map(|at| Time::from_origin(at.since_origin().saturating_sub(self.clock)));
        let unblocked = self.blocked_io.as_ref().map(|_| self.blocked_until);
        at.into_iter().chain(unblocked).min().map(|at| at.max(self.paused_until).max(self.late_until))
    }

    /// Whether the host is neither stopped, blocked nor late.
    pub(super) fn is_well(&self, now: Time) -> bool {
        self.blocked_io.is_none()
            && self.paused_until <= now
            && self.blocked_until <= now
            && self.late_until <= now
    }
}
