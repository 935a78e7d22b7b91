//! The differences between members' clocks and this node's, from the time of sending in their sealed datagrams.
//!
//! A datagram that was sent at `s` by the sender's clock and arrives at `r` by this node's shows `s − r`: how far the
//! sender's clock is ahead, less the time that the datagram was under way. That time is never negative, so the greatest of
//! several such differences is the best estimate, and it is too small by no more than the shortest of those times. It is
//! taken over the last one to two [`SPAN_MS`], so that a step of a clock shows within that time; and only after two spans,
//! so that datagrams that waited while this node was stalled have no effect.
//!
//! Both times are read from [`seal::clock`](crate::wire::seal::clock), the clock that decides whether a datagram is too old.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use parking_lot::Mutex;

use super::directory::Directory;
use crate::{
    blocking::now,
    log_line::{Field, Line, Names, Sink, Throttle, Topic},
    swim::{Clocks, WrongClock},
    wire::hash,
};

/// The time over which the greatest difference is taken.
const SPAN_MS: u64 = 5_000;
/// A member that was silent for this long does not count any more.
const SILENT_MS: u64 = 600_000;
/// Members whose clocks are known. Further members are not compared until another falls silent. There are no shares by
/// account: only log lines and a gauge depend on this, and no newcomer displaces a known member.
const MAX_PEERS: usize = 4096;
/// Clocks that differ by no more than this agree about this node's clock.
const AGREE_MS: u64 = 2_000;
/// How often the clocks are checked for the log.
const LOOK_MS: u64 = 5_000;
/// A difference that was logged is over once it is below this.
const OVER_MS: u64 = Clocks::LIMIT_MS * 4 / 5;
/// Members named in a line.
const EXAMPLES: usize = 3;

/// The clock of one member.
#[derive(Debug)]
struct PeerClock {
    /// The greatest difference of the current span, and when that began.
    ahead: i64,
    begun: u64,
    /// The greatest of the span before.
    before: Option<i64>,
    heard: u64,
}

impl PeerClock {
    fn take(&mut self, now: u64, ahead: i64) {
        if now.saturating_sub(self.begun) < SPAN_MS {
            self.ahead = self.ahead.max(ahead);
        } else {
            (self.before, self.ahead, self.begun) = (Some(self.ahead), ahead, now);
        }
        self.heard = now;
    }

    /// How many milliseconds the member's clock is ahead of this node's; `None` before the second span.
    fn ahead(&self) -> Option<i64> {
        self.before.map(|before| before.max(self.ahead))
    }
}

/// The clocks of all members, by the marks of their names. Times are of the steady clock.
#[derive(Debug, Default)]
struct Table {
    peers: HashMap<u32, PeerClock>,
    swept: u64,
    /// Reused.
    sorted: Vec<i64>,
}

impl Table {
    fn take(&mut self, now: u64, mark: u32, ahead: i64) {
        self.sweep(now);
        if let Some(peer) = self.peers.get_mut(&mark) {
            peer.take(now, ahead);
        } else if self.peers.len() < MAX_PEERS {
            self.peers.insert(mark, PeerClock { ahead, begun: now, before: None, heard: now });
        }
    }

    fn sweep(&mut self, now: u64) {
        if now.saturating_sub(self.swept) >= LOOK_MS {
            self.swept = now;
            self.peers.retain(|_, peer| now.saturating_sub(peer.heard) < SILENT_MS);
        }
    }

    fn compare(&mut self, now: u64) -> Option<Clocks> {
        self.sweep(now);
        self.sorted.clear();
        self.sorted.extend(self.peers.values().filter_map(PeerClock::ahead));
        self.sorted.sort_unstable();
        compare(&self.sorted)
    }

    /// The members whose clocks differ too much.
    fn off(&self) -> impl Iterator<Item = u32> {
        let is_off = |peer: &PeerClock| peer.ahead().is_some_and(is_off);
        self.peers.iter().filter(move |(_, peer)| is_off(peer)).map(|(mark, _)| *mark)
    }
}

fn is_off(ahead: i64) -> bool {
    ahead.unsigned_abs() > Clocks::LIMIT_MS
}

