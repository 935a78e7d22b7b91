//! Where peers come from: the trait, and the discoveries that are built in.

mod dns;
mod fixed;
mod gossip;

use std::borrow::Cow;

pub use dns::{DnsDiscovery, Resolver, SystemResolver};
pub use fixed::NoDiscovery;
pub use gossip::{GossipDiscovery, GossipHandle, PeerName};

use crate::{BoxError, Membership, Stop};

/// Something that finds peers and keeps a [`Membership`] up to date.
///
/// A [`Cluster`](crate::Cluster) first binds all its discoveries on the thread that starts it, then runs each
/// on a thread of its own. What a discovery says counts as its own claim: it cannot undo what others say.
///
/// A closure is a discovery too:
///
/// ```
/// use syncswim::{Cluster, Membership, Stop};
///
/// let from_file = |membership: &Membership, stop: &Stop| {
///     membership.add(std::fs::read_to_string("/dev/null")?.lines());
///     stop.wait(std::time::Duration::MAX);
///     Ok::<(), std::io::Error>(())
/// };
/// let running = Cluster::new().with_discovery(from_file).start()?;
/// running.stop();
/// running.join()?;
/// # Ok::<(), syncswim::Error>(())
/// ```
pub trait Discovery: Send + 'static {
    /// What it is called in errors and in its thread's name.
    fn name(&self) -> Cow<'static, str>;

    /// Acquires what it needs, on the caller's thread, so that its errors are those of
    /// [`Cluster::start`](crate::Cluster::start). Does nothing by default.
    ///
    /// # Errors
    /// Whatever keeps it from starting.
    fn bind(&mut self) -> Result<(), BoxError> {
        Ok(())
    }

    /// Works until `stop` is raised. Returning early without an error is fine: it has said all it has to say.
    ///
    /// # Errors
    /// Whatever ends it; that stops the whole cluster.
    fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError>;
}

impl<F, E> Discovery for F
where
    F: FnMut(&Membership, &Stop) -> Result<(), E> + Send + 'static,
    E: Into<BoxError>,
{
    fn name(&self) -> Cow<'static, str> {
        "closure".into()
    }

    fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError> {
        self(membership, stop).map_err(Into::into)
    }
}
