//! Searches for broken promises: runs random schedules of faults, and finds the shortest one that still breaks the promise.

use std::{
    any::Any,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use super::{
    attacker::is_ghost,
    check::{CALM, Checker, LONG_MEMORY, Violation},
    fault::Fault,
    host::addr,
    theme::Theme,
    world::World,
};
use crate::{
    error::message_of,
    recording::Recording,
    swim::{Config, MemberState},
    wire::Tags,
};

/// The time after the last fault within which every view must be true, in probe intervals, and at least.
const PATIENCE: (u32, Duration) = (300, Duration::from_secs(300));

/// The probe intervals within which all must know a member's tags while all is well.
const TAGS_WITHIN: u32 = 10;

/// A cluster and its faults: everything that a run depends on.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// The seed of the world's randomness.
    pub seed: u64,
    /// Nodes in the cluster.
    pub nodes: usize,
    /// The faults, each with the time to wait before it.
    pub faults: Vec<(Duration, Fault)>,
}

impl Schedule {
    /// Draws a schedule of a theme from a seed.
    #[must_use]
    pub fn draw(seed: u64, theme: Theme) -> Self {
        let mut rng = fastrand::Rng::with_seed(seed);
        let nodes = theme.nodes(&mut rng);
        let length = rng.usize(5..40);
        // After 90 s all nodes know each other. The first host has no seeds, and is found through the seeds of the
        // others.
        let first = theme.first().map(|fault| (Duration::from_secs(90), fault));
        let drawn = (0..length)
            .map(|_| (Duration::from_millis(rng.u64(..theme.longest_pause())), theme.draw(&mut rng, nodes)))
            .collect::<Vec<_>>();
        Self { seed, nodes, faults: first.into_iter().chain(drawn).collect() }
    }

    /// Runs the schedule in a cluster of this configuration. A panic of the node counts as a broken promise.
    ///
    /// # Errors
    /// The broken promise.
    pub fn run(&self, config: impl Fn(String) -> Config) -> Result<(), Violation> {
        let mut world = World::new(self.seed);
        catch_unwind(AssertUnwindSafe(|| self.play(&mut world, &config)))
            .unwrap_or_else(|panic| Err(panicked(&*panic)))
    }

    /// Runs the schedule. Also returns how many views were judged.
    #[cfg(test)]
    pub(super) fn looks(
        &self,
        config: impl Fn(String) -> Config,
    ) -> (Result<(), Violation>, super::judge::Looks) {
        let mut world = World::new(self.seed);
        let outcome = self.play(&mut world, config);
        (outcome, world.checker.map(|checker| checker.judge.looks()).unwrap_or_default())
    }

    /// Runs the schedule and records every node, in at most `limit` bytes for each of its lives. Broken promises do not
    /// matter.
    #[must_use]
    pub fn recordings(&self, config: impl Fn(String) -> Config, limit: u64) -> Vec<Recording> {
        let mut world = World::new(self.seed);
        world.record(limit);
        _ = self.play(&mut world, config);
        world.recordings()
    }

    fn play(&self, world: &mut World, config: impl Fn(String) -> Config) -> Result<(), Violation> {
        world.judge_during_attacks();
        world.start_cluster(self.nodes, config);
        // Nodes that forget all members must be able to find some again.
        let everywhere: Vec<_> = (0..self.nodes).map(addr).collect();
        world.hosts.iter_mut().for_each(|host| host.seeds.clone_from(&everywhere));
        for (pause, fault) in &self.faults {
            world.try_run_for(*pause)?;
            fault.apply(world);
        }
        self.end_faults(world)?;
        let patience = patience(world).max(detection_by_the_slowest(world));
        world.try_run_until(patience, World::views_are_true)?;
        if !world.views_are_true() {
            return Err(untrue(world, self.nodes));
        }
        world.try_run_until(patience, |world| !world.is_anybody_displaced())?;
        if let Some(host) = world.up().find(|host| world.node(*host).is_displaced()) {
            let what = format!("host {host} is listed by all, and believes that another has its name");
            return Err(Violation {
                rule: "displacement ends when the other holder of the name is gone",
                what,
            });
        }
        settle_joins(world)?;
        afterwards(world)
    }

