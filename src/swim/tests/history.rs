//! The history of a node, and how it explains a member.

use std::time::Duration;

use super::{
    super::{Accuser, Config, Event, Observation, Origin},
    bench::{Bench, EPOCH, alive, answers_come, failed, suspect},
    world::{World, addr, converged, millis, secs},
};
use crate::wire::message::Alive;

fn seen(world: &mut World, host: usize, name: &str) -> Vec<Observation> {
    let mut seen = Vec::new();
    world.with(host, |node, now| {
        seen = node.explain(now, name).observations.into_iter().map(|observed| observed.what).collect();
    });
    seen
}

#[test]
fn this_node_is_not_called_by_its_name_as_if_it_were_another() {
    let mut bench = Bench::new(3);
    bench.node.accuse("m1", EPOCH, &[]);
    bench.pass(secs(60));
    let own = Accuser { name: bench.node.name.clone(), is_own: true };
    let explanation = bench.node.explain(bench.now, "m1");
    assert!(
        explanation
            .observations
            .iter()
            .any(|observed| observed.what == Observation::Accused { by: own.clone() })
    );
    assert!(explanation.to_string().contains("accused by this node\n"), "{explanation}");
    let verdict = bench.events().into_iter().find_map(|event| match event {
        Event::Failed { member, verdict } if &*member.name == "m1" => Some(verdict),
        _ => None,
    });
    let verdict = verdict.expect("it does not refute");
    assert!(verdict.accusers[0] == own && verdict.to_string().contains("accused by this node "), "{verdict}");
}

#[test]
fn a_crash_is_explained_from_the_last_answer_to_the_verdict() {
    let mut world = converged(51, 6);
    world.run_for(secs(20));
    world.crash(3);
    world.run_for(secs(20));
    let seen = seen(&mut world, 0, "n3");
    let first = |is: fn(&Observation) -> bool| seen.iter().position(is);
    let answered = first(|what| matches!(what, Observation::Heard { round_trip: Some(_) }));
    let suspected = first(|what| *what == Observation::Suspected);
    let accused = first(|what| matches!(what, Observation::Accused { .. }));
    let fell = first(|what| matches!(what, Observation::Failed { .. }));
    assert!(answered.is_some() && answered < suspected && suspected < accused && accused < fell, "{seen:#?}");
    world.run_for(secs(3600));
    let lasting = self::seen(&mut world, 0, "n3");
    assert!(lasting.len() >= seen.len(), "an hour of healthy probes pushes nothing out");
    assert_eq!(seen.iter().filter(|what| matches!(what, Observation::Failed { .. })).count(), 1);
}

#[test]
fn claims_about_a_member_are_remembered_with_their_claimant() {
    let mut bench = Bench::with(Config { verifiers: 0, ..Config::lan("me") }, 5);
    bench.receive(&suspect("m2", 0, &["m3"]));
    bench.receive(&alive("m2", 1, addr(2)));
    bench.receive(&failed("m2", 1));
    let explained = bench.node.explain(bench.now, "m2");
    let expected = [
        Observation::Joined,
        Observation::Suspected,
        Observation::Accused { by: Accuser::of(&"m3".into(), "self") },
        Observation::Refuted { incarnation: 1 },
        Observation::Failed { origin: Origin::Others },
    ];
    assert_eq!(
        explained.observations.iter().map(|observed| observed.what.clone()).collect::<Vec<_>>(),
        expected
    );
    let told = explained.to_string();
    assert!(told.starts_with("m2: failed for 0.0 s") && told.contains("accused by m3"), "{told}");
    assert!(
        bench
            .node
            .explain(bench.now, "nobody")
            .to_string()
            .starts_with("nobody: not listed\nthis node: joined")
    );
}

#[test]
fn a_missed_probe_is_remembered_with_its_nacks_and_a_stall_with_its_pause() {
    let mut bench = Bench::new(8);
    bench.pass(secs(2));
    let missed = |bench: &mut Bench| {
        let names: Vec<_> = bench.node.members().into_iter().map(|member| member.name).collect();
        let all = names.iter().flat_map(|name| bench.node.explain(bench.now, name).observations);
        all.map(|observed| observed.what).collect::<Vec<_>>()
    };
    let found = missed(&mut bench);
    assert!(found.contains(&Observation::Missed { relays: 3, nacks: 0, health_score: 3 }), "{found:?}");
    bench.now = bench.now + secs(60);
    bench.node.handle_timeout(bench.now);
    let found = missed(&mut bench);
    let is_stall = |what: &Observation| matches!(what, Observation::Stalled { pause } if *pause > secs(50));
    assert!(found.iter().any(is_stall) && found.contains(&Observation::Discarded), "{found:?}");
}

