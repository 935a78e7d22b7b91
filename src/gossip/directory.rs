//! The members as callers see them: published apart from the node, so that no reader ever holds it up.

use std::{
    collections::BTreeMap,
    ops::Deref,
    sync::{Arc, OnceLock},
};

use parking_lot::RwLock;

use crate::swim::{Event, Member};

/// All listed members at one moment, by ascending name. Cheap to clone, immutable.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Members(Arc<[Member]>);

impl Members {
    /// The live ones: alive or suspect.
    pub fn live(&self) -> impl Iterator<Item = &Member> {
        self.iter().filter(|member| member.state.is_live())
    }

    /// The one of this name: O(log n).
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Member> {
        self.binary_search_by(|member| (*member.name).cmp(name)).ok().map(|at| &self[at])
    }
}

impl Deref for Members {
    type Target = [Member];

    fn deref(&self) -> &[Member] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a Members {
    type Item = &'a Member;
    type IntoIter = std::slice::Iter<'a, Member>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Follows the node's events; a snapshot is made when somebody asks and kept until the next change.
#[derive(Debug, Default)]
pub(super) struct Directory {
    state: RwLock<State>,
}

#[derive(Debug, Default)]
struct State {
    members: BTreeMap<Arc<str>, Member>,
    snapshot: OnceLock<Members>,
}

impl Directory {
    pub(super) fn apply(&self, event: &Event) {
        let Some(member) = event.member() else { return };
        let mut state = self.state.write();
        state.snapshot = OnceLock::new();
        if let Event::Reaped(_) = event {
            state.members.remove(&member.name);
        } else {
            state.members.insert(Arc::clone(&member.name), member.clone());
        }
    }

    pub(super) fn snapshot(&self) -> Members {
        let state = self.state.read();
        state.snapshot.get_or_init(|| Members(state.members.values().cloned().collect())).clone()
    }
}
