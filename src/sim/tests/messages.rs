//! Messages, requests and queries between nodes of a world.

mod promises;
mod streams;

use std::{cell::RefCell, time::Duration};

use crossbeam_channel::{Receiver, TryRecvError, bounded};

use super::cluster;
use crate::{
    EndedBy, QueryProblem, Topics, Unconfirmed,
    collections::fanout::Subscription,
    data::messages::{
        AskKind, Item, Mailbox, NewAsk, NotAsked, RequestItem, Results, Settled, Status, TooLate, TooMany,
        Unread,
    },
    sim::{World, addr, forge},
    swim::{Config, Life, MemberState},
    wire::{
        data::{Ask, DataMessage},
        message::{Failed, Message},
    },
};

type Outcome = Result<std::sync::Arc<[u8]>, QueryProblem>;

const SECOND: Duration = Duration::from_secs(1);

fn millis(n: u64) -> Duration {
    Duration::from_millis(n)
}

fn life(world: &World, host: usize) -> Life {
    world.node(host).own_life()
}

/// The next message in a mailbox, if there is one.
fn next_message(inbox: &Subscription<Mailbox>) -> Option<Item> {
    inbox.try_recv().ok().and_then(Unread::into_message)
}

fn inbox(world: &mut World, host: usize) -> Subscription<Mailbox> {
    world.drive_with(host, |endpoint, _| endpoint.open_inbox(Topics::all())).expect("there is room")
}

fn serve(world: &mut World, host: usize) -> Receiver<()> {
    world.drive_with(host, |endpoint, _| endpoint.open_server("jobs")).expect("there is room")
}

fn take(world: &mut World, host: usize) -> Option<RequestItem> {
    world.drive_with(host, |endpoint, now| endpoint.take_request(now, "jobs"))
}

fn answer(
    world: &mut World,
    host: usize,
    RequestItem { from, id, .. }: &RequestItem,
    status: Status,
    payload: &[u8],
) -> Result<(), TooLate> {
    world.drive_with(host, |endpoint, now| endpoint.answer(now, (from, *id), status, payload))
}

fn try_ask(
    world: &mut World,
    (from, to): (usize, usize),
    kind: AskKind,
    payload: &[u8],
    within: Duration,
) -> Result<Receiver<Settled>, NotAsked> {
    let (caller, settled) = bounded(1);
    let new = NewAsk { kind, topic: "jobs".into(), payload: payload.into(), within };
    world.drive_with(from, |endpoint, now| endpoint.ask(now, &format!("n{to}"), new, caller))?;
    Ok(settled)
}

fn send(world: &mut World, from: usize, to: usize, payload: &[u8]) -> Receiver<Settled> {
    try_ask(world, (from, to), AskKind::Message, payload, 10 * SECOND).expect("it can be asked")
}

fn request(world: &mut World, from: usize, to: usize, payload: &[u8]) -> Receiver<Settled> {
    try_ask(world, (from, to), AskKind::Request, payload, 30 * SECOND).expect("it can be asked")
}

/// The outcome of an ask, if it is known.
fn outcome(settled: &Receiver<Settled>) -> Option<Outcome> {
    settled.try_recv().ok().map(|settled| settled.outcome)
}

fn outcome_within(world: &mut World, limit: Duration, settled: &Receiver<Settled>) -> Outcome {
    world.run_until("an outcome", limit, |_| !settled.is_empty());
    outcome(settled).expect("it is there")
}

/// The answers to a query.
struct Answers {
    reader: Subscription<Results>,
    got: RefCell<Vec<Settled>>,
}

impl Answers {
    fn len(&self) -> usize {
        self.got.borrow_mut().extend(std::iter::from_fn(|| self.reader.try_recv().ok()));
        self.got.borrow().len()
    }

    fn take(&self) -> Vec<Settled> {
        self.len();
        self.got.take()
    }

    fn are_over(&self) -> bool {
        self.reader.try_recv() == Err(TryRecvError::Disconnected)
    }
}

