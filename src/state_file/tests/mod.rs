//! Whatever becomes of a file and its disk, what can be read is a state that the node was in.

mod bytes;
mod disks;
mod remembered;

use std::net::SocketAddr;

use super::{
    StateFile,
    keeper::Found,
    record::{HEADER, Record, header},
    state::State,
};
use crate::{
    sim::disk::ModelDisk,
    swim::{Event, Identity, Member, MemberState, Origin, Time},
    wire::{Tags, data::BroadcastHead, hash},
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
