//! The promises about every message and query, under any faults.

use std::{collections::BTreeMap, time::Duration};

use super::{
    super::seeds, AskKind, Life, Mailbox, Outcome, QueryProblem, Receiver, SECOND, Settled, Status,
    Subscription, World, answer, inbox, life, millis, next_message, query, serve, take, try_ask,
};
use crate::swim::Config;

/// One message or request, and what its sender was told.
struct Sent {
    to: Life,
    settled: Receiver<Settled>,
    outcome: Option<Outcome>,
}

/// A world in which hosts send to each other while they are killed, paused and cut off.
struct Trial {
    world: World,
    rng: fastrand::Rng,
    /// The inbox of each life that has begun.
    inboxes: Vec<(Life, Subscription<Mailbox>)>,
    /// The lives in which each message was read, as often as it was.
    read: BTreeMap<u64, Vec<Life>>,
    sent: Vec<Sent>,
}

impl Trial {
    fn new(seed: u64) -> Self {
        let mut world = World::new(seed);
        world.start_cluster(5, Config::lan);
        world.run_until("one view", 10 * SECOND, |world| world.all_see(5));
        let mut trial = Self {
            world,
            rng: fastrand::Rng::with_seed(seed),
            inboxes: Vec::new(),
            read: BTreeMap::new(),
            sent: Vec::new(),
        };
        (0..5).for_each(|host| trial.open(host));
        trial
    }

    fn open(&mut self, host: usize) {
        let inbox = inbox(&mut self.world, host);
        drop(serve(&mut self.world, host));
        self.inboxes.push((life(&self.world, host), inbox));
    }

    /// Reads what has arrived and what was reported.
    fn look(&mut self) {
        for (life, inbox) in &self.inboxes {
            while let Some(item) = next_message(inbox) {
                let number = u64::from_le_bytes(item.payload[..8].try_into().unwrap());
                self.read.entry(number).or_default().push(life.clone());
            }
        }
        for host in self.world.up().collect::<Vec<_>>() {
            // Applications read requests now and then; some of these are over by then.
            while self.rng.bool()
                && let Some(item) = take(&mut self.world, host)
            {
                let number = u64::from_le_bytes(item.payload[..8].try_into().unwrap());
                self.read.entry(number).or_default().push(life(&self.world, host));
                let _ = answer(&mut self.world, host, &item, Status::Answered, b"");
            }
        }
        for sent in &mut self.sent {
            if let Ok(settled) = sent.settled.try_recv() {
                assert!(sent.outcome.is_none(), "it is told once");
                assert_eq!(settled.to.name, sent.to.name);
                sent.to = settled.to;
                sent.outcome = Some(settled.outcome);
            }
        }
    }

    fn send(&mut self) {
        let (from, to) = (self.rng.usize(..5), self.rng.usize(..5));
        if self.world.hosts[from].node().is_none() {
            return;
        }
        let number = self.sent.len() as u64;
        let mut payload = number.to_le_bytes().to_vec();
        payload.resize(
            8 + if self.rng.u8(..) < 20 { self.rng.usize(..40_000) } else { self.rng.usize(..100) },
            0,
        );
        let within = millis(self.rng.u64(50..8000));
        let name = format!("n{to}");
        let to_life = match from == to {
            true => Some(life(&self.world, from)),
            false => self.world.node(from).live_life(&name),
        };
        let kind = [AskKind::Message, AskKind::Request][self.rng.usize(..2)];
        let Ok(settled) = try_ask(&mut self.world, (from, to), kind, &payload, within) else { return };
        self.sent.push(Sent { to: to_life.expect("it was asked"), settled, outcome: None });
    }

    fn disturb(&mut self) {
        let host = self.rng.usize(..5);
        match self.rng.u8(..10) {
            0..=2 if self.world.hosts[host].node().is_some() && self.world.up().count() > 2 => {
                self.world.crash(host)
            }
            0..=3 => {
                self.world.restart(host);
                self.open(host);
            }
            4 => self.world.pause(host, millis(self.rng.u64(..3000))),
            5 => self.world.net.isolate([host]),
            6 => self.world.net.lose(self.rng.f64() / 2.0),
            7 => (self.world.net.duplication, self.world.net.reordering) = (0.2, 0.2),
            _ => self.world.net.heal(),
        }
    }

    fn settle(&mut self) {
        self.world.net.heal();
        self.world.run_for(20 * SECOND);
        self.look();
    }

    fn check(&self, seed: u64) {
        for (number, Sent { to, outcome, .. }) in (0..).zip(&self.sent) {
            let read = self.read.get(&number).map_or(&[][..], Vec::as_slice);
            assert!(read.len() <= 1, "seed {seed}: message {number} was delivered {} times", read.len());
            let is_told = outcome.is_some();
            assert!(
                !is_told || read.iter().all(|life| life == to),
                "seed {seed}: message {number} in another life"
            );
            match outcome {
                Some(Ok(_)) => assert_eq!(read.len(), 1, "seed {seed}: message {number} is not there"),
                Some(Err(why)) if !why.may_have_acted() => {
                    assert!(read.is_empty(), "seed {seed}: message {number} arrived: {why:?}");
                }
                // The sender was killed, or is told that the message may have arrived.
                None | Some(Err(_)) => {}
            }
        }
    }
}

