//! Recordings of several nodes on one timeline.
//!
//! Each host's wall clock was recorded. Datagrams that two recordings have in common show how far the clocks are apart: half
//! the difference of the shortest delays there and back, as in NTP. Two nodes with datagrams in one direction only are taken
//! to have equal clocks.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use syncswim::{
    recording::{Difference, Dissected, Input, Recording, Said, dissect, mark},
    swim::Event,
};

/// The actions of several recorded nodes, in order.
#[derive(Debug, Clone)]
pub struct Timeline {
    /// The nodes, as the recordings were given.
    pub nodes: Vec<TimelineNode>,
    /// The moments, in order.
    pub moments: Vec<Moment>,
    /// The datagrams, in the order in which they were sent.
    pub flights: Vec<Flight>,
}

/// A node on a timeline.
#[derive(Debug, Clone)]
pub struct TimelineNode {
    /// Its name.
    pub name: String,
    /// The time that was added to its wall clock, in nanoseconds: how far the clock was behind the first node's.
    pub offset: i64,
    /// Whether datagrams show this, or it is a guess.
    pub is_aligned: bool,
    /// The times that its recording covers, by the clock of the first node.
    pub spans: Vec<(Duration, Duration)>,
    /// The first difference, if it is not replayed to its end.
    pub difference: Option<Box<Difference>>,
}

/// A moment at a node.
#[derive(Debug, Clone)]
pub struct Moment {
    /// The time, since 1970, by the clock of the first node.
    pub at: Duration,
    /// The node, as an index.
    pub node: usize,
    /// What happened.
    pub what: What,
}

/// An action or observation of a node.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub enum What {
    /// Its recording begins, or goes on after a gap; this many inputs before are known to be lost.
    Began {
        /// How many.
        lost: u64,
    },
    /// It reported an event.
    Event(Event),
    /// It sent a datagram: the index among the flights.
    Sent(usize),
    /// It received one that another recording has.
    Received(usize),
    /// It received one that no other recording has.
    Heard(Dissected),
}

/// A datagram under way.
#[derive(Debug, Clone)]
pub struct Flight {
    /// The sender, by its place.
    pub from: usize,
    /// The receiver, if that node is recorded.
    pub to: Option<usize>,
    /// When it was sent.
    pub sent: Duration,
    /// When it was received, as far as recordings show it: [`Timeline::is_lost`].
    pub received: Option<Duration>,
    /// Its content.
    pub said: Dissected,
}

/// A datagram that was sent or received, by the clock of its node.
#[derive(Debug, Clone)]
struct Trace {
    node: usize,
    at: i64,
    /// The length and the checksum of its bytes, and the mark of its sender.
    key: (u64, u32),
    recipient: u32,
    said: Dissected,
}

/// The contents of one recording.
#[derive(Default)]
struct Told {
    sent: Vec<Trace>,
    received: Vec<Trace>,
    others: Vec<(i64, What)>,
    /// The times that are recorded, without gaps.
    spans: Vec<(i64, i64)>,
    difference: Option<Box<Difference>>,
}

impl Timeline {
    /// Whether a datagram was lost: its receiver was recorded when it was sent and for a while after it, and did not receive it.
    #[must_use]
    pub fn is_lost(&self, flight: &Flight) -> bool {
        let Some(to) = flight.to.filter(|_| flight.received.is_none()) else { return false };
        // There may be several recordings of one name, for each life one.
        let lives = self.nodes.iter().filter(|node| node.name == self.nodes[to].name);
        let arrives = flight.sent + UNDER_WAY;
        lives.flat_map(|node| &node.spans).any(|(from, to)| *from <= flight.sent && arrives < *to)
    }

