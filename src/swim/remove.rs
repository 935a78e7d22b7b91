//! Remove: a member that failed is declared left by another, or becomes a tombstone at once (Serf: force-leave, prune).
//!
//! The remover claims Left under the identity that it holds. Left beats Failed once, so no further order is needed; the
//! tombstone keeps older claims from bringing the member back. A member that is in fact alive refutes it, as it would a
//! forged Left.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};

use super::{
    departures::ClaimedDeparture,
    entry::Input,
    event::Event,
    member::{Identity, MemberId, MemberState, Record, Removed},
    node::Node,
    time::Time,
    updates::Urgency,
    verdict::Origin,
};
use crate::{Error, text::Quoted, wire::message};

/// The result of [removing](crate::Gossip::remove) a member.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Removal {
    /// It counts as left, as if it had announced that itself, and is listed for as long.
    Leave,
    /// It is reaped at once: it is no longer listed.
    Reap,
}

/// One word, as serde has it.
impl fmt::Display for Removal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Leave => "leave",
            Self::Reap => "reap",
        })
    }
}

/// From its text.
impl FromStr for Removal {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::Invalid`] if the text is neither `leave` nor `reap`.
    fn from_str(text: &str) -> Result<Self, Error> {
        let found = [Self::Leave, Self::Reap].into_iter().find(|removal| removal.to_string() == text);
        found.ok_or_else(|| {
            Error::invalid("removal", format!("is {}; it must be leave or reap", Quoted(text)))
        })
    }
}

impl Node {
    /// Removes a failed member from the cluster, in the views of all. A member that returns later, by a restart or because
    /// it was alive, is listed again. For a member that has left, [`Removal::Leave`] changes nothing.
    ///
    /// # Errors
    /// [`Error::StillLive`] if it is alive or suspected, or this node; [`Error::UnknownMember`] if it is not listed;
    /// [`Error::Left`] if this node has left. Nothing was changed then.
    pub fn remove(&mut self, now: Time, name: &str, removal: Removal) -> Result<(), Error> {
        self.given(now, || Input::Remove(name.into(), removal));
        self.advance(now);
        if self.is_leaving() {
            return Err(Error::Left);
        }
        let known = self.table.find_listed(name).ok_or_else(|| Error::UnknownMember { name: name.into() })?;
        let Record { state, identity, .. } = *self.table.get(known);
        if state.is_live() {
            return Err(Error::StillLive { name: name.into() });
        }
        let own = Arc::clone(&self.name);
        let removed = message::Removed { by: &own, reap: removal == Removal::Reap };
        match state {
            MemberState::Left if !removed.reap => {}
            MemberState::Left => self.note_removal(known, identity, Some(removed), Origin::Own, false),
            _ => {
                let (state, origin) = (MemberState::Left, Origin::Own);
                let removed = Some(removed);
                let departure =
                    ClaimedDeparture { identity, state, origin, claimant: None, in_table: false, removed };
                self.depart(known, &departure, self.now);
            }
        }
        Ok(())
    }

    /// That a member was removed, and that it is to be reaped, are taken in though it is known to have left under that identity:
    /// others may have heard of it only now. Otherwise the digests of those that were removed would never agree.
    pub(super) fn note_removal(
        &mut self,
        id: MemberId,
        identity: Identity,
        removed: Option<message::Removed<'_>>,
        origin: Origin,
        in_table: bool,
    ) {
        let Some(removed) = removed else { return };
        let record = self.table.get(id);
        let known = record.removed.as_deref().map(|removed| removed.reap);
        if in_table && !record.state.is_live() && record.identity > identity && !self.updates.contains(id) {
            // The claimant missed what superseded the removal, and would keep it as removed. It says so in tables alone: in
            // reply to updates, two nodes could go on for ever.
            return self.spread(id, Urgency::Routine);
        }
        if record.state != MemberState::Left || record.identity != identity || known >= Some(removed.reap) {
            return;
        }
        let listed = !record.tombstone;
        self.reconnects.forget_left(&record.name);
        self.table.update(id, &mut self.rng, |record| {
            record.removed = Some(Box::new(Removed::of(removed)));
        });
        match listed && removed.reap {
            true if self.may_be_reaped(id, origin) => self.make_tombstone(id),
            true => self.schedule_reap(id),
            false => {}
        }
        self.spread(id, Urgency::Urgent);
    }

    /// Whether a member becomes a tombstone at once when it is to be reaped: this node decided that, or the member has
    /// departed for so long that it has had its time to refute.
    pub(super) fn may_be_reaped(&self, id: MemberId, origin: Origin) -> bool {
        let Record { state, since, .. } = self.table.get(id);
        !state.is_live() && (origin == Origin::Own || self.now.since(*since) >= self.config.gossip_to_failed)
    }

    /// A departed member is listed no longer.
    pub(super) fn make_tombstone(&mut self, id: MemberId) {
        self.emit_member(|member| Event::Reaped { member }, id);
        self.table.update(id, &mut self.rng, |record| record.tombstone = true);
        self.schedule_reap(id);
    }
}
