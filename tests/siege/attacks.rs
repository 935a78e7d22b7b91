//! The attacks, in random order. Each attack is short, and continues at its next turn.

use std::{
    collections::VecDeque,
    net::{Ipv4Addr, SocketAddr, TcpStream},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering::Relaxed},
    },
    thread,
    time::{Duration, Instant},
};

use fastrand::Rng;
use parking_lot::Mutex;

use crate::{
    attackers::{Persona, connect_from, tell},
    support::forge::{self, Header, LATEST, Section, Who},
};

/// The state that both sides share.
pub(crate) struct Field {
    /// The honest members, as they describe themselves.
    pub(crate) honest: Mutex<Vec<Who>>,
    /// The member that was crashed on purpose, in its last life.
    pub(crate) crashed: Mutex<Option<Who>>,
    pub(crate) personas: Mutex<Vec<Arc<Persona>>>,
    /// Addresses of third parties.
    pub(crate) bystanders: Vec<SocketAddr>,
    pub(crate) max_members: usize,
}

impl Field {
    /// No persona may answer under the name of a member that is about to crash: it would be a member of that name.
    pub(crate) fn crashes(&self, who: Who) {
        let mut crashed = self.crashed.lock();
        for persona in &*self.personas.lock() {
            persona.answer_to(&who.name, false);
        }
        *crashed = Some(who);
    }
}

