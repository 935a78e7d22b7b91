//! Simulated runs, recorded and replayed.

use lab::{recording::Recording, runs};
use syncswim::sim::{Theme, search::Schedule};

/// Small enough that rings wrap.
const SMALL: u64 = 0;
const LARGE: u64 = 1 << 26;

/// The results of one seed.
#[derive(Default)]
struct Found {
    recordings: u64,
    wrapped: u64,
    steps: u64,
    differences: Vec<String>,
}

/// Replays random runs in every output, from each segment on. Returns whether all were as recorded.
pub(crate) fn run(from: u64, count: u64) -> bool {
    let seeds: Vec<u64> = (from..from + count).collect();
    let found = runs::map("replaying random runs", &seeds, |seed| replay(*seed));
    let sum = |of: fn(&Found) -> u64| found.iter().map(of).sum::<u64>();
    println!(
        "{count} runs, {} recordings of which {} had wrapped, {} inputs replayed",
        sum(|found| found.recordings),
        sum(|found| found.wrapped),
        sum(|found| found.steps),
    );
    let differences: Vec<_> = found.iter().flat_map(|found| &found.differences).collect();
    differences.iter().take(5).for_each(|difference| println!("{difference}"));
    println!("{} differ", differences.len());
    differences.is_empty()
}

/// Each seed has a theme; every other one has little room for its recording.
fn replay(seed: u64) -> Found {
    let theme = Theme::ALL[(seed / 2) as usize % Theme::ALL.len()];
    let limit = if seed.is_multiple_of(2) { SMALL } else { LARGE };
    let schedule = Schedule::draw(seed, theme);
    let mut found = Found::default();
    for recording in schedule.recordings(|name| theme.config(seed, name), limit) {
        found.recordings += 1;
        found.wrapped += u64::from(recording.segments()[0].number() > 0);
        found.differences.extend(recording.damage().iter().map(|damage| format!("seed {seed}: {damage}")));
        (0..recording.segments().len()).for_each(|segment| found.replay_from(&recording, segment, seed));
    }
    found
}

impl Found {
    fn replay_from(&mut self, recording: &Recording, segment: usize, seed: u64) {
        for step in recording.replay_from(segment) {
            match step {
                Ok(_) => self.steps += 1,
                Err(difference) => {
                    self.differences.push(format!("seed {seed}, {}: {difference}", recording.name()));
                }
            }
        }
    }
}
