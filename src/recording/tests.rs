//! Recordings match the runs, and any file is read or refused.

use std::{io::Cursor, time::Duration};

use super::{Header, Recording, Unreadable, Writer, core_hash};
use crate::{
    sim::{Theme, World, search::Schedule},
    swim::{Config, Event, Origin, Refused, Time},
};

fn replayed(recording: &Recording) -> usize {
    let steps: Result<Vec<_>, _> = recording.replay().collect();
    steps.unwrap_or_else(|difference| panic!("{difference}")).len()
}

/// Three nodes for a minute, of which one fails.
fn recorded(limit: u64) -> World {
    let mut world = World::new(3);
    world.record(limit);
    world.start_cluster(4, Config::lan);
    world.run_for(Duration::from_secs(30));
    world.crash(3);
    world.run_for(Duration::from_secs(60));
    world
}

#[test]
fn a_replay_gives_the_recorded_outputs() {
    let mut world = recorded(1 << 24);
    let recordings = world.recordings();
    assert_eq!(recordings.len(), 4);
    for recording in &recordings {
        assert!(replayed(recording) > 100);
    }
    let mut replay = recordings[0].replay();
    assert!(replay.by_ref().all(|step| step.is_ok()));
    assert_eq!(replay.node().members(), world.node(0).members());
    assert_eq!(replay.node().metrics(), world.node(0).metrics());
}

#[test]
fn after_the_ring_has_wrapped_the_latest_history_is_replayed() {
    let mut world = recorded(0);
    world.run_for(Duration::from_secs(20_000));
    for recording in world.recordings().iter().take(3) {
        let first = recording.segments()[0].number();
        assert!(first > 2, "the first is {first}");
        assert_eq!(recording.segments().len(), 4);
        assert!(recording.damage().is_empty(), "{:?}", recording.damage());
        assert!(recording.segments()[1..].iter().all(|segment| segment.follows()));
        replayed(recording);
    }
}

/// `cargo run --release -p lab --bin replay -- --random 1000` does the same with more seeds.
#[test]
fn random_runs_are_replayed_in_every_output() {
    for seed in 0..4 {
        for theme in Theme::ALL {
            let config = |name| theme.config(seed, name);
            // The smaller one wraps.
            for limit in [0, 1 << 24] {
                for recording in Schedule::draw(seed, theme).recordings(config, limit) {
                    assert!(recording.damage().is_empty(), "{:?}", recording.damage());
                    for segment in 0..recording.segments().len() {
                        let differs = recording.replay_from(segment).find_map(Result::err);
                        assert_eq!(differs, None, "seed {seed}, {}, {}", theme.name(), recording.name());
                    }
                }
            }
        }
    }
}

#[test]
fn a_replay_fails_at_the_first_difference_and_says_which() {
    let mut world = recorded(1 << 24);
    let recording = world.recordings().swap_remove(0);
    let mut differing = recording.clone();
    // The first address that a datagram was sent to gets another port.
    let sent = recording.replay().flatten().find(|step| !step.sent.is_empty()).expect("it sends");
    let bytes = sent.sent[0].bytes.to_vec();
    let content = &mut differing.segments[0].content;
    let at = content.windows(bytes.len()).position(|window| window == bytes).expect("it is there");
    content[at + 17] ^= 1;
    let difference = differing.replay().find_map(Result::err).expect("it is found");
    assert!(difference.recorded.starts_with("a datagram to 10.0.0."), "{difference}");
    assert_ne!(difference.recorded, difference.replayed);
    assert_eq!(difference.at, sent.at);
    assert_eq!(difference.builds, None);
    assert!(difference.to_string().contains("other versions of fastrand and postcard"), "{difference}");
}

#[test]
fn a_replay_by_another_build_says_so() {
    let mut world = recorded(1 << 24);
    let mut recording = world.recordings().swap_remove(0);
    recording.header.core ^= 1;
    let content = &mut recording.segments[0].content;
    content.truncate(content.len() - 1);
    let difference = recording.replay().find_map(Result::err).expect("it ends in the midst of an entry");
    assert!(difference.to_string().contains("build the sources that recorded it"), "{difference}");
}

/// A file cut anywhere, or with a bit that is turned, is refused or read as far as it is whole: a step that is read is one
/// that was recorded.
#[test]
fn a_damaged_file_is_read_as_far_as_it_is_whole_or_refused() {
    let mut world = recorded(1 << 18);
    let file = world.recorded_file(1);
    let whole = Recording::parse(&file).unwrap();
    let steps = replayed(&whole);
    let look = |bytes: &[u8]| -> Result<(), Unreadable> {
        let recording = Recording::parse(bytes)?;
        for step in recording.replay() {
            step.unwrap_or_else(|difference| panic!("{difference}"));
        }
        Ok(())
    };
    let (mut refused, mut damaged) = (0, 0);
    let mut rng = fastrand::Rng::with_seed(5);
    for _ in 0..200 {
        let cut = rng.usize(..file.len());
        refused += usize::from(look(&file[..cut]).is_err());
        let mut flipped = file.clone();
        flipped[rng.usize(..file.len())] ^= 1 << rng.u32(..8);
        match Recording::parse(&flipped) {
            Err(_) => refused += 1,
            Ok(recording) => damaged += usize::from(!recording.damage().is_empty()),
        }
        _ = look(&flipped);
    }
    assert!(refused > 10 && damaged > 10, "{refused} refused, {damaged} damaged, {steps} steps");
    for (bytes, problem) in [
        (&b""[..], "it is too short for a recording"),
        (b"#!/bin/sh\n", "it is not a recording of syncswim"),
        (b"swimrec\x09 and more", "its layout has version 9; this program knows 2"),
        (&file[..100.min(file.len())], "its header is damaged"),
    ] {
        let error = Recording::parse(bytes).unwrap_err().to_string();
        assert!(error.starts_with(problem) || error.starts_with("it holds no whole segment"), "{error}");
    }
}

