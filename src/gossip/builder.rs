//! A node before its start, for programs that need more than [`Gossip::start`](crate::Gossip::start).

use std::{
    fmt,
    net::{TcpListener, UdpSocket},
    sync::Arc,
};

use super::{config::GossipConfig, directory::Directory, events::Events, running::Running, sockets::Sockets};
use crate::Error;

/// A node that is not started yet: see [`Gossip::builder`](crate::Gossip::builder).
///
/// ```
/// use std::net::{TcpListener, UdpSocket};
/// use syncswim::{Event, Gossip, GossipConfig};
///
/// let tcp = TcpListener::bind("127.0.0.1:0")?;
/// let udp = UdpSocket::bind(tcp.local_addr()?)?;
/// let port = tcp.local_addr()?.port();
///
/// let builder = Gossip::builder(GossipConfig::local("a")).sockets(udp, tcp);
/// let events = builder.events();
/// let node = builder.start()?;
/// assert_eq!(node.bound_addr().port(), port);
/// assert!(matches!(events.try_recv(), Ok(Event::Joined { member, .. }) if *member.name == *"a"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[must_use = "nothing runs before `start`"]
pub struct GossipBuilder {
    pub(crate) config: GossipConfig,
    pub(crate) sockets: Option<(UdpSocket, TcpListener)>,
    /// The destination of the node's events, which exists before the start.
    directory: Arc<Directory>,
}

impl GossipBuilder {
    pub(crate) fn new(config: GossipConfig) -> Self {
        let directory = Arc::new(Directory::of(&config.swim.name));
        Self { config, sockets: None, directory }
    }

    /// Runs the node on sockets that are bound already: by a service manager (socket activation), in another network
    /// namespace, or by a test that must know the port beforehand. [`bind`](GossipConfig::bind) is ignored. The other fields
    /// apply, and the advertised address is found in the same way as for sockets that the node binds itself.
    ///
    /// Both sockets must be bound to the same address and port. The UDP socket must not be connected, and the TCP socket
    /// must listen. The node makes them blocking, sets their read timeouts, and asks for
    /// [`recv_buffer`](GossipConfig::recv_buffer). While it runs, nothing else may read from them, not even through a duplicate
    /// descriptor. When it has ended, its descriptors are closed, and another node can run on duplicates of them.
    ///
    /// For streams to other nodes the node opens sockets of its own, from any port of the same address, unless that is
    /// unspecified. They are opened, and routes and names are looked up, in the network namespace of the thread that calls
    /// [`start`](Self::start); to use sockets of another namespace, enter it first. Options of the given sockets (marks,
    /// devices) do not apply to the node's own.
    pub fn sockets(mut self, udp: UdpSocket, tcp: TcpListener) -> Self {
        self.sockets = Some((udp, tcp));
        self
    }

    /// Subscribes to the events of the node before it is started, so that none is missed: the first event says that this
    /// node itself has joined. A program that wants the members and their later changes calls
    /// [`Gossip::follow`](crate::Gossip::follow) instead, at any time.
    pub fn events(&self) -> Events {
        self.directory.events()
    }

    /// Binds the sockets, unless the program provided them, and starts the threads. Provided sockets are used once.
    pub(super) fn run(&mut self) -> Result<Running, Error> {
        self.try_to_run().map_err(|error| self.config.by_variables(error))
    }

    fn try_to_run(&mut self) -> Result<Running, Error> {
        let config = self.config.clone();
        let sockets = match self.sockets.take() {
            Some((udp, tcp)) => {
                config.validate_but_addresses()?;
                Sockets::adopt(&config, udp, tcp)?
            }
            None => {
                config.validate()?;
                Sockets::bind(&config)?
            }
        };
        Running::start(config, sockets, Arc::clone(&self.directory))
    }
}

impl fmt::Debug for GossipBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("GossipBuilder")
            .field("config", &self.config)
            .field("sockets", &self.sockets)
            .finish_non_exhaustive()
    }
}
