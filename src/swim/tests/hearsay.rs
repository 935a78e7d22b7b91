//! Departures that are made up, and what is left of them.

use super::{
    super::{Event, Identity, MemberState, Origin, StreamStep, member::MemberId, session::Purpose},
    bench::{Bench, EPOCH, alive, answers_come, failed, gone, left, messages, say, suspect, tell},
    world::{addr, millis, secs},
};
use crate::{
    sim::forge,
    wire::message::{self, Ack, Alive, Message, Removed},
};

/// Departures are made up faster than the member, which answers all the time, refutes them. Two failures and four leaves are
/// believed at most, and none of a life to come; from then on it is suspected at most.
#[test]
fn departures_faster_than_their_refutations_keep_nobody_away() {
    for (lefts, lives) in [(false, 0), (true, 0), (false, 1), (true, 1)] {
        let mut bench = Bench::new(12);
        let (mut departures, mut live) = (0, 0);
        for step in 0..600_u64 {
            let departure = |number: u64| {
                let (epoch, incarnation) = (EPOCH + lives * number, number - lives * number);
                match lefts {
                    false => Message::Failed(message::Failed { epoch, ..failed("m5", incarnation) }),
                    true => Message::Left(message::Left { epoch, ..left("m5", incarnation) }),
                }
            };
            say(&mut bench, "m2", addr(2), &[departure(3 * step)]);
            let listed = bench.member("m5").expect("it is listed").identity;
            say(&mut bench, "m2", addr(2), &[departure(3 * step + 1)]);
            bench.pass(millis(50));
            let Identity { epoch, incarnation } = listed;
            let refuted = match lives {
                0 => alive("m5", incarnation + 1, addr(5)),
                _ => message::Alive { epoch: epoch + 1, ..alive("m5", 0, addr(5)) },
            };
            if bench.standing("m5").is_some_and(|(state, _)| state != MemberState::Alive) {
                say(&mut bench, "m5", addr(5), &[Message::Alive(refuted)]);
            }
            live += usize::from(bench.standing("m5").is_some_and(|(state, _)| state.is_live()));
            say(&mut bench, "m2", addr(2), &[departure(3 * step + 2)]);
            bench.pass(millis(50));
            answers_come(&mut bench, None);
            departures += bench.kinds().iter().filter(|kind| ["failed", "left"].contains(kind)).count();
        }
        assert!(departures <= 2, "lefts: {lefts}, lives: {lives}: {departures} are believed");
        assert!(live >= 595, "lefts: {lefts}, lives: {lives}: once it has refuted, live {live} times of 600");
    }
}

/// A life to come is said to be there, and to have failed, in one datagram. The member refutes in time, by a later life each
/// time: the next one, or one that is later still as it was told of a later one.
#[test]
fn failures_of_lives_that_were_made_up_before_keep_nobody_away() {
    for later in [1, 10] {
        let live = times_live_of_600(later);
        assert!(live >= 595, "later by {later}: live {live} times of 600");
    }
}

fn times_live_of_600(later: u64) -> usize {
    let mut bench = Bench::new(12);
    let mut live = 0;
    for _ in 0..600 {
        let epoch = bench.member("m5").expect("it is listed").identity.epoch + 1;
        let there = Message::Alive(Alive { epoch, ..alive("m5", 0, addr(5)) });
        let gone = Message::Failed(message::Failed { epoch, ..failed("m5", 0) });
        say(&mut bench, "m2", addr(2), &[there, gone]);
        bench.pass(millis(50));
        live += usize::from(bench.standing("m5").is_some_and(|(state, _)| state.is_live()));
        let refuted = Alive { epoch: epoch + later, ..alive("m5", 0, addr(5)) };
        say(&mut bench, "m5", addr(5), &[Message::Alive(refuted)]);
        bench.pass(millis(50));
        answers_come(&mut bench, None);
        bench.events();
    }
    live
}

/// All members answer, and deny what they are told of themselves.
fn answers_deny(bench: &mut Bench) {
    for (to, packet) in bench.sent() {
        let (mut target, mut answers) = (String::new(), Vec::new());
        messages(&packet, |message| match message {
            Message::Ping(ping) => {
                target = ping.target.to_owned();
                answers.push((ping.seq, None));
            }
            Message::Alive(said) if said.name == target => {
                answers.last_mut().expect("a ping is before it").1 = Some(said.epoch + 1);
            }
            _ => {}
        });
        for (seq, denied) in answers {
            let denial = denied.map(|epoch| Message::Alive(Alive { epoch, ..alive(&target, 0, to) }));
            let said: Vec<_> = [Message::Ack(Ack { seq })].into_iter().chain(denial).collect();
            say(bench, &target, to, &said);
        }
    }
}

