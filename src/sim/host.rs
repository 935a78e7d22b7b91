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
    /// `None` while it is down. Boxed, for it is taken out of here at each step.
    pub(crate) endpoint: Option<Box<Endpoint>>,
    /// What its next life will run with.
    pub config: Config,
    /// Where it is reached.
    pub addr: SocketAddr,
    /// What its name look-up answers.
    pub seeds: Vec<SocketAddr>,
    /// What its node reported, if the world [keeps events](super::World::keep_events).
    pub events: Vec<(Time, Event)>,
    /// What its readers of broadcasts got.
    pub(super) received: Vec<Received>,
    /// When its present life began.
    pub(super) booted: Time,
    /// What a program on it sees, once it has asked; gone with its node.
    pub(super) membership: Option<Membership>,
    /// How its joins and its tries of the seeds ended.
    pub joins: Vec<JoinResult>,
    /// Whether its node has left.
    pub left: bool,
    /// Until then its process is stopped: what arrives waits, and no timer runs.
    pub(super) paused_until: Time,
    /// Until then its sends block and what arrives waits, though timers run: Lifeguard's anomaly (§V-D).
    pub(super) blocked_until: Time,
    /// Its loops that wait in a send, while it is blocked.
    pub(super) blocked_io: Option<BlockedIo>,
    /// How far its clock is ahead.
    pub(super) clock: Duration,
    /// Which life of the machine this is.
    pub(super) life: u32,
    /// Until then no timer fires, though what arrives is taken in.
    pub(super) late_until: Time,
    /// How far off the clock is from which its next life takes its epoch, in milliseconds.
    pub(super) epoch_error: i64,
    /// When it is woken by what is in the queue, and for which deadline.
    pub(super) wakes_at: Option<Time>,
    pub(super) wakes_for: Time,
    /// The machine goes down once the leave is done.
    pub(super) stops_when_left: bool,
    /// What it has between two of its lives.
    pub(in crate::sim) disk: ModelDisk,
    /// What its node keeps on the disk.
    pub(super) state: Option<StateFile<ModelDisk>>,
    /// Since when a record waits to be written.
    pub(super) state_waits: Option<Time>,
    /// When it forgets the members of an earlier life that were not seen again.
    pub(super) forgets_unseen: Option<Time>,
    /// Bytes that wait for it, until when.
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

    /// When it takes in again what arrives.
    pub(super) fn listens_at(&self) -> Time {
        self.paused_until.max(self.blocked_until)
    }

    /// When its next timer fires, or its sends block no more, by the world's clock.
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

    /// Whether nothing holds it up.
    pub(super) fn is_well(&self, now: Time) -> bool {
        self.blocked_io.is_none()
            && self.paused_until <= now
            && self.blocked_until <= now
            && self.late_until <= now
    }
}
