//! A cache of one value, which readers compute from the latest version of something and share.
//!
//! Writers never touch it, so they neither wait for readers nor free an outdated value. At most one outdated value is kept,
//! until the next reader comes.

use std::fmt;

use parking_lot::Mutex;

/// The value of one version.
pub(crate) struct Latest<T>(Mutex<Option<(u64, T)>>);

impl<T> Default for Latest<T> {
    fn default() -> Self {
        Self(Mutex::new(None))
    }
}

impl<T: Clone> Latest<T> {
    /// The value of `version`, computed by `make` unless it is known. `make` runs under the lock and has to be quick. The
    /// second value is the one that was replaced: the caller drops it under no lock.
    pub(crate) fn get_or_make(&self, version: u64, make: impl FnOnce() -> T) -> (T, Option<T>) {
        let mut slot = self.0.lock();
        if let Some((known, kept)) = &*slot
            && *known == version
        {
            return (kept.clone(), None);
        }
        let made = make();
        let outdated = match &mut *slot {
            // Another reader has seen a later version already.
            Some((known, _)) if *known > version => None,
            slot => slot.replace((version, made.clone())).map(|(_, outdated)| outdated),
        };
        (made, outdated)
    }
}

impl<T> fmt::Debug for Latest<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Latest").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_version_is_made_once_and_an_older_one_replaces_none() {
        let latest = Latest::default();
        assert_eq!(latest.get_or_make(1, || "one"), ("one", None));
        assert_eq!(latest.get_or_make(1, || unreachable!()), ("one", None));
        assert_eq!(latest.get_or_make(3, || "three"), ("three", Some("one")));
        assert_eq!(latest.get_or_make(2, || "two"), ("two", None));
        assert_eq!(latest.get_or_make(3, || unreachable!()), ("three", None));
    }
}