/// Begins a query of all hosts that are up.
fn query(world: &mut World, from: usize, topic: &str, within: Duration) -> (Vec<Life>, Answers) {
    let to: Vec<_> = world.up().map(|host| life(world, host)).collect();
    let (topic, payload) = (topic.into(), (*b"what?").into());
    let new = NewAsk { kind: AskKind::Request, topic, payload, within };
    let asked = to.clone();
    let begun = world.drive_with(from, |endpoint, now| endpoint.query(now, asked, new));
    let (_, reader) = begun.expect("it can be asked");
    (to, Answers { reader, got: RefCell::default() })
}

fn silent(ended_by: EndedBy) -> Outcome {
    Err(QueryProblem::new(true, ended_by))
}

fn taken() -> Outcome {
    Ok(std::sync::Arc::default())
}

#[test]
fn a_message_is_in_the_mailbox_within_a_round_trip() {
    let mut world = cluster(3);
    world.run_for(10 * SECOND);
    let inbox = inbox(&mut world, 1);
    let settled = send(&mut world, 0, 1, b"hi");
    world.run_for(SECOND);
    let Settled { outcome, took, .. } = settled.try_recv().unwrap();
    assert_eq!(outcome, taken());
    let item = next_message(&inbox).unwrap();
    assert_eq!((item.from, &*item.topic, &*item.payload), (life(&world, 0), "jobs", &b"hi"[..]));
    assert!(inbox.try_recv().is_err());
    assert!(took < millis(2), "{took:?}");
}

#[test]
fn a_message_of_a_mebibyte_goes_by_stream_and_leaves_none() {
    let mut world = cluster(3);
    let inbox = inbox(&mut world, 1);
    for len in [1300, 1 << 20] {
        let payload: Vec<u8> = (0..len).map(|at: u32| (at % 251) as u8).collect();
        let settled = send(&mut world, 0, 1, &payload);
        world.run_for(SECOND);
        assert_eq!(outcome(&settled), Some(taken()), "{len}");
        assert_eq!(&*next_message(&inbox).unwrap().payload, payload);
    }
    world.run_for(SECOND);
    assert!((0..3).all(|host| world.node(host).metrics().open_streams == 0));
}

#[test]
fn a_node_sends_to_itself_and_answers_its_own_requests() {
    let mut world = cluster(2);
    let inbox = inbox(&mut world, 0);
    let settled = send(&mut world, 0, 0, &[7; 5000]);
    assert_eq!(outcome(&settled), Some(taken()));
    assert_eq!(next_message(&inbox).unwrap().payload.len(), 5000);
    let _tokens = serve(&mut world, 0);
    let settled = request(&mut world, 0, 0, b"?");
    let item = take(&mut world, 0).unwrap();
    assert_eq!(answer(&mut world, 0, &item, Status::Answered, &[8; 5000]), Ok(()));
    assert_eq!(outcome(&settled), Some(Ok(vec![8; 5000].into())));
}

#[test]
fn a_message_is_heard_only_from_a_live_member_that_shows_its_token() {
    let mut world = cluster(3);
    world.run_for(10 * SECOND);
    let inbox = inbox(&mut world, 1);
    let (from, to) = (life(&world, 0), life(&world, 1));
    let is_heard = |world: &mut World, name: &str, token: u32, id: u64| {
        let (epoch, life, payload) = (from.epoch, to.epoch, b"hi");
        let ask = Ask { epoch, slot: 0, id, life, kind: 0, within_ms: 1000, topic: "jobs", payload };
        let packet = forge::data_packet(name, token, &[DataMessage::Ask(ask)]);
        world.drive_with(1, |endpoint, now| endpoint.handle_datagram(now, addr(0), &packet));
        inbox.try_recv().is_ok()
    };
    let token_of = |world: &World, name| world.node(1).token_for(name, addr(0));
    let (token, of_a_stranger) = (token_of(&world, "n0"), token_of(&world, "stranger"));
    assert!(!is_heard(&mut world, "n0", 0, 1), "it shows none");
    assert!(!is_heard(&mut world, "n0", token ^ 1, 1), "it shows a wrong one");
    assert!(!is_heard(&mut world, "stranger", of_a_stranger, 1), "it is no member");
    assert!(is_heard(&mut world, "n0", token, 1));
    world.crash(0);
    world.run_until("a verdict", 120 * SECOND, |world| world.state(1, "n0") == Some(MemberState::Failed));
    assert!(!is_heard(&mut world, "n0", token, 2), "it has failed");
}

