//! Everything that can go wrong, and what to do about it.

use std::{any::Any, error::Error as _, io, net::SocketAddr};

/// Any error a [`Discovery`](crate::Discovery) wants to end with.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An error of this library. Each message names what is wrong and what to do next.
///
/// As is the custom, the message leaves out the [`source`](std::error::Error::source), for whoever prints errors with all
/// their causes. [`report`](Self::report) does that.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A socket could not be bound. Nothing was started.
    #[error("cannot bind {addr} (choose an address of this host and a free port, or port 0 for any)")]
    Bind {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },

    /// A configuration field holds a value that cannot work. Nothing was started.
    #[error("bad configuration: `{field}` {problem}")]
    Config {
        /// The field's name, as in the configuration struct.
        field: &'static str,
        /// What is wrong with its value, and what it should be.
        problem: String,
    },

    /// A host name could not be resolved to any address. Nothing was changed.
    #[error("cannot resolve `{host}` (check the spelling and the resolver, or give an address)")]
    Resolve {
        /// The name as given.
        host: String,
        /// What the resolver answered.
        source: io::Error,
    },

    /// No seed could be joined. The node goes on as it was.
    #[error("joined none of {seeds}: {problem}; check that a node listens there, over UDP and TCP")]
    Join {
        /// The seeds that were tried.
        seeds: String,
        /// Why the last of them failed.
        problem: String,
    },

    /// Another live process holds this node's name. The incumbent stays; this node is not in the cluster.
    #[error("the name `{name}` is held by a live node at {addr}; choose another name or stop that node")]
    NameTaken {
        /// The name both want.
        name: String,
        /// Where its holder answered.
        addr: SocketAddr,
    },

    /// Members answered, but none can reach this node where it says it is, so it is in nobody's list.
    #[error(
        "nobody can reach this node at {addr} (check `advertise`, and that firewalls let UDP and TCP in there)"
    )]
    Unreached {
        /// The advertised address.
        addr: SocketAddr,
    },

    /// The farewell was said, and no member confirmed it, neither by datagram nor by stream: they may take this node for
    /// failed.
    #[error(
        "no member confirmed the farewell within {limit:?}: others may take this node for failed; check the network, or raise leave_timeout"
    )]
    Unheard {
        /// How long it was tried.
        limit: std::time::Duration,
    },

    /// Tags do not fit in their limit. The old tags stay in force.
    #[error("tags take {size} bytes encoded but at most {limit} are allowed; shorten or drop some")]
    TagsTooLarge {
        /// Their encoded size in bytes.
        size: usize,
        /// The limit in bytes.
        limit: usize,
    },

    /// A key or keyring cannot do what was asked. Nothing was changed.
    #[error("keyring: {problem}")]
    Key {
        /// What is wrong, and what to do. Never a key.
        problem: String,
    },

    /// A thread or another resource of the operating system was refused. Nothing was started.
    #[error("cannot start {what} (raise the process limits or start fewer nodes)")]
    Spawn {
        /// What was to be started.
        what: String,
        /// What the system answered.
        source: io::Error,
    },

    /// A discovery failed. The cluster was stopped because of it.
    #[error("discovery `{name}` failed")]
    Discovery {
        /// [`Discovery::name`](crate::Discovery::name) of the one that failed.
        name: String,
        /// What it failed with.
        source: BoxError,
    },

    /// A thread panicked. Whatever it served was stopped; watches and handles are closed.
    #[error("`{what}` panicked: {message}; this is a bug in it")]
    Panicked {
        /// The discovery or thread.
        what: String,
        /// The panic's message.
        message: String,
    },

    /// The node has said good-bye. It goes on answering the others until it is shut down, but cannot come back. Nothing was
    /// changed.
    #[error("the node has left the cluster and cannot come back; start a new one")]
    Left,

    /// The node was shut down, so it can do nothing more. Start a new one.
    #[error("the node has stopped; start a new one")]
    Stopped,

    /// The call did not finish in its time. It may still take effect.
    #[error("{what} did not finish within {limit:?}")]
    Timeout {
        /// What was waited for.
        what: &'static str,
        /// How long.
        limit: std::time::Duration,
    },
}

impl Error {
    /// The message with those of all causes, in one line: for people.
    ///
    /// ```
    /// use syncswim::{Cluster, Membership, Stop};
    ///
    /// let cluster = Cluster::new().with_discovery(|_: &Membership, _: &Stop| Err("out of ideas"));
    /// let error = cluster.start()?.join().unwrap_err();
    /// assert_eq!(error.to_string(), "discovery `closure` failed");
    /// assert_eq!(error.report(), "discovery `closure` failed: out of ideas");
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    #[must_use]
    pub fn report(&self) -> String {
        let (mut text, mut cause) = (self.to_string(), self.source());
        while let Some(error) = cause {
            text = format!("{text}: {error}");
            cause = error.source();
        }
        text
    }
}

/// What a caught panic said.
pub(crate) fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no message)").into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_message_repeats_its_source_and_the_report_has_each_once() {
        let system = || io::Error::other("no luck");
        let bind = Error::Bind { addr: ([127, 0, 0, 1], 1).into(), source: system() };
        let errors = [
            Error::Discovery { name: "x".into(), source: bind.into() },
            Error::Resolve { host: "h".into(), source: system() },
            Error::Spawn { what: "w".into(), source: system() },
            Error::Discovery { name: "x".into(), source: "no luck".into() },
        ];
        for error in errors {
            let mut level: &dyn std::error::Error = &error;
            while let Some(source) = level.source() {
                assert!(!level.to_string().contains(&source.to_string()), "{level}");
                level = source;
            }
            assert_eq!(error.report().matches("no luck").count(), 1, "{}", error.report());
        }
    }
}
