//! The probe rings: in which order members are probed (SWIM §4.3).
//!
//! Round-robin over a ring that is shuffled for each pass, so that every member is probed once per pass. Members that have not
//! answered yet have a second ring and at most half of the rounds, so made-up names cannot keep members from being probed.
//! Out-of-turn probes are for members that have answered, at this address or an earlier one. They take at most every other
//! round; the table decides in which order. Seven in eight of the rounds between belong to members that have answered.

use serde::{Deserialize, Serialize};

use crate::swim::{member::MemberId, time::Time};

/// Members that are to be probed out of turn; beyond that, the last one in their order waits for its turn in the ring.
const MAX_OUT_OF_TURN: usize = 64;

/// Members in the order in which they are probed.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Ring {
    ids: Vec<MemberId>,
    /// Those before it were probed in this pass, or are to be in the next one.
    cursor: usize,
    /// When this pass began.
    began: Time,
}

/// Where a member is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct Place {
    met: bool,
    at: u32,
}

type Places = Vec<Option<Place>>;

/// The live members except for this node: those that have answered at their address, and those that have not yet. The table
/// alone has them [enter](Self::enter) and [exit](Self::exit).
#[derive(Debug, Default, Serialize, Deserialize)]
pub(in crate::swim) struct ProbeRings {
    met: Ring,
    unmet: Ring,
    /// By member id.
    places: Places,
    /// The turns that the unmet have saved, see [`draw_ring`](Self::draw_ring).
    saved: usize,
    /// The members that a rule wants probed before their turn; and whether the last round went to such a one.
    out_of_turn: Vec<MemberId>,
    was_out_of_turn: bool,
}

impl ProbeRings {
    /// Puts a member at a random place of its ring, so that it is probed within `2n - 1` rounds, or `3n` where one host has most
    /// members. A member that was already probed in this pass waits for the next one, so that members that come and go delay no
    /// others.
    pub(super) fn enter(&mut self, id: MemberId, met: bool, probed: Time, rng: &mut fastrand::Rng) {
        if self.places.len() <= id.index() {
            self.places.resize(id.index() + 1, None);
        }
        self.places[id.index()] = Some(Place { met, at: 0 });
        let (ring, places) = self.ring(met);
        ring.ids.push(id);
        let (at, last) = (rng.usize(..ring.ids.len()), ring.ids.len() - 1);
        let was_probed = probed != Time::ZERO && probed >= ring.began;
        if at >= ring.cursor && !was_probed {
            return ring.swap(places, at, last);
        }
        // No other member's place in this pass changes.
        ring.swap(places, ring.cursor, last);
        ring.cursor += 1;
    }

    /// Closes the gap that a member leaves, without letting anybody be skipped in this round.
    pub(super) fn exit(&mut self, id: MemberId) {
        let Some(Place { met, at }) = self.place(id) else { return };
        let mut gap = at as usize;
        let (ring, places) = self.ring(met);
        if gap < ring.cursor {
            ring.cursor -= 1;
            ring.swap(places, gap, ring.cursor);
            gap = ring.cursor;
        }
        ring.ids.swap_remove(gap);
        ring.note_place(places, gap);
        places[id.index()] = None;
        self.out_of_turn.retain(|other| *other != id);
    }

    /// The next member to probe. Of those that are to be probed out of turn, `first` says which one; of those that have answered,
    /// `overdue` may name one whose host has waited for too long.
    pub(super) fn next(
        &mut self,
        now: Time,
        rng: &mut fastrand::Rng,
        first: impl FnOnce(&[MemberId]) -> Option<MemberId>,
        overdue: impl FnOnce(&[MemberId]) -> Option<MemberId>,
    ) -> Option<MemberId> {
        let after_out_of_turn = std::mem::replace(&mut self.was_out_of_turn, false);
        if !after_out_of_turn && let Some(id) = first(&self.out_of_turn) {
            self.was_out_of_turn = true;
            return Some(self.take_turn(id));
        }
        let met = self.draw_ring(after_out_of_turn)?;
        if met && let Some(id) = overdue(&self.met.ids) {
            return Some(self.take_turn(id));
        }
        let (ring, places) = self.ring(met);
        if ring.cursor >= ring.ids.len() {
            (ring.cursor, ring.began) = (0, now);
            rng.shuffle(&mut ring.ids);
            (0..ring.ids.len()).for_each(|at| ring.note_place(places, at));
        }
        let target = ring.ids[ring.cursor];
        ring.cursor += 1;
        self.out_of_turn.retain(|other| *other != target);
        Some(target)
    }

