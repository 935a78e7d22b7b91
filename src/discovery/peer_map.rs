//! The members of a node as peers of a membership: the peer's name for each member, and the members of each peer.

use std::{collections::HashMap, fmt, mem, str::FromStr, sync::Arc};

use crate::{
    Error, Event, Member, MemberState, Members, Membership, Peer,
    membership::Departure,
    text::{Quoted, serde_as_text},
};

/// The name of a member in the membership.
///
/// As a text it is `address`, `name` or `tag:KEY`.
///
/// # Examples
///
/// ```
/// use syncswim::PeerName;
///
/// let by_tag: PeerName = "tag:endpoint".parse()?;
/// assert_eq!(by_tag, PeerName::Tag { key: "endpoint".into() });
/// assert_eq!(by_tag.to_string(), "tag:endpoint");
/// assert_eq!("address".parse::<PeerName>()?, PeerName::default());
/// assert!("addresses".parse::<PeerName>().is_err());
/// # Ok::<(), syncswim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
#[non_exhaustive]
pub enum PeerName {
    /// The member's address with port, which others can connect to.
    #[default]
    Address,
    /// The member's name, which stays the same when the member moves.
    Name,
    /// The value of the tag with this key. A member without this tag is not a peer.
    Tag {
        /// The key.
        key: String,
    },
}

impl PeerName {
    fn of(&self, member: &Member) -> Option<Peer> {
        match self {
            Self::Address => Some(member.addr.to_string().into()),
            Self::Name => Some(Arc::clone(&member.name)),
            Self::Tag { key } => member.tags.get(key).map(Peer::from),
        }
    }
}

impl fmt::Display for PeerName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("address"),
            Self::Name => f.write_str("name"),
            Self::Tag { key } => write!(f, "tag:{key}"),
        }
    }
}

