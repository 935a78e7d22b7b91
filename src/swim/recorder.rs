//! The flight recorder: writes down what a node is given and what it puts out, so that it can be run again.
//!
//! A recording consists of segments. Each begins with the whole state of the node, so that it can be replayed without those
//! before it. What is written goes in chunks to a sink, which must not block; what it has no room for waits here, up to a
//! bound. Beyond that entries are lost, and the next segment says how many.

use std::{borrow::Cow, collections::VecDeque, fmt, mem, time::Duration};

use postcard::ser_flavors::Flavor;
use serde::{Deserialize, Serialize};

use super::{
    entry::{Entry, Input, RecordedOutput},
    event::Output,
    node::Node,
    page::{Page, Quick},
    stored::InForm,
    time::Time,
};

/// Bytes after which a chunk is handed over.
const CHUNK: usize = 128 << 10;
/// A chunk is handed over once it is that old: each wakes a thread, which costs an idle node as much as its entries do.
const PATIENCE: Duration = Duration::from_secs(60);
/// The same for a chunk that tells of an event: what led to it is to be kept if the process is killed.
const PATIENCE_WITH_EVENT: Duration = Duration::from_millis(100);
/// More than any output takes.
const MAX_PRODUCT: usize = 8 << 10;
/// The most bytes that a file has around a chunk.
pub(crate) const OVERHEAD: usize = 64;
/// The smallest segment.
pub(crate) const MIN_SEGMENT: usize = 64 << 10;

/// The most bytes that wait for the sink, however large the segments are.
const MAX_WAITING: usize = 16 << 20;

/// Takes what was recorded, without blocking.
type Sink = Box<dyn FnMut(Chunk) -> Result<(), Refused> + Send + Sync>;

/// Why a sink takes nothing.
#[derive(Debug)]
pub(crate) enum Refused {
    /// It has no room now: what it was given comes back.
    Full(Chunk),
    /// It takes nothing any more.
    Gone,
}

/// A part of a segment.
#[derive(Debug, Clone)]
pub(crate) struct Chunk {
    /// Which segment of the recording, from 0 on.
    pub(crate) segment: u64,
    /// Which chunk of the segment, from 0 on.
    pub(crate) index: u32,
    /// Empty if the recording has ended because the node's state is too large for a segment.
    pub(crate) bytes: Vec<u8>,
}

/// How a segment begins; the node's state follows, then the entries.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Beginning {
    /// Whether something between the segment before and this one was lost: inputs, or only what came of the last one.
    pub(crate) gap: bool,
    /// Inputs between the segment before and this one that were lost.
    pub(crate) lost: u64,
    /// How many chunks the segment before consists of.
    pub(crate) chunks_before: u32,
    /// When it begins.
    pub(crate) at: Time,
}

/// The recorder of a node, if it is on.
#[derive(Debug, Default)]
pub(super) struct Recorder {
    tape: Option<Box<Tape>>,
    /// The tape's, for frequent entries.
    page: Page,
    /// Inputs that recordings lack, in this life of the node.
    lost: u64,
}

struct Tape {
    sink: Sink,
    /// Bytes of a segment.
    size: usize,
    /// Bytes left of this one, behind so many of the page.
    left: usize,
    counted: usize,
    next: u64,
    segment: u64,
    index: u32,
    /// What was written and not handed over; with the recorder while nothing but frequent entries is written.
    page: Page,
    /// When the oldest of it was written, and whether an event is in it.
    since: Time,
    has_event: bool,
    /// Chunks for which the sink had no room, and their bytes.
    waiting: VecDeque<Chunk>,
    waiting_bytes: usize,
    /// Inputs that were lost since something was: nothing is written meanwhile.
    lost: Option<u64>,
    /// Those of them that the recorder has not counted yet.
    uncounted: u64,
    /// Nothing more is written: the node's state does not fit in a segment, or the sink is gone. What waits is handed over.
    ended: bool,
}

impl fmt::Debug for Tape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tape")
            .field("segment", &self.segment)
            .field("lost", &self.lost)
            .finish_non_exhaustive()
    }
}

impl Node {
    /// Begins to record, in segments of this many bytes; instead of an earlier recording.
    pub(crate) fn start_recording(&mut self, size: usize, sink: Sink) {
        let mut tape = Box::new(Tape {
            sink,
            size: size.max(MIN_SEGMENT),
            left: 0,
            counted: 0,
            next: 0,
            segment: 0,
            index: 0,
            page: Page { last: self.now, ..Page::default() },
            since: self.now,
            has_event: false,
            waiting: VecDeque::new(),
            waiting_bytes: 0,
            lost: None,
            uncounted: 0,
            ended: false,
        });
        tape.begin(self, None);
        tape.hand_over();
        self.keep(tape);
    }

