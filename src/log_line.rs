//! The log: every line of this library is one [`Topic`] and its fields, as `key=value` (logfmt), and is written here.
//!
//! A line begins with the fixed words of its topic, so that it can be searched for. Values come from the network, too: one
//! that holds a space, a quote, an equals sign or anything that would break or disguise a line is quoted and escaped. Nothing
//! is allocated for a line, and nothing of it is formatted while its level is off.

use std::{
    fmt::{self, Display, Write},
    time::{Duration, Instant},
};

use log::Level;
use parking_lot::Mutex;

use crate::{blocking::now, text::deceives};

/// The target of every line: `RUST_LOG=syncswim=info` shows them.
pub(crate) const TARGET: &str = "syncswim";

/// The time between the first two warnings of one kind; it doubles from there.
const FIRST_PAUSE: Duration = Duration::from_secs(60);
const LONGEST_PAUSE: Duration = Duration::from_secs(3600);
/// How many kinds of one topic are tracked. Beyond that, all others count as one kind, so many kinds that take turns are
/// logged as rarely as one.
const MAX_KINDS: usize = 64;
const OTHERS: &str = "others";

macro_rules! topics {
    ($($(#[$cfg:meta])? $name:ident = $level:ident $words:literal,)*) => {
        /// The topic of a line. `docs/operating/LOGS.md` lists all of them.
        #[derive(Debug, Clone, Copy, PartialEq, Eq)]
        pub(crate) enum Topic { $($(#[$cfg])? $name,)* }

        impl Topic {
            #[cfg(test)]
            pub(crate) const ALL: &[Self] = &[$($(#[$cfg])? Self::$name,)*];

            /// The words with which the line begins.
            pub(crate) fn words(self) -> &'static str {
                match self { $($(#[$cfg])? Self::$name => $words,)* }
            }

            pub(crate) fn level(self) -> Level {
                match self { $($(#[$cfg])? Self::$name => Level::$level,)* }
            }
        }
    };
}

topics! {
    NodeStarted = Info "node started",
    MemberJoined = Info "member joined",
    MemberReturned = Info "member returned",
    MemberLeft = Info "member left",
    MemberRemoved = Info "member removed",
    MemberFailed = Info "member failed",
    MemberRefuted = Info "member refuted",
    SelfRefuted = Info "self refuted",
    MemberUnsettled = Info "member unsettled",
    MembersJoined = Info "members joined",
    MembersReturned = Info "members returned",
    MembersLeft = Info "members left",
    MembersRemoved = Info "members removed",
    MembersFailed = Info "members failed",
    MembersRefuted = Info "members refuted",
    HealthRecovered = Info "health recovered",
    StateFileRead = Info "state file read",
    StateFileRestored = Info "state file restored",
    DatagramsRestored = Info "datagrams restored",
    AddressRestored = Info "address restored",
    #[cfg(feature = "encryption")]
    ClockAgrees = Info "clock agrees",
    #[cfg(feature = "encryption")]
    KeyChanged = Info "key changed",
    NameConflict = Warn "name conflict",
    NodeStalled = Warn "node stalled",
    NodeAway = Warn "node away",
    HealthBad = Warn "health bad",
    DatagramsLost = Warn "datagrams lost",
    AddressUnreachable = Warn "address unreachable",
    AddressGone = Warn "address gone",
    #[cfg(feature = "encryption")]
    ClockDiffers = Warn "clock differs",
    #[cfg(feature = "encryption")]
    ClockOff = Warn "clock off",
    #[cfg(feature = "encryption")]
    ClockSetBack = Warn "clock set back",
    #[cfg(feature = "encryption")]
    WrongKey = Warn "wrong key",
    WrongCluster = Warn "wrong cluster",
    WrongVersion = Warn "wrong version",
    #[cfg(feature = "encryption")]
    NotSealed = Warn "not sealed",
    NoKey = Warn "no key",
    StreamRejected = Warn "stream rejected",
    NotAllowed = Warn "not allowed",
    OtherFamily = Warn "other family",
    #[cfg(feature = "encryption")]
    KeyRefused = Warn "key refused",
    #[cfg(feature = "encryption")]
    KeyEvicted = Warn "key evicted",
    EncryptionOff = Warn "encryption off",
    SeedsUnreached = Warn "seeds unreached",
    RememberedUnreached = Warn "remembered unreached",
    NameTaken = Warn "name taken",
    SeedUnresolved = Warn "seed unresolved",
    SeedSlow = Warn "seed slow",
    SeedRefused = Warn "seed refused",
    LeaveUnconfirmed = Warn "leave unconfirmed",
    AcceptFailed = Warn "accept failed",
    ThreadRefused = Warn "thread refused",
    LookupEmpty = Warn "lookup empty",
    LookupPartial = Warn "lookup partial",
    LookupFailed = Warn "lookup failed",
    RecordingEnded = Warn "recording ended",
    StateFileFailed = Warn "state file failed",
    NodePanicked = Error "node panicked",
    #[cfg(feature = "capi")]
    ThreadPanicked = Error "thread panicked",
    EndedBadly = Error "ended badly",
    MemberSuspected = Debug "member suspected",
    MemberUpdated = Debug "member updated",
    MemberReaped = Debug "member reaped",
    StreamFailed = Debug "stream failed",
    ReceiveFailed = Debug "receive failed",
    WakeFailed = Debug "wake failed",
    BufferRefused = Debug "buffer refused",
    #[cfg(feature = "interfaces")]
    InterfacesUnknown = Debug "interfaces unknown",
    SendFailed = Trace "send failed",
}

impl Topic {
    /// Whether a logger takes lines of its level.
    pub(crate) fn is_on(self) -> bool {
        #[cfg(test)]
        if capture::is_on() {
            return true;
        }
        log::log_enabled!(target: TARGET, self.level())
    }
}

/// A field of a line: its key and its value.
pub(crate) type Field<'a> = (&'static str, &'a dyn Display);

/// One line.
#[derive(Clone, Copy)]
pub(crate) struct Line<'a> {
    pub(crate) topic: Topic,
    pub(crate) fields: &'a [Field<'a>],
    /// How many similar lines were left out before it; 0 is not written.
    pub(crate) omitted: u64,
}

impl<'a> Line<'a> {
    pub(crate) fn new(topic: Topic, fields: &'a [Field<'a>]) -> Self {
        Self { topic, fields, omitted: 0 }
    }

    pub(crate) fn log(self) {
        #[cfg(test)]
        capture::note(&self);
        let level = self.topic.level();
        log::log!(target: TARGET, level, "{self}");
    }
}

impl Display for Line<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.topic.words())?;
        for (key, value) in self.fields {
            write!(f, " {key}={}", Value(*value))?;
        }
        if self.omitted > 0 { write!(f, " omitted={}", self.omitted) } else { Ok(()) }
    }
}

/// The destination of lines.
pub(crate) trait Sink {
    /// Whether the destination takes lines of this topic.
    fn is_on(&self, topic: Topic) -> bool;

    fn line(&mut self, line: Line<'_>);

    fn write(&mut self, topic: Topic, fields: &[Field<'_>]) {
        self.line(Line::new(topic, fields));
    }
}

/// The log of the process.
pub(crate) struct Log;

impl Sink for Log {
    fn is_on(&self, topic: Topic) -> bool {
        topic.is_on()
    }

    fn line(&mut self, line: Line<'_>) {
        line.log();
    }
}

/// The lines that were written, for tests.
#[cfg(test)]
#[derive(Debug, Default)]
pub(crate) struct Written(pub(crate) Vec<String>);

#[cfg(test)]
impl Sink for Written {
    fn is_on(&self, _: Topic) -> bool {
        true
    }

    fn line(&mut self, line: Line<'_>) {
        self.0.push(line.to_string());
    }
}

/// What one thread logs, for tests: unit tests have no logger.
#[cfg(test)]
pub(crate) mod capture {
    use std::cell::RefCell;

    use super::Line;

    thread_local! {
        static LINES: RefCell<Option<Vec<String>>> = const { RefCell::new(None) };
    }

    /// The lines that this thread logs meanwhile.
    pub(crate) fn lines(act: impl FnOnce()) -> Vec<String> {
        LINES.set(Some(Vec::new()));
        act();
        LINES.take().unwrap_or_default()
    }

    pub(super) fn is_on() -> bool {
        LINES.with_borrow(Option::is_some)
    }

    pub(super) fn note(line: &Line<'_>) {
        LINES.with_borrow_mut(|lines| lines.iter_mut().for_each(|lines| lines.push(line.to_string())));
    }
}

/// Logs a line, unless its level is off.
pub(crate) fn log(topic: Topic, fields: &[Field<'_>]) {
    Line::new(topic, fields).log();
}

/// A value in logfmt: bare, or quoted where it would not be read as one word.
struct Value<'a>(&'a dyn Display);

impl Display for Value<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut look = Look::default();
        write!(look, "{}", self.0)?;
        if look.is_bare && !look.is_empty {
            return write!(f, "{}", self.0);
        }
        f.write_char('"')?;
        write!(Escape(f), "{}", self.0)?;
        f.write_char('"')
    }
}

/// Checks whether a value needs quotes, without storing it.
struct Look {
    is_bare: bool,
    is_empty: bool,
}

impl Default for Look {
    fn default() -> Self {
        Self { is_bare: true, is_empty: true }
    }
}

impl Write for Look {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        self.is_empty &= part.is_empty();
        self.is_bare &=
            !part.chars().any(|c| matches!(c, '"' | '\\' | '=') || c.is_whitespace() || deceives(c));
        Ok(())
    }
}

struct Escape<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl Write for Escape<'_, '_> {
    fn write_str(&mut self, part: &str) -> fmt::Result {
        part.chars().try_for_each(|c| match c {
            '"' | '\\' => write!(self.0, "\\{c}"),
            '\n' => self.0.write_str("\\n"),
            '\r' => self.0.write_str("\\r"),
            '\t' => self.0.write_str("\\t"),
            c if deceives(c) => write!(self.0, "\\u{:04x}", u32::from(c)),
            c => self.0.write_char(c),
        })
    }
}

/// Names as one value, with commas between them. A comma in a name is escaped.
pub(crate) struct Names<'a, T>(pub(crate) &'a [T]);

impl<T: AsRef<str>> Display for Names<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, name) in self.0.iter().enumerate() {
            if at > 0 {
                f.write_char(',')?;
            }
            for (at, part) in name.as_ref().split(',').enumerate() {
                f.write_str(if at > 0 { "\\u002c" } else { "" })?;
                f.write_str(part)?;
            }
        }
        Ok(())
    }
}

/// A time as one word: `0.350s`.
pub(crate) struct Seconds(pub(crate) Duration);

impl Display for Seconds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:.3}s", self.0.as_secs_f64())
    }
}

