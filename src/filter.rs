//! Filters: which members are meant, by name and tags.

use std::{fmt, iter::Peekable, str::FromStr, vec};

use crate::{
    Error, Member,
    text::{Quoted, serde_as_text},
};

/// A condition on members. A filter matches a member that meets all of its parts, which look at names and tags, never at the
/// state.
///
/// The text form is for command lines and configurations: conditions with commas between them, as
/// `role=db,zone=a|b,!@name=db-7`.
///
/// | text | as made by | members |
/// | --- | --- | --- |
/// | (empty) | [`all`](Self::all) | all |
/// | `role=db` | [`tag`](Self::tag) | whose tag `role` is `db` |
/// | `zone=a\|b` | [`tag_any`](Self::tag_any) | whose tag `zone` is one of these |
/// | `version=2.*` | [`tag_prefix`](Self::tag_prefix) | whose tag `version` begins with `2.`; `version=*` those that have the tag |
/// | `@name=a\|b` | [`named`](Self::named) | of these names |
/// | `@others` | [`others`](Self::others) | all but this node |
/// | `!role=db`, `!(role=db,zone=a)` | [`except`](Self::except) | that do not meet the condition, or not all of them |
///
/// A character of `,=|*!@()\` that is part of a key, value or name has a backslash before it, and so has a space at its
/// beginning or end.
///
/// ```
/// use syncswim::Filter;
///
/// let filter = Filter::tag("role", "db").and(Filter::tag_any("zone", ["a", "b"])).except(Filter::named(["db-7"]));
/// assert_eq!("role=db,zone=a|b,!@name=db-7".parse::<Filter>()?, filter);
/// assert_eq!(filter.others().to_string(), "role=db,zone=a|b,!@name=db-7,@others");
/// # Ok::<(), syncswim::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Filter(Vec<Condition>);

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Condition {
    Named(Vec<String>),
    TagAny(String, Vec<String>),
    TagPrefix(String, String),
    Others,
    Not(Filter),
}

impl Filter {
    /// All members.
    #[must_use]
    pub fn all() -> Self {
        Self::default()
    }

    /// No member.
    fn none() -> Self {
        Self::all().except(Self::all())
    }

    /// The members of these names.
    #[must_use]
    pub fn named<S: Into<String>>(names: impl IntoIterator<Item = S>) -> Self {
        let names: Vec<_> = names.into_iter().map(Into::into).collect();
        if names.is_empty() { Self::none() } else { Self(vec![Condition::Named(names)]) }
    }

    /// The members whose tag `key` is `value`.
    #[must_use]
    pub fn tag(key: impl Into<String>, value: impl Into<String>) -> Self {
        Self::tag_any(key, [value])
    }

    /// The members whose tag `key` is one of `values`.
    #[must_use]
    pub fn tag_any<S: Into<String>>(key: impl Into<String>, values: impl IntoIterator<Item = S>) -> Self {
        let values: Vec<_> = values.into_iter().map(Into::into).collect();
        if values.is_empty() { Self::none() } else { Self(vec![Condition::TagAny(key.into(), values)]) }
    }

    /// The members whose tag `key` begins with `prefix`: with an empty one, those that have the tag.
    #[must_use]
    pub fn tag_prefix(key: impl Into<String>, prefix: impl Into<String>) -> Self {
        Self(vec![Condition::TagPrefix(key.into(), prefix.into())])
    }

    /// Those of these members that `other` matches as well.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// All of these members except those that `other` matches.
    #[must_use]
    pub fn except(mut self, other: Self) -> Self {
        self.0.push(Condition::Not(other));
        self
    }

    /// All of these members except the node that asks.
    #[must_use]
    pub fn others(mut self) -> Self {
        self.0.push(Condition::Others);
        self
    }

    /// Whether a member is meant, where the node that asks has this name.
    #[must_use]
    pub fn matches(&self, member: &Member, own_name: &str) -> bool {
        self.0.iter().all(|condition| condition.holds(member, own_name))
    }
}

