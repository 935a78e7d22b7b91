//! How a running node is set up: the protocol's knobs, and those of sockets.

use std::net::{Ipv4Addr, SocketAddr};

use super::{resolve, secrets::Secrets};
#[cfg(feature = "encryption")]
use crate::Keyring;
use crate::{Error, Network, Tags, swim};

/// The port that nodes listen on unless told otherwise: memberlist's.
pub const DEFAULT_PORT: u16 = 7946;

/// The configuration of a [`Gossip`](super::Gossip) node.
///
/// ```
/// use syncswim::{GossipConfig, Tags};
///
/// let mut config = GossipConfig::lan("node-a")
///     .bind(([127, 0, 0, 1], 0))
///     .seed("10.0.0.5:7946")
///     .tags(Tags::new([("role", "db")])?);
/// config.swim.suspicion_mult = 5;
/// config.validate()?;
/// # Ok::<(), syncswim::Error>(())
/// ```
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct GossipConfig {
    /// Every knob of the protocol.
    pub swim: swim::Config,

    /// Where to listen, over UDP and TCP. Port 0 takes any free one. `[::]` listens on IPv4 as well.
    /// Defaults to `0.0.0.0:7946` (LAN, WAN), `127.0.0.1:7946` (local).
    pub bind: SocketAddr,

    /// What others are told to send to, if it differs from `bind`: behind address translation, say. Port 0
    /// stands for the port that was bound. Defaults to `bind`; where that is unspecified, to the address from
    /// which this host reaches its first seed.
    pub advertise: Option<SocketAddr>,

    /// Where to find members to join through: `host:port`, or `host` for our own port. Each is resolved and
    /// tried again and again for as long as the node runs. Defaults to none.
    ///
    /// Names are looked up by the system's resolver, which cannot be interrupted: a stop waits for a look-up that is under
    /// way, and a start that has to find the advertised address for one. Addresses need none.
    pub seeds: Vec<String>,

    /// What this node says about itself. Defaults to none.
    pub tags: Tags,

    /// The keys that packets and streams are sealed with. Without, all is sent in clear, and whoever can send to
    /// this node can join and lie. Defaults to none.
    #[cfg(feature = "encryption")]
    pub keyring: Option<Keyring>,

    /// The kernel's receive buffer to ask for, in bytes; the kernel may grant less. Too small drops datagrams
    /// in bursts. Defaults to 4 MiB.
    pub recv_buffer: usize,
}

impl GossipConfig {
    /// For nodes of one data centre.
    #[must_use]
    pub fn lan(name: impl Into<String>) -> Self {
        Self::new(swim::Config::lan(name), Ipv4Addr::UNSPECIFIED)
    }

    /// For nodes across the internet.
    #[must_use]
    pub fn wan(name: impl Into<String>) -> Self {
        Self::new(swim::Config::wan(name), Ipv4Addr::UNSPECIFIED)
    }

    /// For nodes of one host.
    #[must_use]
    pub fn local(name: impl Into<String>) -> Self {
        Self::new(swim::Config::local(name), Ipv4Addr::LOCALHOST)
    }

    fn new(swim: swim::Config, ip: Ipv4Addr) -> Self {
        let bind = SocketAddr::from((ip, DEFAULT_PORT));
        Self {
            swim,
            bind,
            advertise: None,
            seeds: Vec::new(),
            tags: Tags::default(),
            #[cfg(feature = "encryption")]
            keyring: None,
            recv_buffer: 4 << 20,
        }
    }

    /// Sets [`bind`](Self::bind).
    #[must_use]
    pub fn bind(self, addr: impl Into<SocketAddr>) -> Self {
        Self { bind: addr.into(), ..self }
    }

    /// Sets [`advertise`](Self::advertise).
    #[must_use]
    pub fn advertise(self, addr: impl Into<SocketAddr>) -> Self {
        Self { advertise: Some(addr.into()), ..self }
    }

    /// Adds to [`seeds`](Self::seeds).
    #[must_use]
    pub fn seed(mut self, seed: impl Into<String>) -> Self {
        self.seeds.push(seed.into());
        self
    }

    /// Sets [`tags`](Self::tags).
    #[must_use]
    pub fn tags(self, tags: Tags) -> Self {
        Self { tags, ..self }
    }

    /// Sets [`keyring`](Self::keyring). The node shares it: what is changed on it later takes effect at once.
    #[cfg(feature = "encryption")]
    #[must_use]
    pub fn keyring(self, ring: &Keyring) -> Self {
        Self { keyring: Some(ring.clone()), ..self }
    }

    /// Allows [networks](swim::Config::allow), and no others.
    #[must_use]
    pub fn allow(mut self, networks: impl IntoIterator<Item = Network>) -> Self {
        self.swim.allow.get_or_insert_default().extend(networks);
        self
    }

    /// Sets the [cluster's name](swim::Config::cluster).
    #[must_use]
    pub fn cluster(mut self, name: impl Into<String>) -> Self {
        self.swim.cluster = name.into();
        self
    }

    /// Checks every field that can be wrong. Starting a node does it too.
    ///
    /// # Errors
    /// [`Error::Config`] with the first field that cannot work, and what it should be.
    pub fn validate(&self) -> Result<(), Error> {
        self.swim.validate()?;
        let error = |field, problem: String| Err(Error::Config { field, problem });
        if let Some(addr) =
            self.advertise.filter(|addr| addr.ip().is_unspecified() || addr.ip().is_multicast())
        {
            return error("advertise", format!("must be an address that others can send to, not {addr}"));
        }
        let least = 1000 + Secrets::of(self).overhead();
        if self.swim.max_datagram < least {
            return error("max_datagram", format!("must be at least {least} bytes where packets are sealed"));
        }
        for seed in &self.seeds {
            if let Err(problem) = resolve::check_syntax(seed) {
                return error("seeds", format!("has {seed:?}, which {problem}; write host:port or host"));
            }
        }
        Ok(())
    }
}
