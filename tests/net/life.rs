//! The life of a cluster: it starts, sets tags, and is watched for a while; then one member crashes and one leaves.
//!
//! Every scenario runs it in another network.

use std::{
    collections::BTreeSet,
    path::PathBuf,
    time::{Duration, Instant},
};

use crate::{
    node::now,
    process::{Process, Setup, Told, within},
    report::{Claim, Report},
    space::{Host, Problem},
};

/// Nodes that run, by name, and the hosts that hold them.
#[derive(Debug)]
pub(crate) struct Cluster {
    processes: Vec<Process>,
    folder: PathBuf,
    /// How often the leaver leaves.
    leaves: u64,
    begun: u64,
}

/// The roles in a life, and the time limits.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Plan<'a> {
    /// The node that sets the first tag.
    pub(crate) speaker: &'a str,
    pub(crate) leaver: &'a str,
    pub(crate) victim: &'a str,
    /// How long all may take to see all, and to see a crash.
    pub(crate) patience: Duration,
    /// How long a tag and a leave may take to reach all.
    pub(crate) spread: Duration,
}

fn between(from: u64, until: u64) -> Duration {
    Duration::from_micros(until.saturating_sub(from))
}

impl Cluster {
    pub(crate) fn new(folder: PathBuf, leaves: u64) -> Self {
        Self { processes: Vec::new(), folder, leaves, begun: now() }
    }

    pub(crate) fn start(&mut self, host: &Host, setup: &Setup) -> Result<(), Problem> {
        if self.processes.is_empty() {
            // The time for creating hosts and filters does not count as part of the start.
            self.begun = now();
        }
        self.processes.push(Process::start(host, setup, &self.folder)?);
        Ok(())
    }

    /// Starts a node again that has ended.
    fn start_again(&mut self, name: &str) -> Result<(), Problem> {
        let folder = self.folder.clone();
        let again = self.process(name).start_again(&folder)?;
        self.processes.push(again);
        Ok(())
    }

    /// The process of this name; of several lives the last.
    pub(crate) fn process(&mut self, name: &str) -> &mut Process {
        self.processes.iter_mut().rfind(|process| process.name == name).expect("it was started")
    }

    fn present(&self) -> impl Iterator<Item = &Process> {
        self.processes.iter().filter(|process| !process.was_away(now()))
    }

    pub(crate) fn names(&self) -> BTreeSet<String> {
        self.present().map(|process| process.name.clone()).collect()
    }

    /// Waits until every running node lists exactly the running ones. Returns how long after `from` the last one did.
    pub(crate) fn converge(&self, from: u64, limit: Duration) -> Result<Duration, String> {
        let names = self.names();
        let since = || self.present().map(|process| process.lists_since(&names)).collect::<Option<Vec<_>>>();
        let done = within(limit, since).and_then(|all| all.into_iter().max());
        done.map(|last| between(from, last)).ok_or_else(|| {
            let lacking = self.present().filter(|process| process.lists_since(&names).is_none());
            format!("not within {limit:?} by {}", list(lacking.map(|process| &*process.name)))
        })
    }

    /// Waits until all others have reported an event for which `is` holds. Returns how long after `from` the last one did,
    /// or which did not.
    pub(crate) fn all_others(
        &self,
        but: &str,
        from: u64,
        limit: Duration,
        is: impl Fn(&Told) -> bool,
    ) -> Result<Duration, String> {
        let others = || self.present().filter(|process| process.name != but);
        let told = || others().map(|process| process.first(from, &is)).collect::<Option<Vec<_>>>();
        let last = within(limit, told).and_then(|all| all.iter().map(|told| told.at).max());
        last.map(|last| between(from, last)).ok_or_else(|| {
            let lacking = others().filter(|process| process.first(from, &is).is_none());
            format!("not within {limit:?} at {}", list(lacking.map(|process| &*process.name)))
        })
    }

