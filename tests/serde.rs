//! Public data written and read in other formats.

use serde_json::{from_value, json, to_value};
use syncswim::{
    Doubt, Entry, Event, Explanation, Filter, Gossip, GossipConfig, HealthDoubt, HostPort, Identity,
    IpNetwork, JoinProblem, Member, MemberState, Membership, MembershipChange, MessageKind, MetricKind,
    MetricUnit, Metrics, NearMember, Observation, PeerName, Peers, QueryProblem, Removal, Settle, Snapshot,
    Standing, Tags, Unconfirmed, swim::Config,
};

fn some() -> Membership {
    let membership = Membership::new();
    membership.add(["c", "b", "a"]);
    membership.mark_failed(["b"]);
    membership.mark_left(["a"]);
    membership
}

#[test]
fn a_snapshot_is_its_lists_and_read_back_it_is_the_same() {
    for membership in [Membership::new(), some()] {
        let snapshot = membership.snapshot();
        assert_eq!(from_value::<Snapshot>(to_value(&snapshot).unwrap()).unwrap(), snapshot);
        let bytes = postcard::to_stdvec(&snapshot).unwrap();
        assert_eq!(postcard::from_bytes::<Snapshot>(&bytes).unwrap(), snapshot);
    }
    let lists = json!({ "active": ["c"], "left": ["a", "b"], "failed": ["b"] });
    assert_eq!(to_value(some().snapshot()).unwrap(), lists);
}

#[test]
fn a_snapshot_in_which_a_peer_has_two_states_is_refused() {
    let read = from_value::<Snapshot>;
    let problem = |lists| read(lists).unwrap_err().to_string();
    assert!(problem(json!({ "active": ["a", "b"], "left": ["b"] })).contains("\"b\" is both"));
    assert!(problem(json!({ "active": ["a"], "left": [], "failed": ["a"] })).contains("\"a\" has failed"));
    assert!(problem(json!({ "active": ["a"] })).contains("left"));
    assert_eq!(read(json!({ "active": [], "left": ["b", "a"] })).unwrap().left().concat(), "ab");
}

#[test]
fn a_network_is_its_text_and_an_invalid_one_is_refused() {
    let network: IpNetwork = "10.0.0.0/8".parse().unwrap();
    assert_eq!(to_value(network).unwrap(), json!("10.0.0.0/8"));
    assert_eq!(from_value::<IpNetwork>(json!("10.0.0.0/8")).unwrap(), network);
    let refused = from_value::<IpNetwork>(json!("10.0.0.0/40")).unwrap_err();
    assert!(refused.to_string().contains("a prefix of 40 bits"), "{refused}");
    let bytes = postcard::to_stdvec(&network).unwrap();
    assert_eq!(postcard::from_bytes::<IpNetwork>(&bytes).unwrap(), network);
}

#[test]
fn a_change_is_its_lists_and_one_without_some_of_them_can_be_read() {
    let change = some().watch().recv().unwrap();
    let value = to_value(&change).unwrap();
    let lists = json!({ "active": ["c"], "left": ["a", "b"], "removed": [], "failed": ["b"], "no_longer_failed": [] });
    assert_eq!(value, lists);
    assert_eq!(from_value::<MembershipChange>(value).unwrap(), change);
    let part = from_value::<MembershipChange>(json!({ "left": [] })).unwrap();
    assert!(part.is_empty());
}

#[test]
fn a_list_of_peers_that_is_read_is_sorted_and_has_none_twice() {
    assert_eq!(from_value::<Peers>(json!(["b", "a", "b"])).unwrap(), ["a", "b"]);
}

#[test]
fn a_member_is_written_with_words_for_its_state_and_read_back_it_is_the_same() {
    let value = json!({
        "name": "db",
        "addr": "10.0.0.1:7946",
        "state": "suspect",
        "tags": { "role": "db", "zone": "b" },
        "identity": { "epoch": 7, "incarnation": 2 },
        "since": 1_500_000_000,
        "removed_by": null,
    });
    let member = from_value::<Member>(value.clone()).unwrap();
    assert_eq!(member.state, MemberState::Suspect);
    assert_eq!(member.tags, Tags::new([("zone", "b"), ("role", "db")]).unwrap());
    assert_eq!(to_value(&member).unwrap(), value);
    let mut older = value;
    older.as_object_mut().unwrap().remove("removed_by");
    assert_eq!(from_value::<Member>(older).unwrap(), member);
    let too_large = json!({ "key": "x".repeat(1_000) });
    assert!(from_value::<Tags>(too_large).unwrap_err().to_string().contains("bytes of tags"));
}

