//! The effect of each claim in each state: claims about others, and about this node.

use std::time::Duration;

use super::{
    super::{
        Config, Identity,
        MemberState::{Alive, Failed, Left, Suspect},
        Output, StreamFailure,
        claims::Authority,
    },
    bench::{Bench, EPOCH, alive, failed, gone, left, messages, packet_of, suspect},
    world::{addr, millis, secs},
};
use crate::wire::{
    Tags, hash,
    message::{self, Ack, Message, Nack, Ping, PingReq},
    packet,
};

/// A bench whose member m2 is in a given state at incarnation 5.
fn with_m2(state: super::super::MemberState) -> Bench {
    let mut bench = Bench::new(4);
    bench.receive(&alive("m2", 5, addr(2)));
    match state {
        Suspect => _ = bench.receive(&suspect("m2", 5, &["m1"])),
        Failed => _ = bench.receive(&failed("m2", 5)),
        Left => _ = bench.receive(&left("m2", 5)),
        _ => {}
    }
    bench.kinds();
    bench.has_news("m2");
    assert_eq!(bench.standing("m2"), Some((state, 5)));
    bench
}

#[test]
fn the_table_of_claims_about_others() {
    // (held, claim, incarnation) → (state, incarnation, events, spread). Held incarnation is 5.
    type Row = (
        super::super::MemberState,
        &'static str,
        u64,
        super::super::MemberState,
        u64,
        &'static [&'static str],
    );
    let rows: [Row; 37] = [
        (Alive, "alive", 4, Alive, 5, &[]),
        (Alive, "alive", 5, Alive, 5, &[]),
        (Alive, "alive", 6, Alive, 6, &[]),
        (Alive, "suspect", 4, Alive, 5, &[]),
        (Alive, "suspect", 5, Suspect, 5, &["suspected"]),
        (Alive, "suspect", 6, Suspect, 6, &["suspected"]),
        (Alive, "failed", 4, Alive, 5, &[]),
        (Alive, "failed", 5, Failed, 5, &["failed"]),
        (Alive, "failed", 6, Failed, 6, &["failed"]),
        (Alive, "left", 4, Alive, 5, &[]),
        (Alive, "left", 5, Left, 5, &["left"]),
        (Alive, "left", 6, Left, 6, &["left"]),
        (Suspect, "alive", 5, Suspect, 5, &[]),
        (Suspect, "alive", 6, Alive, 6, &["updated"]),
        (Suspect, "suspect", 4, Suspect, 5, &[]),
        (Suspect, "suspect", 5, Suspect, 5, &[]),
        (Suspect, "suspect", 6, Suspect, 6, &[]),
        (Suspect, "failed", 4, Suspect, 5, &[]),
        (Suspect, "failed", 5, Failed, 5, &["failed"]),
        (Suspect, "left", 5, Left, 5, &["left"]),
        (Failed, "alive", 4, Failed, 5, &[]),
        (Failed, "alive", 5, Failed, 5, &[]),
        (Failed, "alive", 6, Alive, 6, &["joined"]),
        (Failed, "suspect", 5, Failed, 5, &[]),
        (Failed, "suspect", 6, Failed, 5, &[]),
        (Failed, "failed", 5, Failed, 5, &[]),
        // Upstream ignores this, so an old life can come back.
        (Failed, "failed", 6, Failed, 6, &[]),
        // Only the member itself says that it left, so this knowledge is better than another member's verdict.
        (Failed, "left", 5, Left, 5, &["left"]),
        (Failed, "left", 4, Failed, 5, &[]),
        (Left, "alive", 5, Left, 5, &[]),
        (Left, "alive", 6, Alive, 6, &["joined"]),
        (Left, "suspect", 5, Left, 5, &[]),
        (Left, "suspect", 6, Left, 5, &[]),
        (Left, "failed", 5, Left, 5, &[]),
        (Left, "failed", 6, Failed, 6, &["failed"]),
        (Left, "left", 5, Left, 5, &[]),
        (Left, "left", 6, Left, 6, &[]),
    ];
    for (held, claim, incarnation, state, after, events) in rows {
        let mut bench = with_m2(held);
        match claim {
            "alive" => bench.receive(&alive("m2", incarnation, addr(2))),
            "suspect" => bench.receive(&suspect("m2", incarnation, &["m1"])),
            "failed" => bench.receive(&failed("m2", incarnation)),
            _ => bench.receive(&left("m2", incarnation)),
        };
        let row = format!("{held} 5 hears {claim} {incarnation}");
        assert_eq!(bench.standing("m2"), Some((state, after)), "{row}");
        assert_eq!(bench.kinds(), events, "{row}");
        let changed = (held, 5) != (state, after);
        let accuses_who_left = held == Left && ["suspect", "failed"].contains(&claim);
        let spread = changed || accuses_who_left;
        assert_eq!(
            bench.has_news("m2"),
            spread,
            "{row}: what changes is spread, and a leave to a member that doubts it"
        );
    }
}

