//! Look-ups of seeds: each is resolved by itself, so that a silent name server delays no other seed.

use std::{io, net::SocketAddr, sync::Arc};

use crossbeam_channel::Sender;
use parking_lot::Mutex;

use super::{
    advertise::{System, is_reached_from},
    family::Family,
    publication::Publication,
    seed::{self, Resolved, Seed},
    seeds::Seeds,
    shared_node::SharedNode,
    workers::Workers,
};
use crate::{
    Error,
    address::problem_of,
    log_line::{Field, Throttle, Topic},
    swim::{Config, JoinOrigin, JoinProblem, JoinResult},
    text::Quoted,
};

/// Where the reason goes if a seed cannot be used.
#[derive(Debug, Clone)]
enum ReportTo {
    /// To operators, by throttled warnings, since the seeds are tried again.
    Log,
    /// To the caller of a join that fails.
    Caller(Arc<Mutex<Option<Error>>>),
}

#[derive(Debug)]
pub(super) struct SeedLookup {
    node: Arc<SharedNode>,
    publication: Arc<Publication>,
    /// For the allowed networks and the timeouts.
    config: Arc<Config>,
    /// The address where this node is bound, and the family of addresses that its sockets reach.
    bound: SocketAddr,
    family: Family,
    /// The pool of look-ups.
    names: Workers,
    seeds: Mutex<Seeds>,
    warnings: Throttle,
}

impl SeedLookup {
    pub(super) fn new(
        node: &Arc<SharedNode>,
        publication: &Arc<Publication>,
        config: &Arc<Config>,
        (bound, family): (SocketAddr, Family),
        names: Workers,
        seeds: Vec<String>,
    ) -> Self {
        Self {
            node: Arc::clone(node),
            publication: Arc::clone(publication),
            config: Arc::clone(config),
            bound,
            family,
            names,
            seeds: Mutex::new(Seeds::new(seeds)),
            warnings: Throttle::default(),
        }
    }

    /// Begins a round of contacting the seeds.
    pub(super) fn begin_round(self: &Arc<Self>) {
        let seeds = self.seeds.lock().begin_round();
        self.contact_seeds(&seeds);
    }

    /// Contacts the seeds of a `join` call, whose result goes to `caller`. Returns where the reason of a failed look-up will
    /// be.
    pub(super) fn join(
        self: &Arc<Self>,
        ticket: u64,
        seeds: &[String],
        caller: Sender<JoinResult>,
    ) -> Arc<Mutex<Option<Error>>> {
        let failure = Arc::default();
        let report_to = ReportTo::Caller(Arc::clone(&failure));
        let (addrs, names) = self.sort_out(seeds, &report_to);
        self.publication.expect_join(ticket, caller);
        self.node.command(|node, now| node.join_while_resolving(now, ticket, &addrs, names.len()));
        self.node.wake();
        for seed in names {
            self.begin_lookup(JoinOrigin::Ticket { ticket }, seed, report_to.clone());
        }
        failure
    }

    /// Adds the seeds of a join that succeeded to those that are tried repeatedly, as those of the configuration are.
    pub(super) fn remember(&self, seeds: Vec<String>) {
        let first = self.seeds.lock().remember(seeds);
        if first {
            self.node.command(|node, now| node.seek_seeds_later(now));
        }
    }

    /// How many seeds were dropped so far because there were too many.
    pub(super) fn passed_over(&self) -> u64 {
        self.seeds.lock().passed_over()
    }

    /// The seeds that are tried repeatedly.
    pub(super) fn to_vec(&self) -> Vec<String> {
        self.seeds.lock().to_vec()
    }

    fn contact_seeds(self: &Arc<Self>, seeds: &[String]) {
        let (addrs, names) = self.sort_out(seeds, &ReportTo::Log);
        self.node.command(|node, now| node.handle_seeds_while_resolving(now, &addrs, names.len()));
        self.node.wake();
        for seed in names {
            self.begin_lookup(JoinOrigin::Seeds, seed, ReportTo::Log);
        }
    }

    /// Replaces the seeds that come from a discovery, and contacts those that are new.
    pub(super) fn offer(self: &Arc<Self>, offered: Vec<String>) {
        let is_fine = |seed: &String| match Seed::parse_listed(seed) {
            Ok(_) => true,
            Err(problem) => {
                self.refused(seed, &problem);
                false
            }
        };
        let offered: Vec<String> = offered.into_iter().filter(is_fine).collect();
        let new = self.seeds.lock().offer(offered);
        if !new.is_empty() && !self.node.stop.is_stopped() {
            self.contact_seeds(&new);
        }
    }

