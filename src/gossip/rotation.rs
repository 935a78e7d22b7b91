//! Changes the key of a whole cluster: every member installs the new key, then all use it, then all remove the old one. A
//! step begins only when the one before has succeeded everywhere, so the cluster never splits.

use std::{
    borrow::Cow,
    collections::BTreeSet,
    fmt,
    hash::{Hash, Hasher},
    io,
    net::SocketAddr,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::{
    conversation::Conversations,
    dial::connect,
    directory::Directory,
    framed_stream::FramedStream,
    key_change::{apply, first_message},
    secrets::Purpose,
    timed_socket::Deadline,
};
use crate::{
    Error, Key, Keyring, Member,
    text::{Escaped, Quoted},
    wire::{
        frame::MAX_FRAME,
        message::{KeyAnswer, KeyChange, Message},
        packet::{self, Header},
    },
};

/// Members that are asked at the same time.
const AT_ONCE: usize = 4;

/// The steps of a key change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum KeyStep {
    /// The new key is on the keyring: packets that are sealed with it are understood.
    Install,
    /// The new key is the primary one, which seals.
    Use,
    /// All other keys are off the keyring.
    Remove,
}

/// As one word.
impl fmt::Display for KeyStep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Install => "install",
            Self::Use => "use",
            Self::Remove => "remove",
        })
    }
}

/// How to change a key, beyond the key itself.
///
/// ```
/// use syncswim::RotateOptions;
///
/// let options = RotateOptions::new().exclude(["worker-7"]);
/// assert!(options.exclude.contains("worker-7"));
/// ```
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct RotateOptions {
    /// Names of members that do not receive the new key, such as those on lost hosts. A node that joins while the key is
    /// being changed does not receive it either, as it may be one of them under another name. These members keep only the
    /// old key, and the last step cuts them off. Defaults to none.
    pub exclude: BTreeSet<String>,
}

impl RotateOptions {
    /// No member is excluded.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds to [`exclude`](Self::exclude).
    #[must_use]
    pub fn exclude<S: Into<String>>(mut self, names: impl IntoIterator<Item = S>) -> Self {
        self.exclude.extend(names.into_iter().map(Into::into));
        self
    }
}

/// The result of a key change.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Rotation {
    /// This node first, then every live member, and the excluded ones.
    pub nodes: Vec<RotatedNode>,
}

/// The result of a key change for one member.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct RotatedNode {
    /// Its name.
    pub name: Arc<str>,
    /// The address at which it was contacted.
    pub addr: SocketAddr,
    /// The last step that it confirmed.
    pub reached: Option<KeyStep>,
    /// Why it did not take a further step, if it was asked to.
    pub problem: Option<RotateProblem>,
    /// Whether it was [excluded](RotateOptions::exclude), and so not contacted.
    pub excluded: bool,
}

/// Why a member did not take a step of a key change.
#[derive(Debug, Clone, thiserror::Error, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum RotateProblem {
    /// The stream to the member could not be opened, or broke. It is not known whether the member has taken the step.
    #[error("the stream to it failed; check that it runs and is reached over TCP, and repeat the call")]
    #[non_exhaustive]
    Stream {
        /// The error of the system or of the other side.
        #[serde(with = "as_text")]
        source: Arc<io::Error>,
    },
    /// The member refused the step.
    #[error("it refused: {reason}")]
    #[non_exhaustive]
    Refused {
        /// The reason that it gave.
        reason: String,
    },
    /// The member answered with something else than the result of a key change.
    #[error("it gave no answer to a key change; check that it runs the same version")]
    NoAnswer,
}

impl RotateProblem {
    /// The form in which two problems are compared: an error of the system counts as its text, as in serde.
    fn compared(&self) -> (u8, Cow<'_, str>) {
        match self {
            Self::Stream { source } => (0, source.to_string().into()),
            Self::Refused { reason } => (1, reason.into()),
            Self::NoAnswer => (2, "".into()),
        }
    }
}

/// Errors of the system are equal if their texts are.
impl PartialEq for RotateProblem {
    fn eq(&self, other: &Self) -> bool {
        self.compared() == other.compared()
    }
}

impl Eq for RotateProblem {}

impl Hash for RotateProblem {
    fn hash<H: Hasher>(&self, hasher: &mut H) {
        self.compared().hash(hasher);
    }
}

/// Serializes an error of the system as its text.
mod as_text {
    use std::{io, sync::Arc};

    use serde::{Deserialize, Deserializer, Serializer};

