//! All maps together: changes, the digest over them, and refusals when the bound is reached.

use std::sync::Arc;

use super::{KeyValues, Owned, OwnerMap, map::Register, place_of};
use crate::{
    data::shares::Size,
    swim::{Account, Node, Time},
    wire::hash,
};

impl KeyValues {
    /// The bytes of all maps.
    pub(super) fn bytes(&self) -> usize {
        self.shares.all().1
    }

    fn has_room_for(&self, account: Option<Account>, more: Size) -> bool {
        self.shares.has_room(account, more, self.most)
    }

    /// Begins the map of an owner's life, if there is none or one of another life; from now on it counts for this account. A
    /// map without room begins empty: it remembers that changes were refused, or each sync would send them again. Only
    /// listed members have a map, so maps are bounded.
    pub(super) fn ensure(&mut self, owner: &Arc<str>, epoch: u64, is_live: bool, account: Option<Account>) {
        if self.map_of(owner, epoch).is_some() {
            return self.count_for(owner, account);
        }
        self.remove(owner);
        if let Err(place) = self.owners.find(owner) {
            let map = Arc::new(OwnerMap::new(epoch));
            let owned = Owned { map, is_live, share: 0, account, refused: 0 };
            self.owners.insert(place, Arc::clone(owner), owned);
        }
    }

    fn count_for(&mut self, owner: &str, account: Option<Account>) {
        let place = place_of(&self.owners, owner);
        let Some(place) = place.filter(|place| self.owners.at(*place).1.account != account) else { return };
        let owned = self.owners.value_mut(place);
        let size = owned.map.size();
        self.shares.remove(std::mem::replace(&mut owned.account, account), size);
        self.shares.add(account, size);
    }

    /// While changes are refused: owners that have answered meanwhile count for their own hosts, and may have room there.
    /// All owners are checked in each probe interval; their number would not show a change, since others depart.
    pub(super) fn count_anew(&mut self, now: Time, node: &Node) {
        if self.short_at.is_none() || !self.next_count.pass(now, node.config().probe_interval) {
            return;
        }
        let unmet = self.owners.iter().filter(|(_, owned)| owned.account == Some(Account::UNMET));
        for owner in unmet.map(|(owner, _)| Arc::clone(owner)).collect::<Vec<_>>() {
            let account = node.account_of_said(&owner);
            if account != Some(Account::UNMET) {
                self.count_for(&owner, account);
                self.retries += 1;
                self.forget_refusal(&owner);
            }
        }
    }

    fn forget_refusal(&mut self, owner: &str) {
        if let Some(place) = place_of(&self.owners, owner) {
            self.owners.value_mut(place).refused = 0;
            self.refresh(owner);
        }
    }

    /// Changes a map, and what depends on it.
    pub(super) fn alter<R>(&mut self, owner: &str, act: impl FnOnce(&mut OwnerMap) -> R) -> Option<R> {
        let place = place_of(&self.owners, owner)?;
        let owned = self.owners.value_mut(place);
        let map = Arc::make_mut(&mut owned.map);
        let before = map.size();
        let result = act(map);
        let after = map.size();
        self.shares.remove(owned.account, before);
        self.shares.add(owned.account, after);
        self.generation += 1;
        self.refresh(owner);
        self.try_again();
        Some(result)
    }

    /// Takes in one change. Returns whether there was room. Unlike for [`grow`](Self::grow), the added size is known
    /// beforehand, so a change copies no map, however large the map and however little the room is.
    pub(super) fn insert(&mut self, owner: &Arc<str>, key: Arc<str>, register: Register) -> bool {
        let Some(place) = place_of(&self.owners, owner) else { return true };
        let Owned { map, account, .. } = self.owners.at(place).1;
        let more = map.adds(&key, &register);
        let is_short = more != (0, 0) && !self.has_room_for(*account, more);
        if map.has_room_for(more.0, more.1) && !is_short {
            self.alter(owner, |map| map.insert(key, register));
            return true;
        }
        self.refuse(owner, is_short.then_some(register.entry.version));
        false
    }