    /// A member is probed now: its turn of this pass is taken.
    fn take_turn(&mut self, id: MemberId) -> MemberId {
        self.out_of_turn.retain(|other| *other != id);
        if let Some(Place { met, at }) = self.place(id) {
            let (ring, places) = self.ring(met);
            if at as usize >= ring.cursor {
                ring.swap(places, at as usize, ring.cursor);
                ring.cursor += 1;
            }
        }
        id
    }

    /// Whether it is the turn of one that was met: each ring has its share of the turns, but the unmet half at most, and an
    /// eighth at least, so that a member that fell silent before it answered does not wait for a pass of the others. After an
    /// out-of-turn probe the unmet have a quarter of that share: some, so that none is forgotten, and few, since the members
    /// that were met have only these turns.
    fn draw_ring(&mut self, after_out_of_turn: bool) -> Option<bool> {
        let met = self.met.ids.len();
        let unmet = match self.unmet.ids.len() {
            0 => 0,
            unmet => unmet.max(met.div_ceil(7)).min(met.max(1)),
        };
        if met == 0 || unmet == 0 {
            self.saved = 0;
            return (met + unmet > 0).then_some(unmet == 0);
        }
        let price = 4 * (met + unmet);
        // Turns that were saved when there were more members are not spent among few.
        self.saved = self.saved.min(price) + if after_out_of_turn { unmet } else { 4 * unmet };
        let turn = self.saved >= price;
        if turn {
            self.saved -= price;
        }
        Some(!turn)
    }

    /// Makes a live member be probed out of its turn, as soon as that may be. If there are too many, `last` says which one
    /// waits for its turn.
    pub(super) fn probe_out_of_turn(
        &mut self,
        id: MemberId,
        last: impl FnOnce(&[MemberId]) -> Option<MemberId>,
    ) {
        if self.place(id).is_none() || self.out_of_turn.contains(&id) {
            return;
        }
        self.out_of_turn.push(id);
        if self.out_of_turn.len() > MAX_OUT_OF_TURN {
            let last = last(&self.out_of_turn);
            self.out_of_turn.retain(|other| Some(*other) != last);
        }
    }

    /// Makes a member the next in its ring, in exchange for the place of the one that was.
    pub(in crate::swim) fn move_up(&mut self, id: MemberId) {
        let Some(Place { met, at }) = self.place(id) else { return };
        let (ring, places) = self.ring(met);
        if at as usize > ring.cursor {
            ring.swap(places, at as usize, ring.cursor);
        }
    }

    /// Those that have answered, in no particular order.
    pub(in crate::swim) fn met(&self) -> &[MemberId] {
        &self.met.ids
    }

    /// Those that have not answered yet.
    pub(in crate::swim) fn unmet(&self) -> &[MemberId] {
        &self.unmet.ids
    }

    pub(in crate::swim) fn len(&self) -> usize {
        self.met.ids.len() + self.unmet.ids.len()
    }

    fn place(&self, id: MemberId) -> Option<Place> {
        self.places.get(id.index()).copied().flatten()
    }

    fn ring(&mut self, met: bool) -> (&mut Ring, &mut Places) {
        let ring = if met { &mut self.met } else { &mut self.unmet };
        (ring, &mut self.places)
    }

    /// Those that are to be probed before their turn.
    #[cfg(any(test, feature = "sim"))]
    pub(in crate::swim) fn out_of_turn(&self) -> &[MemberId] {
        &self.out_of_turn
    }