#[test]
fn a_member_that_cannot_be_asked_is_reported_at_once() {
    let mut world = cluster(3);
    assert_eq!(try_ask(&mut world, (0, 9), AskKind::Message, b"", SECOND).unwrap_err(), NotAsked::Unknown);
    world.leave_and_stop(2);
    world.run_for(SECOND);
    let refused = try_ask(&mut world, (0, 2), AskKind::Message, b"", SECOND).unwrap_err();
    assert_eq!(refused, NotAsked::NotLive(MemberState::Left));
    let settled = send(&mut world, 0, 1, b"nobody reads");
    assert_eq!(outcome_within(&mut world, SECOND, &settled), Err(QueryProblem::NoReader));
    let settled = request(&mut world, 0, 1, b"nobody serves");
    assert_eq!(outcome_within(&mut world, SECOND, &settled), Err(QueryProblem::NoReader));
}

#[test]
fn a_full_mailbox_is_the_senders_error() {
    let mut world = cluster(2);
    let inbox = inbox(&mut world, 1);
    let settled: Vec<_> = (0..1025)
        .map(|_| {
            let settled = send(&mut world, 0, 1, b"x");
            world.run_for(millis(10));
            outcome(&settled)
        })
        .collect();
    let count = settled.iter().filter(|outcome| **outcome == Some(taken())).count();
    assert_eq!((count, settled.last()), (1024, Some(&Some(Err(QueryProblem::Busy)))));
    assert_eq!(std::iter::from_fn(|| inbox.try_recv().ok()).count(), 1024);
}

#[test]
fn too_many_asks_of_one_member_are_the_callers_error() {
    let mut world = cluster(2);
    world.net.isolate([0]);
    let asked: Vec<_> =
        (0..128).map(|_| try_ask(&mut world, (0, 1), AskKind::Message, b"", SECOND).unwrap()).collect();
    let more = try_ask(&mut world, (0, 1), AskKind::Message, b"", SECOND).unwrap_err();
    assert_eq!(more, NotAsked::TooMany(TooMany::ToMember));
    world.run_for(SECOND + millis(1));
    let ended_by = EndedBy::Timeout;
    let late = [QueryProblem::Silent { ended_by }, QueryProblem::NotReached { ended_by }];
    assert!(asked.iter().all(|settled| late.contains(&outcome(settled).unwrap().unwrap_err())));
}

#[test]
fn a_request_is_answered_when_the_application_has_time() {
    let mut world = cluster(2);
    let tokens = serve(&mut world, 1);
    for (len, status) in [(3, Status::Answered), (1 << 20, Status::Answered), (3, Status::Refused)] {
        let settled = request(&mut world, 0, 1, b"?");
        world.run_for(7 * SECOND);
        assert_eq!(tokens.try_recv(), Ok(()));
        let item = take(&mut world, 1).unwrap();
        assert_eq!((&item.from, &*item.payload), (&life(&world, 0), &b"?"[..]));
        let payload = vec![b'a'; len];
        assert_eq!(answer(&mut world, 1, &item, status, &payload), Ok(()));
        let expected = match status {
            Status::Refused => Err(QueryProblem::Refused { reason: "aaa".into() }),
            _ => Ok(payload.clone().into()),
        };
        // The member tells the asker at once, not only at the asker's next poll.
        assert_eq!(outcome_within(&mut world, millis(200), &settled), expected);
        assert_eq!(answer(&mut world, 1, &item, status, b"again"), Err(TooLate));
    }
}

#[test]
fn a_request_that_is_dropped_or_has_lost_its_readers_is_reported() {
    let mut world = cluster(2);
    let _tokens = serve(&mut world, 1);
    let (dropped, waiting) = (request(&mut world, 0, 1, b"1"), request(&mut world, 0, 1, b"2"));
    world.run_for(SECOND);
    let item = take(&mut world, 1).unwrap();
    assert_eq!(answer(&mut world, 1, &item, Status::Dropped, b""), Ok(()));
    world.drive_with(1, |endpoint, now| endpoint.close_server(now, "jobs"));
    assert_eq!(outcome_within(&mut world, SECOND, &dropped), Err(QueryProblem::Dropped));
    assert_eq!(outcome_within(&mut world, SECOND, &waiting), Err(QueryProblem::NoReader));
}