    /// Applies changes up to a version, which add at most `more` keys and bytes. Returns whether there was room. If not, the
    /// map stays as it was; and if all maps together would be too large, further changes of this map are refused.
    pub(super) fn grow(
        &mut self,
        owner: &Arc<str>,
        version: u64,
        more: Size,
        act: impl FnOnce(&mut OwnerMap),
    ) -> bool {
        let Some(place) = place_of(&self.owners, owner) else { return true };
        let Owned { map, account, .. } = self.owners.at(place).1;
        let (held, account) = (Arc::clone(map), *account);
        if self.has_room_for(account, more) && held.has_room_for(more.0, more.1) {
            drop(held);
            self.alter(owner, act);
            return true;
        }
        #[cfg(test)]
        {
            self.counted.copied += 1;
        }
        let mut grown = OwnerMap::clone(&held);
        act(&mut grown);
        let (before, after) = (held.size(), grown.size());
        let more = (after.0.saturating_sub(before.0), after.1.saturating_sub(before.1));
        let is_short = more != (0, 0) && !self.has_room_for(account, more);
        if !is_short && grown.has_room_for(0, 0) {
            drop(held);
            self.alter(owner, |map| *map = grown);
            return true;
        }
        self.refuse(owner, is_short.then_some(version));
        false
    }

    /// Counts a refusal. If all maps together lack the room, notes the refused version, so that members do not send it
    /// again.
    fn refuse(&mut self, owner: &str, short_of: Option<u64>) {
        if let Some((version, place)) = short_of.zip(place_of(&self.owners, owner)) {
            self.owners.value_mut(place).refused = version;
            let (keys, bytes) = self.shares.all();
            let (most_keys, most_bytes) = self.short_at.unwrap_or_default();
            self.short_at = Some((keys.max(most_keys), bytes.max(most_bytes)));
        }
        self.counted.refused += 1;
        self.refresh(owner);
    }

    /// Whether changes of a map were refused of late. Then this version is refused as well, and no member sends it again.
    pub(super) fn refuses(&mut self, owner: &str, epoch: u64, version: u64) -> bool {
        let Some(place) = place_of(&self.owners, owner).filter(|_| self.short_at.is_some()) else {
            return false;
        };
        let owned = self.owners.value_mut(place);
        let refuses = owned.map.epoch == epoch && owned.refused > 0;
        if refuses && owned.refused < version {
            owned.refused = version;
            self.counted.refused += 1;
            self.refresh(owner);
        }
        refuses
    }

    /// Once a sixteenth of the held size is free again, refused changes may come again.
    fn try_again(&mut self) {
        let ((keys, bytes), most) = (self.shares.all(), self.most);
        let is_freed = |at: Size| keys + most.0 / 16 <= at.0 || bytes + most.1 / 16 <= at.1;
        if self.short_at.is_some_and(is_freed) {
            self.short_at = None;
            self.retries += 1;
            let refused = self.owners.iter().filter(|(_, owned)| owned.refused > 0);
            for owner in refused.map(|(owner, _)| Arc::clone(owner)).collect::<Vec<_>>() {
                self.forget_refusal(&owner);
            }
        }
    }

    pub(super) fn set_live(&mut self, owner: &str, is_live: bool) {
        if let Some(place) = place_of(&self.owners, owner)
            && self.owners.at(place).1.is_live != is_live
        {
            self.owners.value_mut(place).is_live = is_live;
            self.refresh(owner);
        }
    }

    /// Updates an owner's share of the digest after a change.
    fn refresh(&mut self, owner: &str) {
        let Some(place) = place_of(&self.owners, owner) else { return };
        let owned = self.owners.value_mut(place);
        let (epoch, version) = (owned.map.epoch, owned.known());
        let counts = owned.is_live && version > 0;
        let share = if counts { hash::entry(owner, epoch, version) } else { 0 };
        let before = std::mem::replace(&mut owned.share, share);
        self.digest ^= before ^ share;
        self.buckets[hash::bucket(owner)] ^= before ^ share;
    }

    pub(super) fn remove(&mut self, owner: &str) {
        self.set_live(owner, false);
        if let Some(place) = place_of(&self.owners, owner) {
            let (_, owned) = self.owners.remove(place);
            self.shares.remove(owned.account, owned.map.size());
            self.generation += 1;
            self.try_again();
        }
    }

    /// Checks every bound, and the sums over the maps.
    #[cfg(any(test, fuzzing))]
    pub(in crate::data) fn audit(&self) -> Result<(), String> {
        let ((mut keys, mut bytes), mut digest) = ((0, 0), 0);
        for (_, owned) in self.owners.iter() {
            owned.map.audit()?;
            let size = owned.map.size();
            (keys, bytes, digest) = (keys + size.0, bytes + size.1, digest ^ owned.share);
        }
        match () {
            () if (keys, bytes) != self.shares.all()
                || keys > self.most.0 + 2 * super::MAX_KEYS
                || bytes > self.most.1 + super::MAX_MAP =>
            {
                Err(format!("{keys} keys, {bytes} bytes of maps, counted as {:?}", self.shares.all()))
            }
            () if digest != self.digest => Err("the digest is not that of the maps".into()),
            () => self.announced.audit(),
        }
    }
}