    /// Whether a member is in the ring that it belongs to.
    #[cfg(test)]
    pub(super) fn holds(&self, id: MemberId, met: bool) -> bool {
        let ring = if met { &self.met } else { &self.unmet };
        self.place(id).is_some_and(|place| place.met == met && ring.ids[place.at as usize] == id)
    }
}

impl Ring {
    fn swap(&mut self, places: &mut Places, a: usize, b: usize) {
        self.ids.swap(a, b);
        self.note_place(places, a);
        self.note_place(places, b);
    }

    fn note_place(&self, places: &mut Places, at: usize) {
        if let Some(id) = self.ids.get(at)
            && let Some(place) = &mut places[id.index()]
        {
            place.at = at as u32;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn newest(out_of_turn: &[MemberId]) -> Option<MemberId> {
        out_of_turn.last().copied()
    }

    /// The next member, where nothing is known about any.
    fn next(rings: &mut ProbeRings, rng: &mut fastrand::Rng) -> Option<MemberId> {
        rings.next(Time::ZERO, rng, |out_of_turn| out_of_turn.first().copied(), |_| None)
    }

    fn rings(n: u32, rng: &mut fastrand::Rng) -> ProbeRings {
        let mut rings = ProbeRings::default();
        (1..n).for_each(|i| rings.enter(MemberId(i), true, Time::ZERO, rng));
        rings
    }

    #[test]
    fn a_node_that_is_to_be_probed_next_is_probed_next() {
        let mut rng = fastrand::Rng::with_seed(3);
        let mut rings = rings(20, &mut rng);
        for step in 0..1000 {
            let id = MemberId(rng.u32(1..20));
            rings.probe_out_of_turn(id, newest);
            assert_eq!(next(&mut rings, &mut rng), Some(id), "step {step}");
            next(&mut rings, &mut rng);
        }
    }

    /// Among the members to be probed, the one heard from longest ago goes first: the others answer all the time.
    #[test]
    fn of_many_that_are_to_be_probed_the_silent_one_is_first_and_each_has_its_turn() {
        let (mut rng, mut last) = (fastrand::Rng::with_seed(8), vec![0; 20]);
        let mut rings = rings(20, &mut rng);
        for now in 1..200 {
            (1..20).for_each(|i| rings.probe_out_of_turn(MemberId(i), newest));
            (1..20).filter(|i| *i != 7 || now <= 40).for_each(|i| last[i] = now);
            let was_out_of_turn = rings.next(
                Time::ZERO,
                &mut rng,
                |out_of_turn| out_of_turn.iter().copied().min_by_key(|id| last[id.index()]),
                |_| None,
            );
            last[was_out_of_turn.unwrap().index()] = now;
            assert!(now != 41 || was_out_of_turn == Some(MemberId(7)), "{was_out_of_turn:?}");
            rings.next(
                Time::ZERO,
                &mut rng,
                |out_of_turn| out_of_turn.iter().copied().min_by_key(|id| last[id.index()]),
                |_| None,
            );
        }
        // None of them shows itself any more.
        let was_out_of_turn = (0..19).map(|round| {
            (1..20).for_each(|i| rings.probe_out_of_turn(MemberId(i), newest));
            let was_out_of_turn = rings
                .next(
                    Time::ZERO,
                    &mut rng,
                    |out_of_turn| out_of_turn.iter().copied().min_by_key(|id| last[id.index()]),
                    |_| None,
                )
                .unwrap();
            last[was_out_of_turn.index()] = 1000 + round;
            rings.next(
                Time::ZERO,
                &mut rng,
                |out_of_turn| out_of_turn.iter().copied().min_by_key(|id| last[id.index()]),
                |_| None,
            );
            was_out_of_turn
        });
        assert_eq!(was_out_of_turn.collect::<std::collections::BTreeSet<_>>().len(), 19);
    }

    #[test]
    fn beyond_the_room_for_out_of_turn_probes_the_member_heard_from_last_waits_for_its_turn() {
        let mut rng = fastrand::Rng::with_seed(9);
        let mut rings = rings(200, &mut rng);
        let last = |id: MemberId| if id == MemberId(7) { 0 } else { id.0 };
        (1..200).for_each(|i| {
            rings.probe_out_of_turn(MemberId(i), |out_of_turn| {
                out_of_turn.iter().copied().max_by_key(|id| last(*id))
            })
        });
        let kept: Vec<_> = rings.out_of_turn().iter().map(|id| id.0).collect();
        assert_eq!(kept, (1..=MAX_OUT_OF_TURN as u32).collect::<Vec<_>>());
        let next = rings.next(
            Time::ZERO,
            &mut rng,
            |out_of_turn| out_of_turn.iter().copied().min_by_key(|id| last(*id)),
            |_| None,
        );
        assert_eq!(next, Some(MemberId(7)));
    }

    #[test]
    fn a_node_that_is_probed_in_its_turn_is_not_probed_once_more() {
        let mut rng = fastrand::Rng::with_seed(9);
        let mut rings = rings(20, &mut rng);
        rings.probe_out_of_turn(MemberId(7), newest);
        assert_eq!(next(&mut rings, &mut rng), Some(MemberId(7)));
        (1..20).for_each(|i| rings.probe_out_of_turn(MemberId(i), newest));
        let probed = next(&mut rings, &mut rng).unwrap();
        assert!(!rings.out_of_turn().contains(&probed) && rings.out_of_turn().len() == 18);
    }

    #[test]
    fn a_member_at_the_place_of_one_that_was_to_be_probed_next_does_not_get_its_turn() {
        let mut rng = fastrand::Rng::with_seed(6);
        let mut rings = rings(20, &mut rng);
        rings.probe_out_of_turn(MemberId(7), newest);
        rings.exit(MemberId(7));
        rings.enter(MemberId(7), false, Time::ZERO, &mut rng);
        assert_eq!(rings.out_of_turn(), []);
    }

    #[test]
    fn a_member_that_is_moved_up_is_the_next_of_its_ring_and_takes_no_other_s_turn() {
        let mut rng = fastrand::Rng::with_seed(5);
        let mut rings = rings(20, &mut rng);
        for _ in 0..100 {
            let mut seen: Vec<_> = (0..19)
                .map(|_| {
                    let id = MemberId(rng.u32(1..20));
                    let waits = rings.place(id).unwrap().at as usize >= rings.met.cursor;
                    rings.move_up(id);
                    let target = next(&mut rings, &mut rng).unwrap();
                    assert!(!waits || target == id);
                    target
                })
                .collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 19);
        }
    }

    #[test]
    fn a_node_that_is_probed_out_of_turn_has_had_its_turn() {
        let mut rng = fastrand::Rng::with_seed(4);
        let mut rings = rings(20, &mut rng);
        for _ in 0..50 {
            let mut seen = vec![next(&mut rings, &mut rng).unwrap()];
            rings.probe_out_of_turn(MemberId(if seen[0] == MemberId(7) { 8 } else { 7 }), newest);
            seen.extend((1..19).map(|_| next(&mut rings, &mut rng).unwrap()));
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 19);
        }
    }