const NOTHING: [&str; 0] = [];

/// An insider that moves members would mute them: a token is valid for one address only.
#[test]
fn a_member_that_answers_is_not_said_to_be_elsewhere_until_it_answers_there() {
    let elsewhere = alive("m2", 7, addr(9));
    let restarted = message::Alive { epoch: EPOCH + 1, ..elsewhere };
    for (held, claim) in [(Alive, elsewhere), (Alive, restarted), (Suspect, elsewhere), (Failed, elsewhere)] {
        let mut bench = with_m2(held);
        bench.receive(&claim).receive(&claim);
        let m2 = bench.member("m2").expect("it is listed");
        assert_eq!((m2.addr, m2.state, m2.identity.incarnation), (addr(2), held, 5));
        assert!(!bench.has_news("m2"), "nor are others told");
        bench.pass(millis(20));
        let asked = bench.sent().into_iter().filter(|(to, _)| *to == addr(9)).count();
        assert_eq!(asked, 1, "{held}");
        bench.pass(millis(200));
        bench.move_to(&message::Alive { incarnation: 8, ..claim });
        let m2 = bench.member("m2").expect("it is listed");
        assert_eq!((m2.addr, m2.state, m2.identity.incarnation), (addr(9), Alive, 8));
        assert!(bench.has_news("m2"));
    }
}

#[test]
fn a_member_that_did_not_answer_the_last_probe_is_believed_to_have_moved() {
    let mut bench = with_m2(Alive);
    let id = bench.node.table.find("m2").expect("it is a member");
    bench.node.table.contact_mut(id).silent = true;
    bench.receive(&alive("m2", 6, addr(9)));
    assert_eq!(bench.member("m2").map(|m2| m2.addr), Some(addr(9)));
}

#[test]
fn made_up_moves_cost_a_bounded_number_of_pings() {
    let mut bench = Bench::new(100);
    for i in 2..=100 {
        bench.sync(Message::Alive(alive(&format!("m{i}"), 1, addr(200 + i))));
    }
    assert_eq!(bench.node.metrics().dropped_unverified, 99 - 64);
    bench.node.audit().expect("every bound holds");
    bench.pass(millis(1));
    assert_eq!(bench.sent().len(), 3, "as many as updates are sent in a round");
    bench.pass(secs(10));
    let asked = bench.sent().into_iter().filter(|(to, _)| *to > addr(200)).count();
    assert!(asked >= 61, "{asked}");
}

/// Two processes of one name that met no member in between took up one life: no claim would ever win.
#[test]
fn one_life_at_two_addresses_is_suspected_until_one_of_them_refutes() {
    let mut bench = with_m2(Alive);
    let elsewhere = alive("m2", 5, addr(9));
    bench.receive(&elsewhere);
    assert_eq!((bench.standing("m2"), bench.kinds()), (Some((Suspect, 5)), vec!["suspected"]));
    assert!(bench.has_news("m2"), "the others shall ask, too");
    bench.receive(&elsewhere);
    assert_eq!(bench.kinds(), NOTHING);
    bench.move_to(&alive("m2", 6, addr(9)));
    assert_eq!(bench.standing("m2"), Some((Alive, 6)));
    assert_eq!(bench.member("m2").map(|member| member.addr), Some(addr(9)));
}

#[test]
fn a_departed_life_that_is_said_to_be_elsewhere_stays_departed() {
    for held in [Failed, Left] {
        let mut bench = with_m2(held);
        bench.receive(&alive("m2", 5, addr(9)));
        assert_eq!((bench.standing("m2"), bench.kinds()), (Some((held, 5)), Vec::new()));
    }
}

#[test]
fn of_unknown_names_only_alive_makes_a_member() {
    let mut bench = Bench::new(1);
    bench.receive(&suspect("x", 3, &["m1"])).receive(&failed("y", 3)).receive(&left("z", 3));
    assert_eq!(bench.node.members().len(), 2);
    assert_eq!(bench.kinds(), NOTHING);
    bench.receive(&alive("x", 0, addr(9)));
    assert_eq!((bench.standing("x"), bench.kinds()), (Some((Alive, 0)), vec!["joined"]));
}