    /// Ends all faults: second holders of a name go down, attackers fall silent, pauses end.
    fn end_faults(&self, world: &mut World) -> Result<(), Violation> {
        // Hosts that have left go down, as their process would.
        for host in 0..world.hosts.len() {
            if host >= self.nodes || world.hosts[host].left {
                world.crash(host);
            }
        }
        world.end_attacks();
        Fault::Heal.apply(world);
        // Nodes whose address was replaced are restarted.
        world.restart_moved();
        let well = |world: &World| world.up().all(|host| world.hosts[host].is_well(world.now()));
        world.try_run_until(Duration::from_secs(3600), well)?;
        // Hosts that are leaving have left after 30 s.
        world.try_run_for(Duration::from_secs(30))
    }

    /// The shortest schedule found that still fails in the same way, by leaving out faults (delta debugging), then parts of
    /// faults.
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
        for at in 0..best.faults.len() {
            while let Some(lesser) = best.with_lesser(at).into_iter().find(|lesser| fails(lesser)) {
                best = lesser;
            }
        }
        best
    }

    fn with_lesser(&self, at: usize) -> Vec<Self> {
        let with = |fault| {
            let mut lesser = self.clone();
            lesser.faults[at].1 = fault;
            lesser
        };
        self.faults[at].1.lesser().into_iter().map(with).collect()
    }

    /// Leaves out some faults, but keeps their times.
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

/// The broken promise for a panic.
pub(super) fn panicked(panic: &(dyn Any + Send)) -> Violation {
    Violation { rule: "a node never panics", what: message_of(panic) }
}

fn patience(world: &World) -> Duration {
    (slowest_probe(world) * PATIENCE.0).max(PATIENCE.1)
}

/// The time that a node needs, alone among made-up members that have answered probes at its slowest pace, until most of them
/// are suspected.
fn detection_by_the_slowest(world: &World) -> Duration {
    let takes = |host: usize| {
        let config = &world.hosts[host].config;
        let ring = 2 * world.node(host).live() as u32;
        config.probe_interval.saturating_mul(config.health_max).saturating_mul(ring)
            + config.longest_suspicion()
    };
    world.up().map(takes).max().unwrap_or_default()
}

fn slowest_probe(world: &World) -> Duration {
    world.hosts.iter().map(|host| host.config.probe_interval).max().unwrap_or_default()
}

/// The promise that is broken when views do not become true.
fn untrue(world: &World, nodes: usize) -> Violation {
    let views: Vec<_> = world.up().map(|host| (host, world.node(host).members())).collect();
    let listed = |wanted: &dyn Fn(&str) -> bool| {
        let mut members = views.iter().flat_map(|(_, members)| members);
        members.any(|member| member.state.is_live() && wanted(&member.name))
    };
    let is_listed_by_all = |host: usize| {
        let (config, addr) = (&world.hosts[host].config, world.hosts[host].addr);
        views.iter().all(|(_, members)| {
            members.iter().any(|m| *m.name == *config.name && m.addr == addr && m.state.is_live())
        })
    };
    let missing = world.up().find(|host| !is_listed_by_all(*host));
    let had_conflict = |host: usize| {
        world.hosts[nodes..].iter().any(|other| other.config.name == world.hosts[host].config.name)
    };
    let rule = match missing {
        _ if world.is_anybody_displaced() => "displacement ends when the other holder of the name is gone",
        _ if listed(&is_ghost) => "a made-up member that is silent is not listed for long",
        Some(host) if had_conflict(host) => "displacement ends when the other holder of the name is gone",
        Some(_) => "every healthy member is listed by all after the faults end",
        None => "views converge after the faults end",
    };
    let what = format!("missing somewhere: host {missing:?}; views: {views:?}");
    Violation { rule, what }
}

