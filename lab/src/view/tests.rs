//! The pages of hand-written accounts.

use std::{process::Command, time::Duration};

use syncswim::{
    recording::mark,
    sim::World,
    swim::{Config, Event, Removal},
};

use super::{
    About,
    account::{Account, Content, Held, Seen},
    build::{MOST_CHANGES, build},
    run::{ACK, Belief, Fate, NACK, PING, PING_REQ, Run, SUSPECT},
};

/// When these runs begin, by the clock of the accounts.
const BEGAN: u64 = 1_700_000_000_000_000;
const SECOND: u64 = 1_000_000;

fn account(name: &str, end: u64) -> Account {
    let beliefs = ["a", "b", "c"].map(|subject| (BEGAN, subject.to_owned(), Belief::Alive)).to_vec();
    let lives = ["a", "b", "c"].map(|subject| (BEGAN, subject.to_owned(), 1)).to_vec();
    let (name, span) = (name.into(), (BEGAN, BEGAN + end));
    Account { name, span, lives, beliefs, ..Account::default() }
}

fn content(text: &str, kind: u8, target: Option<&str>) -> Content {
    Content { text: text.into(), kind, target: target.map(Into::into), claims: vec![] }
}

fn seen(at: u64, other: &str, hash: u64, content: Content) -> Seen {
    Seen { at: BEGAN + at, other: mark(other), hash, content }
}

fn held(at: u64, subject: &str, is_own: bool) -> Held {
    Held {
        at: BEGAN + at,
        subject: subject.into(),
        identity: (1, 0),
        belief: Belief::Failed,
        removed_by: None,
        is_own,
        accusers: vec!["a".into()],
        missed: false,
        text: "it did not refute in time".into(),
        standing: "this node: well".into(),
        seen: vec![(BEGAN + at - SECOND, "did not answer a probe".into())],
    }
}

fn three() -> [Account; 3] {
    let [mut a, mut b, c] = ["a", "b", "c"].map(|name| account(name, 20 * SECOND));
    for (account, at) in [(&mut a, 5 * SECOND), (&mut b, 6 * SECOND)] {
        account.beliefs.push((BEGAN + at, "c".into(), Belief::Suspect));
        account.beliefs.push((BEGAN + at + 4 * SECOND, "c".into(), Belief::Failed));
        account.held.push(held(at + 4 * SECOND, "c", true));
    }
    [a, b, c]
}

fn shown(accounts: &[Account]) -> Run {
    build(accounts, About { most_datagrams: 1000, ..About::default() })
}

/// Whether the first verdict is false, and why.
fn judged(accounts: &[Account]) -> (Option<bool>, String) {
    let verdict = shown(accounts).verdicts.swap_remove(0);
    (verdict.is_false, verdict.truth)
}

#[test]
fn observers_that_believe_the_same_share_one_verdict() {
    let run = shown(&three());
    let [verdict] = &run.verdicts[..] else { panic!("{:?}", run.verdicts) };
    assert_eq!((verdict.subject, verdict.observer, verdict.at, verdict.holders), (2, 0, 9 * SECOND, 2));
    assert_eq!(verdict.accusers, [0]);
    assert_eq!(verdict.told[0].seen, [(8 * SECOND, "did not answer a probe".to_owned())]);
    assert!(
        verdict.words.iter().any(|words| words == "The suspicion began 4.0 s before, at a."),
        "{:?}",
        verdict.words
    );
}

#[test]
fn a_verdict_is_false_if_the_recording_of_its_subject_goes_on() {
    let mut accounts = three();
    assert_eq!(
        judged(&accounts),
        (Some(true), "A false verdict: c ran. Its own recording goes on for 11.0 s after it.".into())
    );
    accounts[2].span.1 = BEGAN + 4 * SECOND;
    let ended =
        "Whether c ran, nobody knows: its own recording had ended 5.0 s before, and its end may be missing.";
    assert_eq!(judged(&accounts), (None, ended.into()));
    let run = shown(&accounts);
    assert!(run.summary.ends_with("verdicts: 1, of them false: 0, unknown: 1"), "{}", run.summary);
    accounts[2].is_whole = true;
    let ended = "c did not run: its own recording had ended 5.0 s before.";
    assert_eq!(judged(&accounts), (Some(false), ended.into()));
    let run = shown(&accounts);
    assert!(run.summary.ends_with("verdicts: 1, of them false: 0"), "{}", run.summary);
    let none = "There is no recording of c then: whether it ran, nobody knows.";
    assert_eq!(judged(&accounts[..2]), (None, none.into()));
}