    /// Hands over all that was recorded.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn flush_recording(&mut self) {
        self.with_tape(|tape, _| tape.hand_over());
    }

    /// How many inputs the recordings of this life of the node lack.
    pub(crate) fn recording_lost_inputs(&self) -> u64 {
        self.recorder.lost
    }

    /// Ends the recording and returns what the sink has not taken yet.
    pub(crate) fn stop_recording(&mut self) -> VecDeque<Chunk> {
        self.recorder.take().map_or_else(VecDeque::new, |mut tape| {
            tape.cut();
            tape.waiting
        })
    }

    /// Writes down an input, before anything comes of it.
    #[inline(always)]
    pub(super) fn given<'a>(&mut self, now: Time, input: impl FnOnce() -> Input<'a>) {
        if self.recorder.tape.is_some() {
            let input = input();
            let entry = Quick::given(&input);
            if !entry.is_some_and(|entry| self.recorder.page.write(Some(now), entry)) {
                self.with_tape(|tape, node| tape.given(node, now, &input));
            }
        }
    }

    /// Writes down an output, as the last thing that happens in a poll.
    #[inline(always)]
    pub(super) fn gave<'a>(&mut self, output: impl FnOnce() -> RecordedOutput<'a>) {
        if self.recorder.tape.is_some() {
            let output = output();
            let entry = Quick::gave(&output);
            if !entry.is_some_and(|entry| self.recorder.page.write(None, entry)) {
                self.with_tape(|tape, node| tape.gave(node, output));
            }
        }
    }

    #[cold]
    #[inline(never)]
    fn with_tape(&mut self, write: impl FnOnce(&mut Tape, &Self)) {
        let Some(mut tape) = self.recorder.take() else { return };
        write(&mut tape, self);
        self.keep(tape);
    }

    #[cfg(test)]
    pub(crate) fn is_recording(&self) -> bool {
        self.recorder.tape.is_some()
    }

    /// A tape that has ended is kept until all that waits is handed over.
    fn keep(&mut self, mut tape: Box<Tape>) {
        self.recorder.lost += mem::take(&mut tape.uncounted);
        if !tape.ended || !tape.waiting.is_empty() {
            self.recorder.page = tape.lend_page();
            self.recorder.tape = Some(tape);
        }
    }
}

impl Recorder {
    fn take(&mut self) -> Option<Box<Tape>> {
        let mut tape = self.tape.take()?;
        tape.page = mem::take(&mut self.page);
        tape.count();
        Some(tape)
    }
}

impl Tape {
    /// The page, for as many frequent entries as need nothing else done: none while nothing is written.
    fn lend_page(&mut self) -> Page {
        let mut page = mem::take(&mut self.page);
        self.counted = page.bytes.len();
        page.until = self.since + self.patience();
        let is_written = !page.bytes.is_empty() && !self.ended && self.lost.is_none();
        let room = self.left.saturating_sub(MAX_PRODUCT).min(CHUNK.saturating_sub(page.bytes.len() + 1));
        page.room = if is_written { room } else { 0 };
        page
    }

    /// Counts what was written meanwhile.
    fn count(&mut self) {
        self.left -= self.page.bytes.len() - self.counted;
    }

    fn given(&mut self, node: &Node, now: Time, input: &Input<'_>) {
        if self.ended {
            return self.pass_on();
        }
        if !self.resume_after_loss(node) {
            return;
        }
        if now.since(self.since) >= self.patience() {
            self.hand_over();
        }
        if self.page.bytes.is_empty() {
            self.since = now;
        }
        if !self.write_given(now, input) {
            self.begin(node, None);
            // An entry that does not fit in a segment of its own is lost; the next segment begins after it.
            if !self.ended && !self.write_given(now, input) {
                self.lose();
            }
        }
        self.page.last = now;
    }

    fn write_given(&mut self, now: Time, input: &Input<'_>) -> bool {
        self.write(&Entry::Given(self.nanos_after_last(now), Cow::Borrowed(input)), MAX_PRODUCT)
    }

    fn nanos_after_last(&self, now: Time) -> i64 {
        (now.nanos() as i64).wrapping_sub(self.page.last.nanos() as i64)
    }

    fn patience(&self) -> Duration {
        if self.has_event { PATIENCE_WITH_EVENT } else { PATIENCE }
    }