/// Each time a life two later is said to be there and gone, before the refutation of the one before has come by another member.
#[test]
fn failures_of_lives_far_ahead_keep_nobody_away_though_refutations_come_late() {
    for is_left in [false, true] {
        let mut bench = Bench::new(12);
        let mut live = 0;
        for step in 1..=600_u64 {
            let epoch = EPOCH + 2 * step;
            let there = Message::Alive(Alive { epoch, ..alive("m5", 0, addr(5)) });
            let gone = match is_left {
                true => Message::Left(message::Left { epoch, ..left("m5", 0) }),
                false => Message::Failed(message::Failed { epoch, ..failed("m5", 0) }),
            };
            say(&mut bench, "m2", addr(2), &[there, gone]);
            bench.pass(millis(50));
            live += usize::from(bench.standing("m5").is_some_and(|(state, _)| state.is_live()));
            let late = Alive { epoch: epoch - 1, ..alive("m5", 0, addr(5)) };
            say(&mut bench, "m3", addr(3), &[Message::Alive(late)]);
            bench.pass(millis(50));
            answers_deny(&mut bench);
            bench.events();
        }
        assert!(live >= 590, "left: {is_left}, live {live} times of 600");
    }
}

/// It refuted four, and crashes then: others may say so, and that it was removed.
#[test]
fn a_node_that_refuted_lately_and_is_gone_is_removed_all_the_same() {
    let mut bench = Bench::new(4);
    for incarnation in 0..4 {
        bench.receive(&left("m2", incarnation));
        say(&mut bench, "m2", addr(2), &[Message::Alive(alive("m2", incarnation + 1, addr(2)))]);
    }
    let id = bench.node.table.find("m2").expect("it is listed");
    bench.node.table.contact_mut(id).silent = true;
    bench.receive(&failed("m2", 4));
    assert_eq!(bench.standing("m2"), Some((MemberState::Failed, 4)));
    bench.receive(&left("m2", 5));
    assert_eq!(bench.standing("m2"), Some((MemberState::Failed, 4)), "a greater one is not believed");
    let removed = Some(message::Removed { by: "m3", reap: false });
    bench.receive(&message::Left { removed, ..left("m2", 4) });
    assert_eq!(bench.standing("m2"), Some((MemberState::Left, 4)));
}

/// One of the two kinds hides no other.
#[test]
fn failures_that_are_followed_by_leaves_keep_nobody_away() {
    let mut bench = Bench::new(12);
    let (mut departures, mut live) = (0, 0);
    for _ in 0..600 {
        let incarnation = bench.member("m5").expect("it is listed").identity.incarnation;
        let gone = [Message::Failed(failed("m5", incarnation)), Message::Left(left("m5", incarnation))];
        say(&mut bench, "m2", addr(2), &gone);
        bench.pass(millis(50));
        live += usize::from(bench.standing("m5").is_some_and(|(state, _)| state.is_live()));
        say(&mut bench, "m5", addr(5), &[Message::Alive(alive("m5", incarnation + 1, addr(5)))]);
        bench.pass(millis(50));
        answers_come(&mut bench, None);
        departures += bench.kinds().iter().filter(|kind| ["failed", "left"].contains(kind)).count();
    }
    assert!(departures <= 6 && live >= 595, "{departures} are believed, live {live} times of 600");
}

/// What it says late was said before it heard of anything, and its own leave refutes nothing.
#[test]
fn one_departure_is_refuted_once() {
    for is_left in [false, true] {
        let mut bench = Bench::new(4);
        let gone = |incarnation| match is_left {
            true => Message::Left(left("m2", incarnation)),
            false => Message::Failed(failed("m2", incarnation)),
        };
        say(&mut bench, "m3", addr(3), &[gone(7)]);
        for incarnation in [5, 7, 8] {
            say(&mut bench, "m2", addr(2), &[Message::Alive(alive("m2", incarnation, addr(2)))]);
        }
        assert_eq!(bench.standing("m2"), Some((MemberState::Alive, 8)), "left: {is_left}");
        say(&mut bench, "m3", addr(3), &[gone(9)]);
        let state = if is_left { MemberState::Left } else { MemberState::Failed };
        assert_eq!(bench.standing("m2"), Some((state, 9)), "one is no reason to doubt");
    }
}

