//! Everything that can go wrong, and what to do about it.

use std::{any::Any, borrow::Cow, error::Error as _, fmt, io, net::SocketAddr, time::Duration};

use serde::{Deserialize, Serialize};

use crate::text::{Brief, Quoted, some_of};

mod join_problem;
pub use join_problem::JoinProblem;

/// The error with which a [`Discovery`](crate::Discovery) ends.
pub type BoxError = Box<dyn std::error::Error + Send + Sync>;

/// An error of this library. Each message names what is wrong and what to do next.
///
/// By convention the message of an error leaves out its [`source`](std::error::Error::source): a program that prints an
/// error prints its sources too. [`report`](Self::report) does that.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A socket could not be bound. Nothing was started.
    #[error("cannot bind {addr} (choose an address of this host and a free port, or port 0 for any)")]
    #[non_exhaustive]
    Bind {
        /// The address that was asked for.
        addr: SocketAddr,
        /// What the system answered.
        source: io::Error,
    },

    /// A configuration cannot work: a field of it, or a text that was given for one. Nothing was started.
    #[error("bad configuration: `{}` {problem}", Brief(.field))]
    #[non_exhaustive]
    Config {
        /// The field's name as in the configuration struct; or the key, or the environment variable, that holds the value.
        field: Cow<'static, str>,
        /// What is wrong with its value, and what it should be.
        problem: String,
    },

    /// An argument of a call, or a text that was to be read, is not valid. Nothing was done.
    #[error("`{}` {problem}", Brief(.what))]
    #[non_exhaustive]
    Invalid {
        /// The argument, or what the text was to be.
        what: Cow<'static, str>,
        /// What is wrong with it, and what it should be.
        problem: String,
    },

    /// A host name could not be resolved to any address. Nothing was changed.
    #[error("cannot resolve {} ({remedy})", Quoted(.host))]
    #[non_exhaustive]
    Resolve {
        /// The name as given.
        host: String,
        /// What to check or give instead.
        remedy: String,
        /// What the resolver answered.
        source: io::Error,
    },

    /// No seed could be joined. The node goes on as it was.
    #[error("joined none of {}", some_of(.seeds))]
    #[non_exhaustive]
    Join {
        /// The seeds that were tried.
        seeds: Vec<String>,
        /// Why the last of them failed.
        source: JoinProblem,
    },

    /// Another live process holds this node's name and keeps it. This node is not in the cluster.
    #[error("the name `{name}` is held by a live node at {addr}; choose another name or stop that node")]
    #[non_exhaustive]
    NameTaken {
        /// The name both want.
        name: String,
        /// Where its holder answered.
        addr: SocketAddr,
    },

    /// Members answered, but none of them reaches this node at its advertised address, so no member lists it.
    #[error(
        "nobody can reach this node at {addr} (check `advertise`, and that firewalls let UDP and TCP in there)"
    )]
    #[non_exhaustive]
    AddressUnreachable {
        /// The advertised address.
        addr: SocketAddr,
    },

    /// This node left, but no member acknowledged the leave, neither by datagram nor by stream: the members may list this
    /// node as failed.
    #[error(
        "no member confirmed the leave within {took:?}: others may take this node for failed; check the network, or raise leave_timeout"
    )]
    #[non_exhaustive]
    LeaveUnconfirmed {
        /// How long the node waited for an acknowledgement.
        took: Duration,
    },

    /// The member is live, so it cannot be removed. Nothing was changed.
    #[error(
        "{} is live, and only a failed member can be removed (stop its process, so that it leaves by itself; to keep it out, change the key without it)",
        Quoted(.name)
    )]
    #[non_exhaustive]
    StillLive {
        /// Its name.
        name: String,
    },

    /// No member of this name is listed. Nothing was changed.
    #[error("no member is called {} (look at the names of the members that are listed)", Quoted(.name))]
    #[non_exhaustive]
    UnknownMember {
        /// The name that was asked for.
        name: String,
    },

    /// A key or keyring cannot do what was asked. Nothing was changed.
    #[error("keyring: {problem}")]
    #[non_exhaustive]
    Key {
        /// What is wrong, and what to do. It never contains a key.
        problem: String,
    },

    /// The operating system refused a thread or another resource. Nothing was started.
    #[error("cannot start {what} (raise the process limits or start fewer nodes)")]
    #[non_exhaustive]
    Spawn {
        /// What was to be started.
        what: String,
        /// What the system answered.
        source: io::Error,
    },

    /// The operating system gave no random bytes, so there is no key and nothing can be sealed. Nothing was changed.
    #[error("the system gave no randomness (check that this process may use its random number generator)")]
    #[non_exhaustive]
    Randomness {
        /// What the system answered.
        source: io::Error,
    },

    /// The flight recording cannot be written there. Nothing is recorded; the node goes on.
    #[error("cannot record to {} (choose a file that this process may write, in a folder that exists)", Quoted(&path.to_string_lossy()))]
    #[non_exhaustive]
    Recording {
        /// The file.
        path: std::path::PathBuf,
        /// What the system answered.
        source: io::Error,
    },

    /// The state file cannot be used. Nothing was started, and the file is as it was.
    #[error("cannot use the state file {} (give this node a file of its own that it may read and write, in a folder that exists and that it may write to; if it was this node's, remove it)", Quoted(&path.to_string_lossy()))]
    #[non_exhaustive]
    StateFile {
        /// The file.
        path: std::path::PathBuf,
        /// What the system answered, or which node the file belongs to.
        source: io::Error,
    },

    /// A discovery failed, and the cluster was stopped because of it. The source says what to do.
    #[error("discovery `{}` failed", Brief(.name))]
    #[non_exhaustive]
    Discovery {
        /// [`Discovery::name`](crate::Discovery::name) of the one that failed.
        name: String,
        /// What it failed with.
        source: BoxError,
    },

    /// A thread panicked. The node or cluster that it belonged to was stopped; its watches and handles are closed.
    #[error("`{}` panicked: {message}; this is a bug in it: report it, and restart", Brief(.what))]
    #[non_exhaustive]
    Panicked {
        /// The discovery or thread.
        what: String,
        /// The panic's message.
        message: String,
    },

    /// The member has failed or left. Nothing was sent.
    #[error("{} is not live: {ended_by} ({})", Quoted(.name), .ended_by.remedy())]
    #[non_exhaustive]
    NotLive {
        /// Its name.
        name: String,
        /// How its life ended.
        ended_by: EndedBy,
    },

    /// The member did not answer and, as far as this node can tell, nothing that was sent has reached it.
    #[error("{} was not reached within {took:?}: {ended_by} ({})", Quoted(.name), .ended_by.remedy())]
    #[non_exhaustive]
    NotReached {
        /// Its name.
        name: String,
        /// How long this node tried.
        took: Duration,
        /// Why it stopped trying.
        ended_by: EndedBy,
    },

    /// The member has no reader for the topic. The message was not delivered.
    #[error("nobody at {} reads {} (have it open an inbox for the topic, or serve it)", Quoted(.name), Quoted(.topic))]
    #[non_exhaustive]
    NoReader {
        /// The member.
        name: String,
        /// The topic.
        topic: String,
    },

    /// A limit on concurrent work, or on its rate, is reached, at the member or in this node. Nothing was done.
    #[error("{} is busy: {most} at most; {remedy}", Who(.member.as_deref()))]
    #[non_exhaustive]
    Busy {
        /// The member's name; `None` if it is this node.
        member: Option<String>,
        /// The limit, as a number with what it counts.
        most: Cow<'static, str>,
        /// What to do.
        remedy: Cow<'static, str>,
    },

    /// A size or a count exceeds its limit. Nothing was done.
    #[error("{size} {what} are too many: {limit} at most; {remedy}")]
    #[non_exhaustive]
    TooLarge {
        /// What was counted, as "bytes of a key".
        what: Cow<'static, str>,
        /// How many there are.
        size: usize,
        /// How many are allowed.
        limit: usize,
        /// What to do.
        remedy: Cow<'static, str>,
    },

    /// The member was asked, and its answer did not arrive. **The member may have acted.**
    #[error("{} gave no answer within {took:?}, as {ended_by}; it may have acted (ask what it did before you repeat it)", Quoted(.name))]
    #[non_exhaustive]
    Unanswered {
        /// Its name.
        name: String,
        /// How long the caller waited.
        took: Duration,
        /// What ended the wait.
        ended_by: EndedBy,
    },

    /// The member's application refused the request. Whether it did something before it refused, only that application knows.
    #[error("the application of {} refused it: {} (whether to ask again depends on that reason)", Quoted(.name), Quoted(.reason))]
    #[non_exhaustive]
    Refused {
        /// The member.
        name: String,
        /// Why.
        reason: String,
    },

    /// The requester has given up, so the answer was not delivered.
    #[error("the request's sender has given up; answer sooner, or have it wait longer")]
    #[non_exhaustive]
    TooLate,

    /// The node has left the cluster. It goes on answering the others until it is shut down, but cannot come back. Nothing was
    /// changed.
    #[error("the node has left the cluster and cannot come back; start a new one")]
    #[non_exhaustive]
    Left,

    /// The node was shut down, so it can do nothing more. Start a new one.
    #[error("the node has stopped; start a new one")]
    #[non_exhaustive]
    Stopped,

    /// The call did not finish in its time. It may still take effect.
    #[error("waited {took:?} for {what}; it may still come: look again later, or wait longer")]
    #[non_exhaustive]
    Timeout {
        /// What was waited for, and how far it came.
        what: String,
        /// How long.
        took: Duration,
    },
}

