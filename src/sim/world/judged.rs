//! The views that the judge of healthy members is shown.

use std::{collections::BTreeSet, ops::Range};

use super::World;
use crate::{
    sim::{
        attacker::{Kind, Lie, Who},
        check::Checker,
        judge::{AWARENESS, Judge, Looks, RETURN, SLOWED, Said, Sight, Wrong},
    },
    swim::{Member, MemberState, Node, Time},
};

/// In bigger worlds no member is judged, since it takes O(n²) each second.
const MOST_JUDGED: usize = 50;

impl World {
    /// From now on healthy members are judged even while an attacker lies.
    pub fn judge_during_attacks(&mut self) {
        if let Some(checker) = &mut self.checker {
            checker.judge.begin();
        }
    }

    /// The attacker lies: honest nodes may be accused, until all has been well for a while.
    pub(super) fn disarm(&mut self) {
        if let Some(checker) = &mut self.checker {
            checker.disarm();
        }
    }

    /// Notes a claim about a host's tags, and perhaps about an address where a process answers to any name.
    pub(super) fn note_misquoted(&mut self, lie: &Lie) {
        let (Kind::Alive, Who::Host(host)) = (lie.kind, lie.about) else { return };
        let host = host % self.hosts.len();
        let until = self.refuted_by(host);
        let ghost = lie.at.ghost().filter(|_| lie.at.answers_to_any_name());
        if let Some(checker) = &mut self.checker {
            checker.judge.note_said(Said::Tags, host, until);
            ghost.into_iter().for_each(|ghost| checker.judge.note_impostor(host, ghost));
        }
    }

    /// When all have received the refutation of a claim that is made now about a host.
    fn refuted_by(&self, host: usize) -> Time {
        self.now + Wrong::Away.limit(&self.hosts[host].config, self.hosts.len())
    }

    /// A stream from a host's own address speaks for that host, though no attacker could open it: its effects break no
    /// promise.
    pub(super) fn speaks_from(&mut self, who: Who) {
        let Who::Host(host) = who else { return };
        if self.hosts.is_empty() {
            return;
        }
        let host = host % self.hosts.len();
        let until = self.refuted_by(host);
        if let Some(checker) = &mut self.checker {
            checker.judge.note_said(Said::ByItself, host, until);
        }
    }

    /// Judges all views.
    pub(in crate::sim) fn judge_all(&mut self) {
        self.judge_hosts(0..self.hosts.len());
    }

    /// Judges the views of one host.
    pub(super) fn judge(&mut self, viewer: usize) {
        self.judge_hosts(viewer..viewer + 1);
    }

    fn judge_hosts(&mut self, viewers: Range<usize>) {
        let Some(mut checker) = self.checker.take() else { return };
        if checker.judge.is_settled() && self.hosts.len() <= MOST_JUDGED {
            if self.net.lets_through(0.0) && self.clogged.is_empty() && self.paths.are_plain() {
                let shared = self.shared_names();
                viewers.for_each(|viewer| self.judge_with(&mut checker, viewer, &shared));
            } else {
                checker.judge.unsettle();
            }
        }
        self.checker = Some(checker);
    }

    fn judge_with(&self, checker: &mut Checker, viewer: usize, shared: &BTreeSet<&str>) {
        let Some(node) = self.present(viewer).filter(|node| node.local().state == MemberState::Alive) else {
            return checker.judge.excuse_viewer(viewer);
        };
        self.count_doubtful(&mut checker.judge, viewer, node);
        if !self.ghosts.are_silent(self.now)
            && !checker.judge.is_outnumbered(viewer)
            && !self.is_excused(&checker.judge, viewer)
            && node.awareness() > AWARENESS
        {
            checker.report(SLOWED, format!("host {viewer} has awareness {}", node.awareness()));
        }
        for subject in (0..self.hosts.len()).filter(|subject| *subject != viewer) {
            let judge = &mut checker.judge;
            let is_excused = self.is_excused(judge, viewer) || self.is_excused(judge, subject);
            let is_outnumbered = judge.is_outnumbered(viewer) || judge.is_outnumbered(subject);
            let sight = self.sight(viewer, node, subject).filter(|_| !shared.contains(self.name(subject)));
            let is_misquoted = judge.is_said(Said::Tags, subject, self.now);
            if !self.ghosts.are_silent(self.now) {
                let judged =
                    !is_excused && !is_outnumbered && !is_misquoted && judge.have_met(viewer, subject);
                judge.count(Looks { judged: (judged && sight.is_some()).into(), all: 1 });
            }
            let excuses = |sight: &Sight| match sight.wrong {
                Some(Wrong::Away | Wrong::Dead) if is_outnumbered => true,
                Some(Wrong::Stale) if is_misquoted => true,
                _ => is_excused,
            };
            if sight.as_ref().is_none_or(excuses) {
                judge.excuse_pair(viewer, subject);
            } else if let Some(sight) = sight {
                let limit = sight.limit;
                if let Some((rule, lasted)) = checker.judge.look(self.now, sight) {
                    let listed = node.member(&self.hosts[subject].config.name);
                    let what = format!(
                        "for {lasted:?}, more than {limit:?}, host {viewer} has host {subject} as {listed:?}"
                    );
                    checker.report(rule, what);
                }
            }
        }
    }