#[test]
fn a_failure_that_arrives_before_the_alive_is_not_forgotten() {
    let mut bench = Bench::new(1);
    bench.receive(&failed("x", 3)).receive(&alive("x", 3, addr(9)));
    assert_eq!(bench.standing("x"), None);
    bench.receive(&alive("x", 4, addr(9)));
    assert_eq!(bench.standing("x"), Some((Alive, 4)));
}

#[test]
fn a_failed_member_takes_a_greater_incarnation_from_a_later_failure() {
    let mut bench = Bench::new(2);
    bench
        .receive(&alive("m2", 1, addr(2)))
        .receive(&failed("m2", 1))
        .receive(&failed("m2", 10))
        .receive(&alive("m2", 2, addr(2)));
    assert_eq!(bench.standing("m2"), Some((Failed, 10)));
}

#[test]
fn updates_about_an_old_life_change_nothing_and_a_new_life_counts_at_once() {
    for held in [Alive, Suspect, Failed, Left] {
        let mut bench = with_m2(held);
        let new = message::Alive { epoch: EPOCH + 1, ..alive("m2", 0, addr(7)) };
        bench.move_to(&new);
        let member = bench.member("m2").unwrap();
        assert_eq!((member.addr, member.identity), (addr(7), Identity { epoch: EPOCH + 1, incarnation: 0 }));
        let expected: &[&str] = if held.is_live() { &["failed", "joined"] } else { &["joined"] };
        assert_eq!(bench.kinds(), expected, "{held}");
        bench.receive(&alive("m2", 99, addr(2))).receive(&failed("m2", 99)).receive(&left("m2", 99));
        assert_eq!(bench.member("m2").unwrap(), member);
    }
}

#[test]
fn new_tags_or_a_new_address_are_an_update_exactly_once() {
    let mut bench = Bench::new(2);
    let tags = Tags::new([("k", "v")]).unwrap();
    let tagged = message::Alive { tags: tags.encoded(), ..alive("m2", 1, addr(2)) };
    bench.receive(&tagged).receive(&tagged);
    assert_eq!(bench.kinds(), ["updated"]);
    bench.receive(&message::Alive { tags: tags.encoded(), ..alive("m2", 2, addr(2)) });
    assert_eq!(bench.kinds(), NOTHING, "nothing but the incarnation changed");
    bench.move_to(&message::Alive { tags: tags.encoded(), ..alive("m2", 3, addr(8)) });
    assert_eq!((bench.kinds(), bench.member("m2").unwrap().addr), (vec!["updated"], addr(8)));
    assert_eq!(bench.node.table.at_addr(addr(2)), None);
}

#[test]
fn accusers_count_once_and_only_if_they_are_members() {
    let mut bench = Bench::new(8);
    let deadline = |bench: &Bench| {
        let id = bench.node.table.find("m2").unwrap();
        bench.node.table.get(id).suspicion.as_ref().unwrap().deadline().since(bench.now)
    };
    bench.receive(&suspect("m2", 0, &["m1"]));
    let longest = deadline(&bench);
    bench.has_news("m2");
    bench.receive(&suspect("m2", 0, &["m1", "nobody", "x", "me too"]));
    assert_eq!((deadline(&bench), bench.has_news("m2")), (longest, false));
    bench.receive(&suspect("m2", 0, &["m1", "m3"]));
    assert!(deadline(&bench) < longest);
    assert!(bench.has_news("m2"), "a counted accuser is spread");
    bench.receive(&suspect("m2", 0, &["m4", "m5"]));
    let shortest = deadline(&bench);
    assert_eq!(shortest, secs(2));
    bench.has_news("m2");
    bench.receive(&suspect("m2", 0, &["m6", "m7"]));
    assert_eq!((deadline(&bench), bench.has_news("m2")), (shortest, false));
}

#[test]
fn a_suspicion_runs_out_once_and_a_refutation_stops_it() {
    let mut bench = Bench::new(8);
    bench.receive(&suspect("m2", 0, &["m1", "m3", "m4"])).receive(&suspect("m5", 0, &["m1", "m3", "m4"]));
    bench.receive(&alive("m5", 1, addr(5)));
    bench.kinds();
    // Only suspicions are tested: the bench answers no probes.
    bench.node.phase = super::super::phase::Phase::Starting;
    bench.pass(secs(10));
    assert_eq!(bench.kinds(), ["failed"]);
    assert_eq!((bench.standing("m2"), bench.standing("m5")), (Some((Failed, 0)), Some((Alive, 1))));
}

