//! Members that are said to be elsewhere.

use std::{collections::BTreeSet, net::SocketAddr};

use super::{
    super::{MemberState, validation::Pinged},
    bench::{Bench, EPOCH, alive, messages, say},
    world::{addr, millis, secs},
};
use crate::{
    sim::forge,
    wire::message::{Alive, Message},
};

/// A newcomer that this node knows by name alone.
#[test]
fn a_member_that_has_not_answered_yet_is_not_moved_without_being_asked() {
    let mut bench = Bench::new(3);
    bench.hear(&alive("v", 0, addr(5)));
    bench.node.updates.clear();
    bench.sent();
    bench.hear(&alive("v", 1, addr(66)));
    assert_eq!(bench.member("v").map(|v| v.addr), Some(addr(5)), "nobody has answered there");
    bench.pass(secs(3));
    let asked = bench.sent().iter().any(|(to, packet)| *to == addr(5) && forge::ping(packet).is_some());
    assert!(asked, "it is asked where it was");
}

/// Whoever believes it does not reach the member any more.
#[test]
fn a_member_is_told_where_it_was_that_it_is_said_to_be_elsewhere() {
    let mut bench = Bench::new(3);
    bench.hear(&alive("m2", 1, addr(66)));
    let mut told = BTreeSet::new();
    for _ in 0..40 {
        bench.pass(millis(50));
        for (to, packet) in bench.sent() {
            messages(&packet, |message| {
                if let Message::Alive(Alive { name: "m2", addr: home, incarnation: 1, .. }) = message {
                    told.insert((to, *home));
                }
            });
        }
    }
    assert_eq!(told, BTreeSet::from([(addr(2), addr(66))]), "it alone is told");
}

#[test]
fn made_up_moves_keep_no_restarted_member_from_being_asked() {
    let mut bench = Bench::new(12);
    let names: Vec<_> = (6..=12).map(|i| format!("m{i}")).collect();
    let (mut port, mut asked) = (1000, false);
    for _ in 0..50 {
        for _ in 0..4 {
            let mut claim = |i: usize| {
                port += 1;
                Message::Alive(alive(&names[i % 7], 1, SocketAddr::new(addr(90).ip(), port)))
            };
            let claims: Vec<_> = (0..20).map(&mut claim).collect();
            say(&mut bench, "m2", addr(2), &claims);
        }
        say(
            &mut bench,
            "m3",
            addr(3),
            &[Message::Alive(Alive { epoch: EPOCH + 1, ..alive("m5", 0, addr(66)) })],
        );
        bench.pass(millis(10));
        asked |= bench.sent().iter().any(|(to, packet)| *to == addr(66) && forge::ping(packet).is_some());
    }
    assert!(asked, "it is asked where it is within half a second");
}

/// What comes by stream is not said by whoever the last datagram was from.
#[test]
fn a_move_counts_for_the_host_of_who_says_so() {
    let mut bench = Bench::new(12);
    bench.hear_from(addr(3), &alive("m3", 0, addr(3)));
    for i in 0..64 {
        let name = format!("m{}", 6 + i % 7);
        let claim = alive(&name, 1, SocketAddr::new(addr(90).ip(), 1000 + i));
        bench.node.handle_claim(&Message::Alive(claim), false, addr(2));
    }
    bench.hear_from(addr(3), &alive("m5", 1, addr(66)));
    bench.pass(millis(500));
    let sent = bench.sent();
    assert!(sent.iter().any(|(to, _)| *to == addr(66)), "m3's word waits for none of m2's");
}

#[test]
fn of_two_claims_at_one_address_the_greater_counts_in_either_order() {
    for incarnations in [[1, 2], [2, 1]] {
        let mut bench = Bench::new(3);
        let [first, second] = incarnations.map(|incarnation| alive("m2", incarnation, addr(66)));
        bench.hear(&first).move_to(&second);
        assert_eq!(bench.standing("m2"), Some((MemberState::Alive, 2)), "{incarnations:?}");
    }
}

#[test]
fn what_waits_for_an_answer_is_counted_as_it_is() {
    let mut bench = Bench::new(4);
    assert_eq!(bench.node.moves.len(), 0);
    bench.hear(&alive("m2", 1, addr(66))).hear(&alive("m3", 1, addr(67)));
    assert_eq!(bench.node.moves.len(), 2);
    let mut pinged = Pinged::new(2);
    assert_eq!(pinged.len(), 0);
    assert_eq!([pinged.push(1, "a"), pinged.push(2, "b"), pinged.push(3, "c")], [false, false, true]);
    assert_eq!((pinged.len(), pinged.take(1), pinged.take(3), pinged.len()), (2, None, Some("c"), 1));
}
