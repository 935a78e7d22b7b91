//! The contents of a page: one run of a cluster, as its nodes saw it. Times are microseconds since the run began; nodes and
//! texts are indexes in the lists.

use serde::{Serialize, Serializer};

/// A run, ready to be shown.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// What the page is called.
    pub title: String,
    /// The run in one line: its source, the number of nodes, its length.
    pub summary: String,
    /// The parameters for running it again, by name.
    pub parameters: Vec<(String, String)>,
    /// What the page leaves out, each a sentence.
    pub left_out: Vec<String>,
    /// When what is shown begins: 0, unless the run is too long for a page.
    pub start: u64,
    /// When it ends.
    pub end: u64,
    /// The time that the diagram of datagrams shows at first.
    pub span: u64,
    /// The longest time that a datagram was under way.
    pub longest: u64,
    /// The members, sorted by name.
    pub nodes: Vec<Node>,
    /// The changes of belief, in the order of time.
    #[serde(rename = "beliefs", serialize_with = "change_columns")]
    pub changes: Vec<Change>,
    /// The datagrams that are kept, in the order in which they were sent.
    #[serde(rename = "datagrams", serialize_with = "flight_columns")]
    pub flights: Vec<Flight>,
    /// The contents of datagrams.
    pub texts: Vec<Text>,
    /// The times whose datagrams are kept.
    pub windows: Vec<(u64, u64)>,
    /// Members that were declared failed, or left: in the order of time.
    pub verdicts: Vec<Verdict>,
    /// Other events, in the order of time.
    pub marks: Vec<Mark>,
}

/// A member.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// The times that its recordings cover; empty if there are none.
    pub recorded: Vec<(u64, u64)>,
    /// The times when it was stalled, according to its own timers.
    pub stalls: Vec<(u64, u64)>,
}

/// The state of a subject in an observer's view.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Belief {
    /// Not listed.
    Unknown = 0,
    /// Alive.
    Alive = 1,
    /// Suspected.
    Suspect = 2,
    /// Declared failed.
    Failed = 3,
    /// It left.
    Left = 4,
}

/// A change of an observer's belief.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: u64,
    /// The observer.
    pub observer: usize,
    /// The subject.
    pub subject: usize,
    /// The belief from now on.
    pub belief: Belief,
}

/// The fate of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was received.
    Arrived = 0,
    /// The receiver was recorded then, and did not receive it.
    Lost = 1,
    /// It is unknown whether it arrived.
    Unseen = 2,
    /// It arrived from a node without a recording.
    Unsent = 3,
}

/// A datagram on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flight {
    /// When it was sent.
    pub sent: u64,
    /// How long it took; 0 if it did not arrive.
    pub took: u64,
    /// The sender.
    pub from: usize,
    /// The receiver.
    pub to: usize,
    /// Its content, as an index.
    pub text: usize,
    /// Its fate.
    pub fate: Fate,
}

/// The content of a datagram.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Text {
    /// In words.
    pub text: String,
    /// Its questions and answers: [`PING`], [`ACK`], [`PING_REQ`], [`NACK`].
    pub kind: u8,
    /// The target of a question.
    pub target: Option<usize>,
    /// Its claims, and about whom: [`SUSPECT`], [`FAILED`], [`ALIVE`], [`LEFT`].
    pub claims: Vec<(usize, u8)>,
}

/// A ping.
pub const PING: u8 = 1;
/// Its answer.
pub const ACK: u8 = 2;
/// A request to a relay.
pub const PING_REQ: u8 = 4;
/// A relay has no answer from the target.
pub const NACK: u8 = 8;
/// A member is suspected.
pub const SUSPECT: u8 = 16;
/// A member failed.
pub const FAILED: u8 = 32;
/// A member is alive.
pub const ALIVE: u8 = 64;
/// A member left.
pub const LEFT: u8 = 128;

/// A verdict that a member failed or left, with all who came to believe it.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// The member.
    pub subject: usize,
    /// The first observer that reported it.
    pub observer: usize,
    /// When.
    pub at: u64,
    /// [`Belief::Failed`] or [`Belief::Left`].
    #[serde(rename = "state", serialize_with = "as_number")]
    pub belief: Belief,
    /// The member that removed it, if it was removed.
    #[serde(rename = "removedBy")]
    pub removed_by: Option<String>,
    /// When the suspicion that led to it began.
    pub suspected: Option<u64>,
    /// How many observers believed it.
    pub holders: usize,
    /// Its accusers, according to the observers.
    pub accusers: Vec<usize>,
    /// Whether the subject ran at that time; unknown if no recording shows it.
    #[serde(rename = "false")]
    pub is_false: Option<bool>,
    /// The evidence for that, in a sentence.
    pub truth: String,
    /// Further sentences about it.
    pub words: Vec<String>,
    /// The explanations of observers.
    pub told: Vec<Told>,
}

/// One observer's explanation of a verdict.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    /// The observer.
    pub observer: usize,
    /// When it came to believe the verdict.
    pub at: u64,
    /// The verdict's own text.
    pub text: String,
    /// The observer's own standing.
    pub standing: String,
    /// Its observations of the subject, and of itself meanwhile.
    pub seen: Vec<(u64, String)>,
}

/// An event.
#[derive(Debug, Clone, Serialize)]
pub struct Mark {
    /// When.
    pub at: u64,
    /// What.
    pub text: String,
}

fn as_number<S: Serializer>(belief: &Belief, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_u8(*belief as u8)
}

/// Lists of numbers are a third as long as a list of objects, and differences of times shorter than times.
fn change_columns<S: Serializer>(changes: &[Change], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Columns {
        at: Vec<u64>,
        observer: Vec<usize>,
        subject: Vec<usize>,
        state: Vec<u8>,
    }
    let columns = Columns {
        at: differences(changes.iter().map(|change| change.at)),
        observer: changes.iter().map(|change| change.observer).collect(),
        subject: changes.iter().map(|change| change.subject).collect(),
        state: changes.iter().map(|change| change.belief as u8).collect(),
    };
    columns.serialize(serializer)
}

fn flight_columns<S: Serializer>(flights: &[Flight], serializer: S) -> Result<S::Ok, S::Error> {
    #[derive(Serialize)]
    struct Columns {
        sent: Vec<u64>,
        took: Vec<u64>,
        from: Vec<usize>,
        to: Vec<usize>,
        text: Vec<usize>,
        fate: Vec<u8>,
    }
    let columns = Columns {
        sent: differences(flights.iter().map(|flight| flight.sent)),
        took: flights.iter().map(|flight| flight.took).collect(),
        from: flights.iter().map(|flight| flight.from).collect(),
        to: flights.iter().map(|flight| flight.to).collect(),
        text: flights.iter().map(|flight| flight.text).collect(),
        fate: flights.iter().map(|flight| flight.fate as u8).collect(),
    };
    columns.serialize(serializer)
}

fn differences(times: impl Iterator<Item = u64>) -> Vec<u64> {
    let mut last = 0;
    times.map(|time| time - std::mem::replace(&mut last, time)).collect()
}