#[test]
fn a_suspect_that_is_suspected_anew_is_waited_for_as_long_as_the_first_time() {
    let mut bench = Bench::new(4);
    for incarnation in [0, 1] {
        bench.receive(&suspect("m2", incarnation, &["m1"]));
    }
    // Twice the minimum, as if no member could confirm it.
    bench.pass(secs(5));
    assert_eq!(bench.standing("m2"), Some((Suspect, 1)));
}

#[test]
fn a_failure_told_in_a_sync_only_suspects_a_live_member() {
    let mut bench = Bench::new(4);
    bench.sync(gone("m2", 0, false, 60));
    assert_eq!((bench.standing("m2"), bench.kinds()), (Some((Suspect, 0)), vec!["suspected"]));
    bench.sync(gone("m3", 0, true, 60));
    assert_eq!((bench.standing("m3"), bench.kinds()), (Some((Left, 0)), vec!["left"]));
    bench.sync(gone("m4", 0, false, 60));
    bench.sync(gone("stranger", 0, false, 60));
    assert_eq!(bench.standing("stranger"), None, "remembered, but not listed");
    assert_eq!(bench.node.metrics().departed_members, 2);
}

#[test]
fn tombstones_keep_their_age_when_passed_on_and_old_ones_are_not_taken() {
    let mut bench = Bench::new(1);
    let day = 24 * 3600;
    bench.sync(gone("old", 0, false, day + 1));
    assert_eq!(bench.node.metrics().departed_members, 0);
    bench.sync(gone("older", 0, false, day - 100));
    assert_eq!(bench.node.metrics().departed_members, 1);
    bench.node.phase = super::super::phase::Phase::Starting;
    bench.pass(secs(101));
    assert_eq!(bench.node.metrics().departed_members, 0);
}

#[test]
fn claims_about_this_node_are_refuted_above_the_claimed_incarnation() {
    type Claim = fn(&mut Bench);
    let cases: [(&str, Claim, u64); 9] = [
        ("suspect 0", |b| _ = b.receive(&suspect("me", 0, &["m1"])), 1),
        ("suspect 7", |b| _ = b.receive(&suspect("me", 7, &["m1"])), 8),
        ("failed 0", |b| _ = b.receive(&failed("me", 0)), 1),
        ("failed 7", |b| _ = b.receive(&failed("me", 7)), 8),
        ("a forged leave", |b| _ = b.receive(&left("me", 3)), 4),
        ("gone, in a sync", |b| b.sync(gone("me", 2, false, 5)), 3),
        ("alive 7, here", |b| _ = b.receive(&alive("me", 7, addr(0))), 8),
        ("alive 0, an echo", |b| _ = b.receive(&alive("me", 0, addr(0))), 0),
        ("an old life", |b| _ = b.receive(&message::Failed { epoch: EPOCH - 1, ..failed("me", 9) }), 0),
    ];
    for (what, claim, incarnation) in cases {
        let mut bench = Bench::new(3);
        claim(&mut bench);
        let own = bench.node.local();
        assert_eq!((own.state, own.identity.incarnation), (Alive, incarnation), "{what}");
        assert_eq!(bench.has_news("me"), incarnation > 0, "{what}");
    }
}

#[test]
fn a_refutation_raises_the_health_score() {
    let mut bench = Bench::new(3);
    bench.receive(&suspect("me", 0, &["m1"]));
    assert_eq!(bench.node.metrics().health_score, 1);
}

#[test]
fn jumps_beyond_the_bound_are_dropped_and_counted_and_nothing_wraps() {
    let mut bench = Bench::new(3);
    for incarnation in [u64::MAX, u64::MAX - 1, 1 << 41] {
        bench.receive(&suspect("me", incarnation, &["m1"])).receive(&failed("m2", incarnation));
        bench.receive(&suspect("m2", incarnation, &["m1"])).receive(&alive("m2", incarnation, addr(2)));
    }
    bench.receive(&message::Alive { epoch: u64::MAX, ..alive("m2", 0, addr(2)) });
    bench.receive(&alive("new", u64::MAX, addr(9)));
    let refuted = Identity { epoch: EPOCH + 1, incarnation: 0 };
    assert_eq!(bench.node.local().identity, refuted, "others may believe what is said of this node");
    assert_eq!(bench.standing("m2"), Some((Alive, 0)));
    assert_eq!(bench.standing("new"), None);
    assert_eq!(bench.node.metrics().dropped_implausible, 11);
}