/// Names of one host are too many among the departed, time and again.
#[test]
fn many_departures_make_no_node_forget_a_member_that_has_refuted() {
    let mut config = crate::swim::Config::lan("me");
    config.max_departed = 16;
    let mut bench = Bench::with(config, 12);
    let (mut live, mut forgotten) = (0, 0);
    for step in 0..100 {
        say(&mut bench, "m2", addr(2), &[Message::Failed(failed("m5", step))]);
        for i in 0..17 {
            let (name, at) = (format!("x{step}-{i}"), std::net::SocketAddr::new(addr(9).ip(), 1000 + i));
            bench.receive(&alive(&name, 0, at));
            bench.meet(&name);
            say(&mut bench, &name, at, &[Message::Left(left(&name, 0))]);
        }
        forgotten += usize::from(bench.member("m5").is_none());
        bench.pass(millis(50));
        live += usize::from(bench.standing("m5").is_some_and(|(state, _)| state.is_live()));
        say(&mut bench, "m5", addr(5), &[Message::Alive(alive("m5", step + 1, addr(5)))]);
        bench.meet("m5");
        bench.pass(millis(50));
        answers_come(&mut bench, None);
        bench.events();
    }
    assert!(live >= 95 && forgotten == 0, "live {live} times of 100, forgotten {forgotten} times");
}

/// Whoever makes leaves up chooses by which epoch they are refuted: by a great incarnation, or by what it tells the member alone.
#[test]
fn leaves_are_doubted_in_whatever_epoch_they_are_refuted() {
    type By = fn(u64, u64) -> (u64, u64);
    let ways: [(By, By); 4] = [
        (|epoch, incarnation| (epoch, incarnation), |epoch, incarnation| (epoch, incarnation + 1)),
        (|epoch, incarnation| (epoch, incarnation + (1 << 19) + 1), |epoch, _| (epoch + 1, 0)),
        (|epoch, incarnation| (epoch, incarnation), |epoch, _| (epoch + 2, 0)),
        (|epoch, _| (epoch + 1, 0), |epoch, _| (epoch + 2, 0)),
    ];
    for (said, refuted) in ways {
        let (mut bench, mut live) = (Bench::new(12), 0);
        for _ in 0..300 {
            let known = bench.member("m5").expect("it is listed").identity;
            let (epoch, incarnation) = said(known.epoch, known.incarnation);
            say(
                &mut bench,
                "m2",
                addr(2),
                &[Message::Left(message::Left { epoch, ..left("m5", incarnation) })],
            );
            bench.pass(millis(50));
            live += usize::from(bench.standing("m5").is_some_and(|(state, _)| state.is_live()));
            let (epoch, incarnation) = refuted(known.epoch, known.incarnation);
            say(
                &mut bench,
                "m5",
                addr(5),
                &[Message::Alive(message::Alive { epoch, ..alive("m5", incarnation, addr(5)) })],
            );
            bench.meet("m5");
            bench.pass(millis(50));
            answers_come(&mut bench, None);
            bench.events();
        }
        assert!(live >= 295, "m5 answers and refutes, and is live {live} times of 300");
    }
}

/// Makes m5 leave and return four times: from then on its leaves are doubted.
fn leaves_often(bench: &mut Bench) -> message::Left<'static> {
    let leave = |bench: &Bench| {
        let Identity { epoch, incarnation } = bench.member("m5").expect("it is listed").identity;
        message::Left { epoch, ..left("m5", incarnation) }
    };
    for _ in 0..4 {
        let left = leave(bench);
        say(bench, "m2", addr(2), &[Message::Left(left)]);
        let again = message::Alive { epoch: left.epoch + 1, ..alive("m5", 0, addr(5)) };
        say(bench, "m5", addr(5), &[Message::Alive(again)]);
        bench.meet("m5");
    }
    leave(bench)
}

