//! Changing the key of a whole cluster: every member installs the new key, then all use it, then all remove the
//! old one. A step begins only when the one before has succeeded everywhere, so the cluster never splits.

use std::{io, net::SocketAddr, sync::Arc};

use parking_lot::Mutex;
use zeroize::{Zeroize, Zeroizing};

use super::{Gossip, engine::Engine, streams};
use crate::{
    Error, Key, Keyring,
    wire::{
        frame::MAX_FRAME,
        hash,
        key::Fingerprint,
        message::{KeyAnswer, KeyChange, MAX_PROBLEM, Message},
        packet,
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

/// How far a key change came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rotation {
    /// Every live member, this node first.
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
}

impl Rotation {
    /// Whether every member has the new key alone.
    #[must_use]
    pub fn is_complete(&self) -> bool {
        self.nodes.iter().all(|node| node.reached == Some(KeyStep::Remove))
    }

    fn is_behind(&self, step: KeyStep) -> bool {
        self.nodes.iter().any(|node| node.reached < Some(step))
    }

    fn has_problem(&self) -> bool {
        self.nodes.iter().any(|node| node.problem.is_some())
    }
}

impl Gossip {
    /// Changes the key of the whole cluster, in three steps, and says how far each live member came. If one does
    /// not follow, no later step is taken: all still understand each other then, and the call may be repeated
    /// with the same key. Members that are down keep the old key alone and cannot come back without the new one.
    ///
    /// It takes one stream per member and step, sealed with the key in use. Change one key at a time: of two that are
    /// changed at once, some members may end up with the one and some with the other.
    ///
    /// # Errors
    /// [`Error::Key`] if this node has no keyring or its ring is full, [`Error::Stopped`] if it has ended.
    pub fn rotate_key(&self, key: &Key) -> Result<Rotation, Error> {
        self.check_running()?;
        let engine = &*self.engine;
        let ring = engine.secrets.ring()?;
        ring.install(key.clone())?;
        let mut rotation = Rotation { nodes: Vec::new() };
        let steps = [KeyStep::Install, KeyStep::Use, KeyStep::Remove];
        for last in steps {
            // Who joins meanwhile does so with the old key alone, and must catch up before anybody goes on.
            while self.list_new(&mut rotation) || rotation.is_behind(last) {
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

    /// Adds the live members that are not listed yet; says whether there were any.
    fn list_new(&self, rotation: &mut Rotation) -> bool {
        let before = rotation.nodes.len();
        let node = |name: &Arc<str>, addr| RotatedNode {
            name: Arc::clone(name),
            addr,
            reached: None,
            problem: None,
        };
        if before == 0 {
            let own = self.local();
            rotation.nodes.push(node(&own.name, own.addr));
        }
        for member in self.members().live() {
            if !rotation.nodes.iter().any(|node| node.name == member.name) {
                rotation.nodes.push(node(&member.name, member.addr));
            }
        }
        rotation.nodes.len() > before
    }
}

/// Has every member take a step that it has not taken yet.
fn ask_all(engine: &Engine, ring: &Keyring, rotation: &mut Rotation, step: KeyStep, key: &Key) {
    let fingerprint = key.fingerprint();
    let content = if step == KeyStep::Install { &key.as_bytes()[..] } else { &fingerprint.0[..] };
    let change = KeyChange { step: step as u8, key: content };
    let left = Mutex::new(rotation.nodes.iter_mut().filter(|node| node.reached < Some(step)));
    let ask = |node: &mut RotatedNode| {
        let asked: Result<(), String> =
            if *node.name == *engine.name { apply(ring, &change) } else { ask(engine, node.addr, &change) };
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
    let mark = hash::cluster(engine.secrets.cluster());
    let mut writer = packet::Writer::new(&mut frame, mark, MAX_FRAME);
    writer.message(change);
    writer.finish();
    let answered = streams::ask_sealed(engine, addr, &mut frame);
    answered.map_err(|error: io::Error| error.to_string())?;
    match first_message(&frame, mark) {
        Some(Message::KeyAnswer(KeyAnswer { problem: "" })) => Ok(()),
        Some(Message::KeyAnswer(answer)) => Err(answer.problem.to_owned()),
        _ => Err("it gave no answer to a key change".into()),
    }
}

/// If the frame is a key change, makes it and puts the answer in its place. The stream must be sealed.
pub(super) fn answer(engine: &Engine, frame: &mut Vec<u8>) -> bool {
    let mark = hash::cluster(engine.secrets.cluster());
    let Some(Message::KeyChange(change)) = first_message(frame, mark) else { return false };
    let applied =
        engine.secrets.ring().map_err(|error| error.to_string()).and_then(|ring| apply(ring, &change));
    log::info!(
        "{}: key change, step {}: {}",
        engine.name,
        change.step,
        applied.as_ref().err().map_or("done", |p| p)
    );
    // Four bytes at most for each.
    let problem: String = applied.err().unwrap_or_default().chars().take(MAX_PROBLEM / 4).collect();
    frame.zeroize();
    let mut writer = packet::Writer::new(frame, mark, MAX_FRAME);
    writer.message(&KeyAnswer { problem: &problem });
    writer.finish();
    true
}

fn first_message(frame: &[u8], mark: u32) -> Option<Message<'_>> {
    packet::open(frame, mark).ok()?.next()?.ok()?.message().ok()?
}

fn apply(ring: &Keyring, change: &KeyChange<'_>) -> Result<(), String> {
    let target = || change.key.try_into().map(Fingerprint).map_err(|_| "that is no fingerprint".to_owned());
    let applied = match change.step {
        0 => {
            let key: &[u8; 32] = change.key.try_into().map_err(|_| "that is no key".to_owned())?;
            ring.install(Key::from(key))
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
