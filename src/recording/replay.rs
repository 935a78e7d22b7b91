//! Running a recorded node again, and comparing what it puts out.

use std::{
    borrow::Cow,
    fmt, mem,
    net::SocketAddr,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Duration,
};

use super::{Recording, Segment, dissect, read::this_build};
use crate::{
    error::message_of,
    swim::{Entry, Event, InForm, Input, Node, Output, RecordedBytes, RecordedOutput, StreamStep, Time},
};

/// One input, and all that the node put out before the next.
#[derive(Debug, Clone)]
#[non_exhaustive]
pub struct Step<'a> {
    /// When, by the node's clock.
    pub at: Time,
    /// The same by the host's clock, since 1970.
    pub wall: Duration,
    /// The input of the node; `None` where the state was restored, see `restored`.
    pub input: Option<Input<'a>>,
    /// The datagrams that it sent.
    pub sent: Vec<Sent<'a>>,
    /// The outputs of the node.
    pub outputs: Vec<Output>,
    /// The frame that it sent in a stream.
    pub frame: Option<Cow<'a, [u8]>>,
    /// Here the state was taken from the recording: it begins, or what comes before is lost.
    pub restored: bool,
}

/// A datagram that a node sent.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Sent<'a> {
    /// Whereto.
    pub to: SocketAddr,
    /// The [mark](super::mark) of the name it is for.
    pub recipient: u32,
    /// In clear.
    pub bytes: Cow<'a, [u8]>,
}

impl Step<'_> {
    /// Nothing yet.
    fn new(at: Time, wall: Duration) -> Self {
        Self { at, wall, input: None, sent: Vec::new(), outputs: Vec::new(), frame: None, restored: false }
    }

    /// The events among its outputs.
    pub fn events(&self) -> impl Iterator<Item = &Event> {
        self.outputs.iter().filter_map(|output| match output {
            Output::Event(event) => Some(event),
            _ => None,
        })
    }
}

/// What the core's random choices and bytes depend on besides its sources.
const DEPENDENCIES: &str = "fastrand and postcard";

/// The first thing that the node does otherwise when it is run again.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Difference {
    /// How many inputs came before.
    pub inputs: u64,
    /// When, by the node's clock.
    pub at: Time,
    /// The input, in words.
    pub input: String,
    /// The recorded output.
    pub recorded: String,
    /// The output of the replay.
    pub replayed: String,
    /// Which build recorded and which replays, if they are not the same.
    pub builds: Option<String>,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { inputs, at, input, recorded, replayed, builds } = self;
        write!(
            f,
            "the replay differs after {inputs} inputs, at {at}, from: {input}\n  recorded: {recorded}\n  replayed: {replayed}"
        )?;
        match builds {
            Some(builds) => write!(
                f,
                "\n  {builds}: build the sources that recorded it, with its versions of {DEPENDENCIES}"
            ),
            None => write!(
                f,
                "\n  the sources are the same: does the lock file of the program that recorded it name other versions \
                 of {DEPENDENCIES}?"
            ),
        }
    }
}

impl std::error::Error for Difference {}

