//! The faults, as data, so that they can be drawn at random, printed, replayed and shrunk.

use std::{net::SocketAddr, time::Duration};

use super::{
    YEAR,
    attacker::{Attack, without_one},
    host::addr,
    network::Burst,
    paths::Nat,
    world::World,
};
use crate::{swim::Removal, wire::Tags};

/// An event in a cluster. A crash of a host that is down, or a restart of one that is up, has no effect: any fault is valid
/// at any time, so that a schedule can be shrunk.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// A machine crashes.
    Crash(usize),
    /// A machine restarts its node, under the old name.
    Restart(usize),
    /// A node leaves.
    Leave(usize),
    /// From now on nodes have state files, and rejoin from them after a leave too: there are no seeds any more.
    StateFiles,
    /// A machine loses power.
    PowerCut(usize),
    /// All machines lose power.
    PowerCutOfAll,
    /// Every machine restarts, all at once.
    RestartOfAll,
    /// A process stops for a while.
    Pause(usize, Duration),
    /// A process cannot send or receive for a while, though its timers run.
    Block(usize, Duration),
    /// No timer of a node fires for a while, though it takes in what arrives.
    LateTimers(usize, Duration),
    /// From now on every wake-up is late by up to this time.
    LateWakes(Duration),
    /// A clock is set forward.
    ClockJump(usize, Duration),
    /// A node restarts, and takes its epoch from a clock that is wrong by this many milliseconds.
    WrongClock(usize, i64),
    /// A second host starts under the name of this one, at another address.
    Conflict(usize),
    /// The second host of that name goes down, with a leave or without.
    EndConflict {
        /// The first host of the name.
        host: usize,
        /// Whether it leaves.
        leaves: bool,
    },
    /// The application calls join with these places and this ticket.
    Join(usize, u64, Vec<Place>),
    /// The application calls for a search for seeds.
    SeekSeeds(usize),
    /// The application sets other tags.
    Tags(usize, u8),
    /// The application removes a host from the cluster, by a leave or by reaping, if its node lists that host as
    /// failed.
    Remove(usize, usize, Removal),
    /// Many nodes leave at once, and go down once that is done.
    LeaveTogether(Vec<usize>),
    /// The attacker acts.
    Attack(Attack),
    /// The host's packets leave from behind a translator of addresses, under this binding.
    Mapped(usize, Nat, u8),
    /// A host has a second address, and sends from either.
    SecondAddress(usize),
    /// A host sends from its advertised address again.
    Unmapped(usize),
    /// Others cannot reach a host at the address that it advertises, though it reaches them.
    Unreachable(usize),
    /// Others can reach a host at its advertised address again.
    Reachable(usize),
    /// A host gets another address while it runs; its node learns of it when it is restarted.
    NewAddress(usize, u8),
    /// No datagram passes on these ways, though streams do.
    FilteredUdp(Side),
    /// From now on this share of all packets is lost: datagrams and segments of streams.
    Loss(f64),
    /// From now on this share of datagrams is lost, and no segment.
    DatagramLoss(f64),
    /// From now on this share of the segments of streams is lost, and no datagram.
    SegmentLoss(f64),
    /// This share of datagrams arrives twice.
    Duplication(f64),
    /// This share of datagrams is overtaken by later ones.
    Reordering(f64),
    /// Losses come in bursts.
    Bursts(Burst),
    /// Nothing passes from one host to another.
    Cut(usize, usize),
    /// Everything from one host to another waits.
    Clog(usize, usize),
    /// A group is cut off from the rest.
    Isolate(Vec<usize>),
    /// The network is perfect again.
    Heal,
}

/// Where datagrams are filtered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Side {
    /// Everywhere.
    All,
    /// On the way to a host.
    Into(usize),
    /// On the way from a host.
    OutOf(usize),
}

/// The target of a join.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Place {
    /// The address of a host.
    Host(usize),
    /// The joining host itself, under another address.
    Alias,
    /// An address without a host.
    Nobody,
    /// The address of a second host with that host's name.
    Conflict(usize),
}

impl Place {
    fn draw(rng: &mut fastrand::Rng, n: usize) -> Self {
        match rng.u32(..6) {
            0 => Self::Alias,
            1 => Self::Nobody,
            2 => Self::Conflict(rng.usize(..n)),
            _ => Self::Host(rng.usize(..n)),
        }
    }