impl Error {
    pub(crate) fn config(field: impl Into<Cow<'static, str>>, problem: impl Into<String>) -> Self {
        Self::Config { field: field.into(), problem: problem.into() }
    }

    pub(crate) fn invalid(what: impl Into<Cow<'static, str>>, problem: impl Into<String>) -> Self {
        Self::Invalid { what: what.into(), problem: problem.into() }
    }

    pub(crate) fn busy(
        member: Option<String>,
        most: impl Into<Cow<'static, str>>,
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::Busy { member, most: most.into(), remedy: remedy.into() }
    }

    /// There are `size` of `what`, of which there may be `limit`.
    pub(crate) fn too_large(
        what: impl Into<Cow<'static, str>>,
        (size, limit): (usize, usize),
        remedy: impl Into<Cow<'static, str>>,
    ) -> Self {
        Self::TooLarge { what: what.into(), size, limit, remedy: remedy.into() }
    }

    /// Makes an invalid argument or text an error of the configuration field that it was given for.
    pub(crate) fn in_field(self, field: impl Into<Cow<'static, str>>) -> Self {
        match self {
            Self::Invalid { problem, .. } => Self::config(field, problem),
            Self::TooLarge { what, size, limit, remedy } => {
                Self::config(field, format!("is too large: {size} {what}, {limit} at most; {remedy}"))
            }
            other => other,
        }
    }