/// In a stream that this node opened to the leaver, and in one that the leaver opened.
#[test]
fn a_leave_that_is_doubted_counts_in_the_members_own_table() {
    for opens in [true, false] {
        let mut bench = Bench::new(12);
        let left = leaves_often(&mut bench);
        let message::Left { epoch, incarnation, .. } = left;
        let removed = None;
        let departed = message::Departed { name: "m5", epoch, incarnation, left: true, age_secs: 0, removed };
        let token = bench.node.token_for("m5", addr(5));
        let frame = |said: Message<'_>| forge::proven_packet("m5", token, &[said]);
        if opens {
            let stream = bench.node.open(Purpose::Sync, addr(5), secs(10)).expect("there is room");
            bench.node.stream_began(bench.now, stream);
            bench.node.poll_stream(bench.now, stream, &mut vec![]);
            bench.node.handle_frame(bench.now, stream, &frame(Message::Departed(departed)));
        } else {
            let stream = bench.node.accept_stream(bench.now, addr(5)).expect("there is room");
            let hello = Message::Hello(message::Hello { name: "m5", digest: 0, removals: 0 });
            for said in [hello, Message::Departed(departed)] {
                bench.node.handle_frame(bench.now, stream, &frame(said));
                while bench.node.poll_stream(bench.now, stream, &mut vec![]) == StreamStep::Send {}
            }
        }
        assert_eq!(bench.standing("m5").map(|(state, _)| state), Some(MemberState::Left), "opens: {opens}");
    }
}

/// A member that departed first is said to have left and failed in turn.
#[test]
fn departed_members_are_told_for_as_long_whatever_is_said_of_the_first_one() {
    let mut bench = Bench::new(6);
    for name in ["m2", "m3"] {
        bench.receive(&failed(name, 0));
    }
    let is_told = |bench: &mut Bench, name| {
        bench.node.forget_old_departures();
        bench.node.table.find(name).is_some_and(|id| bench.node.lately_departed.contains(id))
    };
    for incarnation in 1..30 {
        bench.pass(secs(1));
        match incarnation % 2 {
            0 => bench.receive(&failed("m2", incarnation)),
            _ => bench.receive(&left("m2", incarnation)),
        };
        assert!(is_told(&mut bench, "m3"), "after {incarnation} s");
    }
    bench.pass(secs(2));
    assert!(!is_told(&mut bench, "m3") && !is_told(&mut bench, "m2"));
}

/// Its own word of it came behind the verdict of another.
#[test]
fn a_member_that_failed_and_says_that_it_leaves_is_told_no_more() {
    let mut bench = Bench::new(6);
    bench.receive(&failed("m2", 0));
    let m2 = bench.node.table.find("m2").expect("it is remembered");
    assert!(bench.node.lately_departed.contains(m2));
    say(&mut bench, "m2", addr(2), &[Message::Left(left("m2", 1))]);
    assert_eq!(bench.standing("m2"), Some((MemberState::Left, 1)));
    assert!(!bench.node.lately_departed.contains(m2));
}

/// The peer that is called claims that m2 is there, and that m2 leaves.
#[test]
fn a_called_peer_does_not_say_that_a_member_leaves_that_has_not_answered_there() {
    let mut bench = Bench::new(12);
    let stream = bench.node.open(Purpose::Sync, addr(5), secs(10)).expect("there is room");
    bench.node.stream_began(bench.now, stream);
    bench.node.poll_stream(bench.now, stream, &mut vec![]);
    bench.events();
    let departed = gone("m2", 1, true, 0);
    let said = [Message::Alive(alive("m2", 1, addr(5))), departed, Message::End(message::End {})];
    bench.node.handle_frame(bench.now, stream, &forge::proven_packet("m2", 0, &said));
    let events = bench.events();
    let by_itself = |event: &Event| matches!(event, Event::Left { origin: Origin::Member, .. });
    assert!(!events.iter().any(by_itself), "{events:?}");
    let m2 = bench.node.table.find("m2").expect("it is remembered");
    assert!(bench.is_live("m2") || bench.node.lately_departed.contains(m2), "it is told");
}

/// Until its suspicion has timed out.
fn m5_is_silent(bench: &mut Bench) -> Option<MemberState> {
    for _ in 0..600 {
        bench.pass(millis(100));
        answers_come(bench, Some(addr(5)));
    }
    bench.standing("m5").map(|(state, _)| state)
}

