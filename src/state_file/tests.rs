//! Whatever becomes of a file and its disk, what can be read is a state that the node was in.

use std::{fs, io, net::SocketAddr, sync::Arc};

use proptest::prelude::*;

use super::{
    Disk, Files, StateFile,
    keeper::{Found, MAX_ORIGINS},
    record::{Entry, HEADER, Record, append, header},
    state::State,
};
use crate::{
    sim::disk::ModelDisk,
    swim::{EarlierLife, Event, Identity, Member, MemberState, Origin, Time},
    wire::{
        Tags,
        data::{BroadcastHead, WINDOW},
        hash,
    },
};

const NAMES: (&str, &str) = ("blue", "me");

fn own() -> [u8; HEADER] {
    header(hash::cluster("blue"), hash::member("me"))
}

fn addr(last: u8) -> SocketAddr {
    ([10, 0, 0, last], 7946).into()
}

fn member(name: &str, last: u8, epoch: u64, state: MemberState) -> Member {
    let identity = Identity { epoch, incarnation: 0 };
    let (tags, since, removed_by) = (Tags::default(), Time::ZERO, None);
    Member { name: name.into(), addr: addr(last), state, tags, identity, since, removed_by }
}

fn joined(name: &str, last: u8) -> Event {
    Event::Joined { member: member(name, last, 5, MemberState::Alive) }
}

fn left(name: &str) -> Event {
    Event::Left { member: member(name, 1, 5, MemberState::Left), origin: Origin::Member }
}

fn failed(name: &str, last: u8) -> Event {
    // What else it says does not matter here.
    Event::Suspected { member: member(name, last, 5, MemberState::Failed) }
}

/// All up to a number, and two above.
fn head(origin: &str, epoch: u64, below: u64) -> Record<'_> {
    Record::Head(BroadcastHead { origin, epoch, below, above: &[5] })
}

fn read(disk: ModelDisk) -> (StateFile<ModelDisk>, Found) {
    StateFile::read(disk, NAMES, 100, true).unwrap()
}

fn parse(file: &[u8]) -> State {
    State::parse(file, &own()).unwrap().0
}

/// What a disk holds.
fn stored(disk: &ModelDisk) -> State {
    parse(disk.file().unwrap_or_default())
}

/// A file with a record of each kind, and of one that nobody knows; and the states that its beginnings stand for.
fn file() -> (Vec<u8>, Vec<State>) {
    let entry =
        |name, addr, live| Entry { name, addr, epoch: 1_700_000_000_000, live, since: 1_700_000_000_001 };
    let v6 = "[2001:db8::1]:7946".parse().unwrap();
    let records = [
        Some(Record::Life(1_700_000_000_000)),
        Some(Record::Member(entry("a", addr(1), true))),
        Some(Record::Member(entry("node-b", v6, false))),
        None,
        Some(head("a", 1_700_000_000_000, 1)),
        Some(head("node-b", 1_600_000_000_000, 9)),
        Some(head("a", 1_700_000_000_000, 700)),
        Some(Record::Member(entry("a", addr(2), false))),
        Some(Record::Gone("node-b")),
        Some(Record::Forgotten("node-b")),
        Some(head("a", 1_800_000_000_000, 2)),
        Some(head("a", 1_900_000_000_000, 3)),
        Some(Record::Left),
        Some(Record::Life(1_800_000_000_000)),
    ];
    let (mut file, mut state) = (own().to_vec(), State::default());
    let mut states = vec![state.clone()];
    for record in &records {
        match record {
            Some(record) => record.write(&mut file),
            None => append(&mut file, 200, &"of a later version"),
        }
        record.iter().for_each(|record| state.apply(record));
        states.push(state.clone());
    }
    (file, states)
}

#[test]
fn a_file_that_is_cut_off_anywhere_is_an_older_state() {
    let (file, states) = file();
    assert_eq!(parse(&file), states[states.len() - 1]);
    let mut reached = 0;
    for length in 0..file.len() {
        let state = parse(&file[..length]);
        let at = states[reached..].iter().position(|older| *older == state);
        reached += at.unwrap_or_else(|| panic!("{length} bytes are {state:?}"));
    }
    assert!(reached > 3);
}

#[test]
fn a_file_with_any_bit_flipped_is_an_older_state() {
    let (mut file, states) = file();
    for bit in 0..file.len() * 8 {
        file[bit / 8] ^= 1 << (bit % 8);
        let state = parse(&file);
        assert!(states.contains(&state), "bit {bit}: {state:?}");
        file[bit / 8] ^= 1 << (bit % 8);
    }
}

