//! Verdicts: a member has failed, with the evidence for it; and the origin of an event or a verdict.

use std::{fmt, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::time::Time;
use crate::text::Escaped;

/// From whom a node has an event or a verdict.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Origin {
    /// This node itself: the suspicion that it held was not refuted in time, or it is the one that leaves, or that removed
    /// the member.
    Own,
    /// The member that the event is about.
    Member,
    /// Another member.
    Others,
    /// A later life of the same name, which announced itself.
    Successor,
}

/// As one word, as in serde.
impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Self::Own => "own",
            Self::Member => "member",
            Self::Others => "others",
            Self::Successor => "successor",
        })
    }
}

/// The evidence for a failure in this node's view (SWIM §4.2, Lifeguard §IV-B).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Verdict {
    /// Where the verdict comes from: this node, or another.
    pub origin: Origin,
    /// The members that accused it, in the order in which this node heard of them; itself among them if its own probe
    /// failed. Empty if this node heard of no suspicion before the verdict.
    pub accusers: Vec<Accuser>,
    /// When this node first heard of the suspicion; `None` if it heard of none.
    pub suspected: Option<Time>,
    /// How long the member had to refute, from then until this node reached or heard the verdict.
    pub waited: Duration,
}

/// A member whose own probe of another one failed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Accuser {
    /// Its name.
    pub name: Arc<str>,
    /// Whether it is this node.
    pub is_own: bool,
}

impl Accuser {
    pub(crate) fn of(name: &Arc<str>, own: &str) -> Self {
        Self { name: Arc::clone(name), is_own: **name == *own }
    }
}

/// Its name, or `this node`.
impl fmt::Display for Accuser {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_own { f.write_str("this node") } else { Escaped(&self.name).fmt(f) }
    }
}

impl AsRef<str> for Accuser {
    fn as_ref(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.origin {
            Origin::Own => "it did not refute in time",
            Origin::Successor => "it has restarted",
            Origin::Member | Origin::Others => "another member said so",
        })?;
        if let [first, rest @ ..] = &self.accusers[..] {
            write!(f, "; accused by {first}")?;
            rest.iter().try_for_each(|accuser| write!(f, ", {accuser}"))?;
            write!(f, " {:.1} s before", self.waited.as_secs_f64())?;
        }
        Ok(())
    }
}
