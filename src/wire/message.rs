//! The messages, one section each, and what makes a decoded one valid.

use std::net::{IpAddr, SocketAddr};

use serde::{Deserialize, Serialize, Serializer, de};

use super::{MAX_NAME, MAX_TAGS, hash::BUCKETS, packet::Writer};

/// A section that does not decode, or whose content breaks a limit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Malformed;

/// The most accusers one suspicion names.
pub(crate) const MAX_ACCUSERS: usize = 8;
/// Bytes of a key.
const MAX_KEY: usize = 32;
/// The longest answer about a key, in bytes.
pub(crate) const MAX_PROBLEM: usize = 256;

/// "Are you there?" Answered only by the node that is named.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ping<'a> {
    #[serde(with = "postcard::fixint::le")]
    pub(crate) seq: u32,
    pub(crate) target: &'a str,
}

/// "I am here", to the sender of the ping. Never longer than the shortest ping, so that a forged source gains nothing.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Ack {
    #[serde(with = "postcard::fixint::le")]
    pub(crate) seq: u32,
}

/// "Ping this member for me and tell me within this time."
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct PingReq<'a> {
    #[serde(with = "postcard::fixint::le")]
    pub(crate) seq: u32,
    pub(crate) target: &'a str,
    pub(crate) window_ms: u32,
}

/// "I asked and heard nothing": shows that the relay itself is well.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Nack {
    #[serde(with = "postcard::fixint::le")]
    pub(crate) seq: u32,
}

/// "I am here, but the claims behind your ping were dropped: repeat them with this token." Without a token (0), the
/// sender's address is not the one that it advertises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Retry {
    #[serde(with = "postcard::fixint::le")]
    pub(crate) seq: u32,
    #[serde(with = "postcard::fixint::le")]
    pub(crate) token: u32,
}

/// "Show me this token from now on": behind a ping, to the address that the receiver advertises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct NewToken {
    #[serde(with = "postcard::fixint::le")]
    pub(crate) token: u32,
}

/// "Your ping came from here": behind an answer, where that is not the address that the receiver advertises.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Seen {
    pub(crate) addr: SocketAddr,
}

/// A member is alive, with all there is to know about it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alive<'a> {
    pub(crate) name: &'a str,
    pub(crate) epoch: u64,
    pub(crate) incarnation: u64,
    pub(crate) addr: SocketAddr,
    pub(crate) tags: &'a [u8],
}

/// A member did not answer the probes of these accusers.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Suspect<'a> {
    pub(crate) name: &'a str,
    pub(crate) epoch: u64,
    pub(crate) incarnation: u64,
    #[serde(borrow)]
    pub(crate) accusers: Accusers<'a>,
}

/// A suspicion ran out without being refuted.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Failed<'a> {
    pub(crate) name: &'a str,
    pub(crate) epoch: u64,
    pub(crate) incarnation: u64,
}

/// A member left. The member itself begins to disseminate this, or another that removed it after it had failed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Left<'a> {
    pub(crate) name: &'a str,
    pub(crate) epoch: u64,
    pub(crate) incarnation: u64,
    #[serde(borrow, with = "behind", skip_serializing_if = "Option::is_none")]
    pub(crate) removed: Option<Removed<'a>>,
}

/// A departed member in a push/pull (failed or left): with its age, so that no tombstone outlives `forget_after` by being
/// passed around.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Departed<'a> {
    pub(crate) name: &'a str,
    pub(crate) epoch: u64,
    pub(crate) incarnation: u64,
    pub(crate) left: bool,
    pub(crate) age_secs: u64,
    #[serde(borrow, with = "behind", skip_serializing_if = "Option::is_none")]
    pub(crate) removed: Option<Removed<'a>>,
}

/// Behind the last field of a claim that a member left: it was removed.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Removed<'a> {
    /// The name of the member that removed it.
    pub(crate) by: &'a str,
    /// It is reaped: not to be listed any more.
    pub(crate) reap: bool,
}

/// Fields after the last one of a message's first version. A missing or unreadable one counts as the value that is left out.
mod behind {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    use super::Removed;

    pub(super) fn serialize<S: Serializer>(fields: &Option<Removed<'_>>, out: S) -> Result<S::Ok, S::Error> {
        fields.unwrap_or(Removed { by: "", reap: false }).serialize(out)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Option<Removed<'de>>, D::Error> {
        Ok(Removed::deserialize(from).ok().filter(|removed| !removed.by.is_empty()))
    }

    pub(super) fn is_zero(number: &u64) -> bool {
        *number == 0
    }

