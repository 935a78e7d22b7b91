//! The progress of a long run: a bar on a terminal, else a line on standard error from time to time.

use std::{
    fmt::Display,
    sync::Mutex,
    time::{Duration, Instant},
};

use indicatif::{ProgressBar, ProgressStyle};

/// Between two lines, where there is no terminal.
const PAUSE: Duration = Duration::from_secs(10);

/// It ends when it is dropped, and leaves nothing on the terminal. Any thread may count steps.
#[derive(Debug)]
pub struct Progress {
    what: String,
    bar: ProgressBar,
    /// When the last line was written, or when the run began.
    told: Mutex<Instant>,
}

impl Progress {
    /// Of so many steps.
    pub fn new(what: impl Into<String>, steps: u64) -> Self {
        let (what, style) = (what.into(), "{msg:42} {bar:30} {pos}/{len} in {elapsed}, {eta} left");
        let style = ProgressStyle::with_template(style).expect("the template is well-formed");
        let bar = ProgressBar::new(steps).with_message(what.clone()).with_style(style);
        if !bar.is_hidden() {
            bar.enable_steady_tick(Duration::from_secs(1));
        }
        Self { what, bar, told: Mutex::new(now()) }
    }

    /// One more step is done.
    pub fn step(&self) {
        self.bar.inc(1);
        self.tell("");
    }

    /// Shows the state within a step.
    pub fn say(&self, at: impl Display) {
        if self.bar.is_hidden() {
            self.tell(&format!(", {at}"));
        } else {
            self.bar.set_message(format!("{}: {at}", self.what));
        }
    }

    /// Writes a line of the result on standard output, and the bar below it again.
    pub fn line(&self, line: impl Display) {
        self.bar.suspend(|| println!("{line}"));
    }

    fn tell(&self, at: &str) {
        if !self.bar.is_hidden() {
            return;
        }
        let (mut told, now) = (self.told.lock().expect("nobody panics with it"), now());
        if now.duration_since(*told) >= PAUSE {
            *told = now;
            let (what, done, steps) = (&self.what, self.bar.position(), self.bar.length().unwrap_or(0));
            eprintln!("{what}: {done} of {steps}{at}");
        }
    }
}

impl Drop for Progress {
    fn drop(&mut self) {
        self.bar.finish_and_clear();
    }
}

#[expect(clippy::disallowed_methods, reason = "lines are written now and then")]
fn now() -> Instant {
    Instant::now()
}
