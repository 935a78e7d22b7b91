//! The sort key of a peer: its name with a prefix that is compared first.

use std::cmp::Ordering;

use super::peers::Peer;

/// A peer's name with a copy of its first bytes, so that a search through many names rarely has to follow a reference. Keys
/// are ordered as the names are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The first 16 bytes of the name, big-endian, padded with zeros. Most addresses with their ports fit in.
    start: [u64; 2],
    pub(crate) peer: Peer,
}

impl From<&str> for Key {
    fn from(name: &str) -> Self {
        Self { start: start_of(name), peer: name.into() }
    }
}

impl Key {
    /// Compares any key with this name, without making a key of the name.
    pub(crate) fn compare_to(name: &str) -> impl Fn(&Self) -> Ordering {
        let start = start_of(name);
        move |key| key.start.cmp(&start).then_with(|| (*key.peer).cmp(name))
    }
}

fn start_of(name: &str) -> [u64; 2] {
    let mut start = [0; 16];
    let len = name.len().min(start.len());
    start[..len].copy_from_slice(&name.as_bytes()[..len]);
    let (words, _) = start.as_chunks();
    [u64::from_be_bytes(words[0]), u64::from_be_bytes(words[1])]
}

impl Ord for Key {
    fn cmp(&self, other: &Self) -> Ordering {
        self.start.cmp(&other.start).then_with(|| self.peer.cmp(&other.peer))
    }
}

impl PartialOrd for Key {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_ordered_as_their_names_for_any_content() {
        let mut names = vec![String::new()];
        for length in [1, 7, 8, 9, 15, 16, 17, 20] {
            for last in ["\0", "\0\0", "\u{1}", "a", "b", "\u{7f}", "\u{80}", "\u{10ffff}"] {
                names.push("x".repeat(length - 1) + last);
                names.push("\0".repeat(length - 1) + last);
            }
        }
        for a in &names {
            for b in &names {
                assert_eq!(Key::from(&**a).cmp(&Key::from(&**b)), a.cmp(b), "{a:?} and {b:?}");
                assert_eq!(Key::compare_to(b)(&Key::from(&**a)), a.cmp(b), "{a:?} and {b:?}");
            }
        }
    }
}