#[test]
fn an_answer_comes_too_late_once_the_sender_has_given_up() {
    let mut world = cluster(2);
    let _tokens = serve(&mut world, 1);
    let taken = try_ask(&mut world, (0, 1), AskKind::Request, b"1", SECOND).unwrap();
    let waiting = try_ask(&mut world, (0, 1), AskKind::Request, b"2", SECOND).unwrap();
    world.run_for(millis(100));
    let item = take(&mut world, 1).unwrap();
    world.run_for(SECOND);
    assert_eq!(answer(&mut world, 1, &item, Status::Answered, b""), Err(TooLate));
    assert_eq!(take(&mut world, 1), None, "what nobody waits for is not for the application");
    for settled in [taken, waiting] {
        assert_eq!(outcome(&settled), Some(silent(EndedBy::Timeout)));
    }
}

#[test]
fn an_answer_that_gets_lost_is_asked_for() {
    let mut world = cluster(2);
    world.run_for(10 * SECOND);
    let _tokens = serve(&mut world, 1);
    let settled = request(&mut world, 0, 1, b"?");
    world.run_for(millis(100));
    let item = take(&mut world, 1).unwrap();
    world.net.cut.insert((1, 0));
    assert_eq!(answer(&mut world, 1, &item, Status::Answered, b"!"), Ok(()));
    world.run_for(millis(300));
    world.net.heal();
    assert_eq!(outcome_within(&mut world, 2 * SECOND, &settled), Ok((*b"!").into()));
}

#[test]
fn where_udp_is_filtered_messages_go_by_stream() {
    let mut world = World::new(3);
    world.net.no_udp = true;
    world.start_cluster(2, Config::lan);
    world.run_for(20 * SECOND);
    let inbox = inbox(&mut world, 1);
    let settled = send(&mut world, 0, 1, b"hi");
    assert_eq!(outcome_within(&mut world, SECOND, &settled), taken());
    assert!(inbox.try_recv().is_ok());
}

#[test]
fn members_that_have_not_met_meet_first() {
    let mut world = World::new(4);
    world.start_cluster(40, Config::lan);
    world.run_until("one view", 20 * SECOND, |world| world.all_see(40));
    let (asked, settled) = query(&mut world, 39, "syncswim/ping", 5 * SECOND);
    let took = world.run_until("all", 5 * SECOND, |_| settled.len() == asked.len());
    assert!(settled.take().iter().all(|one| one.outcome.is_ok()));
    println!("40 nodes, most of which have not met: {took:?}");
    assert!(took < millis(500), "{took:?}");
}

#[test]
fn a_query_of_32_idle_nodes_ends_with_the_last_answer() {
    let mut world = cluster(32);
    world.run_for(60 * SECOND);
    let (asked, settled) = query(&mut world, 5, "syncswim/info", 5 * SECOND);
    let took = world.run_until("all", SECOND, |_| settled.len() == asked.len());
    for one in settled.take() {
        let Ok(text) = one.outcome else { panic!("{one:?}") };
        assert!(String::from_utf8_lossy(&text).contains(&format!("name={}\n", one.to.name)));
    }
    println!("32 idle nodes: {took:?}");
    assert!(took < millis(50), "{took:?}");
    assert!(settled.are_over(), "nothing more can come");
}

/// Asks 40 nodes, each of which answers with a mebibyte.
fn large_answers(world: &mut World, within: Duration) -> Answers {
    let tokens: Vec<_> = (0..40).map(|host| serve(world, host)).collect();
    let (_, settled) = query(world, 0, "jobs", within);
    world.run_for(SECOND);
    for host in 0..40 {
        let item = take(world, host).unwrap();
        assert_eq!(answer(world, host, &item, Status::Answered, &[7; 1 << 20]), Ok(()));
    }
    drop(tokens);
    world.run_for(5 * SECOND);
    settled
}

