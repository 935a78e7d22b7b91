//! What comes in streams in place of datagrams, and what others can cause by that.

use super::{
    super::{StreamFailure, StreamStep},
    bench::{Bench, packet_of},
    world::addr,
};
use crate::{
    sim::forge,
    wire::message::{Carried, Hello, Message, PingReq},
};

/// As in a cluster without UDP.
fn mute(bench: &mut Bench) {
    bench.node.saved_by_stream(&"m1".into());
    bench.opened();
}

#[test]
fn whoever_calls_under_the_names_of_members_makes_us_open_a_few_streams_at_most() {
    let mut bench = Bench::new(40);
    mute(&mut bench);
    let mut opened = 0;
    for at in 1..=40 {
        let caller = bench.node.accept_stream(bench.now, addr(70)).expect("there is room");
        let hello = Hello { name: &format!("m{at}"), digest: 0 };
        bench.node.handle_frame(bench.now, caller, &packet_of(&hello));
        bench.node.handle_stream_failure(bench.now, caller, StreamFailure::TimedOut);
        for (stream, _) in bench.opened() {
            opened += 1;
            bench.node.handle_stream_failure(bench.now, stream, StreamFailure::Refused);
        }
    }
    assert_eq!(opened, 16, "in a probe interval");
}

/// What is relayed is answered when the stream is long closed, and its port is nobody's address.
#[test]
fn nobody_relays_for_whom_it_cannot_answer() {
    let mut bench = Bench::new(2);
    let token = bench.node.token_for("m1", addr(1));
    let request = PingReq { seq: 5, target: "m2", window_ms: 500 };
    let said = [Message::Carried(Carried {}), Message::PingReq(request)];
    let stream = bench.node.accept_stream(bench.now, addr(1)).expect("there is room");
    bench.node.handle_frame(bench.now, stream, &forge::proven_packet("m1", token, &said));
    assert_eq!(bench.node.poll_stream(bench.now, stream, &mut Vec::new()), StreamStep::Close);
    assert_eq!((bench.sent().len(), bench.node.metrics().refused_relays), (0, 1));
}
