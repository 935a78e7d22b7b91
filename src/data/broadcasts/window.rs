//! The known broadcasts of a life: all up to a number, and some of the 256 numbers above the first missing one.

use crate::wire::data::WINDOW;

/// How many numbers above the first missing one can be known.
pub(super) const WIDTH: u64 = WINDOW as u64 * 8;
const WORDS: usize = WINDOW / 8;
/// The highest number that is believed from anybody but the origin is this one, or the highest known number plus `AHEAD` if
/// that is more. The origin can always exceed a number that others were made to believe, so no attacker can use its numbers
/// up.
const HIGHEST: u64 = 1 << 40;
const AHEAD: u64 = 1 << 20;
/// How far above its last number an origin follows a claim of others. They may have believed some hundred claims, each
/// `AHEAD` of the last, that the origin missed.
const OWN_AHEAD: u64 = AHEAD << 8;

/// Whether a number is believed of a life whose highest known number is `highest`, as a claim of its origin or of another
/// member.
pub(super) fn is_plausible(seq: u64, highest: u64, by_origin: bool) -> bool {
    let most = if by_origin { u64::MAX - OWN_AHEAD } else { HIGHEST.max(highest.saturating_add(AHEAD)) };
    seq > 0 && seq <= most
}

/// The number above which an origin goes on, if it used `last` last and others claim to know a later one.
pub(super) fn above(claimed: u64, last: u64) -> u64 {
    claimed.min(HIGHEST.max(last.saturating_add(OWN_AHEAD))).min(u64::MAX - OWN_AHEAD).max(last)
}

/// The known numbers. The number above `below` is missing.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Window {
    below: u64,
    /// The first bit stands for `below + 2`.
    above: [u64; WORDS],
}

impl Window {
    /// All numbers up to this one.
    pub(super) fn up_to(below: u64) -> Self {
        Self { below, above: [0; WORDS] }
    }

    /// Builds the window from the fields of a head.
    pub(super) fn of_head(below: u64, bytes: &[u8]) -> Self {
        let mut above = [0; WORDS];
        for (at, byte) in bytes.iter().take(WINDOW).enumerate() {
            above[at / 8] |= u64::from(*byte) << (at % 8 * 8);
        }
        Self { below, above }
    }

    /// The bytes of `above` for a head, without trailing zeros.
    pub(super) fn bytes(&self) -> ([u8; WINDOW], usize) {
        let mut bytes = [0; WINDOW];
        for (at, word) in self.above.iter().enumerate() {
            bytes[at * 8..at * 8 + 8].copy_from_slice(&word.to_le_bytes());
        }
        (bytes, bytes.iter().rposition(|byte| *byte != 0).map_or(0, |at| at + 1))
    }

    /// All numbers up to this one are known.
    pub(super) fn below(&self) -> u64 {
        self.below
    }

    /// The highest number that is known.
    pub(super) fn highest(&self) -> u64 {
        let last = self.above.iter().rposition(|word| *word != 0);
        let bit = |at: usize| at as u64 * 64 + u64::from(self.above[at].ilog2());
        last.map_or(self.below, |at| self.below.saturating_add(2 + bit(at)))
    }

    pub(super) fn contains(&self, seq: u64) -> bool {
        match seq.checked_sub(self.below) {
            None | Some(0) => true,
            Some(1) => false,
            Some(ahead) if ahead - 2 < WIDTH => {
                self.above[(ahead - 2) as usize / 64] >> ((ahead - 2) % 64) & 1 == 1
            }
            Some(_) => false,
        }
    }

    /// How many numbers up to `limit` are missing.
    pub(super) fn missing_up_to(&self, limit: u64) -> u64 {
        let Some(ahead) = limit.checked_sub(self.below) else { return 0 };
        ahead - self.numbers().take_while(|seq| *seq <= limit).count() as u64
    }