#[test]
fn unread_answers_are_bounded_and_the_rest_come_once_they_are_read() {
    let mut world = cluster(40);
    world.run_for(10 * SECOND);
    let settled = large_answers(&mut world, 60 * SECOND);
    // One answer more than may be unread, and those in streams that were open by then.
    let bound = 9..=9 + 16;
    assert!(bound.contains(&settled.len()), "{}", settled.len());
    world.run_until("all", 20 * SECOND, |_| settled.len() == 40);
    assert!(settled.take().iter().all(|one| one.outcome.is_ok()));
    let settled = large_answers(&mut world, 20 * SECOND);
    world.run_for(20 * SECOND);
    let (came, others): (Vec<_>, Vec<_>) = settled.take().into_iter().partition(|one| one.outcome.is_ok());
    assert!(bound.contains(&came.len()) && came.len() + others.len() == 40, "{}", came.len());
    assert!(others.iter().all(|one| one.outcome == silent(EndedBy::Unread)), "{others:?}");
}

#[test]
fn a_member_that_dies_or_leaves_during_a_query_is_reported_before_its_end() {
    let mut world = cluster(8);
    world.run_for(10 * SECOND);
    let tokens: Vec<_> = (0..8).map(|host| serve(&mut world, host)).collect();
    let (asked, settled) = query(&mut world, 0, "jobs", 60 * SECOND);
    world.run_for(SECOND);
    world.crash(3);
    world.leave_and_stop(4);
    for host in [0, 1, 2, 5, 6, 7] {
        let item = take(&mut world, host).unwrap();
        assert_eq!(answer(&mut world, host, &item, Status::Answered, b"!"), Ok(()));
    }
    world.run_until("all", 20 * SECOND, |_| settled.len() == asked.len());
    let mut others: Vec<_> = settled.take().into_iter().filter(|one| one.outcome.is_err()).collect();
    others.sort_by(|a, b| a.to.name.cmp(&b.to.name));
    assert_eq!(others.iter().map(|one| &*one.to.name).collect::<Vec<_>>(), ["n3", "n4"]);
    assert_eq!(others[0].outcome, silent(EndedBy::Failure));
    assert_eq!(others[1].outcome, silent(EndedBy::Leave));
    drop(tokens);
}

#[test]
fn a_node_that_leaves_learns_at_once_what_became_of_its_open_calls() {
    let mut world = cluster(8);
    world.run_for(10 * SECOND);
    let tokens: Vec<_> = (1..8).map(|host| serve(&mut world, host)).collect();
    let asked = request(&mut world, 0, 1, b"?");
    world.net.isolate([2]);
    let large = try_ask(&mut world, (0, 2), AskKind::Request, &[7; 100_000], 30 * SECOND).unwrap();
    let (members, answers) = query(&mut world, 0, "jobs", 60 * SECOND);
    let reports: Vec<_> = [5, 5000]
        .map(|size| world.broadcast_confirmed(0, "t", &vec![7; size], 60 * SECOND))
        .into_iter()
        .collect();
    world.run_for(SECOND);
    assert!(asked.is_empty() && large.is_empty() && answers.len() < members.len());
    world.drive_with(0, |endpoint, now| endpoint.leave(now));
    let late = request(&mut world, 0, 1, b"one more");
    let abandoned = QueryProblem::new(false, EndedBy::Abandoned);
    assert_eq!(outcome(&asked), Some(silent(EndedBy::Abandoned)));
    let nothing_was_sent = Some(Err(abandoned));
    assert_eq!(outcome(&large), nothing_was_sent);
    assert_eq!(outcome(&late), nothing_was_sent);
    assert_eq!(answers.len(), members.len());
    assert!(answers.are_over());
    for report in reports {
        let outcome = report.try_recv().expect("it ends");
        assert_eq!(outcome.reached.len(), 6);
        assert!(matches!(&outcome.missing[..], [(life, Unconfirmed::Abandoned)] if *life.name == *"n2"));
    }
    world.run_for(10 * SECOND);
    let metrics = world.drive_with(0, |endpoint, _| endpoint.metrics());
    assert_eq!((metrics.open_asks, metrics.open_streams), (0, 0));
    drop(tokens);
}

#[test]
fn a_later_life_does_not_take_a_message_for_an_earlier_one() {
    let mut world = cluster(3);
    world.run_for(10 * SECOND);
    world.net.cut.insert((0, 1));
    let settled = send(&mut world, 0, 1, b"for your past life");
    world.restart(1);
    let inbox = inbox(&mut world, 1);
    world.net.heal();
    let outcome = outcome_within(&mut world, 10 * SECOND, &settled);
    assert_eq!(outcome, silent(EndedBy::Restart));
    world.run_for(10 * SECOND);
    assert!(inbox.try_recv().is_err());
}