/// What these differences, in ascending order, show about this node's clock and the others. This node's clock has one vote.
fn compare(ahead: &[i64]) -> Option<Clocks> {
    let largest_ms = *ahead.iter().max_by_key(|ahead| ahead.unsigned_abs())?;
    let (compared, median) = (ahead.len(), ahead[ahead.len() / 2]);
    let off = ahead.iter().filter(|ahead| is_off(**ahead)).count();
    let alike = ahead.iter().filter(|ahead| ahead.abs_diff(median) <= AGREE_MS).count();
    let wrong = if is_off(median) && alike >= 2 && 2 * alike > compared + 1 {
        WrongClock::Own { ahead_ms: -median }
    } else if 2 * off < compared + 1 {
        WrongClock::Members
    } else {
        WrongClock::Unclear
    };
    Some(Clocks { compared, off, largest_ms, wrong: (off > 0).then_some(wrong) })
}

/// Shared by the clock thread, which records differences, and those who ask for them.
#[derive(Debug)]
pub(super) struct PeerClocks {
    began: Instant,
    table: Mutex<Table>,
}

impl Default for PeerClocks {
    fn default() -> Self {
        Self { began: now(), table: Mutex::default() }
    }
}

impl PeerClocks {
    /// The steady clock, in milliseconds.
    pub(super) fn steady(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    /// Records that a member's datagram had a time of sending this many milliseconds ahead.
    pub(super) fn take(&self, now: u64, mark: u32, ahead: i64) {
        self.table.lock().take(now, mark, ahead);
    }

    /// How many milliseconds a member's clock is ahead.
    pub(super) fn ahead_ms(&self, name: &str) -> Option<i64> {
        self.table.lock().peers.get(&hash::member(name))?.ahead()
    }

    /// The comparison of all known clocks; `None` if none is known.
    pub(super) fn compare(&self, now: u64) -> Option<Clocks> {
        self.table.lock().compare(now)
    }

    fn names_off(&self, directory: &Directory) -> Vec<Arc<str>> {
        let mut marks: Vec<u32> = self.table.lock().off().collect();
        marks.sort_unstable();
        let members = directory.members();
        let is_off = |name: &Arc<str>| marks.binary_search(&hash::member(name)).is_ok();
        members
            .iter()
            .map(|member| &member.name)
            .filter(|name| is_off(name))
            .take(EXAMPLES)
            .cloned()
            .collect()
    }
}

/// Logs members whose clocks differ, and the end of a difference.
#[derive(Debug, Default)]
pub(super) struct ClockLog {
    looked: u64,
    is_told: bool,
    throttle: Throttle,
}

impl ClockLog {
    /// Checks the clocks from time to time.
    pub(super) fn look(
        &mut self,
        now: u64,
        clocks: &PeerClocks,
        directory: &Directory,
        node: &str,
        sink: &mut impl Sink,
    ) {
        if now - self.looked < LOOK_MS {
            return;
        }
        self.looked = now;
        let Some(found) = clocks.compare(now) else { return };
        match &found.wrong {
            Some(wrong) => {
                self.is_told = true;
                self.differs(now, &found, wrong, || clocks.names_off(directory), node, sink);
            }
            None if self.is_told && found.largest_ms.unsigned_abs() < OVER_MS => {
                self.is_told = false;
                self.throttle.forget(Topic::ClockDiffers);
                let fields: [Field<'_>; 2] = [("compared", &found.compared), ("node", &node)];
                sink.write(Topic::ClockAgrees, &fields);
            }
            None => {}
        }
    }

    fn differs(
        &self,
        now: u64,
        found: &Clocks,
        wrong: &WrongClock,
        names: impl FnOnce() -> Vec<Arc<str>>,
        node: &str,
        sink: &mut impl Sink,
    ) {
        if !sink.is_on(Topic::ClockDiffers) {
            return;
        }
        let whose = wrong.as_str();
        let Some(omitted) = self.throttle.admit(Topic::ClockDiffers, whose, Duration::from_millis(now))
        else {
            return;
        };
        let (ahead_ms, names, hint) = match wrong {
            WrongClock::Own { ahead_ms } => (
                *ahead_ms,
                Vec::new(),
                "this host's clock is wrong: run NTP; or it was put back: restart this node",
            ),
            WrongClock::Members => {
                (found.largest_ms, names(), "the clocks of their hosts are wrong; run NTP")
            }
            WrongClock::Unclear => {
                (found.largest_ms, names(), "one of these clocks is wrong, here or there; run NTP")
            }
        };
        let names = Names(&names);
        let fields: [Field<'_>; 7] = [
            ("whose", &whose),
            ("ahead_ms", &ahead_ms),
            ("names", &names),
            ("off", &found.off),
            ("compared", &found.compared),
            ("hint", &hint),
            ("node", &node),
        ];
        sink.line(Line { topic: Topic::ClockDiffers, fields: &fields, omitted });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        log_line::Written,
        swim::{Config, Event, Node, Output, Start, Time},
    };

    /// A node that receives datagrams from peers, with a steady clock that the test sets.
    #[derive(Default)]
    struct Bench {
        now: u64,
        clocks: PeerClocks,
        directory: Directory,
        log: ClockLog,
        written: Written,
    }

    impl Bench {
        /// A bench with these members in the directory.
        fn with(names: &[&str]) -> Self {
            let bench = Self::default();
            for name in names {
                let start = Start::new(([127, 0, 0, 1], 7).into(), 5, 0);
                let mut node = Node::new(Config::local(*name), start, Time::ZERO);
                if let Some(Output::Event(event @ Event::Joined { .. })) = node.poll_output() {
                    bench.directory.publish(&event);
                }
            }
            bench
        }

        fn hear(&mut self, name: &str, ahead: i64) {
            self.clocks.take(self.now, hash::member(name), ahead);
            self.log.look(self.now, &self.clocks, &self.directory, "me", &mut self.written);
        }

        /// For this many seconds, receives two datagrams a second of each peer, which were 0 to 200 ms under way.
        fn run(&mut self, secs: u64, peers: &[(&str, i64)]) {
            for _ in 0..2 * secs {
                self.now += 500;
                for (at, (name, ahead)) in peers.iter().enumerate() {
                    let under_way = (self.now / 500 * 7 + at as u64) % 5 * 50;
                    self.hear(name, ahead - under_way as i64);
                }
            }
        }

        fn compare(&self) -> Clocks {
            self.clocks.compare(self.now).expect("some were compared")
        }

        fn lines(&mut self) -> Vec<String> {
            std::mem::take(&mut self.written.0)
        }
    }

    fn clocks(ahead: &[i64]) -> (usize, i64, Option<WrongClock>) {
        let mut sorted = ahead.to_vec();
        sorted.sort_unstable();
        let Clocks { compared, off, largest_ms, wrong } = compare(&sorted).expect("there are some");
        assert_eq!(compared, ahead.len());
        (off, largest_ms, wrong)
    }

    #[test]
    fn the_own_clock_is_wrong_if_most_members_agree_and_theirs_if_few_differ() {
        let own = |ahead_ms| Some(WrongClock::Own { ahead_ms });
        assert_eq!(compare(&[]), None);
        assert_eq!(clocks(&[3, -20, 5_000]), (0, 5_000, None));
        assert_eq!(clocks(&[5_001, 0, -1]), (1, 5_001, Some(WrongClock::Members)));
        assert_eq!(clocks(&[-9_000, -9_100, -8_900, 10]), (3, -9_100, own(8_900)));
        assert_eq!(clocks(&[9_000, 9_001]), (2, 9_001, own(-9_001)));
        assert_eq!(clocks(&[9_000]), (1, 9_000, Some(WrongClock::Unclear)), "one alone cannot tell");
        assert_eq!(clocks(&[9_000, 0]), (1, 9_000, Some(WrongClock::Members)));
        assert_eq!(clocks(&[9_000, 9_000, 0]), (2, 9_000, Some(WrongClock::Unclear)), "two against two");
        assert_eq!(clocks(&[-9_000, 9_000, 25_000]), (3, 25_000, Some(WrongClock::Unclear)), "no two agree");
    }

    #[test]
    fn a_difference_is_that_of_the_datagram_that_was_under_way_for_the_shortest_time() {
        let mut bench = Bench::default();
        bench.run(4, &[("b", -700)]);
        assert_eq!(bench.clocks.ahead_ms("b"), None, "it needs two spans");
        bench.run(4, &[("b", -700)]);
        assert_eq!(bench.clocks.ahead_ms("b"), Some(-700));
        assert_eq!(bench.clocks.ahead_ms("c"), None);
        // A step back shows once no datagram from before it counts; a step ahead shows at once.
        bench.run(11, &[("b", -2_000)]);
        assert_eq!(bench.clocks.ahead_ms("b"), Some(-2_000));
        bench.run(1, &[("b", 900)]);
        assert!(bench.clocks.ahead_ms("b") > Some(700));
    }

    #[test]
    fn datagrams_that_waited_while_this_node_was_paused_show_no_clock_difference() {
        let mut bench = Bench::default();
        bench.run(20, &[("b", 0), ("c", 0)]);
        bench.now += 20_000;
        for waited in [20_000, 15_000, 10_000] {
            ["b", "c", "new"].into_iter().for_each(|name| bench.hear(name, -waited));
        }
        bench.run(20, &[("b", 0), ("c", 0), ("new", 0)]);
        assert_eq!((bench.compare().compared, bench.compare().largest_ms), (3, 0));
        assert_eq!(bench.lines(), Vec::<String>::new());
    }

    #[test]
    fn whose_clock_is_off_is_logged_once_and_when_it_is_over() {
        let mut bench = Bench::with(&["b", "c", "d"]);
        bench.run(30, &[("b", 0), ("c", 7_000), ("d", 20)]);
        bench.run(30, &[("b", 0), ("c", 4_900), ("d", 20)]);
        assert_eq!(bench.compare().off, 0, "though below the limit, it is not over");
        bench.run(30, &[("b", 0), ("c", 0), ("d", 20)]);
        // Now this node's clock is set ahead.
        bench.run(200, &[("b", -12_000), ("c", -12_000), ("d", -12_000)]);
        bench.run(20, &[("b", 0), ("c", 0), ("d", 0)]);
        bench.run(20, &[("b", -12_000), ("c", 0), ("d", -29_000)]);
        let expected = [
            r#"clock differs whose=members ahead_ms=7000 names=c off=1 compared=3 hint="the clocks of their hosts are wrong; run NTP" node=me"#,
            "clock agrees compared=3 node=me",
            r#"clock differs whose=own ahead_ms=12000 names="" off=3 compared=3 hint="this host's clock is wrong: run NTP; or it was put back: restart this node" node=me"#,
            r#"clock differs whose=own ahead_ms=12000 names="" off=3 compared=3 hint="this host's clock is wrong: run NTP; or it was put back: restart this node" node=me omitted=11"#,
            r#"clock differs whose=own ahead_ms=12000 names="" off=3 compared=3 hint="this host's clock is wrong: run NTP; or it was put back: restart this node" node=me omitted=23"#,
            "clock agrees compared=3 node=me",
            r#"clock differs whose=unclear ahead_ms=-29000 names=b,d off=2 compared=3 hint="one of these clocks is wrong, here or there; run NTP" node=me"#,
        ];
        assert_eq!(bench.lines(), expected);
    }

    #[test]
    fn memory_is_bounded_silent_members_are_forgotten_and_nothing_is_allocated_once_warm() {
        let mut bench = Bench::default();
        let names: Vec<String> = (0..MAX_PEERS + 9).map(|n| format!("n{n}")).collect();
        for _ in 0..3 {
            bench.now += SPAN_MS;
            names.iter().for_each(|name| bench.clocks.take(bench.now, hash::member(name), 1));
            assert!(bench.clocks.compare(bench.now).is_none_or(|clocks| clocks.compared == MAX_PEERS));
        }
        let counted = allocation_counter::measure(|| {
            bench.now += SPAN_MS;
            bench.run(60, &[("n1", 0), ("n2", 0)]);
        });
        assert_eq!(counted.count_total, 0);
        bench.now += SILENT_MS - 20_000;
        bench.run(10, &[("late", 0)]);
        assert_eq!(bench.compare().compared, 3, "two of them and the late one");
    }
}
