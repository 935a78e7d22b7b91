//! Why an address could not be joined.

use std::{fmt, net::SocketAddr};

use serde::{Deserialize, Serialize};

/// Why an address could not be joined.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum JoinProblem {
    /// There was no address to try.
    NoAddress,
    /// Nobody listens there.
    #[non_exhaustive]
    Refused {
        /// Where.
        addr: SocketAddr,
    },
    /// No answer came in time.
    #[non_exhaustive]
    TimedOut {
        /// Where.
        addr: SocketAddr,
    },
    /// The process that answers there is not a node of this cluster.
    #[non_exhaustive]
    Rejected {
        /// Where.
        addr: SocketAddr,
    },
    /// A live node at `holder` has this node's name.
    #[non_exhaustive]
    NameTaken {
        /// Where it answered.
        holder: SocketAddr,
    },
    /// Members answered, but none of them lists this node or reaches it at the address that it advertises.
    #[non_exhaustive]
    AddressUnreachable {
        /// The advertised address.
        addr: SocketAddr,
    },
    /// Nothing could be sent there: this host has no route, or no room for another connection.
    #[non_exhaustive]
    NotTried {
        /// Where.
        addr: SocketAddr,
    },
    /// No address was tried: the node is leaving, or too many joins are under way.
    Unavailable,
}

impl JoinProblem {
    /// The address that could not be joined, if it was one; `None` for this node's own.
    #[must_use]
    pub fn addr(&self) -> Option<SocketAddr> {
        match self {
            Self::Refused { addr }
            | Self::TimedOut { addr }
            | Self::Rejected { addr }
            | Self::NotTried { addr } => Some(*addr),
            Self::NameTaken { holder } => Some(*holder),
            Self::NoAddress | Self::AddressUnreachable { .. } | Self::Unavailable => None,
        }
    }
}

impl fmt::Display for JoinProblem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoAddress => write!(f, "no seed has an address; check their names, or give addresses"),
            Self::Refused { addr } => {
                write!(f, "nobody listens at {addr}; start a node there, or correct the port")
            }
            Self::TimedOut { addr } => write!(
                f,
                "{addr} did not answer in time; check that a node runs there and that firewalls let UDP and TCP pass"
            ),
            Self::Rejected { addr } => write!(
                f,
                "{addr} closed the stream; check that it is a node of this cluster, with the same version and key"
            ),
            Self::NameTaken { holder } => {
                write!(
                    f,
                    "a live node at {holder} has this node's name; choose another name or stop that node"
                )
            }
            Self::AddressUnreachable { addr } => write!(
                f,
                "nobody can reach this node at {addr}; check `advertise`, and that firewalls let UDP and TCP in there"
            ),
            Self::NotTried { addr } => write!(
                f,
                "nothing could be sent to {addr}; check that this host has a route there, and its limits"
            ),
            Self::Unavailable => {
                write!(f, "this node is leaving, or too many joins are under way; try again later")
            }
        }
    }
}

impl std::error::Error for JoinProblem {}
