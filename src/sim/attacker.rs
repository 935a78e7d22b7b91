//! An attacker that is not a node: it writes datagrams and tables by hand, under any address, and answers for members that
//! it made up, for as long as it likes.
//!
//! A made-up member that has answered a node holds the token that the node sent to it, so its claims count as a
//! member's. Everything else that the attacker sends comes from an outsider, or bears the name and address of a healthy
//! member without its token. As a relay, each made-up member always acks, always nacks, or never answers.
//!
//! The attacks are defined here; `world/attacks.rs` carries them out in a world.

use std::{net::SocketAddr, time::Duration};

use super::{YEAR, forge};
use crate::{
    swim::{Identity, Time},
    wire::message::{Ack, Message, Nack},
};

/// The number of members that the attacker can make up, each on a host of its own.
pub const GHOSTS: usize = 8;
/// The number of further names on the host of each made-up member.
pub const NAMES: usize = 16;

/// The subject of a claim, or the source of a datagram or stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// A host of the cluster. As a source it is spoofed.
    Host(usize),
    /// A made-up member, with a name and an address of its own.
    Ghost(usize),
    /// Another name on the host of a made-up member, at another port: it answers as long as that member does.
    Name(usize, usize),
}

/// The kind of a claim.
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

impl Kind {
    pub(super) fn is_departure(self) -> bool {
        !matches!(self, Self::Alive | Self::Suspect)
    }
}

/// The identity of a claim, relative to the one that its receiver holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ahead {
    /// An earlier incarnation, or an earlier life.
    Below,
    /// This many incarnations more.
    Incarnations(u64),
    /// A life that began this many milliseconds later.
    Life(u64),
}

/// A claim that no honest node makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lie {
    /// The kind of the claim.
    pub kind: Kind,
    /// The member that it is about.
    pub about: Who,
    /// Its identity.
    pub ahead: Ahead,
    /// The address in an Alive, or the accuser in a Suspect or a removal.
    pub at: Who,
}

/// An action of the attacker.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Attack {
    /// Sends claims in one datagram.
    Datagram {
        /// The source address.
        from: Who,
        /// The receiver.
        to: usize,
        /// The claims.
        lies: Vec<Lie>,
    },
    /// Sends claims to every host, in one datagram each.
    ToAll {
        /// The source address.
        from: Who,
        /// The claims.
        lies: Vec<Lie>,
    },
    /// Sends a table over a stream that it opens.
    Table {
        /// The source address of the stream.
        from: Who,
        /// The name of the caller.
        caller: Who,
        /// The host that it calls.
        to: usize,
        /// The claims.
        lies: Vec<Lie>,
    },
    /// Made-up members introduce themselves and answer pings for a while, then go silent.
    Infiltrate {
        /// How many made-up members, from the first on.
        ghosts: usize,
        /// The host to which they introduce themselves.
        to: usize,
        /// How long they answer.
        answers_for: Duration,
    },
    /// Pings a host, or asks it to probe a target, this many times at once: each answer has room for updates.
    Pings {
        /// The source.
        from: Who,
        /// The receiver.
        to: usize,
        /// The target of a ping-req; `None` for a ping of the receiver itself.
        target: Option<Who>,
        /// The number of datagrams.
        times: usize,
    },
    /// Gives a host a token that it is to show to a member from now on, and that the member did not issue.
    Token {
        /// The source address.
        from: Who,
        /// The name of the sender.
        caller: Who,
        /// The receiver.
        to: usize,
    },
    /// Claims that its table differs, so that the host begins a push/pull with the source.
    Digest {
        /// The source.
        from: Who,
        /// The receiver.
        to: usize,
    },
    /// Repeats an attack.
    Again {
        /// The attack.
        attack: Box<Self>,
        /// The time between two repetitions.
        every: Duration,
        /// The number of repetitions.
        times: usize,
    },
}

/// Until when each made-up member answers.
#[derive(Debug, Default)]
pub(super) struct Ghosts {
    answers_until: [Time; GHOSTS],
}

