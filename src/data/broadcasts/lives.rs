//! The state of each life, and the effects of its changes.

use std::{collections::VecDeque, sync::Arc, time::Duration};

use super::{
    Broadcasts, Delivery, JOINING, MAX_DELIVERIES, MAX_LIVES,
    log::KEEP,
    origin::Heard,
    window::{self, Window},
};
use crate::swim::{Account, Life, Node, Time};

/// Bytes of all broadcasts that are held back, of which an account has its [share](crate::data::shares::Shares::has_room),
/// since names are free.
pub(super) const MAX_HELD_OF_ALL: usize = 8 << 20;
/// How long others may repeat a broadcast: a member that received it late from another's log stores it once more.
const REPEATED: Duration = KEEP.saturating_mul(2);

impl Broadcasts {
    /// Changes the state of a life, and applies the effects.
    pub(super) fn update(
        &mut self,
        node: &Node,
        life: &Life,
        seq: u64,
        change: impl FnOnce(&mut Heard, &mut VecDeque<Delivery>),
    ) {
        let past = self.before_this_node(seq);
        // This may begin the life, and so end an earlier life, which hands out deliveries.
        self.heard_or_new(life.clone(), seq);
        let mut out = std::mem::take(&mut self.deliveries);
        let before = out.len();
        let heard = self.heard_or_new(life.clone(), seq);
        let (due, held) = (heard.due(), (heard.account, heard.held_bytes()));
        if past > 0 {
            heard.take_over(&Window::up_to(past), &mut out);
        }
        change(heard, &mut out);
        self.count_held(life, node.account_of_said(&life.name), held, &mut out);
        let heard = self.heard_or_new(life.clone(), seq);
        let (next, implausible) = (heard.due(), std::mem::take(&mut heard.implausible));
        self.counted.forged_broadcasts += implausible;
        self.deliveries = out;
        self.reschedule(life, due, next);
        self.count_lost(before);
        self.refresh(node, life);
        self.note_change(life);
    }

    pub(super) fn reschedule(&mut self, life: &Life, before: Option<Time>, next: Option<Time>) {
        if before == next {
            return;
        }
        if let Some(at) = before {
            self.due.remove(&(at, life.clone()));
        }
        if let Some(at) = next {
            self.due.insert((at, life.clone()));
        }
    }

    /// Counts the losses of readers in the new deliveries, and keeps the deliveries within their bound.
    pub(super) fn count_lost(&mut self, before: usize) {
        for delivery in self.deliveries.range(before.min(self.deliveries.len())..) {
            if let Delivery::Lost { count, .. } = delivery {
                self.counted.lost_broadcasts = self.counted.lost_broadcasts.saturating_add(*count);
            }
        }
        while self.deliveries.len() > MAX_DELIVERIES {
            self.deliveries.pop_front();
            self.counted.lost_broadcasts += 1;
        }
    }

    pub(super) fn heard(&self, name: &str, epoch: u64) -> Option<&Heard> {
        self.lives.get(name)?.iter().find(|heard| heard.life.epoch == epoch)
    }

    /// Whether a life would be kept: not if two later ones of its name are known, since what it sent may be known no longer.
    pub(super) fn keeps(&self, life: &Life, epoch: u64) -> bool {
        let lives = self.lives.get(&life.name).map_or(&[][..], Vec::as_slice);
        lives.len() < MAX_LIVES || lives.iter().any(|heard| heard.life.epoch < epoch)
    }

    /// The state of a life that has reached this number.
    pub(super) fn heard_or_new(&mut self, life: Life, seq: u64) -> &mut Heard {
        if self.heard(&life.name, life.epoch).is_none() {
            self.begin(life.clone(), seq);
        }
        let lives = self.lives.entry(life.name).or_default();
        let at = lives.partition_point(|heard| heard.life.epoch < life.epoch);
        &mut lives[at]
    }

    fn begin(&mut self, life: Life, seq: u64) {
        let below = self.before_this_node(seq);
        let arrival = self.arrivals.get(&life.name).filter(|(epoch, _)| *epoch == life.epoch);
        let since = arrival.map_or(self.now, |(_, at)| *at);
        let lives = self.lives.entry(Arc::clone(&life.name)).or_default();
        let surplus = (lives.len() == MAX_LIVES).then(|| lives.remove(0));
        let at = lives.partition_point(|heard| heard.life.epoch < life.epoch);
        lives.insert(at, Heard::new(life, below, since));
        if let Some(surplus) = surplus {
            self.end(surplus);
        }
    }

    /// Ends a life: readers receive the broadcasts that were held back, and a report of the missing ones.
    pub(super) fn end(&mut self, mut past: Heard) {
        past.due().map(|at| self.due.remove(&(at, past.life.clone())));
        self.digest ^= past.share;
        self.held.remove(past.account, (0, past.held_bytes()));
        let before = self.deliveries.len();
        past.end(self.now, &mut self.deliveries);
        self.count_lost(before);
    }

