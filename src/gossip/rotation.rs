//! Changing the key of a whole cluster: every member installs the new key, then all use it, then all remove the
//! old one. A step begins only when the one before has succeeded everywhere, so the cluster never splits.

use std::{collections::BTreeSet, io, net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use zeroize::{Zeroize, Zeroizing};

use super::{Gossip, engine::Engine, streams};
use crate::{
    Error, Key, Keyring, Member,
    keys::key::Fingerprint,
    wire::{
        frame::MAX_FRAME,
        message::{KeyAnswer, KeyChange, MAX_PROBLEM, Message},
        packet::{self, Header},
    },
};

/// Members that are asked at the same time.
const AT_ONCE: usize = 4;

/// The steps of a key change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum KeyStep {
    /// The new key is on the ring: packets that are sealed with it are understood.
    Install,
    /// It is the primary one: it seals.
    Use,
    /// All others are off the ring.
    Remove,
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
    /// Names of members that are not told the new key: of hosts that were lost, say. Who joins while the key is being
    /// changed is not told it either then, for it may be one of them under another name. They keep the old key
    /// alone and are cut off by the last step. Defaults to none.
    pub exclude: BTreeSet<String>,
}

impl RotateOptions {
    /// Every member is told.
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

/// How far a key change came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// This node first, then every live member, and who was excluded.
    pub nodes: Vec<RotatedNode>,
}

/// How far it came on one member.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct RotatedNode {
    /// Its name.
    pub name: Arc<str>,
    /// Where it was asked.
    pub addr: SocketAddr,
    /// The last step that it confirmed.
    pub reached: Option<KeyStep>,
    /// Why it did not go further, if it was asked to.
    pub problem: Option<String>,
    /// Whether it was [excluded](RotateOptions::exclude): it was asked nothing and told nothing.
    pub excluded: bool,
}

impl Rotation {
    /// Whether every member that was not excluded has the new key alone.
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

    /// Lists a member, unless it is listed.
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

impl Gossip {
    /// Changes the key of the whole cluster, in three steps, and says how far each live member came. If one does
    /// not follow, no later step is taken: all still understand each other then, and the call may be repeated
    /// with the same key. Members that are down keep the old key alone and cannot come back without the new one.
    ///
    /// It takes one stream per member and step, sealed with the key in use and an ephemeral one, so that a recording
    /// and the old key do not reveal the new one. Change one key at a time: of two that are changed at once, some
    /// members may end up with the one and some with the other. A ring that is full drops its oldest key for the new one.
    ///
    /// # Errors
    /// [`Error::Key`] if this node has no keyring, [`Error::Stopped`] if it has ended.
    pub fn rotate_key(&self, key: &Key) -> Result<Rotation, Error> {
        self.rotate_key_with(key, &RotateOptions::new())
    }

    /// [`rotate_key`](Self::rotate_key) without those who are not to be told the new key.
    ///
    /// It keeps the key from hosts that were lost, not from somebody who holds the old key, listens and wants the new
    /// one: that one can have joined under any name. Then hand the new key over by another way, and change it by
    /// hand on each node's [`Keyring`].
    ///
    /// # Errors
    /// As `rotate_key`, and [`Error::Key`] if a name to exclude is this node's own or no known member's. Nothing was
    /// changed then.
    pub fn rotate_key_with(&self, key: &Key, options: &RotateOptions) -> Result<Rotation, Error> {
        self.check_running()?;
        let engine = &*self.engine;
        let ring = engine.secrets.ring()?;
        let mut rotation = self.list_first(options)?;
        let steps = [KeyStep::Install, KeyStep::Use, KeyStep::Remove];
        for last in steps {
            // Who joins meanwhile does so with the old key alone, and must catch up before anybody goes on.
            while self.list_new(&mut rotation, options) || rotation.is_behind(last) {
                for step in steps.into_iter().filter(|step| *step <= last) {
                    if rotation.has_problem() {
                        return Ok(rotation);
                    }
                    ask_all(engine, ring, &mut rotation, step, key);
                }
            }
        }
        Ok(rotation)
    }

    /// This node and those to exclude. A name that is misspelt would be told the key, so it is an error.
    fn list_first(&self, options: &RotateOptions) -> Result<Rotation, Error> {
        let (own, members) = (self.local(), self.members());
        let mut rotation = Rotation { nodes: Vec::new() };
        rotation.list(&own, false);
        for name in &options.exclude {
            let member = members.named(name).filter(|member| member.name != own.name);
            let problem = || format!("{name:?} is not the name of another member, so it cannot be excluded");
            rotation.list(member.ok_or_else(|| Error::Key { problem: problem() })?, true);
        }
        self.list_all(&mut rotation, false);
        Ok(rotation)
    }

    /// Adds the live members that have joined since; says whether any has to follow.
    fn list_new(&self, rotation: &mut Rotation, options: &RotateOptions) -> bool {
        let before = rotation.nodes.len();
        self.list_all(rotation, !options.exclude.is_empty());
        rotation.nodes[before..].iter().any(|node| !node.excluded)
    }