impl Condition {
    fn holds(&self, member: &Member, own_name: &str) -> bool {
        let any = |texts: &[String], text: &str| texts.iter().any(|one| one == text);
        match self {
            Self::Named(names) => any(names, &member.name),
            Self::TagAny(key, values) => member.tags.get(key).is_some_and(|value| any(values, value)),
            Self::TagPrefix(key, prefix) => {
                member.tags.get(key).is_some_and(|value| value.starts_with(&**prefix))
            }
            Self::Others => &*member.name != own_name,
            Self::Not(filter) => !filter.matches(member, own_name),
        }
    }
}

const SIGNS: &str = ",=|*!@()";
/// Conditions within conditions: more than a person writes, and each takes room on the stack.
const MAX_DEPTH: usize = 16;

/// The text form.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, condition)| {
            f.write_str(if i == 0 { "" } else { "," })?;
            condition.fmt(f)
        })
    }
}

impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Named(names) => write!(f, "@name={}", Either(names)),
            Self::TagAny(key, values) => write!(f, "{}={}", Literal(key), Either(values)),
            Self::TagPrefix(key, prefix) => write!(f, "{}={}*", Literal(key), Literal(prefix)),
            Self::Others => f.write_str("@others"),
            Self::Not(filter) if filter.0.len() == 1 => write!(f, "!{filter}"),
            Self::Not(filter) => write!(f, "!({filter})"),
        }
    }
}

/// Alternatives, one of which has to match.
struct Either<'a>(&'a [String]);

impl fmt::Display for Either<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.iter().enumerate().try_for_each(|(i, text)| {
            f.write_str(if i == 0 { "" } else { "|" })?;
            Literal(text).fmt(f)
        })
    }
}

/// A text in which every character stands for itself.
struct Literal<'a>(&'a str);

impl fmt::Display for Literal<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.chars().try_for_each(|c| match c {
            ' ' | '\\' => write!(f, "\\{c}"),
            c if SIGNS.contains(c) => write!(f, "\\{c}"),
            c => write!(f, "{c}"),
        })
    }
}

/// Parses the text that `Display` writes.
impl FromStr for Filter {
    type Err = Error;

    /// # Errors
    ///
    /// [`Error::Invalid`] if the text is not a filter.
    fn from_str(text: &str) -> Result<Self, Error> {
        let problem = |problem: String| Error::invalid("filter", format!("{problem}, in {}", Quoted(text)));
        let mut reader = Reader { tokens: tokens(text).map_err(problem)?.into_iter().peekable(), depth: 0 };
        reader.filter(None).map_err(problem)
    }
}

serde_as_text!(Filter);

#[derive(Debug, Clone, PartialEq)]
enum Token {
    Sign(char),
    Text(String),
}

/// The operators, and the texts between them without the spaces at their ends.
fn tokens(text: &str) -> Result<Vec<Token>, String> {
    let (mut tokens, mut current, mut kept) = (Vec::new(), String::new(), 0);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match c {
            '\\' => {
                current.push(chars.next().ok_or("has a backslash at its end: leave it out, or double it")?);
                kept = current.len();
            }
            c if SIGNS.contains(c) => {
                take_text(&mut tokens, &mut current, &mut kept);
                tokens.push(Token::Sign(c));
            }
            ' ' if current.is_empty() => {}
            ' ' => current.push(' '),
            c => {
                current.push(c);
                kept = current.len();
            }
        }
    }
    take_text(&mut tokens, &mut current, &mut kept);
    Ok(tokens)
}

fn take_text(tokens: &mut Vec<Token>, current: &mut String, kept: &mut usize) {
    current.truncate(std::mem::take(kept));
    if !current.is_empty() {
        tokens.push(Token::Text(std::mem::take(current)));
    }
}

struct Reader {
    tokens: Peekable<vec::IntoIter<Token>>,
    depth: usize,
}

