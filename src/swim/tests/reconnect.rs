//! Where a node tries members again that failed, and that others have listed since.

use std::collections::BTreeSet;

use super::{
    super::{Config, EarlierLife, MemberState, Removal},
    bench::{Bench, EPOCH, alive, answers_come, failed, gone, left, say},
    world::{addr, secs},
};
use crate::{
    sim::forge,
    wire::message::{Ack, Alive, Failed, Message},
};

/// The members v1 … v4 lived at `addr(5)` … `addr(8)`, as a state file says. Another member lists them at `addr(50)`.
fn listed_elsewhere() -> Bench {
    let mut bench = Bench::new(2);
    let lived = (1..=4).map(|i| (format!("v{i}").into(), addr(4 + i)));
    bench.node.rejoin(bench.now, &EarlierLife::new(EPOCH, lived));
    for i in 1..=4 {
        bench.sync(Message::Alive(alive(&format!("v{i}"), 0, addr(50))));
    }
    assert_eq!((bench.node.reconnects.len(), bench.node.reconnects.known()), (0, 4));
    bench.node.updates.clear();
    bench
}

/// Whether a member is tried at an address within ten minutes in which nobody answers.
fn is_tried(bench: &mut Bench, name: &str, at: usize) -> bool {
    (0..600).any(|_| {
        bench.pass(secs(1));
        bench.events();
        let asked = bench.asked_at(addr(at));
        assert_eq!(bench.node.audit(), Ok(()));
        asked.iter().any(|target| target == name)
    })
}

fn fails(bench: &mut Bench, name: &str, at: usize) {
    for _ in 0..60 {
        bench.pass(secs(1));
        answers_come(bench, Some(addr(at)));
    }
    assert_eq!(bench.member(name).map(|member| member.state), Some(MemberState::Failed));
}

/// Longer than a partition lasts, a failed member is remembered at its address alone. Then others list it for a moment, perhaps
/// where it never was.
#[test]
fn a_forgotten_member_that_others_list_and_that_never_answers_is_tried_where_it_was() {
    let (reap_failed_after, forget_after) = (secs(100), secs(100));
    let config = Config { reap_failed_after, reap_left_after: secs(100), forget_after, ..Config::lan("me") };
    let mut bench = Bench::with(config, 2);
    fails(&mut bench, "m2", 2);
    for _ in 0..100 {
        bench.pass(secs(1));
        answers_come(&mut bench, Some(addr(2)));
    }
    assert_eq!(bench.node.table.find("m2"), None, "it is forgotten");
    bench.sync(Message::Alive(Alive { epoch: EPOCH + 1, ..alive("m2", 0, addr(9)) }));
    assert_eq!((bench.node.reconnects.len(), bench.node.reconnects.known()), (0, 1));
    fails(&mut bench, "m2", 9);
    assert!(is_tried(&mut bench, "m2", 2));
}

/// One that answers at a crowded address takes the place of a name that never answered there.
#[test]
fn a_failed_member_that_others_list_and_that_makes_room_is_tried_where_it_was() {
    let mut bench = listed_elsewhere();
    bench.move_to(&alive("m2", 1, addr(50)));
    assert_eq!((bench.node.reconnects.len(), bench.node.reconnects.known()), (1, 3));
    let gone = (1..=4).find(|i| !bench.is_live(&format!("v{i}"))).expect("one made room");
    assert!(is_tried(&mut bench, &format!("v{gone}"), 4 + gone));
}

#[test]
fn a_member_that_answers_where_others_list_it_is_tried_there_once_it_fails() {
    let mut bench = listed_elsewhere();
    bench.meet("v1");
    assert_eq!(bench.node.reconnects.known(), 3);
    fails(&mut bench, "v1", 50);
    assert!(is_tried(&mut bench, "v1", 50));
}

/// One claim of an insider would end all reconnects to it, if its own address were taken for the member's.
#[test]
fn a_member_that_others_say_is_elsewhere_is_tried_where_it_answered() {
    for (has_failed, elsewhere) in [(true, 9), (true, 1), (false, 9)] {
        let mut bench = Bench::new(3);
        let m2 = bench.node.table.find("m2").expect("it is a member");
        let contact = bench.node.table.contact_mut(m2);
        contact.silent = true;
        contact.miss();
        if has_failed {
            bench.sync(gone("m2", 0, false, 0));
        }
        bench.sync(Message::Alive(Alive { epoch: EPOCH + 1, ..alive("m2", 0, addr(elsewhere)) }));
        assert_eq!(bench.member("m2").map(|m2| m2.addr), Some(addr(elsewhere)));
        assert_eq!((bench.node.reconnects.len(), bench.node.reconnects.known()), (0, 1));
        bench.sync(Message::Failed(Failed { epoch: EPOCH + 1, ..failed("m2", 0) }));
        for _ in 0..60 {
            bench.pass(secs(1));
            answers_come(&mut bench, Some(addr(9)));
        }
        assert_eq!(bench.member("m2").map(|m2| m2.state), Some(MemberState::Failed));
        assert!(is_tried(&mut bench, "m2", 2), "{elsewhere}");
    }
}