type Attack = (&'static str, fn(&mut Attacker));

const ATTACKS: [Attack; 24] = [
    ("displace by outsiders", Attacker::displace_by_outsiders),
    ("take names by streams", Attacker::take_names_by_streams),
    ("outsiders' claims", Attacker::outsiders_claims),
    ("flood", Attacker::flood),
    ("pings of 60 kB", Attacker::huge_pings),
    ("introduce third parties", Attacker::introduce_third_parties),
    ("half-open streams", Attacker::half_open_streams),
    ("revive", Attacker::revive),
    ("replay", Attacker::replay),
    ("join", Attacker::join),
    ("conflicting holders that answer", Attacker::conflicting_holders_that_answer),
    ("silent members and verdicts", Attacker::silent_members_and_verdicts),
    ("far epochs", Attacker::far_epochs),
    ("members at third parties", Attacker::members_at_third_parties),
    ("accuse", Attacker::accuse),
    ("claim departures", Attacker::claim_departures),
    ("fill relays", Attacker::fill_relays),
    ("fill tables", Attacker::fill_tables),
    ("many at one address", Attacker::many_at_one_address),
    ("flood updates by stream", Attacker::flood_updates_by_stream),
    ("verdicts on old lives", Attacker::verdicts_on_old_lives),
    ("resurrect", Attacker::resurrect),
    ("fall silent", Attacker::fall_silent),
    ("hand out tokens", Attacker::hand_out_tokens),
];

/// Addresses of outsiders.
const OUTSIDE: [Ipv4Addr; 3] =
    [Ipv4Addr::new(127, 0, 2, 1), Ipv4Addr::new(127, 0, 2, 2), Ipv4Addr::new(127, 0, 2, 3)];

pub(crate) fn inside(random: &mut Rng) -> Ipv4Addr {
    Ipv4Addr::new(127, 0, 0, random.u8(66..74))
}

pub(crate) struct Attacker {
    field: Arc<Field>,
    random: Rng,
    outsider: Arc<Persona>,
    held: VecDeque<TcpStream>,
    holders_until: Option<Instant>,
    made_up: u64,
    /// How many turns each attack had.
    pub(crate) took: Vec<(&'static str, u32)>,
}

/// The attacks of personas that have not joined.
const BY_OUTSIDERS: &str = "outsiders,take names,flood,introduce,half-open,revive,replay,hand out";

impl Attacker {
    pub(crate) fn new(field: Arc<Field>, random: Rng, outsider: Arc<Persona>) -> Self {
        let held = VecDeque::new();
        Self { field, random, outsider, held, holders_until: None, made_up: 0, took: Vec::new() }
    }

    /// Runs one attack after the other. `SIEGE_ONLY` selects those whose names contain one of its words.
    ///
    /// By default, attacks that members may make without a key (`SECURITY.md`, *Not defended*) are left out.
    pub(crate) fn attack_until(&mut self, over: &AtomicBool) {
        let only = std::env::var("SIEGE_ONLY").unwrap_or_else(|_| BY_OUTSIDERS.to_owned());
        let takes_part = |name: &str| only == "all" || only.split(',').any(|word| name.contains(word));
        let mut attacks = ATTACKS.to_vec();
        attacks.retain(|(name, _)| takes_part(name));
        while !over.load(Relaxed) {
            let (name, attack) = attacks[self.random.usize(..attacks.len())];
            attack(self);
            match self.took.iter_mut().find(|(of, _)| *of == name) {
                Some((_, times)) => *times += 1,
                None => self.took.push((name, 1)),
            }
            self.stop_holders_in_time();
            thread::sleep(Duration::from_millis(self.random.u64(5..60)));
        }
    }

    fn honest(&self) -> Vec<Who> {
        self.field.honest.lock().clone()
    }

    fn victim(&mut self) -> Who {
        let honest = self.honest();
        honest[self.random.usize(..honest.len())].clone()
    }

    /// A persona that holds this member's token; if there is none, one asks for it.
    fn member(&mut self, to: &Who) -> Option<Arc<Persona>> {
        let personas = self.field.personas.lock().clone();
        let (proven, others): (Vec<_>, Vec<_>) = personas
            .into_iter()
            .filter(|of| of.name.starts_with("in-"))
            .partition(|of| of.is_proven_to(to.addr));
        if proven.is_empty() {
            others.iter().for_each(|of| of.introduce(to.addr, &to.name));
            return None;
        }
        Some(Arc::clone(&proven[self.random.usize(..proven.len())]))
    }

    /// Sends claims as members do: most in datagrams, some by stream.
    fn tell_all(&mut self, claims: &[Section]) {
        for to in self.honest() {
            let Some(member) = self.member(&to) else { continue };
            if self.random.u8(..8) == 0 {
                let header = member.header(to.addr);
                let std::net::IpAddr::V4(ip) = member.addr.ip() else { continue };
                let _ = tell(ip, to.addr, &member.name, header, claims);
            } else {
                claims.chunks(40).for_each(|some| member.say(to.addr, some));
            }
        }
    }

    fn made_up(&mut self, addr: SocketAddr) -> Who {
        self.made_up += 1;
        let name = format!("ghost-{}", self.made_up);
        let epoch = 1_700_000_000_000 + self.random.u64(..1_000_000);
        Who { name, addr, epoch, incarnation: 0 }
    }

    /// An address without a node.
    fn nowhere(&mut self) -> SocketAddr {
        SocketAddr::from((inside(&mut self.random), self.random.u16(1024..32_000)))
    }

    fn displace_by_outsiders(&mut self) {
        for (i, victim) in self.honest().into_iter().enumerate() {
            let source = OUTSIDE[i % OUTSIDE.len()];
            let holder = victim.at(self.outsider.addr).later(0, self.random.u64(..3));
            let name = if self.random.bool() { &*victim.name } else { "outsider" };
            let header = Header { sender: forge::mark(name), token: self.random.u32(..) };
            let _ = tell(source, victim.addr, name, header, &[holder.alive()]);
        }
    }

    fn take_names_by_streams(&mut self) {
        let (victim, told) = (self.victim(), self.victim());
        let claims: Vec<_> = (0..200).map(|i| victim.at(self.outsider.addr).later(i, 1).alive()).collect();
        let header = Header { sender: forge::mark(&victim.name), token: 0 };
        let _ = tell(OUTSIDE[0], told.addr, &victim.name, header, &claims);
    }

    fn all_claims(&mut self, victim: &Who, elsewhere: SocketAddr) -> Vec<Section> {
        let later = victim.later(0, self.random.u64(..3));
        vec![
            later.at(elsewhere).alive(),
            later.suspect(&["n0", "n1", "n2"]),
            later.failed(),
            later.left(),
            later.gone(self.random.bool(), 1),
        ]
    }

    fn outsiders_claims(&mut self) {
        for to in self.honest() {
            let victim = self.victim();
            let claims = self.all_claims(&victim, self.outsider.addr);
            for sender in [0, forge::mark(&victim.name), forge::mark("n1"), forge::mark("in-0")] {
                for token in [0, self.random.u32(..)] {
                    for claim in &claims {
                        let ping = forge::ping(7, &to.name);
                        let header = Header { sender, token };
                        self.outsider.send(to.addr, &forge::packet(header, std::slice::from_ref(claim)));
                        self.outsider.send(to.addr, &forge::packet(header, &[ping, claim.clone()]));
                    }
                }
            }
        }
    }

    fn flood(&mut self) {
        let to = self.victim();
        let good = forge::packet(Header::default(), &[forge::ping(9, &to.name)]);
        for _ in 0..2000 {
            let mut bytes = good.repeat(self.random.usize(1..40));
            let at = self.random.usize(..bytes.len());
            bytes[at] ^= 1 << self.random.u8(..8);
            self.outsider.send(to.addr, &bytes);
        }
    }

    fn huge_pings(&mut self) {
        let to = self.victim();
        let mut sections = vec![forge::ping(11, &to.name)];
        while sections.iter().map(|(_, body)| body.len() + 2).sum::<usize>() < 60_000 {
            let nowhere = self.nowhere();
            sections.push(self.made_up(nowhere).alive());
        }
        self.outsider.say(to.addr, &sections);
        if let Some(member) = self.member(&to) {
            member.say(to.addr, &sections);
        }
    }

    fn introduce_third_parties(&mut self) {
        for to in self.honest() {
            for _ in 0..10 {
                let addr = self.bystander();
                let who = self.made_up(addr);
                let header = Header { sender: forge::mark(&who.name), token: 0 };
                let sections = [forge::ping(13, &to.name), who.alive()];
                self.outsider.send(to.addr, &forge::packet(header, &sections));
                let _ = tell(OUTSIDE[1], to.addr, &who.name, header, &[who.alive()]);
            }
        }
    }

    fn bystander(&mut self) -> SocketAddr {
        self.field.bystanders[self.random.usize(..self.field.bystanders.len())]
    }

    fn half_open_streams(&mut self) {
        let to = self.victim();
        for source in OUTSIDE {
            for _ in 0..10 {
                self.held.extend(connect_from(source, to.addr));
            }
        }
        self.held.drain(..self.held.len().saturating_sub(200));
    }

    /// Outsiders claim that departed members are back.
    fn revive(&mut self) {
        let Some(gone) = self.field.crashed.lock().clone() else { return };
        for to in self.honest() {
            for back in [gone.clone(), gone.later(0, 1), gone.later(1, 0)] {
                let header = Header { sender: forge::mark(&back.name), token: 0 };
                self.outsider.send(to.addr, &forge::packet(header, &[back.alive()]));
                let back = back.at(self.outsider.addr);
                self.outsider
                    .send(to.addr, &forge::packet(header, &[forge::ping(3, &to.name), back.alive()]));
            }
        }
    }

    fn replay(&mut self) {
        let personas = self.field.personas.lock().clone();
        let heard: Vec<_> =
            personas.iter().flat_map(|of| of.heard.lock().drain(..).collect::<Vec<_>>()).collect();
        for to in self.honest() {
            heard.iter().for_each(|bytes| self.outsider.send(to.addr, bytes));
        }
    }

    /// Joins by stream or by datagram, under a new name.
    fn join(&mut self) {
        let mut personas = self.field.personas.lock();
        let inside_already = personas.iter().filter(|of| of.name.starts_with("in-")).count();
        if inside_already < 12 {
            let name = format!("in-{inside_already}");
            personas.push(Persona::new(name, inside(&mut self.random), self.random.u64(1..LATEST)));
        }
        let new = Arc::clone(&personas[self.random.usize(..personas.len())]);
        drop(personas);
        for to in self.honest() {
            if self.random.bool() {
                new.introduce(to.addr, &to.name);
            } else if let std::net::IpAddr::V4(ip) = new.addr.ip() {
                let _ = tell(ip, to.addr, &new.name, new.header(to.addr), &[new.who().alive()]);
            }
        }
    }

    /// A persona answers under an honest name at another address for a few seconds, and members claim so.
    fn conflicting_holders_that_answer(&mut self) {
        if self.holders_until.is_some() {
            return;
        }
        let victim = self.victim();
        let crashed = self.field.crashed.lock();
        if crashed.as_ref().is_some_and(|of| of.name == victim.name) {
            return;
        }
        let personas = self.field.personas.lock().clone();
        let holder = &personas[self.random.usize(..personas.len())];
        holder.answer_to(&victim.name, true);
        drop(crashed);
        self.holders_until = Some(Instant::now() + Duration::from_secs(4));
        self.tell_all(&[victim.at(holder.addr).later(0, 1).alive()]);
    }

    fn stop_holders_in_time(&mut self) {
        if self.holders_until.is_some_and(|until| until < Instant::now()) {
            self.holders_until = None;
            for persona in &*self.field.personas.lock() {
                self.field.honest.lock().iter().for_each(|of| persona.answer_to(&of.name, false));
            }
        }
    }

    fn silent_members_and_verdicts(&mut self) {
        let mut claims: Vec<_> = Vec::new();
        for _ in 0..40 {
            let nowhere = self.nowhere();
            claims.push(self.made_up(nowhere).alive());
        }
        self.tell_all(&claims);
        let honest = self.honest();
        for later in 0..2 {
            let verdicts: Vec<_> = honest.iter().map(|of| of.later(0, later).failed()).collect();
            self.tell_all(&verdicts);
        }
    }

    fn far_epochs(&mut self) {
        let (nowhere, victim) = (self.nowhere(), self.victim());
        let ghost = Who { epoch: LATEST - self.random.u64(..2), ..self.made_up(nowhere) };
        let beyond = Who { epoch: LATEST + 1, ..self.made_up(nowhere) };
        let far = Who { incarnation: 1 << 40, ..self.made_up(nowhere) };
        let next = Who { incarnation: 1 << self.random.u8(..41), ..victim.later(1, 0) };
        let jump = victim.later(0, 1 << self.random.u8(..21));
        self.tell_all(&[ghost.alive(), beyond.alive(), far.alive(), far.later(0, 1 << 20).alive()]);
        match self.random.u8(..4) {
            0 => self.tell_all(&[next.alive()]),
            1 => self.tell_all(&[jump.failed()]),
            2 => self.tell_all(&[next.at(nowhere).alive(), next.suspect(&["n0", "n1"])]),
            _ => self.tell_all(&[jump.left()]),
        }
    }

    fn members_at_third_parties(&mut self) {
        let mut claims = Vec::new();
        for _ in 0..40 {
            let bystander = self.bystander();
            claims.push(self.made_up(bystander).alive());
        }
        self.tell_all(&claims);
    }

    fn accuse(&mut self) {
        let names: Vec<_> = self.honest().into_iter().map(|of| of.name).collect();
        let accusers: Vec<&str> = names.iter().map(String::as_str).collect();
        for _ in 0..3 {
            let victim = self.victim();
            let later = self.random.u64(..2);
            self.tell_all(&[victim.later(0, later).suspect(&accusers)]);
        }
    }

    fn claim_departures(&mut self) {
        let victim = self.victim();
        let nowhere = self.nowhere();
        let claims = self.all_claims(&victim, nowhere);
        let one = self.random.usize(..claims.len());
        self.tell_all(&claims[one..=one]);
    }

    fn fill_relays(&mut self) {
        let to = self.victim();
        // Each request comes from a member of its own: half a table of them, on one host. They arrive little by little.
        let mut crowd: Vec<_> = self.field.personas.lock().clone();
        crowd.retain(|of| of.name.starts_with("crowd-"));
        for at in crowd.len()..(crowd.len() + 20).min(self.field.max_members / 2) {
            let one = Persona::new(format!("crowd-{at}"), Ipv4Addr::new(127, 0, 0, 74), 1);
            self.field.personas.lock().push(Arc::clone(&one));
            crowd.push(one);
        }
        for (seq, member) in (0..).zip(crowd) {
            if member.is_proven_to(to.addr) {
                let target = self.victim();
                member.say(to.addr, &[forge::ping_req(seq, &target.name, 60_000)]);
            } else {
                member.introduce(to.addr, &to.name);
            }
        }
    }

    fn fill_tables(&mut self) {
        let mut claims = Vec::new();
        for _ in 0..self.field.max_members {
            let nowhere = self.nowhere();
            claims.push(self.made_up(nowhere).alive());
        }
        self.tell_all(&claims);
    }

    fn many_at_one_address(&mut self) {
        let addr = if self.random.bool() { self.nowhere() } else { self.victim().addr };
        let claims: Vec<_> = (0..300).map(|_| self.made_up(addr).alive()).collect();
        self.tell_all(&claims);
    }

    fn flood_updates_by_stream(&mut self) {
        let to = self.victim();
        let Some(member) = self.member(&to) else { return };
        let std::net::IpAddr::V4(ip) = member.addr.ip() else { return };
        let nowhere = self.nowhere();
        let mut claims: Vec<_> = (0..5000).map(|_| self.made_up(nowhere).gone(false, 1)).collect();
        claims.extend(self.honest().iter().map(|of| of.gone(true, 1)));
        let _ = tell(ip, to.addr, &member.name, member.header(to.addr), &claims);
    }

    /// Verdicts on the earlier life of a member that is back.
    fn verdicts_on_old_lives(&mut self) {
        let old = self.field.crashed.lock().clone();
        let Some(old) = old else { return };
        self.tell_all(&[old.failed(), old.later(0, 1).left(), old.later(0, 2).gone(false, 1)]);
    }

    /// Members claim that a crashed member is alive: at its address, and at another.
    fn resurrect(&mut self) {
        let Some(gone) = self.field.crashed.lock().clone() else { return };
        let later = self.random.u64(1..1000);
        let (nowhere, bystander) = (self.nowhere(), self.bystander());
        let addr = [gone.addr, nowhere, bystander][self.random.usize(..3)];
        self.tell_all(&[gone.later(0, later).at(addr).alive()]);
    }

    /// A member answers nothing for a while; at the next turn it answers again.
    fn fall_silent(&mut self) {
        let personas = self.field.personas.lock().clone();
        let who = &personas[self.random.usize(..personas.len())];
        who.answer_to(&who.name, self.random.bool());
    }

    fn hand_out_tokens(&mut self) {
        for to in self.honest() {
            let victim = self.victim();
            let header = Header { sender: forge::mark(&victim.name), token: self.random.u32(..) };
            let token = forge::word(forge::NEW_TOKEN, self.random.u32(..));
            self.outsider.send(to.addr, &forge::packet(header, &[forge::ping(5, &to.name), token.clone()]));
            let retry = [self.random.u32(..).to_le_bytes(), [0; 4]].concat();
            self.outsider.send(to.addr, &forge::packet(header, &[(forge::RETRY, retry)]));
            self.outsider.send(to.addr, &forge::packet(header, &[forge::word(forge::NACK, 1)]));
        }
    }
}
