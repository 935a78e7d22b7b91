//! An attacker that is no node: it writes datagrams and tables of its own, under any address, and answers for members
//! that it made up, for as long as it likes.
//!
//! Made-up members that have answered hold a token, which was sent to them: what they say is a member's word. All else
//! that it sends is an outsider's, or bears the name and address of a healthy member, without a token.

use std::{net::SocketAddr, time::Duration};

use super::{
    YEAR, forge,
    world::{World, addr},
};
use crate::{
    swim::{Identity, StreamId, StreamStep, Time},
    wire::message::{
        Accusers, Ack, Alive, Departed, End, Failed, Hello, Left, Message, Removed, StreamAck, Suspect,
    },
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

    pub(super) fn are_silent(&self, now: Time) -> bool {
        self.answers_until.iter().all(|until| *until <= now)
    }

    pub(super) fn fall_silent(&mut self) {
        *self = Self::default();
    }
}

fn ghost_addr(ghost: usize) -> SocketAddr {
    ([10, 255, 0, ghost as u8], 7946).into()
}

fn ghost_name(ghost: usize) -> String {
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

    fn addr(self, world: &World) -> SocketAddr {
        match self {
            Self::Host(host) => world.hosts.get(host).map_or(addr(host), |host| host.addr),
            Self::Ghost(ghost) => ghost_addr(ghost),
        }
    }

    fn name(self, world: &World) -> String {
        match self {
            Self::Host(host) => world.hosts[host % world.hosts.len()].config.name.clone(),
            Self::Ghost(ghost) => ghost_name(ghost),
        }
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

    fn identity(&self, held: Identity) -> Identity {
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

impl World {
    /// Lets an attacker do something. Claims of honest nodes are no longer told from its own.
    pub fn attack(&mut self, attack: &Attack) {
        match attack {
            Attack::Datagram { from, to, lies } => self.forge_datagram(*from, *to, lies),
            Attack::Table { from, caller, to, lies } => self.forge_table(*from, *caller, *to, lies),
            Attack::Infiltrate { ghosts, to, answers_for } => self.infiltrate(*ghosts, *to, *answers_for),
        }
    }

    /// Every made-up member goes silent.
    pub fn end_attacks(&mut self) {
        self.ghosts.fall_silent();
    }

    fn forge_datagram(&mut self, from: Who, to: usize, lies: &[Lie]) {
        if let Some(packet) = self.forged(from, to, lies) {
            let from = from.addr(self);
            self.inject(from, self.hosts[to].addr, packet);
        }
    }

    /// The whole exchange at once: hello, their table, ours, end.
    fn forge_table(&mut self, from: Who, caller: Who, to: usize, lies: &[Lie]) {
        let Some(table) = self.forged(caller, to, lies) else { return };
        let (peer, name) = (from.addr(self), caller.name(self));
        let Some(stream) = self.drive_with(to, |endpoint, now| endpoint.accept_stream(now, peer)) else {
            return;
        };
        let hello = forge::packet(&name, &[Message::Hello(Hello { name: &name, digest: 0, removals: 0 })]);
        for frame in [hello, table, forge::packet(&name, &[Message::End(End {})])] {
            self.say_all(to, stream);
            if self.hosts[to].is_up() {
                self.drive_with(to, |endpoint, now| endpoint.handle_frame(now, stream, &frame));
            }
        }
        self.say_all(to, stream);
    }

    fn say_all(&mut self, host: usize, stream: StreamId) {
        let mut buffer = Vec::new();
        while self.hosts[host].is_up()
            && self.drive_with(host, |endpoint, now| endpoint.poll_stream(now, stream, &mut buffer))
                == StreamStep::Send
        {}
    }

    /// A made-up member answers a stream ping, whoever it asks for; in an exchange of tables it says nothing.
    pub(super) fn answer_stream(&mut self, host: usize, stream: StreamId) {
        let mut frame = Vec::new();
        if self.drive_with(host, |endpoint, now| endpoint.poll_stream(now, stream, &mut frame))
            != StreamStep::Send
        {
            return;
        }
        let mut answer = None;
        forge::read(&frame, |message| {
            if let Message::StreamPing(ping) = message {
                let ack = Message::StreamAck(StreamAck { name: ping.target });
                answer = Some(forge::packet(ping.target, &[ack]));
            }
        });
        if let Some(answer) = answer {
            self.drive_with(host, |endpoint, now| endpoint.handle_frame(now, stream, &answer));
            self.say_all(host, stream);
        }
    }

    /// The token that a host gave to a made-up member, when that answered.
    fn token_of(&self, sender: Who, host: usize) -> u32 {
        match (sender, self.hosts[host].node()) {
            (Who::Ghost(ghost), Some(node)) if self.ghosts.answers_until[ghost] > Time::ZERO => {
                node.token_for(&ghost_name(ghost), ghost_addr(ghost))
            }
            _ => 0,
        }
    }

    fn infiltrate(&mut self, ghosts: usize, to: usize, answers_for: Duration) {
        self.disturbed();
        for ghost in 0..ghosts.min(GHOSTS) {
            self.ghosts.answers_until[ghost] = self.now() + answers_for;
            let at = Who::Ghost(ghost);
            let alive = Lie { kind: Kind::Alive, about: at, ahead: Ahead::Incarnations(1), at };
            self.forge_datagram(at, to, &[alive]);
        }
    }

    /// The packet with these claims, under identities that this host would compare; none if it is down.
    fn forged(&mut self, sender: Who, to: usize, lies: &[Lie]) -> Option<Vec<u8>> {
        let token = self.token_of(sender, to);
        let sender = sender.name(self);
        let node = self.hosts[to].node()?;
        let now = Identity { epoch: self.epoch(), incarnation: 0 };
        let claims: Vec<_> = lies
            .iter()
            .map(|lie| {
                let name = lie.about.name(self);
                let held = node.member(&name).map_or(now, |member| member.identity);
                (lie.kind, lie.identity(held), lie.at.addr(self), lie.at.name(self), name)
            })
            .collect();
        let messages: Vec<_> = claims
            .iter()
            .map(|(kind, identity, addr, accuser, name)| claim(*kind, name, *identity, *addr, accuser))
            .collect();
        let packet = forge::proven_packet(&sender, token, &messages);
        self.disturbed();
        if let Some(checker) = &mut self.checker {
            claims.iter().for_each(|(.., name)| checker.lied_about(name));
        }
        Some(packet)
    }
}

fn claim<'a>(
    kind: Kind,
    name: &'a str,
    identity: Identity,
    addr: SocketAddr,
    accuser: &'a str,
) -> Message<'a> {
    let Identity { epoch, incarnation } = identity;
    match kind {
        Kind::Alive => Message::Alive(Alive { name, epoch, incarnation, addr, tags: &[] }),
        Kind::Suspect => {
            let accusers: Accusers<'_> = [accuser].into_iter().collect();
            Message::Suspect(Suspect { name, epoch, incarnation, accusers })
        }
        Kind::Failed => Message::Failed(Failed { name, epoch, incarnation }),
        Kind::Left => Message::Left(Left { name, epoch, incarnation, removed: None }),
        Kind::Removed => {
            // Half of the claims say that it is to be forgotten.
            let removed = Some(Removed { by: accuser, forget: incarnation % 2 == 0 });
            Message::Left(Left { name, epoch, incarnation, removed })
        }
        Kind::Departed => {
            let (left, age_secs, removed) = (false, 1, None);
            Message::Departed(Departed { name, epoch, incarnation, left, age_secs, removed })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::tests::cluster;
    use crate::swim::{Event, MemberState};

    #[test]
    fn a_made_up_member_is_let_in_while_it_answers_and_found_out_when_it_is_silent() {
        let mut world = cluster(4);
        let answers_for = Duration::from_secs(20);
        world.attack(&Attack::Infiltrate { ghosts: 1, to: 0, answers_for });
        world.run_until("it is let in", Duration::from_secs(5), |world| world.all_see(5));
        world.run_for(Duration::from_secs(10));
        assert_eq!(world.state(1, "ghost0"), Some(MemberState::Alive), "it answers");
        world.run_until("the verdict", Duration::from_secs(60), |world| world.all_see(4));
    }

    /// A member's claim that it holds our name makes us ask it, and yield as long as it answers; an outsider's does nothing.
    #[test]
    fn only_a_member_can_take_a_name_and_only_while_it_answers_to_it() {
        for (ghost, is_member, displaced) in [(0, true, true), (1, true, false), (0, false, false)] {
            let mut world = cluster(3);
            let from = Who::Ghost(ghost);
            let answers_for = Duration::from_secs(60);
            if is_member {
                world.attack(&Attack::Infiltrate { ghosts: GHOSTS, to: 1, answers_for });
            }
            world.run_for(Duration::from_secs(1));
            let kind = Kind::Alive;
            let alive = Lie { kind, about: Who::Host(1), ahead: Ahead::Incarnations(1), at: from };
            world.attack(&Attack::Datagram { from, to: 1, lies: vec![alive] });
            let caller = Who::Host(1);
            world.attack(&Attack::Table { from, caller, to: 1, lies: vec![alive] });
            world.run_for(Duration::from_millis(10));
            assert_eq!(world.node(1).is_displaced(), displaced, "ghost {ghost}, a member: {is_member}");
            world.end_attacks();
            world.run_until("its return", Duration::from_secs(120), |world| {
                !world.node(1).is_displaced() && world.all_see(3)
            });
        }
    }

    /// Two lies a second that a healthy member lives where nobody answers.
    #[test]
    fn hearsay_neither_moves_nor_mutes_a_healthy_member() {
        for ahead in [Ahead::Incarnations(1), Ahead::Life(1)] {
            let mut world = cluster(6);
            let answers_for = Duration::from_secs(600);
            world.attack(&Attack::Infiltrate { ghosts: 1, to: 0, answers_for });
            world.run_for(Duration::from_secs(20));
            let at = Who::Ghost(GHOSTS - 1);
            let moved = Lie { kind: Kind::Alive, about: Who::Host(1), ahead, at };
            for lies in 0..120 {
                if lies == 60 {
                    let tags = crate::Tags::new([("k", "v")]).expect("it is short");
                    world.with(1, |node, now| node.set_tags(now, tags));
                }
                world.attack(&Attack::Datagram { from: Who::Ghost(0), to: 0, lies: vec![moved] });
                world.run_for(Duration::from_millis(500));
                for host in [0, 2, 3, 4, 5] {
                    let n1 = world.node(host).member("n1").expect("it is listed");
                    assert_eq!((n1.addr, n1.state), (world.hosts[1].addr, MemberState::Alive));
                    assert_eq!(n1.tags.is_empty(), lies < 60, "what it says is heard");
                }
            }
        }
    }

    /// The same of one that has crashed: at another address, or as another life.
    #[test]
    fn hearsay_keeps_no_dead_member_listed_for_all() {
        let silent = Who::Ghost(GHOSTS - 1);
        for (ahead, at) in
            [(Ahead::Incarnations(1), silent), (Ahead::Life(1), Who::Host(1)), (Ahead::Life(1), silent)]
        {
            let mut world = cluster(6);
            let answers_for = Duration::from_secs(600);
            world.attack(&Attack::Infiltrate { ghosts: 1, to: 0, answers_for });
            world.run_for(Duration::from_secs(20));
            world.crash(1);
            let lie = Lie { kind: Kind::Alive, about: Who::Host(1), ahead, at };
            for _ in 0..200 {
                world.attack(&Attack::Datagram { from: Who::Ghost(0), to: 0, lies: vec![lie] });
                world.run_for(Duration::from_millis(400));
            }
            for host in [0, 2, 3, 4, 5] {
                assert_eq!(
                    world.state(host, "n1"),
                    Some(MemberState::Failed),
                    "{ahead:?}, {at:?}, host {host}"
                );
            }
        }
    }

    #[test]
    fn a_claim_counts_only_from_who_shows_its_token() {
        for (from, is_member, believed) in
            [(Who::Ghost(0), false, false), (Who::Host(2), false, false), (Who::Ghost(0), true, true)]
        {
            let mut world = cluster(4);
            if is_member {
                let answers_for = Duration::from_secs(60);
                world.attack(&Attack::Infiltrate { ghosts: 1, to: 0, answers_for });
                world.run_for(Duration::from_secs(1));
            }
            let left = Lie { kind: Kind::Left, about: Who::Host(1), ahead: Ahead::Incarnations(0), at: from };
            world.attack(&Attack::Datagram { from, to: 0, lies: vec![left] });
            world.run_for(Duration::from_millis(1));
            let said_left =
                |event: &Event| matches!(event, Event::Left { member, .. } if &*member.name == "n1");
            let told = world.hosts[0].events.iter().any(|(_, event)| said_left(event));
            assert_eq!(told, believed, "{from:?}, {is_member}");
            world.run_for(Duration::from_secs(2));
            assert_eq!(world.state(0, "n1"), Some(MemberState::Alive), "whoever is spoken of refutes it");
        }
    }

    #[test]
    fn a_forged_table_is_heard_to_its_end_and_changes_nothing() {
        let mut world = cluster(4);
        let failed =
            Lie { kind: Kind::Failed, about: Who::Host(1), ahead: Ahead::Incarnations(0), at: Who::Host(2) };
        let before = world.node(0).metrics().syncs;
        let from = Who::Host(2);
        world.attack(&Attack::Table { from, caller: from, to: 0, lies: vec![failed] });
        assert_eq!(world.node(0).metrics().syncs, before + 1);
        assert_eq!(world.state(0, "n1"), Some(MemberState::Alive));
    }
}
