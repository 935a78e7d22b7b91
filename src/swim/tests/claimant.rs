//! Which host the work that a member's claims cause counts for.

use super::{
    super::claims::Authority,
    bench::{Bench, alive, say},
    world::addr,
};
use crate::wire::message::Message;

fn host(bench: &Bench, name: &str) -> u32 {
    let id = bench.node.table.find(name).expect("it is listed");
    bench.node.table.claimant(Some(id), bench.node.table.get(id).addr).host
}

fn join(bench: &mut Bench, name: &str, at: std::net::SocketAddr) {
    bench.node.on_alive(&alive(name, 0, at), Authority::Itself);
    bench.meet(name);
}

#[test]
fn members_of_one_host_count_for_themselves_where_no_other_host_is_known() {
    let mut bench = Bench::new(0);
    join(&mut bench, "a", (addr(5).ip(), 1).into());
    join(&mut bench, "b", (addr(5).ip(), 2).into());
    assert_ne!(host(&bench, "a"), host(&bench, "b"));
    join(&mut bench, "c", addr(6));
    assert_eq!(host(&bench, "a"), host(&bench, "b"));
}

/// Its address is its own claim.
#[test]
fn a_member_counts_for_the_host_where_it_answered_wherever_it_says_to_be() {
    let mut bench = Bench::new(3);
    let before = host(&bench, "m2");
    say(&mut bench, "m2", addr(2), &[Message::Alive(alive("m2", 1, addr(70)))]);
    assert_eq!((bench.member("m2").map(|m2| m2.addr), host(&bench, "m2")), (Some(addr(70)), before));
}

#[test]
fn a_claimant_at_an_address_is_the_member_that_has_answered_there() {
    let mut bench = Bench::new(3);
    bench.receive(&alive("x", 0, addr(50)));
    assert_eq!(bench.node.table.claimant_at(addr(50)).id, None);
    bench.meet("x");
    assert_eq!(bench.node.table.claimant_at(addr(50)).id, bench.node.table.find("x"));
}