    #[test]
    fn while_members_are_probed_out_of_turn_most_rounds_between_are_of_members_that_were_met() {
        let hurried = MemberId(1);
        let (mut rng, mut rings) = (fastrand::Rng::with_seed(9), ProbeRings::default());
        rings.enter(hurried, true, Time::ZERO, &mut rng);
        rings.enter(MemberId(2), true, Time::ZERO, &mut rng);
        rings.enter(MemberId(3), false, Time::ZERO, &mut rng);
        let mut turns = [0; 4];
        for _ in 0..100 {
            rings.probe_out_of_turn(hurried, newest);
            assert_eq!(next(&mut rings, &mut rng), Some(hurried));
            turns[next(&mut rings, &mut rng).unwrap().index()] += 1;
        }
        // A twelfth.
        assert_eq!(turns[3], 8, "{turns:?}");
    }

    #[test]
    fn members_that_never_answered_are_the_next_of_theirs_and_take_no_turn_of_others() {
        let (mut rng, mut rings) = (fastrand::Rng::with_seed(9), ProbeRings::default());
        (1..3).for_each(|i| rings.enter(MemberId(i), true, Time::ZERO, &mut rng));
        (3..13).for_each(|i| rings.enter(MemberId(i), false, Time::ZERO, &mut rng));
        let mut turns = [0; 13];
        for _ in 0..50 {
            let wanted: Vec<_> = (0..4).map(|_| next(&mut rings, &mut rng).unwrap()).collect();
            wanted.iter().for_each(|id| turns[id.index()] += 1);
            rings.move_up(MemberId(rng.u32(3..13)));
        }
        assert_eq!(
            turns[1] + turns[2],
            100,
            "half of the turns stay those of members that were met: {turns:?}"
        );
        assert!(turns[3..].iter().all(|turns| (9..=11).contains(turns)), "nobody waits longer: {turns:?}");
        // A new round of the ring begins.
        (0..2).for_each(|_| _ = next(&mut rings, &mut rng));
        let waits = rings.unmet.ids[rings.unmet.cursor..].last().copied();
        let wanted = waits.expect("most have not had their turn");
        rings.move_up(wanted);
        let next = (0..2).map(|_| next(&mut rings, &mut rng).unwrap()).find(|id| id.index() >= 3);
        assert_eq!(next, Some(wanted));
    }

