//! What each source reports of one peer, and the state that follows. The rules are the table in [`membership`](super).

use std::{mem, sync::Arc};

/// The state of a peer. The order is the precedence among reports of several sources.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum PeerState {
    Absent,
    Departed(Departure),
    Active,
}

/// How a peer left.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Departure {
    /// The peer announced that it leaves, or its source does not tell how it left. Some sources, such as DNS, only see
    /// that a peer is missing, so *failed* wins as the more exact report.
    Left,
    /// The peer stopped answering.
    Failed,
}

/// Identifies one discovery of a cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourceId(pub(crate) usize);

/// A handle's report about peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Report {
    /// The peers are active.
    Active,
    /// The peers that the same handle reported as active have departed.
    Departed(Departure),
    /// The peers have departed, even if the same handle never reported them as active.
    ListedDeparted(Departure),
    /// The handle reports nothing about the peers any more.
    Withdrawn,
}

/// The latest report of every source about one peer, and the application's report, which decides until a source reports
/// something new.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Reports {
    /// One per source; never `Absent`. Shared, so that copying the reports about many peers allocates nothing.
    sources: Option<Arc<Vec<(SourceId, PeerState)>>>,
    application: Option<PeerState>,
}

impl PeerState {
    /// Whether two states differ at most in how a peer departed.
    pub(crate) fn is_alike(self, other: Self) -> bool {
        mem::discriminant(&self) == mem::discriminant(&other)
    }
}

impl Report {
    /// The state after this report, where the state was `before`.
    fn after(self, before: PeerState) -> PeerState {
        match self {
            Self::Active => PeerState::Active,
            Self::Departed(_) if before != PeerState::Active => before,
            Self::Departed(how) | Self::ListedDeparted(how) => PeerState::Departed(how),
            Self::Withdrawn => PeerState::Absent,
        }
    }
}

impl Reports {
    /// The state of the peer.
    pub(crate) fn state(&self) -> PeerState {
        let reported = || self.sources().iter().map(|&(_, state)| state).max();
        self.application.or_else(reported).unwrap_or(PeerState::Absent)
    }

    fn sources(&self) -> &[(SourceId, PeerState)] {
        self.sources.as_deref().map_or(&[], Vec::as_slice)
    }

    /// Whether there is nothing to store: the application's "removed" matters only against the report of a source.
    pub(crate) fn are_void(&self) -> bool {
        self.sources().is_empty() && matches!(self.application, None | Some(PeerState::Absent))
    }

    /// Takes in a report of `source`, or of the application if `None`.
    pub(crate) fn record(&mut self, source: Option<SourceId>, report: Report) {
        match source {
            Some(source) => self.record_source(source, report),
            None if matches!(report, Report::Departed(_)) && self.state() != PeerState::Active => {}
            None => self.application = Some(report.after(self.state())),
        }
    }