    fn addr(self, world: &mut World, joiner: usize) -> SocketAddr {
        match self {
            Self::Host(host) => addr(host),
            Self::Conflict(host) => conflict_addr(host),
            Self::Nobody => addr(999),
            Self::Alias => {
                let alias = addr(2000 + joiner);
                world.alias(joiner, alias);
                alias
            }
        }
    }
}

fn conflict_addr(host: usize) -> SocketAddr {
    addr(1000 + host)
}

/// From a millisecond to a great length, with each power of two equally likely.
fn any_length(rng: &mut fastrand::Rng, powers: u32) -> Duration {
    let most = 1 << rng.u32(1..=powers);
    Duration::from_millis(rng.u64(1..=most))
}

impl Fault {
    /// Draws an accident of hosts or networks, for a cluster of `n`.
    pub fn draw(rng: &mut fastrand::Rng, n: usize) -> Self {
        let mut upto = |most: u64| Duration::from_millis(rng.u64(..most));
        let (short, long) = (upto(3_000), upto(20_000));
        let host = rng.usize(..n);
        match rng.u32(..18) {
            0 | 1 => Self::Crash(host),
            2..=4 => Self::Restart(host),
            5 => Self::Leave(host),
            6 => Self::Pause(host, long),
            7 => Self::Block(host, long),
            8 => Self::ClockJump(host, short),
            9 => Self::Loss(rng.f64() * 0.4),
            10 => Self::Duplication(rng.f64() * 0.3),
            11 => Self::Reordering(rng.f64() * 0.3),
            12 => Self::Bursts(Burst { good: long, bad: short, loss: 0.5 + rng.f64() / 2.0 }),
            13 => Self::Cut(host, rng.usize(..n)),
            14 => Self::Clog(host, rng.usize(..n)),
            15 => Self::Isolate((0..n).filter(|_| rng.u32(..3) == 0).collect()),
            _ => Self::Heal,
        }
    }

    /// Draws a delay of timers or a jump of a clock that may cross any deadline, for a cluster of `n`.
    pub(super) fn draw_late(rng: &mut fastrand::Rng, n: usize) -> Self {
        let host = rng.usize(..n);
        match rng.u32(..6) {
            0..=2 => Self::LateTimers(host, any_length(rng, 17)),
            3 => Self::Pause(host, any_length(rng, 17)),
            // Up to three days.
            4 => Self::ClockJump(host, any_length(rng, 28)),
            _ => Self::LateWakes(Duration::from_millis(rng.u64(..=8))),
        }
    }

    /// Draws a call by the application.
    pub(super) fn draw_call(rng: &mut fastrand::Rng, n: usize) -> Self {
        let host = rng.usize(..n);
        match rng.u32(..12) {
            10 | 11 => {
                let removal = if rng.bool() { Removal::Reap } else { Removal::Leave };
                Self::Remove(host, rng.usize(..n), removal)
            }
            0..=4 => {
                let places = (0..rng.usize(..5)).map(|_| Place::draw(rng, n)).collect();
                Self::Join(host, rng.u64(..3), places)
            }
            5 => Self::SeekSeeds(host),
            6 | 7 => Self::Tags(host, rng.u8(..4)),
            8 => Self::Leave(host),
            _ => Self::LeaveTogether((0..n).filter(|_| rng.u32(..3) == 0).collect()),
        }
    }

    /// Draws a fault about a second holder of a name.
    pub(super) fn draw_conflict(rng: &mut fastrand::Rng, n: usize) -> Self {
        let host = rng.usize(..n);
        match rng.u32(..3) {
            0 => Self::EndConflict { host, leaves: rng.bool() },
            _ => Self::Conflict(host),
        }
    }

    /// Draws a start with a wrong clock: of 1970, wrong by a little, or by many years.
    pub(super) fn draw_wrong_clock(rng: &mut fastrand::Rng, n: usize) -> Self {
        let year = YEAR as i64;
        let host = rng.usize(..n);
        let off = match rng.u32(..5) {
            0 => -1_700_000_000_000,
            1 => -rng.i64(1..1 << 40),
            2 => rng.i64(1..1 << 27),
            3 => year * rng.i64(1..99),
            _ => year * rng.i64(99..200),
        };
        Self::WrongClock(host, off)
    }