    /// Whether the other member may have acted although a [`send`](crate::Gossip::send) or
    /// [`request`](crate::Gossip::request) failed. If not, the call may be repeated safely.
    #[must_use]
    pub fn may_have_acted(&self) -> bool {
        matches!(
            self,
            Self::Unanswered { .. }
                | Self::Refused { .. }
                | Self::Stopped
                | Self::Panicked { .. }
                | Self::Timeout { .. }
        )
    }

    /// The messages of this error and of all its sources in one line, for people.
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

/// What ended the wait for an answer that did not come.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum EndedBy {
    /// The time was over. The member is live, as far as this node knows.
    Timeout,
    /// The member failed.
    Failure,
    /// The member was restarted. Its new life knows nothing of what was asked.
    Restart,
    /// The member left.
    Leave,
    /// The member has already dropped its record of the message or request.
    Expired,
    /// The time was over. The caller had left so many answers of the [query](crate::Gossip::query) unread that the node
    /// fetched no more.
    Unread,
    /// This node left the cluster meanwhile.
    Abandoned,
}

impl EndedBy {
    /// What to do about it if nothing has reached the member.
    fn remedy(self) -> &'static str {
        match self {
            Self::Timeout => "check the network between the two nodes, or wait longer",
            Self::Failure | Self::Leave => "wait until it is back, or choose another member",
            Self::Restart | Self::Expired => "repeat it",
            Self::Unread => "read answers as they come",
            Self::Abandoned => "start a new node",
        }
    }
}