    /// The addresses of the seeds that need no look-up, and the other seeds.
    fn sort_out(&self, seeds: &[String], report_to: &ReportTo) -> (Vec<SocketAddr>, Vec<String>) {
        let (mut addrs, mut names) = (Vec::new(), Vec::new());
        for seed in seeds {
            match seed::literal(seed, self.bound.port()) {
                Some(addr) => addrs.extend(self.admit(seed, vec![addr], report_to)),
                None => names.push(seed.clone()),
            }
        }
        (addrs, names)
    }

    /// Looks a seed up in the pool, and passes the result to the node. If a look-up of a repeatedly tried seed is under way
    /// already, its result counts for both.
    fn begin_lookup(self: &Arc<Self>, origin: JoinOrigin, seed: String, report_to: ReportTo) {
        if origin == JoinOrigin::Seeds && !self.seeds.lock().begin_lookup(&seed) {
            return;
        }
        let patience = self.config.seed_max_delay.saturating_add(self.config.stream_timeout);
        let job = Arc::clone(self);
        self.names.submit(None, patience, move |place| {
            job.node.guarded("resolver", || job.look_up(origin, &seed, &report_to, place.is_some()));
        });
    }

    fn look_up(self: &Arc<Self>, origin: JoinOrigin, seed: &str, report_to: &ReportTo, may_block: bool) {
        let resolved = if may_block {
            self.resolve(seed)
        } else {
            Err(io::Error::other("too many look-ups are waiting"))
        };
        let failed = resolved.is_err();
        let resolved = resolved.inspect(|_| self.warnings.forget_about(Topic::SeedUnresolved, seed));
        let Resolved { addrs, seeds, problems } = resolved.unwrap_or_else(|error| {
            self.report_lookup(seed, error, report_to);
            Resolved::default()
        });
        if problems.is_empty() && !seeds.is_empty() {
            self.warnings.forget_about(Topic::SeedRefused, seed);
        }
        for problem in problems {
            self.report(seed, problem, report_to);
        }
        let mut addrs = self.admit(seed, addrs, report_to);
        let (listed, names) = self.sort_out(&seeds, report_to);
        addrs.extend(listed);
        let asked = if origin == JoinOrigin::Seeds { self.seeds.lock().end_lookup(seed, failed) } else { 1 };
        self.node.with(|node, now| {
            node.handle_lookup(now, origin, &addrs, names.len());
            (1..asked).for_each(|_| node.handle_lookup(now, origin, &addrs, 0));
        });
        self.node.wake();
        for name in names {
            self.begin_lookup(origin, name, report_to.clone());
        }
    }

    fn resolve(&self, seed: &str) -> io::Result<Resolved> {
        let parsed =
            Seed::parse(seed).map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
        parsed.resolve(self.bound.port(), &|| self.node.stop.is_stopped())
    }

    /// The addresses of a seed at which this node may join.
    fn admit(&self, seed: &str, mut addrs: Vec<SocketAddr>, report_to: &ReportTo) -> Vec<SocketAddr> {
        let mut refusal = None;
        // Members' and this node's own addresses have this form.
        addrs.iter_mut().for_each(|addr| addr.set_ip(addr.ip().to_canonical()));
        addrs.retain(|addr| {
            let refused = self.refusal(*addr);
            let is_fine = refused.is_none();
            refusal = refusal.take().or(refused);
            is_fine
        });
        // A seed with several addresses needs only one that may be joined.
        if !addrs.is_empty() {
            self.warnings.forget_about(Topic::SeedRefused, seed);
        } else if let Some(problem) = refusal {
            self.report(seed, problem, report_to);
        }
        self.seeds.lock().found(seed, &addrs);
        addrs
    }

    fn report(&self, seed: &str, problem: String, report_to: &ReportTo) {
        match report_to {
            ReportTo::Log => self.refused(seed, &problem),
            ReportTo::Caller(error) => {
                let problem = format!("has {}, which {problem}", Quoted(seed));
                *error.lock() = Some(Error::invalid("seeds", problem));
            }
        }
    }

