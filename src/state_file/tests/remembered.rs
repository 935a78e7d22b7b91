//! What a life remembers, and what the next one is told.

use std::sync::Arc;

use super::{
    super::{
        StateFile,
        keeper::{Found, MAX_ORIGINS},
    },
    NAMES, addr, failed, joined, left, member, read, stored,
};
use crate::{
    sim::disk::ModelDisk,
    swim::{EarlierLife, Event, MemberState},
    wire::data::BroadcastHead,
};

#[test]
fn a_file_stays_small_through_many_changes() {
    let (mut state, _) = read(ModelDisk::default());
    state.write().unwrap();
    let mut largest = 0;
    for at in 0..50_000_u32 {
        let name = format!("m{}", at % 10);
        state.note(&if at % 20 < 10 { joined(&name, 1) } else { failed(&name, 1) }, 1);
        if state.waiting() >= 64 {
            state.write().unwrap();
            largest = largest.max(state.files_mut().file().unwrap().len());
        }
    }
    assert!((60_000..=(64 << 10)).contains(&largest), "{largest}");
    assert_eq!(state.state().members.len(), 10);
}

#[test]
fn the_members_of_an_earlier_life_are_returned_live_ones_first() {
    let (mut state, found) = read(ModelDisk::default());
    assert_eq!(found, Found::default());
    state.note(&joined("me", 9), 1);
    for (at, name) in ["a", "b", "c", "d"].into_iter().enumerate() {
        state.note(&joined(name, at as u8), at as u64);
    }
    state.note(&failed("a", 0), 10);
    state.note(&failed("b", 1), 11);
    state.note(&left("c"), 12);
    state.finish().unwrap();
    let members: Vec<(Arc<str>, _)> =
        vec![("d".into(), addr(3)), ("b".into(), addr(1)), ("a".into(), addr(0))];
    let disk = state.into_files();
    let (next, found) = StateFile::read(disk, NAMES, 2, false).unwrap();
    assert_eq!(found.past, EarlierLife::new(5, members[..2].to_vec()));
    assert_eq!(next.state().members.len(), 2, "no more are kept");
}

#[test]
fn after_a_leave_members_are_remembered_only_by_a_node_that_is_to_rejoin() {
    for rejoin in [false, true] {
        let (mut state, _) = read(ModelDisk::default());
        state.note(&joined("me", 9), 1);
        state.note(&joined("a", 1), 1);
        state.note(&left("me"), 1);
        state.finish().unwrap();
        let (mut next, found) = StateFile::read(state.into_files(), NAMES, 9, rejoin).unwrap();
        assert_eq!((found.left, found.past.epoch), (!rejoin, 5));
        assert_eq!(found.past.members.len(), usize::from(rejoin));
        // The next life has not left.
        next.note(&Event::Joined { member: member("me", 9, 6, MemberState::Alive) }, 2);
        next.finish().unwrap();
        let state = stored(&next.into_files());
        assert_eq!((state.left, state.epoch, state.members.len()), (false, 6, usize::from(rejoin)));
    }
}

#[test]
fn a_node_that_is_not_met_for_long_is_forgotten() {
    let (mut state, _) = read(ModelDisk::default());
    ["a", "b", "c"].into_iter().for_each(|name| state.note(&joined(name, 1), 1));
    state.finish().unwrap();
    let (mut next, _) = read(state.into_files());
    next.note(&joined("a", 2), 2);
    next.note(&failed("b", 1), 2);
    next.forget_unseen();
    let names = |state: &StateFile<ModelDisk>| state.state().members.keys().cloned().collect::<Vec<_>>();
    assert_eq!(names(&next), [Arc::from("a"), "b".into()]);
    // Events were lost: who is listed no longer is gone.
    next.note_all(&[member("a", 2, 5, MemberState::Alive)], 3);
    assert_eq!(names(&next), [Arc::from("a")]);
    next.note(&Event::Reaped { member: member("a", 2, 5, MemberState::Failed) }, 3);
    assert_eq!(names(&next), Vec::<Arc<str>>::new());
}

#[test]
fn broadcast_heads_are_kept_of_two_lives_of_each_origin_until_it_is_listed_no_longer() {
    let (mut state, _) = read(ModelDisk::default());
    let note = |state: &mut StateFile<ModelDisk>, origin: &str, epoch, below| {
        state.note_head(&BroadcastHead { origin, epoch, below, above: &[] });
    };
    let kept = |state: &StateFile<ModelDisk>| -> Vec<_> {
        let heads = state.state().heads.iter();
        heads.map(|head| (head.origin.to_owned(), head.epoch, head.below)).collect()
    };
    ["a", "b"].into_iter().for_each(|name| state.note(&joined(name, 1), 1));
    for (epoch, below) in [(5, 1), (6, 2), (5, 3), (7, 4)] {
        note(&mut state, "a", epoch, below);
    }
    note(&mut state, "b", 5, 9);
    let all = [("a".to_owned(), 6, 2), ("a".to_owned(), 7, 4), ("b".to_owned(), 5, 9)];
    assert_eq!(kept(&state), all);
    // What a member broadcast may come again after it has left, also in the next life.
    (0..2).for_each(|_| state.note(&left("a"), 2));
    state.finish().unwrap();
    let (mut next, found) = read(state.into_files());
    assert_eq!(found.heads.iter().map(|head| head.below).collect::<Vec<_>>(), [2, 4, 9]);
    assert_eq!((kept(&next), next.state().members.len()), (all.to_vec(), 1));
    next.note(&left("a"), 3);
    next.note_all(&[member("a", 1, 5, MemberState::Left)], 3);
    assert_eq!(kept(&next), all, "it is listed, and b may still be met");
    next.note(&Event::Reaped { member: member("a", 1, 5, MemberState::Left) }, 4);
    assert_eq!(kept(&next), all[2..]);
    next.forget_unseen();
    assert_eq!(kept(&next), []);
    next.finish().unwrap();
    assert_eq!(stored(&next.into_files()).heads, Default::default());
}

#[test]
fn heads_of_more_origins_than_a_cluster_has_are_not_gone_on_from() {
    let (mut state, _) = read(ModelDisk::default());
    state.note(&joined("z", 1), 1);
    let names: Vec<_> = (0..MAX_ORIGINS + 9).map(|i| format!("o{i}")).collect();
    for origin in names.iter().map(String::as_str).chain(["z"]) {
        state.note_head(&BroadcastHead { origin, epoch: 5, below: 1, above: &[] });
    }
    state.finish().unwrap();
    let (_, found) = read(state.into_files());
    assert_eq!(found.heads.iter().count(), MAX_ORIGINS);
    assert!(found.heads.iter().any(|head| head.origin == "z"), "it was a member");
}
