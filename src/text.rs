//! Texts from outside within sentences of ours: a name from the network, an argument that an error repeats.

use std::fmt::{self, Display, Write};

/// The most characters of a text that an error repeats.
const MOST: usize = 64;

/// Whether a character ends a line, moves the cursor of a terminal, or is invisible.
pub(crate) fn deceives(c: char) -> bool {
    c.is_control()
        || matches!(c, '\u{ad}' | '\u{61c}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}')
}

/// A text with escapes in place of characters that [deceive](deceives).
pub(crate) struct Escaped<'a>(pub(crate) &'a str);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0
            .chars()
            .try_for_each(|c| if deceives(c) { write!(f, "{}", c.escape_default()) } else { f.write_char(c) })
    }
}

/// The same, and only the beginning of a long text.
pub(crate) struct Brief<'a>(pub(crate) &'a str);

impl Display for Brief<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(MOST) {
            Some((end, _)) => write!(f, "{}…", Escaped(&self.0[..end])),
            None => Escaped(self.0).fmt(f),
        }
    }
}

/// The same in quotes, for arguments that an error repeats.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

impl Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\"", Brief(&self.0.replace('\\', "\\\\").replace('"', "\\\"")))
    }
}

/// A list in an error, with commas between the items. Of many items only the first are named.
pub(crate) fn some_of<T: Display>(all: &[T]) -> String {
    const MOST: usize = 5;
    let shown: Vec<_> = all.iter().take(MOST).map(|one| Brief(&one.to_string()).to_string()).collect();
    match all.len() - shown.len() {
        0 => shown.join(", "),
        more => format!("{} and {more} more", shown.join(", ")),
    }
}

/// Implements serde by the text form, so that deserialized values are checked.
macro_rules! serde_as_text {
    ($type:ty) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                text.parse().map_err(<D::Error as serde::de::Error>::custom)
            }
        }
    };
}

pub(crate) use serde_as_text;

/// ` (did you mean …?)` with the word that is most similar to a wrong one; empty if none is similar.
pub(crate) fn did_you_mean<'a>(wrong: &str, words: impl IntoIterator<Item = &'a str>) -> String {
    let likely =
        |word: &&str| !wrong.is_empty() && distance(wrong, word) <= 1 + wrong.chars().take(MOST).count() / 4;
    let nearest = words.into_iter().filter(likely).min_by_key(|word| distance(wrong, word));
    nearest.map_or_else(String::new, |word| format!(" (did you mean `{word}`?)"))
}

/// The Levenshtein distance: characters to change, insert or delete. A word that only continues the wrong one is at distance
/// one.
fn distance(wrong: &str, word: &str) -> usize {
    if word.starts_with(wrong) {
        return 1;
    }
    let word: Vec<char> = word.chars().collect();
    let mut row: Vec<usize> = (0..=word.len()).collect();
    for (i, c) in wrong.chars().take(MOST).enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for (j, other) in word.iter().enumerate() {
            let same = diagonal + usize::from(c != *other);
            diagonal = row[j + 1];
            row[j + 1] = same.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[word.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_is_answered_by_the_word_that_was_meant() {
        let words = ["probe_interval_ms", "probe_timeout_ms", "nacks", "bind"];
        for (wrong, meant) in [
            ("probe_interval", "probe_interval_ms"),
            ("probe-timeout-ms", "probe_timeout_ms"),
            ("nack", "nacks"),
            ("bnid", "bind"),
            ("bin", "bind"),
        ] {
            assert_eq!(did_you_mean(wrong, words), format!(" (did you mean `{meant}`?)"), "{wrong}");
        }
        for wrong in ["", "port", "listen", &"x".repeat(100_000)] {
            assert_eq!(did_you_mean(wrong, words), "", "{}", Brief(wrong));
        }
    }

    #[test]
    fn quoted_texts_are_short_and_escaped() {
        assert_eq!(Quoted("db:0").to_string(), "\"db:0\"");
        assert_eq!(Quoted("a\n\"b\\\u{202e}ü").to_string(), "\"a\\n\\\"b\\\\\\u{202e}ü\"");
        assert_eq!(Quoted(&"ü".repeat(64)).to_string(), format!("\"{}\"", "ü".repeat(64)));
        assert_eq!(Brief(&"x".repeat(1 << 20)).to_string(), format!("{}…", "x".repeat(64)));
        assert_eq!(some_of(&["a", "b"]), "a, b");
        assert_eq!(some_of(&[1, 2, 3, 4, 5, 6, 7]), "1, 2, 3, 4, 5 and 2 more");
    }
}