    /// The node of a host that runs and has not left.
    fn present(&self, host: usize) -> Option<&Node> {
        self.hosts[host].node().filter(|_| !self.hosts[host].left)
    }

    fn name(&self, host: usize) -> &str {
        &self.hosts[host].config.name
    }

    /// The names that several hosts have.
    fn shared_names(&self) -> BTreeSet<&str> {
        let mut all = BTreeSet::new();
        (0..self.hosts.len()).map(|host| self.name(host)).filter(|name| !all.insert(*name)).collect()
    }

    /// The view that a host has of another; `None` if the other is leaving.
    fn sight(&self, viewer: usize, node: &Node, subject: usize) -> Option<Sight> {
        let (sees, seen) = (&self.hosts[viewer], &self.hosts[subject]);
        let listed = node.member(&seen.config.name).filter(|member| member.state.is_live());
        let present = self.present(subject).map(Node::local);
        let wrong = match (&present, &listed) {
            (Some(own), _) if own.state != MemberState::Alive => return None,
            (Some(_), None) => Some(Wrong::Away),
            (Some(_), Some(member)) if member.addr != seen.addr => Some(Wrong::Elsewhere),
            (Some(own), Some(member)) if member.tags != own.tags => Some(Wrong::Stale),
            (Some(_), Some(_)) => None,
            (None, listed) => listed.as_ref().map(|_| Wrong::Dead),
        };
        let lists = matches!((&present, &listed), (Some(own), Some(member)) if own.identity.epoch == member.identity.epoch);
        let live = node.live().max(self.up().count());
        Some(Sight {
            viewer: (viewer, sees.life),
            subject: (subject, seen.life),
            is_up: present.is_some(),
            tags: present.map(|own| own.tags.encoded().to_vec()).unwrap_or_default(),
            wrong,
            limit: wrong.map(|wrong| wrong.limit(&sees.config, live)).unwrap_or_default(),
            lists,
        })
    }

    /// Compares the number of unhealthy members that a node has met, now or a moment ago, with the greatest number of relays
    /// of a probe.
    fn count_doubtful(&self, judge: &mut Judge, host: usize, node: &Node) {
        let healthy: BTreeSet<&str> = self.up().map(|host| &*self.hosts[host].config.name).collect();
        let met: Vec<_> = node.met_members().collect();
        let unhealthy = met.iter().filter(|name| !healthy.contains(**name)).count();
        let a_moment = node.config().probe_interval * 4;
        let members = node.members();
        let is_gone = |member: &&Member| {
            let is_recent = self.now.since(member.since) < a_moment;
            !member.state.is_live() && is_recent && !healthy.contains(&*member.name)
        };
        let doubtful = unhealthy + members.iter().filter(is_gone).count();
        let most = node.config().indirect_probes.min(met.len().saturating_sub(1));
        judge.count_doubtful(host, doubtful, most, node.is_steady());
    }

    /// Whether a host is not judged at all: it has an impostor, or its own address spoke for it.
    fn is_excused(&self, judge: &Judge, host: usize) -> bool {
        let rest = self.hosts[host].config.probe_interval * RETURN;
        let mut impostors = judge.impostors(host);
        impostors.any(|ghost| self.now < self.ghosts.answers_until(ghost) + rest)
            || judge.is_said(Said::ByItself, host, self.now)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{
        Tags,
        sim::{
            attacker::{Ahead, Attack},
            fault::Fault,
            host::addr,
            tests::cluster,
        },
        swim::{Rule, without},
    };

    /// Five hosts that are judged once all see all.
    fn judged() -> World {
        let mut world = cluster(5);
        world.judge_during_attacks();
        world.run_for(Duration::from_secs(2));
        // The other checks are suspended.
        world.disarm();
        world
    }

    /// The first broken promise within five minutes.
    fn found(world: &mut World) -> Option<&'static str> {
        world.try_run_for(Duration::from_secs(300)).err().map(|violation| violation.rule)
    }

