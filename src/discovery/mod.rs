//! Where peers come from. A discovery owns whatever it listens or looks with, and tells a membership what it finds; it knows
//! nothing of other discoveries.

mod absence;
mod dns;
mod gossip;
mod no_discovery;

use std::borrow::Cow;

pub use self::{
    dns::{DnsDiscovery, Resolver, SystemResolver},
    gossip::{GossipDiscovery, GossipHandle, PeerName},
    no_discovery::NoDiscovery,
};
use crate::{BoxError, Membership, Stop};

/// A source of peers, run by a [`Cluster`](crate::Cluster) on a thread of its own.
///
/// A closure `FnMut(&Membership, &Stop) -> Result<(), E>` is one too; its parameters need their types written out.
///
/// # Examples
///
/// ```
/// use std::{borrow::Cow, fs, path::PathBuf, time::Duration};
/// use syncswim::{BoxError, Cluster, Discovery, Membership, Stop};
///
/// /// Adds the peers that a file lists, one per line.
/// struct Hosts(PathBuf);
///
/// impl Discovery for Hosts {
///     fn name(&self) -> Cow<'_, str> {
///         "hosts".into()
///     }
///
///     fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError> {
///         loop {
///             membership.add(fs::read_to_string(&self.0)?.lines());
///             if stop.wait(Duration::from_secs(5)) {
///                 return Ok(());
///             }
///         }
///     }
/// }
///
/// let running = Cluster::new().with_discovery(Hosts("/no/such/file".into())).start()?;
/// assert!(running.join().unwrap_err().to_string().contains("`hosts`"));
/// # Ok::<(), syncswim::Error>(())
/// ```
pub trait Discovery: Send + 'static {
    /// What it is called in errors and in its thread's name.
    fn name(&self) -> Cow<'_, str>;

    /// Acquires what can be refused, such as a port, on the thread that calls [`Cluster::start`](crate::Cluster::start).
    /// Nothing by default.
    ///
    /// # Errors
    ///
    /// Whatever makes starting useless; then no discovery is started.
    fn bind(&mut self) -> Result<(), BoxError> {
        Ok(())
    }

    /// Tells `membership` what it finds, until `stop` is raised. It should return promptly then: the cluster's stop waits
    /// for it.
    ///
    /// The handle (and any clone of it) speaks for this discovery alone: what it says of a peer does not touch what others
    /// say of it. Returning early without an error leaves the other discoveries running.
    ///
    /// A watch of `membership` ends only after every discovery has, so one that follows a watch here has to wait for
    /// `stop` too, with [`select!`](crossbeam_channel::select).
    ///
    /// # Errors
    ///
    /// Whatever makes going on useless; it stops the whole cluster.
    fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError>;
}

impl<F, E> Discovery for F
where
    F: FnMut(&Membership, &Stop) -> Result<(), E> + Send + 'static,
    E: Into<BoxError>,
{
    fn name(&self) -> Cow<'_, str> {
        "closure".into()
    }

    fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError> {
        self(membership, stop).map_err(E::into)
    }
}

impl Discovery for Box<dyn Discovery> {
    fn name(&self) -> Cow<'_, str> {
        (**self).name()
    }

    fn bind(&mut self) -> Result<(), BoxError> {
        (**self).bind()
    }

    fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError> {
        (**self).start(membership, stop)
    }
}
