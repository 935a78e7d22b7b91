//! What can go wrong, as data: so that it can be drawn at random, printed, replayed and shrunk.

use std::time::Duration;

use super::{network::Burst, world::World};

/// Something that happens to a cluster. Hosts that are down are not crashed, hosts that are up not restarted:
/// any fault makes sense at any time, so that a schedule can be shrunk.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Fault {
    /// A machine is gone.
    Crash(usize),
    /// It is back, under its old name.
    Restart(usize),
    /// A node says good-bye.
    Leave(usize),
    /// A process stops for a while.
    Pause(usize, Duration),
    /// A process cannot send or receive for a while, though its timers run.
    Block(usize, Duration),
    /// A clock is set forward.
    ClockJump(usize, Duration),
    /// This share of all datagrams gets lost from now on.
    Loss(f64),
    /// This share arrives twice.
    Duplication(f64),
    /// This share is overtaken.
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

impl Fault {
    /// Draws one for a cluster of `n`.
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

    /// Makes it happen.
    pub fn apply(&self, world: &mut World) {
        let is_up = |world: &World, host: usize| world.hosts[host].node.is_some();
        match self {
            Self::Crash(host) if is_up(world, *host) => world.crash(*host),
            Self::Restart(host) if !is_up(world, *host) || world.hosts[*host].left => world.restart(*host),
            Self::Leave(host) if is_up(world, *host) => world.with(*host, |node, now| node.leave(now)),
            Self::Pause(host, length) => world.pause(*host, *length),
            Self::Block(host, length) => world.block(*host, *length),
            Self::ClockJump(host, by) => world.jump_clock(*host, *by),
            Self::Loss(share) => world.net.loss = *share,
            Self::Duplication(share) => world.net.duplication = *share,
            Self::Reordering(share) => world.net.reordering = *share,
            Self::Bursts(burst) => world.net.burst = Some(*burst),
            Self::Cut(from, to) => drop(world.net.cut.insert((*from, *to))),
            Self::Clog(from, to) => drop(world.net.clogged.insert((*from, *to))),
            Self::Isolate(group) => world.net.isolate(group.iter().copied()),
            Self::Heal => {
                world.unclog();
                world.net.heal();
            }
            Self::Crash(_) | Self::Restart(_) | Self::Leave(_) => {}
        }
    }
}
