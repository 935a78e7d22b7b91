//! Checks for broken promises after every step.

use std::{
    collections::{BTreeMap, HashMap, HashSet},
    fmt,
    sync::Arc,
    time::Duration,
};

use super::{attacker::is_ghost, broadcasts, host::Host, judge::Judge, program};
use crate::{
    Membership, Watch,
    data::broadcasts::{Broadcasts, Delivery},
    discovery::peer_map::departure,
    membership::Departure,
    swim::{Event, Identity, Member, MemberState, Node, Origin, Time},
};

/// A promise that was broken, and how.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Violation {
    /// The promise.
    pub rule: &'static str,
    /// What happened, and where.
    pub what: String,
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "broken promise: {}: {}", self.rule, self.what)
    }
}

/// The observations of one life of a host.
#[derive(Debug, Default)]
struct View {
    name: Arc<str>,
    seen: HashMap<Arc<str>, Seen>,
    /// The members according to the events alone.
    folded: HashMap<Arc<str>, MemberState>,
    watched: Watched,
    /// Joins without a report, by ticket.
    joins: BTreeMap<u64, usize>,
    /// Whether the host may have forgotten members that it no longer lists.
    forgets: bool,
    steps: usize,
    changed: bool,
}

/// A node that remembers departed members for less than this may forget one within a run.
pub(super) const LONG_MEMORY: Duration = Duration::from_secs(12 * 3600);
/// A node with room for fewer members than this may forget one, too: a departed one, or any one, where members that
/// never answered make room for others.
const FEW: usize = 64;
/// Probe intervals without a disturbance after which no member may be accused: by then every suspicion and every probe
/// that a disturbance affected has ended.
pub(super) const CALM: u32 = 60;

#[derive(Debug, Default)]
struct Seen {
    highest: Identity,
    /// The identity under which the member failed or was removed.
    failed: Option<Identity>,
    /// The epoch of the life that left by itself.
    left: Option<u64>,
    /// Whether the member is no longer listed.
    reaped: bool,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Truth {
    Up,
    Left,
    Down,
}

/// The members according to a membership that follows the events, and to a watch on it that is rarely read.
#[derive(Debug)]
struct Watched {
    membership: Membership,
    watch: Watch,
    /// How each peer departed; `None` for an active one.
    folded: BTreeMap<String, Option<Departure>>,
}

impl Default for Watched {
    fn default() -> Self {
        let membership = Membership::new();
        let watch = membership.watch();
        Self { membership, watch, folded: BTreeMap::new() }
    }
}

impl Watched {
    /// Reads the watch. Returns whether its changes lead to these members.
    fn matches(&mut self, members: &[Member]) -> bool {
        while let Ok(change) = self.watch.try_recv() {
            for (peers, departure) in [
                (&change.active, None),
                (&change.left, Some(Departure::Left)),
                (&change.failed, Some(Departure::Failed)),
                (&change.no_longer_failed, Some(Departure::Left)),
            ] {
                self.folded.extend(peers.iter().map(|peer| (peer.to_string(), departure)));
            }
            for peer in &change.removed {
                self.folded.remove(&peer.to_string());
            }
        }
        let expected = members.iter().map(|member| (&*member.name, departure(member)));
        self.folded.iter().map(|(name, departure)| (name.as_str(), *departure)).eq(expected)
    }
}

const EXACTLY_ONCE: &str = "every join reports exactly once";
const STAYS_AWAY: &str = "a node that left does not come back";

/// Follows all events and remembers the first broken promise. The rules:
///
/// - no view replaces an identity by a smaller one, except of a member that was forgotten meanwhile, for lack of room or
///   after its time;
/// - a life that left, or whose failure was known, does not return unchanged (unless the attacker forged the Left, or the
///   name has two holders), and neither does a removed one; a member that is no longer listed is listed again only by
///   joining;
/// - while nothing disturbs the cluster, no healthy member is declared failed, and none that left. A disturbance is over
///   once all views have been true for 60 probe intervals (`CALM`). Translated and second addresses are no disturbance, and
///   neither is filtered UDP; a member that others cannot reach at its advertised address is none either, but it may be
///   declared failed;
/// - every join reports exactly once;
/// - a node's events lead to its members, and so do the changes of a watch on a membership that follows them;
/// - no queue and no map of a node exceeds its bound.
///
/// Lies count as a disturbance here. `judge.rs` checks healthy members during lies.
#[derive(Debug, Default)]
pub struct Checker {
    views: HashMap<usize, View>,
    truth: HashMap<Arc<str>, Truth>,
    disturbed: bool,
    calm_since: Option<Time>,
    /// Whether the disturbance never ends, for nodes whose configuration suits no network.
    lenient: bool,
    /// Names of hosts that others may be unable to reach at their advertised address: these may be declared failed.
    unreachable: HashSet<Arc<str>>,
    /// Names that lies were about, or that had two holders.
    disputed: HashSet<Arc<str>>,
    /// Names about which departures were made up.
    doubted: HashSet<Arc<str>>,
    violation: Option<Violation>,
    pub(super) judge: Judge,
    pub(super) broadcasts: broadcasts::Rules,
}

impl Checker {
    /// The first broken promise.
    #[must_use]
    pub fn violation(&self) -> Option<&Violation> {
        self.violation.as_ref()
    }

