//! What all subscriptions have in common as iterators.

/// `for item in reader` and `for item in &reader` wait for each item by `recv`, until that fails for ever.
macro_rules! iterates {
    ($reader:ty, $item:ty) => {
        impl Iterator for $reader {
            type Item = $item;

            fn next(&mut self) -> Option<$item> {
                self.recv().ok()
            }
        }

        impl std::iter::FusedIterator for $reader {}

        /// As `for` takes it by reference.
        impl Iterator for &$reader {
            type Item = $item;

            fn next(&mut self) -> Option<$item> {
                self.recv().ok()
            }
        }

        impl std::iter::FusedIterator for &$reader {}
    };
}

pub(crate) use iterates;
