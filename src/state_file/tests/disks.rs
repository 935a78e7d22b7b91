//! Disks that fail, lose their power, are full, or have others write on them.

use std::{fs, io};

use proptest::prelude::*;

use super::{
    super::{Disk, Files, StateFile, record::HEADER, state::State},
    addr, failed, joined, left, member, read, stored,
};
use crate::{
    sim::disk::ModelDisk,
    swim::{EarlierLife, Event, Member, MemberState},
    wire::data::BroadcastHead,
};

/// Writes a file anew, grows it, and writes it anew once more; says which states it was in.
fn busy_life(state: &mut StateFile<ModelDisk>) -> Vec<State> {
    let mut states = vec![state.state().clone()];
    let mut step = |state: &mut StateFile<ModelDisk>, event: &Event| {
        state.note(event, 3);
        states.push(state.state().clone());
        let _ = state.write();
    };
    step(state, &joined("me", 9));
    for at in 1..5 {
        step(state, &joined(&format!("m{at}"), at));
    }
    step(state, &failed("m1", 1));
    state.files_mut().remove();
    step(state, &left("m2"));
    step(state, &left("me"));
    let _ = state.finish();
    states
}

#[test]
fn after_a_crash_between_any_two_operations_the_file_is_a_state_that_was() {
    let mut rng = fastrand::Rng::with_seed(1);
    let mut all = 0;
    for operations in 0.. {
        for power_is_cut in [false, true] {
            let (mut state, _) = read(ModelDisk::default());
            state.files_mut().faults.operations = Some(operations);
            let states = busy_life(&mut state);
            let mut disk = state.into_files();
            if power_is_cut {
                disk.cut_power(&mut rng);
            }
            let found = stored(&disk);
            assert!(
                found == State::default() || states.contains(&found),
                "{operations} operations, power cut: {power_is_cut}: {found:?}"
            );
            // And the next life can go on from there.
            disk.faults = Default::default();
            let (mut next, _) = read(disk);
            next.note(&joined("me", 9), 4);
            next.finish().unwrap();
            assert_eq!(stored(&next.into_files()).epoch, 5);
            all += usize::from(found == states[states.len() - 1]);
        }
        if all > 20 {
            assert!(operations > 20, "they are enough for all of it");
            break;
        }
    }
}

/// The same of what is read back from there: nothing of before the compaction may be lost.
#[test]
fn a_crash_in_a_compaction_loses_nothing_of_before() {
    let mut rng = fastrand::Rng::with_seed(2);
    for operations in 0..8 {
        for _ in 0..50 {
            let (mut state, _) = read(ModelDisk::default());
            state.note(&joined("me", 9), 1);
            state.note(&joined("a", 1), 1);
            state.write().unwrap();
            let before = state.state().clone();
            // As it does for a file that is too large.
            let (mut next, found) = read(state.into_files());
            assert_eq!(found.past, EarlierLife::new(5, vec![("a".into(), addr(1))]));
            next.note(&joined("b", 2), 2);
            let after = next.state().clone();
            next.files_mut().faults.operations = Some(operations);
            let written = next.write();
            let mut disk = next.into_files();
            disk.cut_power(&mut rng);
            let now = stored(&disk);
            assert!(now == before || now == after, "{operations}: {now:?}");
            assert!(written.is_err() || now == after, "what was written and synced is there");
        }
    }
}

#[test]
fn a_power_cut_leaves_the_data_that_the_system_had_written_back() {
    let mut rng = fastrand::Rng::with_seed(3);
    for _ in 0..200 {
        let (mut state, _) = read(ModelDisk::default());
        state.note(&joined("me", 9), 1);
        state.write().unwrap();
        state.note(&joined("a", 1), 1);
        state.write().unwrap();
        let disk = state.files_mut();
        disk.now = disk.now + std::time::Duration::from_secs(31);
        state.note(&joined("b", 2), 1);
        state.write().unwrap();
        let mut disk = state.into_files();
        disk.cut_power(&mut rng);
        let stored = stored(&disk);
        assert!(stored.members.contains_key("a") && stored.epoch == 5, "{stored:?}");
    }
}

#[test]
fn a_full_disk_and_one_that_is_read_only_are_made_good_later() {
    type Break = fn(&mut ModelDisk);
    let breaks: [(Break, io::ErrorKind); 3] = [
        (|disk| disk.faults.room = Some(35), io::ErrorKind::StorageFull),
        (|disk| disk.faults.read_only = true, io::ErrorKind::ReadOnlyFilesystem),
        (|disk| disk.faults.operations = Some(0), io::ErrorKind::Other),
    ];
    for (break_it, kind) in breaks {
        let (mut state, _) = read(ModelDisk::default());
        state.note(&joined("me", 9), 1);
        state.write().unwrap();
        let before = state.state().clone();
        break_it(state.files_mut());
        state.note(&joined("a", 1), 1);
        assert_eq!(state.write().unwrap_err().kind(), kind);
        // Nothing piles up meanwhile.
        for _ in 0..1000 {
            state.note(&failed("a", 1), 1);
            state.note(&joined("a", 1), 1);
        }
        assert_eq!(state.waiting(), 0);
        assert!(state.write().is_err());
        assert_eq!(stored(state.files_mut()), before);
        assert!(!state.files_mut().has_new(), "nothing is left beside it");
        state.files_mut().faults = Default::default();
        state.write().unwrap();
        assert_eq!(stored(state.files_mut()), *state.state());
    }
}

