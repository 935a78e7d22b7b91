//! What one member, or an outsider with one address, cannot take from all others.

use super::{
    super::{Output, StreamKind},
    bench::{Bench, alive, failed},
    world::addr,
};

/// The questions that the node wants to ask.
fn questions(bench: &mut Bench) -> usize {
    let outputs = std::iter::from_fn(|| bench.node.poll_output());
    let asks = |output: &Output| matches!(output, Output::OpenStream { kind: StreamKind::Urgent, .. });
    outputs.filter(asks).count()
}

/// Members that failed, as this node's own probes found, are said to be at other addresses.
#[test]
fn whoever_says_that_members_returned_leaves_room_for_other_questions() {
    let mut bench = Bench::new(40);
    for i in 2..=40 {
        let name = format!("m{i}");
        let id = bench.node.table.find(&name).expect("it is a member");
        (0..3).for_each(|_| bench.node.table.contact_mut(id).miss());
        bench.hear(&failed(&name, 0));
    }
    bench.events();
    for home in 100..110 {
        bench.hear(&alive("m2", 1, addr(home)));
    }
    assert_eq!(questions(&mut bench), 1, "one for each name");
    for i in 3..=40 {
        bench.hear(&alive(&format!("m{i}"), 1, addr(110 + i)));
    }
    assert_eq!(questions(&mut bench), 1, "two in all");
    let own = bench.node.local().identity.incarnation;
    bench.hear(&alive("me", own + 7, addr(99)));
    assert_eq!(questions(&mut bench), 1, "whether somebody has this node's name is asked all the same");
}

/// Names that never answered are nobody to be told of their departure: gossip goes to members.
#[test]
fn made_up_departures_take_no_rounds_of_gossip() {
    let mut bench = Bench::new(4);
    for i in 0..1024 {
        let name = format!("x{i}");
        bench.hear(&alive(&name, 0, addr(100 + i))).hear(&failed(&name, 0));
    }
    bench.hear(&failed("m4", 0));
    assert_eq!(bench.node.lately_departed.len(), 1, "m4 has answered, and is told");
}