/// While it is probed, another claims that it is another life or elsewhere, and is believed, since relays alone reached it in
/// the round before.
#[test]
fn a_probe_that_others_void_is_remembered_with_the_last_sign_before_it() {
    for claim in [Alive { epoch: EPOCH + 1, ..alive("m2", 0, addr(2)) }, alive("m2", 1, addr(9))] {
        let mut bench = Bench::new(2);
        let m2 = bench.node.table.find("m2").expect("it is a member");
        bench.node.table.contact_mut(m2).round_trip.take(millis(7), bench.now);
        let joined = bench.now;
        while bench.node.table.get(m2).contact.probed <= joined {
            bench.pass(millis(50));
            answers_come(&mut bench, Some(addr(2)));
        }
        bench.node.table.contact_mut(m2).silent = true;
        bench.receive(&claim);
        assert_eq!(
            bench.member("m2").map(|m2| (m2.identity.epoch, m2.addr)),
            Some((claim.epoch, claim.addr))
        );
        bench.pass(secs(20));
        let explained = bench.node.explain(bench.now, "m2");
        let seen: Vec<_> = explained.observations.into_iter().map(|observed| observed.what).collect();
        let first = |is: fn(&Observation) -> bool| seen.iter().position(is);
        let heard = first(|what| *what == Observation::Heard { round_trip: Some(millis(7)) });
        let missed = first(|what| matches!(what, Observation::Missed { .. }));
        let suspected = first(|what| *what == Observation::Suspected);
        assert!(heard.is_some() && heard < missed && missed < suspected, "{seen:#?}");
        let told = seen.iter().filter(|what| matches!(what, Observation::Missed { .. })).count();
        assert_eq!(explained.probes.map(|probes| probes.missed), Some(told as u32), "{seen:#?}");
    }
}

#[test]
fn the_memory_is_bounded_and_can_be_none() {
    for most in [0, 3] {
        let mut bench = Bench::with(Config { history: most, ..Config::lan("me") }, 5);
        for incarnation in 0..10 {
            bench.receive(&suspect("m2", incarnation, &["m3"]));
            bench.receive(&alive("m2", incarnation + 1, addr(2)));
        }
        assert_eq!(bench.node.history.len(), most);
        let explained = bench.node.explain(bench.now, "m2");
        assert_eq!(explained.observations.len(), most);
        assert_eq!(explained.to_string().contains("nothing is remembered"), most == 0);
    }
}

#[test]
fn what_may_be_forgotten_is_told_and_what_was_never_observed_is_not_called_forgotten() {
    let mut bench = Bench::with(Config { history: 8, ..Config::lan("me") }, 2);
    let explained = |bench: &Bench, name: &str| {
        let explained = bench.node.explain(bench.now + secs(9), name);
        (explained.remembers_since, explained.to_string())
    };
    let (since, text) = explained(&bench, "m2");
    assert!(since.is_none() && !text.contains("forgotten"), "{text}");
    let (since, text) = explained(&bench, "nobody");
    assert!(since.is_none() && text.ends_with("\nnothing was observed of it"), "{text}");
    for incarnation in 0..7 {
        bench.receive(&suspect("m2", incarnation, &["m1"]));
        bench.receive(&alive("m2", incarnation + 1, addr(2)));
    }
    let may_be = "\n(what was observed until 9.0 s ago may be forgotten)\n";
    let (since, text) = explained(&bench, "m2");
    assert!(since == Some(bench.now) && text.contains(may_be), "{text}");
    let (since, text) = explained(&bench, "nobody");
    assert!(since == Some(bench.now) && text.ends_with(&format!("{may_be}nothing is remembered")), "{text}");
}

/// Made-up members push only one another out.
#[test]
fn what_is_remembered_of_a_member_that_has_answered_reaches_back_behind_a_flood_of_names() {
    let mut bench = Bench::with(Config { history: 64, ..Config::lan("me") }, 2);
    let first = bench.now;
    for ghost in 10..40 {
        bench.now = first + millis(ghost);
        bench.receive(&alive(&format!("x{ghost}"), 0, addr(ghost as usize)));
    }
    let since = |name| bench.node.explain(bench.now, name).remembers_since;
    assert_eq!(since("m2"), None);
    assert!(since("x39") > Some(first), "the first of them are forgotten");
}

#[test]
fn probes_that_were_not_answered_and_those_that_streams_saved_are_in_the_text() {
    let mut bench = Bench::new(2);
    let explained = |bench: &Bench| bench.node.explain(bench.now, "m2");
    assert!(!explained(&bench).to_string().contains("in a row"));
    (0..2).for_each(|_| bench.node.saved_by_stream(&"m2".into()));
    assert_eq!(bench.node.probe_stats("m2").map(|stats| stats.saved_by_stream), Some(2));
    let text = explained(&bench).to_string();
    assert!(text.contains("; probes in a row answered by stream alone: 2\n"), "{text}");
    let m2 = bench.node.table.find("m2").expect("it is a member");
    (0..3).for_each(|_| bench.node.table.contact_mut(m2).miss());
    let text = explained(&bench).to_string();
    assert!(text.contains("; unanswered probes in a row: 3; probes in a row answered by stream"), "{text}");
}

#[test]
fn a_name_from_the_network_stays_on_its_line() {
    let bench = Bench::new(2);
    let explained = bench.node.explain(bench.now + Duration::from_secs(1), "a\nb\u{1b}[31m");
    assert!(explained.to_string().starts_with("a\\nb\\u{1b}[31m: not listed\n"), "{explained}");
}