    #[test]
    fn turns_that_were_saved_in_a_large_ring_are_not_spent_in_a_small_one() {
        let mut rng = fastrand::Rng::with_seed(12);
        let mut rings = rings(2001, &mut rng);
        rings.enter(MemberId(3000), false, Time::ZERO, &mut rng);
        // One round before the first turn of the unmet.
        (0..7).for_each(|_| _ = next(&mut rings, &mut rng));
        (11..2001).for_each(|i| rings.exit(MemberId(i)));
        let of_met = (0..20).filter(|_| next(&mut rings, &mut rng) != Some(MemberId(3000))).count();
        assert!(of_met >= 9, "{of_met} of 20 rounds are of the 10 that answer");
    }

    #[test]
    fn without_changes_each_round_probes_everybody_once() {
        let mut rng = fastrand::Rng::with_seed(7);
        let mut rings = rings(20, &mut rng);
        for _ in 0..5 {
            let mut seen: Vec<_> = (0..19).map(|_| next(&mut rings, &mut rng).unwrap()).collect();
            seen.sort_unstable();
            seen.dedup();
            assert_eq!(seen.len(), 19);
        }
    }

    #[test]
    fn a_member_that_comes_and_goes_has_its_turn_in_most_passes() {
        let (mut rng, id, mut probed) = (fastrand::Rng::with_seed(11), MemberId(7), Time::ZERO);
        let mut rings = rings(20, &mut rng);
        let mut turns = 0;
        for round in 1..=50 * 19 {
            let now = Time::from_origin(std::time::Duration::from_secs(round));
            if rings.next(now, &mut rng, |_| None, |_| None) == Some(id) {
                (turns, probed) = (turns + 1, now);
            }
            rings.exit(id);
            rings.enter(id, true, probed, &mut rng);
        }
        assert!(turns > 25, "{turns} turns in 50 passes");
    }

    #[test]
    fn those_that_come_and_go_keep_nobody_waiting() {
        let mut rng = fastrand::Rng::with_seed(10);
        let mut rings = rings(100, &mut rng);
        let (mut probed, mut longest) = (vec![0_u64; 100], 0);
        for round in 1..5000_u64 {
            let now = Time::from_origin(std::time::Duration::from_secs(round));
            let next = rings.next(now, &mut rng, |_| None, |_| None).expect("there are some").index();
            if next > 50 {
                longest = longest.max(round - probed[next]);
            }
            probed[next] = round;
            for id in 1..=50 {
                let at = Time::from_origin(std::time::Duration::from_secs(probed[id as usize]));
                rings.exit(MemberId(id));
                rings.enter(MemberId(id), true, at, &mut rng);
            }
        }
        assert!(longest < 200, "{longest} rounds");
    }
}