/// A recorded node that runs again: an iterator over its steps, with an error in place of the first that differs, the last.
#[derive(Debug)]
pub struct Replay<'a> {
    recording: &'a Recording,
    node: Node,
    /// Which segment is at hand, and what of it is left.
    segment: usize,
    rest: &'a [u8],
    last: Time,
    inputs: u64,
    restored: bool,
    ended: bool,
    buffer: Vec<u8>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(recording: &'a Recording, segment: usize) -> Self {
        let found = &recording.segments()[segment];
        let (node, _, rest) = found.state().expect("it was read before");
        Self {
            recording,
            node,
            segment,
            rest,
            last: found.at(),
            inputs: 0,
            restored: true,
            ended: false,
            buffer: Vec::new(),
        }
    }

    /// The node, as it is after the last step.
    #[must_use]
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// The node, to do something else with it.
    #[must_use]
    pub fn into_node(self) -> Node {
        self.node
    }

    /// The state at the beginning of the segment at hand.
    pub(super) fn node_again(&self) -> Node {
        self.at_hand().state().expect("it was read before").0
    }

    fn at_hand(&self) -> &'a Segment {
        &self.recording.segments()[self.segment]
    }

    fn place(&self) -> usize {
        self.at_hand().content.len() - self.rest.len()
    }

    fn step(&mut self) -> Result<Option<Step<'a>>, Difference> {
        let mut entry = self.peek()?;
        if entry.is_none() && !self.restored {
            if !self.restore() {
                return Ok(None);
            }
            entry = self.peek()?;
        }
        let mut step = Step::new(self.last, self.at_hand().wall(self.place(), self.last));
        step.restored = mem::take(&mut self.restored);
        // A node's first output may come from an input before its state was recorded.
        if let Some((Entry::Given(after, input), rest)) = entry.filter(|_| !step.restored) {
            let nanos = (self.last.since_origin().as_nanos() as i64).wrapping_add(after) as u64;
            self.last = Time::from_origin(Duration::from_nanos(nanos));
            (step.at, step.wall) = (self.last, self.at_hand().wall(self.place(), self.last));
            self.rest = rest;
            self.inputs += 1;
            // A poll is done where its output is compared.
            if !matches!(*input, Input::PollStream(_)) {
                self.node.give(self.last, &input);
            }
            step.input = Some(input.into_owned());
        }
        while let Some((Entry::Gave(recorded), rest)) = self.peek()? {
            self.rest = rest;
            if let Err(replayed) = self.compare(&recorded, &mut step) {
                return Err(self.difference(step.input.as_ref(), describe(&recorded), replayed));
            }
        }
        Ok(Some(step))
    }

    /// The next entry without a gap before it, and what is behind it.
    fn peek(&mut self) -> Result<Option<(Entry<'a>, &'a [u8])>, Difference> {
        while self.rest.is_empty() {
            let next = self.recording.segments().get(self.segment + 1);
            let Some(next) = next.filter(|next| next.follows()) else { return Ok(None) };
            let (_, state, rest) = next.state().expect("it was read before");
            self.compare_state(state, next.number())?;
            (self.segment, self.rest, self.last) = (self.segment + 1, rest, next.at());
        }
        let broken = || self.difference(None, "what this program cannot read".into(), "nothing".into());
        Entry::take_from(self.rest).map(Some).ok_or_else(broken)
    }

    /// Continues after a gap. Returns whether there is more.
    fn restore(&mut self) -> bool {
        let Some(next) = self.recording.segments().get(self.segment + 1) else { return false };
        let (node, _, rest) = next.state().expect("it was read before");
        (self.node, self.restored) = (node, true);
        (self.segment, self.rest, self.last) = (self.segment + 1, rest, next.at());
        true
    }

    fn compare_state(&self, recorded: &[u8], segment: u64) -> Result<(), Difference> {
        let replayed = postcard::to_stdvec(&InForm(&self.node)).expect("memory takes all");
        if replayed == recorded {
            return Ok(());
        }
        let same = replayed.iter().zip(recorded).take_while(|(a, b)| a == b).count();
        let recorded = format!("a state of {} bytes, with which segment {segment} begins", recorded.len());
        let replayed = format!("one of {} bytes; the first {same} are the same", replayed.len());
        Err(self.difference(None, recorded, replayed))
    }

    /// Polls the node for the recorded output, and puts it into the step; otherwise returns what came instead.
    fn compare(&mut self, recorded: &RecordedOutput<'a>, step: &mut Step<'a>) -> Result<(), String> {
        match recorded {
            RecordedOutput::Datagram(..) | RecordedOutput::NoDatagram => {
                let to = self.node.poll_transmit(&mut self.buffer);
                let replayed = match to {
                    Some(to) => RecordedOutput::Datagram(to, RecordedBytes::new(&self.buffer)),
                    None => RecordedOutput::NoDatagram,
                };
                if replayed != *recorded {
                    return Err(describe(&replayed));
                }
                if let (Some(to), RecordedOutput::Datagram(_, written)) = (to, recorded) {
                    let bytes = self.bytes(*written);
                    step.sent.push(Sent { to: to.addr, recipient: to.recipient, bytes });
                }
            }
            RecordedOutput::Output(recorded) => match self.node.poll_output() {
                Some(output) if output == **recorded => step.outputs.push(output),
                Some(output) => return Err(describe(&RecordedOutput::Output(Cow::Owned(output)))),
                None => return Err("nothing".into()),
            },
            RecordedOutput::Stream(..) => {
                let Some(Input::PollStream(stream)) = step.input else {
                    return Err("no poll of a stream".into());
                };
                let next = self.node.poll_stream(self.last, stream, &mut self.buffer);
                let frame = (next == StreamStep::Send).then(|| RecordedBytes::new(&self.buffer));
                let replayed = RecordedOutput::Stream(next, frame);
                if replayed != *recorded {
                    return Err(describe(&replayed));
                }
                if let RecordedOutput::Stream(_, Some(written)) = recorded {
                    step.frame = Some(self.bytes(*written));
                }
            }
        }
        Ok(())
    }

    fn bytes(&self, written: RecordedBytes<'a>) -> Cow<'a, [u8]> {
        match written {
            RecordedBytes::Whole(bytes) => Cow::Borrowed(bytes),
            RecordedBytes::Checksum(..) => Cow::Owned(self.buffer.clone()),
        }
    }

    fn panicked(&self, message: &str) -> Difference {
        self.difference(None, "no more than this".into(), format!("a panic: {message}"))
    }

    fn difference(&self, input: Option<&Input<'_>>, recorded: String, replayed: String) -> Difference {
        let input = input.map_or_else(|| "no input".into(), describe_input);
        let builds = (!self.recording.is_of_this_build())
            .then(|| format!("recorded by {}; this is {}", self.recording.build(), this_build()));
        Difference { inputs: self.inputs, at: self.last, input, recorded, replayed, builds }
    }
}