    pub(super) fn report(&mut self, rule: &'static str, what: String) {
        self.violation.get_or_insert(Violation { rule, what });
    }

    /// From now on, healthy members may be accused, and the judge is suspended.
    pub(super) fn disturbed(&mut self) {
        self.disarm();
        self.judge.unsettle();
    }

    /// From now on, healthy members may be accused, until all has been well for a while. The judge goes on.
    pub(super) fn disarm(&mut self) {
        self.disturbed = true;
        self.calm_since = None;
    }

    /// Whether healthy members may be accused.
    #[must_use]
    pub fn is_disturbed(&self) -> bool {
        self.disturbed
    }

    /// Whether healthy members may not be accused, and leaves must be confirmed.
    #[must_use]
    pub fn is_armed(&self) -> bool {
        !self.disturbed
    }

    /// Whether others cannot reach this member at its advertised address, though it reaches them. It may then be
    /// declared failed, but no other member may.
    pub(super) fn out_of_reach(&mut self, name: &str, out_of_reach: bool) {
        if out_of_reach {
            self.unreachable.insert(Arc::from(name));
            self.judge.unsettle();
        } else if self.unreachable.remove(name) {
            // Suspicions and probes that began meanwhile may still end.
            self.disturbed();
        }
    }

    /// Healthy members may be accused for ever: the configuration of these nodes suits no network.
    pub fn be_lenient(&mut self) {
        self.lenient = true;
        self.judge.end();
        self.disturbed();
    }

    /// Reports whether all is well. Once it was for long enough, the disturbance is over.
    pub(super) fn calm(&mut self, now: Time, calm: bool, probe_interval: Duration) {
        let since = *self.calm_since.get_or_insert(now);
        if !calm {
            self.calm_since = None;
        } else if now.since(since) >= probe_interval * CALM && !self.lenient {
            self.disturbed = false;
            self.judge.settle();
        }
    }

    /// The attacker made a claim about this name, perhaps of a departure: departures of this name may be lies from now
    /// on.
    pub(super) fn lied_about(&mut self, name: &str, is_departure: bool) {
        self.disputed.insert(Arc::from(name));
        if is_departure {
            self.doubted.insert(Arc::from(name));
        }
    }

    pub(super) fn clock_jumped(&mut self, at: usize, by: Duration) {
        self.judge.end();
        if let Some(view) = self.views.get_mut(&at) {
            view.forgets |= by >= Duration::from_secs(60);
        }
    }

    /// A life of this name starts with a wrong clock, so it or a later life may be behind an earlier one. If no member has
    /// heard of that earlier life, the new one may take its epoch, even if the earlier one left.
    pub(super) fn clock_may_be_behind(&mut self, name: &str) {
        self.disputed.insert(Arc::from(name));
    }

    pub(super) fn join_asked(&mut self, at: usize, ticket: u64) {
        if let Some(view) = self.views.get_mut(&at) {
            *view.joins.entry(ticket).or_default() += 1;
        }
    }

    pub(super) fn join_done(&mut self, at: usize, ticket: u64) {
        let Some(open) = self.views.get_mut(&at).and_then(|view| view.joins.get_mut(&ticket)) else { return };
        match open.checked_sub(1) {
            Some(left) => *open = left,
            None => self.report(EXACTLY_ONCE, format!("host {at}: ticket {ticket} reports again")),
        }
    }

