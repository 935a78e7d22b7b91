//! The membership of a program on a simulated node, as a [`GossipDiscovery`](crate::GossipDiscovery) would fill it.

use crate::{
    Membership,
    discovery::peer_map::departure,
    membership::SourceId,
    swim::{Event, Member, Node},
};

/// The members of a node that is running, by name.
pub(super) fn membership_of(node: &Node) -> Membership {
    let membership = Membership::new();
    let source = membership.for_source(SourceId(0));
    node.members().iter().for_each(|member| list(&source, member));
    membership
}

/// Processes an event of the node.
pub(super) fn follow(membership: &Membership, event: &Event) {
    let (Some(member), source) = (event.member(), membership.for_source(SourceId(0))) else { return };
    match event {
        Event::Reaped { .. } => source.remove([&*member.name]),
        _ => list(&source, member),
    }
}

fn list(source: &Membership, member: &Member) {
    match departure(member) {
        None => source.add([&*member.name]),
        Some(how) => source.list_departed(how, [&*member.name]),
    }
}