    pub(super) mod number {
        use postcard::fixint::le;
        use serde::{Deserializer, Serializer};

        pub(in super::super) fn serialize<S: Serializer>(number: &u64, out: S) -> Result<S::Ok, S::Error> {
            le::serialize(number, out)
        }

        pub(in super::super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<u64, D::Error> {
            Ok(le::deserialize(from).unwrap_or(0))
        }
    }
}

/// Opens a push/pull.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Hello<'a> {
    pub(crate) name: &'a str,
    #[serde(with = "postcard::fixint::le")]
    pub(crate) digest: u64,
    /// The same over those that were removed; 0 if none was.
    #[serde(with = "behind::number", skip_serializing_if = "behind::is_zero")]
    pub(crate) removals: u64,
}

/// "Our tables are equal." Nothing else follows.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Same {}

/// The table is complete; the other side's turn.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct End {}

/// "This is my table's digest": from one member to another, behind an ack.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Digest {
    #[serde(with = "postcard::fixint::le")]
    pub(crate) digest: u64,
}

/// "Our tables differ; these are my digests of their buckets."
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct BucketDigests<'a> {
    /// [`BUCKETS`] digests, u64 LE.
    pub(crate) digests: &'a [u8],
}

/// "Let us exchange these buckets." Bit n stands for bucket n.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct BucketSelection {
    #[serde(with = "postcard::fixint::le")]
    pub(crate) buckets: u64,
}

/// A probe over a stream, for networks that lose datagrams.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct StreamPing<'a> {
    pub(crate) target: &'a str,
}

/// The answer to a stream probe.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct StreamAck<'a> {
    pub(crate) name: &'a str,
}

/// "What follows would be a datagram, if those got through": opens a stream.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Carried {}

/// "Do this with this key": in sealed streams alone, where the driver takes it; the core refuses it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyChange<'a> {
    /// 0 installs the key, 1 uses it, 2 removes all others.
    pub(crate) step: u8,
    /// To install, the key's 32 bytes; otherwise its fingerprint's 8.
    pub(crate) key: &'a [u8],
}

/// The result: empty, or the problem.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct KeyAnswer<'a> {
    pub(crate) problem: &'a str,
}

/// A message that travels as one section.
pub(crate) trait Body: Serialize {
    const TAG: u8;
}

