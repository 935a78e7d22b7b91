//! Peers that are known beforehand.

use std::{borrow::Cow, time::Duration};

use super::Discovery;
use crate::{BoxError, Membership, Stop};

/// A fixed list of peers, all of them active.
///
/// ```
/// use syncswim::{Cluster, NoDiscovery};
///
/// let cluster = Cluster::new().with_discovery(NoDiscovery::new(["10.0.0.1:80", "10.0.0.2:80"]));
/// let watch = cluster.membership().watch();
/// let running = cluster.start()?;
/// assert!(watch.recv()?.is_empty());
/// assert_eq!(watch.recv()?.active, ["10.0.0.1:80", "10.0.0.2:80"]);
/// # drop(running);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone, Default)]
pub struct NoDiscovery {
    peers: Vec<String>,
}

impl NoDiscovery {
    /// A discovery of these peers.
    pub fn new<S: Into<String>>(peers: impl IntoIterator<Item = S>) -> Self {
        Self { peers: peers.into_iter().map(Into::into).collect() }
    }
}

impl Discovery for NoDiscovery {
    fn name(&self) -> Cow<'static, str> {
        "fixed".into()
    }

    fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError> {
        membership.add(&self.peers);
        stop.wait(Duration::MAX);
        Ok(())
    }
}