impl<'a> Iterator for Replay<'a> {
    type Item = Result<Step<'a>, Difference>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.ended {
            return None;
        }
        // A recording of a panic ends in that panic, and a made-up one in any way.
        let step = catch_unwind(AssertUnwindSafe(|| self.step()));
        let step = step.unwrap_or_else(|panic| Err(self.panicked(&message_of(&*panic))));
        self.ended = !matches!(step, Ok(Some(_)));
        step.transpose()
    }
}

fn describe_input(input: &Input<'_>) -> String {
    match input {
        Input::Datagram { from, bytes } => format!("a datagram from {from}: {}", in_words(bytes)),
        Input::Frame { bytes, .. } => format!("a frame: {}", in_words(bytes)),
        other => format!("{other:?}"),
    }
}

fn describe(recorded: &RecordedOutput<'_>) -> String {
    match recorded {
        RecordedOutput::Datagram(to, written) => {
            format!("a datagram to {}: {}", to.addr, bytes_in_words(written))
        }
        RecordedOutput::NoDatagram => "no datagram".into(),
        RecordedOutput::Output(output) => format!("{output:?}"),
        RecordedOutput::Stream(step, None) => format!("of a stream: {step:?}"),
        RecordedOutput::Stream(step, Some(written)) => {
            format!("of a stream: {step:?} {}", bytes_in_words(written))
        }
    }
}

fn bytes_in_words(written: &RecordedBytes<'_>) -> String {
    match written {
        RecordedBytes::Whole(bytes) => in_words(bytes),
        RecordedBytes::Checksum(len, checksum) => format!("{len} bytes with the checksum {checksum:08x}"),
    }
}

fn in_words(bytes: &[u8]) -> String {
    let hex: String = bytes.iter().take(64).map(|byte| format!("{byte:02x}")).collect();
    let more = if bytes.len() > 64 { "…" } else { "" };
    match dissect(bytes) {
        Some(dissected) => format!("{dissected} ({} bytes: {hex}{more})", bytes.len()),
        None => format!("{} bytes: {hex}{more}", bytes.len()),
    }
}