const YEARS: u64 = 365 * 24 * 3600 * 1000;

#[test]
fn a_member_can_refute_the_greatest_accusation_that_others_accept() {
    // The greatest accusation that is accepted, of the present life and of a later one.
    for (epoch, incarnation) in [(EPOCH, 1 << 20), (EPOCH + 1, 1 << 40), (4_102_444_800_000 + 25 * YEARS, 3)]
    {
        let (mut victim, mut observer) = (Bench::new(1), Bench::new(1));
        observer.receive(&alive("me2", 0, addr(9)));
        let id = observer.node.table.find("me2").expect("it is listed");
        observer.node.table.contact_mut(id).silent = true;
        victim.receive(&message::Failed { epoch, ..failed("me", incarnation) });
        observer.receive(&message::Failed { epoch, ..failed("me2", incarnation) });
        assert_eq!(observer.standing("me2").unwrap().0, Failed);
        let refuted = victim.node.local().identity;
        observer
            .receive(&message::Alive { epoch: refuted.epoch, ..alive("me2", refuted.incarnation, addr(9)) });
        assert_eq!(observer.standing("me2"), Some((Alive, refuted.incarnation)), "{epoch}.{incarnation}");
    }
}

/// Whether an observer that heard the same believes the member's refutation.
fn believes(observer: &mut Bench, victim: &Bench) -> bool {
    let Identity { epoch, incarnation } = victim.node.local().identity;
    observer.pass(millis(2));
    let refutation = message::Alive { epoch, ..alive("me2", incarnation, addr(9)) };
    observer.node.on_alive(&refutation, Authority::AnsweredThere);
    observer.standing("me2") == Some((Alive, incarnation))
}

#[test]
fn a_node_that_heard_of_no_lie_believes_the_refutation_of_many_that_add_up() {
    let (mut victim, mut observer) = (Bench::new(1), Bench::new(1));
    observer.receive(&alive("me2", 0, addr(9))).receive(&failed("me2", 0));
    for _ in 0..9 {
        let Identity { epoch, incarnation } = victim.node.local().identity;
        victim.receive(&message::Failed { epoch, ..failed("me", incarnation + (1 << 18)) });
    }
    assert!(believes(&mut observer, &victim), "{:?}", victim.node.local().identity);
}

#[test]
fn a_member_refutes_an_incarnation_that_others_accepted_step_by_step() {
    let (mut victim, mut observer) = (Bench::new(1), Bench::new(1));
    observer.receive(&alive("me2", 0, addr(9)));
    for steps in 1..=3 {
        observer.receive(&failed("me2", steps << 20));
    }
    assert_eq!(observer.standing("me2"), Some((Failed, 3 << 20)));
    victim.receive(&failed("me", 3 << 20));
    assert!(believes(&mut observer, &victim), "{:?}", victim.node.local().identity);
}

#[test]
fn a_node_that_heard_a_lesser_lie_about_a_life_to_come_believes_the_refutation_of_a_greater() {
    let (mut victim, mut observer) = (Bench::new(1), Bench::new(1));
    observer.receive(&alive("me2", 0, addr(9)));
    let elsewhere =
        |name, incarnation| message::Alive { epoch: EPOCH + 1, ..alive(name, incarnation, addr(66)) };
    observer.node.on_alive(&elsewhere("me2", 0), Authority::AnsweredThere);
    victim.receive(&elsewhere("me", 1 << 39));
    assert!(believes(&mut observer, &victim), "{:?}", victim.node.local().identity);
}

