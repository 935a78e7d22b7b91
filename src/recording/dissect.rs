//! The content of a datagram or a frame, for people and programs that look at recordings.

use std::{fmt, net::SocketAddr, time::Duration};

use crate::{
    swim::Identity,
    wire::{
        hash,
        message::{Message, Removed},
        packet,
    },
};

/// The contents of a datagram or a frame.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Dissected {
    /// The [mark] of the sender's name.
    pub sender: u32,
    /// The token that it shows: it was given to the sender by the receiver.
    pub token: u32,
    /// Its messages, in order; those that are unknown or malformed, and what is not a message of the protocol, are left out.
    pub messages: Vec<Said>,
    /// A hash of the part that the protocol wrote: the same for a datagram as its sender recorded it and as it arrived,
    /// whatever the data layer has added.
    pub fingerprint: u64,
}

/// A message.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(missing_docs, reason = "PROTOCOL.md has the messages and their fields")]
pub enum Said {
    Ping {
        seq: u32,
        target: String,
    },
    Ack {
        seq: u32,
    },
    Nack {
        seq: u32,
    },
    Retry {
        seq: u32,
    },
    PingReq {
        seq: u32,
        target: String,
        window: Duration,
    },
    Alive {
        name: String,
        identity: Identity,
        addr: SocketAddr,
    },
    Suspect {
        name: String,
        identity: Identity,
        accusers: Vec<String>,
    },
    Failed {
        name: String,
        identity: Identity,
    },
    Left {
        name: String,
        identity: Identity,
        removed_by: Option<String>,
    },
    Departed {
        name: String,
        identity: Identity,
        left: bool,
        removed_by: Option<String>,
    },
    /// By its name.
    Other(&'static str),
}

/// The hash of a name by which a datagram names its sender.
#[must_use]
pub fn mark(name: &str) -> u32 {
    hash::member(name)
}

/// Takes a datagram or a frame of any cluster apart; `None` if it is none.
#[must_use]
pub fn dissect(bytes: &[u8]) -> Option<Dissected> {
    let cluster = u32::from_le_bytes(bytes.get(1..5)?.try_into().ok()?);
    let (header, sections) = packet::open(bytes, cluster).ok()?;
    let (mut messages, mut hasher) = (Vec::new(), crc32fast::Hasher::new());
    let mut written = 0;
    for section in sections.flatten().filter(|section| !section.is_data()) {
        let (tag, body) = section.parts();
        hasher.update(&[tag]);
        hasher.update(body);
        written += 1 + body.len() as u64;
        messages.extend(section.message().ok().flatten().map(said));
    }
    let packet::Header { sender, token, .. } = header;
    hasher.update(&sender.to_le_bytes());
    hasher.update(&token.to_le_bytes());
    Some(Dissected { sender, token, messages, fingerprint: written << 32 | u64::from(hasher.finalize()) })
}

fn said(message: Message<'_>) -> Said {
    let identity = |epoch, incarnation| Identity { epoch, incarnation };
    let by = |removed: Option<Removed<'_>>| removed.map(|removed| removed.by.to_owned());
    match message {
        Message::Ping(m) => Said::Ping { seq: m.seq, target: m.target.into() },
        Message::Ack(m) => Said::Ack { seq: m.seq },
        Message::Nack(m) => Said::Nack { seq: m.seq },
        Message::Retry(m) => Said::Retry { seq: m.seq },
        Message::PingReq(m) => {
            let window = Duration::from_millis(m.window_ms.into());
            Said::PingReq { seq: m.seq, target: m.target.into(), window }
        }
        Message::Alive(m) => {
            Said::Alive { name: m.name.into(), identity: identity(m.epoch, m.incarnation), addr: m.addr }
        }
        Message::Suspect(m) => {
            let accusers = m.accusers.iter().map(str::to_owned).collect();
            Said::Suspect { name: m.name.into(), identity: identity(m.epoch, m.incarnation), accusers }
        }
        Message::Failed(m) => {
            Said::Failed { name: m.name.into(), identity: identity(m.epoch, m.incarnation) }
        }
        Message::Left(m) => {
            let (identity, removed_by) = (identity(m.epoch, m.incarnation), by(m.removed));
            Said::Left { name: m.name.into(), identity, removed_by }
        }
        Message::Departed(m) => {
            let (identity, removed_by) = (identity(m.epoch, m.incarnation), by(m.removed));
            Said::Departed { name: m.name.into(), identity, left: m.left, removed_by }
        }
        Message::Hello(_) => Said::Other("hello"),
        Message::Same(_) => Said::Other("same table"),
        Message::End(_) => Said::Other("end of table"),
        Message::StreamPing(_) => Said::Other("stream ping"),
        Message::StreamAck(_) => Said::Other("stream ack"),
        Message::BucketDigests(_) => Said::Other("bucket digests"),
        Message::BucketSelection(_) => Said::Other("bucket selection"),
        Message::Carried(_) => Said::Other("datagram by stream"),
        Message::Digest(_) => Said::Other("digest"),
        Message::NewToken(_) => Said::Other("new token"),
        Message::Seen(_) => Said::Other("seen address"),
        Message::KeyChange(_) => Said::Other("key change"),
        Message::KeyAnswer(_) => Said::Other("key answer"),
    }
}

/// Its messages, with commas between them.
impl fmt::Display for Dissected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.messages.iter().enumerate().try_for_each(|(at, said)| {
            f.write_str(if at == 0 { "" } else { ", " })?;
            said.fmt(f)
        })
    }
}

impl fmt::Display for Said {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Ping { seq, target } => write!(f, "ping {seq:08x} for {target}"),
            Self::Ack { seq } => write!(f, "ack {seq:08x}"),
            Self::Nack { seq } => write!(f, "nack {seq:08x}"),
            Self::Retry { seq } => write!(f, "retry {seq:08x}"),
            Self::PingReq { seq, target, window } => {
                write!(f, "ping-req {seq:08x} for {target} within {window:?}")
            }
            Self::Alive { name, identity, addr } => write!(f, "alive {name} {identity} at {addr}"),
            Self::Suspect { name, identity, accusers } => {
                write!(f, "suspect {name} {identity} by {}", accusers.join(" and "))
            }
            Self::Failed { name, identity } => write!(f, "failed {name} {identity}"),
            Self::Left { name, identity, removed_by } => {
                write!(f, "left {name} {identity}")?;
                removed_by.iter().try_for_each(|by| write!(f, " removed by {by}"))
            }
            Self::Departed { name, identity, left: true, removed_by } => {
                write!(f, "has left {name} {identity}")?;
                removed_by.iter().try_for_each(|by| write!(f, " removed by {by}"))
            }
            Self::Departed { name, identity, left: false, .. } => write!(f, "has failed {name} {identity}"),
            Self::Other(name) => f.write_str(name),
        }
    }
}
