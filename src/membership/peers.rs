//! The names of peers, and immutable lists of them.

use std::{fmt, ops::Deref, slice, sync::Arc};

use crate::text::Escaped;

/// A peer's name, as discoveries and the application spell it: usually an address with its port. Cloning counts a reference.
pub type Peer = Arc<str>;

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
/// assert_eq!(active, ["b:1", "a:1", "b:1"].into_iter().collect::<syncswim::Peers>());
/// assert_eq!(active.to_string(), "a:1, b:1");
/// for peer in &active {
///     println!("{peer}");
/// }
/// ```
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Peers(Arc<[Peer]>);

impl Peers {
    pub(crate) fn from_sorted(peers: impl Into<Arc<[Peer]>> + AsRef<[Peer]>) -> Self {
        // The default is shared, so that the empty lists of a change allocate nothing.
        if peers.as_ref().is_empty() {
            return Self::default();
        }
        let peers: Arc<[Peer]> = peers.into();
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

impl IntoIterator for Peers {
    type Item = Peer;
    type IntoIter = std::vec::IntoIter<Peer>;

    fn into_iter(self) -> Self::IntoIter {
        Vec::from(&*self.0).into_iter()
    }
}

impl fmt::Debug for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// Sorts the names and drops duplicates.
impl<T: Into<Peer>> FromIterator<T> for Peers {
    fn from_iter<I: IntoIterator<Item = T>>(peers: I) -> Self {
        let mut peers: Vec<Peer> = peers.into_iter().map(Into::into).collect();
        peers.sort_unstable();
        peers.dedup();
        Self::from_sorted(peers)
    }
}

/// Writes the names with commas between them, as `a:1, b:1`. Control characters in names are escaped, since they would
/// forge lines in logs.
impl fmt::Display for Peers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write_list(f, self)
    }
}

fn write_list(f: &mut fmt::Formatter<'_>, peers: &[Peer]) -> fmt::Result {
    for (at, peer) in peers.iter().enumerate() {
        write!(f, "{}{}", if at == 0 { "" } else { ", " }, Escaped(peer))?;
    }
    Ok(())
}

/// Writes the lists that are not empty, each behind its title, or else `nothing`.
pub(super) fn write_lists(
    f: &mut fmt::Formatter<'_>,
    lists: &[(&str, &[Peer])],
    nothing: &str,
) -> fmt::Result {
    let mut separator = "";
    for (title, peers) in lists.iter().filter(|(_, peers)| !peers.is_empty()) {
        write!(f, "{separator}{title} ")?;
        write_list(f, peers)?;
        separator = "; ";
    }
    f.write_str(if separator.is_empty() { nothing } else { "" })
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
        assert_eq!([peers.to_string(), Peers::default().to_string()], ["a, b", ""]);
        assert_eq!(["a\nb", "\u{e9}"].into_iter().collect::<Peers>().to_string(), "a\\nb, \u{e9}");
        assert!(peers.iter().eq(&peers));
    }

    #[test]
    fn peers_can_be_collected_in_any_order_and_compared() {
        let collect = |names: &[&str]| names.iter().copied().collect::<Peers>();
        assert_eq!(collect(&["b", "a", "b", ""]), ["", "a", "b"]);
        assert_eq!(["b", "a"].map(String::from).into_iter().collect::<Peers>(), ["a", "b"]);
        assert!(collect(&["a", "b"]) < collect(&["b"]) && collect(&[]) < collect(&["a"]));
    }

    #[test]
    fn a_list_contains_exactly_its_own_peers() {
        let peers = Peers::from_sorted(["a".into(), "b".into(), "d".into()]);
        assert!(["a", "b", "d"].iter().all(|peer| peers.contains(peer)));
        assert!(peers.iter().all(|peer| peers.contains(peer)));
        assert!(!["", "A", "aa", "c", "e"].iter().any(|peer| peers.contains(peer)));
        assert!(!Peers::default().contains(""));
    }
}
