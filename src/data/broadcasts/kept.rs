//! The part of broadcasts in a state file: which ones readers received, so that the node's next life does not deliver them
//! again.

use std::sync::Arc;

use crossbeam_channel::Sender;

use super::{
    Broadcasts,
    window::{Window, is_plausible},
};
use crate::{
    swim::{Life, Node},
    wire::{data::BroadcastHead, message::is_name},
};

impl Broadcasts {
    /// From now on, the keeper of a state file is notified when [`take_changed`](Self::take_changed) has more.
    pub(crate) fn keep(&mut self, keeper: Sender<()>) {
        self.keeper = Some(keeper);
    }

    /// Continues from the state that an earlier life stored. Broadcasts sent between the two lives are not for this one, as
    /// for any node that joins.
    pub(crate) fn restore<'a>(&mut self, heads: impl Iterator<Item = BroadcastHead<'a>>) {
        for BroadcastHead { origin, epoch, below, above } in heads {
            let window = Window::of_head(below, above);
            if is_name(origin) && *origin != *self.own.name && is_plausible(window.highest(), 0, true) {
                self.heard_or_new(Life { name: origin.into(), epoch }, 0).restore(window);
            }
        }
    }

    /// Forgets the earlier life's state of origins that were not met again.
    pub(crate) fn forget_unlisted(&mut self, node: &Node, names: impl IntoIterator<Item = Arc<str>>) {
        let names = names.into_iter().filter(|name| node.listed_life(name).is_none());
        names.for_each(|name| self.forget(&name));
    }

    /// Forgets all lives of a name.
    pub(super) fn forget(&mut self, name: &str) {
        self.arrivals.remove(name);
        self.past.remove(name);
        for past in self.lives.remove(name).into_iter().flatten() {
            self.end(past);
        }
    }

    /// A delivery went to readers, or a loss was reported to them.
    pub(super) fn note_change(&mut self, life: &Life) {
        if life.name != self.own.name && !std::mem::replace(&mut self.changed, true) {
            // A keeper that was notified already will come; a keeper that is gone stores nothing.
            self.keeper.iter().for_each(|keeper| _ = keeper.try_send(()));
        }
    }

    /// Whether there may be something for [`take_changed`](Self::take_changed).
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn has_changed(&self) -> bool {
        self.changed
    }

    /// Calls `keep` for each life of others of which readers received something since the last call.
    pub(crate) fn take_changed(&mut self, mut keep: impl FnMut(&BroadcastHead<'_>)) {
        if !std::mem::take(&mut self.changed) {
            return;
        }
        let own = Arc::clone(&self.own.name);
        for heard in self.lives.values_mut().flatten().filter(|heard| heard.life.name != own) {
            if let Some(window) = heard.take_change() {
                with_head(&heard.life, &window, &mut keep);
            }
        }
    }
}

/// Builds the head of a life, for a packet or a state file.
pub(super) fn with_head<R>(life: &Life, window: &Window, act: impl FnOnce(&BroadcastHead<'_>) -> R) -> R {
    let (bytes, len) = window.bytes();
    act(&BroadcastHead { origin: &life.name, epoch: life.epoch, below: window.below(), above: &bytes[..len] })
}

#[cfg(test)]
mod tests {
    use super::{
        super::{
            Delivery,
            tests::{alone, item, life},
        },
        *,
    };

    /// Members sent more while the node was down than a window holds.
    #[test]
    fn broadcasts_sent_while_a_node_was_down_are_not_reported_as_lost() {
        let (node, mut all) = alone();
        let head = BroadcastHead { origin: "a", epoch: 1, below: 200, above: &[] };
        all.restore([head].into_iter());
        let mut lost_by = |seq, took_over| {
            all.took_over = took_over;
            all.learn(&node, item("a", 1, seq), &life("b", 7), false);
            let lost = |delivery| match delivery {
                Delivery::Lost { count, .. } => Some(count),
                Delivery::Item { .. } => None,
            };
            std::iter::from_fn(|| all.poll_delivery()).filter_map(lost).sum::<u64>()
        };
        assert_eq!((lost_by(701, false), lost_by(702, false)), (0, 0));
        assert_eq!(lost_by(1200, true), (1200 - 257) - (702 - 257) - 2, "it is of this life's time");
    }

    #[test]
    fn any_heads_in_a_file_are_restored_or_skipped() {
        let (node, mut all) = alone();
        let heads = [("a", 1, 0), ("a", 2, u64::MAX), ("b", u64::MAX, 7), ("me", 1, 7), ("", 1, 7)];
        let head = |(origin, epoch, below)| BroadcastHead { origin, epoch, below, above: &[0xff; 32] };
        all.restore(heads.map(head).into_iter());
        let known: Vec<_> =
            all.lives.values().flatten().map(|heard| (&*heard.life.name, heard.window.below())).collect();
        assert_eq!(known, [("a", 0), ("b", 7)]);
        all.audit().unwrap();
        all.changed = true;
        all.take_changed(|head| panic!("{head:?} is in the file"));
        all.forget_unlisted(&node, [Arc::from("b"), "c".into()]);
        assert!(!all.lives.contains_key("b") && all.lives.contains_key("a"));
        all.audit().unwrap();
        (3..9).for_each(|epoch| all.restore([head(("a", epoch, 1))].into_iter()));
        assert_eq!(all.lives["a"].len(), super::super::MAX_LIVES);
    }
}