#[test]
fn tails_of_zeros_and_tails_that_are_doubled_do_no_harm() {
    let (file, states) = file();
    let last = &states[states.len() - 1];
    for length in [1, 6, 7, 512, 70_000] {
        let tail = [&file[..], &vec![0; length]].concat();
        assert_eq!(State::parse(&tail, &own()).unwrap(), (last.clone(), length));
        assert_eq!(State::parse(&vec![0; length], &own()).unwrap(), (State::default(), length));
    }
    assert_eq!(parse(&[&file[..], &file[HEADER..]].concat()), *last);
}

#[test]
fn a_body_may_have_more_behind_it() {
    let mut file = own().to_vec();
    append(&mut file, 1, &(7_u64, "of a later version"));
    append(&mut file, 3, &("nobody", 1_u8));
    append(&mut file, 4, &"why");
    assert_eq!(parse(&file), State { epoch: 7, left: true, ..State::default() });
}

#[test]
fn the_bytes_are_those_of_the_documents() {
    let mut file = own().to_vec();
    Record::Life(300).write(&mut file);
    let entry = Entry { name: "b", addr: addr(1), epoch: 1, live: true, since: 2 };
    Record::Member(entry).write(&mut file);
    Record::Gone("b").write(&mut file);
    Record::Left.write(&mut file);
    head("b", 1, 300).write(&mut file);
    Record::Forgotten("b").write(&mut file);
    let hex: String = file.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, GOLDEN);
}

/// The header; a life of epoch 300; a member b; b is gone; a leave; of b's life 1 all up to 300, 302 and 304; b is forgotten.
const GOLDEN: &str = concat!(
    "7377696d7374610101c2166f6745f33a423e95a8",
    "03003375fc6c01ac02",
    "0d00f6e39b9b020162000a0000018a3e010102",
    "0300a1026339030162",
    "01003c77eef904",
    "0800ae1dde0b05016201ac020105",
    "03004ac0a83f060162",
);

#[test]
fn the_file_of_somebody_else_is_refused_and_left_as_it_is() {
    let of = |cluster, node| {
        let mut file = header(hash::cluster(cluster), hash::member(node)).to_vec();
        Record::Life(9).write(&mut file);
        file
    };
    let mut later = own();
    later[7] = 2;
    let checksum = crc32fast::hash(&later[..16]).to_le_bytes();
    later[16..].copy_from_slice(&checksum);
    for (file, problem) in [
        (of("blue", "you"), "it is of another node"),
        (of("red", "me"), "it is of another cluster"),
        (later.to_vec(), "it is of another version of this library"),
        (b"# a configuration that somebody gave by mistake".to_vec(), "it is no state file"),
        (b"short".to_vec(), "it is no state file"),
    ] {
        let error = State::parse(&file, &own()).unwrap_err();
        assert_eq!((error.kind(), error.to_string()), (io::ErrorKind::InvalidData, problem.to_owned()));
    }
}

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
fn a_power_cut_leaves_what_the_system_had_written_back() {
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

#[test]
fn a_file_stays_small_whatever_happens() {
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
fn what_an_earlier_life_knew_is_told_those_that_lived_first() {
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
fn after_a_leave_members_are_remembered_only_by_who_wants_to_rejoin() {
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
fn who_is_not_met_for_long_is_forgotten() {
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
fn what_readers_got_is_kept_of_two_lives_of_each_origin_until_it_is_listed_no_longer() {
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

#[test]
fn a_head_that_no_node_writes_is_skipped() {
    let mut file = own().to_vec();
    append(&mut file, 5, &("b", 1_u64, 2_u64, vec![0xff_u8; WINDOW + 1]));
    append(&mut file, 5, &"cut off");
    append(&mut file, 1, &7_u64);
    assert_eq!(parse(&file), State { epoch: 7, ..State::default() });
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
    /// Whatever happens, and however it is cut into batches, the file says what is in memory, and after a power cut something that was.
    #[test]
    fn the_file_says_what_the_node_knows(
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

    /// Bytes never panic, whoever wrote them.
    #[test]
    fn any_bytes_are_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = State::parse(&bytes, &own());
        let behind = [&own()[..], &bytes].concat();
        prop_assert!(State::parse(&behind, &own()).is_ok());
        let mut disk = ModelDisk::default();
        let mut file = disk.create().unwrap();
        disk.write(&mut file, &behind).unwrap();
        disk.put_in_place().unwrap();
        let (mut state, _) = read(disk);
        state.finish().unwrap();
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
    let mut is_in_place = |file: &fs::File, size, front: &[u8]| one.is_in_place(file, size, front);
    assert!(is_in_place(&first, 9, b"all") && !is_in_place(&second, 9, b"all"));
    assert!(!is_in_place(&first, 8, b"all") && !is_in_place(&first, 9, b"half"));
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