    fn refused(&self, seed: &str, problem: &str) {
        let fields: [Field<'_>; 3] = [("seed", &seed), ("problem", &problem), ("node", &self.node.name)];
        self.warnings.log(Topic::SeedRefused, seed, &fields);
    }

    fn report_lookup(&self, seed: &str, source: io::Error, report_to: &ReportTo) {
        if self.node.stop.is_stopped() {
            return;
        }
        let advice = Seed::parse(seed).map_or("", |seed| seed.advice());
        match report_to {
            ReportTo::Log => {
                let fields: [Field<'_>; 4] =
                    [("seed", &seed), ("error", &source), ("hint", &advice), ("node", &self.node.name)];
                self.warnings.log(Topic::SeedUnresolved, seed, &fields);
            }
            ReportTo::Caller(error) => {
                *error.lock() = Some(Error::Resolve { host: seed.into(), remedy: advice.into(), source });
            }
        }
    }

    /// Logs the result of a round of contacting the seeds, in one line at most.
    pub(super) fn report_round(&self, result: &JoinResult) {
        let node = &self.node.name;
        let problem = match result {
            // Only this node itself was reached: whether its other seeds answer is not known.
            Ok(0) => return,
            Ok(_) => {
                self.warnings.forget(Topic::NameTaken);
                return self.warnings.forget(Topic::SeedsUnreached);
            }
            // Each seed's problem was reported already.
            Err(JoinProblem::NoAddress) => return,
            Err(problem) => problem,
        };
        if let JoinProblem::NameTaken { .. } = problem {
            return self.warnings.log(Topic::NameTaken, "", &[("problem", problem), ("node", node)]);
        }
        let (count, seed) = {
            let seeds = self.seeds.lock();
            (seeds.len(), problem.addr().and_then(|addr| seeds.text_of(addr)))
        };
        let last = seed.map_or_else(|| problem.addr().map(|addr| addr.to_string()), Some).unwrap_or_default();
        let fields: [Field<'_>; 4] =
            [("seeds", &count), ("last", &last), ("problem", problem), ("node", node)];
        self.warnings.log(Topic::SeedsUnreached, "", &fields);
    }

    /// Logs the result of an attempt to rejoin, in one line at most.
    pub(super) fn report_rejoin(&self, result: &JoinResult) {
        let node = &self.node.name;
        match result {
            Ok(_) => {
                self.warnings.forget(Topic::NameTaken);
                self.warnings.forget(Topic::RememberedUnreached);
            }
            Err(problem @ JoinProblem::NameTaken { .. }) => {
                self.warnings.log(Topic::NameTaken, "", &[("problem", problem), ("node", node)]);
            }
            Err(problem) => {
                let fields: [Field<'_>; 2] = [("problem", problem), ("node", node)];
                self.warnings.log(Topic::RememberedUnreached, "", &fields);
            }
        }
    }

    /// Why a seed cannot be joined at this address.
    fn refusal(&self, addr: SocketAddr) -> Option<String> {
        // A resolver may return any address.
        if let Some(problem) = problem_of(addr.ip()) {
            return Some(problem);
        }
        if !self.config.allows(addr.ip()) {
            return Some(format!(
                "is at {addr}, which `allow` does not hold; add its network, or take another"
            ));
        }
        let (bound, family) = (self.bound.ip(), self.family);
        if !is_reached_from(bound.to_canonical(), addr.ip(), &System) {
            return Some(format!(
                "is at {addr}, on another host, which `bind` {bound} does not reach; bind to 0.0.0.0 or [::]"
            ));
        }
        (!family.reaches(addr.ip())).then(|| {
            format!(
                "is at {addr}, and `bind` {bound} is of {family}; bind to [::] for both, or take another seed"
            )
        })
    }

    /// The error for seeds that could not be joined.
    pub(super) fn join_error(&self, seeds: &[String], problem: JoinProblem) -> Error {
        match problem {
            JoinProblem::NameTaken { holder } => {
                Error::NameTaken { name: self.node.name.clone(), addr: holder }
            }
            JoinProblem::AddressUnreachable { addr } => Error::AddressUnreachable { addr },
            source => Error::Join { seeds: seeds.to_vec(), source },
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::gossip::running::{Running, Threads};

    fn woken(threads: &Threads) -> bool {
        threads.udp.receive(&mut [0; 16], Duration::ZERO).is_ok()
    }

    fn texts(seeds: &[&str]) -> Vec<String> {
        seeds.iter().map(|seed| (*seed).to_owned()).collect()
    }

    #[test]
    fn seeds_that_are_not_kept_are_counted() {
        let (running, _threads) = Running::idle();
        assert_eq!(running.seeds.passed_over(), 0);
        running.seeds.remember((0..300).map(|at| format!("db-{at}")).collect());
        assert_eq!(running.seeds.passed_over(), 300 - 256);
        running.abort().unwrap();
    }

    #[test]
    fn an_offer_has_seeds_contacted_only_if_one_is_new_and_the_node_runs() {
        let (running, threads) = Running::idle();
        running.seeds.offer(Vec::new());
        assert!(!woken(&threads), "there is nothing new");
        running.seeds.offer(texts(&["127.0.0.1:9"]));
        assert!(woken(&threads));
        running.abort().unwrap();
        let (running, threads) = Running::idle();
        running.node.stop.stop();
        running.seeds.offer(texts(&["127.0.0.1:9"]));
        assert!(!woken(&threads), "it is stopped");
        running.abort().unwrap();
    }

    #[test]
    fn an_unanswered_rejoin_is_logged_once_until_a_member_answers() {
        let (running, _threads) = Running::idle();
        let taken = JoinProblem::NameTaken { holder: ([127, 0, 0, 1], 9).into() };
        for (begin, problem) in [("remembered unreached", JoinProblem::NoAddress), ("name taken", taken)] {
            let line = format!("{begin} problem=\"{problem}\" node=a");
            let failed = Err(problem);
            let lines = crate::log_line::capture::lines(|| {
                [&failed, &failed, &Ok(1), &failed]
                    .iter()
                    .for_each(|result| running.seeds.report_rejoin(result));
            });
            assert_eq!(lines, [line.clone(), line]);
        }
        running.abort().unwrap();
    }

    #[test]
    fn a_seed_that_was_usable_meanwhile_is_warned_of_again() {
        let (running, _threads) = Running::idle();
        let path = std::env::temp_dir().join(format!("syncswim-again-{}", std::process::id()));
        let seed = format!("file:{}", path.display());
        let look_up = |text: Option<&str>| {
            match text {
                Some(text) => std::fs::write(&path, text).unwrap(),
                None => _ = std::fs::remove_file(&path),
            }
            running.seeds.look_up(JoinOrigin::Seeds, &seed, &ReportTo::Log, true);
        };
        let lines = crate::log_line::capture::lines(|| {
            for text in [None, None, Some("127.0.0.1:9\n"), None, None] {
                look_up(text);
            }
            for text in ["db:0\n", "127.0.0.1:9\n# none\n", "db:0\n", "db:0\n127.0.0.1:9\n"] {
                look_up(Some(text));
            }
        });
        std::fs::remove_file(&path).unwrap();
        let begin = |line: &String| line.split(" seed=").next().unwrap().to_owned();
        let expected = ["seed unresolved", "seed unresolved", "seed refused", "seed refused"];
        assert_eq!(lines.iter().map(begin).collect::<Vec<_>>(), expected, "{lines:#?}");
        running.abort().unwrap();
    }

    #[test]
    fn an_address_of_a_seed_that_was_usable_meanwhile_is_warned_of_again() {
        let (running, _threads) = Running::idle();
        let (fine, refused) = (vec![([127, 0, 0, 1], 9).into()], vec![([0, 0, 0, 0], 9).into()]);
        let lines = crate::log_line::capture::lines(|| {
            for addrs in [&refused, &refused, &fine, &refused] {
                running.seeds.admit("db", addrs.clone(), &ReportTo::Log);
            }
        });
        assert_eq!(lines.len(), 2, "{lines:#?}");
        running.abort().unwrap();
    }

    #[test]
    #[cfg(unix)]
    fn look_ups_that_hang_keep_no_other_waiting() {
        let (running, _threads) = Running::idle();
        let hung: Vec<String> = (0..20).map(|at| format!("exec:sleep 60 # {at}")).collect();
        let begin = |seed: &str| running.seeds.begin_lookup(JoinOrigin::Seeds, seed.into(), ReportTo::Log);
        hung.iter().for_each(|seed| begin(seed));
        begin("localhost:9");
        let deadline = crate::blocking::now() + Duration::from_secs(60);
        while running.seeds.seeds.lock().text_of(([127, 0, 0, 1], 9).into()).is_none() {
            assert!(crate::blocking::now() < deadline, "it is looked up");
            crate::blocking::pause(Duration::from_millis(1));
        }
        let hangs = |seed: &&String| !running.seeds.seeds.lock().begin_lookup(seed);
        assert_eq!(hung.iter().filter(hangs).count(), hung.len(), "none had to end first");
        running.abort().unwrap();
    }

    #[test]
    fn a_seed_that_is_tried_repeatedly_is_not_looked_up_twice_at_once() {
        let (running, _threads) = Running::idle();
        let seed = "no-such-host.invalid";
        assert!(running.seeds.seeds.lock().begin_lookup(seed), "a look-up is under way");
        running.seeds.begin_lookup(JoinOrigin::Seeds, seed.into(), ReportTo::Log);
        assert_eq!(running.seeds.seeds.lock().end_lookup(seed, false), 2, "its result is for both");
        running.abort().unwrap();
    }
}