    fn list_all(&self, rotation: &mut Rotation, excluded: bool) {
        self.members().live().for_each(|member| rotation.list(member, excluded));
    }
}

/// Has every member take a step that it has not taken yet.
fn ask_all(engine: &Engine, ring: &Keyring, rotation: &mut Rotation, step: KeyStep, key: &Key) {
    let fingerprint = key.fingerprint();
    let content = if step == KeyStep::Install { &key.as_bytes()[..] } else { &fingerprint.0[..] };
    let change = KeyChange { step: step as u8, key: content };
    let left = Mutex::new(rotation.nodes.iter_mut().filter(|node| node.is_behind(step)));
    let ask = |node: &mut RotatedNode| {
        let asked: Result<(), String> = if *node.name == *engine.name {
            apply(engine, ring, &change)
        } else {
            ask(engine, node.addr, &change)
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
            let name = format!("{}-keys", engine.name);
            // Without helpers it takes longer.
            let _ = std::thread::Builder::new().name(name).spawn_scoped(scope, work);
        }
        work();
    });
}

fn ask(engine: &Engine, addr: SocketAddr, change: &KeyChange<'_>) -> Result<(), String> {
    // It carries a key: wiped however this ends.
    let mut frame = Zeroizing::new(Vec::new());
    let mark = engine.secrets.mark();
    let mut writer = packet::Writer::new(&mut frame, Header::anonymous(mark), MAX_FRAME);
    writer.message(change);
    writer.finish();
    let answered = streams::ask_about_keys(engine, addr, &mut frame);
    answered.map_err(|error: io::Error| error.to_string())?;
    match first_message(&frame, mark) {
        Some(Message::KeyAnswer(KeyAnswer { problem: "" })) => Ok(()),
        Some(Message::KeyAnswer(answer)) => Err(answer.problem.to_owned()),
        _ => Err("it gave no answer to a key change".into()),
    }
}

/// Makes the key change that is in the frame, and puts the answer in its place. The stream must have been opened to
/// change keys.
pub(super) fn answer(engine: &Engine, frame: &mut Vec<u8>) {
    let mark = engine.secrets.mark();
    let applied = match first_message(frame, mark) {
        Some(Message::KeyChange(change)) => change_here(engine, &change),
        _ => Err("that is no key change".to_owned()),
    };
    // Four bytes at most for each.
    let problem: String = applied.err().unwrap_or_default().chars().take(MAX_PROBLEM / 4).collect();
    // It may carry a key.
    frame.zeroize();
    let mut writer = packet::Writer::new(frame, Header::anonymous(mark), MAX_FRAME);
    writer.message(&KeyAnswer { problem: &problem });
    writer.finish();
}

fn change_here(engine: &Engine, change: &KeyChange<'_>) -> Result<(), String> {
    let ring = engine.secrets.ring().map_err(|error| error.to_string());
    let applied = ring.and_then(|ring| apply(engine, ring, change));
    let result = applied.as_ref().err().map_or("done", |problem| problem);
    log::info!("{}: key change, step {}: {result}", engine.name, change.step);
    applied
}

fn first_message(frame: &[u8], mark: u32) -> Option<Message<'_>> {
    packet::open(frame, mark).ok()?.1.next()?.ok()?.message().ok()?
}

fn apply(engine: &Engine, ring: &Keyring, change: &KeyChange<'_>) -> Result<(), String> {
    let target = || change.key.try_into().map(Fingerprint).map_err(|_| "that is no fingerprint".to_owned());
    let applied = match change.step {
        0 => {
            let key: &[u8; 32] = change.key.try_into().map_err(|_| "that is no key".to_owned())?;
            if let Some(evicted) = ring.install_newest(Key::from(key)) {
                log::warn!("{}: the ring was full: key {evicted} made room for a new one", engine.name);
            }
            Ok(())
        }
        1 => ring.use_key(target()?),
        2 => {
            let kept = target()?;
            if ring.list().first() != Some(&kept) {
                return Err(format!("key {kept} is not in use here"));
            }
            ring.list().into_iter().skip(1).try_for_each(|other| ring.remove(other))
        }
        _ => return Err("that step is not known here".into()),
    };
    applied.map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::{GossipConfig, Stop};

    #[test]
    fn who_joins_while_others_are_excluded_is_told_nothing_either() {
        let start = |name: &str| {
            let ring = Keyring::new(Key::from([1; 32]));
            Gossip::start(GossipConfig::local(name).bind(([127, 0, 0, 1], 0)).keyring(&ring)).unwrap()
        };
        let (a, b, late) = (start("a"), start("b"), start("late"));
        // Who has joined is listed once the clock thread has told of it.
        let join = |node: &Gossip| {
            node.join([a.local().addr.to_string()]).unwrap();
            let is_listed = || a.members().named(&node.local().name).is_some();
            let moment = Duration::from_millis(1);
            assert!((0..60_000).any(|_| is_listed() || Stop::new().wait(moment)), "it is listed");
        };
        join(&b);
        let options = [RotateOptions::new(), RotateOptions::new().exclude(["b"])];
        let mut rotations = options.each_ref().map(|options| a.list_first(options).unwrap());
        join(&late);
        let listed = rotations.each_mut().map(|rotation| rotation.nodes.len());
        let follow: Vec<bool> = rotations
            .iter_mut()
            .zip(&options)
            .map(|(rotation, options)| a.list_new(rotation, options))
            .collect();
        assert_eq!((listed, follow), ([2, 2], vec![true, false]));
        let excluded = rotations.map(|rotation| {
            let excluded = rotation.nodes.iter().filter(|node| node.excluded);
            excluded.map(|node| node.name.to_string()).collect::<Vec<_>>()
        });
        assert_eq!(excluded, [vec![], vec!["b".to_owned(), "late".to_owned()]]);
    }
}