    /// Adds a number. Returns `None` if it was known, otherwise how many missing numbers are given up for it, as they are
    /// too far behind.
    pub(super) fn insert(&mut self, seq: u64) -> Option<u64> {
        if self.contains(seq) {
            return None;
        }
        let given_up = self.give_up_to(seq.saturating_sub(WIDTH + 1));
        match seq - self.below {
            1 => self.advance(),
            ahead => self.above[(ahead - 2) as usize / 64] |= 1 << ((ahead - 2) % 64),
        }
        Some(given_up)
    }

    /// Removes a number above the first missing one.
    pub(super) fn remove(&mut self, seq: u64) {
        if let Some(bit) = seq.checked_sub(self.below.saturating_add(2)).filter(|bit| *bit < WIDTH) {
            self.above[bit as usize / 64] &= !(1 << (bit % 64));
        }
    }

    /// Makes all numbers up to this one count as known. Returns how many were not.
    fn give_up_to(&mut self, limit: u64) -> u64 {
        let ahead = limit.saturating_sub(self.below);
        if ahead > WIDTH + 1 {
            let known: u32 = self.above.iter().map(|word| word.count_ones()).sum();
            *self = Self::up_to(limit);
            return ahead - u64::from(known);
        }
        let mut missing = 0;
        while self.below < limit {
            missing += 1;
            self.advance();
        }
        missing
    }

    /// Makes all numbers that another window knows count as known. Returns how many were not.
    pub(super) fn give_up(&mut self, theirs: &Self) -> u64 {
        let mut given_up = self.give_up_to(theirs.below);
        for seq in theirs.numbers() {
            given_up += self.insert(seq).map_or(0, |skipped| skipped + 1);
        }
        given_up
    }

    /// Calls `lacks` with the ranges of numbers that another window knows and this one does not. Some ranges may be empty.
    pub(super) fn each_lacked(&self, theirs: &Self, mut lacks: impl FnMut(u64, u64)) {
        let mut first = self.below.saturating_add(1);
        if first <= theirs.below {
            for seq in self.numbers().take_while(|seq| *seq <= theirs.below) {
                lacks(first, seq - 1);
                first = seq.saturating_add(1);
            }
            lacks(first, theirs.below);
        }
        theirs.numbers().filter(|seq| !self.contains(*seq)).for_each(|seq| lacks(seq, seq));
    }

    /// Whether another window knows a number that this one does not.
    pub(super) fn lacks(&self, theirs: &Self) -> bool {
        let mut ours = *self;
        ours.give_up(theirs) > 0
    }

    /// The number above `below` is known from now on, and with it the numbers that follow without a hole.
    fn advance(&mut self) {
        loop {
            self.below = self.below.saturating_add(1);
            let next = self.above[0] & 1 == 1;
            for at in 0..WORDS {
                let carried = self.above.get(at + 1).map_or(0, |word| word << 63);
                self.above[at] = self.above[at] >> 1 | carried;
            }
            if !next {
                return;
            }
        }
    }