    /// Checks that every join has reported.
    pub(super) fn settle(&mut self) {
        let open = |(at, view): (&usize, &View)| {
            let ticket = view.joins.iter().find(|(_, open)| **open > 0)?.0;
            Some((*at, *ticket))
        };
        if let Some((at, ticket)) = self.views.iter().filter_map(open).min() {
            self.report(EXACTLY_ONCE, format!("host {at}: ticket {ticket} never reports"));
        }
    }

    pub(super) fn started(&mut self, at: usize, host: &Host) {
        let name: Arc<str> = Arc::from(host.config.name.as_str());
        let held = self.views.values().any(|view| view.name == name);
        if held {
            self.disputed.insert(Arc::clone(&name));
            self.disturbed();
        }
        // A second life of the name may be accused because of the first one.
        if self.truth.insert(Arc::clone(&name), Truth::Up).is_some() {
            self.disarm();
        }
        let room = host.config.max_departed.min(host.config.max_members);
        let forgets = host.config.forget_after < LONG_MEMORY || room < FEW;
        self.views.insert(at, View { name, forgets, ..View::default() });
    }

    pub(super) fn stopped(&mut self, at: usize) {
        self.end(at, Truth::Down);
        self.broadcasts.stopped(at);
        self.judge.stopped(at);
        self.views.remove(&at);
    }

    /// A host left; `heard` says whether any member confirmed the leave.
    pub(super) fn left(&mut self, at: usize, heard: bool) {
        self.end(at, if heard { Truth::Left } else { Truth::Down });
    }

    fn end(&mut self, at: usize, end: Truth) {
        let Some(view) = self.views.get(&at) else { return };
        let mut others = self.views.iter().filter(|(other, _)| **other != at);
        if others.any(|(_, other)| other.name == view.name) {
            // Another holder of the name is up.
            return;
        }
        let truth = self.truth.entry(Arc::clone(&view.name)).or_insert(end);
        if *truth == Truth::Up {
            *truth = end;
        }
    }

    pub(super) fn event(&mut self, at: usize, event: &Event, perfect: bool) {
        if !perfect {
            self.disturbed();
        }
        let Some(member) = event.member() else { return };
        let Some(view) = self.views.get_mut(&at) else { return };
        view.changed = true;
        program::follow(&view.watched.membership, event);
        match event {
            Event::Reaped { .. } => view.folded.remove(&member.name),
            _ => view.folded.insert(Arc::clone(&member.name), member.state),
        };
        if member.name == view.name {
            // Successive lives of a node itself are in one list.
            return;
        }
        let hears_answers_alone = self.unreachable.contains(&view.name);
        let broken = view.seen.entry(Arc::clone(&member.name)).or_default().broken_by(event, member);
        // Made-up members make room for each other.
        if (view.forgets || is_ghost(&member.name)) && matches!(event, Event::Reaped { .. }) {
            view.seen.remove(&member.name);
        }
        let broken = broken.filter(|rule| *rule != STAYS_AWAY || !self.disputed.contains(&member.name));
        if let Some(rule) = broken {
            self.report(rule, format!("host {at}: {event:?}"));
        } else if matches!(event, Event::Failed { .. }) && !self.disturbed {
            match self.truth.get(&member.name) {
                Some(Truth::Up) if self.unreachable.contains(&member.name) => {}
                // A member refutes a claim about a later life of its own by a later epoch, which others take for a
                // restart.
                Some(Truth::Up) if is_restart(event) && self.disputed.contains(&member.name) => {}
                Some(Truth::Up) => {
                    self.report("no healthy member is declared failed", format!("host {at}: {event:?}"));
                }
                // If departures of a member were made up, its true departure is doubted.
                Some(Truth::Left) if self.doubted.contains(&member.name) => {}
                // The leave was told to those who stay, of which this one is none.
                Some(Truth::Left) if self.truth.get(&view.name) == Some(&Truth::Left) => {}
                // Of two members that no other reaches, one was about to declare the other failed when that one left.
                Some(Truth::Left) if hears_answers_alone && self.unreachable.contains(&member.name) => {}
                Some(Truth::Left) => {
                    self.report("a leave is no failure", format!("host {at}: {event:?}"));
                }
                _ => {}
            }
        }
    }