#[test]
fn a_verdict_is_false_if_others_hear_of_its_subject_later() {
    let mut accounts = three();
    accounts[2].span.1 = BEGAN + 4 * SECOND;
    accounts[1].received = vec![seen(12 * SECOND, "c", 7, content("ping b", PING, Some("b")))];
    let ran = "A false verdict: c ran. b received a datagram from it 3.0 s after it.";
    assert_eq!(judged(&accounts), (Some(true), ran.into()));
    assert_eq!(judged(&accounts[..2]), (Some(true), ran.into()), "without a recording of its own");
    accounts[2].is_whole = true;
    assert_eq!(judged(&accounts), (Some(true), ran.into()), "a recording that was stopped");
    accounts[1].stalls = vec![(BEGAN + 8 * SECOND, BEGAN + 12 * SECOND)];
    assert_eq!(judged(&accounts).0, Some(false), "it was read late");
    accounts[1].stalls = vec![(BEGAN + 10 * SECOND, BEGAN + 12 * SECOND)];
    assert_eq!(judged(&accounts).0, Some(true));
    accounts[0].lives.push((BEGAN + 12 * SECOND, "c".into(), 2));
    assert_eq!(judged(&accounts).0, Some(false), "it may be of the next life");
    accounts[0].lives[3].0 = BEGAN + 14 * SECOND;
    assert_eq!(judged(&accounts).0, Some(true));
}

#[test]
fn only_the_same_life_of_the_subject_is_evidence() {
    let mut accounts = three().to_vec();
    accounts[2].span.1 = BEGAN + 4 * SECOND;
    let later = (BEGAN + 12 * SECOND, BEGAN + 20 * SECOND);
    accounts.push(Account { span: later, ..account("c", 20 * SECOND) });
    assert_eq!(judged(&accounts).0, Some(true), "its recording has a gap");
    accounts[3].lives = vec![(BEGAN + 12 * SECOND, "c".into(), 2)];
    assert_eq!(judged(&accounts).0, None, "it was started again later");
    accounts[3].span.0 = BEGAN + 8 * SECOND;
    accounts[3].lives[0].0 = BEGAN + 8 * SECOND;
    let before = "c did not run: it had been started again.";
    assert_eq!(judged(&accounts), (Some(false), before.into()));
}

#[test]
fn who_was_removed_did_not_leave_on_purpose() {
    let mut accounts = three();
    for account in &mut accounts[..2] {
        account.held[0].belief = Belief::Left;
    }
    assert_eq!(judged(&accounts), (Some(false), "c left on purpose.".into()));
    for account in &mut accounts[..2] {
        account.held[0].removed_by = Some("a".into());
    }
    let ran = "c was removed by a. A false verdict: c ran. Its own recording goes on for 11.0 s after it.";
    assert_eq!(judged(&accounts), (Some(true), ran.into()));
    accounts[2].span.1 = BEGAN + 4 * SECOND;
    accounts[2].is_whole = true;
    let ended = "c was removed by a. c did not run: its own recording had ended 5.0 s before.";
    assert_eq!(judged(&accounts), (Some(false), ended.into()));
}

#[test]
fn a_verdict_about_a_member_that_had_left_is_not_false() {
    let mut accounts = three();
    accounts[2].beliefs.push((BEGAN + 3 * SECOND, "c".into(), Belief::Left));
    assert_eq!(judged(&accounts), (Some(false), "c had left on purpose 6.0 s before.".into()));
}