    /// Sets a tag, and waits until all others know it.
    pub(crate) fn tag(&mut self, speaker: &str, value: &str, limit: Duration) -> Result<Duration, String> {
        let from = now();
        let tag = format!("round={value}");
        self.process(speaker).command(&format!("tag {tag}")).map_err(|problem| problem.0)?;
        self.all_others(speaker, from, limit, |told| {
            matches!(&*told.kind, "updated" | "joined") && told.name == speaker && told.text.contains(&tag)
        })
    }

    /// A member leaves. Returns how many others report it as left, how many as failed, and how many others there are.
    pub(crate) fn leave(&mut self, leaver: &str, limit: Duration) -> Result<(usize, usize, usize), Problem> {
        self.leave_by(leaver, limit, |process| process.command("leave"))
    }

    /// The same with any way to make it leave.
    pub(crate) fn leave_by(
        &mut self,
        leaver: &str,
        limit: Duration,
        begin: impl FnOnce(&mut Process) -> Result<(), Problem>,
    ) -> Result<(usize, usize, usize), Problem> {
        let process = self.process(leaver);
        let from = process.will_be_gone();
        begin(process)?;
        let verdict = |process: &Process| {
            process.first(from, |told| matches!(&*told.kind, "left" | "failed") && told.name == leaver)
        };
        within(limit, || self.present().all(|process| verdict(process).is_some()).then_some(()));
        let verdicts: Vec<String> = self.present().filter_map(verdict).map(|told| told.kind).collect();
        let count = |kind| verdicts.iter().filter(|&verdict| verdict == kind).count();
        Ok((count("left"), count("failed"), self.present().count()))
    }

    /// A member crashes. Returns how long the last other one took to report it.
    pub(crate) fn crash(
        &mut self,
        victim: &str,
        limit: Duration,
    ) -> Result<Result<Duration, String>, Problem> {
        let at = self.process(victim).crash()?;
        Ok(self.all_others(victim, at, limit, |told| told.kind == "failed" && told.name == victim))
    }

    /// The reports that a running member failed.
    pub(crate) fn false_verdicts(&self) -> Vec<String> {
        let mut verdicts = Vec::new();
        for process in &self.processes {
            let failed = process.told().into_iter().filter(|told| told.kind == "failed");
            for told in failed {
                // A later life at another address replaces the earlier one, which is then reported as failed.
                let lives = || self.processes.iter().filter(|accused| accused.name == told.name);
                let accused =
                    lives().find(|accused| told.text.contains(&accused.addr)).or_else(|| lives().next_back());
                if accused.is_some_and(|accused| !accused.was_away(told.at)) {
                    let after = between(self.begun, told.at).as_secs_f64();
                    verdicts.push(format!("{} of {} at {after:.1} s", process.name, told.name));
                }
            }
        }
        verdicts
    }

    pub(crate) fn suspicions(&self) -> usize {
        self.processes.iter().flat_map(Process::told).filter(|told| told.kind == "suspected").count()
    }

    /// Runs the whole life. Conditions that do not hold are in the report.
    pub(crate) fn live(
        &mut self,
        plan: Plan<'_>,
        quiet: Duration,
        report: &mut Report,
    ) -> Result<(), Problem> {
        self.gather(plan, report);
        self.talk(plan, quiet, report);
        self.part(plan, report)
    }

    /// Waits until all see all.
    pub(crate) fn gather(&self, plan: Plan<'_>, report: &mut Report) {
        report.nodes = self.processes.len();
        let start = self.converge(self.begun, plan.patience);
        report.start = start.as_ref().ok().copied();
        report.claim(Claim::AllSeeAll, start.is_ok(), || start.unwrap_err());
    }

    /// The speaker sets a tag; then each node does in turn, while the cluster is watched.
    fn talk(&mut self, plan: Plan<'_>, quiet: Duration, report: &mut Report) {
        let until = Instant::now() + quiet;
        let mut speakers: Vec<String> = self.names().into_iter().collect();
        speakers.retain(|name| name != plan.speaker);
        let mut problem = None;
        let mut slowest = Duration::ZERO;
        let turns = std::iter::once(plan.speaker.to_owned()).chain(speakers.into_iter().cycle());
        for (round, speaker) in turns.enumerate() {
            match self.tag(&speaker, &round.to_string(), plan.spread) {
                Ok(time) => slowest = slowest.max(time),
                Err(seen) => problem = problem.or(Some(format!("{speaker}'s {seen}"))),
            }
            // A pause between two tags, so that each is an update of its own.
            let rest = Duration::from_secs(1).min(until.saturating_duration_since(Instant::now()));
            std::thread::sleep(rest);
            if Instant::now() >= until {
                break;
            }
        }
        report.tag = problem.is_none().then_some(slowest);
        report.claim(Claim::TagsArrive, problem.is_none(), || problem.unwrap_or_default());
    }

