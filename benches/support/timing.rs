//! A small timing loop: some rounds, and of these the median, the fastest and the slowest.

#![allow(dead_code, reason = "each target uses its part")]

use std::{
    fmt,
    time::{Duration, Instant},
};

/// Runs something and returns how many allocations it made.
pub(crate) type Count = fn(&mut dyn FnMut()) -> u64;

/// The recipient of a round's work.
#[derive(Debug)]
pub(crate) struct Clock {
    counting: Option<Count>,
    time: Duration,
    operations: u64,
    allocations: u64,
}

impl Clock {
    fn new(counting: Option<Count>) -> Self {
        Self { counting, time: Duration::ZERO, operations: 0, allocations: 0 }
    }

    /// Runs the part of a round that counts. A round may have several.
    #[expect(clippy::disallowed_methods, reason = "it measures real time")]
    pub(crate) fn run(&mut self, operations: u64, mut act: impl FnMut()) {
        self.operations += operations;
        match self.counting {
            Some(count) => self.allocations += count(&mut act),
            None => {
                let start = Instant::now();
                act();
                self.time += start.elapsed();
            }
        }
    }
}

/// The cost of one operation.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Figure {
    pub(crate) median: Nanos,
    pub(crate) min: Nanos,
    pub(crate) max: Nanos,
    /// Allocations, if they were counted.
    pub(crate) allocations: Option<f64>,
}

impl Figure {
    /// Measures some rounds. One round before them warms up; there the allocations are counted. A single
    /// round is one that takes long, and is not warmed up.
    pub(crate) fn of(rounds: usize, count: Option<Count>, mut round: impl FnMut(&mut Clock)) -> Self {
        let mut warm_up = Clock::new(count);
        if rounds > 1 || count.is_some() {
            round(&mut warm_up);
        }
        let allocations = count.map(|_| warm_up.allocations as f64 / warm_up.operations as f64);
        let mut times: Vec<f64> = (0..rounds)
            .map(|_| {
                let mut clock = Clock::new(None);
                round(&mut clock);
                clock.time.as_secs_f64() * 1e9 / clock.operations as f64
            })
            .collect();
        times.sort_unstable_by(f64::total_cmp);
        let [median, min, max] = [times[rounds / 2], times[0], times[rounds - 1]].map(Nanos);
        Self { median, min, max, allocations }
    }

    pub(crate) fn print(&self, what: &str) {
        let allocations = self.allocations.map_or(String::new(), |count| format!("{count:>10.2}"));
        let range = format!("{} – {}", self.min, self.max);
        println!("{what:<58}{:>11}{range:>24}{allocations}", self.median.to_string());
    }
}

/// A title over figures.
pub(crate) fn heading(what: &str, counted: bool) {
    let allocations = if counted { "allocs/op" } else { "" };
    println!("\n{what:<58}{:>11}{:>24}{allocations:>10}", "median/op", "min – max");
}

/// Nanoseconds, shown in the unit that suits.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd)]
pub(crate) struct Nanos(pub(crate) f64);

impl fmt::Display for Nanos {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ns if ns < 1e3 => write!(f, "{ns:.0} ns"),
            ns if ns < 1e6 => write!(f, "{:.2} µs", ns / 1e3),
            ns if ns < 1e9 => write!(f, "{:.2} ms", ns / 1e6),
            ns => write!(f, "{:.2} s", ns / 1e9),
        }
    }
}
