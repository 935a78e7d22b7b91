//! An attacker that is no node: it writes datagrams and tables of its own, under any address, and answers for members
//! that it made up, for as long as it likes.
//!
//! Made-up members that have answered hold a token, which was sent to them: what they say is a member's word. All else
//! that it sends is an outsider's, or bears the name and address of a healthy member, without a token.
//!
//! What it may do is here; how a world does it, in `world/attacks.rs`.

use std::{net::SocketAddr, time::Duration};

use super::{YEAR, forge};
use crate::{
    swim::{Identity, Time},
    wire::message::{Ack, Message},
};

/// Members that it can make up.
pub const GHOSTS: usize = 8;

/// Whom a claim is about, or where something comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A host of the cluster: spoofed, if it is a source.
    Host(usize),
    /// A made-up member, with a name and an address of its own.
    Ghost(usize),
}

/// Which claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are called as on the wire")]
pub enum Kind {
    Alive,
    Suspect,
    Failed,
    Left,
    Removed,
    Departed,
}

/// The identity of a claim, seen from what its receiver holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// An earlier word, or an earlier life.
    Below,
    /// So many incarnations more.
    Incarnations(u64),
    /// A life that began so many milliseconds later.
    Life(u64),
}

/// A claim that nobody honest makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lie {
    /// Which claim.
    pub kind: Kind,
    /// About whom.
    pub about: Who,
    /// Under which identity.
    pub ahead: Ahead,
    /// Where an *alive* says that it lives; who else accuses in a *suspect*.
    pub at: Who,
}

/// What an attacker does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attack {
    /// Sends claims in one datagram.
    Datagram {
        /// Whose address it bears.
        from: Who,
        /// To which host.
        to: usize,
        /// The claims.
        lies: Vec<Lie>,
    },
    /// Tells a table over a stream of its own.
    Table {
        /// Whose address it calls from.
        from: Who,
        /// Whose name it says.
        caller: Who,
        /// Which host.
        to: usize,
        /// The claims.
        lies: Vec<Lie>,
    },
    /// Made-up members introduce themselves and answer pings for a while, then go silent.
    Infiltrate {
        /// How many of them, from the first on.
        ghosts: usize,
        /// To which host.
        to: usize,
        /// How long they answer.
        answers_for: Duration,
    },
}

/// Until when each made-up member answers.
#[derive(Debug, Default)]
pub(super) struct Ghosts {
    answers_until: [Time; GHOSTS],
}

impl Ghosts {
    fn at(addr: SocketAddr) -> Option<usize> {
        (0..GHOSTS).find(|ghost| ghost_addr(*ghost) == addr)
    }

    /// Whether one of them lives there and answers.
    pub(super) fn answers_at(&self, addr: SocketAddr, now: Time) -> bool {
        Self::at(addr).is_some_and(|ghost| now < self.answers_until[ghost])
    }

    /// What one of them answers to a datagram, if it does.
    pub(super) fn answer(&self, to: SocketAddr, bytes: &[u8], now: Time) -> Option<Vec<u8>> {
        let ghost = Self::at(to).filter(|ghost| now < self.answers_until[*ghost])?;
        let (seq, _) = forge::ping(bytes).filter(|(_, target)| *target == ghost_name(ghost))?;
        Some(forge::packet(&ghost_name(ghost), &[Message::Ack(Ack { seq })]))
    }

    /// Whether the one that lives there answers to any name over a stream; the others let callers wait.
    pub(super) fn takes_streams(&self, addr: SocketAddr) -> bool {
        Self::at(addr).is_some_and(|ghost| ghost % 2 == 0)
    }

    /// Whether one of them answers, or did: it holds the token that was sent to it then.
    pub(super) fn holds_token(&self, ghost: usize) -> bool {
        self.answers_until[ghost] > Time::ZERO
    }

    /// One of them answers until then.
    pub(super) fn wake(&mut self, ghost: usize, until: Time) {
        self.answers_until[ghost] = until;
    }

    pub(super) fn are_silent(&self, now: Time) -> bool {
        self.answers_until.iter().all(|until| *until <= now)
    }