    pub(super) fn serialize<S: Serializer>(error: &io::Error, to: S) -> Result<S::Ok, S::Error> {
        to.collect_str(error)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Arc<io::Error>, D::Error> {
        String::deserialize(from).map(|text| Arc::new(io::Error::other(text)))
    }
}

/// For people: `2 of 3 have the new key alone; node-b reached install: it refused: …`.
impl fmt::Display for Rotation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let asked = self.nodes.iter().filter(|node| !node.excluded).count();
        let behind: Vec<_> = self.nodes.iter().filter(|node| node.is_behind(KeyStep::Remove)).collect();
        write!(f, "{} of {asked} have the new key alone", asked - behind.len())?;
        behind.iter().enumerate().try_for_each(|(i, node)| {
            write!(f, "{} {} reached ", if i == 0 { ";" } else { "," }, Escaped(&node.name))?;
            match node.reached {
                Some(step) => step.fmt(f)?,
                None => f.write_str("no step")?,
            }
            node.problem.as_ref().map_or(Ok(()), |problem| write!(f, ": {problem}"))
        })
    }
}

impl Rotation {
    /// Whether every member that was not excluded has only the new key.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        !self.is_behind(KeyStep::Remove)
    }

    fn is_behind(&self, step: KeyStep) -> bool {
        self.nodes.iter().any(|node| node.is_behind(step))
    }

    fn has_problem(&self) -> bool {
        self.nodes.iter().any(|node| node.problem.is_some())
    }

    /// Adds a member to the list, unless it is listed.
    fn list(&mut self, member: &Member, excluded: bool) {
        if self.nodes.iter().all(|node| node.name != member.name) {
            let (name, addr) = (Arc::clone(&member.name), member.addr);
            self.nodes.push(RotatedNode { name, addr, reached: None, problem: None, excluded });
        }
    }
}

impl RotatedNode {
    fn is_behind(&self, step: KeyStep) -> bool {
        !self.excluded && self.reached < Some(step)
    }
}

/// The parts of the node that a change of the cluster's key uses.
pub(super) struct Rotator<'a> {
    pub(super) talk: &'a Conversations,
    pub(super) directory: &'a Directory,
    pub(super) stream_timeout: Duration,
}

