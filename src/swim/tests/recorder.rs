//! The recorder: what waits is bounded, what is lost is said, and a state that does not fit ends it.

use std::{
    sync::{Arc, Mutex},
    time::{Duration, Instant},
};

use super::{
    super::{Chunk, Config, recorder::Beginning},
    bench::Bench,
};

type Taken = Arc<Mutex<Vec<Chunk>>>;

/// Records a node in segments of 64 KiB; the sink takes chunks while `open` says so.
fn record(bench: &mut Bench, size: usize, open: &Arc<Mutex<bool>>) -> Taken {
    let taken = Taken::default();
    let (sink, open) = (Arc::clone(&taken), Arc::clone(open));
    let take = move |chunk| match *open.lock().unwrap() {
        true => {
            sink.lock().unwrap().push(chunk);
            Ok(())
        }
        false => Err(chunk),
    };
    bench.node.start_recording(bench.now, size, Box::new(take));
    taken
}

#[test]
fn what_the_sink_does_not_take_is_bounded_and_the_loss_is_said() {
    let (mut bench, open) = (Bench::new(3), Arc::new(Mutex::new(false)));
    let taken = record(&mut bench, 64 << 10, &open);
    let datagram = [7; 1000];
    for _ in 0..5000 {
        bench.now = bench.now + Duration::from_millis(1);
        bench.node.handle_datagram(bench.now, super::world::addr(1), &datagram);
    }
    *open.lock().unwrap() = true;
    bench.node.handle_datagram(bench.now, super::world::addr(1), &datagram);
    bench.node.flush_recording();
    let taken = taken.lock().unwrap();
    let bytes: usize = taken.iter().map(|chunk| chunk.bytes.len()).sum();
    assert!(bytes < 5 * (64 << 10), "{bytes}");
    let lost: u64 = taken.iter().map(|chunk| chunk.lost).sum();
    let last = taken.last().unwrap();
    let (beginning, _) = postcard::take_from_bytes::<Beginning>(&last.bytes).unwrap();
    assert_eq!((beginning.lost, last.index), (lost, 0));
    assert!(lost > 4000, "{lost}");
}

#[test]
fn a_state_that_does_not_fit_ends_the_recording() {
    let (mut bench, open) = (Bench::new(1500), Arc::new(Mutex::new(true)));
    let taken = record(&mut bench, 64 << 10, &open);
    assert!(taken.lock().unwrap()[0].bytes.is_empty());
    bench.node.handle_datagram(bench.now, super::world::addr(1), &[7; 100]);
    assert!(bench.node.stop_recording().is_empty());
    assert_eq!(taken.lock().unwrap().len(), 1);
}

/// `cargo test --release --features sim --lib how_long_a_state -- --ignored --nocapture`
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
