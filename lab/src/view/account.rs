//! What one life of one node tells: read from its recording, with times of a clock that all accounts share, in microseconds.

use super::run::Belief;

/// A node's life, as far as it was recorded.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// The node.
    pub name: String,
    /// From when to when its recording tells what it did.
    pub span: (u64, u64),
    /// When its next timer was due after that: until then nothing is expected of it.
    pub due: u64,
    /// When it was held up.
    pub stalls: Vec<(u64, u64)>,
    /// Its changes of mind, in the order of time.
    pub beliefs: Vec<(u64, String, Belief)>,
    /// Members that it came to hold for departed.
    pub held: Vec<Held>,
    /// Datagrams that it sent.
    pub sent: Vec<Seen>,
    /// Datagrams that it received.
    pub received: Vec<Seen>,
}

/// A verdict that a node came to hold, and why.
#[derive(Debug, Clone)]
pub struct Held {
    /// When.
    pub at: u64,
    /// About whom.
    pub subject: String,
    /// Which life of the subject, and which state of it: holders of one verdict name the same.
    pub identity: (u64, u64),
    /// [`Belief::Failed`] or [`Belief::Left`].
    pub belief: Belief,
    /// Whether the suspicion ran out here; else the node was told.
    pub is_own: bool,
    /// Who accused the subject, as far as this node has heard.
    pub accusers: Vec<String>,
    /// Whether a probe of the node itself failed during the suspicion: it is no accuser if there were enough of them.
    pub missed: bool,
    /// The verdict's text.
    pub text: String,
    /// How the node itself stood.
    pub standing: String,
    /// What it had seen.
    pub seen: Vec<(u64, String)>,
}

/// A datagram, as one of its ends saw it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub at: u64,
    /// The mark of the name of the node at the other end.
    pub other: u32,
    /// A hash of the bytes: both ends have the same.
    pub hash: u64,
    /// What it holds.
    pub content: Content,
}

/// What a datagram holds: as [`Text`](super::run::Text), with names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Content {
    /// In words.
    pub text: String,
    /// Its questions and answers.
    pub kind: u8,
    /// Who is asked for.
    pub target: Option<String>,
    /// What it claims of whom.
    pub claims: Vec<(String, u8)>,
}
