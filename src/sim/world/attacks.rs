//! Carries out attacks in a world.

use std::{net::SocketAddr, time::Duration};

use super::World;
use crate::{
    sim::{
        attacker::{Ahead, Attack, Campaign, GHOSTS, Kind, Lie, Who},
        forge,
        host::addr,
    },
    swim::{Identity, StreamId, StreamStep},
    wire::message::{
        Accusers, Alive, Departed, Digest, End, Failed, Hello, Left, Message, NewToken, Ping, PingReq,
        Removed, StreamAck, Suspect,
    },
};

impl World {
    /// Carries out an attack. From then on, claims of honest nodes are not told from the attacker's.
    pub fn attack(&mut self, attack: &Attack) {
        match attack {
            Attack::Datagram { from, to, lies } => self.forge_datagram(*from, *to, lies),
            Attack::ToAll { from, lies } => {
                (0..self.hosts.len()).for_each(|to| self.forge_datagram(*from, to, lies));
            }
            Attack::Table { from, caller, to, lies } => self.forge_table(*from, *caller, *to, lies),
            Attack::Infiltrate { ghosts, to, answers_for } => self.infiltrate(*ghosts, *to, *answers_for),
            Attack::Pings { from, to, target, times } => {
                (0..*times).for_each(|_| self.forge_ping(*from, *to, *target));
            }
            Attack::Token { from, caller, to } => self.forge_token(*from, *caller, *to),
            Attack::Digest { from, to } => {
                let digest = self.rng.u64(1..);
                self.say(*from, *from, *to, &[Message::Digest(Digest { digest })]);
            }
            Attack::Again { attack, every, times } => {
                let (attack, next) = ((**attack).clone(), self.now());
                self.campaigns.push(Campaign { attack, every: *every, times: *times, next });
                self.go_on_attacking();
            }
        }
    }

    /// Carries out the repeated attacks that are due.
    pub(super) fn go_on_attacking(&mut self) {
        let now = self.now;
        let due: Vec<_> = self.campaigns.iter_mut().filter_map(|campaign| campaign.due(now)).collect();
        self.campaigns.retain(|campaign| campaign.times > 0);
        due.iter().for_each(|attack| self.attack(attack));
    }

    /// Every made-up member and the attacker fall silent.
    pub fn end_attacks(&mut self) {
        self.ghosts.fall_silent();
        self.campaigns.clear();
    }

    /// Sends messages under a name, with its token if the attacker has it.
    fn say(&mut self, from: Who, caller: Who, to: usize, messages: &[Message<'_>]) {
        if self.hosts[to].is_up() {
            self.disarm();
            let packet = forge::proven_packet(&self.name_of(caller), self.token_of(caller, to), messages);
            let from = self.addr_of(from);
            self.inject(from, self.hosts[to].addr, packet);
        }
    }

    fn forge_ping(&mut self, from: Who, to: usize, target: Option<Who>) {
        let seq = self.rng.u32(..);
        let name = target.map_or_else(|| self.hosts[to].config.name.clone(), |target| self.name_of(target));
        let message = match target {
            None => Message::Ping(Ping { seq, target: &name }),
            Some(_) => Message::PingReq(PingReq { seq, target: &name, window_ms: 500 }),
        };
        self.say(from, from, to, &[message]);
    }

    fn forge_token(&mut self, from: Who, caller: Who, to: usize) {
        let (seq, token, target) = (self.rng.u32(..), self.rng.u32(..), self.hosts[to].config.name.clone());
        let ping = Message::Ping(Ping { seq, target: &target });
        self.say(from, caller, to, &[ping, Message::NewToken(NewToken { token })]);
    }

    fn forge_datagram(&mut self, from: Who, to: usize, lies: &[Lie]) {
        if let Some(packet) = self.forged(from, to, lies) {
            let from = self.addr_of(from);
            self.inject(from, self.hosts[to].addr, packet);
        }
    }

    /// A whole exchange at once: the attacker's hello, table and end, and all that the host sends in between.
    fn forge_table(&mut self, from: Who, caller: Who, to: usize, lies: &[Lie]) {
        let Some(table) = self.forged(caller, to, lies) else { return };
        self.speaks_from(from);
        let (peer, name) = (self.addr_of(from), self.name_of(caller));
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

    /// A made-up member answers a stream ping for any name; in an exchange of tables it sends nothing.
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

    fn addr_of(&self, who: Who) -> SocketAddr {
        match who {
            Who::Host(host) => self.hosts.get(host).map_or(addr(host), |host| host.addr),
            _ => who.made_up_addr().expect("it is made up"),
        }
    }

    fn name_of(&self, who: Who) -> String {
        match who {
            Who::Host(host) => self.hosts[host % self.hosts.len()].config.name.clone(),
            _ => who.made_up_name().expect("it is made up"),
        }
    }

    /// The token that a host gave to a made-up member when that answered.
    fn token_of(&self, sender: Who, host: usize) -> u32 {
        let is_member = sender.ghost().is_some_and(|ghost| self.ghosts.holds_token(ghost));
        match self.hosts[host].node() {
            Some(node) if is_member => node.token_for(&self.name_of(sender), self.addr_of(sender)),
            _ => 0,
        }
    }

    fn infiltrate(&mut self, ghosts: usize, to: usize, answers_for: Duration) {
        self.disarm();
        for ghost in 0..ghosts.min(GHOSTS) {
            self.ghosts.wake(ghost, self.now() + answers_for);
            let at = Who::Ghost(ghost);
            let alive = Lie { kind: Kind::Alive, about: at, ahead: Ahead::Incarnations(1), at };
            self.forge_datagram(at, to, &[alive]);
        }
    }

    /// The packet with these claims, under identities that this host would compare; `None` if the host is down.
    fn forged(&mut self, sender: Who, to: usize, lies: &[Lie]) -> Option<Vec<u8>> {
        let token = self.token_of(sender, to);
        let sender = self.name_of(sender);
        let node = self.hosts[to].node()?;
        let now = Identity { epoch: self.epoch(), incarnation: 0 };
        let claims: Vec<_> = lies
            .iter()
            .map(|lie| {
                let name = self.name_of(lie.about);
                let held = node.member(&name).map_or(now, |member| member.identity);
                (lie.kind, lie.identity(held), self.addr_of(lie.at), self.name_of(lie.at), name)
            })
            .collect();
        let messages: Vec<_> = claims
            .iter()
            .map(|(kind, identity, addr, accuser, name)| claim(*kind, name, *identity, *addr, accuser))
            .collect();
        let packet = forge::proven_packet(&sender, token, &messages);
        self.disarm();
        lies.iter().for_each(|lie| self.note_misquoted(lie));
        if let Some(checker) = &mut self.checker {
            claims.iter().for_each(|(kind, .., name)| checker.lied_about(name, kind.is_departure()));
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
            // Half of the claims ask for reaping.
            let removed = Some(Removed { by: accuser, reap: incarnation % 2 == 0 });
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
    use crate::{
        sim::tests::cluster,
        swim::{Event, MemberState},
    };

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

    /// If a member claims to hold the node's name, the node asks it, and yields as long as it answers; the claim of an
    /// outsider has no effect.
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

    #[test]
    fn a_claim_counts_only_from_a_sender_that_shows_its_token() {
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

    /// Twice a second an attacker says that a healthy member lives at an address without a node.
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

    /// An attacker lies about a crashed member: it is at another address, or another life.
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