/// The greatest Alive that is accepted moves the member elsewhere. The member takes its name back, and an observer believes
/// it whether it heard of the move or not.
#[test]
fn a_member_can_take_its_name_back_from_wherever_it_was_moved() {
    for (epoch, incarnation) in [(EPOCH, 1 << 20), (EPOCH + 1, 1 << 40), (4_102_444_800_000 + 24 * YEARS, 7)]
    {
        let mut victim = Bench::new(1);
        victim.receive(&message::Alive { epoch, ..alive("me", incarnation, addr(66)) });
        // Under this node's own epoch the claimed holder could be an incumbent: it is asked, and silent.
        while let Some(output) = victim.node.poll_output() {
            if let Output::OpenStream { stream, .. } = output {
                victim.node.handle_stream_failure(victim.now, stream, StreamFailure::Refused);
            }
        }
        // The ping of the same question has a little more time.
        victim.pass(millis(200));
        let taken_back = victim.node.local().identity;
        for heard in [true, false] {
            let mut observer = Bench::new(1);
            observer.receive(&alive("me2", 0, addr(9)));
            if heard {
                let moved = message::Alive { epoch, ..alive("me2", incarnation, addr(66)) };
                observer.node.on_alive(&moved, Authority::AnsweredThere);
                assert_eq!(observer.member("me2").unwrap().addr, addr(66));
            }
            let Identity { epoch, incarnation } = taken_back;
            let back = message::Alive { epoch, ..alive("me2", incarnation, addr(9)) };
            observer.node.on_alive(&back, Authority::AnsweredThere);
            let member = observer.member("me2").unwrap();
            assert_eq!((member.addr, member.identity), (addr(9), taken_back), "{epoch}.{incarnation}");
        }
    }
}

/// An observer that has not heard the accusation believes the refutation, too: the bound on epochs moves with the clock.
#[test]
fn the_latest_epoch_that_any_member_accepts_is_superseded_for_all() {
    let moved = |epoch| message::Alive { epoch, ..alive("me", 3, addr(66)) };
    let accused = |epoch| message::Failed { epoch, ..failed("me", 3) };
    for moves in [false, true] {
        let mut victim = Bench::new(1);
        let latest = victim.node.latest_epoch();
        match moves {
            true => victim.receive(&moved(latest)),
            false => victim.receive(&accused(latest)),
        };
        let refuted = victim.node.local().identity;
        assert!(refuted > Identity { epoch: latest, incarnation: 3 });
        for (heard, by_itself) in [(true, false), (false, false), (false, true)] {
            let mut observer = Bench::new(1);
            if heard {
                // An unverified peer took the name while it was not live.
                observer.node.on_alive(&message::Alive { name: "me2", ..moved(latest) }, Authority::Itself);
                assert_eq!(observer.member("me2").map(|member| member.identity.epoch), Some(latest));
            } else {
                observer.receive(&alive("me2", 0, addr(9)));
            }
            observer.now = observer.now + millis(2);
            observer.node.advance(observer.now);
            let Identity { epoch, incarnation } = refuted;
            let refutation = message::Alive { epoch, ..alive("me2", incarnation, addr(9)) };
            // An observer that heard of no move need not ask.
            let claimant = observer.node.table.claimant_at(addr(1));
            let authority = if heard { Authority::AnsweredThere } else { Authority::of(by_itself, claimant) };
            observer.node.on_alive(&refutation, authority);
            let member = observer.member("me2").unwrap();
            assert_eq!((member.addr, member.identity), (addr(9), refuted), "heard: {heard}");
        }
    }
}

#[test]
fn the_bound_on_epochs_is_the_same_for_every_claim() {
    for by_itself in [false, true] {
        let mut bench = Bench::new(0);
        let latest = bench.node.latest_epoch();
        for (name, epoch, listed) in [("a", latest, true), ("b", latest + 60_000, false)] {
            let authority = Authority::of(by_itself, bench.node.table.claimant_at(addr(2)));
            bench.node.on_alive(&message::Alive { epoch, ..alive(name, 0, addr(1)) }, authority);
            assert_eq!(bench.member(name).is_some(), listed, "by itself: {by_itself}");
        }
        // Nor one step at a time: the member that has to supersede the claims would hear only of the last.
        for beyond in 1..1000 {
            let epoch = latest + 60_000 + beyond;
            let authority = Authority::of(by_itself, bench.node.table.claimant_at(addr(2)));
            bench.node.on_alive(&message::Alive { epoch, ..alive("a", 0, addr(1)) }, authority);
        }
        assert_eq!(bench.member("a").map(|member| member.identity.epoch), Some(latest));
    }
}

#[test]
fn one_datagram_causes_at_most_one_answer() {
    let mut bench = Bench::new(2);
    let mut pings = Vec::new();
    let mut writer =
        packet::Writer::new(&mut pings, packet::Header::anonymous(hash::cluster("default")), 1400);
    while writer.message(&Ping { seq: 1, target: "me" }) {}
    writer.finish();
    bench.node.handle_datagram(bench.now, addr(99), &pings);
    assert_eq!(bench.sent().len(), 1);
    assert!(bench.node.metrics().dropped_malformed > 50);
}