impl FromStr for PeerName {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::Invalid`] if the text is none of `address`, `name` and `tag:KEY`.
    fn from_str(text: &str) -> Result<Self, Error> {
        match (text, text.strip_prefix("tag:")) {
            ("address", _) => Ok(Self::Address),
            ("name", _) => Ok(Self::Name),
            (_, Some(key)) if !key.is_empty() => Ok(Self::Tag { key: key.into() }),
            _ => {
                let problem = format!("is {}; it must be address, name or tag:KEY", Quoted(text));
                Err(Error::invalid("peer_name", problem))
            }
        }
    }
}

serde_as_text!(PeerName);

/// How a member departed; `None` if it is live.
pub(crate) fn departure(member: &Member) -> Option<Departure> {
    match member.state {
        MemberState::Alive | MemberState::Suspect => None,
        MemberState::Left => Some(Departure::Left),
        MemberState::Failed => Some(Departure::Failed),
    }
}

/// The members of each peer, and the reports to the membership. Several members may belong to one peer, such as a node that
/// was restarted under a new name at its old address.
pub(super) struct PeerMap<'a> {
    peer_name: &'a PeerName,
    membership: &'a Membership,
    /// The peer of each member; and how the member departed, if it is not live.
    members: HashMap<Arc<str>, (Peer, Option<Departure>)>,
    peers: HashMap<Peer, Counts>,
}

/// The members of one peer.
#[derive(Debug, Clone, Copy, Default)]
struct Counts {
    listed: usize,
    live: usize,
    failed: usize,
}

impl<'a> PeerMap<'a> {
    pub(super) fn new(peer_name: &'a PeerName, membership: &'a Membership) -> Self {
        Self { peer_name, membership, members: HashMap::new(), peers: HashMap::new() }
    }

    /// Processes an event of the node.
    pub(super) fn follow(&mut self, event: &Event) {
        match event {
            Event::Reaped { member, .. } => self.set(&member.name, None),
            event => event.member().into_iter().for_each(|member| self.put(member)),
        }
    }

    /// Replaces all members, at the start or after events were lost.
    pub(super) fn reset(&mut self, members: &Members) {
        let mut reaped = mem::take(&mut self.members);
        for member in members {
            if let Some(known) = reaped.remove(&member.name) {
                self.members.insert(Arc::clone(&member.name), known);
            }
            self.put(member);
        }
        let mut reaped: Vec<_> = reaped.into_iter().collect();
        reaped.sort_unstable();
        for (name, known) in reaped {
            self.members.insert(Arc::clone(&name), known);
            self.set(&name, None);
        }
    }

    fn put(&mut self, member: &Member) {
        let peer = self.peer_name.of(member);
        self.set(&member.name, peer.map(|peer| (peer, departure(member))));
    }

    fn set(&mut self, name: &Arc<str>, now: Option<(Peer, Option<Departure>)>) {
        let before = match &now {
            Some(now) => self.members.insert(Arc::clone(name), now.clone()),
            None => self.members.remove(name),
        };
        if before == now {
            return;
        }
        if let Some((peer, departed)) = &now {
            let counts = self.peers.entry(Arc::clone(peer)).or_default();
            counts.listed += 1;
            counts.live += usize::from(departed.is_none());
            counts.failed += usize::from(*departed == Some(Departure::Failed));
        }
        if let Some((peer, departed)) = &before {
            let counts = self.peers.entry(Arc::clone(peer)).or_default();
            counts.listed -= 1;
            counts.live -= usize::from(departed.is_none());
            counts.failed -= usize::from(*departed == Some(Departure::Failed));
        }
        // The new peer of a member that moved is added before its old peer is removed.
        for (peer, _) in now.iter().chain(&before) {
            self.tell(peer);
        }
    }

    fn tell(&mut self, peer: &Peer) {
        match self.peers.get(peer).copied().unwrap_or_default() {
            Counts { live: 1.., .. } => self.membership.add([peer]),
            // The peer may have departed before it was ever seen as active, so it is listed in any case.
            Counts { failed: 1.., .. } => self.membership.list_departed(Departure::Failed, [peer]),
            Counts { listed: 1.., .. } => self.membership.list_departed(Departure::Left, [peer]),
            _ => {
                self.peers.remove(peer);
                self.membership.remove([peer]);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Identity, MembershipChange, Tags, Time, membership::SourceId};

    fn member(name: &str, state: MemberState) -> Member {
        let addr = ([127, 0, 0, 1], 1).into();
        let identity = Identity { epoch: 1, incarnation: 0 };
        Member {
            name: name.into(),
            addr,
            state,
            tags: Tags::default(),
            identity,
            since: Time::ZERO,
            removed_by: None,
        }
    }

    #[test]
    fn after_a_loss_the_membership_stands_exactly_as_the_members() {
        use MemberState::{Alive, Failed, Left, Suspect};
        let membership = Membership::new();
        let source = membership.for_source(SourceId(0));
        let mut peers = PeerMap::new(&PeerName::Name, &source);
        let rounds = [
            vec![("a", Alive), ("b", Failed), ("c", Left), ("d", Suspect)],
            vec![("a", Left), ("b", Alive), ("e", Failed), ("f", Failed)],
            vec![("a", Failed), ("b", Failed), ("e", Left)],
            vec![],
        ];
        for round in rounds {
            peers.reset(&round.iter().map(|(name, state)| member(name, *state)).collect());
            let names = |is_listed: &dyn Fn(MemberState) -> bool| {
                let those = round.iter().filter(|(_, state)| is_listed(*state));
                those.map(|(name, _)| *name).collect::<Vec<_>>().join(" ")
            };
            let snapshot = membership.snapshot();
            assert_eq!(snapshot.active().join(" "), names(&MemberState::is_live));
            assert_eq!(snapshot.left().join(" "), names(&|state| !state.is_live()));
            assert_eq!(snapshot.failed().join(" "), names(&|state| state == Failed));
            assert_eq!(membership.majority(), round.len() / 2 + 1);
        }
    }

    #[test]
    fn a_member_that_failed_and_is_found_to_have_left_is_told_as_such() {
        let membership = Membership::new();
        let (watch, source) = (membership.watch(), membership.for_source(SourceId(0)));
        let mut peers = PeerMap::new(&PeerName::Name, &source);
        for state in [MemberState::Alive, MemberState::Failed, MemberState::Left, MemberState::Failed] {
            peers.put(&member("a", state));
        }
        peers.set(&"a".into(), None);
        let told: Vec<_> =
            std::iter::from_fn(|| watch.try_recv().ok()).skip(1).map(|change| change.to_string()).collect();
        assert_eq!(told, ["active a", "left a; failed a", "no longer failed a", "failed a", "removed a"]);
    }

    #[test]
    fn a_peer_is_active_while_one_of_its_members_lives_and_failed_while_one_has_failed() {
        let membership = Membership::new();
        let source = membership.for_source(SourceId(0));
        let mut peers = PeerMap::new(&PeerName::Address, &source);
        let mut now = |name, state| {
            peers.put(&member(name, state));
            let MembershipChange { active, left, failed, .. } = membership.watch().recv().unwrap();
            assert_eq!(active.len() + left.len(), 1, "all have one address");
            (active.len(), failed.len())
        };
        assert_eq!(now("old", MemberState::Failed), (0, 1));
        assert_eq!(now("new", MemberState::Alive), (1, 0));
        assert_eq!(now("new", MemberState::Left), (0, 1));
        assert_eq!(now("old", MemberState::Left), (0, 0));
        assert_eq!(now("old", MemberState::Suspect), (1, 0));
    }

    #[test]
    fn a_peer_name_can_be_written_as_a_text_and_read_back() {
        for peer_name in [PeerName::Address, PeerName::Name, PeerName::Tag { key: "a:b".into() }] {
            assert_eq!(peer_name.to_string().parse::<PeerName>().unwrap(), peer_name);
        }
        for bad in ["", "Name", "tag", "tag:", "address "] {
            let error = bad.parse::<PeerName>().expect_err(bad).to_string();
            assert!(error.contains("`peer_name` is") && error.contains("tag:KEY"), "{error}");
        }
    }
}