impl Ghosts {
    /// Whether a made-up member has this address and answers.
    pub(super) fn answers_at(&self, addr: SocketAddr, now: Time) -> bool {
        Who::made_up_at(addr).is_some_and(|who| self.answers(who, now))
    }

    fn answers(&self, who: Who, now: Time) -> bool {
        who.ghost().is_some_and(|ghost| now < self.answers_until[ghost])
    }

    /// The answer of a made-up member to a datagram, if it gives one.
    pub(super) fn answer(&self, to: SocketAddr, bytes: &[u8], now: Time) -> Option<Vec<u8>> {
        let who = Who::made_up_at(to).filter(|who| self.answers(*who, now))?;
        let name = who.made_up_name()?;
        if let Some((seq, _)) = forge::ping(bytes).filter(|(_, target)| *target == name) {
            return Some(forge::packet(&name, &[Message::Ack(Ack { seq })]));
        }
        let seq = forge::ping_req(bytes)?;
        let answer = match who.ghost()? % 3 {
            0 => Message::Ack(Ack { seq }),
            1 => Message::Nack(Nack { seq }),
            _ => return None,
        };
        Some(forge::packet(&name, &[answer]))
    }

    /// Whether the made-up member at this address answers to any name over a stream; the others let callers wait.
    pub(super) fn takes_streams(&self, addr: SocketAddr) -> bool {
        Who::made_up_at(addr).is_some_and(Who::answers_to_any_name)
    }

    /// Whether a made-up member answers, or did: it holds the token that was sent to it then.
    pub(super) fn holds_token(&self, ghost: usize) -> bool {
        self.answers_until[ghost] > Time::ZERO
    }

    /// Until when a made-up member answers, or did.
    pub(super) fn answers_until(&self, ghost: usize) -> Time {
        self.answers_until[ghost]
    }

    /// Makes a made-up member answer until then.
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

/// An attack that is repeated.
#[derive(Debug)]
pub(super) struct Campaign {
    pub(super) attack: Attack,
    pub(super) every: Duration,
    pub(super) times: usize,
    pub(super) next: Time,
}

impl Campaign {
    /// The attack that is due by now, if any.
    pub(super) fn due(&mut self, now: Time) -> Option<Attack> {
        if self.times == 0 || now < self.next {
            return None;
        }
        self.times -= 1;
        self.next = now + self.every;
        Some(self.attack.clone())
    }
}

/// Whether a name is a made-up member's.
pub(super) fn is_ghost(name: &str) -> bool {
    name.starts_with("ghost")
}

/// The port of the made-up members, and the first port of further names on their hosts.
const PORT: u16 = 7946;
const NAMES_FROM: u16 = 8000;

impl Who {
    /// Draws a source or subject for a cluster of `n`.
    pub(super) fn draw(rng: &mut fastrand::Rng, n: usize) -> Self {
        match rng.u32(..8) {
            0..=3 => Self::Host(rng.usize(..n)),
            4..=6 => Self::Ghost(rng.usize(..GHOSTS)),
            _ => Self::Name(rng.usize(..GHOSTS), rng.usize(..NAMES)),
        }
    }

    /// The made-up member whose host it is on.
    pub(super) fn ghost(self) -> Option<usize> {
        match self {
            Self::Host(_) => None,
            Self::Ghost(ghost) | Self::Name(ghost, _) => Some(ghost),
        }
    }

    pub(super) fn made_up_name(self) -> Option<String> {
        match self {
            Self::Host(_) => None,
            Self::Ghost(ghost) => Some(format!("ghost{ghost}")),
            Self::Name(ghost, name) => Some(format!("ghost{ghost}-{name}")),
        }
    }

    pub(super) fn made_up_addr(self) -> Option<SocketAddr> {
        let port = match self {
            Self::Name(_, name) => NAMES_FROM + name as u16,
            _ => PORT,
        };
        self.ghost().map(|ghost| ([10, 255, 0, ghost as u8], port).into())
    }

