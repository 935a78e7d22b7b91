//! One datagram in causes at most one datagram out, whatever its content and its sender.

use std::net::SocketAddr;

use super::{
    super::{Config, MemberState, claims::Authority},
    bench::{Bench, EPOCH, alive, failed, left, suspect},
    world::{addr, millis},
};
use crate::{
    data::Endpoint,
    sim::forge,
    wire::message::{
        Accusers, Ack, Alive, BucketDigests, BucketSelection, Carried, Departed, Digest, End, Failed, Hello,
        KeyAnswer, KeyChange, Left, Message, Nack, NewToken, Ping, PingReq, Retry, Same, Seen, StreamAck,
        StreamPing, Suspect,
    },
};

const NAMES: [&str; 8] = ["me", "m1", "m2", "m3", "m4", "m5", "x", "y"];
const MEMBERS: usize = 5;
const KINDS: u32 = 23;
/// The digests of a table that differs from every node's.
static DIGESTS: [u8; 512] = [7; 512];

/// A node among members of every standing: m1 alive, m2 suspect, m3 failed, m4 left, m5 alive. It may have asked
/// unverified peers and probed members, and updates may be queued.
fn bench(rng: &mut fastrand::Rng) -> Bench {
    let mut config = [Config::lan, Config::local][rng.usize(..2)]("me");
    config.verifiers = *rng.choice(&[0, 6, 64]).expect("there are some");
    let mut bench = Bench::with(config, MEMBERS);
    bench.receive(&suspect("m2", 0, &["m1"])).receive(&failed("m3", 0)).receive(&left("m4", 0));
    if rng.bool() {
        bench.receive_from(addr(6), &alive("x", 0, addr(6)));
    }
    if rng.bool() {
        bench.pass(millis(rng.u64(..3000)));
    }
    if rng.bool() {
        bench.node.updates.clear();
    }
    bench.events();
    bench.sent();
    bench
}

/// Any message, about any member, under an identity below, at, above or far above the known one.
fn message(rng: &mut fastrand::Rng, seqs: &[u32]) -> Message<'static> {
    let name = *rng.choice(&NAMES).expect("there are some");
    let epoch = EPOCH + [0, 0, 0, 0, 1, 1 << 42][rng.usize(..6)] - u64::from(rng.u32(..8) == 0);
    let incarnation = [0, 0, 1, 1, 2, 3, 1 << 21, 1 << 45, u64::MAX][rng.usize(..9)];
    let seq = rng.choice(seqs).copied().unwrap_or(5);
    let accusers: Accusers<'_> = NAMES.into_iter().filter(|_| rng.bool()).collect();
    let claimed_addr = addr(rng.usize(..9));
    let kind = if rng.bool() { rng.u32(4..9) } else { rng.u32(..KINDS) };
    match kind {
        0 => Message::Ping(Ping { seq, target: name }),
        1 => Message::Ack(Ack { seq }),
        2 => Message::PingReq(PingReq { seq, target: name, window_ms: 500 }),
        3 => Message::Nack(Nack { seq }),
        4 => Message::Alive(Alive { name, epoch, incarnation, addr: claimed_addr, tags: &[] }),
        5 => Message::Suspect(Suspect { name, epoch, incarnation, accusers }),
        6 => Message::Failed(Failed { name, epoch, incarnation }),
        7 => Message::Left(Left { name, epoch, incarnation, removed: None }),
        8 => {
            let (left, age_secs) = (rng.bool(), rng.u64(..100_000));
            Message::Departed(Departed { name, epoch, incarnation, left, age_secs, removed: None })
        }
        9 => Message::Hello(Hello { name, digest: 7, removals: 0 }),
        10 => Message::Same(Same {}),
        11 => Message::End(End {}),
        12 => Message::StreamPing(StreamPing { target: name }),
        13 => Message::StreamAck(StreamAck { name }),
        14 => Message::BucketDigests(BucketDigests { digests: &DIGESTS }),
        15 => Message::BucketSelection(BucketSelection { buckets: 7 }),
        16 => Message::Digest(Digest { digest: 7 }),
        17 => Message::KeyChange(KeyChange { step: 0, key: &[] }),
        18 => Message::Retry(Retry { seq, token: rng.u32(..3) }),
        19 => Message::NewToken(NewToken { token: rng.u32(..3) }),
        20 => Message::Seen(Seen { addr: claimed_addr }),
        21 => Message::Carried(Carried {}),
        _ => Message::KeyAnswer(KeyAnswer { problem: "" }),
    }
}