#[test]
fn the_story_counts_those_who_decided_and_names_those_whose_own_probes_failed() {
    let mut accounts = three();
    accounts[1].held[0].missed = true;
    let words = &shown(&accounts).verdicts[0].words;
    assert!(words[0].ends_with("At all of them the suspicion ran out."), "{words:?}");
    let missed = "Probes failed at b as well; enough others had accused it already.";
    assert!(words.iter().any(|words| words == missed), "{words:?}");
    accounts[1].held[0].is_own = false;
    let words = &shown(&accounts).verdicts[0].words;
    assert!(words[0].ends_with("At 1 of them the suspicion ran out; others were told."), "{words:?}");
}

#[test]
fn a_page_stays_below_20_megabytes_and_says_what_is_left_out() {
    let mut accounts = three();
    let long = "x".repeat(1000);
    for i in 0..20_000 {
        let text = content(&format!("{i}{long}"), PING, Some("b"));
        accounts[0].sent.push(seen(15 * SECOND + i, "b", i, text));
    }
    for observer in [0, 1] {
        accounts[observer].held[0].seen = vec![(BEGAN, long.clone()); 5000];
    }
    let run = build(&accounts, About { most_datagrams: usize::MAX, ..About::default() });
    assert!(run.flights.len() > 5000);
    assert!(super::page(&run).len() < 20_000_000);
    let [explanations, datagrams] = &run.left_out[..] else { panic!("{:?}", run.left_out) };
    assert!(explanations.ends_with("1 explanations"), "{explanations}");
    assert!(datagrams.contains(" of 20000 datagrams"), "{datagrams}");
}

#[test]
fn of_too_many_changes_the_last_stay_and_what_was_believed_before_them() {
    let mut accounts = three();
    let flip = |i: u64| {
        let belief = if i.is_multiple_of(2) { Belief::Suspect } else { Belief::Alive };
        (BEGAN + SECOND + 10 * i, "b".to_owned(), belief)
    };
    let last = accounts[0].beliefs.split_off(3);
    accounts[0].beliefs.extend((0..MOST_CHANGES as u64).map(flip));
    accounts[0].beliefs.extend(last);
    let over = accounts.iter().map(|account| account.beliefs.len()).sum::<usize>() - MOST_CHANGES;
    let run = shown(&accounts);
    // Nine were believed from the beginning, and the rest of the first ones are of `b`.
    assert_eq!((run.start, run.end), (SECOND + 10 * (over as u64 - 9), 20 * SECOND));
    let (before, kept) = run.changes.split_at(9);
    assert_eq!(kept.len(), MOST_CHANGES);
    assert!(before.iter().all(|change| (change.at, change.belief) == (run.start, Belief::Alive)));
    assert_eq!(run.verdicts.len(), 1, "it came last");
    assert_eq!(run.verdicts[0].suspected, Some(5 * SECOND));
    assert!(run.nodes.iter().all(|node| node.recorded == [(run.start, 20 * SECOND)]));
    let [changes, marks] = &run.left_out[..] else { panic!("{:?}", run.left_out) };
    assert!(changes.starts_with("all before 1.0 s: "), "{changes}");
    assert!(marks.starts_with("the first "), "{marks}");
    assert!(run.marks.iter().any(|mark| mark.text.starts_with("a suspects c")));
}

#[test]
fn a_datagram_arrived_was_lost_or_nobody_knows() {
    let ping = || content("ping c", PING, Some("c"));
    let mut accounts = three();
    accounts[0].sent = vec![seen(10, "b", 7, ping()), seen(20, "b", 7, ping()), seen(30, "c", 8, ping())];
    // One delivered twice, one lost, and one whose sender was not recorded yet.
    accounts[1].received = vec![seen(15, "a", 7, ping()), seen(40, "c", 9, content("ack", ACK, None))];
    let fates = |run: &Run| run.flights.iter().map(|flight| (flight.sent, flight.fate)).collect::<Vec<_>>();
    let run = shown(&accounts);
    let all = [(10, Fate::Arrived), (20, Fate::Lost), (30, Fate::Lost), (40, Fate::Unsent)];
    assert_eq!(fates(&run), all);
    assert_eq!(run.flights[0].took, 5);
    let run = shown(&accounts[..2]);
    assert_eq!(fates(&run)[2], (30, Fate::Unseen));
}