#[test]
fn datagrams_that_wait_to_be_sent_are_bounded() {
    let mut bench = Bench::new(1);
    for _ in 0..5000 {
        bench.receive(&Ping { seq: 1, target: "me" });
    }
    assert_eq!((bench.sent().len(), bench.node.metrics().dropped_transmits), (4096, 904));
}

#[test]
fn a_ping_is_answered_by_the_one_it_names_and_unverified_peers_get_no_updates() {
    let mut bench = Bench::new(2);
    bench.receive(&alive("member", 0, addr(3)));
    bench.receive_from(addr(99), &Ping { seq: 7, target: "me" });
    bench.receive_from(addr(1), &Ping { seq: 8, target: "me" });
    bench.receive_from(addr(1), &Ping { seq: 9, target: "somebody else" });
    let sent = bench.sent();
    assert_eq!(sent.iter().map(|(to, _)| *to).collect::<Vec<_>>(), [addr(99), addr(1)]);
    let claims = |bytes: &[u8]| {
        let mut claims = 0;
        messages(bytes, |message| claims += usize::from(matches!(message, Message::Alive(_))));
        claims
    };
    assert_eq!((claims(&sent[0].1), claims(&sent[1].1)), (0, 1));
    assert!(sent[0].1.len() <= packet_of(&Ping { seq: 7, target: "me" }).len(), "no amplification");
    assert_eq!(bench.node.metrics().dropped_wrong_target, 1);
}

#[test]
fn a_node_relays_only_for_members_and_only_to_members() {
    let mut bench = Bench::new(3);
    let request = |target| PingReq { seq: 5, target, window_ms: 500 };
    bench.receive_from(addr(99), &request("m2"));
    bench.receive_from(addr(1), &request("nobody"));
    bench.receive_from(addr(1), &request("me"));
    assert_eq!((bench.sent().len(), bench.node.metrics().refused_relays), (0, 3));
    bench.receive_from(addr(1), &request("m2"));
    assert_eq!(bench.sent()[0].0, addr(2));
    bench.sent();
    for _ in 0..1000 {
        bench.receive_from(addr(1), &request("m2"));
    }
    assert_eq!(bench.sent().len(), 1000, "one for one");
    assert_eq!(bench.node.relays.len(), 1, "who asks anew has given up what it asked before");
}

#[test]
fn one_member_cannot_fill_the_relays_of_a_node_but_there_is_an_end_to_them() {
    let mut bench = Bench::new(300);
    for member in 1..=300 {
        bench.receive_from(addr(member), &PingReq { seq: 5, target: "m2", window_ms: 500 });
    }
    assert_eq!(bench.node.relays.len(), 256);
    assert_eq!(bench.node.metrics().refused_relays, 300 - 256);
}

#[test]
fn the_nack_comes_at_80_percent_of_the_time_and_a_later_ack_is_still_passed_on() {
    let mut bench = Bench::new(3);
    // Nothing else is to be sent meanwhile.
    bench.node.phase = super::super::phase::Phase::Starting;
    bench.pass(secs(2));
    bench.sent();
    bench.receive_from(addr(1), &PingReq { seq: 5, target: "m2", window_ms: 500 });
    let mut relayed = 0;
    messages(&bench.sent()[0].1, |message| {
        if let Message::Ping(ping) = message {
            relayed = ping.seq;
        }
    });
    bench.pass(millis(399));
    assert!(bench.sent().is_empty());
    bench.pass(millis(1));
    let nack = bench.sent();
    assert_eq!((nack.len(), nack[0].0), (1, addr(1)));
    messages(&nack[0].1, |message| assert_eq!(*message, Message::Nack(Nack { seq: 5 })));
    bench.receive_from(addr(3), &Ack { seq: relayed });
    assert!(bench.sent().is_empty(), "an ack counts only from the host that was asked");
    bench.receive_from(addr(2), &Ack { seq: relayed });
    messages(&bench.sent()[0].1, |message| {
        assert!(matches!(message, Message::Ack(Ack { seq: 5 }) | Message::Digest(_)))
    });
}

#[test]
fn a_suspect_hears_of_the_suspicion_first_from_the_node_that_probes_it() {
    for buddy in [true, false] {
        let mut config = Config::lan("me");
        config.buddy = buddy;
        let mut bench = Bench::with(config, 1);
        bench.receive(&suspect("m1", 0, &["m1"]));
        bench.node.updates.clear();
        bench.sent();
        bench.pass(secs(1));
        let told = bench.sent().iter().any(|(_, bytes)| {
            let mut told = false;
            messages(bytes, |message| told |= matches!(message, Message::Suspect(_)));
            told
        });
        assert_eq!(told, buddy);
    }
}