impl Reader {
    /// Conditions up to `end`: a parenthesis, or the end of all.
    fn filter(&mut self, end: Option<Token>) -> Result<Filter, String> {
        let mut conditions = Vec::new();
        if self.tokens.peek() == end.as_ref() {
            self.tokens.next();
            return Ok(Filter(conditions));
        }
        loop {
            conditions.push(self.condition()?);
            match self.tokens.next() {
                Some(Token::Sign(',')) => {}
                next if next == end => return Ok(Filter(conditions)),
                next => return Err(unexpected(next, "a comma between conditions")),
            }
        }
    }

    fn condition(&mut self) -> Result<Condition, String> {
        match self.tokens.next() {
            Some(Token::Sign('!')) => self.negation(),
            Some(Token::Sign('@')) => match self.tokens.next() {
                Some(Token::Text(word)) if word == "others" => Ok(Condition::Others),
                Some(Token::Text(word)) if word == "name" => match self.values()? {
                    (names, false) => Ok(Condition::Named(names)),
                    (_, true) => Err("has `*` behind names: give them whole".into()),
                },
                other => Err(unexpected(other, "`others` or `name` behind `@`")),
            },
            Some(Token::Text(key)) => match self.values()? {
                (values, false) => Ok(Condition::TagAny(key, values)),
                (mut values, true) => match (values.pop(), values.is_empty()) {
                    (Some(prefix), true) => Ok(Condition::TagPrefix(key, prefix)),
                    _ => {
                        Err("has `*` behind one of several values: only a single one may be a prefix".into())
                    }
                },
            },
            other => Err(unexpected(other, "a condition, as key=value")),
        }
    }

    fn negation(&mut self) -> Result<Condition, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(format!("has more than {MAX_DEPTH} conditions within each other"));
        }
        let opened = self.tokens.next_if_eq(&Token::Sign('(')).is_some();
        let negated = match opened {
            true => self.filter(Some(Token::Sign(')')))?,
            false => Filter(vec![self.condition()?]),
        };
        self.depth -= 1;
        Ok(Condition::Not(negated))
    }

    /// `=` and values. Also returns whether a `*` follows.
    fn values(&mut self) -> Result<(Vec<String>, bool), String> {
        let equals = self.tokens.next();
        if equals != Some(Token::Sign('=')) {
            return Err(unexpected(equals, "`=` behind a key"));
        }
        let mut values = Vec::new();
        loop {
            let text = self.tokens.next_if(|token| matches!(token, Token::Text(_)));
            values.push(if let Some(Token::Text(text)) = text { text } else { String::new() });
            if self.tokens.next_if_eq(&Token::Sign('|')).is_none() {
                return Ok((values, self.tokens.next_if_eq(&Token::Sign('*')).is_some()));
            }
        }
    }
}