/// It was restarted often, and leaves for good. A node that doubts the leave does not take it for a crash.
#[test]
fn a_leave_that_is_doubted_and_not_refuted_is_a_leave() {
    for is_accused_later in [false, true] {
        let mut bench = Bench::new(12);
        let left = leaves_often(&mut bench);
        say(&mut bench, "m2", addr(2), &[Message::Left(left)]);
        assert_eq!(bench.standing("m5").map(|(state, _)| state), Some(MemberState::Suspect));
        if is_accused_later {
            let later = message::Suspect { epoch: left.epoch, ..suspect("m5", 1, &[]) };
            say(&mut bench, "m3", addr(3), &[Message::Suspect(later)]);
        }
        assert_eq!(m5_is_silent(&mut bench), Some(MemberState::Left), "accused later: {is_accused_later}");
    }
}

/// A node that doubted a removal hears of it once more when the leave is certain.
#[test]
fn a_removal_that_was_doubted_is_known_as_one_in_the_end() {
    let mut bench = Bench::new(12);
    let left = leaves_often(&mut bench);
    let removed = Message::Left(message::Left { removed: Some(Removed { by: "m2", reap: false }), ..left });
    say(&mut bench, "m2", addr(2), &[removed]);
    assert_eq!(m5_is_silent(&mut bench), Some(MemberState::Left));
    say(&mut bench, "m2", addr(2), &[removed]);
    assert_eq!(bench.member("m5").and_then(|m5| m5.removed_by).as_deref(), Some("m2"));
    assert!(bench.has_news("m5"));
}

/// Another raised its incarnation at this node alone before the leave came.
#[test]
fn a_leave_under_a_lesser_incarnation_than_this_node_alone_was_told_is_a_leave() {
    let mut bench = Bench::new(12);
    say(&mut bench, "m1", addr(1), &[Message::Suspect(suspect("m5", 7, &[]))]);
    for step in 0..600 {
        if step % 10 == 0 {
            say(&mut bench, "m2", addr(2), &[Message::Left(left("m5", 0))]);
            say(&mut bench, "m3", addr(3), &[Message::Left(left("m5", 0))]);
        }
        bench.pass(millis(100));
        answers_come(&mut bench, Some(addr(5)));
    }
    assert_eq!(bench.standing("m5").map(|(state, _)| state), Some(MemberState::Left));
}

/// It refuted the removal, or was restarted, and is silent now: that is no leave.
#[test]
fn a_removal_or_a_leave_of_a_past_life_makes_no_leave_of_a_silent_member() {
    let removed = message::Left { removed: Some(Removed { by: "m2", reap: false }), ..left("m5", 0) };
    for (said, present) in [
        (removed, alive("m5", 1, addr(5))),
        (left("m5", 0), message::Alive { epoch: EPOCH + 1, ..alive("m5", 0, addr(5)) }),
    ] {
        let mut bench = Bench::new(12);
        say(&mut bench, "m5", addr(5), &[Message::Alive(present)]);
        (0..3).for_each(|_| bench.node.table.contact_mut(id(&bench, "m5")).miss());
        say(&mut bench, "m2", addr(2), &[Message::Left(said)]);
        assert_eq!(bench.standing("m5").map(|(state, _)| state), Some(MemberState::Suspect));
        assert_eq!(m5_is_silent(&mut bench), Some(MemberState::Failed));
    }
}

/// The accuser has missed the leave, whatever it was told since.
#[test]
fn a_leave_is_told_again_to_a_member_that_accuses_under_a_greater_incarnation() {
    let mut bench = Bench::new(4);
    say(&mut bench, "m2", addr(2), &[Message::Left(left("m2", 0))]);
    bench.has_news("m2");
    for (incarnation, is_told) in [(1, true), (1 << 21, false)] {
        say(&mut bench, "m3", addr(3), &[Message::Suspect(suspect("m2", incarnation, &["m3"]))]);
        assert_eq!(bench.has_news("m2"), is_told, "an implausible one is dropped and causes nothing");
    }
}

/// It crashed, missed one probe, and was restarted; rumours of its past life go round.
#[test]
fn failures_of_a_past_life_do_not_accuse_the_present_one() {
    let mut bench = Bench::new(12);
    let id = bench.node.table.find("m5").expect("it is a member");
    let contact = bench.node.table.contact_mut(id);
    contact.miss();
    contact.silent = true;
    let again = message::Alive { epoch: EPOCH + 1, ..alive("m5", 0, addr(5)) };
    bench.sync(Message::Alive(again));
    for i in 1..5 {
        let name = format!("m{i}");
        say(&mut bench, &name, addr(i), &[Message::Failed(failed("m5", 0))]);
        say(&mut bench, &name, addr(i), &[Message::Suspect(suspect("m5", 0, &["m1", "m2"]))]);
    }
    assert_eq!(bench.standing("m5"), Some((MemberState::Alive, 0)));
}

