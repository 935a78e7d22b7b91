//! Membership data in other formats (`serde`): lists of names. The input may come from anywhere, so its order is checked,
//! and so is that a snapshot has each peer in one state.

use std::fmt;

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};

use super::{
    Membership,
    peers::{Peer, Peers},
    snapshot::Snapshot,
};

/// A list of names.
impl Serialize for Peers {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(|peer| &**peer))
    }
}

impl<'de> Deserialize<'de> for Peers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Ok(Vec::<Peer>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// A snapshot's lists.
#[derive(Serialize, Deserialize)]
#[serde(rename = "Snapshot")]
struct Lists {
    active: Peers,
    left: Peers,
    #[serde(default)]
    failed: Peers,
}

/// The lists `active`, `left` and `failed`.
impl Serialize for Snapshot {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let [active, left, failed] = [self.active(), self.left(), self.failed()].map(Peers::from_sorted);
        Lists { active, left, failed }.serialize(serializer)
    }
}

/// Fails if a peer is both active and left, or failed and not left.
impl<'de> Deserialize<'de> for Snapshot {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let Lists { active, left, failed } = Lists::deserialize(deserializer)?;
        if let Some(peer) = left.iter().find(|peer| active.contains(peer)) {
            return Err(refused(peer, "is both active and left"));
        }
        if let Some(peer) = failed.iter().find(|peer| !left.contains(peer)) {
            return Err(refused(peer, "has failed, but is not in `left`"));
        }
        let membership = Membership::new();
        membership.add(active.iter().chain(&left));
        membership.mark_failed(&failed);
        membership.mark_left(&left);
        Ok(membership.snapshot())
    }
}

fn refused<E: de::Error>(peer: &str, why: impl fmt::Display) -> E {
    E::custom(format_args!("the peer {peer:?} {why}"))
}
