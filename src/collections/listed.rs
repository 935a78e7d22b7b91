//! An immutable copy, and its list, which is made when it is first asked for.

use std::sync::OnceLock;

/// Something that never changes, with a list of it.
pub(crate) struct Listed<T, L> {
    pub(crate) of: T,
    list: OnceLock<L>,
}

impl<T: Default, L> Default for Listed<T, L> {
    fn default() -> Self {
        Self::new(T::default())
    }
}

impl<T, L> Listed<T, L> {
    pub(crate) fn new(of: T) -> Self {
        Self { of, list: OnceLock::new() }
    }

    /// The list, made by `make` unless it is there: under no lock that others could wait for.
    pub(crate) fn list(&self, make: impl FnOnce(&T) -> L) -> &L {
        self.list.get_or_init(|| make(&self.of))
    }
}