    /// Draws a fault of source addresses, reachability, or the kinds of packets that pass.
    pub(super) fn draw_path(rng: &mut fastrand::Rng, n: usize) -> Self {
        let host = rng.usize(..n);
        match rng.u32(..16) {
            0..=2 => {
                let nat = if rng.bool() { Nat::FullCone } else { Nat::AddressRestricted };
                Self::Mapped(host, nat, rng.u8(..4))
            }
            3 | 4 => Self::SecondAddress(host),
            5 => Self::Unmapped(host),
            6 | 7 => Self::Unreachable(host),
            8 => Self::Reachable(host),
            9 => Self::NewAddress(host, rng.u8(..)),
            10 => Self::FilteredUdp(Side::All),
            11 => Self::FilteredUdp(Side::Into(host)),
            12 => Self::FilteredUdp(Side::OutOf(host)),
            13 => Self::DatagramLoss(rng.f64() * 0.4),
            14 => Self::SegmentLoss(rng.f64() * 0.4),
            _ => Self::Heal,
        }
    }

    /// Draws a fault of the kind that state files are for.
    pub(super) fn draw_restart(rng: &mut fastrand::Rng, n: usize) -> Self {
        let host = rng.usize(..n);
        match rng.u32(..10) {
            0..=2 => Self::PowerCut(host),
            3 => Self::PowerCutOfAll,
            4 | 5 => Self::RestartOfAll,
            6 => Self::WrongClock(host, -rng.i64(1..1 << 40)),
            _ => Self::Restart(host),
        }
    }

    /// Draws an action of the attacker.
    pub(super) fn draw_attack(rng: &mut fastrand::Rng, n: usize) -> Self {
        Self::Attack(Attack::draw(rng, n))
    }

    /// Two made-up members introduce themselves, and answer for an hour.
    pub(super) fn first_of_insiders() -> Self {
        Self::Attack(Attack::Infiltrate { ghosts: 2, to: 0, answers_for: Duration::from_secs(3600) })
    }

    /// Draws an action of the attacker, or something that happens to healthy members.
    pub(super) fn draw_by_insiders(rng: &mut fastrand::Rng, n: usize) -> Self {
        let host = rng.usize(..n);
        match rng.u32(..16) {
            0 | 6 => Self::Crash(host),
            1 | 2 => Self::Restart(host),
            3 => Self::Leave(host),
            4 | 5 => Self::Tags(host, rng.u8(..4)),
            _ => Self::Attack(Attack::draw_by_insiders(rng, n)),
        }
    }

    /// All variants of the fault that are a little smaller.
    pub(super) fn lesser(&self) -> Vec<Self> {
        match self {
            Self::Attack(attack) => attack.lesser().into_iter().map(Self::Attack).collect(),
            Self::Join(host, ticket, places) => {
                without_one(places).into_iter().map(|places| Self::Join(*host, *ticket, places)).collect()
            }
            Self::LeaveTogether(hosts) => without_one(hosts).into_iter().map(Self::LeaveTogether).collect(),
            Self::Isolate(group) => without_one(group).into_iter().map(Self::Isolate).collect(),
            Self::Mapped(host, Nat::AddressRestricted, binding) => {
                vec![Self::Mapped(*host, Nat::FullCone, *binding)]
            }
            _ => vec![],
        }
    }

