//! Letting time pass.

use std::time::Duration;

use super::World;
use crate::{
    sim::check::{Checker, Violation},
    swim::Time,
};

impl World {
    /// Lets time pass.
    ///
    /// # Panics
    /// If a check finds a broken promise.
    pub fn run_for(&mut self, duration: Duration) {
        self.try_run_for(duration).unwrap_or_else(|violation| panic!("seed {}: {violation}", self.seed));
    }

    /// Lets time pass, up to the first broken promise.
    ///
    /// # Errors
    /// The broken promise.
    pub fn try_run_for(&mut self, duration: Duration) -> Result<(), Violation> {
        let end = self.now + duration;
        while self.step(end) {
            self.verdict()?;
        }
        self.now = end;
        self.verdict()
    }

    /// Lets time pass until a condition holds, which is checked once a millisecond. Returns the time that it took.
    ///
    /// # Panics
    /// If the condition does not hold within `limit`, or a check finds a broken promise.
    pub fn run_until(&mut self, what: &str, limit: Duration, holds: impl Fn(&Self) -> bool) -> Duration {
        let start = self.now;
        self.try_run_until(limit, holds)
            .unwrap_or_else(|violation| panic!("seed {}: {violation}", self.seed));
        if self.now.since(start) >= limit {
            let views: Vec<_> = self.up().take(50).map(|host| (host, self.node(host).live())).collect();
            panic!("seed {}: no {what} within {limit:?}; live members seen: {views:?}", self.seed);
        }
        self.now.since(start)
    }

    /// Lets time pass until a condition holds, or for `limit`.
    ///
    /// # Errors
    /// The first broken promise.
    pub fn try_run_until(&mut self, limit: Duration, holds: impl Fn(&Self) -> bool) -> Result<(), Violation> {
        let end = self.now + limit;
        let mut looked = Time::ZERO;
        loop {
            if self.now.since(looked) >= Duration::from_millis(1) {
                if holds(self) {
                    return Ok(());
                }
                looked = self.now;
            }
            if !self.step(end) {
                // Changes at the last moment count, too.
                if !holds(self) {
                    self.now = end;
                }
                return self.verdict();
            }
            self.verdict()?;
        }
    }

    /// Takes so many steps, or lets this much time pass if the steps take longer.
    ///
    /// # Errors
    /// The first broken promise.
    pub fn try_run_steps(&mut self, steps: usize, longest: Duration) -> Result<(), Violation> {
        let end = self.now + longest;
        for _ in 0..steps {
            if !self.step(end) {
                self.now = end;
                break;
            }
            self.verdict()?;
        }
        self.verdict()
    }

    fn verdict(&self) -> Result<(), Violation> {
        self.checker.as_ref().and_then(Checker::violation).cloned().map_or(Ok(()), Err)
    }
}