    /// Replays recordings and merges them. A recording whose replay differs is used up to the difference.
    #[must_use]
    pub fn merge(recordings: &[Recording]) -> Self {
        let told = tell_all(recordings);
        let nodes = nodes(recordings, &told);
        let aligned = |node: usize, at: i64| aligned(at, nodes[node].offset);
        let mut sent: Vec<&Trace> = told.iter().flat_map(|told| &told.sent).collect();
        sent.sort_by_key(|trace| aligned(trace.node, trace.at));
        let by_mark: BTreeMap<u32, usize> =
            nodes.iter().enumerate().map(|(at, node)| (mark(&node.name), at)).collect();
        let mut flights: Vec<_> = sent
            .iter()
            .map(|trace| Flight {
                from: trace.node,
                to: by_mark.get(&trace.recipient).copied(),
                sent: aligned(trace.node, trace.at),
                received: None,
                said: trace.said.clone(),
            })
            .collect();
        let mut waiting: BTreeMap<_, Vec<usize>> = BTreeMap::new();
        for (at, trace) in sent.iter().enumerate() {
            waiting.entry((trace.key, trace.recipient)).or_default().push(at);
        }
        let mut moments = Vec::new();
        for (node, told) in told.iter().enumerate() {
            let own = mark(&nodes[node].name);
            moments.extend(told.others.iter().map(|(at, what)| Moment {
                at: aligned(node, *at),
                node,
                what: what.clone(),
            }));
            for trace in &told.received {
                let at = aligned(node, trace.at);
                // Among equal datagrams, the latest that was under way.
                let candidates = waiting.get(&(trace.key, own)).map(Vec::as_slice).unwrap_or_default();
                let is_before = |flight: &usize| {
                    flights[*flight].sent <= at + SLACK && flights[*flight].received.is_none()
                };
                let what = match candidates.iter().rev().copied().find(is_before) {
                    Some(flight) => {
                        flights[flight].received = Some(at);
                        What::Received(flight)
                    }
                    None => What::Heard(trace.said.clone()),
                };
                moments.push(Moment { at, node, what });
            }
        }
        let departures = flights.iter().enumerate();
        moments.extend(departures.map(|(at, flight)| Moment {
            at: flight.sent,
            node: flight.from,
            what: What::Sent(at),
        }));
        moments.sort_by_key(|moment| moment.at);
        Self { nodes, moments, flights }
    }
}

impl TimelineNode {
    /// The recorded nodes and what is wrong with their clocks, without what they did.
    #[must_use]
    pub fn of(recordings: &[Recording]) -> Vec<Self> {
        nodes(recordings, &tell_all(recordings))
    }
}

fn nodes(recordings: &[Recording], told: &[Told]) -> Vec<TimelineNode> {
    let nodes = recordings.iter().zip(told).zip(offsets(told));
    let node = |((recording, told), found): ((&Recording, &Told), Option<i64>)| {
        let offset = found.unwrap_or(0);
        let spans = told.spans.iter().map(|(from, to)| (aligned(*from, offset), aligned(*to, offset)));
        TimelineNode {
            name: recording.name().to_owned(),
            offset,
            is_aligned: found.is_some(),
            spans: spans.collect(),
            difference: told.difference.clone(),
        }
    };
    nodes.map(node).collect()
}

/// A wall clock's nanoseconds since 1970, by the clock that a node's [offset](TimelineNode::offset) leads to.
#[must_use]
pub fn aligned(wall: i64, offset: i64) -> Duration {
    Duration::from_nanos(wall.saturating_add(offset).max(0) as u64)
}

/// How long a datagram may be under way: what was sent just before the end of a recording may have arrived after it.
pub(crate) const UNDER_WAY: Duration = Duration::from_secs(1);
/// How much later than its arrival a datagram may seem to be sent.
const SLACK: Duration = Duration::from_millis(1);

fn tell_all(recordings: &[Recording]) -> Vec<Told> {
    recordings.iter().enumerate().map(|(node, recording)| tell(node, recording)).collect()
}

fn tell(node: usize, recording: &Recording) -> Told {
    let mut told = Told::default();
    let mut gaps = recording.segments().iter().filter(|segment| !segment.follows());
    let trace = |at, bytes: &[u8], recipient| {
        // A datagram with only messages of the data layer is not part of a recording.
        let said = dissect(bytes).filter(|said| !said.messages.is_empty())?;
        let key = (said.fingerprint, said.sender);
        Some(Trace { node, at, key, recipient, said })
    };
    for step in recording.replay() {
        let step = match step {
            Ok(step) => step,
            Err(difference) => {
                told.difference = Some(Box::new(difference));
                break;
            }
        };
        let at = step.wall.as_nanos() as i64;
        if step.restored {
            let lost = gaps.next().map_or(0, syncswim::recording::Segment::lost);
            told.others.push((at, What::Began { lost }));
            told.spans.push((at, at));
        }
        told.spans.last_mut().expect("it has begun").1 = at;
        if let Some(Input::Datagram { bytes, .. }) = &step.input {
            told.received.extend(trace(at, bytes, mark(recording.name())));
        }
        told.sent.extend(step.sent.iter().filter_map(|sent| trace(at, &sent.bytes, sent.recipient)));
        told.others.extend(step.events().map(|event| (at, What::Event(event.clone()))));
    }
    told
}

