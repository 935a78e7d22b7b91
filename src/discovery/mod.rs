//! Discoveries: sources of peers. A discovery owns its sockets and files, and reports the peers that it finds to a
//! membership; it does not know other discoveries. A [`Cluster`] runs them; [`GossipDiscovery`] has a cluster of its own for
//! the discoveries of its seeds.

mod absence;
mod cluster;
mod dns;
mod gossip;
mod no_discovery;
mod options;
pub(crate) mod peer_map;

use std::borrow::Cow;

#[cfg(feature = "capi")]
pub(crate) use self::options::Options;
pub use self::{
    cluster::{Cluster, ClusterHandle},
    dns::{DnsDiscovery, Resolver, SystemResolver},
    gossip::{GossipDiscovery, GossipHandle},
    no_discovery::NoDiscovery,
    peer_map::PeerName,
};
use crate::{BoxError, Membership, Stop};

/// A source of peers, run by a [`Cluster`] on a thread of its own.
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
    /// Its name in errors, and in that of its thread.
    fn name(&self) -> Cow<'_, str>;

    /// Acquires resources that can be refused, such as a port, on the thread that calls
    /// [`Cluster::start`](crate::Cluster::start), so that a refusal is an error of that call. Does nothing by default.
    ///
    /// # Errors
    ///
    /// Any that makes it pointless to start; then no discovery is started.
    fn bind(&mut self) -> Result<(), BoxError> {
        Ok(())
    }

    /// Reports the peers that it finds to `membership` until `stop` is raised. Then it should return promptly, because a
    /// program that waits for the end of the cluster waits for it.
    ///
    /// This handle of the membership (and any clone of it) reports for this discovery alone: a peer is active while any
    /// discovery reports it as active. If the call returns without an error before the stop, the other discoveries go on.
    ///
    /// A watch of `membership` ends only after every discovery has ended. So a discovery that reads one has to wait for `stop`
    /// as well, with [`select!`](crossbeam_channel::select).
    ///
    /// # Errors
    ///
    /// Any that makes it pointless to go on; it stops the whole cluster.
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