/// Limits repeated lines of one kind, which is a topic and its subject: the first line is written at once, the next ones
/// less and less often, with the number of lines that were left out. No lock is held while a line is written.
#[derive(Debug)]
pub(crate) struct Throttle {
    began: Instant,
    told: Mutex<Vec<Told>>,
}

#[derive(Debug)]
struct Told {
    topic: Topic,
    about: String,
    at: Duration,
    pause: Duration,
    left_out: u64,
}

impl Default for Throttle {
    fn default() -> Self {
        Self { began: now(), told: Mutex::default() }
    }
}

impl Told {
    /// Whether the kind was silent for so long that the next line is not a repetition.
    fn is_over(&self, now: Duration) -> bool {
        now.saturating_sub(self.at) >= self.pause.saturating_mul(2)
    }
}

impl Throttle {
    /// Logs a line unless one with this topic and subject was logged recently: within the last minute, then within two,
    /// four, up to sixty minutes.
    pub(crate) fn log(&self, topic: Topic, about: &str, fields: &[Field<'_>]) {
        self.write(topic, about, fields, &mut Log);
    }

    /// The same, to any destination.
    pub(crate) fn write(&self, topic: Topic, about: &str, fields: &[Field<'_>], sink: &mut impl Sink) {
        self.write_at(self.began.elapsed(), topic, about, fields, sink);
    }

    /// The same with the caller's clock; `now` counts from any origin.
    pub(crate) fn write_at(
        &self,
        now: Duration,
        topic: Topic,
        about: &str,
        fields: &[Field<'_>],
        sink: &mut impl Sink,
    ) {
        if sink.is_on(topic)
            && let Some(omitted) = self.admit(topic, about, now)
        {
            sink.line(Line { topic, fields, omitted });
        }
    }

    /// The condition is over: the next line with this topic is written at once.
    pub(crate) fn forget(&self, topic: Topic) {
        self.told.lock().retain(|told| told.topic != topic);
    }

    /// The condition is over for this subject.
    pub(crate) fn forget_about(&self, topic: Topic, about: &str) {
        self.told.lock().retain(|told| told.topic != topic || told.about != about);
    }

    /// How many lines were left out since the last one, if another line is due. `now` counts from any origin.
    pub(crate) fn admit(&self, topic: Topic, about: &str, now: Duration) -> Option<u64> {
        let mut all = self.told.lock();
        let is = |told: &Told, about: &str| told.topic == topic && told.about == about;
        let is_known = all.iter().any(|told| is(told, about));
        if !is_known && all.len() >= MAX_KINDS {
            all.retain(|told| !told.is_over(now));
        }
        let about = if is_known || all.len() < MAX_KINDS { about } else { OTHERS };
        let Some(told) = all.iter_mut().find(|told| is(told, about)) else {
            all.push(Told { topic, about: about.into(), at: now, pause: FIRST_PAUSE, left_out: 0 });
            return Some(0);
        };
        if now.saturating_sub(told.at) < told.pause {
            told.left_out += 1;
            return None;
        }
        told.pause = if told.is_over(now) { FIRST_PAUSE } else { (told.pause * 2).min(LONGEST_PAUSE) };
        told.at = now;
        Some(std::mem::take(&mut told.left_out))
    }
}

#[cfg(test)]
#[path = "log_line_tests.rs"]
mod tests;
