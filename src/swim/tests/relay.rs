//! Probes that are relayed for other members.

use std::net::SocketAddr;

use super::{
    bench::{Bench, alive, failed, messages},
    world::addr,
};
use crate::wire::message::{Message, PingReq};

/// Has a member ask for a probe of m2. Returns what is sent there, if it is relayed.
fn relayed(bench: &mut Bench, from: SocketAddr) -> Option<Vec<u8>> {
    bench.sent();
    bench.receive_from(from, &PingReq { seq: 5, target: "m2", window_ms: 60_000 });
    bench.sent().into_iter().find_map(|(to, packet)| (to == addr(2)).then_some(packet))
}

/// A new name of a host that asks for a probe. Returns whether it is relayed.
fn asks(bench: &mut Bench, host: usize, name: usize) -> bool {
    let (name, at) = (format!("h{host}-{name}"), SocketAddr::new(addr(host).ip(), 1000 + name as u16));
    bench.receive(&alive(&name, 0, at));
    bench.meet(&name);
    relayed(bench, at).is_some()
}

/// Hosts then have as many as each other, as far as that goes.
#[test]
fn while_there_is_no_room_a_host_with_two_probes_more_than_another_makes_room_for_it() {
    let mut bench = Bench::new(2);
    for (host, probes) in [(50, 129), (51, 127)] {
        assert!((0..probes).all(|name| asks(&mut bench, host, name)));
    }
    assert!(asks(&mut bench, 51, 127), "now each has 128");
    assert!(!asks(&mut bench, 51, 128));
    assert!(asks(&mut bench, 52, 0), "one of the two has 127");
    let relays = [50, 51].map(|host| asks(&mut bench, host, 200));
    assert_eq!(relays, [false, false], "one more is no reason");
}

/// There may be no node at its address.
#[test]
fn a_ping_of_a_failed_member_for_another_carries_no_updates() {
    let mut bench = Bench::new(3);
    for is_failed in [false, true] {
        let told = if is_failed { "m2" } else { "m3" };
        bench.receive(&failed(told, 0));
        let mut updates = 0;
        let packet = relayed(&mut bench, addr(1)).expect("it is relayed");
        messages(&packet, |message| updates += usize::from(!matches!(message, Message::Ping(_))));
        assert_eq!(updates == 0, is_failed);
    }
}
