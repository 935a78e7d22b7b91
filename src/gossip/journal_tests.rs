//! The text of each line, and the number of lines.

use super::{
    super::pace::{EXAMPLES, MAX_MEMBERS, MEMBER_LINES, WINDOW_LINES},
    *,
};
use crate::{
    Accuser, Identity, Tags,
    log_line::{Line, Written},
};

/// A log that reads only warnings.
struct Quiet;

impl Sink for Quiet {
    fn is_on(&self, topic: Topic) -> bool {
        topic.level() <= log::Level::Warn
    }

    fn line(&mut self, line: Line<'_>) {
        panic!("nobody reads {line}");
    }
}

/// A node `me` whose members follow its events.
struct Bench {
    journal: Journal,
    directory: Directory,
    written: Written,
}

fn at(millis: u64) -> Time {
    Time::from_origin(Duration::from_millis(millis))
}

fn member(name: &str, state: MemberState, since: u64) -> Member {
    let mut node = crate::swim::Node::new(
        crate::swim::Config::local(name),
        crate::swim::Start::new(([127, 0, 0, 1], 7).into(), 5, 0),
        at(since),
    );
    let _ = node.poll_output();
    Member { state, ..node.local() }
}

fn joined(name: &str) -> Event {
    Event::Joined { member: member(name, MemberState::Alive, 0) }
}

fn failed_by(name: &str, since: u64, origin: Origin, accusers: &[&str]) -> Event {
    let accusers = accusers.iter().map(|name| Accuser::of(&Arc::from(*name), "me")).collect();
    let waited = Duration::from_millis(4_250);
    let verdict = Verdict { origin, accusers, suspected: None, waited };
    Event::Failed { member: member(name, MemberState::Failed, since), verdict }
}

impl Bench {
    fn new() -> Self {
        Self {
            journal: Journal::new("me", Duration::from_secs(1)),
            directory: Directory::of("a"),
            written: Written::default(),
        }
    }

    fn event(&mut self, now: u64, event: &Event) {
        self.journal.event(at(now), event, &self.directory, &mut self.written);
        self.directory.publish(event);
    }

    fn look(&mut self, now: u64, vitals: Vitals) {
        self.journal.look(at(now), vitals, &mut self.written);
    }

    /// The lines that were written since the last call.
    fn lines(&mut self) -> Vec<String> {
        std::mem::take(&mut self.written.0)
    }
}

#[test]
fn each_change_of_a_member_is_one_line_with_its_reasons() {
    let mut bench = Bench::new();
    let tags = Tags::new([("role", "db")]).unwrap();
    let tagged = Member { tags, ..member("c", MemberState::Alive, 0) };
    bench.event(10_000, &Event::Joined { member: tagged });
    bench.event(10_000, &joined("b"));
    let suspect = member("b", MemberState::Suspect, 11_000);
    bench.event(11_000, &Event::Suspected { member: suspect.clone() });
    let refuted =
        Member { identity: Identity { epoch: 5, incarnation: 3 }, ..member("b", MemberState::Alive, 12_500) };
    bench.event(12_500, &Event::Updated { member: refuted, previous: suspect });
    bench.event(20_000, &failed_by("b", 20_000, Origin::Own, &["me", "c", "d"]));
    bench.event(26_000, &Event::Joined { member: member("b", MemberState::Alive, 26_000) });
    bench.event(90_000, &failed_by("b", 90_000, Origin::Others, &[]));
    let again =
        Member { identity: Identity { epoch: 9, incarnation: 0 }, ..member("b", MemberState::Alive, 95_000) };
    bench.event(95_000, &Event::Joined { member: again });
    bench.event(96_000, &failed_by("c", 96_000, Origin::Successor, &["d"]));
    bench.event(
        97_000,
        &Event::Left { member: member("b", MemberState::Left, 97_000), origin: Origin::Others },
    );
    bench.event(
        97_000,
        &Event::Left { member: member("d", MemberState::Left, 97_000), origin: Origin::Member },
    );
    let removed = Member { removed_by: Some("x y".into()), ..member("c", MemberState::Left, 97_500) };
    bench.event(97_500, &Event::Left { member: removed, origin: Origin::Others });
    bench.event(98_000, &Event::Joined { member: member("d", MemberState::Alive, 98_000) });
    bench.event(99_000, &Event::Reaped { member: member("b", MemberState::Left, 97_000) });
    let updated = member("d", MemberState::Alive, 98_000);
    bench.event(99_000, &Event::Updated { member: updated.clone(), previous: updated });
    let expected = [
        "member joined name=c addr=127.0.0.1:7 tags=\"role=db\" node=me",
        "member joined name=b addr=127.0.0.1:7 tags=\"\" node=me",
        "member suspected name=b addr=127.0.0.1:7 node=me",
        "member refuted name=b addr=127.0.0.1:7 suspected=1.500s incarnation=3 node=me",
        "member failed name=b addr=127.0.0.1:7 verdict=own own_probe=true accused_by=me,c,d confirmed=2 waited=4.250s node=me",
        "member returned name=b addr=127.0.0.1:7 failed_for=6.000s restarted=false node=me",
        "member failed name=b addr=127.0.0.1:7 verdict=heard own_probe=false accused_by=\"\" confirmed=0 waited=4.250s node=me",
        "member returned name=b addr=127.0.0.1:7 failed_for=5.000s restarted=true node=me",
        "member failed name=c addr=127.0.0.1:7 verdict=restarted own_probe=false accused_by=d confirmed=0 waited=4.250s node=me",
        "member left name=b addr=127.0.0.1:7 said_by=others node=me",
        "member left name=d addr=127.0.0.1:7 said_by=itself node=me",
        "member removed name=c addr=127.0.0.1:7 removed_by=\"x y\" node=me",
        "member joined name=d addr=127.0.0.1:7 tags=\"\" node=me",
        "member reaped name=b addr=127.0.0.1:7 state=left node=me",
        "member updated name=d addr=127.0.0.1:7 tags=\"\" identity=5.0 node=me",
    ];
    assert_eq!(bench.lines(), expected);
}

