//! What one member that lies cannot do to the others: each a way that was found once.

use std::{collections::BTreeSet, net::SocketAddr};

use super::{
    super::{
        Config, MemberState, Node, Output, Removal, Start, StreamFailure, StreamKind, StreamStep,
        carry::Priority, member::MemberId, session::Purpose, updates::Urgency,
    },
    bench::{Bench, EPOCH, TOKEN, alive, failed, messages, packet_of, say, suspect},
    world::{ORIGIN, addr, millis, secs},
};
use crate::{
    data::Endpoint,
    sim::forge,
    wire::{
        Tags,
        data::{Ask, Broadcast, DataMessage},
        hash,
        message::{Alive, End, Message, NewToken, Ping, PingReq},
        packet,
    },
};

/// Whom the node has told that a member is in this standing, as its packets say.
fn told(bench: &mut Bench, is_it: impl Fn(&Message<'_>) -> bool) -> BTreeSet<SocketAddr> {
    let mut told = BTreeSet::new();
    for (to, packet) in bench.sent() {
        messages(&packet, |message| {
            if is_it(message) {
                told.insert(to);
            }
        });
    }
    told
}

fn is_failure_of(name: &str) -> impl Fn(&Message<'_>) -> bool {
    move |message| matches!(message, Message::Failed(failed) if failed.name == name)
}

/// Answers to pings carry updates. Who pings all the time gets them often, but they are there for all others, too.
#[test]
fn a_node_that_pings_all_the_time_uses_no_updates_up() {
    let request = Message::PingReq(PingReq { seq: 5, target: "m1", window_ms: 0 });
    for said in [Message::Ping(Ping { seq: 5, target: "me" }), request] {
        let mut bench = Bench::new(20);
        bench.receive_from(addr(2), &failed("m5", 0));
        for _ in 0..100 {
            say(&mut bench, "m1", addr(1), &[said]);
            bench.sent();
        }
        bench.pass(secs(1));
        let told = told(&mut bench, is_failure_of("m5"));
        assert!(told.len() >= 5, "{said:?}: m5's failure is told to {told:?}");
    }
}

/// The same of what goes behind updates: broadcasts, and changes of keys.
#[test]
fn a_node_that_pings_all_the_time_uses_no_broadcast_and_no_change_of_a_key_up() {
    let request = Message::PingReq(PingReq { seq: 5, target: "m1", window_ms: 0 });
    for said in [Message::Ping(Ping { seq: 5, target: "me" }), request] {
        let Bench { node, mut now } = Bench::new(20);
        let mut endpoint = Endpoint::new(node);
        endpoint.broadcast(now, "t", b"v", 0).expect("it is within the rate");
        assert_eq!(endpoint.set(now, "k", Some(b"v")), Ok(Some(1)));
        let (mut told, mut buffer) = ([(); 2].map(|()| BTreeSet::new()), Vec::new());
        let mut drain = |endpoint: &mut Endpoint| {
            while let Some(to) = endpoint.poll_transmit(&mut buffer) {
                let sections = packet::open(&buffer, hash::cluster("default")).expect("we sent it").1;
                for message in sections.filter_map(|section| section.ok()?.data_message().ok()?) {
                    match message {
                        DataMessage::Broadcast(_) => told[0].insert(to.addr),
                        DataMessage::KeyValue(_) => told[1].insert(to.addr),
                        _ => false,
                    };
                }
            }
        };
        let token = endpoint.node.token_for("m1", addr(1));
        for _ in 0..100 {
            endpoint.handle_datagram(now, addr(1), &forge::proven_packet("m1", token, &[said]));
            drain(&mut endpoint);
        }
        let end = now + secs(1);
        while let Some(at) = endpoint.poll_timeout().filter(|at| *at <= end) {
            now = now.max(at);
            endpoint.handle_timeout(now);
            drain(&mut endpoint);
        }
        assert!(told.iter().all(|told| told.len() >= 5), "{said:?}: told to {told:?}");
    }
}

/// A member that was not heard from yet, or was restarted, believes this node's own Alive alone.
#[test]
fn members_that_would_drop_it_use_up_no_word_of_this_node() {
    let mut bench = Bench::new(20);
    bench.node.announce();
    for i in 1..=20 {
        let id = bench.node.table.find(&format!("m{i}")).expect("it is a member");
        let contact = bench.node.table.contact_mut(id);
        (contact.shown, contact.held) = (false, 0);
        bench.node.challenge(id, Priority::Updates);
    }
    assert!(bench.sent().len() >= 20);
    assert!(bench.node.updates.contains(MemberId::SELF));
}

/// The token in a packet's header.
fn shown(packet: &[u8]) -> u32 {
    packet::open(packet, hash::cluster("default")).expect("we sent it").0.token
}

/// Whoever had it could speak to that member in this node's name.
#[test]
fn the_token_that_a_member_gave_is_shown_nowhere_else_whoever_says_that_it_moved() {
    let mut bench = Bench::new(3);
    let id = bench.node.table.find("m2").expect("it is a member");
    bench.node.table.contact_mut(id).silent = true;
    bench.receive(&alive("m2", 1, addr(66)));
    assert_eq!(bench.member("m2").map(|m2| m2.addr), Some(addr(66)));
    bench.opened();
    let stream = bench.node.open(Purpose::Sync, addr(66), secs(1)).expect("there is room");
    let mut frame = Vec::new();
    assert_eq!(bench.node.poll_stream(bench.now, stream, &mut frame), StreamStep::Send);
    assert_ne!(shown(&frame), TOKEN, "in a stream");
    for _ in 0..40 {
        bench.pass(millis(500));
        for (to, packet) in bench.sent() {
            assert!(to != addr(66) || shown(&packet) != TOKEN, "to {to}");
        }
    }
}

/// Of each table it hears of another holder of its name, who is silent.
#[test]
fn a_seed_that_goes_on_naming_holders_of_the_name_holds_no_join_up_for_ever() {
    let start = Start { addr: addr(0), epoch: EPOCH, seed: 1, tags: Tags::default() };
    let mut node = Node::new(Config::lan("me"), start, ORIGIN);
    node.join(ORIGIN, 7, &[addr(1)]);
    let (mut now, mut done, mut holder, mut frame) = (ORIGIN, 0, 0, Vec::new());
    for _ in 0..90 {
        now = now + millis(100);
        while let Some(output) = node.poll_output() {
            match output {
                Output::OpenStream { stream, kind: StreamKind::Join, .. } => {
                    node.stream_began(now, stream);
                    while node.poll_stream(now, stream, &mut frame) == StreamStep::Send {}
                    holder += 1;
                    let word =
                        Alive { epoch: EPOCH + 10 * holder, ..alive("me", 0, addr(100 + holder as usize)) };
                    node.handle_frame(now, stream, &packet_of(&word));
                    node.handle_frame(now, stream, &packet_of(&End {}));
                }
                Output::OpenStream { stream, .. } => {
                    node.stream_began(now, stream);
                    node.handle_stream_failure(now, stream, StreamFailure::TimedOut);
                }
                Output::JoinDone { ticket: 7, .. } => done += 1,
                _ => {}
            }
        }
        while node.poll_transmit(&mut frame).is_some() {}
        node.handle_timeout(now);
    }
    assert_eq!(done, 1);
}

/// A made-up member at a member's address has a token of its own, which is not that member's.
#[test]
fn a_made_up_name_at_a_members_address_spoils_no_stream_to_it() {
    let mut bench = Bench::new(3);
    bench.receive(&alive("y", 0, addr(3)));
    // The order of both in the table is another now.
    bench.receive(&failed("m3", 0)).receive(&alive("m3", 1, addr(3)));
    let said = [Message::Ping(Ping { seq: 5, target: "me" }), Message::NewToken(NewToken { token: 9 })];
    bench.node.handle_datagram(bench.now, addr(1), &forge::packet("y", &said));
    bench.opened();
    let stream = bench.node.open(Purpose::Sync, addr(3), secs(1)).expect("there is room");
    let mut frame = Vec::new();
    assert_eq!(bench.node.poll_stream(bench.now, stream, &mut frame), StreamStep::Send);
    assert_eq!(shown(&frame), TOKEN);
}

/// It takes seconds to find a name with another's mark; the other hears of everything all the same.
#[test]
fn a_made_up_name_of_a_members_mark_at_its_address_mutes_nobody() {
    let mut bench = Bench::new(2);
    let (made_up, member) = ("node-b1973a4b{", "node-b");
    assert_eq!(hash::member(made_up), hash::member(member));
    bench.receive(&alive(made_up, 0, addr(5)));
    bench.receive_from(addr(2), &alive(member, 0, addr(5)));
    bench.meet(member);
    bench.node.updates.clear();
    bench.sent();
    bench.receive_from(addr(2), &failed("m1", 0));
    bench.pass(secs(2));
    let mut heard = false;
    for (to, packet) in bench.sent() {
        if to == addr(5) {
            messages(&packet, |message| heard |= is_failure_of("m1")(message) && shown(&packet) == TOKEN);
        }
    }
    assert!(heard);
}

/// An address that never answers is challenged three times, and probed.
#[test]
fn a_made_up_member_is_challenged_three_times_whatever_is_said_of_it() {
    for lives in [true, false] {
        let mut bench = Bench::new(6);
        let mut pings = 0;
        for step in 0..600 {
            if step % 10 == 0 {
                let (epoch, incarnation) = if lives { (EPOCH + step, 0) } else { (EPOCH, step) };
                let home = addr(if lives || step % 20 == 0 { 66 } else { 67 });
                bench.receive(&Alive { epoch, ..alive("x", incarnation, home) });
            }
            bench.pass(millis(100));
            for (to, packet) in bench.sent() {
                pings += usize::from(to == addr(66) && forge::ping(&packet).is_some());
            }
        }
        let probes = bench.node.metrics().probes as usize;
        println!("{pings} pings, {probes} probes of all in a minute, lives {lives}");
        assert!(pings <= 3 + probes / 2, "{pings} pings, {probes} probes of all in a minute");
    }
}

/// Made-up members that departed a moment ago are told so in one place of each round.
#[test]
fn departures_of_one_host_take_no_rounds_of_gossip() {
    let mut bench = Bench::new(6);
    let names: Vec<_> = (0..1000).map(|i| format!("x{i}")).collect();
    for (at, name) in names.iter().enumerate() {
        bench.receive(&alive(name, 0, SocketAddr::new(addr(9).ip(), 1000 + at as u16)));
        bench.meet(name);
        bench.receive(&failed(name, 0));
    }
    bench.node.updates.clear();
    bench.pass(millis(500));
    bench.sent();
    bench.node.updates.push(bench.node.table.find("m5").unwrap(), Urgency::Urgent);
    let mut to_members = 0;
    for _ in 0..20 {
        bench.node.gossip();
        to_members += bench.sent().iter().filter(|(to, _)| to.ip() != addr(9).ip()).count();
        bench.node.updates.push(bench.node.table.find("m5").unwrap(), Urgency::Urgent);
    }
    assert!(to_members >= 40, "{to_members} of 60");
}

/// One host makes up members that answer once: those that others lost are tried all the same.
#[test]
fn failures_of_one_host_take_no_members_place_among_those_to_be_tried_again() {
    let mut config = Config::lan("me");
    config.max_reconnects = 4096;
    let mut bench = Bench::with(config, 6);
    bench.receive(&failed("m5", 0));
    bench.pass(secs(20));
    bench.sent();
    for at in 0..300 {
        let name = format!("x{at}");
        bench.receive(&alive(&name, 0, SocketAddr::new(addr(9).ip(), 1000 + at as u16)));
        bench.meet(&name);
        bench.receive(&failed(&name, 0));
    }
    let mut tried = false;
    for _ in 0..100 {
        bench.pass(secs(1));
        tried |= !bench.asked_at(addr(5)).is_empty();
    }
    assert!(tried, "m5 is tried within 100 seconds");
}

/// It asks whether somebody is there; while that goes on, more is claimed.
#[test]
fn a_node_refutes_all_that_was_claimed_in_its_name_once_nobody_answers() {
    let mut bench = Bench::new(3);
    bench.receive(&alive("me", 1, addr(60)));
    let asked = bench.opened();
    bench.receive(&alive("me", 9, addr(61)));
    let [(stream, _)] = asked[..] else { panic!("{asked:?}") };
    bench.node.stream_began(bench.now, stream);
    bench.node.handle_stream_failure(bench.now, stream, StreamFailure::TimedOut);
    assert_eq!(bench.node.local().identity.incarnation, 10);
}

/// Made-up members are suspected again and again. What the node says of itself goes out all the same, and what it knows of
/// members.
#[test]
fn updates_about_made_up_members_displace_no_others() {
    let mut bench = Bench::new(12);
    let names: Vec<_> = (0..1000).map(|i| format!("x{i}")).collect();
    for (at, name) in names.iter().enumerate() {
        bench.receive(&alive(name, 0, addr(100 + at)));
    }
    bench.sent();
    let members: Vec<_> = (1..=12).map(addr).collect();
    let (mut of_us, mut of_m5, mut of_m6) = (BTreeSet::new(), BTreeSet::new(), BTreeSet::new());
    for step in 0..300 {
        if step == 100 {
            bench.receive_from(addr(2), &suspect("m6", 0, &["m2"]));
            bench.receive_from(addr(2), &suspect("me", 0, &["m2"]));
            bench.receive_from(addr(2), &failed("m5", 0));
        }
        if step == 110 {
            bench.receive_from(addr(2), &alive("m6", 1, addr(6)));
        }
        for name in names.iter().skip(50 * step % 1000).take(50) {
            bench.receive(&suspect(name, 1 + step as u64, &[]));
        }
        bench.pass(millis(20));
        for (to, packet) in bench.sent() {
            messages(&packet, |message| match message {
                Message::Alive(alive)
                    if alive.name == "me" && alive.incarnation == 1 && members.contains(&to) =>
                {
                    of_us.insert(to);
                }
                Message::Failed(failed) if failed.name == "m5" => _ = of_m5.insert(to),
                Message::Alive(alive) if alive.name == "m6" && alive.incarnation == 1 => _ = of_m6.insert(to),
                _ => {}
            });
        }
    }
    assert!(of_us.len() >= 5, "that it lives is told to {of_us:?}");
    assert!(of_m5.len() >= 5, "that m5 failed is told to {of_m5:?}");
    assert!(of_m6.len() >= 5, "that m6 lives is told to {of_m6:?}");
}

/// It is accused all the time, so that its refutation is renewed with the updates about a hundred names.
#[test]
fn what_a_node_says_of_itself_is_in_each_packet_though_others_renew_it() {
    let mut bench = Bench::new(12);
    let names: Vec<_> = (0..300).map(|i| format!("x{i}")).collect();
    for (at, name) in names.iter().enumerate() {
        bench.receive(&alive(name, 0, addr(100 + at)));
    }
    bench.sent();
    let (mut packets, mut tell) = (0, 0);
    for step in 1..100 {
        bench.receive_from(addr(2), &suspect("me", step, &["m2"]));
        for name in names.iter().skip(100 * step as usize % 300).take(100) {
            bench.receive(&suspect(name, step, &[]));
        }
        bench.pass(millis(20));
        for (_, packet) in bench.sent() {
            let (mut updates, mut is_told) = (0, false);
            messages(&packet, |message| match message {
                Message::Suspect(_) => updates += 1,
                Message::Alive(alive) => is_told |= alive.name == "me",
                _ => {}
            });
            packets += usize::from(updates > 0);
            tell += usize::from(updates > 0 && is_told);
        }
    }
    assert!(packets > 30 && tell == packets, "{tell} of {packets} packets");
}

/// A holder of the name that answered once has others cause questions at its address, and answers none.
#[test]
fn questions_that_others_cause_keep_no_displaced_node_from_asking_the_holder() {
    let mut bench = Bench::new(3);
    bench.receive(&alive("w", 0, addr(61)));
    let w = bench.node.table.find("w").expect("it is a member");
    (0..3).for_each(|_| bench.node.table.contact_mut(w).miss());
    bench.opened();
    bench.receive(&alive("me", 1, addr(60)));
    let [(stream, _)] = bench.opened()[..] else { panic!("it is asked") };
    bench.node.stream_began(bench.now, stream);
    bench.node.end(stream, Ok(()));
    assert!(bench.node.is_displaced());
    for _ in 0..6000 {
        bench.receive(&alive("w", 1, addr(60)));
        for (stream, _) in bench.opened() {
            bench.node.stream_began(bench.now, stream);
        }
        bench.sent();
        bench.pass(millis(10));
    }
    assert!(!bench.node.is_displaced(), "nobody has answered to the name for a minute");
}

/// Each broadcast is said to be another member's, and to be confirmed.
#[test]
fn one_datagram_of_forged_broadcasts_has_a_node_send_one() {
    let Bench { node, mut now } = Bench::new(40);
    let mut endpoint = Endpoint::new(node);
    let token = endpoint.node.token_for("m1", addr(1));
    let names: Vec<_> = (2..=38).map(|i| format!("m{i}")).collect();
    let forged =
        |origin| Broadcast { origin, epoch: EPOCH, seq: 1, stamp: 0, flags: 2, topic: "t", payload: b"" };
    let said: Vec<_> = names.iter().map(|name| DataMessage::Broadcast(forged(name))).collect();
    endpoint.handle_datagram(now, addr(1), &forge::data_packet("m1", token, &said));
    let (end, mut confirmed, mut buffer) = (now + millis(150), 0, Vec::new());
    while let Some(at) = endpoint.poll_timeout().filter(|at| *at <= end) {
        now = now.max(at);
        endpoint.handle_timeout(now);
        while endpoint.poll_transmit(&mut buffer).is_some() {
            let sections = packet::open(&buffer, hash::cluster("default")).expect("we sent it").1;
            // Not those in a packet of gossip, which goes out anyway.
            let said: Vec<_> = sections.filter_map(|section| section.ok()?.data_message().ok()?).collect();
            let only_confirms = said.iter().all(|message| matches!(message, DataMessage::Confirm(_)));
            confirmed += usize::from(!said.is_empty() && only_confirms);
        }
    }
    assert_eq!(confirmed, 1, "datagrams with confirmations alone");
}

/// Suspicions under ever greater identities are ahead of all that the suspect says.
#[test]
fn a_node_that_is_suspected_all_the_time_is_heard_all_the_same() {
    let mut bench = Bench::new(4);
    let tags = |zone| Tags::new([("zone", zone)]).expect("they are short");
    let (first, second) = (tags("a"), tags("b"));
    let say_tags = |bench: &mut Bench, incarnation, tags: &Tags| {
        let said = Message::Alive(Alive { tags: tags.encoded(), ..alive("m2", incarnation, addr(2)) });
        say(bench, "m2", addr(2), &[said]);
        bench.member("m2").map(|m2| (m2.state, m2.tags))
    };
    bench.receive(&suspect("m2", 9, &["m1"]));
    assert_eq!(say_tags(&mut bench, 5, &first), Some((MemberState::Suspect, first.clone())));
    assert_eq!(bench.kinds(), ["suspected", "updated"]);
    assert_eq!(say_tags(&mut bench, 4, &second), Some((MemberState::Suspect, first)), "it is older");
    assert_eq!(say_tags(&mut bench, 9, &second), Some((MemberState::Suspect, second.clone())), "as great");
    assert_eq!(say_tags(&mut bench, 10, &second), Some((MemberState::Alive, second)));
}

/// Its word that it has left would not be believed, and its answers would count as those of a live member.
#[test]
fn a_node_that_has_left_does_not_answer_a_peer_that_it_cannot_tell() {
    let mut bench = Bench::new(0);
    bench.node.leave(bench.now);
    bench.pass(secs(10));
    bench.sent();
    bench.receive_as(Some("m1"), addr(1), &Ping { seq: 1, target: "me" });
    assert_eq!(bench.sent(), []);
}

/// An endpoint with members m1 to m4, the tokens of the first three, and a moment.
fn endpoint_with_members() -> (Endpoint, [u32; 3], super::super::Time) {
    let Bench { node, now } = Bench::new(4);
    let endpoint = Endpoint::new(node);
    let tokens = [1, 2, 3].map(|i| endpoint.node.token_for(&format!("m{i}"), addr(i)));
    (endpoint, tokens, now)
}

fn drain(endpoint: &mut Endpoint) {
    while endpoint.poll_output().is_some() {}
}

/// m3 passes on a broadcast of m2.
fn pass_on(endpoint: &mut Endpoint, now: super::super::Time, token: u32, seq: u64) {
    let said = Broadcast { origin: "m2", epoch: EPOCH, seq, stamp: 0, flags: 0, topic: "t", payload: b"" };
    let passed_on = forge::data_packet("m3", token, &[DataMessage::Broadcast(said)]);
    endpoint.handle_datagram(now, addr(3), &passed_on);
}

/// m1 says that m2 has failed, and it is reaped here; it refutes.
fn forget_and_refute(endpoint: &mut Endpoint, now: super::super::Time, [one, two, _]: [u32; 3]) {
    let gone = [Message::Failed(failed("m2", 0))];
    endpoint.handle_datagram(now, addr(1), &forge::proven_packet("m1", one, &gone));
    drain(endpoint);
    endpoint.node.remove(now, "m2", Removal::Reap).expect("it is listed as failed");
    drain(endpoint);
    let refuted = Message::Alive(alive("m2", 1, addr(2)));
    endpoint.handle_datagram(now, addr(2), &forge::proven_packet("m2", two, &[refuted]));
    drain(endpoint);
}

/// It refutes at once, and is the same process.
#[test]
fn a_broadcast_comes_once_though_its_origin_is_said_to_be_forgotten() {
    let (mut endpoint, tokens, now) = endpoint_with_members();
    pass_on(&mut endpoint, now, tokens[2], 1);
    forget_and_refute(&mut endpoint, now, tokens);
    pass_on(&mut endpoint, now, tokens[2], 1);
    assert_eq!(endpoint.metrics().broadcasts_received, 1);
    pass_on(&mut endpoint, now, tokens[2], 2);
    assert_eq!(endpoint.metrics().broadcasts_received, 2, "what it sends further comes");
}

/// One that waits for an earlier one is handed out, or told to be lost.
#[test]
fn no_broadcast_is_lost_without_a_word_as_its_origin_is_said_to_be_forgotten() {
    let (mut endpoint, tokens, mut now) = endpoint_with_members();
    let reader = endpoint.open_inbox(crate::Topics::all()).expect("there is room");
    pass_on(&mut endpoint, now, tokens[2], 2);
    endpoint.hand_out();
    forget_and_refute(&mut endpoint, now, tokens);
    let (end, mut buffer) = (now + secs(90), Vec::new());
    while let Some(at) = endpoint.poll_timeout().filter(|at| *at <= end) {
        now = now.max(at);
        endpoint.handle_timeout(now);
        while endpoint.poll_transmit(&mut buffer).is_some() {}
        drain(&mut endpoint);
        endpoint.hand_out();
    }
    let got = std::iter::from_fn(|| reader.try_recv().ok()).count();
    assert!(got > 0, "lost: {}", endpoint.metrics().lost_broadcasts);
}

/// Others said again and again that this node had another life, and it went on above that each time: an ask for the life that it
/// had a moment ago means this process.
#[test]
fn lives_that_others_made_up_end_no_ask_for_the_one_before() {
    let (mut endpoint, [one, ..], now) = endpoint_with_members();
    let lie = |endpoint: &mut Endpoint| {
        let epoch = endpoint.node.own_life().epoch + 1;
        let there = Message::Alive(Alive { epoch, ..alive("me", 0, addr(0)) });
        endpoint.handle_datagram(now, addr(1), &forge::proven_packet("m1", one, &[there]));
        drain(endpoint);
    };
    (0..100).for_each(|_| lie(&mut endpoint));
    let life = endpoint.node.own_life().epoch;
    lie(&mut endpoint);
    assert!(endpoint.node.own_life().epoch > life);
    let ask = Ask { epoch: EPOCH, slot: 0, id: 1, life, kind: 0, within_ms: 1000, topic: "t", payload: b"" };
    endpoint.handle_datagram(now, addr(1), &forge::data_packet("m1", one, &[DataMessage::Ask(ask)]));
    let (mut status, mut buffer) = (None, Vec::new());
    while endpoint.poll_transmit(&mut buffer).is_some() {
        let sections = packet::open(&buffer, hash::cluster("default")).expect("we sent it").1;
        for message in sections.filter_map(|section| section.ok()?.data_message().ok()?) {
            if let DataMessage::Answer(answer) = message {
                status = Some(answer.status);
            }
        }
    }
    assert!(status.is_some_and(|status| status != 9), "{status:?}");
}

/// Two words of a member change places: the later came by another first.
#[test]
fn a_word_that_comes_late_replaces_no_later_tags() {
    let tags = [5, 6].map(|i| Tags::new([("t", i.to_string())]).unwrap());
    let tags_after = |words: &[(&str, u64, &Tags)]| {
        let mut bench = Bench::new(4);
        for (who, incarnation, tags) in words {
            let at = if *who == "m2" { addr(2) } else { addr(3) };
            let tags = tags.encoded();
            say(&mut bench, who, at, &[Message::Alive(Alive { tags, ..alive("m2", *incarnation, addr(2)) })]);
        }
        bench.member("m2").map(|m2| m2.tags)
    };
    let [old, new] = &tags;
    assert_eq!(tags_after(&[("m3", 6, new), ("m2", 5, old)]).as_ref(), Some(new));
    assert_eq!(tags_after(&[("m2", 6, new), ("m2", 5, old)]).as_ref(), Some(new));
    assert_eq!(tags_after(&[("m3", 5, old), ("m2", 6, new)]).as_ref(), Some(new));
}