/// The offset of each node's clock to the first one's, where datagrams show it.
fn offsets(told: &[Told]) -> Vec<Option<i64>> {
    // Shortest delay from one node to another, clocks as they are: of datagrams that are sent once and received once.
    let once = |traces: &mut dyn Iterator<Item = &'_ Trace>| {
        let (mut found, mut twice) = (BTreeMap::new(), BTreeSet::new());
        for trace in traces {
            if found.insert(trace.key, (trace.node, trace.at)).is_some() {
                twice.insert(trace.key);
            }
        }
        found.retain(|key, _| !twice.contains(key));
        found
    };
    let sent = once(&mut told.iter().flat_map(|told| &told.sent));
    let received = once(&mut told.iter().flat_map(|told| &told.received));
    let mut shortest: BTreeMap<(usize, usize), i64> = BTreeMap::new();
    for (key, (to, arrived)) in &received {
        if let Some((from, left)) = sent.get(key).filter(|(from, _)| from != to) {
            let delay = arrived - left;
            shortest.entry((*from, *to)).and_modify(|least| *least = delay.min(*least)).or_insert(delay);
        }
    }
    let mut offsets = vec![None; told.len()];
    let mut reached = vec![0];
    if let Some(first) = offsets.first_mut() {
        *first = Some(0);
    }
    while let Some(from) = reached.pop() {
        for to in 0..told.len() {
            let there_and_back = shortest.get(&(from, to)).zip(shortest.get(&(to, from)));
            if let (None, Some(own), Some((there, back))) = (offsets[to], offsets[from], there_and_back) {
                offsets[to] = Some(own - (there - back) / 2);
                reached.push(to);
            }
        }
    }
    offsets
}

impl Flight {
    /// Whether it is about a member: it asks for it, it answers such a question, or it makes a claim about it.
    #[must_use]
    pub fn is_about(&self, name: &str) -> bool {
        self.said.messages.iter().any(|said| match said {
            Said::Ping { target, .. } | Said::PingReq { target, .. } => target == name,
            Said::Suspect { name: about, .. } | Said::Failed { name: about, .. } => about == name,
            _ => false,
        })
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use syncswim::{sim::World, swim::Config};

    use super::*;

    fn world() -> World {
        let mut world = World::new(3);
        world.record(1 << 22);
        world.start_cluster(3, Config::lan);
        world.run_for(Duration::from_secs(20));
        world
    }

    #[test]
    fn on_a_network_without_loss_what_is_sent_arrives_later() {
        let timeline = Timeline::merge(&world().recordings());
        assert!(timeline.nodes.iter().all(|node| node.difference.is_none() && node.is_aligned));
        let end = timeline.moments.last().expect("something happened").at;
        let under_way = end.saturating_sub(Duration::from_secs(1));
        let lost =
            timeline.flights.iter().filter(|flight| flight.received.is_none() && flight.sent < under_way);
        assert_eq!(lost.count(), 0);
        assert!(timeline.flights.len() > 50);
        assert!(timeline.flights.iter().all(|flight| flight.received.is_none_or(|at| at > flight.sent)));
        assert!(timeline.moments.is_sorted_by_key(|moment| moment.at));
    }

    #[test]
    fn what_does_not_arrive_is_seen() {
        let mut world = world();
        world.net.isolate([2]);
        world.run_for(Duration::from_secs(3));
        let timeline = Timeline::merge(&world.recordings());
        let lost = timeline.flights.iter().filter(|flight| flight.to == Some(2) && timeline.is_lost(flight));
        assert!(lost.count() > 0);
    }

    #[test]
    fn what_its_receiver_could_not_record_is_not_lost() {
        let mut world = world();
        world.crash(2);
        world.run_for(Duration::from_secs(3));
        let timeline = Timeline::merge(&world.recordings());
        let sent = timeline.flights.iter().filter(|flight| flight.to == Some(2) && flight.received.is_none());
        let end = timeline.nodes[2].spans[0].1;
        let later: Vec<_> = sent.filter(|flight| flight.sent > end).collect();
        assert!(!later.is_empty());
        assert!(!later.iter().any(|flight| timeline.is_lost(flight)));
    }

    /// Datagrams in both directions show that a clock is wrong.
    #[test]
    fn clocks_are_aligned_by_datagrams() {
        let recording = world().recordings().swap_remove(0);
        let sent = recording.replay().flatten().find_map(|step| step.sent.into_iter().next());
        let said = dissect(&sent.expect("it sends").bytes).expect("it is a datagram");
        let trace = |node, at, number| Trace { node, at, key: (number, 0), recipient: 0, said: said.clone() };
        let (there, back) = (trace(0, 1000, 1), trace(1, 901_500, 2));
        // The second clock is 900,000 ahead; a datagram takes 500 there, 700 back, and others take longer.
        let told = [
            Told {
                sent: vec![there, trace(0, 3000, 3)],
                received: vec![trace(0, 2200, 2)],
                ..Told::default()
            },
            Told {
                sent: vec![back],
                received: vec![trace(1, 901_500, 1), trace(1, 909_000, 3)],
                ..Told::default()
            },
            Told::default(),
        ];
        assert_eq!(offsets(&told), [Some(0), Some(-899_900), None]);
    }
}