    #[test]
    fn a_healthy_cluster_breaks_no_promise_through_a_crash_a_restart_and_a_leave() {
        let mut world = judged();
        world.crash(1);
        world.run_for(Duration::from_secs(60));
        world.restart(1);
        world.with(2, |node, now| node.leave(now));
        world.with(3, |node, now| node.set_tags(now, Tags::new([("k", "v")]).expect("it is short")));
        assert_eq!(found(&mut world), None);
    }

    /// The process of host 1 stops without the judge's knowledge, as if its node did not refute.
    #[test]
    fn a_healthy_member_that_stays_away_is_noticed() {
        let mut world = judged();
        world.hosts[1].paused_until = Time::from_origin(Duration::MAX);
        assert_eq!(found(&mut world), Some(Wrong::Away.rule()));
    }

    #[test]
    fn a_healthy_member_that_is_listed_elsewhere_is_noticed() {
        let mut world = judged();
        world.alias(1, addr(1));
        world.hosts[1].addr = addr(70);
        world.by_addr.remove(&addr(1));
        assert_eq!(found(&mut world), Some(Wrong::Elsewhere.rule()));
    }

    #[test]
    fn tags_that_do_not_arrive_are_noticed() {
        let mut world = judged();
        world.hosts[3].paused_until = Time::from_origin(Duration::MAX);
        // Without push/pulls, so that the stale tags are noticed before the others miss the host.
        world.hosts[3].config.sync_interval = Duration::ZERO;
        Fault::Tags(1, 1).apply(&mut world);
        assert_eq!(found(&mut world), Some(Wrong::Stale.rule()));
    }

    /// Host 1 goes on answering, though the judge takes it for gone.
    #[test]
    fn a_dead_member_that_stays_listed_is_noticed() {
        let mut world = judged();
        world.hosts[1].left = true;
        assert_eq!(found(&mut world), Some(Wrong::Dead.rule()));
    }

    #[test]
    fn probes_that_become_slow_are_noticed() {
        let mut world = judged();
        let answers_for = Duration::from_secs(400);
        world.attack(&Attack::Infiltrate { ghosts: 1, to: 0, answers_for });
        world.hosts[1].node_mut().expect("it is up").worsen_awareness(3);
        assert_eq!(found(&mut world), Some(SLOWED));
    }

    /// Two holders of a name look the same as long as both answer.
    #[test]
    fn a_host_that_yielded_to_one_that_answers_is_excused_until_that_is_silent() {
        let mut world = judged();
        let answers_for = Duration::from_secs(400);
        world.attack(&Attack::Infiltrate { ghosts: 1, to: 0, answers_for });
        world.run_for(Duration::from_secs(2));
        let (from, ahead) = (Who::Ghost(0), Ahead::Incarnations(1));
        let lie = Lie { kind: Kind::Alive, about: Who::Host(1), ahead, at: from };
        world.attack(&Attack::Datagram { from, to: 1, lies: vec![lie] });
        world.run_for(Duration::from_secs(300));
        assert!(world.node(1).is_displaced());
        world.run_for(Duration::from_secs(300));
        assert!(!world.node(1).is_displaced());
    }

    /// The first broken promise while a member makes all these claims about a host, for minutes.
    fn found_of(kind: Kind, host: usize, crashes: bool) -> Option<&'static str> {
        let mut world = judged();
        let answers_for = Duration::from_secs(400);
        // Together with a dead member, two made-up ones could be all relays of a probe.
        world.attack(&Attack::Infiltrate { ghosts: 1, to: 0, answers_for });
        world.run_for(Duration::from_secs(10));
        if crashes {
            world.crash(host);
        }
        let (about, ahead) = (Who::Host(host), Ahead::Incarnations(1));
        let lies = vec![Lie { kind, about, ahead, at: about }];
        let attack = Box::new(Attack::ToAll { from: Who::Ghost(0), lies });
        world.attack(&Attack::Again { attack, every: Duration::from_millis(30), times: 9000 });
        found(&mut world)
    }

    #[test]
    fn failures_that_are_believed_keep_a_member_away() {
        assert_eq!(found_of(Kind::Failed, 2, false), None);
        let found = without(Rule::Departures, || found_of(Kind::Failed, 2, false));
        assert_eq!(found, Some(Wrong::Away.rule()));
    }

    #[test]
    fn returns_that_are_made_up_keep_no_dead_member_listed() {
        assert_eq!(found_of(Kind::Alive, 2, true), None);
        let found = without(Rule::Returns, || found_of(Kind::Alive, 2, true));
        assert_eq!(found, Some(Wrong::Dead.rule()));
    }
}