#[test]
fn metrics_of_another_version_can_be_read() {
    let value = to_value(Metrics::default()).unwrap();
    assert_eq!(value.as_object().unwrap().len(), Metrics::default().iter().count());
    let read = from_value::<Metrics>(json!({ "probes": 3, "not_known_here": 1 })).unwrap();
    assert_eq!((read.probes, read.syncs), (3, 0));
}

#[test]
fn an_event_is_written_with_its_evidence_and_read_back_it_is_the_same() {
    let member = |state| {
        json!({
            "name": "db",
            "addr": "10.0.0.1:7946",
            "state": state,
            "tags": {},
            "identity": { "epoch": 7, "incarnation": 2 },
            "since": 5,
            "removed_by": null,
        })
    };
    let verdict = json!({
        "origin": "own",
        "accusers": [{ "name": "a", "is_own": true }, { "name": "b", "is_own": false }],
        "suspected": 3,
        "waited": { "secs": 1, "nanos": 5 },
    });
    let datagrams = json!({ "datagrams": { "members": ["a"], "count": 1 } });
    let unreachable = json!({ "unreachable": { "addr": "10.0.0.1:7946", "observed": null } });
    let gone = json!({ "address_gone": { "addr": "10.0.0.1:7946" } });
    for value in [
        json!({ "joined": { "member": member("alive") } }),
        json!({ "updated": { "member": member("alive"), "previous": member("suspect") } }),
        json!({ "suspected": { "member": member("suspect") } }),
        json!({ "left": { "member": member("left"), "origin": "member" } }),
        json!({ "failed": { "member": member("failed"), "verdict": verdict } }),
        json!({ "reaped": { "member": member("left") } }),
        json!({ "conflict": { "member": member("alive"), "other": "10.0.0.2:7946" } }),
        json!({ "reachability_lost": { "problem": datagrams } }),
        json!({ "reachability_lost": { "problem": unreachable } }),
        json!({ "reachability_restored": { "problem": gone } }),
        json!({ "lagged": { "count": 3 } }),
    ] {
        let event = from_value::<Event>(value.clone()).unwrap();
        assert_eq!(to_value(&event).unwrap(), value);
        let bytes = postcard::to_stdvec(&event).unwrap();
        assert_eq!(postcard::from_bytes::<Event>(&bytes).unwrap(), event);
    }
}

#[test]
fn reasons_are_words_in_snake_case() {
    let told = json!({ "why": "stall", "at": 5 });
    let doubt = from_value::<Doubt>(told.clone()).unwrap();
    assert_eq!((&doubt.why, to_value(&doubt).unwrap()), (&HealthDoubt::Stall, told));
    assert!(from_value::<Observation>(json!("SelfRefuted")).is_err());
    assert_eq!(from_value::<Observation>(json!("self_refuted")).unwrap(), Observation::SelfRefuted);
    let missed = json!({ "missed": { "relays": 3, "nacks": 1, "health_score": 0 } });
    assert_eq!(to_value(from_value::<Observation>(missed.clone()).unwrap()).unwrap(), missed);
    assert_eq!(to_value(JoinProblem::NoAddress).unwrap(), json!("no_address"));
    assert_eq!(to_value(Removal::Reap).unwrap(), json!(Removal::Reap.to_string()));
    assert_eq!(to_value(Unconfirmed::Silent).unwrap(), json!(Unconfirmed::Silent.to_string()));
    let silent = json!({ "silent": { "ended_by": "restart" } });
    assert!(from_value::<QueryProblem>(silent).unwrap().may_have_acted());
}

#[test]
fn explanations_status_and_entries_of_a_node_can_be_read_back() {
    let node = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0")).unwrap();
    let explained = node.explain("a");
    assert_eq!(from_value::<Explanation>(to_value(&explained).unwrap()).unwrap(), explained);
    let status = node.status();
    assert_eq!(to_value(&status).unwrap()["standing"], json!(status.standing.to_string()));
    node.set("k", "v").unwrap();
    let entries = node.entries();
    let entry = entries.of("a").get("k").unwrap();
    assert_eq!(&from_value::<Entry>(to_value(entry).unwrap()).unwrap(), entry);
}

#[test]
fn filters_and_names_of_peers_are_their_text() {
    let filter = Filter::tag("role", "db").others();
    assert_eq!(to_value(&filter).unwrap(), json!("role=db,@others"));
    assert_eq!(from_value::<Filter>(json!("role=db,@others")).unwrap(), filter);
    assert!(from_value::<Filter>(json!("role")).unwrap_err().to_string().contains("`filter`"));
    assert_eq!(from_value::<PeerName>(json!("tag:a")).unwrap(), PeerName::Tag { key: "a".into() });
}