    fn record_source(&mut self, source: SourceId, report: Report) {
        let at = self.sources().iter().position(|known| known.0 == source);
        let before = at.map_or(PeerState::Absent, |at| self.sources()[at].1);
        let after = report.after(before);
        if before == after {
            return;
        }
        // A source that only corrects how the peer departed does not override a later report of the application.
        if !before.is_alike(after) {
            self.application = None;
        }
        let sources = Arc::make_mut(self.sources.get_or_insert_default());
        match at {
            Some(at) if after == PeerState::Absent => drop(sources.swap_remove(at)),
            Some(at) => sources[at].1 = after,
            None => sources.push((source, after)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::{PeerState::Absent, *};

    const A: Option<SourceId> = Some(SourceId(0));
    const B: Option<SourceId> = Some(SourceId(1));
    const APPLICATION: Option<SourceId> = None;

    const ACTIVE: PeerState = PeerState::Active;
    const LEFT: PeerState = PeerState::Departed(Departure::Left);
    const FAILED: PeerState = PeerState::Departed(Departure::Failed);

    /// Each step: the source of the report, the report, and the state of the peer after it.
    #[track_caller]
    fn check(steps: &[(Option<SourceId>, PeerState, PeerState)]) -> Reports {
        let mut reports = Reports::default();
        for (at, &(who, report, expected)) in steps.iter().enumerate() {
            let report = match report {
                PeerState::Active => Report::Active,
                PeerState::Departed(how) => Report::Departed(how),
                Absent => Report::Withdrawn,
            };
            reports.record(who, report);
            assert_eq!(reports.state(), expected, "after step {at}: {reports:?}");
        }
        reports
    }

    #[test]
    fn a_peer_is_active_while_any_source_says_so_else_left_while_any_says_left() {
        check(&[(A, ACTIVE, ACTIVE), (B, ACTIVE, ACTIVE), (A, LEFT, ACTIVE), (A, Absent, ACTIVE)]);
        check(&[
            (A, ACTIVE, ACTIVE),
            (A, LEFT, LEFT),
            (B, ACTIVE, ACTIVE),
            (B, Absent, LEFT),
            (A, Absent, Absent),
        ]);
    }

    #[test]
    fn of_several_sources_that_call_a_peer_departed_the_one_that_knows_of_a_failure_counts() {
        let both = [(A, ACTIVE, ACTIVE), (B, ACTIVE, ACTIVE)];
        check(&[both[0], both[1], (A, LEFT, ACTIVE), (B, FAILED, FAILED), (B, Absent, LEFT)]);
        check(&[both[0], both[1], (A, FAILED, ACTIVE), (B, LEFT, FAILED), (B, Absent, FAILED)]);
        check(&[both[0], both[1], (A, FAILED, ACTIVE), (B, LEFT, FAILED), (A, ACTIVE, ACTIVE)]);
    }

    #[test]
    fn left_needs_an_active_report_of_the_same_source() {
        check(&[(A, LEFT, Absent), (A, ACTIVE, ACTIVE), (B, LEFT, ACTIVE), (A, LEFT, LEFT), (A, LEFT, LEFT)]);
        check(&[(APPLICATION, LEFT, Absent), (A, ACTIVE, ACTIVE), (APPLICATION, LEFT, LEFT)]);
        check(&[(A, FAILED, Absent), (A, ACTIVE, ACTIVE), (A, LEFT, LEFT), (A, FAILED, LEFT)]);
        check(&[(APPLICATION, FAILED, Absent), (A, ACTIVE, ACTIVE), (APPLICATION, FAILED, FAILED)]);
    }

    #[test]
    fn a_source_that_never_called_a_peer_active_may_list_it_as_departed() {
        let listed = Report::ListedDeparted(Departure::Left);
        let mut reports = Reports::default();
        let mut record = |who, report| {
            reports.record(who, report);
            reports.state()
        };
        assert_eq!(record(A, Report::Departed(Departure::Left)), Absent);
        assert_eq!([record(A, listed), record(A, listed)], [LEFT; 2]);
        assert_eq!([record(B, Report::Active), record(A, Report::Active), record(B, listed)], [ACTIVE; 3]);
        assert_eq!([record(APPLICATION, Report::Withdrawn), record(A, Report::Active)], [Absent; 2]);
        assert_eq!(
            [record(A, listed), record(A, Report::Withdrawn), record(B, Report::Withdrawn)],
            [LEFT, LEFT, Absent]
        );
    }

    #[test]
    fn a_source_may_correct_how_a_peer_departed_and_that_is_no_news_against_the_application() {
        let [left, failed] = [Departure::Left, Departure::Failed].map(Report::ListedDeparted);
        let mut reports = Reports::default();
        let mut record = |who, report| {
            reports.record(who, report);
            reports.state()
        };
        assert_eq!([record(A, failed), record(A, left), record(A, failed)], [FAILED, LEFT, FAILED]);
        assert_eq!([record(APPLICATION, Report::Withdrawn), record(A, left)], [Absent; 2]);
        assert_eq!([record(A, Report::Active), record(A, failed)], [ACTIVE, FAILED]);
    }

    #[test]
    fn the_application_is_final_until_a_source_says_something_new() {
        let removed = [(A, ACTIVE, ACTIVE), (APPLICATION, Absent, Absent), (A, ACTIVE, Absent)];
        check(&[removed[0], removed[1], removed[2], (APPLICATION, LEFT, Absent), (B, ACTIVE, ACTIVE)]);
        check(&[removed[0], removed[1], removed[2], (A, LEFT, LEFT), (APPLICATION, ACTIVE, ACTIVE)]);
        check(&[
            (A, ACTIVE, ACTIVE),
            (A, LEFT, LEFT),
            (APPLICATION, ACTIVE, ACTIVE),
            (A, LEFT, ACTIVE),
            (A, Absent, Absent),
        ]);
    }

    #[test]
    fn nothing_is_kept_of_a_peer_that_no_source_reports() {
        assert!(Reports::default().are_void());
        assert!(check(&[(APPLICATION, ACTIVE, ACTIVE), (APPLICATION, Absent, Absent)]).are_void());
        assert!(check(&[(A, ACTIVE, ACTIVE), (A, Absent, Absent)]).are_void());
        let against_a_source = [(A, ACTIVE, ACTIVE), (APPLICATION, Absent, Absent)];
        assert!(!check(&against_a_source).are_void());
        assert!(check(&[against_a_source[0], against_a_source[1], (A, Absent, Absent)]).are_void());
    }
}