#[test]
fn what_its_receiver_could_not_record_is_not_lost() {
    let mut accounts = three().to_vec();
    let of_b = |from: u64, to: u64| Account {
        span: (BEGAN + from * SECOND, BEGAN + to * SECOND),
        ..account("b", 0)
    };
    accounts[1] = of_b(2, 4);
    accounts.push(of_b(6, 8));
    accounts[0].sent =
        (1..=9).map(|at| seen(at * SECOND, "b", at, content("ping b", PING, Some("b")))).collect();
    let run = shown(&accounts);
    let lost =
        run.flights.iter().filter(|flight| flight.fate == Fate::Lost).map(|flight| flight.sent / SECOND);
    assert_eq!(lost.collect::<Vec<_>>(), [2, 6], "at 3 and 7 it may have been under way");
    assert!(run.flights.iter().all(|flight| matches!(flight.fate, Fate::Lost | Fate::Unseen)));
}

#[test]
fn what_is_delivered_twice_is_one_datagram() {
    let mut accounts = three();
    accounts[0].sent = vec![seen(10, "b", 7, Content::default())];
    accounts[1].received = vec![seen(15, "a", 7, Content::default()), seen(99, "a", 7, Content::default())];
    let run = shown(&accounts);
    assert_eq!(run.flights.len(), 1);
    assert_eq!(run.flights[0].took, 5);
}

#[test]
fn a_one_way_link_relays_and_stalls_are_said_in_words() {
    let mut accounts = three();
    for i in 0..4 {
        let ping = |of: &str| content("ping", PING, Some(of));
        accounts[0].sent.push(seen(5 * SECOND + i, "c", i, ping("c")));
        accounts[2].sent.push(seen(5 * SECOND + i, "a", 10 + i, ping("a")));
        accounts[0].received.push(seen(5 * SECOND + 9 + i, "c", 10 + i, ping("a")));
    }
    accounts[0].sent.push(seen(6 * SECOND, "b", 50, content("ping-req c", PING_REQ, Some("c"))));
    accounts[1].sent.push(seen(7 * SECOND, "a", 51, content("nack", NACK, None)));
    accounts[0].received.push(seen(7 * SECOND + 9, "b", 51, content("nack", NACK, None)));
    accounts[2].stalls.push((BEGAN + 4 * SECOND, BEGAN + 7 * SECOND));
    let words = &shown(&accounts).verdicts[0].words;
    for said in [
        "a asked b to ping it: requests 1, nacks 1.",
        "c was held up for 3.0 s, from 4.0 s on.",
        "One way only: of 4 datagrams from a to c none arrived, of 4 from c to a 4 did.",
    ] {
        assert!(words.iter().any(|words| words == said), "{said}: {words:?}");
    }
}

#[test]
fn of_too_many_datagrams_those_around_the_verdict_stay_and_the_others_are_counted() {
    let mut accounts = three();
    let claim = Content { claims: vec![("c".into(), SUSPECT)], ..content("suspect c", 0, None) };
    for i in 0..100 {
        accounts[0].sent.push(seen(15 * SECOND + i, "b", i, content("ping b", PING, Some("b"))));
        accounts[1].sent.push(seen(8 * SECOND + i, "a", 200 + i, content("ping a", PING, Some("a"))));
        accounts[1].sent.push(seen(7 * SECOND + i, "a", 400 + i, claim.clone()));
    }
    let run = build(&accounts, About { most_datagrams: 150, ..About::default() });
    let of = |text: &str| run.flights.iter().filter(|flight| run.texts[flight.text].text == text).count();
    assert_eq!((of("suspect c"), of("ping a"), of("ping b")), (100, 50, 0));
    assert_eq!(run.texts.len(), 2);
    assert_eq!(run.windows, [(2 * SECOND, 10 * SECOND)]);
    assert!(run.left_out[0].starts_with("150 of 300 datagrams"), "{:?}", run.left_out);
}

/// The page of a recorded world, whose recordings are whole.
fn recorded(world: &mut World) -> Run {
    let recordings = world.recordings();
    let (accounts, problems) = super::accounts(&recordings, &vec![0; recordings.len()], true);
    assert_eq!(problems, [""; 0]);
    build(&accounts, About { most_datagrams: usize::MAX, ..About::default() })
}

