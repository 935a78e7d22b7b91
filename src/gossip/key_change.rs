//! Changes of the cluster's key on this node, whether this node or a member asks for them.

use zeroize::Zeroize;

use super::secrets::Secrets;
use crate::{
    Key, Keyring,
    keys::key::Fingerprint,
    log_line::{Topic, log},
    wire::{
        frame::MAX_FRAME,
        message::{KeyAnswer, KeyChange, MAX_PROBLEM, Message},
        packet::{self, Header},
    },
};

/// Applies the key change in the frame, and replaces the frame by the answer. The stream must have been opened to change
/// keys.
pub(super) fn answer(secrets: &Secrets, name: &str, frame: &mut Vec<u8>) {
    let mark = secrets.mark();
    let applied = match first_message(frame, mark) {
        Some(Message::KeyChange(change)) => change_here(secrets, name, &change),
        _ => Err("that is not a key change".to_owned()),
    };
    // Each character takes at most four bytes.
    let problem: String = applied.err().unwrap_or_default().chars().take(MAX_PROBLEM / 4).collect();
    // The frame may hold a key.
    frame.zeroize();
    let mut writer = packet::Writer::new(frame, Header::anonymous(mark), MAX_FRAME);
    writer.message(&KeyAnswer { problem: &problem });
    writer.finish();
}

fn change_here(secrets: &Secrets, name: &str, change: &KeyChange<'_>) -> Result<(), String> {
    let ring = secrets.ring().map_err(|error| error.to_string());
    let applied = ring.and_then(|ring| apply(name, ring, change));
    match &applied {
        Ok(()) => log(Topic::KeyChanged, &[("step", &change.step), ("node", &name)]),
        Err(problem) => {
            log(Topic::KeyRefused, &[("step", &change.step), ("problem", problem), ("node", &name)]);
        }
    }
    applied
}

/// The first message of a frame.
pub(super) fn first_message(frame: &[u8], mark: u32) -> Option<Message<'_>> {
    packet::open(frame, mark).ok()?.1.next()?.ok()?.message().ok()?
}

/// Takes a step of a key change. `name` is this node's, for the log.
pub(super) fn apply(name: &str, ring: &Keyring, change: &KeyChange<'_>) -> Result<(), String> {
    let target =
        || change.key.try_into().map(Fingerprint).map_err(|_| "that is not a fingerprint".to_owned());
    let applied = match change.step {
        0 => {
            let key: &[u8; 32] = change.key.try_into().map_err(|_| "that is not a key".to_owned())?;
            if let Some(evicted) = ring.install_newest(Key::from(key)) {
                let hint = "the ring was full: it made room for a new one";
                log(Topic::KeyEvicted, &[("key", &evicted), ("hint", &hint), ("node", &name)]);
            }
            Ok(())
        }
        1 => ring.use_key(target()?),
        2 => {
            let kept = target()?;
            if ring.fingerprints().first() != Some(&kept) {
                return Err(format!("key {kept} is not in use here"));
            }
            ring.fingerprints().into_iter().skip(1).try_for_each(|other| ring.remove(other))
        }
        _ => return Err("that step is not known here".into()),
    };
    applied.map_err(|error| error.to_string())
}