    fn gave(&mut self, node: &Node, output: RecordedOutput<'_>) {
        if self.ended || self.lost.is_some() {
            return;
        }
        self.has_event |=
            matches!(&output, RecordedOutput::Output(output) if matches!(**output, Output::Event(_)));
        if !self.write(&Entry::Gave(output), 0) {
            self.lost = Some(0);
        } else if self.left < MAX_PRODUCT {
            self.begin(node, None);
        }
    }

    /// Appends an entry, or nothing if less than `spare` bytes of the segment would be left.
    fn write(&mut self, entry: &Entry<'_>, spare: usize) -> bool {
        let before = self.page.bytes.len();
        self.append(entry);
        let taken = self.page.bytes.len() - before;
        let fits = taken + spare <= self.left;
        if fits {
            self.left -= taken;
        } else {
            self.page.bytes.truncate(before);
        }
        if self.page.bytes.len() >= CHUNK {
            self.hand_over();
        }
        fits
    }

    fn append(&mut self, value: &impl Serialize) {
        let mut written = mem::take(&mut self.page.bytes);
        if written.capacity() == 0 {
            written.reserve(CHUNK + MAX_PRODUCT);
        }
        self.page.bytes =
            postcard::serialize_with_flavor(value, Appender(written)).expect("memory takes all");
    }

    /// Begins a segment: with the state of the node as it is, behind a gap with this many inputs if there is one.
    fn begin(&mut self, node: &Node, gap: Option<u64>) {
        self.hand_over();
        if self.ended {
            return;
        }
        let (gap, lost) = (gap.is_some(), gap.unwrap_or(0));
        let beginning = Beginning { gap, lost, chunks_before: self.index, at: node.now };
        (self.segment, self.index) = (self.next, 0);
        self.next += 1;
        (self.since, self.page.last) = (node.now, node.now);
        self.append(&beginning);
        self.append(&InForm(node));
        self.ended = self.page.bytes.len() + 4 * MAX_PRODUCT > self.size;
        self.left = self.size.saturating_sub(self.page.bytes.len() + OVERHEAD);
        if self.ended {
            self.page.bytes.clear();
            self.waiting.push_back(Chunk { segment: self.segment, index: 0, bytes: Vec::new() });
            self.pass_on();
        }
    }

    /// Whether something is written. After a loss, a new segment begins as soon as there is room.
    fn resume_after_loss(&mut self, node: &Node) -> bool {
        if self.lost.is_none() {
            return true;
        }
        self.pass_on();
        if self.waiting_bytes > self.may_wait() / 2 {
            self.lose();
            return false;
        }
        let gap = self.lost.take();
        self.begin(node, gap);
        !self.ended
    }

    fn lose(&mut self) {
        *self.lost.get_or_insert(0) += 1;
        self.uncounted += 1;
    }

    /// Bytes that may wait for the sink.
    fn may_wait(&self) -> usize {
        MAX_WAITING.min(2 * self.size)
    }

    fn hand_over(&mut self) {
        self.cut();
        self.pass_on();
        if self.waiting_bytes > self.may_wait() {
            self.lost.get_or_insert(0);
        }
    }

    /// Makes a chunk of what was written.
    fn cut(&mut self) {
        if self.page.bytes.is_empty() {
            return;
        }
        // An idle node writes the same memory again: it is mapped, and may still be in the caches.
        let bytes = match self.page.bytes.len() < CHUNK / 4 {
            true => self.page.bytes.clone(),
            false => mem::take(&mut self.page.bytes),
        };
        self.page.bytes.clear();
        self.waiting_bytes += bytes.len();
        self.waiting.push_back(Chunk { segment: self.segment, index: self.index, bytes });
        self.index += 1;
        self.left = self.left.saturating_sub(OVERHEAD);
        self.has_event = false;
    }

    fn pass_on(&mut self) {
        while let Some(chunk) = self.waiting.pop_front() {
            let len = chunk.bytes.len();
            match (self.sink)(chunk) {
                Ok(()) => self.waiting_bytes -= len,
                Err(Refused::Full(chunk)) => return self.waiting.push_front(chunk),
                Err(Refused::Gone) => {
                    self.ended = true;
                    self.waiting.clear();
                }
            }
        }
    }
}

/// Appends to a vector, texts and bytes at once.
struct Appender(Vec<u8>);

impl Flavor for Appender {
    type Output = Vec<u8>;

    #[inline]
    fn try_push(&mut self, byte: u8) -> postcard::Result<()> {
        self.0.push(byte);
        Ok(())
    }

    #[inline]
    fn try_extend(&mut self, bytes: &[u8]) -> postcard::Result<()> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }

    fn finalize(self) -> postcard::Result<Vec<u8>> {
        Ok(self.0)
    }
}
