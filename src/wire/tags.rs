//! A member's tags: a small sorted map, kept the way it travels.

use std::{collections::BTreeMap, fmt, iter::FusedIterator, sync::Arc};

use serde::{Deserialize, Deserializer, Serialize, Serializer, de::Error as _, ser::SerializeMap as _};

use super::{MAX_TAGS, message::disturbs_a_line};
use crate::{
    Error,
    text::{Escaped, Quoted},
};

/// Key–value pairs that a node shows to all others: its role, its service port, its version.
///
/// At most 512 bytes encoded. Immutable and cheap to clone; [`Gossip::set_tags`](crate::Gossip::set_tags)
/// replaces the whole map.
///
/// ```
/// use syncswim::Tags;
///
/// let tags = Tags::new([("role", "db"), ("zone", "b")])?;
/// assert_eq!(tags.get("role"), Some("db"));
/// assert_eq!(tags.iter().count(), 2);
/// # Ok::<(), syncswim::Error>(())
/// ```
#[derive(Clone, PartialEq, Eq, Hash, Default)]
pub struct Tags {
    /// Postcard: pair count, then key and value strings by ascending key. `None` is the empty map.
    encoded: Option<Arc<[u8]>>,
}

/// Bytes that are not valid tags.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct TagsError;

impl Tags {
    /// Makes tags from pairs. The tags of other members are accepted with any content: a node whose own tags are refused can
    /// correct them, but a member must not vanish because of its tags.
    ///
    /// # Errors
    /// [`Error::Invalid`] if a key is empty or comes twice, or if a key or value has a control character;
    /// [`Error::TooLarge`] if they take more than 512 bytes encoded.
    pub fn new<K, V>(pairs: impl IntoIterator<Item = (K, V)>) -> Result<Self, Error>
    where
        K: Into<String>,
        V: Into<String>,
    {
        let mut map = BTreeMap::new();
        for (key, value) in pairs {
            let (key, value) = (key.into(), value.into());
            check(&key, &value)?;
            if map.contains_key(&key) {
                return Err(Error::invalid(
                    "tags",
                    format!("have the key {} twice; give it once", Quoted(&key)),
                ));
            }
            map.insert(key, value);
        }
        Self::of(&map)
    }

    /// These tags, with `key` set to `value`.
    pub(crate) fn with(&self, key: &str, value: &str) -> Result<Self, Error> {
        check(key, value)?;
        Self::of(&self.iter().chain([(key, value)]).collect::<BTreeMap<_, _>>())
    }

    /// Makes tags from any map that is not too large.
    pub(super) fn of<K: Ord + serde::Serialize, V: serde::Serialize>(
        map: &BTreeMap<K, V>,
    ) -> Result<Self, Error> {
        if map.is_empty() {
            return Ok(Self::default());
        }
        let encoded = postcard::to_stdvec(map).expect("strings always encode");
        if encoded.len() > MAX_TAGS {
            return Err(Error::too_large("bytes of tags", (encoded.len(), MAX_TAGS), "shorten or drop some"));
        }
        Ok(Self { encoded: Some(encoded.into()) })
    }

    /// Takes encoded tags from the network: valid UTF-8, keys strictly ascending, nothing behind them, each
    /// number in its shortest form. So equal maps are equal bytes.
    pub(crate) fn from_encoded(bytes: &[u8]) -> Result<Self, TagsError> {
        if bytes.is_empty() {
            return Ok(Self::default());
        }
        let (count, mut rest) = postcard::take_from_bytes::<usize>(bytes).map_err(|_| TagsError)?;
        let mut shortest = number_size(count);
        let mut last = None;
        for _ in 0..count {
            let ((key, value), tail) =
                postcard::take_from_bytes::<(&str, &str)>(rest).map_err(|_| TagsError)?;
            if last.is_some_and(|last| last >= key) {
                return Err(TagsError);
            }
            shortest += number_size(key.len()) + key.len() + number_size(value.len()) + value.len();
            (last, rest) = (Some(key), tail);
        }
        // A padded number or bytes behind the pairs would make it longer.
        if count == 0 || bytes.len() != shortest || bytes.len() > MAX_TAGS {
            return Err(TagsError);
        }
        Ok(Self { encoded: Some(bytes.into()) })
    }

    pub(crate) fn encoded(&self) -> &[u8] {
        self.encoded.as_deref().unwrap_or_default()
    }

    /// The value of a key, if there is one.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&str> {
        self.iter().find_map(|(k, v)| (k == key).then_some(v))
    }

    /// The pairs by ascending key.
    pub fn iter(&self) -> TagsIter<'_> {
        TagsIter { rest: self.encoded().split_first().map_or(&[], |_| skip_count(self.encoded())) }
    }

    /// Whether there are no tags.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.encoded.is_none()
    }
}

/// The pairs of [`Tags`] by ascending key.
#[derive(Debug, Clone)]
#[must_use = "iterators do nothing unless they are read"]
pub struct TagsIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for TagsIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        let (pair, rest) = postcard::take_from_bytes(self.rest).ok()?;
        self.rest = rest;
        Some(pair)
    }
}

impl FusedIterator for TagsIter<'_> {}

impl<'a> IntoIterator for &'a Tags {
    type Item = (&'a str, &'a str);
    type IntoIter = TagsIter<'a>;

    fn into_iter(self) -> TagsIter<'a> {
        self.iter()
    }
}

fn skip_count(encoded: &[u8]) -> &[u8] {
    postcard::take_from_bytes::<usize>(encoded).map_or(&[], |(_, rest)| rest)
}

/// Bytes of a number's shortest encoding: seven bits each, at least one.
fn number_size(n: usize) -> usize {
    n.checked_ilog2().map_or(1, |log| log as usize / 7 + 1)
}

/// A map of texts.
impl Serialize for Tags {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // Some formats want the length first.
        let mut map = serializer.serialize_map(Some(self.iter().count()))?;
        self.iter().try_for_each(|(key, value)| map.serialize_entry(key, value))?;
        map.end()
    }
}

/// Fails if they are too large. Tags of a member are read with any content: see [`Tags::new`].
impl<'de> Deserialize<'de> for Tags {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::of(&BTreeMap::<String, String>::deserialize(deserializer)?).map_err(D::Error::custom)
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl fmt::Display for Tags {
    /// `key=value` pairs, comma-separated; control characters are escaped, since they would forge lines in logs.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.iter().enumerate().try_for_each(|(i, (key, value))| {
            let comma = if i == 0 { "" } else { "," };
            write!(f, "{comma}{}={}", Escaped(key), Escaped(value))
        })
    }
}

fn check(key: &str, value: &str) -> Result<(), Error> {
    let problem = if key.is_empty() {
        "have an empty key; give each a name".into()
    } else if key.chars().chain(value.chars()).any(disturbs_a_line) {
        let (key, value) = (Quoted(key), Quoted(value));
        format!("have a control character in {key} = {value}; leave it out")
    } else {
        return Ok(());
    };
    Err(Error::invalid("tags", problem))
}
