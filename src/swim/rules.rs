//! Rules that a unit test of the simulator can switch off, to see that it notices.

/// A rule that holds whatever others claim.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Rule {
    /// Departures that others claim faster than they are refuted, or in future epochs, are not believed.
    Departures,
    /// A claimed move or restart is checked at the claimed address first.
    Moves,
    /// Accusations raise awareness to 1 at most.
    Awareness,
    /// A member that missed three probes is not alive on another member's word, and a greater incarnation does not restart
    /// its suspicion.
    Returns,
}

#[cfg(not(test))]
pub(super) const fn holds(_: Rule) -> bool {
    true
}

#[cfg(test)]
thread_local! {
    static OFF: std::cell::Cell<Option<Rule>> = const { std::cell::Cell::new(None) };
}

#[cfg(test)]
pub(super) fn holds(rule: Rule) -> bool {
    OFF.get() != Some(rule)
}

/// Does something without a rule.
#[cfg(test)]
pub(crate) fn without<R>(rule: Rule, run: impl FnOnce() -> R) -> R {
    /// On again at the end, also of a test that fails: the next one may run on the same thread.
    struct Off;
    impl Drop for Off {
        fn drop(&mut self) {
            OFF.set(None);
        }
    }
    let _off = Off;
    OFF.set(Some(rule));
    run()
}
