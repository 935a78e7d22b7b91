//! The recorder: waiting chunks are bounded, lost inputs are recorded as lost, and a state that does not fit ends a
//! recording.

use std::{
    io::Cursor,
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{
    super::{Chunk, Config, Refused, Time, recorder::Beginning},
    bench::{Bench, alive},
    world::addr,
};
use crate::{
    recording::{Recording, Writer},
    wire::message::{Message, Ping},
};

type Taken = Arc<Mutex<Vec<Chunk>>>;

/// Records a node in segments of `size` bytes; the sink takes chunks while `open` is true.
fn record(bench: &mut Bench, size: usize, open: &Arc<Mutex<bool>>) -> Taken {
    let taken = Taken::default();
    let (sink, open) = (Arc::clone(&taken), Arc::clone(open));
    let take = move |chunk| match *open.lock().unwrap() {
        true => {
            sink.lock().unwrap().push(chunk);
            Ok(())
        }
        false => Err(Refused::Full(chunk)),
    };
    bench.node.start_recording(size, Box::new(take));
    taken
}

#[test]
fn inputs_that_the_sink_does_not_take_are_bounded_and_their_loss_is_recorded() {
    let (mut bench, open) = (Bench::new(3), Arc::new(Mutex::new(false)));
    let taken = record(&mut bench, 64 << 10, &open);
    let datagram = [7; 1000];
    for _ in 0..5000 {
        bench.now = bench.now + Duration::from_millis(1);
        bench.node.handle_datagram(bench.now, addr(1), &datagram);
    }
    let lost = bench.node.recording_lost_inputs();
    assert!(lost > 4000, "{lost}");
    *open.lock().unwrap() = true;
    bench.node.handle_datagram(bench.now, addr(1), &datagram);
    bench.node.flush_recording();
    let taken = taken.lock().unwrap();
    let bytes: usize = taken.iter().map(|chunk| chunk.bytes.len()).sum();
    assert!(bytes < 5 * (64 << 10), "{bytes}");
    let last = taken.last().unwrap();
    let (beginning, _) = postcard::take_from_bytes::<Beginning>(&last.bytes).unwrap();
    assert_eq!((beginning.gap, beginning.lost, last.index), (true, lost, 0));
}

/// The limit of the file does not matter.
#[test]
fn chunks_that_wait_for_a_disk_hold_about_sixteen_mebibytes() {
    let (mut bench, open) = (Bench::new(3), Arc::new(Mutex::new(false)));
    let _taken = record(&mut bench, 1 << 30, &open);
    for _ in 0..20_000 {
        bench.node.handle_datagram(bench.now, addr(1), &[7; 1000]);
    }
    let bytes: usize = bench.node.stop_recording().iter().map(|chunk| chunk.bytes.len()).sum();
    assert!((15 << 20..17 << 20).contains(&bytes), "{bytes}");
}

#[test]
fn a_state_that_does_not_fit_ends_the_recording() {
    let (mut bench, open) = (Bench::new(1500), Arc::new(Mutex::new(true)));
    let taken = record(&mut bench, 64 << 10, &open);
    assert!(taken.lock().unwrap()[0].bytes.is_empty());
    bench.node.handle_datagram(bench.now, addr(1), &[7; 100]);
    assert!(bench.node.stop_recording().is_empty());
    assert_eq!(taken.lock().unwrap().len(), 1);
}

/// The waiting chunks are handed over before the mark that ends the recording.
#[test]
fn a_state_that_has_grown_too_large_while_the_sink_is_closed_ends_the_recording_with_all_that_waits() {
    let (mut bench, open) = (Bench::new(3), Arc::new(Mutex::new(false)));
    let taken = record(&mut bench, 64 << 10, &open);
    bench.node.handle_datagram(bench.now, addr(1), &[7; 1000]);
    for i in 4..1500 {
        bench.sync(Message::Alive(alive(&format!("m{i}"), 0, addr(i))));
    }
    for _ in 0..100 {
        bench.node.handle_datagram(bench.now, addr(1), &[7; 1000]);
    }
    assert!(taken.lock().unwrap().is_empty());
    *open.lock().unwrap() = true;
    bench.node.handle_datagram(bench.now, addr(1), &[7; 1000]);
    let taken = taken.lock().unwrap();
    let (last, rest) = taken.split_last().unwrap();
    assert!(last.bytes.is_empty() && !rest.is_empty() && rest.iter().all(|chunk| !chunk.bytes.is_empty()));
    assert!(bench.node.stop_recording().is_empty());
}

/// The smallest file of a node, 1 MiB, has segments of 256 KiB.
#[test]
fn the_state_of_a_node_whose_members_all_failed_fits_in_the_smallest_file() {
    let (mut bench, open) = (Bench::new(100), Arc::new(Mutex::new(true)));
    for _ in 0..1200 {
        bench.pass(Duration::from_secs(1));
        bench.sent();
        bench.events();
    }
    let taken = record(&mut bench, (1 << 18) - 256, &open);
    bench.node.flush_recording();
    let bytes = taken.lock().unwrap()[0].bytes.len();
    assert!(bytes < 128 << 10, "{bytes}");
}

/// The disk is too slow at times: every segment is replayed, up to a loss and after it.
#[test]
fn a_recording_with_losses_is_replayed_around_them() {
    let mut losses = 0;
    for seed in 0..12 {
        let mut bench = Bench::new(8);
        let taken = Taken::default();
        let (sink, mut rng, mut refused) = (Arc::clone(&taken), fastrand::Rng::with_seed(seed), 0);
        let take = move |chunk| {
            if refused > 0 {
                refused -= 1;
                return Err(Refused::Full(chunk));
            }
            refused = rng.usize(..30).saturating_sub(10);
            sink.lock().unwrap().push(chunk);
            Ok(())
        };
        bench.node.start_recording(64 << 10, Box::new(take));
        for seq in 0..8000 {
            bench.now = bench.now + Duration::from_millis(1);
            if bench.node.poll_timeout().is_some_and(|at| at <= bench.now) {
                bench.node.handle_timeout(bench.now);
            }
            bench.receive(&Ping { seq, target: "me" });
            bench.sent();
            bench.events();
        }
        let rest = bench.node.stop_recording();
        let taken = taken.lock().unwrap();
        let mut file = Writer::new(Cursor::new(Vec::new()), "me", 0).unwrap();
        for chunk in taken.iter().chain(&rest) {
            file.write(chunk, 0, Time::ZERO).unwrap();
        }
        let recording = Recording::parse(file.get_ref().get_ref()).unwrap();
        let segments = recording.segments();
        losses += bench.node.recording_lost_inputs();
        for at in 0..segments.len() {
            let differs = recording.replay_from(at).find_map(Result::err);
            assert_eq!(differs, None, "seed {seed}");
        }
    }
    assert!(losses > 0);
}

/// `cargo test --release --lib how_long_a_state -- --ignored --nocapture`
#[test]
#[ignore = "it measures"]
#[expect(clippy::disallowed_methods, reason = "it measures")]
fn how_long_a_state_of_65_000_members_takes() {
    let config = Config { max_members: 1 << 17, ..Config::lan("me") };
    let (mut bench, open) = (Bench::with(config, 65_000), Arc::new(Mutex::new(true)));
    for _ in 0..5 {
        let begin = Instant::now();
        let taken = record(&mut bench, 64 << 20, &open);
        let elapsed = begin.elapsed();
        bench.node.flush_recording();
        let bytes = taken.lock().unwrap().iter().map(|chunk| chunk.bytes.len()).sum::<usize>();
        println!("a state of 65,000 members: {bytes} bytes, {:.1} ms", elapsed.as_secs_f64() * 1e3);
    }
}
