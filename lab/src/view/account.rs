//! The observations of one life of one node: read from its recording, with times of a clock that all accounts share, in
//! microseconds.

use super::run::Belief;

/// A node's life, as far as it was recorded.
#[derive(Debug, Clone, Default)]
pub struct Account {
    /// The node.
    pub name: String,
    /// The times between which its recording shows what it did.
    pub span: (u64, u64),
    /// When its next timer was due after that: until then no activity of it is expected.
    pub due: u64,
    /// Whether it ran no longer than that. A recording may end before its node does.
    pub is_whole: bool,
    /// The lives of members, its own among them, that it learned of: when, whose, and the epoch.
    pub lives: Vec<(u64, String, u64)>,
    /// The times when it was stalled.
    pub stalls: Vec<(u64, u64)>,
    /// Its changes of belief, in the order of time.
    pub beliefs: Vec<(u64, String, Belief)>,
    /// Members that it came to believe departed.
    pub held: Vec<Held>,
    /// Datagrams that it sent.
    pub sent: Vec<Seen>,
    /// Datagrams that it received.
    pub received: Vec<Seen>,
}

/// A verdict that a node came to believe, and why.
#[derive(Debug, Clone)]
pub struct Held {
    /// When.
    pub at: u64,
    /// The member that it is about.
    pub subject: String,
    /// The life of the subject, and its state: all holders of one verdict have the same.
    pub identity: (u64, u64),
    /// [`Belief::Failed`] or [`Belief::Left`].
    pub belief: Belief,
    /// The member that removed it, if it was removed after it had failed.
    pub removed_by: Option<String>,
    /// Whether the suspicion timed out here; else the node received the verdict.
    pub is_own: bool,
    /// The accusers of the subject that this node has heard of.
    pub accusers: Vec<String>,
    /// Whether a probe of this node failed during the suspicion. It is then no accuser if there were enough others.
    pub missed: bool,
    /// The verdict's text.
    pub text: String,
    /// The standing of the node itself.
    pub standing: String,
    /// Its observations.
    pub seen: Vec<(u64, String)>,
}

/// A datagram at one of its ends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Seen {
    /// When.
    pub at: u64,
    /// The mark of the name of the node at the other end.
    pub other: u32,
    /// A hash of the bytes: both ends have the same.
    pub hash: u64,
    /// Its content.
    pub content: Content,
}

/// The content of a datagram: as [`Text`](super::run::Text), with names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Hash)]
pub struct Content {
    /// In words.
    pub text: String,
    /// Its questions and answers.
    pub kind: u8,
    /// The target of a question.
    pub target: Option<String>,
    /// Its claims, and about whom.
    pub claims: Vec<(String, u8)>,
}
