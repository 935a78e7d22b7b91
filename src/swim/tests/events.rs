//! The content of events besides the member: evidence, origin, and the previous state.

use super::{
    super::{Event, MemberState, Origin},
    bench::{Bench, alive, failed, left, say, suspect},
    world::{addr, secs},
};
use crate::wire::{
    Tags,
    message::{Alive, Message},
};

#[test]
fn a_verdict_of_our_own_names_all_accusers_and_how_long_the_member_could_refute() {
    let mut bench = Bench::new(5);
    bench.receive(&suspect("m2", 0, &["m3", "m4"]));
    let suspected = bench.now;
    bench.pass(secs(60));
    let fell = bench.events().into_iter().find_map(|event| match event {
        Event::Failed { member, verdict, .. } if &*member.name == "m2" => Some((member, verdict)),
        _ => None,
    });
    let (member, verdict) = fell.expect("nobody refuted");
    assert_eq!(verdict.origin, Origin::Own);
    let accusers: Vec<&str> = verdict.accusers.iter().map(AsRef::as_ref).collect();
    assert_eq!(accusers[..2], ["m3", "m4"]);
    assert_eq!(verdict.suspected, Some(suspected));
    assert_eq!(suspected + verdict.waited, member.since, "it has been failed since the verdict");
    assert!(verdict.to_string().starts_with("it did not refute in time; accused by m3, m4"), "{verdict}");
}

#[test]
fn a_verdict_of_another_member_says_so_with_the_evidence_known_before() {
    let mut bench = Bench::new(3);
    bench.receive(&failed("m2", 0));
    bench.receive(&suspect("m3", 0, &["m1"]));
    bench.now = bench.now + secs(1);
    bench.receive(&failed("m3", 0));
    let verdicts: Vec<_> = bench
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Failed { verdict, .. } => Some(verdict),
            _ => None,
        })
        .collect();
    let [unknown, known] = &verdicts[..] else { panic!("{verdicts:?}") };
    assert_eq!((unknown.origin, unknown.suspected, unknown.accusers.len()), (Origin::Others, None, 0));
    assert_eq!((known.origin, known.waited, known.accusers.len()), (Origin::Others, secs(1), 1));
    assert_eq!(unknown.to_string(), "another member said so");
    assert_eq!(known.to_string(), "another member said so; accused by m1 1.0 s before");
}

#[test]
fn a_restart_fails_the_past_life_because_of_its_successor() {
    let mut bench = Bench::new(2);
    bench.now = bench.now + secs(7);
    let restarted = Alive { epoch: alive("m2", 0, addr(2)).epoch + 1, ..alive("m2", 0, addr(2)) };
    say(&mut bench, "m2", addr(2), &[Message::Alive(restarted)]);
    let events = bench.events();
    let [Event::Failed { member: past, verdict, .. }, Event::Joined { member, .. }] = &events[..] else {
        panic!("{events:?}")
    };
    assert_eq!((past.state, verdict.origin), (MemberState::Failed, Origin::Successor));
    assert_eq!(verdict.to_string(), "it has restarted");
    assert_eq!(member.since, bench.now, "a later life begins anew");
}

#[test]
fn an_updated_event_holds_the_previous_member() {
    let mut bench = Bench::new(2);
    let tags = Tags::new([("zone", "b")]).unwrap();
    bench.receive(&Alive { tags: tags.encoded(), ..alive("m2", 1, addr(2)) });
    let events = bench.events();
    let [Event::Updated { member, previous, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&member.tags, member.identity.incarnation), (&tags, 1));
    assert_eq!((&previous.tags, previous.identity.incarnation), (&Tags::default(), 0));
    assert_eq!(member.since, previous.since, "it is as alive as before");
    bench.node.set_tags(bench.now, tags.clone());
    let events = bench.events();
    let [Event::Updated { member, previous, .. }] = &events[..] else { panic!("{events:?}") };
    assert_eq!((&member.tags, &previous.tags), (&tags, &Tags::default()), "of ourselves too");
}

#[test]
fn a_left_event_has_its_origin() {
    let mut bench = Bench::new(3);
    bench.receive_from(addr(2), &left("m2", 0));
    bench.sync(Message::Left(left("m3", 0)));
    bench.node.leave(bench.now);
    let by: Vec<_> = bench
        .events()
        .into_iter()
        .filter_map(|event| match event {
            Event::Left { member, origin, .. } => Some((member.name.to_string(), origin)),
            _ => None,
        })
        .collect();
    let expected = [("m2", Origin::Member), ("m3", Origin::Others), ("me", Origin::Own)];
    assert_eq!(by, expected.map(|(name, by)| (name.to_owned(), by)));
}

#[test]
fn an_event_is_one_line() {
    let mut bench = Bench::new(3);
    let tags = Tags::new([("role", "db")]).unwrap();
    bench.receive(&Alive { tags: tags.encoded(), ..alive("m2", 1, addr(2)) });
    bench.receive(&failed("m2", 1));
    bench.receive_from(addr(3), &left("m3", 0));
    let lines: Vec<_> = bench.events().iter().map(ToString::to_string).collect();
    let m2 = format!("m2 at {} (role=db)", addr(2));
    let expected = [
        format!("updated: {m2}"),
        format!("failed: {m2}: another member said so"),
        format!("left: m3 at {}", addr(3)),
    ];
    assert_eq!(lines, expected);
}

#[test]
fn since_is_when_a_member_entered_its_state_and_further_claims_do_not_move_it() {
    let mut bench = Bench::new(4);
    let first = bench.now;
    bench.receive(&suspect("m2", 0, &["m3"]));
    bench.now = bench.now + secs(1);
    bench.receive(&suspect("m2", 1, &["m3"]));
    assert_eq!(bench.member("m2").unwrap().since, first, "of a greater incarnation, but suspected before");
    bench.receive(&failed("m2", 1));
    let fell = bench.now;
    bench.now = bench.now + secs(1);
    bench.receive(&failed("m2", 2));
    assert_eq!(bench.member("m2").unwrap().since, fell);
}

#[test]
fn malformed_tags_contest_nothing() {
    let mut bench = Bench::new(2);
    bench.receive(&Alive { tags: &[0xff, 0xff, 0xff], ..alive("m2", 0, addr(2)) });
    assert_eq!(bench.standing("m2"), Some((MemberState::Alive, 0)));
}
