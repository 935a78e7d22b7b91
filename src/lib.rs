//! Cluster membership for programs that have no async runtime.

mod error;
pub mod swim;
mod wire;

pub use error::{BoxError, Error};
pub use wire::Tags;