#[test]
fn a_configuration_of_another_version_can_be_read_and_takes_missing_fields_from_lan() {
    let read = from_value::<Config>(json!({ "name": "a", "verifiers": 3, "not_known_here": 1 })).unwrap();
    assert_eq!((read.verifiers, read.max_datagram), (3, Config::lan("a").max_datagram));
    assert!(read.validate().is_ok());
    let unnamed = from_value::<Config>(json!({})).unwrap_err();
    assert!(unnamed.to_string().contains("`name`"), "{unnamed}");
}

/// The state of a node, which recordings contain, can be serialized only inside the library.
#[test]
fn only_data_has_serde_and_no_part_of_the_core() {
    let list = include_str!("../docs/public-api.txt");
    for line in list.lines().filter(|line| line.starts_with("impl") && line.contains("serde")) {
        let (_, of) = line.split_once(" for ").unwrap();
        let core = ["Node", "Output", "Start", "Destination", "StreamId", "StreamKind", "StreamFailure"];
        let core = core.into_iter().chain(["StreamStep", "JoinOrigin", "EarlierLife", "Input"]);
        let found = core.into_iter().find(|name| of.split("::").last() == Some(*name));
        assert_eq!(found, None, "{line}");
    }
    assert!(list.contains("Serialize for syncswim::Member\n"));
}

#[test]
fn an_address_to_bind_is_its_text() {
    let bind: HostPort = "db-1.example:7946".parse().unwrap();
    assert_eq!(to_value(&bind).unwrap(), json!("db-1.example:7946"));
    assert_eq!(from_value::<HostPort>(json!("10.0.0.5:7946")).unwrap(), ([10, 0, 0, 5], 7946).into());
}

#[test]
fn words_and_identities_are_read_from_their_texts() {
    for removal in [Removal::Leave, Removal::Reap] {
        assert_eq!(removal.to_string().parse::<Removal>().unwrap(), removal);
    }
    let refused = "prune".parse::<Removal>().unwrap_err().to_string();
    assert_eq!(refused, "`removal` is \"prune\"; it must be leave or reap");
    assert_eq!("unreachable".parse::<Standing>().unwrap(), Standing::Unreachable);
    assert!("up".parse::<Standing>().unwrap_err().to_string().contains("starting, joined, alone"));
    let identity: Identity = "1700000000000.3".parse().unwrap();
    assert_eq!(identity, Identity::new(1_700_000_000_000, 3));
    for wrong in ["", "1", "1.", ".1", "+1.2", "1.2.3", "99999999999999999999.1"] {
        assert!(wrong.parse::<Identity>().is_err(), "{wrong}");
    }
}

#[test]
fn kinds_settings_and_near_members_are_read_back() {
    assert_eq!(to_value((MetricKind::Counter, MetricUnit::Bytes)).unwrap(), json!(["counter", "bytes"]));
    assert_eq!(to_value(MessageKind::Sent).unwrap(), json!("sent"));
    let settle = from_value::<Settle>(json!({ "at_least": 3 })).unwrap();
    assert_eq!((settle.at_least, settle.limit), (3, Settle::new().limit));
    let member = json!({
        "name": "db", "addr": "10.0.0.1:7946", "state": "alive", "tags": { "role": "db" },
        "identity": { "epoch": 7, "incarnation": 2 },
    });
    let near = json!({ "member": member, "rtt": { "time": { "secs": 0, "nanos": 1_200_000 }, "samples": 4, "age": { "secs": 1, "nanos": 0 } } });
    let near = from_value::<NearMember>(near).unwrap();
    assert!(near.to_string().starts_with("db at 10.0.0.1:7946 (role=db), "), "{near}");
    assert_eq!(from_value::<NearMember>(to_value(&near).unwrap()).unwrap(), near);
}

#[test]
fn a_configuration_that_is_not_valid_is_refused_when_it_is_read() {
    let mut config = Config::lan("a");
    config.probe_timeout = config.probe_interval;
    let refused = from_value::<Config>(to_value(&config).unwrap()).unwrap_err();
    assert!(refused.to_string().contains("must be less than `probe_interval`"), "{refused}");
}

#[test]
fn lists_are_iterated_by_themselves() {
    let tags = Tags::new([("role", "db"), ("zone", "b")]).unwrap();
    let mut pairs = Vec::new();
    for (key, value) in &tags {
        pairs.push(format!("{key}={value}"));
    }
    assert_eq!(pairs, ["role=db", "zone=b"]);
    let mut names = Vec::new();
    for peer in ["b", "a"].into_iter().collect::<Peers>() {
        names.push(peer);
    }
    assert_eq!(names.concat(), "ab");
}