    /// A host's readers receive a broadcast.
    pub(super) fn broadcast(&mut self, at: usize, delivery: &Delivery) {
        if let Some((rule, what)) = self.broadcasts.delivered(at, delivery) {
            self.report(rule, what);
        }
    }

    /// Compares the data layer of a node with its bounds.
    pub(super) fn look_at_data(&mut self, at: usize, broadcasts: &Broadcasts) {
        if let Err(what) = broadcasts.audit() {
            self.report("every queue and map has its bound", format!("host {at}: {what}"));
        }
    }

    /// Compares a node with its events and its bounds.
    pub(super) fn look_at(&mut self, at: usize, node: &Node) {
        let Some(view) = self.views.get_mut(&at) else { return };
        view.steps += 1;
        // This costs O(n), so big worlds skip most steps.
        if !view.steps.is_multiple_of(1 + node.live() / 8) {
            return;
        }
        let mut broken = node.audit().err().map(|what| ("every queue and map has its bound", what));
        if std::mem::take(&mut view.changed) {
            let members = node.members();
            let same = members.len() == view.folded.len()
                && members.iter().all(|member| view.folded.get(&member.name) == Some(&member.state));
            if !same {
                let what = format!("members {members:?}, events {:?}", view.folded);
                broken = broken.or(Some(("events fold to the members", what)));
            }
            if !view.watched.matches(&members) {
                let what = format!("members {members:?}, watched {:?}", view.watched.folded);
                broken = broken.or(Some(("a watch folds to the members", what)));
            }
        }
        if let Some((rule, what)) = broken {
            self.report(rule, format!("host {at}: {what}"));
        }
    }
}

impl Seen {
    fn broken_by(&mut self, event: &Event, member: &Member) -> Option<&'static str> {
        let identity = member.identity;
        if identity < self.highest {
            return Some("identities only rise");
        }
        self.highest = identity;
        let was_reaped = std::mem::replace(&mut self.reaped, matches!(event, Event::Reaped { .. }));
        if was_reaped && !matches!(event, Event::Joined { .. }) {
            return Some("who is listed no longer is listed again only by joining");
        }
        match event {
            Event::Failed { .. } => self.failed = Some(identity),
            Event::Left { .. } if member.removed_by.is_some() => self.failed = Some(identity),
            Event::Left { .. } => self.left = Some(identity.epoch),
            Event::Joined { .. } if self.left == Some(identity.epoch) => {
                return Some(STAYS_AWAY);
            }
            Event::Joined { .. } if self.failed.is_some_and(|failed| identity <= failed) => {
                return Some("who failed or was removed comes back only with a greater identity");
            }
            _ => {}
        }
        None
    }
}

fn is_restart(event: &Event) -> bool {
    matches!(event, Event::Failed { verdict, .. } if verdict.origin == Origin::Successor)
}

#[cfg(test)]
mod tests {
    use super::{super::host::addr, *};
    use crate::{
        Tags,
        sim::World,
        swim::{Config, Time, Verdict},
    };

    fn member(name: &str, identity: (u64, u64), state: MemberState) -> Member {
        let identity = Identity { epoch: identity.0, incarnation: identity.1 };
        Member {
            name: name.into(),
            addr: addr(1),
            state,
            tags: Tags::default(),
            identity,
            since: Time::ZERO,
            removed_by: None,
        }
    }

    fn alive(identity: (u64, u64)) -> Event {
        Event::Joined { member: member("b", identity, MemberState::Alive) }
    }

    fn failed(identity: (u64, u64)) -> Event {
        fails(member("b", identity, MemberState::Failed))
    }

    fn fails(member: Member) -> Event {
        let verdict =
            Verdict { origin: Origin::Own, accusers: Vec::new(), suspected: None, waited: Duration::ZERO };
        Event::Failed { member, verdict }
    }

    fn left(identity: (u64, u64)) -> Event {
        Event::Left { member: member("b", identity, MemberState::Left), origin: Origin::Member }
    }

    /// Two hosts, a and b, where b has the given truth.
    fn checker(truth: Truth) -> Checker {
        let mut checker = Checker::default();
        for (i, name) in ["a", "b"].into_iter().enumerate() {
            checker.started(i, &Host::new(Config::lan(name), addr(i), vec![]));
        }
        checker.truth.insert("b".into(), truth);
        checker
    }