    /// Applies the fault.
    pub fn apply(&self, world: &mut World) {
        let is_up = |world: &World, host: usize| world.hosts[host].is_up();
        match self {
            Self::Crash(host) if is_up(world, *host) => world.crash(*host),
            Self::Restart(host) if !is_up(world, *host) || world.hosts[*host].left => world.restart(*host),
            Self::Leave(host) if is_up(world, *host) => {
                world.drive_with(*host, |endpoint, now| endpoint.leave(now));
            }
            Self::StateFiles => keep_state_without_seeds(world),
            Self::PowerCut(host) => world.cut_power(*host),
            Self::PowerCutOfAll => (0..world.hosts.len()).for_each(|host| world.cut_power(host)),
            Self::RestartOfAll => (0..world.hosts.len()).for_each(|host| world.restart(host)),
            Self::Pause(host, length) => world.pause(*host, *length),
            Self::Block(host, length) => world.block(*host, *length),
            Self::LateTimers(host, length) => world.delay_timers(*host, *length),
            Self::LateWakes(most) => world.wake_delay = *most,
            Self::ClockJump(host, by) => world.jump_clock(*host, *by),
            Self::WrongClock(host, off) => world.restart_with_clock_off(*host, *off),
            Self::Conflict(host) => start_conflict(world, *host),
            Self::EndConflict { host, leaves } => end_conflict(world, *host, *leaves),
            Self::Join(host, ticket, places) if is_up(world, *host) => join(world, *host, *ticket, places),
            Self::SeekSeeds(host) if is_up(world, *host) => {
                world.with(*host, |node, now| node.seek_seeds(now));
            }
            Self::Tags(host, n) if is_up(world, *host) => set_tags(world, *host, *n),
            Self::Remove(host, whom, removal) if is_up(world, *host) => {
                remove(world, *host, *whom, *removal);
            }
            Self::LeaveTogether(hosts) => leave_together(world, hosts),
            Self::Attack(attack) => world.attack(attack),
            Self::Mapped(host, nat, binding) => world.map_source(*host, *nat, *binding),
            Self::SecondAddress(host) => world.add_second_address(*host),
            Self::Unmapped(host) => world.unmap_source(*host),
            Self::Unreachable(host) => world.close(*host, true),
            Self::Reachable(host) => world.close(*host, false),
            Self::NewAddress(host, n) => world.replace_address(*host, *n),
            Self::FilteredUdp(side) => filter_udp(world, *side),
            Self::DatagramLoss(share) => world.net.datagram_loss = *share,
            Self::SegmentLoss(share) => world.net.segment_loss = *share,
            Self::Loss(share) => world.net.lose(*share),
            Self::Duplication(share) => world.net.duplication = *share,
            Self::Reordering(share) => world.net.reordering = *share,
            Self::Bursts(burst) => world.net.burst = Some(*burst),
            Self::Cut(from, to) => drop(world.net.cut.insert((*from, *to))),
            Self::Clog(from, to) => drop(world.net.clogged.insert((*from, *to))),
            Self::Isolate(group) => world.net.isolate(group.iter().copied()),
            Self::Heal => heal(world),
            Self::Crash(_)
            | Self::Restart(_)
            | Self::Leave(_)
            | Self::Join(..)
            | Self::SeekSeeds(_)
            | Self::Tags(..)
            | Self::Remove(..) => {}
        }
        // An accident may be over before the judge looks next.
        world.judge_all();
    }
}

fn keep_state_without_seeds(world: &mut World) {
    world.keep_state(true);
    world.hosts.iter_mut().for_each(|host| host.seeds.clear());
}

fn join(world: &mut World, host: usize, ticket: u64, places: &[Place]) {
    let addrs: Vec<_> = places.iter().map(|place| place.addr(world, host)).collect();
    world.join(host, ticket, &addrs);
}

fn set_tags(world: &mut World, host: usize, n: u8) {
    let tags = Tags::new([("n", n.to_string())]).expect("they are short");
    world.with(host, |node, now| node.set_tags(now, tags));
}

fn remove(world: &mut World, host: usize, whom: usize, removal: Removal) {
    let name = world.hosts[whom].config.name.clone();
    // The node refuses if it does not list the member as failed.
    let _ = world.with(host, |node, now| node.remove(now, &name, removal));
}

fn leave_together(world: &mut World, hosts: &[usize]) {
    let up: Vec<_> = hosts.iter().filter(|host| world.hosts[**host].is_up()).copied().collect();
    up.into_iter().for_each(|host| world.leave_and_stop(host));
}

fn heal(world: &mut World) {
    world.unclog();
    world.net.heal();
    world.open_all();
}

fn filter_udp(world: &mut World, side: Side) {
    match side {
        Side::All => world.net.no_udp = true,
        Side::Into(host) => drop(world.net.no_udp_into.insert(host)),
        Side::OutOf(host) => drop(world.net.no_udp_out_of.insert(host)),
    }
}

fn conflict_of(world: &World, host: usize) -> Option<usize> {
    world.hosts.iter().position(|other| other.addr == conflict_addr(host))
}

fn start_conflict(world: &mut World, host: usize) {
    match conflict_of(world, host) {
        None => {
            let (config, seeds) = (world.hosts[host].config.clone(), world.hosts[host].seeds.clone());
            world.start(config, conflict_addr(host), seeds);
        }
        Some(other) if !world.hosts[other].is_up() => world.restart(other),
        Some(_) => {}
    }
}

fn end_conflict(world: &mut World, host: usize, leaves: bool) {
    match conflict_of(world, host).filter(|other| world.hosts[*other].is_up()) {
        Some(other) if leaves => world.leave_and_stop(other),
        Some(other) => world.crash(other),
        None => {}
    }
}