/// 10,000 messages and requests, with kills, pauses, partitions, loss and duplicates.
#[test]
fn a_message_that_is_reported_as_taken_is_there_once_and_none_is_there_twice() {
    let (mut messages, mut taken, mut unsure) = (0, 0, 0);
    for seed in seeds(50) {
        let mut trial = Trial::new(seed);
        while trial.sent.len() < 200 {
            for _ in 0..trial.rng.usize(..10) {
                trial.send();
            }
            trial.disturb();
            let pause = millis(trial.rng.u64(..500));
            trial.world.run_for(pause);
            trial.look();
        }
        trial.settle();
        trial.check(seed);
        messages += trial.sent.len();
        taken += trial.sent.iter().filter(|sent| matches!(sent.outcome, Some(Ok(_)))).count();
        unsure += trial
            .sent
            .iter()
            .filter(|sent| matches!(sent.outcome, Some(Err(QueryProblem::Silent { .. }))))
            .count();
    }
    println!("{messages} messages: {taken} taken, {unsure} of which nothing is certain");
    assert!(taken > messages / 4, "{taken} of {messages}");
}

/// Queries under the same disturbances: each member is settled once, and none too late.
#[test]
fn every_asked_member_of_a_query_is_settled_once_and_in_time() {
    for seed in seeds(60) {
        let mut trial = Trial::new(1000 + seed);
        (1..5).for_each(|host| drop(serve(&mut trial.world, host)));
        let within = millis(trial.rng.u64(10..6000));
        let (asked, settled) = query(&mut trial.world, 0, "jobs", within);
        let mut ends = trial.world.now() + within;
        let mut results: Vec<Settled> = Vec::new();
        while trial.world.now() < ends + millis(1) {
            for host in 1..5 {
                if trial.world.hosts[host].node().is_some()
                    && trial.rng.bool()
                    && let Some(item) = take(&mut trial.world, host)
                {
                    let len = if trial.rng.bool() { 10 } else { 10_000 };
                    let _ = answer(&mut trial.world, host, &item, Status::Answered, &vec![0; len]);
                }
            }
            // Host 0 is not killed or paused.
            match trial.rng.u8(..8) {
                0 => trial.world.crash(trial.rng.usize(1..5)),
                1 => trial.world.restart(trial.rng.usize(1..5)),
                2 => trial.world.pause(trial.rng.usize(1..5), millis(trial.rng.u64(..3000))),
                3 => trial.world.net.isolate([trial.rng.usize(1..5)]),
                4 => trial.world.net.lose(trial.rng.f64() / 2.0),
                _ => trial.world.net.heal(),
            }
            let pause = millis(trial.rng.u64(..500)).min(ends.since(trial.world.now()) + millis(1));
            trial.world.run_for(pause);
            results.extend(settled.take());
            if results.len() == asked.len() {
                ends = trial.world.now();
                break;
            }
        }
        assert!(trial.world.now() <= ends + millis(2), "seed {seed}");
        let mut names: Vec<_> = results.iter().map(|one| one.to.name.clone()).collect();
        names.sort();
        let mut expected: Vec<_> = asked.iter().map(|life| life.name.clone()).collect();
        expected.sort();
        assert_eq!(names, expected, "seed {seed}");
        let late = results.iter().find(|one| one.took > within + millis(1));
        assert_eq!(late, None, "seed {seed}");
        assert!(settled.are_over(), "seed {seed}: nothing more comes");
    }
}

#[test]
fn with_a_tenth_of_all_lost_all_of_32_nodes_answer_within_2_seconds() {
    let (mut late, mut slowest) = (0, Duration::ZERO);
    for seed in seeds(4) {
        let mut world = World::new(seed);
        world.start_cluster(32, Config::lan);
        world.run_until("one view", 10 * SECOND, |world| world.all_see(32));
        world.run_for(30 * SECOND);
        world.net.lose(0.1);
        for round in 0..250 {
            let (asked, settled) = query(&mut world, round % 32, "syncswim/ping", 10 * SECOND);
            world.run_for(2 * SECOND);
            let answers = settled.take();
            late += usize::from(answers.len() < asked.len());
            assert!(answers.iter().all(|one| one.outcome.is_ok()), "seed {seed}: {answers:?}");
            slowest = slowest.max(answers.iter().map(|one| one.took).max().unwrap_or_default());
        }
    }
    println!("of 1,000 queries under 10 % loss {late} took longer than 2 s; else {slowest:?} at most");
    assert!(late <= 1, "{late} of 1000");
}
