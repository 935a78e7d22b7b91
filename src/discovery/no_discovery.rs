//! A fixed list of peers, for clusters where nothing has to be discovered.

use std::{borrow::Cow, time::Duration};

use super::Discovery;
use crate::{BoxError, Membership, Stop};

/// A fixed list of peers: they are added at the start, and nothing is discovered. In errors, in the names
/// of threads and in C it is called `fixed`.
///
/// # Examples
///
/// ```
/// use syncswim::{Cluster, NoDiscovery};
///
/// let cluster = Cluster::new().with_discovery(NoDiscovery::new(["a:1", "b:1"]));
/// let watch = cluster.membership().watch();
/// let running = cluster.start()?;
/// assert_eq!(watch.iter().find(|change| !change.is_empty()).unwrap().active, ["a:1", "b:1"]);
/// running.stop();
/// running.join()?;
/// # Ok::<(), syncswim::Error>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct NoDiscovery {
    peers: Vec<String>,
}

impl NoDiscovery {
    /// A discovery of exactly these peers.
    #[must_use]
    pub fn new(peers: impl IntoIterator<Item = impl Into<String>>) -> Self {
        Self { peers: peers.into_iter().map(Into::into).collect() }
    }
}

impl Discovery for NoDiscovery {
    fn name(&self) -> Cow<'_, str> {
        "fixed".into()
    }

    fn start(&mut self, membership: &Membership, stop: &Stop) -> Result<(), BoxError> {
        membership.add(&self.peers);
        while !stop.wait(Duration::MAX) {}
        Ok(())
    }
}