    /// The known numbers above the first missing one.
    fn numbers(&self) -> impl Iterator<Item = u64> + use<> {
        let Self { below, above } = *self;
        let is_set = move |bit: &u64| above[*bit as usize / 64] >> (bit % 64) & 1 == 1;
        (0..WIDTH).filter(is_set).map(move |bit| below.saturating_add(bit + 2))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_window_wraps() {
        let mut window = Window::default();
        for seq in 1..=5_000 {
            assert_eq!((window.insert(seq), window.insert(seq)), (Some(0), None));
        }
        assert_eq!(window, Window::up_to(5_000));
        // The farthest number that waits for the missing one.
        assert_eq!(window.insert(5_257), Some(0));
        assert_eq!((window.below(), window.highest(), window.missing_up_to(5_257)), (5_000, 5_257, 256));
        assert_eq!(window.insert(5_258), Some(1), "5001 falls out");
        assert_eq!((window.below(), window.contains(5_001), window.contains(5_002)), (5_001, true, false));
    }

    #[test]
    fn numbers_in_any_order_are_known_once() {
        let mut rng = fastrand::Rng::with_seed(1);
        let mut window = Window::default();
        let mut numbers: Vec<u64> = (1..=256).collect();
        for _ in 0..10 {
            rng.shuffle(&mut numbers);
            let new = numbers.iter().filter(|seq| window.insert(**seq) == Some(0)).count();
            assert_eq!((new, window), (256, Window::up_to(numbers.iter().copied().max().unwrap())));
            numbers.iter_mut().for_each(|seq| *seq += 256);
        }
    }

    #[test]
    fn a_number_can_be_forgotten() {
        let of = |numbers: &[u64]| {
            let mut window = Window::default();
            numbers.iter().for_each(|seq| _ = window.insert(*seq));
            window
        };
        let mut window = of(&[1, 2, 4, 70, 258]);
        [0, 1, 2, 3, 5, 70, 258, 259, 260, 1000, u64::MAX].iter().for_each(|seq| window.remove(*seq));
        assert_eq!(window, of(&[1, 2, 4]));
        Window::up_to(u64::MAX).remove(u64::MAX);
    }

    #[test]
    fn the_greatest_numbers_do_no_harm() {
        for seq in [u64::MAX, u64::MAX - 1, u64::MAX - 256] {
            let mut window = Window::default();
            assert!(window.insert(seq).is_some_and(|given_up| given_up >= u64::MAX - 600));
            assert!(window.contains(seq) && window.insert(u64::MAX).is_none_or(|given_up| given_up <= 257));
            assert!(
                window.highest() >= seq && window.give_up(&Window::of_head(u64::MAX, &[0xff; 32])) <= 257
            );
        }
    }

    proptest! {
        /// A window is a set of numbers in which those too far behind count as known.
        #[test]
        fn a_window_is_a_set(steps in prop::collection::vec((0..4, 1..700_u64), 0..200)) {
            let (mut window, mut set) = (Window::default(), BTreeSet::<u64>::new());
            let fill = |set: &mut BTreeSet<u64>, limit: u64| (1..=limit).filter(|n| set.insert(*n)).count() as u64;
            for (what, number) in steps {
                if what == 0 {
                    prop_assert_eq!(window.give_up_to(number), fill(&mut set, number));
                } else {
                    let expected = (!set.contains(&number)).then(|| {
                        let skipped = fill(&mut set, number.saturating_sub(257));
                        set.insert(number);
                        skipped
                    });
                    prop_assert_eq!(window.insert(number), expected);
                }
                prop_assert!((1..800).all(|n| window.contains(n) == set.contains(&n)));
                let missing = (1..=750).filter(|n| !set.contains(n)).count() as u64;
                prop_assert_eq!(window.missing_up_to(750), missing);
                prop_assert_eq!(window.highest(), set.last().copied().unwrap_or(0));
                let (bytes, len) = window.bytes();
                prop_assert_eq!(Window::of_head(window.below(), &bytes[..len]), window);
            }
        }

        #[test]
        fn numbers_that_another_window_knows_can_be_given_up(ours in prop::collection::btree_set(1..400_u64, 0..60), theirs in prop::collection::btree_set(1..400_u64, 0..60)) {
            let of = |set: &BTreeSet<u64>| {
                let mut window = Window::default();
                set.iter().for_each(|seq| _ = window.insert(*seq));
                window
            };
            let (mut window, other) = (of(&ours), of(&theirs));
            let before = window.missing_up_to(900);
            let mut lacked = BTreeSet::new();
            window.each_lacked(&other, |first, last| lacked.extend(first..=last));
            prop_assert!((1..600).all(|n| lacked.contains(&n) == (other.contains(n) && !window.contains(n))));
            let given_up = window.give_up(&other);
            prop_assert_eq!(before - given_up, window.missing_up_to(900));
            prop_assert!((1..600).all(|n| !other.contains(n) || window.contains(n)));
        }
    }
}