/// A cluster that was recorded for ten seconds.
fn cluster(seed: u64, nodes: usize) -> World {
    let mut world = World::new(seed);
    world.record(64 << 20);
    world.start_cluster(nodes, Config::lan);
    world.run_for(Duration::from_secs(10));
    world
}

/// A recorded run of five nodes, of which one crashes and one is held up; and its page.
fn simulated() -> (World, Run) {
    let mut world = cluster(4, 5);
    world.crash(3);
    world.pause(1, Duration::from_secs(12));
    world.run_for(Duration::from_secs(40));
    let run = recorded(&mut world);
    (world, run)
}

#[test]
fn the_end_of_a_recording_is_no_proof_that_its_process_ended() {
    let (mut world, _) = simulated();
    let recordings = world.recordings();
    let (accounts, _) = super::accounts(&recordings, &vec![0; recordings.len()], false);
    let run = shown(&accounts);
    assert!(!run.verdicts.is_empty());
    for verdict in &run.verdicts {
        let is_crashed = run.nodes[verdict.subject].name == "n3";
        assert_eq!(verdict.is_false, if is_crashed { None } else { Some(true) }, "{}", verdict.truth);
    }
}

#[test]
fn of_many_verdicts_the_last_are_explained() {
    let mut world = cluster(5, 20);
    (2..20).for_each(|host| world.crash(host));
    let is_failed = |(_, event): &&(_, Event)| matches!(event, Event::Failed { .. });
    let failed = |world: &World| world.hosts[0].events.iter().filter(is_failed).count();
    world.run_until("verdict about each", Duration::from_secs(1200), |world| failed(world) >= 18);
    let recordings = world.recordings();
    let (accounts, _) = super::accounts(&recordings, &vec![0; recordings.len()], true);
    let held = &accounts[0].held;
    assert!(held.len() >= 18);
    let (first, last) = held.split_at(held.len() - 16);
    assert!(first.iter().all(|held| held.seen.is_empty() && held.standing.is_empty()));
    assert!(last.iter().all(|held| !held.seen.is_empty() && !held.standing.is_empty()));
}

#[test]
fn a_member_that_was_started_again_did_not_run_as_it_was_before() {
    let mut world = cluster(4, 5);
    world.restart(3);
    world.run_for(Duration::from_secs(20));
    let run = recorded(&mut world);
    assert!(!run.verdicts.is_empty());
    for verdict in &run.verdicts {
        assert_eq!((verdict.subject, verdict.is_false), (3, Some(false)), "{}", verdict.truth);
    }
}

#[test]
fn a_member_that_crashed_and_was_removed_did_not_run() {
    let mut world = cluster(4, 5);
    world.crash(3);
    world.run_for(Duration::from_secs(40));
    world.with(0, |node, now| node.remove(now, "n3", Removal::Leave)).unwrap();
    world.run_for(Duration::from_secs(10));
    let run = recorded(&mut world);
    let removed = run.verdicts.iter().find(|verdict| verdict.belief == Belief::Left).expect("it was removed");
    assert_eq!((removed.removed_by.as_deref(), removed.is_false), (Some("n0"), Some(false)));
    assert!(removed.truth.starts_with("n3 was removed by n0. n3 did not run: "), "{}", removed.truth);
}

