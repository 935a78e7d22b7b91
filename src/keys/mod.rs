//! Secrets: a [`Key`](key::Key), and the [`Keyring`](keyring::Keyring) of a node.
//!
//! Knows nothing of the wire: `wire/seal` says what is sealed with a key, and how.

pub(crate) mod key;
pub(crate) mod keyring;