impl Rotator<'_> {
    pub(super) fn rotate(&self, key: &Key, options: &RotateOptions) -> Result<Rotation, Error> {
        let ring = self.talk.secrets.ring()?;
        let mut rotation = self.list_first(options)?;
        let steps = [KeyStep::Install, KeyStep::Use, KeyStep::Remove];
        for last in steps {
            // A node that joins meanwhile has only the old key, and takes the earlier steps before the next one begins.
            while self.list_new(&mut rotation, options) || rotation.is_behind(last) {
                for step in steps.into_iter().filter(|step| *step <= last) {
                    if rotation.has_problem() {
                        return Ok(rotation);
                    }
                    self.ask_all(ring, &mut rotation, step, key);
                }
            }
        }
        Ok(rotation)
    }

    /// Lists this node, the members to exclude, and the live members. An unknown name is an error: a misspelt one would
    /// receive the key.
    fn list_first(&self, options: &RotateOptions) -> Result<Rotation, Error> {
        let own = self.talk.node.command(|node, _| node.local());
        let members = self.directory.members();
        let mut rotation = Rotation { nodes: Vec::new() };
        rotation.list(&own, false);
        for name in &options.exclude {
            let member = members.named(name).filter(|member| member.name != own.name);
            let problem = || {
                format!(
                    "{} is not the name of another member, so it cannot be excluded; `members` lists the names",
                    Quoted(name)
                )
            };
            rotation.list(member.ok_or_else(|| Error::Key { problem: problem() })?, true);
        }
        self.list_all(&mut rotation, false);
        Ok(rotation)
    }

    /// Adds the live members that have joined since. Returns whether any of them has to take the steps.
    fn list_new(&self, rotation: &mut Rotation, options: &RotateOptions) -> bool {
        let before = rotation.nodes.len();
        self.list_all(rotation, !options.exclude.is_empty());
        rotation.nodes[before..].iter().any(|node| !node.excluded)
    }

    fn list_all(&self, rotation: &mut Rotation, excluded: bool) {
        self.directory.members().live().for_each(|member| rotation.list(member, excluded));
    }

    /// Asks every member that has not taken a step to take it.
    fn ask_all(&self, ring: &Keyring, rotation: &mut Rotation, step: KeyStep, key: &Key) {
        let fingerprint = key.fingerprint();
        let content = if step == KeyStep::Install { &key.as_bytes()[..] } else { &fingerprint.0[..] };
        let change = KeyChange { step: step as u8, key: content };
        let left = Mutex::new(rotation.nodes.iter_mut().filter(|node| node.is_behind(step)));
        let ask = |node: &mut RotatedNode| {
            let asked = if *node.name == *self.talk.node.name {
                apply(&self.talk.node.name, ring, &change).map_err(|reason| RotateProblem::Refused { reason })
            } else {
                self.ask(node.addr, &change)
            };
            match asked {
                Ok(()) => node.reached = Some(step),
                Err(problem) => node.problem = Some(problem),
            }
        };
        let work = || {
            loop {
                let next = left.lock().next();
                let Some(node) = next else { return };
                ask(node);
            }
        };
        std::thread::scope(|scope| {
            for _ in 1..AT_ONCE {
                let name = format!("{}-keys", self.talk.node.name);
                // With fewer threads the step takes longer.
                let _ = std::thread::Builder::new().name(name).spawn_scoped(scope, work);
            }
            work();
        });
    }

    fn ask(&self, addr: SocketAddr, change: &KeyChange<'_>) -> Result<(), RotateProblem> {
        // The frame holds a key, so it is wiped in any case.
        let mut frame = Zeroizing::new(Vec::new());
        let mark = self.talk.secrets.mark();
        let mut writer = packet::Writer::new(&mut frame, Header::anonymous(mark), MAX_FRAME);
        writer.message(change);
        writer.finish();
        self.exchange(addr, &mut frame).map_err(|error| RotateProblem::Stream { source: error.into() })?;
        match first_message(&frame, mark) {
            Some(Message::KeyAnswer(KeyAnswer { problem: "" })) => Ok(()),
            Some(Message::KeyAnswer(answer)) => {
                Err(RotateProblem::Refused { reason: answer.problem.to_owned() })
            }
            _ => Err(RotateProblem::NoAnswer),
        }
    }

    /// Sends a frame over a stream that is opened to change keys, and replaces it by the answer.
    fn exchange(&self, addr: SocketAddr, frame: &mut Vec<u8>) -> io::Result<()> {
        let Conversations { node, secrets, dial, .. } = self.talk;
        let deadline = Deadline::after(&node.stop, self.stream_timeout);
        let socket = connect(&deadline, *dial, addr).map_err(|error| error.error)?;
        let mut framed = FramedStream::open_sealed(socket, deadline, secrets, Purpose::Keys)?;
        framed.send(frame)?;
        framed.receive(frame)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Gossip, GossipConfig, Stop};

    #[test]
    fn a_node_that_joins_while_others_are_excluded_is_told_nothing_either() {
        let start = |name: &str| {
            let ring = Keyring::new(Key::from([1; 32]));
            Gossip::start(GossipConfig::local(name).bind(([127, 0, 0, 1], 0)).keyring(&ring)).unwrap()
        };
        let (a, b, late) = (start("a"), start("b"), start("late"));
        // A member that has joined is listed once the clock thread has published it.
        let join = |node: &Gossip| {
            node.join([a.local().addr.to_string()]).unwrap();
            let is_listed = || a.members().named(&node.local().name).is_some();
            let moment = Duration::from_millis(1);
            assert!((0..60_000).any(|_| is_listed() || Stop::new().wait(moment)), "it is listed");
        };
        join(&b);
        let options = [RotateOptions::new(), RotateOptions::new().exclude(["b"])];
        let mut rotations = options.each_ref().map(|options| a.rotator().list_first(options).unwrap());
        join(&late);
        let listed = rotations.each_mut().map(|rotation| rotation.nodes.len());
        let follow: Vec<bool> = rotations
            .iter_mut()
            .zip(&options)
            .map(|(rotation, options)| a.rotator().list_new(rotation, options))
            .collect();
        assert_eq!((listed, follow), ([2, 2], vec![true, false]));
        let excluded = rotations.map(|rotation| {
            let excluded = rotation.nodes.iter().filter(|node| node.excluded);
            excluded.map(|node| node.name.to_string()).collect::<Vec<_>>()
        });
        assert_eq!(excluded, [vec![], vec!["b".to_owned(), "late".to_owned()]]);
    }

    #[test]
    fn a_node_that_was_excluded_is_never_behind_and_the_text_names_who_is_and_why() {
        let node = |name: &str, reached, excluded| RotatedNode {
            name: name.into(),
            addr: ([127, 0, 0, 1], 1).into(),
            reached,
            problem: None,
            excluded,
        };
        let (done, half) =
            (node("a", Some(KeyStep::Remove), false), node("b", Some(KeyStep::Install), false));
        let out = node("x", None, true);
        let behind = |node: &RotatedNode, step| node.is_behind(step);
        assert!(!behind(&done, KeyStep::Remove) && !behind(&out, KeyStep::Install));
        assert!(!behind(&half, KeyStep::Install) && behind(&half, KeyStep::Use));
        let complete = Rotation { nodes: vec![done.clone(), out.clone()] };
        assert!(complete.is_complete());
        assert_eq!(complete.to_string(), "1 of 1 have the new key alone");
        let refused = RotateProblem::Refused { reason: "no".into() };
        let half = RotatedNode { problem: Some(refused), ..half };
        assert_eq!(half, half.clone());
        let broken = |why: &str| RotateProblem::Stream { source: io::Error::other(why).into() };
        assert_eq!(broken("reset"), broken("reset"));
        assert_ne!(broken("reset"), broken("closed"));
        assert_ne!(broken("reset"), RotateProblem::NoAnswer);
        let partial = Rotation { nodes: vec![done, half, node("c", None, false), out] };
        assert!(!partial.is_complete());
        let expected = "1 of 3 have the new key alone; b reached install: it refused: no, c reached no step";
        assert_eq!(partial.to_string(), expected);
    }
}
