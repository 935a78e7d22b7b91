//! Searching for broken promises: random schedules of faults, and the shortest one that still breaks it.

use std::{
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use super::{
    check::Violation,
    fault::Fault,
    world::{World, addr},
};
use crate::swim::Config;

/// How long after the last fault everybody must see exactly who is up.
const PATIENCE: Duration = Duration::from_secs(300);

/// A cluster and what happens to it: everything a run depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// What the world's randomness comes from.
    pub seed: u64,
    /// Nodes in the cluster.
    pub nodes: usize,
    /// The faults, each with the time to wait before it.
    pub faults: Vec<(Duration, Fault)>,
}

impl Schedule {
    /// Draws one from a seed.
    #[must_use]
    pub fn draw(seed: u64) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let nodes = 2 + rng.usize(..11);
        let length = rng.usize(5..40);
        let faults = (0..length)
            .map(|_| (Duration::from_millis(rng.u64(..6000)), Fault::draw(&mut rng, nodes)))
            .collect();
        Self { seed, nodes, faults }
    }

    /// Runs it in a cluster of this configuration and says which promise broke, if one did. A panic of the
    /// node is one.
    ///
    /// # Errors
    /// The broken promise.
    pub fn run(&self, config: impl Fn(String) -> Config) -> Result<(), Violation> {
        catch_unwind(AssertUnwindSafe(|| self.play(&config))).unwrap_or_else(|panic| {
            let message = panic.downcast_ref::<String>().cloned();
            let message = message.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
            Err(Violation { rule: "a node never panics", what: message.unwrap_or_default() })
        })
    }

    fn play(&self, config: impl Fn(String) -> Config) -> Result<(), Violation> {
        let mut world = World::new(self.seed);
        world.start_cluster(self.nodes, config);
        // Who forgets everybody must be able to find somebody.
        let everywhere: Vec<_> = (0..self.nodes).map(addr).collect();
        world.hosts.iter_mut().for_each(|host| host.seeds.clone_from(&everywhere));
        for (pause, fault) in &self.faults {
            world.try_run_for(*pause)?;
            fault.apply(&mut world);
        }
        Fault::Heal.apply(&mut world);
        // Whoever is leaving has left by then.
        world.try_run_for(Duration::from_secs(30))?;
        world.try_run_until(PATIENCE, World::views_are_true)?;
        if world.views_are_true() {
            return Ok(());
        }
        let views: Vec<_> = world.up().map(|host| (host, world.node(host).members())).collect();
        Err(Violation { rule: "views converge after the faults end", what: format!("{views:?}") })
    }

    /// The shortest schedule found that still fails in the same way, by leaving out faults (delta debugging).
    #[must_use]
    pub fn shrink(&self, fails: impl Fn(&Self) -> bool) -> Self {
        let mut best = self.clone();
        let mut chunk = best.faults.len().div_ceil(2);
        while chunk > 0 {
            let mut at = 0;
            let mut shrank = false;
            while at < best.faults.len() {
                let shorter = best.without(at, chunk);
                if fails(&shorter) {
                    best = shorter;
                    shrank = true;
                } else {
                    at += chunk;
                }
            }
            chunk = if shrank && chunk == 1 { 1 } else { chunk / 2 };
        }
        best
    }

    /// Leaves out some faults, but not the time they took.
    fn without(&self, at: usize, count: usize) -> Self {
        let mut shorter = self.clone();
        let end = (at + count).min(shorter.faults.len());
        let waited: Duration = shorter.faults.drain(at..end).map(|(pause, _)| pause).sum();
        if let Some((pause, _)) = shorter.faults.get_mut(at) {
            *pause += waited;
        }
        shorter
    }
}

/// A schedule that breaks a promise.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// The shortest schedule found.
    pub schedule: Schedule,
    /// What it breaks.
    pub violation: Violation,
}

/// Runs the schedule of a seed; shrinks it if it breaks a promise.
#[must_use]
pub fn try_seed(seed: u64, config: impl Fn(String) -> Config) -> Option<Finding> {
    let schedule = Schedule::draw(seed);
    let rule = schedule.run(&config).err()?.rule;
    let schedule = schedule.shrink(|shorter| shorter.run(&config).is_err_and(|found| found.rule == rule));
    let violation = schedule.run(&config).err()?;
    Some(Finding { schedule, violation })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn after_any_faults_every_promise_is_kept() {
        for seed in 0..600 {
            let config: fn(String) -> Config = [Config::lan, Config::local, Config::wan][seed as usize % 3];
            let finding = try_seed(seed, config);
            assert_eq!(finding, None, "seed {seed}");
        }
    }

    #[test]
    fn what_does_not_matter_is_left_out() {
        let crash_and_heal = |schedule: &Schedule| {
            let at = |wanted: fn(&Fault) -> bool| schedule.faults.iter().position(|(_, f)| wanted(f));
            let crash = at(|fault| matches!(fault, Fault::Crash(_)));
            let heal = at(|fault| *fault == Fault::Heal);
            crash.is_some_and(|crash| heal.is_some_and(|heal| heal > crash))
        };
        let schedule = (0..).map(Schedule::draw).find(crash_and_heal).expect("some seed has both");
        let shrunk = schedule.shrink(crash_and_heal);
        assert_eq!(shrunk.faults.len(), 2, "{shrunk:?}");
    }

    /// With healing and refutation out of reach views cannot converge: the search must notice.
    #[test]
    fn a_broken_cluster_is_found_out() {
        let broken = |name: String| {
            let mut config = Config::lan(name);
            config.cluster = if config.name == "n1" { "other".into() } else { config.cluster };
            config
        };
        let violation = Schedule { seed: 1, nodes: 3, faults: vec![] }.run(broken).unwrap_err();
        assert_eq!(violation.rule, "views converge after the faults end");
    }
}