#[test]
fn a_page_tells_what_its_simulation_did() {
    let (world, run) = simulated();
    let mut happened = Vec::new();
    for (at, observer, event) in world
        .hosts
        .iter()
        .flat_map(|host| host.events.iter().map(|(at, event)| (*at, host.config.name.clone(), event)))
    {
        let Event::Failed { member, .. } = event else { continue };
        let began = world.now().since_origin() - Duration::from_secs(50);
        happened.push(((at.since_origin() - began).as_micros() as u64, observer, member.name.to_string()));
    }
    let name = |node: usize| run.nodes[node].name.clone();
    let failed = run.changes.iter().filter(|change| change.belief == Belief::Failed);
    let mut shown: Vec<_> =
        failed.map(|change| (change.at, name(change.observer), name(change.subject))).collect();
    happened.sort();
    shown.sort();
    assert!(!happened.is_empty());
    assert_eq!(shown, happened);
    assert_eq!(run.verdicts.iter().map(|verdict| verdict.holders).sum::<usize>(), happened.len());
    for verdict in &run.verdicts {
        assert_eq!(verdict.is_false, Some(name(verdict.subject) != "n3"), "{}", verdict.truth);
        assert!(verdict.told.iter().all(|told| !told.seen.is_empty()));
        assert!(!verdict.accusers.is_empty(), "{}", verdict.truth);
    }
    assert!(run.verdicts.iter().any(|verdict| verdict.accusers.contains(&verdict.observer)));
    assert_eq!(run.flights.len() as u64, world.datagrams());
    let [(from, to)] = run.nodes[1].stalls[..] else { panic!("{:?}", run.nodes[1].stalls) };
    assert!(
        to - from > 10 * SECOND,
        "it was held up for 12 s, of which a second may pass until its next timer"
    );
}

#[test]
fn the_data_in_the_page_are_those_of_the_run() {
    let (_, run) = simulated();
    let page = super::page(&run);
    let (_, data) = page.split_once("id=\"run\">").unwrap();
    let data: serde_json::Value = serde_json::from_str(data.split_once("</script").unwrap().0).unwrap();
    let sums = |of: &serde_json::Value| {
        let mut sum = 0;
        of.as_array()
            .unwrap()
            .iter()
            .map(|delta| {
                sum += delta.as_u64().unwrap();
                sum
            })
            .collect::<Vec<_>>()
    };
    assert_eq!(sums(&data["beliefs"]["at"]), run.changes.iter().map(|change| change.at).collect::<Vec<_>>());
    assert_eq!(
        sums(&data["datagrams"]["sent"]),
        run.flights.iter().map(|flight| flight.sent).collect::<Vec<_>>()
    );
    let verdicts = data["verdicts"].as_array().unwrap();
    assert_eq!(verdicts.len(), run.verdicts.len());
    for (shown, verdict) in verdicts.iter().zip(&run.verdicts) {
        assert_eq!((&shown["subject"], &shown["at"]), (&verdict.subject.into(), &verdict.at.into()));
        assert_eq!(
            (&shown["false"], &shown["truth"]),
            (&verdict.is_false.into(), &verdict.truth.as_str().into())
        );
    }
}

/// A page as a browser shows it once its program has run; none if there is no browser.
fn in_browser(name: &str, page: &str) -> Option<String> {
    let found = Command::new("chromium").arg("--version").output();
    if !found.is_ok_and(|found| found.status.success()) {
        eprintln!("skipped: chromium is not installed, or does not run");
        return None;
    }
    let file = std::env::temp_dir().join(format!("view-{name}-{}.html", std::process::id()));
    std::fs::write(&file, page).unwrap();
    let options = ["--headless", "--no-sandbox", "--disable-gpu", "--virtual-time-budget=5000", "--dump-dom"];
    let shown =
        Command::new("chromium").args(options).arg(format!("file://{}", file.display())).output().unwrap();
    std::fs::remove_file(&file).unwrap();
    let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
    assert!(shown.contains("data-ready=\"true\""), "the program of the page failed: {shown:.2000}");
    Some(shown)
}

#[test]
fn the_page_works_in_a_browser() {
    let Some(shown) = in_browser("crash", &super::page(&simulated().1)) else { return };
    assert!(shown.contains("n3 did not run"));
}

/// A cluster of nine without trouble has more pairs than have a row each, and no row at all.
#[test]
fn a_key_that_finds_no_row_is_no_error() {
    let mut world = cluster(4, 9);
    let press = r#"<script>
addEventListener("error", () => { document.body.dataset.failed = "true"; });
byId("beliefs").dispatchEvent(new KeyboardEvent("keydown", { key: "ArrowDown" }));
document.body.dataset.pressed = chart.rows.length;
</script></body>"#;
    let page = super::page(&recorded(&mut world)).replace("</body>", press);
    let Some(shown) = in_browser("key", &page) else { return };
    assert!(shown.contains("data-pressed=\"0\"") && !shown.contains("data-failed=\"true\""), "{shown:.2000}");
}