#[test]
fn a_member_that_says_itself_that_it_moved_is_tried_there() {
    let mut bench = Bench::new(2);
    say(&mut bench, "m2", addr(2), &[Message::Alive(alive("m2", 1, addr(9)))]);
    assert_eq!(bench.member("m2").map(|m2| m2.addr), Some(addr(9)));
    fails(&mut bench, "m2", 9);
    assert!(is_tried(&mut bench, "m2", 9));
}

/// The only other member that it knew was down for good when that one came back, which knows only the same.
#[test]
fn a_node_that_is_alone_tries_members_that_left_and_none_that_were_removed() {
    for has_company in [false, true] {
        let mut bench = Bench::new(4);
        bench.receive(&failed("m3", 0));
        bench.node.remove(bench.now, "m3", Removal::Leave).expect("it failed");
        for (name, at) in [("m1", 1), ("m4", 4)].into_iter().take(if has_company { 1 } else { 2 }) {
            say(&mut bench, name, addr(at), &[Message::Left(left(name, 0))]);
        }
        say(&mut bench, "m2", addr(2), &[Message::Left(left("m2", 0))]);
        let mut tried = BTreeSet::new();
        for _ in 0..600 {
            bench.pass(secs(1));
            bench.events();
            for (to, packet) in bench.sent() {
                let Some((seq, target)) = forge::ping(&packet) else { continue };
                if has_company && to == addr(4) {
                    bench.receive_from(to, &Ack { seq });
                } else {
                    tried.insert((to, target));
                }
            }
        }
        let all = [1, 2, 4].map(|at| (addr(at), format!("m{at}")));
        assert_eq!(tried, if has_company { BTreeSet::new() } else { all.into() });
    }
}

#[test]
fn a_node_that_is_alone_tries_a_member_that_left_though_many_failed() {
    let mut bench = Bench::new(16);
    say(&mut bench, "m16", addr(16), &[Message::Left(left("m16", 0))]);
    (3..=15).for_each(|at| _ = bench.receive(&failed(&format!("m{at}"), 0)));
    bench.receive_from(addr(2), &failed("m1", 0));
    // Nobody answers: m2 fails soon.
    assert_eq!((bench.node.reconnects.len(), bench.node.reconnects.left()), (14, 1));
    assert!(is_tried(&mut bench, "m16", 16));
}

/// Another says that it left, and another that it is back, elsewhere.
#[test]
fn a_member_that_is_said_to_have_left_and_to_be_back_is_tried_where_it_was() {
    let mut bench = Bench::new(2);
    bench.node.rejoin(bench.now, &EarlierLife::new(EPOCH, [("v1".into(), addr(5))]));
    bench.sync(gone("v1", 0, true, 0));
    assert_eq!((bench.node.reconnects.len(), bench.node.reconnects.left()), (0, 1));
    bench.sync(Message::Alive(Alive { epoch: EPOCH + 1, ..alive("v1", 0, addr(50)) }));
    assert_eq!((bench.node.reconnects.left(), bench.node.reconnects.known()), (0, 1));
    fails(&mut bench, "v1", 50);
    assert!(is_tried(&mut bench, "v1", 5));
}

#[test]
fn a_member_that_left_and_was_removed_later_is_not_tried() {
    let mut bench = Bench::new(2);
    say(&mut bench, "m2", addr(2), &[Message::Left(left("m2", 0))]);
    bench.sync(Message::Failed(Failed { epoch: EPOCH + 1, ..failed("m2", 0) }));
    assert_eq!((bench.node.reconnects.len(), bench.node.reconnects.left()), (1, 0), "a later life failed");
    bench.node.remove(bench.now, "m2", Removal::Leave).expect("it failed");
    assert_eq!((bench.node.reconnects.len(), bench.node.reconnects.left()), (0, 0));
}