/// Declares messages with their tags, and an enum of all of them that decodes a section.
macro_rules! messages {
    ($(#[$doc:meta])* $any:ident: $($tag:literal $name:ident $(<$life:lifetime>)?,)*) => {
        $(#[$doc])*
        #[derive(Debug, Clone, Copy, PartialEq)]
        pub(crate) enum $any<'a> { $($name($name $(<$life>)?),)* }

        $(impl $(<$life>)? $crate::wire::message::Body for $name $(<$life>)? { const TAG: u8 = $tag; })*

        impl<'a> $any<'a> {
            /// Decodes a section; `None` for an unknown tag.
            pub(crate) fn decode(
                tag: u8,
                body: &'a [u8],
            ) -> Result<Option<Self>, $crate::wire::message::Malformed> {
                use $crate::wire::message::Malformed;

                let message = match tag {
                    $($tag => $any::$name(postcard::take_from_bytes(body).map_err(|_| Malformed)?.0),)*
                    _ => return Ok(None),
                };
                if message.is_within_limits() { Ok(Some(message)) } else { Err(Malformed) }
            }
        }
    };
}
pub(super) use messages;

messages! {
    /// Any message of the protocol, decoded and checked against the limits.
    Message:
    1 Ping<'a>,
    2 Ack,
    3 PingReq<'a>,
    4 Nack,
    5 Retry,
    16 Alive<'a>,
    17 Suspect<'a>,
    18 Failed<'a>,
    19 Left<'a>,
    20 Departed<'a>,
    32 Hello<'a>,
    33 Same,
    34 End,
    35 StreamPing<'a>,
    36 StreamAck<'a>,
    37 BucketDigests<'a>,
    38 BucketSelection,
    39 Carried,
    48 Digest,
    49 NewToken,
    50 Seen,
    64 KeyChange<'a>,
    65 KeyAnswer<'a>,
}

impl Message<'_> {
    /// The member that a claim is about; `None` for other messages.
    fn claimed(&self) -> Option<&str> {
        match self {
            Self::Alive(claim) => Some(claim.name),
            Self::Suspect(claim) => Some(claim.name),
            Self::Failed(claim) => Some(claim.name),
            Self::Left(claim) => Some(claim.name),
            Self::Departed(claim) => Some(claim.name),
            _ => None,
        }
    }

    /// Whether it is a claim: about a member.
    pub(crate) fn is_claim(&self) -> bool {
        self.claimed().is_some()
    }

    /// Whether it is a claim about this member.
    pub(crate) fn is_about(&self, member: &str) -> bool {
        self.claimed() == Some(member)
    }

    fn is_within_limits(&self) -> bool {
        match self {
            Message::Ping(m) => is_name(m.target),
            Message::PingReq(m) => is_name(m.target),
            Message::Alive(m) => is_name(m.name) && m.tags.len() <= MAX_TAGS && is_reachable(m.addr),
            Message::Suspect(m) => is_name(m.name) && m.accusers.iter().all(is_name),
            Message::Failed(m) => is_name(m.name),
            Message::Left(m) => is_name(m.name) && m.removed.is_none_or(|removed| is_name(removed.by)),
            Message::Departed(m) => is_name(m.name) && m.removed.is_none_or(|removed| is_name(removed.by)),
            Message::Hello(m) => is_name(m.name),
            Message::StreamPing(m) => is_name(m.target),
            Message::StreamAck(m) => is_name(m.name),
            Message::BucketDigests(m) => m.digests.len() == BUCKETS * size_of::<u64>(),
            Message::Seen(m) => is_reachable(m.addr),
            Message::KeyChange(m) => m.key.len() <= MAX_KEY,
            Message::KeyAnswer(m) => m.problem.len() <= MAX_PROBLEM,
            Message::Ack(_)
            | Message::Nack(_)
            | Message::Retry(_)
            | Message::NewToken(_)
            | Message::Same(_)
            | Message::End(_)
            | Message::Carried(_)
            | Message::Digest(_)
            | Message::BucketSelection(_) => true,
        }
    }
}

/// A name of 1 to 128 bytes without characters that would forge lines in logs.
pub(crate) fn is_name(name: &str) -> bool {
    (1..=MAX_NAME).contains(&name.len()) && !name.chars().any(disturbs_a_line)
}

/// Control characters, separators of lines and paragraphs, and those that turn the direction of text.
pub(super) fn disturbs_a_line(c: char) -> bool {
    c.is_control() || matches!(c, '\u{2028}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// An address that one node could have: neither unspecified, nor multicast or broadcast. An IPv4-mapped IPv6 address is
/// refused, so that equal addresses are equal bytes.
pub(crate) fn is_reachable(addr: SocketAddr) -> bool {
    let ip = addr.ip().to_canonical();
    let broadcast = matches!(ip, IpAddr::V4(ip) if ip.is_broadcast());
    addr.port() != 0 && ip == addr.ip() && !ip.is_unspecified() && !ip.is_multicast() && !broadcast
}

impl Writer<'_> {
    /// Appends a message, or returns false and changes nothing if it does not fit.
    pub(crate) fn message<T: Body>(&mut self, message: &T) -> bool {
        self.push(T::TAG, message)
    }
}

/// Up to [`MAX_ACCUSERS`] names, on the stack.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) struct Accusers<'a> {
    names: [&'a str; MAX_ACCUSERS],
    len: usize,
}

impl<'a> Accusers<'a> {
    pub(crate) fn iter(&self) -> impl Iterator<Item = &'a str> + use<'a> {
        self.names.into_iter().take(self.len)
    }

    /// Names beyond the limit are dropped: a suspicion needs no more.
    fn push(&mut self, name: &'a str) {
        if let Some(slot) = self.names.get_mut(self.len) {
            *slot = name;
            self.len += 1;
        }
    }
}

impl<'a> FromIterator<&'a str> for Accusers<'a> {
    fn from_iter<I: IntoIterator<Item = &'a str>>(names: I) -> Self {
        let mut accusers = Self::default();
        names.into_iter().take(MAX_ACCUSERS).for_each(|name| accusers.push(name));
        accusers
    }
}

impl Serialize for Accusers<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        self.names[..self.len].serialize(serializer)
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Accusers<'a> {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = Accusers<'de>;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                write!(f, "a list of names")
            }

            fn visit_seq<A: de::SeqAccess<'de>>(self, mut seq: A) -> Result<Self::Value, A::Error> {
                let mut accusers = Accusers::default();
                while let Some(name) = seq.next_element()? {
                    accusers.push(name);
                }
                Ok(accusers)
            }
        }

        deserializer.deserialize_seq(Visitor)
    }
}