/// Gives every requested join enough time, and checks that it has reported.
fn settle_joins(world: &mut World) -> Result<(), Violation> {
    let longest = world.hosts.iter().map(|host| host.config.stream_timeout).max().unwrap_or_default();
    world.try_run_for(longest * 10)?;
    if let Some(checker) = &mut world.checker {
        checker.settle();
    }
    world.try_run_for(Duration::ZERO)
}

/// Effects of earlier faults may show later: once all has been well for long enough for the checks to be armed, one member
/// leaves and another crashes.
fn afterwards(world: &mut World) -> Result<(), Violation> {
    let up: Vec<_> = world.up().collect();
    let [leaver, crasher, _, ..] = up[..] else { return Ok(()) };
    // A node that forgets within seconds may forget a Left before all have received it.
    if world.hosts.iter().any(|host| host.config.forget_after < LONG_MEMORY) {
        return Ok(());
    }
    let armed = |world: &World| world.checker.as_ref().is_none_or(Checker::is_armed);
    let calm = patience(world) / PATIENCE.0 * (2 * CALM) + Duration::from_secs(10);
    world.try_run_until(calm, armed)?;
    if !armed(world) {
        let what = format!("a view changed within {calm:?}");
        return Err(Violation { rule: "views that are true stay so", what });
    }
    tags_arrive(world, &up)?;
    world.leave_and_stop(leaver);
    world.try_run_for(Duration::from_secs(5))?;
    world.crash(crasher);
    let patience = patience(world);
    world.try_run_until(patience, World::views_are_true)?;
    if !world.views_are_true() {
        return Err(untrue(world, world.hosts.len()));
    }
    left_everywhere(world, leaver)
}

/// While all is well, all know each member's tags within moments, from whatever address it sends; unless lies have raised
/// the epoch of a member whose clock is ahead beyond what the others accept yet (`SECURITY.md`, *Identities beyond
/// refutation*).
fn tags_arrive(world: &mut World, up: &[usize]) -> Result<(), Violation> {
    let latest = up.iter().map(|host| world.node(*host).latest_epoch()).min().unwrap_or_default();
    let is_accepted = |host: &&usize| world.node(**host).local().identity.epoch <= latest;
    let accepted: Vec<_> = up.iter().filter(is_accepted).copied().collect();
    for host in &accepted {
        let tags = Tags::new([("host", host.to_string())]).expect("they are short");
        world.with(*host, |node, now| node.set_tags(now, tags));
    }
    let limit = slowest_probe(world) * TAGS_WITHIN;
    world.try_run_until(limit, World::views_are_true)?;
    if world.views_are_true() {
        return Ok(());
    }
    let views: Vec<_> = up.iter().map(|host| (host, world.node(*host).members())).collect();
    let what = format!("not within {limit:?}: {views:?}");
    Err(Violation { rule: "tags are known to all within moments", what })
}

/// Checks that every node that still lists a host that left lists it as left.
fn left_everywhere(world: &World, leaver: usize) -> Result<(), Violation> {
    let name = &world.hosts[leaver].config.name;
    match world.up().find(|host| world.state(*host, name).is_some_and(|state| state != MemberState::Left)) {
        None => Ok(()),
        Some(host) => {
            let what = format!("host {host}: {:?}", world.node(host).member(name));
            Err(Violation { rule: "who leaves has left, and has not failed", what })
        }
    }
}

/// A schedule that breaks a promise.
#[derive(Debug, Clone, PartialEq)]
pub struct Finding {
    /// Its theme, which gives the configuration together with the seed.
    pub theme: Theme,
    /// The shortest schedule found.
    pub schedule: Schedule,
    /// The broken promise.
    pub violation: Violation,
}