/// The layout of segments may be another one, too, so that none is found.
#[test]
fn a_file_without_segments_says_why() {
    let empty = Writer::new(Cursor::new(Vec::new()), "a", 1 << 20).unwrap();
    let mut recording = empty.get_ref().get_ref().clone();
    let problem = |file: &[u8]| Recording::parse(file).unwrap_err().to_string();
    assert_eq!(problem(&recording), "it holds no whole segment");
    let header = Header { core: core_hash() ^ 1, ..postcard::from_bytes(&recording[16..]).unwrap() };
    let header = postcard::to_stdvec(&header).unwrap();
    recording[8..12].copy_from_slice(&(header.len() as u32).to_le_bytes());
    recording[12..16].copy_from_slice(&crc32fast::hash(&header).to_le_bytes());
    recording[16..16 + header.len()].copy_from_slice(&header);
    let problem = problem(&recording);
    assert!(problem.starts_with("what is in it cannot be read by this build"), "{problem}");
}

/// A header whose checksum is right, and segments of any number.
#[test]
fn a_forged_header_or_number_is_no_panic_and_nothing_for_a_terminal() {
    for name in ["\x1b[2J", ""] {
        let file = Writer::new(Cursor::new(Vec::new()), name, 0).unwrap();
        let error = Recording::parse(file.get_ref().get_ref()).unwrap_err().to_string();
        assert_eq!(error, "its header is not a name and a version");
    }
    let mut node = recorded(1 << 24).recordings()[0].replay().into_node();
    node.start_recording(1 << 20, Box::new(|chunk| Err(Refused::Full(chunk))));
    let mut chunks = node.stop_recording();
    let mut file = Writer::new(Cursor::new(Vec::new()), "me", 0).unwrap();
    for segment in [u64::MAX, u64::MAX - 3, 0] {
        chunks[0].segment = segment;
        file.write(&chunks[0], 0, Time::ZERO).unwrap();
    }
    let recording = Recording::parse(file.get_ref().get_ref()).unwrap();
    assert!(recording.segments().iter().all(|segment| !segment.follows()));
    replayed(&recording);
}

/// Blocks with right checksums may hold any content: made-up content ends in an error, too.
#[test]
fn a_forged_state_or_entry_is_no_panic() {
    let mut world = recorded(1 << 24);
    let recording = world.recordings().swap_remove(1);
    let mut rng = fastrand::Rng::with_seed(9);
    for _ in 0..300 {
        let mut forged = recording.clone();
        let content = &mut forged.segments[0].content;
        let at = rng.usize(..content.len());
        content[at] ^= 1 << rng.u32(..8);
        if forged.segments[0].state().is_some() {
            forged.replay().for_each(drop);
        }
    }
}

/// With longer suspicions a member that crashed fails later; with the same configuration nothing differs.
/// As a process is whose timers fire late.
#[test]
fn the_same_configuration_changes_nothing_however_late_timers_fired() {
    let mut world = World::new(6);
    world.record(1 << 24);
    world.start_cluster(3, Config::lan);
    for pause in [30, 700, 4000] {
        world.run_for(Duration::from_secs(5));
        world.pause(1, Duration::from_millis(pause));
        world.run_for(Duration::from_secs(10));
    }
    for recording in world.recordings() {
        let same = recording.what_if(&Config::lan(recording.name())).unwrap();
        assert_eq!((same.recorded == same.changed, same.parted), (true, None), "{}", recording.name());
    }
}

#[test]
fn a_replay_with_another_configuration_shows_the_differences() {
    let mut world = recorded(1 << 24);
    let verdict = |events: &[(Time, Event)]| {
        let failed =
            |event: &Event| matches!(event, Event::Failed { verdict, .. } if verdict.origin == Origin::Own);
        events.iter().find(|(_, event)| failed(event)).map(|(at, _)| *at)
    };
    let mut judges = 0;
    for recording in world.recordings() {
        let config = Config::lan(recording.name());
        let same = recording.what_if(&config).unwrap();
        assert_eq!((same.recorded == same.changed, same.parted), (true, None));
        // A node that detected the crash by itself would have waited longer.
        let slower = Config { suspicion_mult: 40, suspicion_max_mult: 1, ..config };
        let answer = recording.what_if(&slower).unwrap();
        if let Some(recorded) = verdict(&answer.recorded) {
            judges += 1;
            let changed = verdict(&answer.changed);
            assert!(changed.is_none_or(|changed| changed > recorded), "{recorded} {changed:?}");
        }
    }
    assert!(judges > 0, "somebody declared the crashed host failed");
    let recording = world.recordings().swap_remove(0);
    let invalid = Config { probe_timeout: Duration::from_secs(9), ..Config::lan("n0") };
    assert!(recording.what_if(&invalid).is_err());
}
