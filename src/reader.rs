//! The common part of all subscriptions: how a caller waits for items, and iteration.

use std::time::Duration;

use crossbeam_channel::{Receiver, RecvError, RecvTimeoutError, TryRecvError};

use crate::blocking;

/// Something that is read item by item.
pub(crate) trait Reader {
    type Item;

    /// Ready while something may be there to take, and for ever once nothing more will come.
    fn receiver(&self) -> &Receiver<()>;

    /// The next item, if there is one; `Disconnected` once nothing more will come.
    fn try_recv(&self) -> Result<Self::Item, TryRecvError>;

    /// Waits for the next item; fails once nothing more will come.
    fn recv(&self) -> Result<Self::Item, RecvError> {
        loop {
            match self.try_recv() {
                Ok(item) => return Ok(item),
                Err(TryRecvError::Disconnected) => return Err(RecvError),
                // Another reader may have taken the item since, so the loop looks again.
                Err(TryRecvError::Empty) => drop(self.receiver().recv()),
            }
        }
    }

    /// Waits for the next item, at most `limit`.
    fn recv_timeout(&self, limit: Duration) -> Result<Self::Item, RecvTimeoutError> {
        let Some(deadline) = blocking::now().checked_add(limit) else {
            return self.recv().map_err(|RecvError| RecvTimeoutError::Disconnected);
        };
        loop {
            match self.try_recv() {
                Ok(item) => return Ok(item),
                Err(TryRecvError::Disconnected) => return Err(RecvTimeoutError::Disconnected),
                Err(TryRecvError::Empty) => {}
            }
            if self.receiver().recv_deadline(deadline) == Err(RecvTimeoutError::Timeout) {
                return Err(RecvTimeoutError::Timeout);
            }
        }
    }
}

/// The methods of a public reader. The arguments give the word for one item in its documentation, and when the items end.
macro_rules! reads {
    ($reader:ty, $item:ty, $one:literal, $end:literal) => {
        impl $reader {
            #[doc = concat!("Waits for the next ", $one, ".\n\n# Errors\nWhen ", $end, ".")]
            pub fn recv(&self) -> Result<$item, crossbeam_channel::RecvError> {
                $crate::reader::Reader::recv(self)
            }

            #[doc = concat!("Waits for the next ", $one, ", at most this long.\n\n# Errors\nAfter that time, or when ", $end, ".")]
            pub fn recv_timeout(
                &self,
                limit: std::time::Duration,
            ) -> Result<$item, crossbeam_channel::RecvTimeoutError> {
                $crate::reader::Reader::recv_timeout(self, limit)
            }

            #[doc = concat!("Takes the next ", $one, " if there is one.\n\n# Errors\nWhen there is none, or ", $end, ".")]
            pub fn try_recv(&self) -> Result<$item, crossbeam_channel::TryRecvError> {
                $crate::reader::Reader::try_recv(self)
            }

            #[doc = concat!("Waits for each ", $one, ", until ", $end, ". A `for` over a reference does the same.")]
            pub fn iter(&self) -> impl Iterator<Item = $item> {
                self
            }

            #[doc = concat!("For `select!`: ready while there may be a ", $one, ", and for ever once nothing more comes; then ")]
            /// call [`try_recv`](Self::try_recv) once. This may find nothing. After a disconnection, read on until `try_recv`
            /// says so too.
            #[must_use]
            pub fn receiver(&self) -> &crossbeam_channel::Receiver<()> {
                $crate::reader::Reader::receiver(self)
            }
        }

        $crate::reader::iterates!($reader, $item);
    };
}

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

pub(crate) use {iterates, reads};