#[test]
fn trouble_of_a_node_and_its_end_are_one_line_each() {
    let mut bench = Bench::new();
    let addr = SocketAddr::from(([127, 0, 0, 1], 7));
    let other = SocketAddr::from(([10, 0, 0, 9], 7946));
    let me = member("me", MemberState::Alive, 0);
    bench.event(1, &Event::Conflict { member: me, other });
    let members: Vec<Arc<str>> = vec!["a b".into(), "c".into()];
    for problem in [
        ReachProblem::Datagrams { members, count: 9 },
        ReachProblem::Unreachable { addr, observed: None },
        ReachProblem::AddressGone { addr },
    ] {
        bench.event(1, &Event::ReachabilityLost { problem: problem.clone() });
        bench.event(2, &Event::ReachabilityLost { problem: problem.clone() });
        bench.event(3, &Event::ReachabilityRestored { problem });
    }
    let problem = ReachProblem::Unreachable { addr, observed: Some(other) };
    bench.event(4, &Event::ReachabilityLost { problem });
    let vitals = Vitals { refutations: 2, incarnation: 4, ..Vitals::default() };
    bench.look(5, vitals);
    let vitals = Vitals { stalls: 1, health_score: 1, ..vitals };
    bench.look(6, Vitals { last_stall: Duration::from_millis(3_200), ..vitals });
    bench.look(7, Vitals { flaps_damped: 1, ..vitals });
    let expected = [
        "name conflict name=me addr=127.0.0.1:7 other=10.0.0.9:7946 node=me",
        "datagrams lost count=9 members=\"a b,c\" hint=\"only streams (TCP) get through; let UDP through, both ways\" node=me",
        "datagrams restored count=9 members=\"a b,c\" node=me",
        "address unreachable addr=127.0.0.1:7 observed=unknown hint=\"check advertise, and that firewalls let UDP and TCP in\" node=me",
        "address restored addr=127.0.0.1:7 node=me",
        "address gone addr=127.0.0.1:7 hint=\"give it back to this host, or restart with another advertise\" node=me",
        "address restored addr=127.0.0.1:7 node=me",
        "address unreachable addr=127.0.0.1:7 observed=10.0.0.9:7946 hint=\"check advertise, and that firewalls let UDP and TCP in\" node=me",
        "self refuted count=2 incarnation=4 node=me",
        "node stalled lasted=3.200s score=1 node=me",
        "node away hint=\"failed again while its own probes fail; it comes back once it is well\" node=me",
    ];
    assert_eq!(bench.lines(), expected);
}