#[test]
fn messages_to_a_paused_member_delay_no_probe_and_accuse_no_member() {
    let mut world = cluster(10);
    world.run_for(10 * SECOND);
    world.pause(1, 20 * SECOND);
    let settled: Vec<_> = (0..100).map(|_| send(&mut world, 0, 1, &[0; 2000])).collect();
    world.crash(2);
    let took = world.run_until("the verdict on the crash", 12 * SECOND, |world| {
        world.state(0, "n2") == Some(MemberState::Failed)
    });
    println!("with 100 messages under way to a paused member: {took:?}");
    assert_eq!(world.node(0).metrics().health_score, 0);
    let accused = |host: usize| world.state(0, &format!("n{host}")) != Some(MemberState::Alive);
    assert!((3..10).all(|host| !accused(host)));
    world.run_for(20 * SECOND);
    let over = |settled: &Receiver<Settled>| outcome(settled).is_some();
    assert!(settled.iter().all(over));
}

#[test]
fn an_unused_inbox_or_server_costs_nothing() {
    let mut used = cluster(5);
    let mut unused = cluster(5);
    let _inbox = inbox(&mut used, 1);
    let _tokens = serve(&mut used, 2);
    used.run_for(60 * SECOND);
    unused.run_for(60 * SECOND);
    assert_eq!(used.trace(), unused.trace());
}

#[test]
fn a_query_that_is_given_up_asks_no_further_member() {
    let mut world = cluster(3);
    let (_, answers) = query(&mut world, 0, "jobs", 3600 * SECOND);
    world.net.isolate([0]);
    let to = vec![life(&world, 1)];
    let new =
        || NewAsk { kind: AskKind::Request, topic: "jobs".into(), payload: [][..].into(), within: SECOND };
    let begin = |world: &mut World| {
        let (to, new) = (to.clone(), new());
        world.drive_with(0, |endpoint, now| endpoint.query(now, to, new))
    };
    let others: Vec<_> = (0..15).map(|_| begin(&mut world).unwrap()).collect();
    assert_eq!(begin(&mut world).unwrap_err(), TooMany::Queries);
    for (query, _) in &others {
        world.drive_with(0, |endpoint, now| endpoint.cancel_query(now, *query));
    }
    assert!(world.drive_with(0, |endpoint, _| endpoint.metrics().open_asks) <= 3);
    assert!(begin(&mut world).is_ok());
    drop(answers);
}

/// The time limit counts from the asker's call, not from anything that happened to the request later.
#[test]
fn a_request_is_awaited_no_longer_than_its_sender_said() {
    let mut world = cluster(2);
    world.run_for(10 * SECOND);
    let _tokens = serve(&mut world, 1);
    for _ in 0..20 {
        world.run_for(millis(433));
        let began = world.now();
        let settled = try_ask(&mut world, (0, 1), AskKind::Request, b"?", 2 * SECOND).unwrap();
        world.run_for(millis(100));
        let item = take(&mut world, 1).unwrap();
        let late = item.until.since(began + 2 * SECOND);
        assert!(late < millis(10), "{late:?} after its sender has given up");
        drop(settled);
    }
}

#[test]
fn an_answer_to_a_member_that_is_gone_is_too_late_and_its_requests_are_not_handed_out() {
    let mut world = cluster(3);
    let _tokens = serve(&mut world, 1);
    let both = [request(&mut world, 0, 1, b"1"), request(&mut world, 0, 1, b"2")];
    world.run_for(SECOND);
    let item = take(&mut world, 1).unwrap();
    world.crash(0);
    world.run_until("the verdict", 20 * SECOND, |world| world.state(1, "n0") == Some(MemberState::Failed));
    assert_eq!(answer(&mut world, 1, &item, Status::Answered, b"!"), Err(TooLate));
    assert_eq!(take(&mut world, 1), None);
    drop(both);
}

