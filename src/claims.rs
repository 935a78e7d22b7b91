//! What is claimed of one peer, by whom, and what follows from it. See the table in [`membership`](crate::membership).

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

/// The last word of every source, and the application's, which is final until a source says something new.
#[derive(Clone, Debug, Default)]
pub(crate) struct Claims {
    /// `Active` or `Left`, one per source.
    words: Vec<(SourceId, Standing)>,
    application: Option<Standing>,
}

impl Claims {
    pub(crate) fn standing(&self) -> Standing {
        let claimed = || self.words.iter().map(|&(_, word)| word).max();
        self.application.or_else(claimed).unwrap_or(Standing::Absent)
    }

    /// Whether nothing is worth keeping: no source is left for the application's "removed" to hold against.
    pub(crate) fn are_void(&self) -> bool {
        self.words.is_empty() && matches!(self.application, None | Some(Standing::Absent))
    }

    /// Takes the word of `source`, or of the application if `None`.
    pub(crate) fn hear(&mut self, source: Option<SourceId>, word: Standing) {
        match source {
            Some(source) => self.hear_source(source, word),
            None if word == Standing::Left && self.standing() != Standing::Active => {}
            None => self.application = Some(word),
        }
    }

    fn hear_source(&mut self, source: SourceId, word: Standing) {
        let at = self.words.iter().position(|said| said.0 == source);
        let said = at.map_or(Standing::Absent, |at| self.words[at].1);
        // A source that repeats itself does not undo what the application said since.
        if said == word || (word == Standing::Left && said != Standing::Active) {
            return;
        }
        self.application = None;
        match at {
            Some(at) if word == Standing::Absent => drop(self.words.swap_remove(at)),
            Some(at) => self.words[at].1 = word,
            None => self.words.push((source, word)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{Standing::*, *};

    const A: Option<SourceId> = Some(SourceId(0));
    const B: Option<SourceId> = Some(SourceId(1));
    const APPLICATION: Option<SourceId> = None;

    /// Each step: who says what, where the peer stands then.
    #[track_caller]
    fn check(steps: &[(Option<SourceId>, Standing, Standing)]) -> Claims {
        let mut claims = Claims::default();
        for (at, &(who, word, expected)) in steps.iter().enumerate() {
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