#[test]
fn bad_health_is_told_once_when_it_lasts_and_when_it_is_over() {
    let mut bench = Bench::new();
    let score = |health_score| Vitals { health_score, ..Vitals::default() };
    bench.look(1_000, score(BAD_SCORE));
    bench.look(10_999, score(BAD_SCORE - 1));
    bench.look(11_000, score(7));
    bench.look(20_999, score(7));
    assert_eq!(bench.lines(), Vec::<String>::new(), "it did not last");
    for now in 21_000..22_000 {
        bench.look(now, score(BAD_SCORE));
    }
    assert_eq!(bench.lines(), ["health bad score=3 lasted=10.000s node=me"]);
    bench.look(23_000, score(1));
    bench.look(24_000, score(7));
    bench.look(60_000, score(7));
    assert_eq!(bench.lines(), Vec::<String>::new(), "it never was well");
    bench.look(61_000, score(0));
    bench.look(62_000, score(0));
    assert_eq!(bench.lines(), ["health recovered lasted=50.000s node=me"]);
}

#[test]
fn hundreds_of_changes_are_a_few_lines_and_a_summary_of_each_kind_once_a_second() {
    let mut bench = Bench::new();
    for n in 0..500 {
        bench.event(5_000 + n, &joined(&format!("n{n:03}")));
    }
    let lines = bench.lines();
    assert_eq!(lines.len(), WINDOW_LINES as usize);
    bench.look(5_999, Vitals::default());
    assert_eq!(bench.lines(), Vec::<String>::new());
    bench.look(6_000, Vitals::default());
    assert_eq!(bench.lines(), ["members joined count=480 within=1.000s examples=n020,n021,n022 node=me"]);
    // The storm goes on: only summaries are written.
    for n in 0..400 {
        let name = format!("n{n:03}");
        bench.event(6_100, &failed_by(&name, 6_100, Origin::Own, &[]));
        bench.event(6_500, &Event::Joined { member: member(&name, MemberState::Alive, 6_500) });
    }
    bench.event(6_900, &Event::Left { member: member("n499", MemberState::Left, 0), origin: Origin::Member });
    assert_eq!(bench.lines(), Vec::<String>::new());
    bench.look(7_100, Vitals::default());
    let lines = bench.lines();
    assert!(lines[0].starts_with("members returned count="), "{lines:?}");
    assert_eq!(lines[1], "members left count=1 within=1.100s examples=n499 node=me");
    assert!(lines[2].starts_with("members failed count="), "{lines:?}");
    assert_eq!(lines.len(), 3);
    // The storm is over: one quiet second later, single members have lines again.
    bench.look(8_100, Vitals::default());
    bench.event(8_200, &joined("late"));
    assert_eq!(bench.lines(), ["member joined name=late addr=127.0.0.1:7 tags=\"\" node=me"]);
}

#[test]
fn removals_and_refutations_of_many_are_summarised_by_kind() {
    let mut bench = Bench::new();
    for n in 0..30 {
        let name = format!("n{n:02}");
        let suspect = member(&name, MemberState::Suspect, 5_000);
        let identity = Identity { epoch: 5, incarnation: 3 };
        let refuted = Member { identity, ..member(&name, MemberState::Alive, 5_000) };
        bench.event(5_000, &Event::Updated { member: refuted, previous: suspect });
        let removed = Member { removed_by: Some("x".into()), ..member(&name, MemberState::Left, 5_000) };
        bench.event(5_000, &Event::Left { member: removed, origin: Origin::Others });
    }
    assert_eq!(bench.lines().len(), WINDOW_LINES as usize);
    bench.look(6_000, Vitals::default());
    let expected = [
        "members removed count=20 within=1.000s examples=n10,n11,n12 node=me",
        "members refuted count=20 within=1.000s examples=n10,n11,n12 node=me",
    ];
    assert_eq!(bench.lines(), expected);
}

#[test]
fn a_member_that_flaps_has_a_few_lines_a_minute_and_one_that_says_how_it_ended() {
    let mut bench = Bench::new();
    for n in 0..100 {
        let (down, up) = (100_000 + n * 500, 100_250 + n * 500);
        bench.event(down, &failed_by("b", down, Origin::Own, &["me"]));
        bench.event(up, &Event::Joined { member: member("b", MemberState::Alive, up) });
    }
    assert_eq!(bench.lines().len(), MEMBER_LINES as usize);
    bench.event(159_000, &joined("c"));
    assert_eq!(bench.lines().len(), 1, "another one has its own");
    bench.look(161_000, Vitals::default());
    assert_eq!(bench.lines(), ["member unsettled name=b changes=200 within=61.000s last=returned node=me"]);
    bench.event(162_000, &failed_by("b", 162_000, Origin::Own, &["me"]));
    assert_eq!(bench.lines().len(), 1, "a new minute");
}