fn unexpected(found: Option<Token>, wanted: &str) -> String {
    match found {
        Some(Token::Sign(sign)) => format!("has `{sign}` where it needs {wanted} (or a backslash before it)"),
        Some(Token::Text(text)) => format!("has {} where it needs {wanted}", Quoted(&text)),
        None => format!("ends where it needs {wanted}"),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::{MemberState, Tags, Time, swim::Identity};

    fn member(name: &str, tags: &[(&str, &str)]) -> Member {
        Member {
            name: name.into(),
            addr: ([127, 0, 0, 1], 1).into(),
            state: MemberState::Alive,
            tags: Tags::new(tags.iter().copied()).unwrap(),
            identity: Identity::default(),
            since: Time::ZERO,
            removed_by: None,
        }
    }

    /// The names of those that a filter matches, as node `a` asks.
    fn matched(filter: &Filter) -> String {
        let members = [
            member("a", &[("role", "db"), ("version", "2.1")]),
            member("b", &[("role", "db"), ("zone", "x")]),
            member("c", &[("role", "cache"), ("zone", "y"), ("version", "2.10")]),
            member("d", &[("zone", "")]),
        ];
        members.iter().filter(|member| filter.matches(member, "a")).map(|member| &*member.name).collect()
    }

    #[test]
    fn each_condition_narrows_the_filter() {
        let db = || Filter::tag("role", "db");
        for (filter, names) in [
            (Filter::all(), "abcd"),
            (db(), "ab"),
            (db().others(), "b"),
            (db().and(Filter::tag("zone", "x")), "b"),
            (Filter::all().except(db()), "cd"),
            (Filter::all().except(db().and(Filter::tag("zone", "x"))), "acd"),
            (Filter::all().except(db()).except(Filter::named(["d"])), "c"),
            (Filter::named(["d", "b", "nobody"]), "bd"),
            (Filter::named(Vec::<String>::new()), ""),
            (Filter::tag_any("zone", ["y", ""]), "cd"),
            (Filter::tag_any("zone", Vec::<String>::new()), ""),
            (Filter::tag_prefix("version", "2.1"), "ac"),
            (Filter::tag_prefix("zone", ""), "bcd"),
            (Filter::tag("zone", ""), "d"),
        ] {
            assert_eq!(matched(&filter), names, "{filter}");
        }
    }

    #[test]
    fn a_filter_is_read_from_text() {
        for (text, names) in [
            ("", "abcd"),
            ("role=db", "ab"),
            (" role = db , @others ", "b"),
            ("!role=db", "cd"),
            ("!!role=db", "ab"),
            ("!(role=db,zone=x)", "acd"),
            ("!()", ""),
            ("@name=d|b", "bd"),
            ("zone=|y", "cd"),
            ("zone=", "d"),
            ("zone=*", "bcd"),
            ("version=2.1*,!@name=a", "c"),
        ] {
            assert_eq!(matched(&text.parse().unwrap()), names, "{text}");
        }
    }

    #[test]
    fn a_text_that_is_no_filter_says_what_it_needs() {
        for (text, problem) in [
            ("role", "ends where it needs `=`"),
            ("=db", "`=` where it needs a condition"),
            ("role=db,", "ends where it needs a condition"),
            ("role=db zone=x", "`=` where it needs a comma"),
            ("role=a*b", "\"b\" where it needs a comma"),
            ("role=a|b*", "only a single one"),
            ("@name=a*", "give them whole"),
            ("@nobody", "`others` or `name`"),
            ("!(role=db", "ends where it needs a comma"),
            ("role=db)", "backslash"),
            ("role=\\", "backslash at its end"),
            (&"!".repeat(1_000_000), "within each other"),
        ] {
            let error = text.parse::<Filter>().unwrap_err().to_string();
            assert!(error.contains("`filter`") && error.contains(problem), "{error}");
        }
    }

    fn filters() -> impl Strategy<Value = Filter> {
        let text = || prop_oneof!["[a-c=,|*!@()\\\\ ]{0,4}", ".{0,4}"].prop_map(String::from);
        let key = || text().prop_filter("a key", |key| !key.is_empty());
        let some = || proptest::collection::vec(text(), 1..3);
        let flat = prop_oneof![
            some().prop_map(Filter::named),
            (key(), some()).prop_map(|(key, values)| Filter::tag_any(key, values)),
            (key(), text()).prop_map(|(key, prefix)| Filter::tag_prefix(key, prefix)),
            Just(Filter::all().others()),
            Just(Filter::all()),
        ];
        flat.prop_recursive(4, 16, 2, |inner| {
            prop_oneof![
                (inner.clone(), inner.clone()).prop_map(|(a, b)| a.and(b)),
                (inner.clone(), inner).prop_map(|(a, b)| a.except(b)),
            ]
        })
    }

    proptest! {
        #[test]
        fn the_text_of_any_filter_is_read_as_that_filter(filter in filters()) {
            prop_assert_eq!(filter.to_string().parse::<Filter>().unwrap(), filter);
        }

        #[test]
        fn any_text_is_a_filter_or_an_error(text in ".{0,40}") {
            let _ = text.parse::<Filter>();
        }
    }
}