/// The address of a member in any state, of an unverified peer, or of this node.
fn source(rng: &mut fastrand::Rng) -> SocketAddr {
    addr(rng.usize(..9))
}

/// A packet in the name of the peer at this address or of any other, with its token or without.
fn packet(rng: &mut fastrand::Rng, bench: &Bench, from: SocketAddr, said: &[Message<'_>]) -> Vec<u8> {
    let home = NAMES.iter().position(|name| bench.member(name).is_some_and(|member| member.addr == from));
    let name = NAMES[home.filter(|_| rng.u32(..4) > 0).unwrap_or_else(|| rng.usize(..NAMES.len()))];
    let addr = bench.member(name).map_or(from, |member| member.addr);
    let token = if rng.u32(..4) > 0 { bench.node.token_for(name, addr) } else { 0 };
    forge::proven_packet(name, token, said)
}

/// The numbers of this node's pings, which the pinged peers can answer.
fn asked(sent: &[(SocketAddr, Vec<u8>)]) -> Vec<u32> {
    sent.iter().filter_map(|(_, packet)| forge::ping(packet)).map(|(seq, _)| seq).collect()
}

#[test]
fn a_datagram_with_any_content_causes_at_most_one() {
    for seed in 0..4000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut bench = bench(&mut rng);
        let mut seqs = vec![1, 2];
        for _ in 0..20 {
            let said: Vec<_> = (0..rng.usize(1..13)).map(|_| message(&mut rng, &seqs)).collect();
            let from = source(&mut rng);
            let packet = packet(&mut rng, &bench, from, &said);
            bench.node.handle_datagram(bench.now, from, &packet);
            let sent = bench.sent();
            let whereto: Vec<_> = sent.iter().map(|(to, _)| *to).collect();
            assert!(sent.len() <= 1, "seed {seed}: {said:?} from {from} causes datagrams to {whereto:?}");
            seqs.extend(asked(&sent));
        }
    }
}

#[test]
fn each_message_alone_causes_at_most_one_datagram_from_any_sender() {
    for seed in 0..20_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut bench = bench(&mut rng);
        let (from, said) = (source(&mut rng), message(&mut rng, &[1]));
        bench.node.handle_datagram(bench.now, from, &packet(&mut rng, &bench, from, &[said]));
        let sent = bench.sent().len();
        assert!(sent <= 1, "seed {seed}: {said:?} from {from} causes {sent} datagrams");
    }
}

/// An unverified peer, also one that sends under a member's address, gets no more bytes than it sent.
#[test]
fn an_unverified_peer_gets_no_more_bytes_than_it_sent() {
    for seed in 0..20_000 {
        let mut rng = fastrand::Rng::with_seed(seed);
        let mut bench = bench(&mut rng);
        let (from, said) = (addr(rng.usize(6..9)), message(&mut rng, &[1]));
        let packet = forge::packet("x", &[said]);
        bench.node.handle_datagram(bench.now, from, &packet);
        for (to, answer) in bench.sent() {
            assert!(answer.len() <= packet.len(), "seed {seed}: {said:?}: {} bytes to {to}", answer.len());
        }
    }
}

