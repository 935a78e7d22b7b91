//! What is claimed of one peer, by whom, and what follows from it. See the table in [`membership`](super).

use std::sync::Arc;

/// Where a peer stands. The order is the one in which claims win over each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Standing {
    Absent,
    Left,
    Active,
}

/// Which discovery speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceId(pub(crate) usize);

/// What a handle says of peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    /// They are active.
    Active,
    /// Those that it calls active have left.
    Left,
    /// They have left, also those that it never called active.
    Gone,
    /// It claims nothing of them any more.
    Withdrawn,
}

/// The last word of every source, and the application's, which is final until a source says something new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Claims {
    /// `Active` or `Left`, one per source. Shared, so that copying what is claimed of many peers allocates nothing.
    words: Option<Arc<Vec<(SourceId, Standing)>>>,
    application: Option<Standing>,
}

impl Word {
    /// Where it leaves a peer that stood there, or was said to.
    fn after(self, before: Standing) -> Standing {
        match self {
            Self::Active => Standing::Active,
            Self::Left if before != Standing::Active => before,
            Self::Left | Self::Gone => Standing::Left,
            Self::Withdrawn => Standing::Absent,
        }
    }
}

impl Claims {
    pub(crate) fn standing(&self) -> Standing {
        let claimed = || self.words().iter().map(|&(_, word)| word).max();
        self.application.or_else(claimed).unwrap_or(Standing::Absent)
    }

    fn words(&self) -> &[(SourceId, Standing)] {
        self.words.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Whether nothing is worth keeping: no source is left for the application's "removed" to hold against.
    pub(crate) fn are_void(&self) -> bool {
        self.words().is_empty() && matches!(self.application, None | Some(Standing::Absent))
    }

    /// Takes the word of `source`, or of the application if `None`.
    pub(crate) fn hear(&mut self, source: Option<SourceId>, word: Word) {
        match source {
            Some(source) => self.hear_source(source, word),
            None if word == Word::Left && self.standing() != Standing::Active => {}
            None => self.application = Some(word.after(self.standing())),
        }
    }

    fn hear_source(&mut self, source: SourceId, word: Word) {
        let at = self.words().iter().position(|said| said.0 == source);
        let said = at.map_or(Standing::Absent, |at| self.words()[at].1);
        let now = word.after(said);
        // A source that repeats itself does not undo what the application said since.
        if said == now {
            return;
        }
        self.application = None;
        let words = Arc::make_mut(self.words.get_or_insert_default());
        match at {
            Some(at) if now == Standing::Absent => drop(words.swap_remove(at)),
            Some(at) => words[at].1 = now,
            None => words.push((source, now)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{
        Standing::{Absent, Active, Left},
        *,
    };

    const A: Option<SourceId> = Some(SourceId(0));
    const B: Option<SourceId> = Some(SourceId(1));
    const APPLICATION: Option<SourceId> = None;

    /// Each step: who says what, where the peer stands then.
    #[track_caller]
    fn check(steps: &[(Option<SourceId>, Standing, Standing)]) -> Claims {
        let mut claims = Claims::default();
        for (at, &(who, word, expected)) in steps.iter().enumerate() {
            let word = match word {
                Active => Word::Active,
                Left => Word::Left,
                Absent => Word::Withdrawn,
            };
            claims.hear(who, word);
            assert_eq!(claims.standing(), expected, "after step {at}: {claims:?}");
        }
        claims
    }

    #[test]
    fn a_peer_is_active_while_any_source_says_so_else_left_while_any_says_left() {
        let all = [(A, Active, Active), (B, Active, Active), (A, Left, Active), (A, Absent, Active)];
        check(&all);
        check(&[
            (A, Active, Active),
            (A, Left, Left),
            (B, Active, Active),
            (B, Absent, Left),
            (A, Absent, Absent),
        ]);
    }

    #[test]
    fn left_needs_an_active_claim_of_the_same_source() {
        check(&[(A, Left, Absent), (A, Active, Active), (B, Left, Active), (A, Left, Left), (A, Left, Left)]);
        check(&[(APPLICATION, Left, Absent), (A, Active, Active), (APPLICATION, Left, Left)]);
    }

    #[test]
    fn a_source_that_never_called_a_peer_active_may_call_it_gone() {
        let mut claims = Claims::default();
        let mut hear = |who, word| {
            claims.hear(who, word);
            claims.standing()
        };
        assert_eq!(hear(A, Word::Left), Absent);
        assert_eq!([hear(A, Word::Gone), hear(A, Word::Gone)], [Left, Left]);
        assert_eq!([hear(B, Word::Active), hear(A, Word::Active), hear(B, Word::Gone)], [Active; 3]);
        assert_eq!([hear(APPLICATION, Word::Withdrawn), hear(A, Word::Active)], [Absent; 2]);
        assert_eq!(
            [hear(A, Word::Gone), hear(A, Word::Withdrawn), hear(B, Word::Withdrawn)],
            [Left, Left, Absent]
        );
    }

    #[test]
    fn the_application_is_final_until_a_source_says_something_new() {
        let removed = [(A, Active, Active), (APPLICATION, Absent, Absent), (A, Active, Absent)];
        check(&[removed[0], removed[1], removed[2], (APPLICATION, Left, Absent), (B, Active, Active)]);
        check(&[removed[0], removed[1], removed[2], (A, Left, Left), (APPLICATION, Active, Active)]);
        check(&[
            (A, Active, Active),
            (A, Left, Left),
            (APPLICATION, Active, Active),
            (A, Left, Active),
            (A, Absent, Absent),
        ]);
    }

    #[test]
    fn nothing_is_kept_of_a_peer_nobody_claims() {
        assert!(Claims::default().are_void());
        assert!(check(&[(APPLICATION, Active, Active), (APPLICATION, Absent, Absent)]).are_void());
        assert!(check(&[(A, Active, Active), (A, Absent, Absent)]).are_void());
        let against_a_source = [(A, Active, Active), (APPLICATION, Absent, Absent)];
        assert!(!check(&against_a_source).are_void());
        assert!(check(&[against_a_source[0], against_a_source[1], (A, Absent, Absent)]).are_void());
    }
}
