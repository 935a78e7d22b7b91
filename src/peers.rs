//! The names of peers, and immutable lists of them.

use std::{cmp::Ordering, fmt, ops::Deref, slice, sync::Arc};

/// A peer's name, as discoveries and the application spell it: usually an address with its port. Cloning counts a reference.
pub type Peer = Arc<str>;

/// A peer with the beginning of its name at hand, so that a search through many rarely has to follow a reference. Ordered
/// as the names are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key {
    /// The first 16 bytes, big-endian, filled up with zeros: an address with its port, mostly.
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

/// A sorted list of distinct peers that never changes, so that cloning it only counts a reference.
///
/// # Examples
///
/// ```
/// let membership = syncswim::Membership::new();
/// let watch = membership.watch();
/// membership.add(["b:1", "a:1"]);
/// let active = watch.iter().nth(1).unwrap().active;
/// assert_eq!(active, ["a:1", "b:1"]);
/// assert_eq!(active.len(), 2);
/// for peer in &active {
///     println!("{peer}");
/// }
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Peers(Arc<[Peer]>);

impl Peers {
    pub(crate) fn from_sorted(peers: impl Into<Arc<[Peer]>>) -> Self {
        let peers = peers.into();
        debug_assert!(peers.is_sorted_by(|a, b| a < b), "sorted and distinct: {peers:?}");
        Self(peers)
    }

    /// Whether `peer` is in the list. O(log n).
    #[must_use]
    pub fn contains(&self, peer: &str) -> bool {
        self.binary_search_by(|known| (**known).cmp(peer)).is_ok()
    }
}

impl Deref for Peers {
    type Target = [Peer];

    fn deref(&self) -> &[Peer] {
        &self.0
    }
}

impl<'a> IntoIterator for &'a Peers {
    type Item = &'a Peer;
    type IntoIter = slice::Iter<'a, Peer>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.iter()
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl PartialEq<[&str]> for Peers {
    fn eq(&self, other: &[&str]) -> bool {
        self.iter().map(|peer| &**peer).eq(other.iter().copied())
    }
}

impl PartialEq<&[&str]> for Peers {
    fn eq(&self, other: &&[&str]) -> bool {
        *self == **other
    }
}

impl<const N: usize> PartialEq<[&str; N]> for Peers {
    fn eq(&self, other: &[&str; N]) -> bool {
        *self == other[..]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn peers_compare_with_plain_strings_and_print_as_a_list() {
        let peers = Peers::from_sorted(["a".into(), "b".into()]);
        assert_eq!(peers, ["a", "b"]);
        assert_eq!(peers, &["a", "b"][..]);
        assert_ne!(peers, ["a"]);
        assert_eq!(Peers::default(), []);
        assert_eq!(format!("{peers:?}"), r#"["a", "b"]"#);
        assert!(peers.iter().eq(&peers));
    }

    #[test]
    fn keys_are_ordered_as_their_names_whatever_is_in_these() {
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

    #[test]
    fn a_list_knows_its_own_at_both_ends_and_nobody_else() {
        let peers = Peers::from_sorted(["a".into(), "b".into(), "d".into()]);
        assert!(["a", "b", "d"].iter().all(|peer| peers.contains(peer)));
        assert!(peers.iter().all(|peer| peers.contains(peer)));
        assert!(!["", "A", "aa", "c", "e"].iter().any(|peer| peers.contains(peer)));
        assert!(!Peers::default().contains(""));
    }
}
