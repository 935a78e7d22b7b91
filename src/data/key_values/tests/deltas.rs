//! Deltas that break off, or are overtaken: a reader keeps the old map, or has all of the new one.

use std::collections::BTreeMap;

use super::{
    super::{Exchange, KeyValues},
    trials::{cluster, delete, key_values, map_at, run_until_true, secs, set, value_at},
};
use crate::{
    sim::{World, addr, forge},
    swim::Config,
    wire::{
        data::{AskHead, Confirm, DataEnd, DataHello, DataMessage, KeyValue, KeyValueBuckets, KeyValueDelta},
        hash::BUCKETS,
        packet::{self, Header, Writer},
    },
};

/// The frames, of at most `most` bytes, in which the first host tells a newcomer its map.
fn told(world: &mut World, most: usize) -> Vec<Vec<u8>> {
    world.drive_with(0, |endpoint, now| {
        let (mut exchange, mut frames) = (Exchange::default(), Vec::new());
        let said = KeyValueBuckets { digests: &[0; 8 * BUCKETS] };
        let said = DataMessage::KeyValueBuckets(said);
        assert!(endpoint.key_values.on_section(now, &endpoint.node, &mut exchange, "n2", &said));
        endpoint.key_values.begin_turn(&mut exchange, 3, true);
        loop {
            let mut frame = Vec::new();
            let mut packet = Writer::new(&mut frame, Header { cluster: 1, sender: 0, token: 0 }, most);
            let is_all = KeyValues::say(&mut exchange, &mut packet);
            packet.finish();
            frames.push(frame);
            if is_all {
                return frames;
            }
        }
    })
}

/// Makes the third host hear frames of the first.
fn hear(world: &mut World, exchange: &mut Exchange, frames: &[Vec<u8>]) {
    world.drive_with(2, |endpoint, now| {
        for section in frames.iter().flat_map(|frame| packet::sections(frame)) {
            let message = section.unwrap().data_message().unwrap().unwrap();
            assert!(endpoint.key_values.on_section(now, &endpoint.node, exchange, "n0", &message));
        }
    });
}

fn end(world: &mut World, exchange: &mut Exchange) {
    world.drive_with(2, |endpoint, now| endpoint.key_values.end_turn(now, &endpoint.node, exchange));
}

/// The first host's map as another host knows it: version and values.
fn known(world: &World, host: usize) -> (u64, BTreeMap<String, Vec<u8>>) {
    assert_eq!(key_values(world, host).audit(), Ok(()));
    let map = map_at(world, host, "n0").expect("it is known");
    (map.version, map.iter().map(|(key, entry)| (key.to_string(), entry.value.to_vec())).collect())
}

/// Three hosts that know a key of the first. The first then sets and deletes keys while the third is cut off.
fn behind() -> World {
    behind_with(Config::lan)
}

fn behind_with(config: impl Fn(String) -> Config) -> World {
    let mut world = cluster(15, 3, config);
    set(&mut world, 0, "k0", b"before");
    run_until_true(&mut world, secs(5));
    world.net.isolate([2]);
    (0..40).for_each(|i| _ = set(&mut world, 0, &format!("k{i}"), &[i; 300]));
    (30..40).for_each(|i| _ = delete(&mut world, 0, &format!("k{i}")));
    world
}

#[test]
fn a_delta_that_is_cut_off_behind_any_frame_changes_nothing_and_the_next_one_is_taken() {
    let mut world = behind();
    let frames = told(&mut world, 700);
    assert!(frames.len() > 15, "{}", frames.len());
    let before = known(&world, 2);
    for cut in 0..frames.len() {
        // The stream ends there, and what was heard in it is dropped.
        hear(&mut world, &mut Exchange::default(), &frames[..cut]);
        assert_eq!(known(&world, 2), before, "after {cut} frames of {}", frames.len());
    }
    let mut exchange = Exchange::default();
    hear(&mut world, &mut exchange, &frames);
    end(&mut world, &mut exchange);
    assert_eq!(known(&world, 2), known(&world, 0));
}

#[test]
fn a_change_heard_while_a_delta_runs_is_not_undone_by_it() {
    let mut world = behind();
    let frames = told(&mut world, 700);
    let mut exchange = Exchange::default();
    hear(&mut world, &mut exchange, &frames[..frames.len() / 2]);
    set(&mut world, 0, "k1", b"after");
    let (owner, from) = (map_at(&world, 0, "n0").unwrap().clone(), world.node(0).own_life());
    let (key, register) = owner.register("k1").unwrap();
    let said: KeyValue<'_> = owner.tell("n0", key, register);
    world.drive_with(2, |endpoint, now| endpoint.key_values.on_change(now, &endpoint.node, &from, &said));
    hear(&mut world, &mut exchange, &frames[frames.len() / 2..]);
    end(&mut world, &mut exchange);
    assert_eq!(known(&world, 2), known(&world, 0));
    assert_eq!(value_at(&world, 2, "n0", "k1"), Some(b"after".to_vec()));
}