    /// Counts the held-back broadcasts of a life for an account; `counted` had `before` bytes of them until now. As long as
    /// there is not enough room, the gap in front of them is skipped at once.
    fn count_held(
        &mut self,
        life: &Life,
        account: Option<Account>,
        (counted, before): (Option<Account>, usize),
        out: &mut VecDeque<Delivery>,
    ) {
        self.held.remove(counted, (0, before));
        let now = self.now;
        let lives = self.lives.get_mut(&life.name).into_iter().flatten();
        let Some(heard) = lives.into_iter().find(|heard| heard.life == *life) else { return };
        let most = (usize::MAX, MAX_HELD_OF_ALL);
        while heard.held_bytes() > before && !self.held.has_room(account, (0, heard.held_bytes()), most) {
            heard.pass_gap(now, out);
        }
        heard.account = account;
        self.held.add(account, (0, heard.held_bytes()));
    }

    /// A member is no longer listed. The same process may be listed again at once, so this node remembers which of its
    /// broadcasts were taken in for as long as others may repeat them.
    pub(super) fn reaped(&mut self, node: &Node, name: &Arc<str>) {
        let lives: Vec<_> = self.lives.get(name).into_iter().flatten().collect();
        let account = lives.last().map_or(Some(Account::UNMET), |heard| heard.account);
        let lives: Vec<Life> = lives.iter().map(|heard| heard.life.clone()).collect();
        lives.iter().for_each(|life| self.refresh(node, life));
        if let Some(first) = self.past.add(self.now + REPEATED, name, account) {
            self.forget(&first);
        }
    }

    /// The number up to which broadcasts were before this node's time if this one arrives: numbers too far behind to fit
    /// into a window. A sync decides about the others.
    pub(super) fn before_this_node(&self, seq: u64) -> u64 {
        if self.takes_over() { seq.saturating_sub(window::WIDTH + 1) } else { 0 }
    }

    /// Whether the knowledge of others counts as older than this node.
    pub(super) fn takes_over(&self) -> bool {
        !self.took_over && self.joined.is_none_or(|at| self.now.since(at) < JOINING)
    }

    /// Updates the digest after a change of a life, or of whether it is the live one of its name.
    pub(super) fn refresh(&mut self, node: &Node, life: &Life) {
        let counts = *life == self.own
            || node.known_life(&life.name).is_some_and(|(known, live)| live && known == *life);
        let lives = self.lives.get_mut(&life.name).into_iter().flatten();
        if let Some(heard) = lives.into_iter().find(|heard| heard.life == *life) {
            let share = if counts { heard.hash() } else { 0 };
            self.digest ^= std::mem::replace(&mut heard.share, share) ^ share;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        super::tests::{alone, item, life},
        *,
    };

    /// Makes 198 broadcasts of a life wait for its first one.
    fn hold(all: &mut Broadcasts, node: &Node, name: &str, epoch: u64) {
        (2..200).for_each(|seq| hold_one(all, node, name, epoch, seq));
    }

    fn hold_one(all: &mut Broadcasts, node: &Node, name: &str, epoch: u64, seq: u64) {
        let mut large = Arc::into_inner(item(name, epoch, seq)).unwrap();
        large.payload = vec![0; 900].into();
        all.learn(node, Arc::new(large), &life("b", 7), false);
    }

    #[test]
    fn broadcasts_held_back_for_many_names_are_bounded_and_the_rest_is_handed_out() {
        let (node, mut all) = alone();
        for i in 0..60 {
            hold(&mut all, &node, &format!("x{i}"), 1);
            while all.poll_delivery().is_some() {}
            all.audit().unwrap();
        }
        let held = all.held.all().1;
        assert!(held > MAX_HELD_OF_ALL / 2 - (192 << 10) && held < MAX_HELD_OF_ALL / 2 + 2000, "{held}");
        // The room that is left is less than one name may hold back.
        let handed_out = (0..300).find_map(|i| {
            hold_one(&mut all, &node, &format!("y{i}"), 1, 2);
            all.poll_delivery()
        });
        assert!(matches!(handed_out, Some(Delivery::Item { gap: 1, .. })), "{handed_out:?}");
    }

    #[test]
    fn broadcasts_held_back_for_an_evicted_life_are_handed_out() {
        let (node, mut all) = alone();
        hold(&mut all, &node, "a", 1);
        assert_eq!(all.poll_delivery(), None);
        all.learn(&node, item("a", 2, 1), &life("b", 7), false);
        all.learn(&node, item("a", 3, 1), &life("b", 7), false);
        let out: Vec<_> = std::iter::from_fn(|| all.poll_delivery()).collect();
        let items = out.iter().filter(|out| matches!(out, Delivery::Item { .. })).count();
        let lost = out.iter().any(|out| matches!(out, Delivery::Lost { count: 1, .. }));
        assert_eq!((items, lost, all.held.all().1), (198 + 2, true, 0));
        all.audit().unwrap();
    }
}