    #[track_caller]
    fn breaks(truth: Truth, disturbed: bool, events: &[Event]) -> Option<&'static str> {
        let mut checker = checker(truth);
        checker.disturbed = disturbed;
        events.iter().for_each(|event| checker.event(0, event, true));
        checker.violation().map(|violation| violation.rule)
    }

    #[test]
    fn each_rule_about_events_can_be_broken_and_can_be_kept() {
        let down = Truth::Down;
        assert_eq!(breaks(down, true, &[alive((1, 5)), failed((1, 4))]), Some("identities only rise"));
        assert_eq!(breaks(down, true, &[alive((1, 5)), failed((1, 5)), alive((1, 6))]), None);
        let back = Some("who failed or was removed comes back only with a greater identity");
        assert_eq!(breaks(down, true, &[failed((1, 5)), alive((1, 5))]), back);
        let back = Some("a node that left does not come back");
        assert_eq!(breaks(down, true, &[left((1, 5)), alive((1, 6))]), back);
        assert_eq!(breaks(down, true, &[left((1, 5)), alive((2, 0))]), None);
        let healthy = Some("no healthy member is declared failed");
        assert_eq!(breaks(Truth::Up, false, &[failed((1, 0))]), healthy);
        assert_eq!(breaks(Truth::Up, true, &[failed((1, 0))]), None);
        assert_eq!(breaks(Truth::Left, false, &[failed((1, 0))]), Some("a leave is no failure"));
        assert_eq!(breaks(down, false, &[failed((1, 0))]), None);
    }

    #[test]
    fn a_node_with_little_room_may_list_a_forgotten_member_again() {
        let reaped = Event::Reaped { member: member("b", (1, 5), MemberState::Failed) };
        let anew = |config: Config| {
            let mut checker = Checker::default();
            checker.started(0, &Host::new(config, addr(0), vec![]));
            [alive((1, 5)), reaped.clone(), alive((1, 4))]
                .iter()
                .for_each(|event| checker.event(0, event, true));
            checker.violation().map(|violation| violation.rule)
        };
        assert_eq!(anew(Config { max_members: 3, ..Config::lan("a") }), None);
        assert_eq!(anew(Config { max_departed: 3, ..Config::lan("a") }), None);
        assert_eq!(anew(Config::lan("a")), Some("identities only rise"));
    }

    #[test]
    fn a_node_that_is_not_reached_may_be_declared_failed_until_it_is_reached_again() {
        let mut checker = checker(Truth::Up);
        checker.out_of_reach("b", true);
        checker.event(0, &failed((1, 0)), true);
        assert_eq!(checker.violation(), None);
        assert!(checker.is_armed(), "nobody else may be");
        checker.out_of_reach("b", false);
        assert!(!checker.is_armed(), "what began meanwhile may come to its end");
        checker.disturbed = false;
        checker.event(0, &failed((1, 1)), true);
        assert!(checker.violation().is_some());
    }

    #[test]
    fn a_leave_that_a_member_heard_is_no_failure_and_an_unheard_one_may_be() {
        for (heard, expected) in [(true, Some("a leave is no failure")), (false, None)] {
            let mut checker = checker(Truth::Up);
            checker.left(1, heard);
            checker.event(0, &failed((1, 0)), true);
            assert_eq!(checker.violation().map(|violation| violation.rule), expected);
        }
    }

    #[test]
    fn a_leave_is_no_failure_to_those_who_stay() {
        let mut checker = checker(Truth::Up);
        checker.left(0, true);
        checker.left(1, true);
        checker.event(0, &failed((1, 0)), true);
        assert_eq!(checker.violation(), None);
    }

    #[test]
    fn a_leave_is_no_failure_if_others_reach_the_leaver_or_it_reaches_them() {
        let broken = Some("a leave is no failure");
        for (out_of_reach, expected) in [(&["a"][..], broken), (&["b"], broken), (&["a", "b"], None)] {
            let mut checker = checker(Truth::Left);
            out_of_reach.iter().for_each(|name| checker.out_of_reach(name, true));
            checker.event(0, &failed((1, 0)), true);
            assert_eq!(checker.violation().map(|violation| violation.rule), expected);
        }
    }

    #[test]
    fn an_event_that_is_not_told_is_noticed() {
        let mut world = World::new(1);
        world.start_cluster(3, Config::lan);
        world.run_until("one view", std::time::Duration::from_secs(5), |world| world.all_see(3));
        let mut checker = world.checker.take().expect("it is on");
        let view = checker.views.get_mut(&0).unwrap();
        view.folded.remove("n1");
        (view.changed, view.steps) = (true, 0);
        checker.look_at(0, world.node(0));
        assert_eq!(checker.violation().map(|v| v.rule), Some("events fold to the members"));
    }

    #[test]
    fn a_change_that_a_watch_does_not_tell_is_noticed() {
        let mut world = World::new(1);
        world.start_cluster(3, Config::lan);
        world.run_until("one view", std::time::Duration::from_secs(5), |world| world.all_see(3));
        let mut checker = world.checker.take().expect("it is on");
        let view = checker.views.get_mut(&0).unwrap();
        view.watched.membership.mark_left(["n1"]);
        (view.changed, view.steps) = (true, 0);
        checker.look_at(0, world.node(0));
        assert_eq!(checker.violation().map(|v| v.rule), Some("a watch folds to the members"));
    }

    #[test]
    fn a_bound_that_is_exceeded_is_noticed() {
        let mut world = World::new(1);
        world.start_cluster(3, Config::lan);
        world.run_until("one view", std::time::Duration::from_secs(5), |world| world.all_see(3));
        let mut checker = world.checker.take().expect("it is on");
        let node = world.hosts[0].node_mut().unwrap();
        node.tighten_member_bound(2);
        checker.views.get_mut(&0).unwrap().steps = 0;
        checker.look_at(0, node);
        assert_eq!(checker.violation().map(|v| v.rule), Some("every queue and map has its bound"));
    }

    /// Four hosts, one of which was paused for a moment.
    fn disturbed_world() -> World {
        let mut world = World::new(1);
        world.start_cluster(4, Config::lan);
        world.run_until("one view", Duration::from_secs(5), |world| world.all_see(4));
        world.pause(3, Duration::from_millis(10));
        world
    }

    fn is_armed(world: &World) -> bool {
        !world.checker.as_ref().expect("it is on").is_disturbed()
    }

    #[test]
    fn a_disturbance_is_over_when_all_has_been_well_for_long_enough() {
        let mut world = disturbed_world();
        assert!(!is_armed(&world));
        world.run_for(Duration::from_secs(55));
        assert!(!is_armed(&world));
        world.run_for(Duration::from_secs(10));
        assert!(is_armed(&world));
        world.jump_clock(2, Duration::from_millis(1));
        assert!(!is_armed(&world));
    }

    #[test]
    fn once_it_is_over_a_healthy_member_that_is_declared_failed_is_noticed() {
        let failed = |world: &mut World| {
            let member = world.node(0).member("n1").expect("it is listed");
            let event = fails(Member { state: MemberState::Failed, ..member });
            let checker = world.checker.as_mut().expect("it is on");
            checker.event(0, &event, true);
            checker.violation().map(|violation| violation.rule)
        };
        let mut world = disturbed_world();
        assert_eq!(failed(&mut world), None);
        let mut world = disturbed_world();
        world.run_for(Duration::from_secs(70));
        assert_eq!(failed(&mut world), Some("no healthy member is declared failed"));
    }

    #[test]
    fn a_join_that_reports_twice_or_never_is_noticed() {
        for (reports, expected) in [(0, Some(EXACTLY_ONCE)), (1, None), (2, Some(EXACTLY_ONCE))] {
            let mut checker = checker(Truth::Up);
            checker.join_asked(0, 7);
            (0..reports).for_each(|_| checker.join_done(0, 7));
            checker.settle();
            assert_eq!(checker.violation().map(|v| v.rule), expected, "{reports} reports");
        }
    }

    #[test]
    fn a_node_that_comes_back_after_a_good_bye_that_was_forged_breaks_nothing() {
        let mut checker = checker(Truth::Up);
        checker.lied_about("b", true);
        [left((1, 5)), alive((1, 6))].iter().for_each(|event| checker.event(0, event, true));
        assert_eq!(checker.violation(), None);
        [failed((1, 6)), alive((1, 6))].iter().for_each(|event| checker.event(0, event, true));
        assert!(checker.violation().is_some(), "but the dead do not come back as what they were");
    }
}