    pub(super) fn fall_silent(&mut self) {
        *self = Self::default();
    }
}

pub(super) fn ghost_addr(ghost: usize) -> SocketAddr {
    ([10, 255, 0, ghost as u8], 7946).into()
}

pub(super) fn ghost_name(ghost: usize) -> String {
    format!("ghost{ghost}")
}

/// Whether a name is a made-up member's.
pub(super) fn is_ghost(name: &str) -> bool {
    name.starts_with("ghost")
}

impl Who {
    /// Draws one for a cluster of `n`.
    pub(super) fn draw(rng: &mut fastrand::Rng, n: usize) -> Self {
        if rng.bool() { Self::Host(rng.usize(..n)) } else { Self::Ghost(rng.usize(..GHOSTS)) }
    }
}

impl Lie {
    fn draw(rng: &mut fastrand::Rng, n: usize) -> Self {
        let kinds = [
            Kind::Alive,
            Kind::Alive,
            Kind::Suspect,
            Kind::Failed,
            Kind::Left,
            Kind::Removed,
            Kind::Departed,
        ];
        let ahead = match rng.u32(..8) {
            0 => Ahead::Below,
            1 | 2 => Ahead::Incarnations(0),
            3 => Ahead::Incarnations(1),
            4 => Ahead::Incarnations(1 << rng.u32(..63)),
            5 => Ahead::Life(1),
            6 => Ahead::Life(1 << rng.u32(..40)),
            _ => Ahead::Life(YEAR * rng.u64(1..250)),
        };
        let kind = kinds[rng.usize(..kinds.len())];
        Self { kind, about: Who::draw(rng, n), ahead, at: Who::draw(rng, n) }
    }

    /// The identity under which it is claimed, where its receiver holds this one.
    pub(super) fn identity(&self, held: Identity) -> Identity {
        let Identity { epoch, incarnation } = held;
        match self.ahead {
            Ahead::Below if incarnation > 0 => Identity { epoch, incarnation: incarnation - 1 },
            Ahead::Below => Identity { epoch: epoch.saturating_sub(1), incarnation },
            Ahead::Incarnations(more) => Identity { epoch, incarnation: incarnation.saturating_add(more) },
            Ahead::Life(later) => Identity { epoch: epoch.saturating_add(later), incarnation: 0 },
        }
    }
}

impl Attack {
    /// Draws one on a cluster of `n`.
    pub(super) fn draw(rng: &mut fastrand::Rng, n: usize) -> Self {
        let to = rng.usize(..n);
        let lies = |rng: &mut fastrand::Rng| (0..rng.usize(1..6)).map(|_| Lie::draw(rng, n)).collect();
        match rng.u32(..8) {
            0..=3 => Self::Datagram { from: Who::draw(rng, n), to, lies: lies(rng) },
            4 | 5 => {
                let (from, caller) = (Who::draw(rng, n), Who::draw(rng, n));
                Self::Table { from, caller, to, lies: lies(rng) }
            }
            _ => {
                let answers_for = Duration::from_millis(rng.u64(..60_000));
                Self::Infiltrate { ghosts: rng.usize(1..=GHOSTS), to, answers_for }
            }
        }
    }
}

/// The same list in every way that leaves out one of its items, unless it has only one.
pub(super) fn without_one<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let without = |at: usize| [&items[..at], &items[at + 1..]].concat();
    if items.len() < 2 { vec![] } else { (0..items.len()).map(without).collect() }
}

impl Attack {
    /// The same with one claim less, in every way.
    pub(super) fn lesser(&self) -> Vec<Self> {
        match self.clone() {
            Self::Datagram { from, to, lies } => {
                without_one(&lies).into_iter().map(|lies| Self::Datagram { from, to, lies }).collect()
            }
            Self::Table { from, caller, to, lies } => {
                without_one(&lies).into_iter().map(|lies| Self::Table { from, caller, to, lies }).collect()
            }
            Self::Infiltrate { ghosts, to, answers_for } if ghosts > 1 => {
                vec![Self::Infiltrate { ghosts: ghosts - 1, to, answers_for }]
            }
            Self::Infiltrate { .. } => vec![],
        }
    }
}