fn id(bench: &Bench, name: &str) -> MemberId {
    bench.node.table.find(name).expect("it is listed")
}

/// Whether a member is to be probed out of turn.
fn is_hurried(bench: &Bench, name: &str) -> bool {
    bench.node.table.rings.out_of_turn().contains(&id(bench, name))
}

/// A table can name many.
#[test]
fn a_past_or_later_departure_has_the_member_probed_next_unless_it_is_in_a_table() {
    let past = failed("m2", 0);
    for departure in [past, message::Failed { epoch: EPOCH + 1, ..past }] {
        let mut bench = Bench::new(12);
        say(&mut bench, "m2", addr(2), &[Message::Alive(alive("m2", 5, addr(2)))]);
        let message::Failed { name, epoch, incarnation } = departure;
        let in_table =
            message::Departed { name, epoch, incarnation, left: false, age_secs: 0, removed: None };
        bench.sync(Message::Departed(in_table));
        assert!(!is_hurried(&bench, "m2"), "{departure:?}");
        say(&mut bench, "m3", addr(3), &[Message::Failed(departure)]);
        assert!(is_hurried(&bench, "m2") && bench.is_live("m2"), "{departure:?}");
    }
}

#[test]
fn an_implausible_departure_leads_to_no_probe_and_to_no_suspicion() {
    let mut bench = Bench::new(12);
    bench.receive(&message::Failed { epoch: u64::MAX, ..failed("m2", 0) });
    assert!(!is_hurried(&bench, "m2"));
    bench.sync(gone("m2", 1 << 21, false, 0));
    assert_eq!(bench.standing("m2"), Some((MemberState::Alive, 0)));
    assert_eq!(bench.node.metrics().dropped_implausible, 2);
}

#[test]
fn a_member_whose_departure_is_doubted_is_probed_next() {
    let mut bench = Bench::new(12);
    for incarnation in 0..4 {
        say(&mut bench, "m3", addr(3), &[Message::Left(left("m2", incarnation))]);
        say(&mut bench, "m2", addr(2), &[Message::Alive(alive("m2", incarnation + 1, addr(2)))]);
    }
    assert!(!is_hurried(&bench, "m2"));
    say(&mut bench, "m3", addr(3), &[Message::Left(left("m2", 4))]);
    assert_eq!(bench.standing("m2"), Some((MemberState::Suspect, 4)));
    assert!(is_hurried(&bench, "m2"));
}

#[test]
fn a_past_departure_of_a_silent_member_is_an_accusation_by_any_other_member() {
    for (claimant, accusers) in [(2, &[][..]), (3, &["m3"][..])] {
        let mut bench = Bench::new(12);
        let id = id(&bench, "m2");
        say(&mut bench, "m2", addr(2), &[Message::Alive(alive("m2", 5, addr(2)))]);
        bench.node.table.contact_mut(id).miss();
        tell(&mut bench.node, &Message::Failed(failed("m2", 0)), addr(claimant));
        let suspicion = bench.node.table.suspicion_mut(id).expect("it is suspected");
        assert_eq!(suspicion.accusers().collect::<Vec<_>>(), accusers);
    }
}

/// Otherwise who raises the incarnation all the time puts the verdict on a dead member off.
#[test]
fn a_suspicion_goes_on_under_a_greater_incarnation_once_three_probes_failed() {
    for (missed, goes_on) in [(2, false), (3, true)] {
        let mut bench = Bench::new(12);
        let id = id(&bench, "m2");
        bench.receive(&suspect("m2", 0, &["m3"]));
        (0..missed).for_each(|_| bench.node.table.contact_mut(id).miss());
        let deadline = |bench: &mut Bench| bench.node.table.suspicion_mut(id).map(|of| of.deadline());
        let before = deadline(&mut bench);
        bench.now = bench.now + secs(1);
        bench.receive(&suspect("m2", 1, &["m3"]));
        assert_eq!(bench.standing("m2"), Some((MemberState::Suspect, 1)));
        assert_eq!(deadline(&mut bench) == before, goes_on, "{missed} probes failed");
    }
}
