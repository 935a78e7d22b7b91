//! The members and the events for callers. They are kept apart from the node, so that no reader delays it.
//!
//! An event changes the members and goes to its readers under one lock. A reader that subscribes and takes the members under
//! that lock finds every earlier event in the members, and receives every later one.

use std::{
    fmt,
    ops::Deref,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use parking_lot::RwLock;

use super::events::{EventLog, Events};
use crate::{
    Filter,
    collections::{fanout::Fanout, latest::Latest, listed::Listed, sorted::SortedMap},
    swim::{Event, Member},
};

/// All listed members at one moment, by ascending name. Cheap to clone, immutable.
///
/// The first use as a slice makes a list, in O(n). [`named`](Self::named), [`live`](Self::live),
/// [`matching`](Self::matching) and [`len`](Self::len) need no list.
#[derive(Clone)]
pub struct Members(Arc<Listed<ByName, Box<[Member]>>>);

struct ByName {
    /// The name of the node that these members are listed by.
    own: Arc<str>,
    members: SortedMap<Arc<str>, Member>,
}

impl Members {
    fn of(own: &Arc<str>, by_name: &SortedMap<Arc<str>, Member>) -> Self {
        Self(Arc::new(Listed::new(ByName { own: Arc::clone(own), members: by_name.clone() })))
    }

    /// The live members: alive or suspect.
    pub fn live(&self) -> impl Iterator<Item = &Member> {
        self.0.of.members.iter().map(|(_, member)| member).filter(|member| member.state.is_live())
    }

    /// The members that a filter matches, in any state: O(n).
    ///
    /// ```
    /// use syncswim::{Filter, Gossip, GossipConfig, Tags};
    ///
    /// let tags = Tags::new([("role", "db")])?;
    /// let node = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0").tags(tags))?;
    /// let members = node.members();
    /// let databases = Filter::tag("role", "db");
    /// assert_eq!(members.matching(&databases).filter(|member| member.state.is_live()).count(), 1);
    /// assert_eq!(members.matching(&Filter::all().others()).count(), 0);
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    pub fn matching<'a>(&'a self, filter: &'a Filter) -> impl Iterator<Item = &'a Member> {
        let members = self.0.of.members.iter().map(|(_, member)| member);
        members.filter(|member| filter.matches(member, &self.0.of.own))
    }

    /// The member of this name: O(log n).
    #[must_use]
    pub fn named(&self, name: &str) -> Option<&Member> {
        let place = self.0.of.members.find_by(|known| (**known).cmp(name)).ok()?;
        Some(self.0.of.members.at(place).1)
    }

    /// The number of members: O(1).
    #[must_use]
    pub fn len(&self) -> usize {
        self.0.of.members.len()
    }

    /// Whether there are no members.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }
}

impl Deref for Members {
    type Target = [Member];

    fn deref(&self) -> &[Member] {
        self.0.list(|by_name| by_name.members.iter().map(|(_, member)| member.clone()).collect())
    }
}

impl PartialEq for Members {
    fn eq(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0) || **self == **other
    }
}

impl Eq for Members {}

impl fmt::Debug for Members {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Members").field(&&**self).finish()
    }
}

impl<'a> IntoIterator for &'a Members {
    type Item = &'a Member;
    type IntoIter = std::slice::Iter<'a, Member>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// Copies of the members.
impl IntoIterator for Members {
    type Item = Member;
    type IntoIter = std::vec::IntoIter<Member>;

    fn into_iter(self) -> Self::IntoIter {
        Vec::from(&*self).into_iter()
    }
}

#[cfg(test)]
impl FromIterator<Member> for Members {
    fn from_iter<T: IntoIterator<Item = Member>>(members: T) -> Self {
        let mut state = State::default();
        members.into_iter().for_each(|member| state.apply(&Event::Joined { member }));
        Self::of(&"".into(), &state.by_name)
    }
}

/// The members as the node's events describe them, and the readers of these events.
#[derive(Debug)]
pub(crate) struct Directory {
    /// The node's name.
    own: Arc<str>,
    state: RwLock<State>,
    /// Events are published under the write lock and subscribed to under the read lock, so that readers have no gap.
    events: Fanout<EventLog>,
    /// The members of the latest version that was read, which readers share.
    latest: Latest<Members>,
    /// How many events were lost because readers were too slow.
    lost: AtomicU64,
}

#[derive(Debug, Default)]
struct State {
    by_name: SortedMap<Arc<str>, Member>,
    /// Counts the changes.
    version: u64,
}

#[cfg(test)]
impl Default for Directory {
    fn default() -> Self {
        Self::of("me")
    }
}

impl Directory {
    /// The directory of a node of this name.
    pub(super) fn of(own: &str) -> Self {
        Self {
            own: own.into(),
            state: RwLock::default(),
            events: Fanout::new(),
            latest: Latest::default(),
            lost: AtomicU64::default(),
        }
    }

    /// Applies an event to the members, and passes it on.
    pub(super) fn publish(&self, event: &Event) {
        let mut state = self.state.write();
        state.apply(event);
        self.events.publish(|log| {
            self.lost.fetch_add(log.push(event), Ordering::Relaxed);
        });
    }

    /// How many events all readers together have lost.
    pub(super) fn lost(&self) -> u64 {
        self.lost.load(Ordering::Relaxed)
    }