#[test]
fn tables_are_bounded_and_evictions_are_counted() {
    let mut config = Config::lan("me");
    (config.max_members, config.max_departed, config.max_reconnects) = (5, 3, 2);
    let mut bench = Bench::with(config, 4);
    bench.receive(&alive("one too many", 0, addr(9)));
    assert_eq!((bench.node.live(), bench.node.metrics().refused_members), (5, 1));
    for name in ["m1", "m2", "m3", "m4"] {
        bench.now = bench.now + millis(1);
        bench.receive_from(addr(4), &failed(name, 0));
    }
    let metrics = bench.node.metrics();
    assert_eq!((metrics.departed_members, metrics.evicted_departed, metrics.evicted_reconnects), (3, 1, 2));
    assert_eq!(bench.standing("m1"), None, "the one longest gone made room");
    assert!(bench.kinds().contains(&"reaped"));
}

#[test]
fn a_member_that_is_said_to_live_outside_of_the_allowed_networks_is_not_believed() {
    let mut config = Config::lan("me");
    let home = addr(1).ip();
    config.allow = Some(vec![home.to_string().parse().unwrap()]);
    let mut bench = Bench::with(config, 1);
    bench.receive(&alive("elsewhere", 0, ([192, 0, 2, 1], 1).into()));
    bench.receive(&alive("m1", 3, ([192, 0, 2, 1], 1).into()));
    assert_eq!((bench.standing("elsewhere"), bench.standing("m1")), (None, Some((Alive, 0))));
    assert_eq!(bench.node.metrics().dropped_not_allowed, 2);
    bench.receive(&alive("neighbour", 0, (home, 99).into()));
    assert_eq!(bench.standing("neighbour"), Some((Alive, 0)));
}

#[test]
fn garbage_and_strange_packets_are_dropped_and_counted() {
    let mut bench = Bench::new(1);
    let good = packet_of(&alive("x", 0, addr(9)));
    bench.node.handle_datagram(bench.now, addr(1), &[]);
    bench.node.handle_datagram(bench.now, addr(1), &good[..8]);
    for at in [0, 1, 5, 12] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        bench.node.handle_datagram(bench.now, addr(1), &bad);
    }
    bench.receive(&message::Hello { name: "x", digest: 0, removals: 0 });
    let metrics = bench.node.metrics();
    assert_eq!(metrics.dropped_short, 2);
    assert_eq!((metrics.dropped_version, metrics.dropped_cluster, metrics.dropped_checksum), (1, 1, 2));
    assert_eq!(metrics.dropped_malformed, 1, "stream messages have no place in datagrams");
    assert_eq!(bench.standing("x"), None);
}

#[test]
fn an_idle_node_wakes_only_to_probe_and_to_sync() {
    let mut bench = Bench::new(3);
    let mut wakes = 0;
    let end = bench.now + Duration::from_secs(60);
    while let Some(at) = bench.node.poll_timeout().filter(|at| *at <= end) {
        bench.now = at;
        bench.node.handle_timeout(at);
        // All probes are answered.
        for (to, bytes) in bench.sent() {
            let mut acks = Vec::new();
            messages(&bytes, |message| {
                if let Message::Ping(ping) = message {
                    acks.push(Ack { seq: ping.seq });
                }
            });
            for ack in acks {
                bench.receive_from(to, &ack);
            }
        }
        wakes += 1;
    }
    // One probe a second, two or three syncs and the timeouts of their streams.
    assert!((55..=72).contains(&wakes), "{wakes}");
}

/// Insiders that refute in a crashed member's name kept it listed until it had missed the number of probes that
/// `knows_better` requires.
#[test]
fn a_refutation_by_another_member_has_a_silent_suspect_probed_next() {
    for (silent, probed) in [(false, false), (true, true)] {
        let mut bench = Bench::with(Config { verifiers: 0, ..Config::lan("me") }, 16);
        let id = bench.node.table.find("m2").expect("it is a member");
        if silent {
            bench.node.table.contact_mut(id).miss();
        }
        bench.receive(&suspect("m2", 0, &["m1"]));
        bench.receive(&alive("m2", 1, addr(2)));
        bench.sent();
        bench.pass(secs(1));
        let mut pinged = false;
        for (to, packet) in bench.sent() {
            messages(&packet, |message| pinged |= to == addr(2) && matches!(message, Message::Ping(_)));
        }
        assert_eq!(pinged, probed, "silent: {silent}");
    }
}