#[test]
fn a_file_that_is_removed_or_replaced_is_written_anew() {
    let (mut state, _) = read(ModelDisk::default());
    state.note(&joined("me", 9), 1);
    state.note(&joined("a", 1), 1);
    state.write().unwrap();
    state.files_mut().remove();
    state.write().unwrap();
    assert_eq!(stored(state.files_mut()), *state.state());
}

#[test]
fn a_file_that_others_write_into_is_written_anew_with_the_next_record_or_look() {
    let changes: [fn(&mut Vec<u8>); 4] =
        [Vec::clear, |file| file.truncate(HEADER + 1), |file| file[..8].fill(b'#'), |file| file.push(0)];
    for (change, has_more) in changes.into_iter().flat_map(|change| [(change, true), (change, false)]) {
        let (mut state, _) = read(ModelDisk::default());
        state.note(&joined("me", 9), 1);
        state.note(&joined("a", 1), 1);
        state.write().unwrap();
        state.files_mut().overwrite(change);
        if has_more {
            state.note(&joined("b", 2), 1);
        }
        state.write().unwrap();
        assert_eq!(stored(state.files_mut()), *state.state());
    }
}

/// One writes, another begins to, and the first puts in place what it wrote: never what the other has half of.
#[test]
fn of_two_processes_with_one_path_each_puts_its_own_file_in_place() {
    let folder = std::env::temp_dir().join(format!("syncswim-twins-{}", std::process::id()));
    fs::create_dir_all(&folder).unwrap();
    let path = folder.join("a.state");
    fs::write(folder.join("a.state.new"), "somebody's").unwrap();
    fs::write(folder.join("a.state.new-0123456789abcdef"), "of a process that was killed").unwrap();
    let [mut one, mut other] = [(); 2].map(|()| Disk::new(path.clone()));
    // Both have been here before.
    other.create().unwrap();
    let mut first = one.create().unwrap();
    one.write(&mut first, b"all of it").unwrap();
    let mut second = other.create().unwrap();
    other.write(&mut second, b"half").unwrap();
    one.put_in_place().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"all of it");
    let mut check_in_place = |file: &fs::File, size, front: &[u8]| one.check_in_place(file, size, front);
    assert!(check_in_place(&first, 9, b"all") && !check_in_place(&second, 9, b"all"));
    assert!(!check_in_place(&first, 8, b"all") && !check_in_place(&first, 9, b"half"));
    other.put_in_place().unwrap();
    assert_eq!(fs::read(&path).unwrap(), b"half");
    one.create().unwrap();
    one.discard();
    one.try_out().unwrap();
    let mut left: Vec<_> = fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    left.sort();
    assert_eq!(left, ["a.state", "a.state.new"], "what is not ours stays");
    fs::remove_dir_all(folder).unwrap();
}

/// Something that happens to a node.
fn any_event() -> impl Strategy<Value = Event> {
    let states = [MemberState::Alive, MemberState::Suspect, MemberState::Failed, MemberState::Left];
    (0_u8..6, 1_u8..4, 1_u64..4, prop::sample::select(states.to_vec()), 0_u8..8).prop_map(
        |(name, at, epoch, state, kind)| {
            let name = if name == 0 { "me".to_owned() } else { format!("m{name}") };
            let member = member(&name, at, epoch, state);
            if kind == 0 { Event::Reaped { member } } else { Event::Joined { member } }
        },
    )
}

proptest! {
    /// Whatever happens, and however it is cut into batches, the file says what is in memory, and after a power cut something
    /// that was.
    #[test]
    fn the_file_holds_the_state_in_memory(
        events in prop::collection::vec((any_event(), 0..9_u64, any::<bool>()), 0..60),
        seed in any::<u64>(),
    ) {
        let (mut state, _) = read(ModelDisk::default());
        let mut states = vec![State::default()];
        for (event, below, writes) in &events {
            match event.member().filter(|_| *below > 5) {
                Some(Member { name, identity, .. }) => {
                    let (origin, epoch) = (&**name, identity.epoch);
                    state.note_head(&BroadcastHead { origin, epoch, below: *below, above: &[] });
                }
                None => state.note(event, 7),
            }
            states.push(state.state().clone());
            if *writes {
                state.write().unwrap();
                prop_assert_eq!(&stored(state.files_mut()), state.state());
            }
        }
        state.write().unwrap();
        prop_assert_eq!(&stored(state.files_mut()), state.state());
        let mut disk = state.into_files();
        disk.cut_power(&mut fastrand::Rng::with_seed(seed));
        let found = stored(&disk);
        // A record that changes nothing to be seen may be the last one there.
        prop_assert!(states.contains(&found), "{:?}", found);
    }
}