#[test]
fn a_node_that_comes_back_is_told_that_its_request_was_passed_over_meanwhile() {
    let mut world = cluster(3);
    world.run_for(10 * SECOND);
    let _tokens = serve(&mut world, 1);
    let settled = try_ask(&mut world, (0, 1), AskKind::Request, b"?", 600 * SECOND).unwrap();
    world.run_for(SECOND);
    world.pause(0, 30 * SECOND);
    world.run_until("the verdict", 30 * SECOND, |world| world.state(1, "n0") == Some(MemberState::Failed));
    assert_eq!(take(&mut world, 1), None);
    assert_eq!(outcome_within(&mut world, 60 * SECOND, &settled), Err(QueryProblem::Dropped));
}

/// A node hears from another that a later life of its own has failed, so it raises its epoch.
pub(super) fn raise_epoch(world: &mut World, host: usize, by: usize) {
    let next = life(world, host).epoch + 1;
    raise_epoch_to(world, host, by, next);
    assert!(life(world, host).epoch >= next);
}

/// As [`raise_epoch`], to any epoch. A node that is away does not answer.
pub(super) fn raise_epoch_to(world: &mut World, host: usize, by: usize, epoch: u64) {
    let own = life(world, host);
    let from = format!("n{by}");
    let failed = Failed { name: &own.name, epoch, incarnation: 0 };
    let token = world.node(host).token_for(&from, addr(by));
    world.disturbed();
    let packet = forge::proven_packet(&from, token, &[Message::Failed(failed)]);
    world.drive_with(host, |endpoint, now| endpoint.handle_datagram(now, addr(by), &packet));
}

#[test]
fn a_node_whose_epoch_rises_has_its_part_in_its_own_query_and_is_told_that_its_reader_went() {
    let mut world = cluster(20);
    world.run_for(10 * SECOND);
    let (asked, settled) = query(&mut world, 19, "syncswim/ping", 5 * SECOND);
    // Host 19 is asked last, a millisecond later.
    assert_eq!(asked[19], life(&world, 19));
    raise_epoch(&mut world, 19, 3);
    world.run_until("all", SECOND, |_| settled.len() == asked.len());
    assert!(settled.take().iter().all(|one| one.outcome.is_ok()));
    let _tokens = serve(&mut world, 1);
    let settled = request(&mut world, 19, 1, b"?");
    world.run_for(SECOND);
    raise_epoch(&mut world, 19, 3);
    world.run_for(SECOND);
    world.drive_with(1, |endpoint, now| endpoint.close_server(now, "jobs"));
    assert_eq!(outcome_within(&mut world, millis(100), &settled), Err(QueryProblem::NoReader));
}

#[test]
fn of_two_senders_of_one_name_each_that_is_told_so_has_its_message_there_once() {
    let mut world = cluster(3);
    world.run_for(10 * SECOND);
    let inbox = inbox(&mut world, 0);
    let twin = world.start(Config::lan("n1"), addr(9), vec![addr(0)]);
    let mut sent = Vec::new();
    for step in 0..60 {
        for host in [1, twin] {
            let said = [host as u8, step];
            let asked = try_ask(&mut world, (host, 0), AskKind::Message, &said, 10 * SECOND);
            sent.extend(asked.ok().map(|settled| (said.to_vec(), settled)));
        }
        world.run_for(millis(500));
    }
    world.run_for(20 * SECOND);
    let mut got: Vec<_> =
        std::iter::from_fn(|| next_message(&inbox)).map(|item| item.payload.to_vec()).collect();
    got.sort();
    assert!(got.windows(2).all(|pair| pair[0] != pair[1]), "{got:?}");
    let told: Vec<_> =
        sent.iter().filter(|(_, settled)| outcome(settled) == Some(taken())).map(|(said, _)| said).collect();
    assert!(told.len() >= 40 && told.iter().all(|said| got.contains(said)), "{} told, {got:?}", told.len());
}

/// Requests that were not yet sent when a member restarts go to its new life; requests that were sent do not, and the caller
/// is told which is the case.
#[test]
fn a_restart_is_no_failure() {
    let mut world = cluster(3);
    world.run_for(10 * SECOND);
    let _tokens = serve(&mut world, 1);
    let settled = request(&mut world, 0, 1, b"?");
    world.run_for(SECOND);
    world.restart(1);
    assert_eq!(outcome_within(&mut world, 10 * SECOND, &settled), silent(EndedBy::Restart));
}
