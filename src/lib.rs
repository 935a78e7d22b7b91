//! Cluster membership for programs that have no async runtime.

mod error;
mod stop;

pub use error::{BoxError, Error};
pub use stop::Stop;