/// The member's minute ends between two ticks of the common window: the counted changes are not lost.
#[test]
fn every_change_of_a_member_that_never_rests_is_counted_in_a_line() {
    let mut bench = Bench::new();
    let (mut told, mut changes) = (0, 0);
    for now in (100_000..400_000).step_by(700) {
        bench.event(now, &failed_by("b", now, Origin::Own, &["me"]));
        changes += 1;
        for line in bench.lines() {
            let counted =
                line.split("changes=").nth(1).map(|rest| rest.split(' ').next().unwrap().parse::<u64>());
            told += counted.map_or(u64::from(line.starts_with("member failed")), |count| {
                count.unwrap() - u64::from(MEMBER_LINES)
            });
        }
    }
    let open = 60_000 / 700 + 2;
    assert!(told + open >= changes, "{told} of {changes}");
}

#[test]
fn lines_that_are_held_back_are_written_when_the_node_ends() {
    let mut bench = Bench::new();
    for n in 0..=WINDOW_LINES {
        bench.event(2_000, &joined(&format!("n{n:03}")));
    }
    for n in 0..=u64::from(MEMBER_LINES) {
        bench.event(3_000 + n, &failed_by("n000", 3_000, Origin::Own, &[]));
    }
    bench.lines();
    let mut written = Written::default();
    bench.journal.finish(at(3_500), &mut written);
    let expected = [
        "members failed count=3 within=0.500s examples=n000 node=me",
        "member unsettled name=n000 changes=6 within=1.500s last=failed node=me",
    ];
    assert_eq!(written.0, expected);
}

#[test]
fn memory_is_bounded_however_many_members_there_are() {
    let mut bench = Bench::new();
    for n in 0..10_000_u64 {
        bench.event(n, &joined(&format!("n{n}")));
    }
    let lines = bench.lines();
    assert!(lines.len() < 2 * WINDOW_LINES as usize + 10, "{}", lines.len());
    assert_eq!(bench.journal.pace.sizes(), (MAX_MEMBERS, EXAMPLES));
}

#[test]
fn a_name_from_the_network_cannot_forge_a_line() {
    let mut bench = Bench::new();
    let hostile = "x\nmember failed name=\"y\" \u{1b}[31m\u{202e}";
    let mut stranger = member("x", MemberState::Alive, 0);
    stranger.name = hostile.into();
    bench.event(1, &Event::Joined { member: stranger.clone() });
    stranger.name = "\"".repeat(128).into();
    bench.event(2, &Event::Joined { member: stranger });
    bench.event(3, &failed_by("b", 3, Origin::Own, &[hostile, "a,b"]));
    let lines = bench.lines();
    assert_eq!(
        lines[0],
        r#"member joined name="x\nmember failed name=\"y\" \u001b[31m\u202e" addr=127.0.0.1:7 tags="" node=me"#
    );
    assert!(lines[2].contains(r#"a\\u002cb""#), "{}", lines[2]);
    assert!(lines.iter().all(|line| line.lines().count() == 1), "{lines:#?}");
    assert_eq!(lines.len(), 3);
}

#[test]
fn a_level_that_is_off_costs_nothing_and_warnings_come_all_the_same() {
    let mut bench = Bench::new();
    let event = joined("b");
    let counted = allocation_counter::measure(|| {
        bench.journal.event(at(1), &event, &bench.directory, &mut Quiet);
    });
    assert_eq!(counted.count_total, 0, "nothing was allocated");
    assert_eq!(bench.journal.pace.sizes(), (0, 0), "it was not even counted");
    bench.event(2, &joined("b"));
    assert_eq!(bench.lines().len(), 1);
}

/// The level of a topic decides whether its line is made at all.
#[test]
fn a_member_that_was_removed_has_another_line_than_one_that_left() {
    let left = member("b", MemberState::Left, 0);
    let removed = Member { removed_by: Some("c".into()), ..left.clone() };
    let topic = |member| topic_of(&Event::Left { member, origin: Origin::Others });
    assert!(topic(left) == Some(Topic::MemberLeft) && topic(removed) == Some(Topic::MemberRemoved));
}