    /// The made-up member at this address.
    fn made_up_at(addr: SocketAddr) -> Option<Self> {
        let ghost = (0..GHOSTS)
            .find(|ghost| Self::Ghost(*ghost).made_up_addr().is_some_and(|at| at.ip() == addr.ip()))?;
        match addr.port() {
            PORT => Some(Self::Ghost(ghost)),
            port => {
                let name = usize::from(port.checked_sub(NAMES_FROM)?);
                (name < NAMES).then_some(Self::Name(ghost, name))
            }
        }
    }

    /// Whether a made-up member answers a stream ping for any name: no node can tell it from a holder of that name.
    pub(super) fn answers_to_any_name(self) -> bool {
        self.ghost().is_some_and(|ghost| ghost % 2 == 0)
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

    /// The identity to claim to a receiver that holds this one.
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
    /// Draws an attack on a cluster of `n`; one in four is repeated for a while.
    pub(super) fn draw(rng: &mut fastrand::Rng, n: usize) -> Self {
        let attack = Self::draw_one(rng, n);
        if rng.u32(..4) > 0 {
            return attack;
        }
        let every = Duration::from_millis(rng.u64(50..2000));
        Self::Again { attack: Box::new(attack), every, times: rng.usize(2..60) }
    }

    /// Draws an attack of an attacker that has made up two members, and lets no others answer; it repeats attacks for
    /// longer. Every third attack is on a single host.
    pub(super) fn draw_by_insiders(rng: &mut fastrand::Rng, n: usize) -> Self {
        if rng.u32(..3) == 0 {
            return Self::persecute(rng, n);
        }
        loop {
            let mut attack = match Self::draw(rng, n) {
                Self::Again { attack, every, .. } => {
                    let times = Duration::from_secs(rng.u64(10..180)).div_duration_f64(every) as usize;
                    Self::Again { attack, every, times }
                }
                attack => attack,
            };
            if !matches!(attack.repeated(), Self::Infiltrate { .. }) {
                return attack.by_member(rng);
            }
        }
    }

    /// A member sends claims about one host to all, for minutes, that would keep that host away, elsewhere, listed or slow.
    fn persecute(rng: &mut fastrand::Rng, n: usize) -> Self {
        let host = Who::Host(rng.usize(..n));
        let lie = |kind, at| Lie { kind, about: host, ahead: Ahead::Incarnations(1), at };
        let departures = [Kind::Failed, Kind::Left, Kind::Removed, Kind::Departed];
        let departed = lie(departures[rng.usize(..4)], host);
        // Nothing answers at the address of this made-up member.
        let away = Who::Ghost(GHOSTS - 1);
        let lies = match rng.u32(..6) {
            0 => vec![lie(Kind::Alive, host), departed],
            1 => vec![departed],
            2 => vec![Lie { ahead: Ahead::Life(rng.u64(1..100_000)), ..departed }],
            3 => vec![lie(Kind::Alive, away)],
            4 => vec![lie(Kind::Alive, host)],
            _ => vec![lie(Kind::Suspect, host)],
        };
        let attack = Box::new(Self::ToAll { from: Who::Ghost(rng.usize(..2)), lies });
        let every = Duration::from_millis(rng.u64(20..500));
        let times = Duration::from_secs(rng.u64(60..180)).div_duration_f64(every) as usize;
        Self::Again { attack, every, times }
    }

    /// The attack itself, whether it is repeated or not.
    fn repeated(&mut self) -> &mut Self {
        if let Self::Again { attack, .. } = self { attack } else { self }
    }

    /// Half of the time, makes the source a member.
    fn by_member(mut self, rng: &mut fastrand::Rng) -> Self {
        let member = Who::Ghost(rng.usize(..2));
        match self.repeated() {
            Self::Datagram { from, .. } | Self::Pings { from, .. } | Self::Digest { from, .. }
                if rng.bool() =>
            {
                *from = member;
            }
            Self::Table { caller, from, .. } | Self::Token { caller, from, .. } if rng.bool() => {
                (*caller, *from) = (member, member);
            }
            _ => {}
        }
        self
    }

    fn draw_one(rng: &mut fastrand::Rng, n: usize) -> Self {
        let to = rng.usize(..n);
        let lies = |rng: &mut fastrand::Rng| (0..rng.usize(1..6)).map(|_| Lie::draw(rng, n)).collect();
        match rng.u32(..12) {
            0..=3 => Self::Datagram { from: Who::draw(rng, n), to, lies: lies(rng) },
            4 | 5 => {
                let (from, caller) = (Who::draw(rng, n), Who::draw(rng, n));
                Self::Table { from, caller, to, lies: lies(rng) }
            }
            6 | 7 => {
                let answers_for = Duration::from_millis(rng.u64(..60_000));
                Self::Infiltrate { ghosts: rng.usize(1..=GHOSTS), to, answers_for }
            }
            8 => {
                let target = rng.bool().then(|| Who::draw(rng, n));
                Self::Pings { from: Who::draw(rng, n), to, target, times: rng.usize(1..100) }
            }
            9 => Self::Token { from: Who::draw(rng, n), caller: Who::draw(rng, n), to },
            10 => Self::Digest { from: Who::draw(rng, n), to },
            _ => Self::crowd(rng, n, to),
        }
    }

    /// Claims that many names of one host are alive there or, half of the time, at the address of another; or that they are
    /// suspected.
    fn crowd(rng: &mut fastrand::Rng, n: usize, to: usize) -> Self {
        let (from, host) = (Who::draw(rng, n), rng.usize(..GHOSTS));
        let kind = if rng.u32(..4) > 0 { Kind::Alive } else { Kind::Suspect };
        let crowded = rng.bool().then(|| Who::draw(rng, n));
        let lie = |name| {
            let about = Who::Name(host, name);
            Lie { kind, about, ahead: Ahead::Incarnations(1), at: crowded.unwrap_or(about) }
        };
        Self::Datagram { from, to, lies: (0..rng.usize(1..=NAMES)).map(lie).collect() }
    }
}

/// All lists with one item less, unless there is only one item.
pub(super) fn without_one<T: Clone>(items: &[T]) -> Vec<Vec<T>> {
    let without = |at: usize| [&items[..at], &items[at + 1..]].concat();
    if items.len() < 2 { vec![] } else { (0..items.len()).map(without).collect() }
}

impl Attack {
    /// All variants with one claim less, or fewer repetitions.
    pub(super) fn lesser(&self) -> Vec<Self> {
        match self.clone() {
            Self::Datagram { from, to, lies } => {
                without_one(&lies).into_iter().map(|lies| Self::Datagram { from, to, lies }).collect()
            }
            Self::ToAll { from, lies } => {
                without_one(&lies).into_iter().map(|lies| Self::ToAll { from, lies }).collect()
            }
            Self::Table { from, caller, to, lies } => {
                without_one(&lies).into_iter().map(|lies| Self::Table { from, caller, to, lies }).collect()
            }
            Self::Infiltrate { ghosts, to, answers_for } if ghosts > 1 => {
                vec![Self::Infiltrate { ghosts: ghosts - 1, to, answers_for }]
            }
            Self::Pings { from, to, target, times } if times > 1 => {
                vec![Self::Pings { from, to, target, times: times / 2 }]
            }
            Self::Again { attack, every, times } => {
                let again = |attack, times| Self::Again { attack, every, times };
                let fewer = (times > 1).then(|| again(attack.clone(), times / 2));
                let lesser = attack.lesser().into_iter().map(|attack| again(Box::new(attack), times));
                [*attack.clone()].into_iter().chain(fewer).chain(lesser).collect()
            }
            Self::Infiltrate { .. } | Self::Pings { .. } | Self::Token { .. } | Self::Digest { .. } => vec![],
        }
    }
}
