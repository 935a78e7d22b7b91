//! Every public type implements what its users expect of it (Rust API guidelines, C-COMMON-TRAITS and C-SEND-SYNC), and the
//! changelog says what it is for.
#![cfg(feature = "encryption")]

use std::{collections::BTreeSet, error, fmt::Debug, fs, hash::Hash, path::Path};

use syncswim::{
    Accuser, Answer, BoxError, BroadcastId, BroadcastMiss, BroadcastReport, Clocks, Cluster, ClusterHandle,
    DnsDiscovery, Doubt, Encryption, EndedBy, Entries, EntriesIter, EntriesOf, EntriesOfIter, Entry,
    EntryChange, EntryWatch, Error, Event, Events, Explanation, Filter, Fingerprint, Gossip, GossipBuilder,
    GossipConfig, GossipDiscovery, GossipHandle, HealthDoubt, Histogram, HostPort, Identity, Inbox,
    InboxItem, IpNetwork, JoinProblem, Key, KeyStep, Keyring, Member, MemberLife, MemberState, Members,
    Membership, MembershipChange, Message, MessageKind, Metric, MetricKind, MetricLabel, MetricUnit,
    MetricValue, Metrics, NearMember, NoDiscovery, Observation, Observed, Origin, Peer, PeerName, Peers,
    ProbeStats, Query, QueryAnswer, QueryAnswers, QueryMiss, QueryProblem, QueryReport, ReachProblem,
    Removal, Request, Requests, RotateOptions, RotateProblem, RotatedNode, Rotation, Rtt, Settle, Snapshot,
    Stamp, Standing, Status, Stop, SystemResolver, Tags, TagsIter, Time, Topics, Unconfirmed, Verdict, Watch,
    WrongClock,
    swim::{
        Config, Destination, EarlierLife, EarlierMember, JoinOrigin, JoinResult, Node, Output, Start,
        StreamFailure, StreamId, StreamKind, StreamStep,
    },
};

fn is_shared<T: Debug + Send + Sync>() {}
fn is_a_value<T: Clone + Eq + Debug + Send + Sync>() {}
fn is_a_name<T: Clone + Eq + Hash + Debug + Send + Sync>() {}
fn is_an_error<T: error::Error + Send + Sync>() {}

/// The traits that each of these types must implement, and the names of the types.
macro_rules! each {
    ($holds:ident: $($name:ident)*) => {{
        $($holds::<$name>();)*
        [$(stringify!($name)),*]
    }};
}

/// Running or waiting objects: two of them are never equal.
fn handles() -> BTreeSet<&'static str> {
    each!(is_shared:
        Cluster ClusterHandle DnsDiscovery EntryWatch Events Gossip GossipBuilder GossipDiscovery GossipHandle
        Inbox Membership Node QueryAnswers Request Requests Stop Watch)
    .into()
}

fn iterators() -> BTreeSet<&'static str> {
    is_shared::<EntriesIter<'_>>();
    is_shared::<EntriesOfIter<'_>>();
    is_shared::<TagsIter<'_>>();
    ["EntriesIter", "EntriesOfIter", "TagsIter"].into()
}

/// Values, which can be copied and compared.
fn values() -> BTreeSet<&'static str> {
    each!(is_a_value:
        Answer BroadcastMiss BroadcastReport Clocks Config EarlierLife EarlierMember Entries EntriesOf
        EntryChange Event Explanation GossipConfig Histogram InboxItem JoinProblem JoinResult Key Keyring
        Members Metric MetricValue Metrics NearMember Observation Observed Output ProbeStats
        Query QueryAnswer QueryMiss QueryReport ReachProblem RotateOptions
        Rtt Snapshot Start Status Verdict WrongClock)
    .into()
}

/// Values that are short enough to be keys of a map, too.
fn names() -> BTreeSet<&'static str> {
    each!(is_a_name:
        Accuser BroadcastId Destination Doubt Encryption EndedBy Entry Filter Fingerprint HealthDoubt HostPort
        Identity IpNetwork JoinOrigin KeyStep Member MemberLife MemberState MembershipChange Message MessageKind MetricKind
        MetricLabel MetricUnit NoDiscovery Origin Peer PeerName Peers QueryProblem Removal RotateProblem RotatedNode Rotation Settle Stamp
        Standing StreamFailure StreamId StreamKind StreamStep SystemResolver Tags Time Topics Unconfirmed)
    .into()
}

/// Errors. Those with a cause from another library are no values: `Error`, and the error of a discovery, behind a pointer.
fn errors() -> BTreeSet<&'static str> {
    is_shared::<BoxError>();
    each!(is_an_error: Error JoinProblem QueryProblem ReachProblem RotateProblem)
        .into_iter()
        .chain(["BoxError"])
        .collect()
}

fn document(name: &str) -> String {
    fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(name)).unwrap()
}

/// The types in the list of public items, and the traits.
fn listed(list: &str) -> (BTreeSet<&str>, BTreeSet<&str>) {
    let (mut types, mut traits) = (BTreeSet::new(), BTreeSet::new());
    for line in list.lines() {
        let line = line.trim_start_matches("#[non_exhaustive] ");
        let Some((kind, path)) = line.strip_prefix("pub ").and_then(|item| item.split_once(" syncswim::"))
        else {
            continue;
        };
        let end = path.find(|c: char| !c.is_alphanumeric() && c != '_' && c != ':').unwrap_or(path.len());
        let name = path[..end].trim_end_matches(':').trim_start_matches("swim::");
        // Associated types, such as `Watch::Item`, are skipped.
        if name.contains("::") {
            continue;
        }
        match kind {
            "struct" | "enum" | "type" | "union" => types.insert(name),
            "trait" => traits.insert(name),
            _ => continue,
        };
    }
    (types, traits)
}

#[test]
fn every_public_type_can_be_printed_and_shared_and_every_value_compared() {
    let list = document("docs/public-api.txt");
    let (types, traits) = listed(&list);
    assert_eq!(traits, BTreeSet::from(["Discovery", "Resolver"]));
    let here: BTreeSet<_> =
        [handles(), iterators(), values(), names(), errors()].into_iter().flatten().collect();
    assert_eq!(here, types, "what is public, on the right, belongs in one of the lists of this test");
}

#[test]
fn the_changelog_names_every_public_type() {
    let (list, changelog) = (document("docs/public-api.txt"), document("CHANGELOG.md"));
    let code = changelog.split('`').skip(1).step_by(2);
    let named: BTreeSet<_> = code.flat_map(|code| code.split(|c: char| !c.is_alphanumeric())).collect();
    let (types, traits) = listed(&list);
    let missing: Vec<_> = types.union(&traits).filter(|name| !named.contains(**name)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
