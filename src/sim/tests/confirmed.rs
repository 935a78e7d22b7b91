//! Confirmed broadcasts of any length, while senders and receivers crash, restart, pause and are cut off.

use std::{collections::BTreeSet, sync::Arc, time::Duration};

use crossbeam_channel::{Receiver, TryRecvError};

use super::{super::World, messages::raise_epoch_to, seeds};
use crate::{data::broadcasts::Outcome, sim::addr, swim::Config, swim::Time};

const SECOND: Duration = Duration::from_secs(1);

/// One broadcast, and what its sender was told.
struct Sent {
    payload: Vec<u8>,
    /// The life of each host at the time of sending.
    lives: Vec<u32>,
    asked: BTreeSet<Arc<str>>,
    ends: Time,
    report: Receiver<Outcome>,
}

struct Trial {
    world: World,
    rng: fastrand::Rng,
    waiting: Vec<Sent>,
    over: Vec<(Sent, Outcome)>,
}

impl Trial {
    fn send(&mut self, host: usize, number: u32) {
        let (world, rng) = (&mut self.world, &mut self.rng);
        let mut payload = number.to_le_bytes().to_vec();
        payload.resize([4, 400, 600, 40_000][rng.usize(..4)], 7);
        let limit = Duration::from_millis(rng.u64(100..8000));
        let lives = world.hosts.iter().map(|host| host.life).collect();
        let own = world.node(host).own_life();
        let asked = world.node(host).live_lives().into_iter().map(|life| life.name);
        let asked = asked.filter(|name| *name != own.name).collect();
        let (at, report) = (world.now(), world.broadcast_confirmed(host, "t", &payload, limit));
        self.waiting.push(Sent { payload, lives, asked, ends: at + limit, report });
    }

    fn disturb(&mut self, host: usize) {
        let (world, rng) = (&mut self.world, &mut self.rng);
        match rng.u32(..12) {
            0 => world.net.lose([0.1, 0.3, 0.5][rng.usize(..3)]),
            1 => world.net.isolate([host]),
            2 | 3 => {
                world.net.heal();
                world.net.lose(0.0);
            }
            4 => world.restart(host),
            5 => world.crash(host),
            6 => world.pause(host, Duration::from_millis(rng.u64(..5000))),
            7 if world.hosts.len() < 12 => {
                let at = world.hosts.len();
                world.start(Config::lan(format!("n{at}")), addr(at), vec![addr(0), addr(1)]);
            }
            8 => {
                let by = (host + 1) % world.hosts.len();
                let is_member =
                    world.hosts[host].is_up() && world.node(host).live_life(&format!("n{by}")).is_some();
                if is_member {
                    let next = world.node(host).own_life().epoch + 1;
                    raise_epoch_to(world, host, by, next);
                }
            }
            9 => (0..60).for_each(|_| _ = world.broadcast(host, "burst", &[0; 200])),
            _ => {}
        }
    }

    fn look(&mut self, seed: u64) {
        let now = self.world.now();
        for sent in std::mem::take(&mut self.waiting) {
            match sent.report.try_recv() {
                Ok(outcome) => self.over.push((sent, outcome)),
                Err(TryRecvError::Empty) => self.waiting.push(sent),
                // The sender's node has ended.
                Err(TryRecvError::Disconnected) => {}
            }
        }
        let late = self.waiting.iter().find(|sent| now > sent.ends + 6 * SECOND);
        assert!(late.is_none(), "seed {seed}: a report is late");
    }

    /// Checks that each member that is reported as reached has got the broadcast, and that all that were asked are
    /// reported.
    fn check(&self, seed: u64) {
        for (Sent { payload, lives, asked, .. }, outcome) in &self.over {
            let names = outcome.reached.iter().map(|(name, _)| name.clone());
            let named: Vec<_> =
                names.chain(outcome.missing.iter().map(|(life, _)| life.name.clone())).collect();
            assert_eq!((named.len(), &named.into_iter().collect()), (asked.len(), asked), "seed {seed}");
            for (name, _) in &outcome.reached {
                let host: usize = name[1..].parse().unwrap();
                if self.world.hosts[host].is_up() && self.world.hosts[host].life == lives[host] {
                    let got = self.world.received(host).iter().filter(|got| got.payload == *payload).count();
                    assert_eq!(got, 1, "seed {seed}: {name} has confirmed {:?}", &payload[..4]);
                }
            }
        }
    }
}

fn play(seed: u64) -> (usize, usize) {
    let (mut world, mut rng) = (World::new(seed), fastrand::Rng::with_seed(seed));
    let n = rng.usize(3..8);
    world.start_cluster(n, Config::lan);
    world.net.duplication = [0.0, 0.3][rng.usize(..2)];
    world.net.reordering = [0.0, 0.3][rng.usize(..2)];
    world.run_for(20 * SECOND);
    let mut trial = Trial { world, rng, waiting: vec![], over: vec![] };
    for number in 0..60 {
        let pause = Duration::from_millis(trial.rng.u64(..1000));
        trial.world.run_for(pause);
        let host = trial.rng.usize(..trial.world.hosts.len());
        if !trial.world.hosts[host].is_up() {
            trial.world.restart(host);
        }
        trial.disturb(host);
        if trial.world.hosts[host].is_up() {
            trial.send(host, number);
        }
        trial.look(seed);
    }
    trial.world.net.heal();
    trial.world.net.lose(0.0);
    trial.world.run_for(30 * SECOND);
    trial.look(seed);
    trial.check(seed);
    let reached = trial.over.iter().map(|(_, outcome)| outcome.reached.len()).sum();
    (reached, trial.over.iter().map(|(_, outcome)| outcome.missing.len()).sum())
}

#[test]
fn a_member_reported_as_reached_has_the_broadcast_and_every_member_is_reported() {
    let (mut reached, mut missing) = (0, 0);
    for seed in seeds(60) {
        let (more, less) = play(seed);
        (reached, missing) = (reached + more, missing + less);
    }
    println!("{reached} were reached, {missing} were not");
}