    /// The member of this name as it is listed.
    pub(super) fn named(&self, name: &str) -> Option<Member> {
        let state = self.state.read();
        let place = state.by_name.find_by(|known| (**known).cmp(name)).ok()?;
        Some(state.by_name.at(place).1.clone())
    }

    pub(super) fn members(&self) -> Members {
        let state = self.state.read();
        let (members, outdated) = self.members_of(&state);
        drop(state);
        // Freeing n members takes long.
        drop(outdated);
        members
    }

    /// A subscription to every event from now on.
    pub(crate) fn events(&self) -> Events {
        Events(self.events.subscribe(EventLog::default()))
    }

    /// The members now, and a subscription to every event from now on: without a gap, and without an event that the members
    /// already include.
    pub(super) fn follow(&self) -> (Members, Events) {
        let state = self.state.read();
        let (members, outdated) = self.members_of(&state);
        let events = self.events();
        drop(state);
        drop(outdated);
        (members, events)
    }

    /// Ends all subscriptions.
    pub(super) fn close(&self) {
        self.events.close();
    }

    /// While this exists, nothing can be published.
    #[cfg(test)]
    pub(super) fn locked(&self) -> impl Sized {
        self.state.write()
    }

    /// The members, and the copy that they replace, which the caller drops once the state is unlocked.
    fn members_of(&self, state: &State) -> (Members, Option<Members>) {
        self.latest.get_or_make(state.version, || Members::of(&self.own, &state.by_name))
    }
}

impl State {
    fn apply(&mut self, event: &Event) {
        let Some(member) = event.member() else { return };
        self.version += 1;
        let is_reaped = matches!(event, Event::Reaped { .. });
        match self.by_name.find(&member.name) {
            Ok(place) if is_reaped => drop(self.by_name.remove(place)),
            Ok(place) => self.by_name.replace(place, member.clone()),
            Err(_) if is_reaped => {}
            Err(place) => self.by_name.insert(place, Arc::clone(&member.name), member.clone()),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{sync::atomic::AtomicBool, thread};

    use super::*;
    use crate::{
        Tags,
        swim::{Identity, MemberState, Time},
    };

    fn member(name: &str, incarnation: u64) -> Member {
        Member {
            name: name.into(),
            addr: ([127, 0, 0, 1], 1).into(),
            state: MemberState::Alive,
            tags: Tags::default(),
            identity: Identity { epoch: 1, incarnation },
            since: Time::ZERO,
            removed_by: None,
        }
    }

    #[test]
    fn events_that_slow_readers_lose_are_counted_for_each() {
        let directory = Directory::of("a");
        let readers = [directory.events(), directory.events()];
        let publish = || directory.publish(&Event::Joined { member: member("a", 0) });
        (0..4_096).for_each(|_| publish());
        assert_eq!(directory.lost(), 0);
        publish();
        assert_eq!(directory.lost(), 2 * 4_097);
        assert_eq!(
            readers.map(|reader| reader.try_recv()),
            [(); 2].map(|()| Ok(Event::Lagged { count: 4_097 }))
        );
    }

    #[test]
    fn members_are_sorted_never_change_and_are_shared_while_nothing_happens() {
        let directory = Directory::of("a");
        for name in ["b", "c", "a"] {
            directory.publish(&Event::Joined { member: member(name, 0) });
        }
        let members = directory.members();
        assert!(std::ptr::eq(&*members, &*directory.members()));
        directory.publish(&Event::Reaped { member: member("b", 0) });
        directory.publish(&Event::Reaped { member: member("nobody", 0) });
        directory.publish(&Event::Joined { member: Member { state: MemberState::Left, ..member("c", 1) } });
        let names =
            |members: &Members| members.iter().map(|member| member.name.to_string()).collect::<String>();
        assert_eq!((names(&members), members.live().count()), ("abc".into(), 3));
        let after = directory.members();
        assert_eq!((names(&after), after.live().count(), after.len()), ("ac".into(), 1, 2));
        assert_eq!(after.named("c").map(|member| member.state), Some(MemberState::Left));
        assert_eq!(after.named("b"), None);
    }

    /// The incarnation counts the events, so a repeated event or one out of order is noticed.
    #[test]
    fn a_follower_gets_exactly_the_events_that_are_not_in_the_members_yet() {
        let (directory, writing) = (Directory::of("a"), AtomicBool::new(true));
        thread::scope(|scope| {
            scope.spawn(|| {
                for incarnation in 1..=20_000 {
                    directory.publish(&Event::Joined { member: member("a", incarnation) });
                }
                writing.store(false, Ordering::Relaxed);
            });
            while writing.load(Ordering::Relaxed) {
                let (members, events) = directory.follow();
                let mut seen = members.named("a").map_or(0, |member| member.identity.incarnation);
                for event in std::iter::from_fn(|| events.try_recv().ok()).take(100) {
                    let Some(member) = event.member() else { break };
                    seen += 1;
                    assert_eq!(member.identity.incarnation, seen);
                }
            }
        });
    }

    #[test]
    fn members_are_empty_until_one_is_listed() {
        let directory = Directory::of("a");
        assert!(directory.members().is_empty());
        directory.publish(&Event::Joined { member: member("a", 0) });
        assert!(!directory.members().is_empty());
    }
}