/// Runs the schedule of a seed, and shrinks it if it breaks a promise.
#[must_use]
pub fn try_seed(seed: u64, theme: Theme) -> Option<Finding> {
    let config = |name| theme.config(seed, name);
    let schedule = Schedule::draw(seed, theme);
    let rule = schedule.run(config).err()?.rule;
    let schedule = schedule.shrink(|shorter| shorter.run(config).is_err_and(|found| found.rule == rule));
    let violation = schedule.run(config).err()?;
    Some(Finding { theme, schedule, violation })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::{attacker::Attack, tests::cluster};

    #[test]
    fn shrinking_leaves_out_faults_that_do_not_matter() {
        let crash_and_heal = |schedule: &Schedule| {
            let at = |wanted: fn(&Fault) -> bool| schedule.faults.iter().position(|(_, f)| wanted(f));
            let crash = at(|fault| matches!(fault, Fault::Crash(_)));
            let heal = at(|fault| *fault == Fault::Heal);
            crash.is_some_and(|crash| heal.is_some_and(|heal| heal > crash))
        };
        let draw = |seed| Schedule::draw(seed, Theme::Accidents);
        let schedule = (0..).map(draw).find(crash_and_heal).expect("some seed has both");
        let shrunk = schedule.shrink(crash_and_heal);
        assert_eq!(shrunk.faults.len(), 2, "{shrunk:?}");
    }

    #[test]
    fn a_panic_is_a_broken_promise() {
        let invalid = |name: String| Config { probe_timeout: Duration::from_secs(9), ..Config::lan(name) };
        let violation = Schedule { seed: 1, nodes: 2, faults: vec![] }.run(invalid).unwrap_err();
        assert_eq!(violation.rule, "a node never panics");
    }

    #[test]
    fn a_made_up_member_that_is_listed_is_found_out() {
        let mut world = cluster(3);
        let answers_for = Duration::from_secs(3600);
        world.attack(&Attack::Infiltrate { ghosts: 1, to: 0, answers_for });
        world.run_until("it is let in", Duration::from_secs(5), |world| world.all_see(4));
        assert!(!world.views_are_true());
        assert_eq!(untrue(&world, 3).rule, "a made-up member that is silent is not listed for long");
    }

    #[test]
    fn a_node_that_stays_displaced_is_found_out() {
        let mut world = World::new(14);
        let [left, right] = [0, 2].map(|at| {
            world.start(Config::lan("x"), addr(at), vec![]);
            let member = world.start(Config::lan(format!("with {at}")), addr(at + 1), vec![addr(at)]);
            world.run_for(Duration::from_secs(3));
            member
        });
        world.join(right, 1, &[addr(left)]);
        world.run_until("displacement", Duration::from_secs(90), World::is_anybody_displaced);
        assert_eq!(untrue(&world, 4).rule, "displacement ends when the other holder of the name is gone");
    }

    #[test]
    fn a_node_that_left_and_is_listed_as_failed_is_found_out() {
        for (crashes, expected) in [(false, None), (true, Some("who leaves has left, and has not failed"))] {
            let mut world = cluster(4);
            if crashes {
                world.crash(0);
            } else {
                world.leave_and_stop(0);
            }
            world.run_until("three see three", Duration::from_secs(60), |world| world.all_see(3));
            assert_eq!(left_everywhere(&world, 0).err().map(|violation| violation.rule), expected);
        }
    }

    #[test]
    fn tags_that_do_not_arrive_in_time_are_found_out() {
        let up = [0, 1, 2, 3];
        assert_eq!(tags_arrive(&mut cluster(4), &up), Ok(()));
        let mut world = cluster(4);
        world.net.isolate([3]);
        assert_eq!(tags_arrive(&mut world, &up).unwrap_err().rule, "tags are known to all within moments");
    }

    #[test]
    fn views_that_change_for_ever_are_found_out() {
        let mut world = cluster(4);
        world.checker.as_mut().expect("it is on").be_lenient();
        assert_eq!(afterwards(&mut world).unwrap_err().rule, "views that are true stay so");
        assert_eq!(afterwards(&mut cluster(4)), Ok(()));
    }

    /// Without reconnects and refutation views cannot converge: the search must notice.
    #[test]
    fn a_broken_cluster_is_found_out() {
        let broken = |name: String| {
            let mut config = Config::lan(name);
            config.cluster = if config.name == "n1" { "other".into() } else { config.cluster };
            config
        };
        let violation = Schedule { seed: 1, nodes: 3, faults: vec![] }.run(broken).unwrap_err();
        assert_eq!(violation.rule, "every healthy member is listed by all after the faults end");
    }
}