/// As `the time was over`.
impl fmt::Display for EndedBy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Timeout => "the time was over",
            Self::Failure => "it failed",
            Self::Restart => "it was restarted",
            Self::Leave => "it left",
            Self::Expired => "its record of it has expired",
            Self::Unread => "earlier answers were not read",
            Self::Abandoned => "this node left",
        })
    }
}

/// A member, or this node.
struct Who<'a>(Option<&'a str>);

impl fmt::Display for Who<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(name) => Quoted(name).fmt(f),
            None => f.write_str("this node"),
        }
    }
}

/// The message of a caught panic.
pub(crate) fn message_of(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("(no message)").into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Cluster, Gossip, GossipConfig, GossipDiscovery};

    /// What the message of an error tells its reader to do. A variant that is added needs a line here.
    fn remedy(error: &Error) -> &'static str {
        match error {
            Error::Bind { .. } => "choose an address of this host and a free port",
            // The code that makes such an error adds the remedy: here, those of `by_the_library`.
            Error::Config { .. } => "must have 1 to 128 bytes",
            // The same holds here.
            Error::Invalid { .. } => "it must be accept, send or require",
            Error::Resolve { .. } => "check the spelling and the resolver, or give an address",
            Error::Key { .. } => "openssl rand -hex 32",
            // Its source says what to do.
            Error::Join { .. } => "start a node there",
            Error::NameTaken { .. } => "choose another name or stop that node",
            Error::AddressUnreachable { .. } => "check `advertise`",
            Error::LeaveUnconfirmed { .. } => "check the network, or raise leave_timeout",
            Error::StillLive { .. } => "stop its process",
            Error::UnknownMember { .. } => "look at the names",
            Error::Spawn { .. } => "raise the process limits or start fewer nodes",
            Error::Randomness { .. } => "check that this process may use",
            Error::Recording { .. } => "choose a file that this process may write",
            Error::StateFile { .. } => "give this node a file of its own",
            // Its source says what to do: here, that the port is taken.
            Error::Discovery { .. } => "choose an address of this host and a free port",
            Error::Panicked { .. } => "report it",
            Error::NotLive { .. } => "wait until it is back",
            Error::NotReached { .. } => "check the network",
            Error::NoReader { .. } => "have it open an inbox",
            // The code that makes it adds the remedy.
            Error::Busy { .. } => "broadcast less often",
            Error::TooLarge { .. } => "choose a shorter one",
            Error::Unanswered { .. } => "ask what it did",
            Error::Refused { .. } => "whether to ask again depends on that reason",
            Error::TooLate => "answer sooner",
            Error::Left | Error::Stopped => "start a new one",
            Error::Timeout { .. } => "look again later, or wait longer",
        }
    }

    /// Errors whose texts are made where they arise.
    fn by_the_library() -> Vec<Error> {
        let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let config = GossipConfig::local("n").bind(taken.local_addr().unwrap());
        let cluster = Cluster::new().with_discovery(GossipDiscovery::new(config));
        vec![
            GossipConfig::local("").validate().unwrap_err(),
            Gossip::start(GossipConfig::local("n").bind("no-such-host.invalid")).unwrap_err(),
            cluster.start().unwrap_err(),
            #[cfg(feature = "encryption")]
            "0102".parse::<crate::Key>().unwrap_err(),
            #[cfg(feature = "encryption")]
            "yes".parse::<crate::Encryption>().unwrap_err(),
        ]
    }

    /// One of each other variant; those with a source say "no luck" in it.
    fn one_of_each() -> Vec<Error> {
        let system = || io::Error::other("no luck");
        let (addr, took) = (SocketAddr::from(([127, 0, 0, 1], 1)), Duration::from_secs(1));
        vec![
            Error::Bind { addr, source: system() },
            Error::Join { seeds: vec!["s".into()], source: JoinProblem::Refused { addr } },
            Error::NameTaken { name: "n".into(), addr },
            Error::AddressUnreachable { addr },
            Error::LeaveUnconfirmed { took },
            Error::StillLive { name: "n".into() },
            Error::UnknownMember { name: "n".into() },
            Error::Spawn { what: "w".into(), source: system() },
            Error::Randomness { source: system() },
            Error::Recording { path: "p".into(), source: system() },
            Error::StateFile { path: "p".into(), source: system() },
            Error::Panicked { what: "w".into(), message: "m".into() },
            Error::NotLive { name: "n".into(), ended_by: EndedBy::Failure },
            Error::NotReached { name: "n".into(), took, ended_by: EndedBy::Timeout },
            Error::NoReader { name: "n".into(), topic: "t".into() },
            Error::busy(None, "1 broadcast", "broadcast less often"),
            Error::too_large("bytes", (2, 1), "choose a shorter one"),
            Error::Unanswered { name: "n".into(), took, ended_by: EndedBy::Timeout },
            Error::Refused { name: "n".into(), reason: "r".into() },
            Error::TooLate,
            Error::Left,
            Error::Stopped,
            Error::Timeout { what: "w".into(), took },
        ]
    }

    #[test]
    fn every_message_says_what_to_do_and_leaves_out_its_source() {
        for error in one_of_each().into_iter().chain(by_the_library()) {
            let said_by_source = matches!(error, Error::Discovery { .. } | Error::Join { .. });
            let said = if said_by_source { error.report() } else { error.to_string() };
            assert!(said.contains(remedy(&error)), "{said}");
            let mut level: &dyn std::error::Error = &error;
            while let Some(source) = level.source() {
                let (text, cause) = (level.to_string(), source.to_string());
                assert!(!cause.is_empty() && !text.contains(&cause), "{text}");
                assert_eq!(error.report().matches(&cause).count(), 1, "{}", error.report());
                level = source;
            }
        }
    }

    #[test]
    fn every_problem_of_a_join_says_where_it_was_and_what_to_do() {
        let addr = SocketAddr::from(([10, 0, 0, 1], 7));
        let problems = [
            (JoinProblem::NoAddress, "check their names, or give addresses"),
            (JoinProblem::Refused { addr }, "start a node there, or correct the port"),
            (JoinProblem::TimedOut { addr }, "check that a node runs there"),
            (JoinProblem::Rejected { addr }, "check that it is a node of this cluster"),
            (JoinProblem::NameTaken { holder: addr }, "choose another name or stop that node"),
            (JoinProblem::AddressUnreachable { addr }, "check `advertise`"),
            (JoinProblem::NotTried { addr }, "check that this host has a route there"),
            (JoinProblem::Unavailable, "try again later"),
        ];
        for (problem, remedy) in problems {
            let text = problem.to_string();
            assert!(text.contains(remedy), "{text}");
            let is_somewhere = !matches!(problem, JoinProblem::NoAddress | JoinProblem::Unavailable);
            assert_eq!(text.contains("10.0.0.1:7"), is_somewhere, "{text}");
            let error = Error::Join { seeds: vec!["db:7".into()], source: problem.clone() };
            assert_eq!(error.source().and_then(|source| source.downcast_ref()), Some(&problem));
            assert_eq!(error.report(), format!("{error}: {text}"));
        }
    }
}