/// An answer has a length of its own: a ping of a short name is shorter than some answers.
#[test]
fn an_answer_to_a_ping_of_a_short_name_is_no_longer_than_the_ping() {
    for name in ["a", "bb", "ccc"] {
        for (caller, token) in [("x", 0), ("x", 9), ("m1", 0), ("m1", 9)] {
            let mut bench = Bench::with(Config::lan(name), MEMBERS);
            let ping = Message::Ping(Ping { seq: 5, target: name });
            let packet = forge::proven_packet(caller, token, &[ping]);
            // From its own address, if it is a member.
            let from = if caller == "m1" { addr(1) } else { addr(8) };
            bench.node.handle_datagram(bench.now, from, &packet);
            let sent = bench.sent();
            assert_eq!(sent.len(), 1);
            assert!(sent[0].1.len() <= packet.len(), "{name}, pinged by {caller} with token {token}");
        }
    }
}

/// A peer that introduces itself is pinged, and given a token.
#[test]
fn an_introduction_causes_no_more_bytes_than_it_has() {
    for (name, known) in [("x", false), ("xx", false), ("x", true)] {
        let mut bench = Bench::new(1);
        let claim = Alive { name, epoch: 1, incarnation: 0, addr: addr(8), tags: &[] };
        if known {
            let claimant = bench.node.table.claimant_at(addr(1));
            bench.node.on_alive(&claim, Authority::Other(claimant));
            bench.receive(&failed(name, 9));
            bench.sent();
        }
        for (message, answered) in
            [(Message::Alive(claim), !known), (Message::Digest(Digest { digest: 1 }), false)]
        {
            let packet = forge::packet(name, &[message]);
            bench.node.handle_datagram(bench.now, addr(8), &packet);
            let sent = bench.sent();
            assert!(!answered || !sent.is_empty(), "it is pinged");
            for (to, sent) in sent {
                assert!(
                    sent.len() <= packet.len(),
                    "{name}: {} bytes to {to} for {}",
                    sent.len(),
                    packet.len()
                );
            }
        }
    }
}

/// A datagram in a member's name without its token makes this node ping that member for proof. The ping carries no updates,
/// and no update counts as sent by it: otherwise the sender could choose which members hear of an update.
#[test]
fn an_unproven_datagram_has_its_claimed_sender_told_nothing() {
    let mut bench = Bench::new(MEMBERS);
    bench.receive(&alive("new", 0, addr(7)));
    let (now, token) = (bench.now, bench.node.token_for("m1", addr(1)));
    let mut endpoint = Endpoint::new(bench.node);
    assert!(endpoint.broadcast(now, "topic", &[7; 400], 0).is_ok());
    for (claims, by_stream) in [(1, false), (100, false), (1, true)] {
        let said = vec![Message::Suspect(suspect("m2", 0, &[])); claims];
        let packet = forge::packet("m1", &said);
        if by_stream {
            let stream = endpoint.accept_stream(now, addr(8)).expect("there is room");
            let hello = Message::Hello(Hello { name: "m1", digest: 0, removals: 0 });
            endpoint.handle_frame(now, stream, &forge::packet("m1", &[hello]));
        } else {
            endpoint.handle_datagram(now, addr(8), &packet);
        }
        let mut ping = Vec::new();
        let to = endpoint.poll_transmit(&mut ping).expect("it is pinged");
        assert_eq!(to.addr, addr(1));
        assert!(ping.len() <= packet.len(), "{claims} claims: {} bytes for {}", ping.len(), packet.len());
        let mut told = Vec::new();
        forge::read(&ping, |message| told.push(format!("{message:?}")));
        assert!(told.len() == 1 && told[0].starts_with("Ping"), "{told:?}");
        let (seq, _) = forge::ping(&ping).expect("it is a ping");
        let ack = forge::proven_packet("m1", token, &[Message::Ack(Ack { seq })]);
        endpoint.handle_datagram(now, addr(1), &ack);
        assert_eq!(endpoint.poll_transmit(&mut ping), None, "nor when it answers");
    }
}

#[test]
fn the_members_of_the_bench_have_every_standing() {
    let mut rng = fastrand::Rng::with_seed(1);
    let bench = bench(&mut rng);
    let states: Vec<_> = bench.node.members().into_iter().map(|member| member.state).collect();
    use MemberState::{Alive, Failed, Left, Suspect};
    for state in [Alive, Suspect, Failed, Left] {
        assert!(states.contains(&state), "{states:?}");
    }
}
