//! Cluster membership for programs that have no async runtime.

mod error;

pub use error::{BoxError, Error};