    /// All show a tag of this length at the same time, and all others know it within the limit.
    pub(crate) fn fill_tables(
        &mut self,
        length: usize,
        limit: Duration,
        report: &mut Report,
    ) -> Result<(), Problem> {
        let (from, tag) = (now(), format!("filler={}", "x".repeat(length)));
        let names = self.names();
        names.iter().try_for_each(|name| self.process(name).command(&format!("tag {tag}")))?;
        for name in names {
            let arrived = self.all_others(&name, from, limit, |told| {
                told.kind == "updated" && told.name == name && told.text.contains(&tag)
            });
            report
                .claim(Claim::TagsArrive, arrived.is_ok(), || format!("{name}'s: {}", arrived.unwrap_err()));
        }
        Ok(())
    }

    /// One crashes, one leaves, and nobody was accused who was there.
    pub(crate) fn part(&mut self, plan: Plan<'_>, report: &mut Report) -> Result<(), Problem> {
        let crash = self.crash(plan.victim, plan.patience)?;
        report.crash = crash.as_ref().ok().copied();
        report.claim(Claim::CrashesAreSeen, crash.is_ok(), || crash.unwrap_err());
        let (mut left, mut failed, mut of) = self.leave(plan.leaver, plan.spread)?;
        for _ in 1..self.leaves {
            self.start_again(plan.leaver)?;
            let back = self.converge(now(), plan.patience);
            report.claim(Claim::AllSeeAll, back.is_ok(), || back.unwrap_err());
            let one = self.leave(plan.leaver, plan.spread)?;
            (left, failed, of) = (left + one.0, failed + one.1, of + one.2);
        }
        report.leave = Some((left, failed, of));
        report.claim(Claim::LeaversAreToldAsLeft, left == of, || {
            format!("{left} of {of} say left, {failed} failed, within {:?}", plan.spread)
        });
        self.judge(report);
        Ok(())
    }

    /// No node reported that it is unreachable or that datagrams are lost: neither by an event nor in its log.
    pub(crate) fn tells_no_problem(&self, report: &mut Report) {
        let lost = |told: &Told| told.kind == "other" && told.text.starts_with("ReachabilityLost");
        let tells = |process: &&Process| {
            let warns = ["datagrams lost", "address unreachable", "address gone"]
                .iter()
                .any(|words| !process.warnings(&[words]).is_empty());
            warns || process.first(0, lost).is_some()
        };
        let told: Vec<&str> = self.processes.iter().filter(tells).map(|process| &*process.name).collect();
        report.claim(Claim::NoProblemIsTold, told.is_empty(), || list(told));
    }

    /// No running member was reported as failed. The nodes' metrics go to their files.
    pub(crate) fn judge(&mut self, report: &mut Report) {
        let from = now();
        for process in &mut self.processes {
            // Processes that have ended cannot be asked.
            let _ = process.command("metrics");
        }
        let all =
            || self.present().all(|process| process.first(from, |told| told.kind == "metrics").is_some());
        within(Duration::from_secs(5), || all().then_some(()));
        let verdicts = self.false_verdicts();
        report.false_verdicts = verdicts.len();
        report.claim(Claim::NobodyIsFailedThatIsThere, verdicts.is_empty(), || {
            format!("{} times: {}", verdicts.len(), list(verdicts.iter().take(5)))
        });
    }
}

/// Words with commas between them.
pub(crate) fn list<T: AsRef<str>>(words: impl IntoIterator<Item = T>) -> String {
    let words: Vec<String> = words.into_iter().map(|word| word.as_ref().to_owned()).collect();
    words.join(", ")
}