#[test]
fn a_life_that_ends_while_its_delta_runs_leaves_no_entries() {
    let mut world = behind();
    let frames = told(&mut world, 700);
    let mut exchange = Exchange::default();
    hear(&mut world, &mut exchange, &frames[..frames.len() / 2]);
    world.net.heal();
    world.net.rejoin();
    world.restart(0);
    world.run_until("its next life is known", secs(60), |world| {
        world.node(2).known_life("n0") == Some((world.node(0).own_life(), true))
    });
    hear(&mut world, &mut exchange, &frames[frames.len() / 2..]);
    end(&mut world, &mut exchange);
    assert_eq!(value_at(&world, 2, "n0", "k1"), None);
    set(&mut world, 0, "k1", b"next life");
    run_until_true(&mut world, secs(20));
}

/// Two processes have one name, and each sets the same key. All members see the whole map of the process that keeps the
/// name.
#[test]
fn of_two_owners_of_one_name_all_see_the_map_of_the_owner_that_keeps_the_name() {
    let mut world = cluster(16, 4, Config::lan);
    set(&mut world, 1, "k", b"first");
    run_until_true(&mut world, secs(5));
    let twin = world.start(Config::lan("n1"), addr(9), vec![addr(0)]);
    set(&mut world, twin, "k", b"second");
    set(&mut world, twin, "other", b"second");
    world.run_for(secs(60));
    let of = |host: usize| map_at(&world, host, "n1").map(|map| (map.epoch, values(map)));
    let seen = of(0).expect("one of them is listed");
    let holder = [1, twin].into_iter().find(|host| world.node(*host).own_life().epoch == seen.0);
    let holder = holder.expect("it is a life of one of them");
    assert_eq!(Some(&seen), of(holder).as_ref(), "as its owner has it");
    assert!([2, 3].iter().all(|host| of(*host).as_ref() == Some(&seen)));
}

fn values(map: &super::super::OwnerMap) -> BTreeMap<String, Vec<u8>> {
    map.iter().map(|(key, entry)| (key.to_string(), entry.value.to_vec())).collect()
}

#[test]
fn a_delta_of_a_deletion_that_is_forgotten_resets_the_map() {
    let mut world = behind_with(|name| {
        let mut config = Config::lan(name);
        let forget = secs(50);
        (config.forget_after, config.reap_failed_after, config.reap_left_after) = (forget, forget, forget);
        config
    });
    let forgotten = secs(150);
    world.pause(2, forgotten);
    delete(&mut world, 0, "k0");
    world.run_for(forgotten);
    let frames = told(&mut world, 700);
    let mut exchange = Exchange::default();
    for (at, frame) in frames.iter().enumerate() {
        let before = map_at(&world, 2, "n0").is_some_and(|map| map.get("k0").is_some());
        assert!(before, "nothing is reset before frame {at} of {}", frames.len());
        hear(&mut world, &mut exchange, std::slice::from_ref(frame));
    }
    end(&mut world, &mut exchange);
    assert_eq!(known(&world, 2).1, known(&world, 0).1);
}

/// What a member says in a stream that it opens to the third host; whether that stream goes on.
fn say(world: &mut World, said: &[DataMessage<'_>]) -> bool {
    let at = addr(0);
    world.drive_with(2, |endpoint, now| {
        let stream = endpoint.node.accept_stream(now, at).expect("there is room");
        let token = endpoint.node.token_for("n0", at);
        endpoint.handle_frame(now, stream, &forge::data_packet("n0", token, said));
        endpoint.node.data_stream(stream).is_some()
    })
}

/// A key that cannot be stands in the delta: what follows of that owner would count as known without it.
#[test]
fn a_section_that_has_no_place_ends_the_stream_and_nothing_behind_it_counts() {
    let mut world = cluster(4, 3, Config::lan);
    set(&mut world, 0, "k", b"v");
    run_until_true(&mut world, secs(5));
    let epoch = world.node(0).own_life().epoch;
    let hello = || DataMessage::DataHello(DataHello { broadcasts: 1, key_values: 1 });
    let delta = DataMessage::KeyValueDelta(KeyValueDelta { owner: "n0", epoch, version: 9, floor: 0 });
    let (step, stamp, flags) = (0, 1, 0);
    let bad = KeyValue { owner: "n0", epoch, version: 9, step, stamp, flags, key: "a\nb", value: b"v" };
    let end = || DataMessage::DataEnd(DataEnd {});
    let head = |kind| {
        let (slot, life, topic, length) = (0, 1, "t", 5);
        DataMessage::AskHead(AskHead { epoch, slot, id: 1, life, kind, within_ms: 1000, topic, length })
    };
    assert!(say(&mut world, &[hello()]), "this is a sync");
    assert!(say(&mut world, &[head(0)]), "this is a message");
    for said in [
        &[hello(), delta, DataMessage::KeyValue(bad), end()][..],
        &[hello(), hello()],
        &[head(0), hello()],
        &[head(9)],
        &[hello(), DataMessage::Confirm(Confirm { epoch, seq: 1 })],
    ] {
        let before = world.metrics(2).dropped_malformed;
        assert!(!say(&mut world, said), "{said:?}");
        assert_eq!(world.metrics(2).dropped_malformed, before + 1, "{said:?}");
    }
    assert_eq!(known(&world, 2).0, 1, "the delta does not count");
}
