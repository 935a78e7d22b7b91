//! What a page shows: one run of a cluster, as its nodes saw it. Times are microseconds since the run began; nodes and texts
//! are named by their place in the lists.

use serde::{Serialize, Serializer};

/// A run, ready to be shown.
#[derive(Debug, Clone, Default, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Run {
    /// What the page is called.
    pub title: String,
    /// The run in one line: of which source, how many nodes, how long.
    pub summary: String,
    /// By name: whatever would be needed to run it again.
    pub parameters: Vec<(String, String)>,
    /// What the page does not hold, each a sentence.
    pub left_out: Vec<String>,
    /// When it begins, always 0.
    pub start: u64,
    /// When it ends.
    pub end: u64,
    /// How much time the diagram of datagrams shows at first.
    pub span: u64,
    /// No datagram was longer under way.
    pub longest: u64,
    /// The members, sorted by name.
    pub nodes: Vec<Node>,
    /// Who came to believe what, in the order of time.
    #[serde(rename = "beliefs", serialize_with = "change_columns")]
    pub changes: Vec<Change>,
    /// The datagrams that are kept, in the order in which they were sent.
    #[serde(rename = "datagrams", serialize_with = "flight_columns")]
    pub flights: Vec<Flight>,
    /// What datagrams hold.
    pub texts: Vec<Text>,
    /// The times of which datagrams are kept.
    pub windows: Vec<(u64, u64)>,
    /// Members that were declared failed, or left: in the order of time.
    pub verdicts: Vec<Verdict>,
    /// What else happened, in the order of time.
    pub marks: Vec<Mark>,
}

/// A member.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Node {
    /// Its name.
    pub name: String,
    /// When its recordings tell what it did; never, if there are none of it.
    pub recorded: Vec<(u64, u64)>,
    /// When it was held up, as its own timers show.
    pub stalls: Vec<(u64, u64)>,
}

/// How an observer sees a subject.
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

/// An observer changes its mind.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Change {
    /// When.
    pub at: u64,
    /// Whose mind.
    pub observer: usize,
    /// Of whom.
    pub subject: usize,
    /// From now on.
    pub belief: Belief,
}

/// What became of a datagram.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fate {
    /// It was received.
    Arrived = 0,
    /// The receiver was recorded then, and did not get it.
    Lost = 1,
    /// Nobody knows whether it arrived.
    Unseen = 2,
    /// It arrived from somebody of whom there is no recording.
    Unsent = 3,
}

/// A datagram on its way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Flight {
    /// When it was sent.
    pub sent: u64,
    /// How long it took; 0 if it did not arrive.
    pub took: u64,
    /// Who sent it.
    pub from: usize,
    /// Whereto.
    pub to: usize,
    /// What it holds.
    pub text: usize,
    /// What became of it.
    pub fate: Fate,
}

/// What a datagram holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Text {
    /// In words.
    pub text: String,
    /// Its questions and answers: [`PING`], [`ACK`], [`PING_REQ`], [`NACK`].
    pub kind: u8,
    /// Who is asked for.
    pub target: Option<usize>,
    /// What it claims of whom: [`SUSPECT`], [`FAILED`], [`ALIVE`], [`LEFT`].
    pub claims: Vec<(usize, u8)>,
}

/// A ping.
pub const PING: u8 = 1;
/// Its answer.
pub const ACK: u8 = 2;
/// A relay is asked.
pub const PING_REQ: u8 = 4;
/// A relay has heard nothing.
pub const NACK: u8 = 8;
/// Somebody is suspected.
pub const SUSPECT: u8 = 16;
/// Somebody failed.
pub const FAILED: u8 = 32;
/// Somebody is alive.
pub const ALIVE: u8 = 64;
/// Somebody left.
pub const LEFT: u8 = 128;

/// A member was declared failed, or left; with all who came to hold it.
#[derive(Debug, Clone, Serialize)]
pub struct Verdict {
    /// Who departed.
    pub subject: usize,
    /// Who was the first to say so.
    pub observer: usize,
    /// When.
    pub at: u64,
    /// [`Belief::Failed`] or [`Belief::Left`].
    #[serde(rename = "state", serialize_with = "as_number")]
    pub belief: Belief,
    /// When the suspicion began that it came of.
    pub suspected: Option<u64>,
    /// How many observers held it.
    pub holders: usize,
    /// Who accused it, as the holders tell.
    pub accusers: Vec<usize>,
    /// Whether the subject ran at that time; unknown if it was not recorded.
    #[serde(rename = "false")]
    pub is_false: Option<bool>,
    /// What the subject's own recording says of it.
    pub truth: String,
    /// The rest of the story, a sentence each.
    pub words: Vec<String>,
    /// How holders explain it.
    pub told: Vec<Told>,
}

/// How one observer explains a verdict.
#[derive(Debug, Clone, Serialize)]
pub struct Told {
    /// Who.
    pub observer: usize,
    /// When it came to hold it.
    pub at: u64,
    /// The verdict's own text.
    pub text: String,
    /// How the observer itself stood.
    pub standing: String,
    /// What it saw of the subject, and of itself meanwhile.
    pub seen: Vec<(u64, String)>,
}

/// Something that happened.
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
