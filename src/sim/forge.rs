//! Packets written by hand, for the attacker and for tests that play another node.

#[cfg(any(test, fuzzing))]
use crate::wire::data::DataMessage;
use crate::wire::{
    frame::MAX_FRAME,
    hash,
    message::Message,
    packet::{self, Header, Section, Writer},
};

/// The cluster of all nodes in the tests.
const CLUSTER: &str = "default";

/// A packet of these messages with a correct header, without a token; messages that do not fit in a frame are left out.
pub(crate) fn packet(sender: &str, messages: &[Message<'_>]) -> Vec<u8> {
    proven_packet(sender, 0, messages)
}

/// A packet of these messages with the token that the receiver gave to the sender.
pub(crate) fn proven_packet(sender: &str, token: u32, messages: &[Message<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { cluster: hash::cluster(CLUSTER), sender: hash::member(sender), token };
    let mut writer = Writer::new(&mut bytes, header, MAX_FRAME);
    for message in messages {
        put(&mut writer, message);
    }
    writer.finish();
    bytes
}

/// A packet of messages of the data layer, with such a token.
#[cfg(any(test, fuzzing))]
pub(crate) fn data_packet(sender: &str, token: u32, messages: &[DataMessage<'_>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    let header = Header { cluster: hash::cluster(CLUSTER), sender: hash::member(sender), token };
    let mut writer = Writer::new(&mut bytes, header, MAX_FRAME);
    for message in messages {
        put_data(&mut writer, message);
    }
    writer.finish();
    bytes
}

/// Calls `look` with each message of a packet that a node sent.
pub(crate) fn read(bytes: &[u8], mut look: impl FnMut(&Message<'_>)) {
    let Ok((_, sections)) = packet::open(bytes, hash::cluster(CLUSTER)) else { return };
    for section in sections {
        if let Ok(Some(message)) = section.and_then(Section::message) {
            look(&message);
        }
    }
}

/// Reads a packet that begins with a ping: its number and its target.
pub(crate) fn ping(bytes: &[u8]) -> Option<(u32, String)> {
    let mut ping = None;
    read(bytes, |message| {
        if let Message::Ping(asked) = message {
            ping.get_or_insert_with(|| (asked.seq, asked.target.to_owned()));
        }
    });
    ping
}

/// The number of the ping-req that a packet begins with.
pub(crate) fn ping_req(bytes: &[u8]) -> Option<u32> {
    let mut seq = None;
    read(bytes, |message| {
        if let Message::PingReq(asked) = message {
            seq.get_or_insert(asked.seq);
        }
    });
    seq
}

#[cfg(any(test, fuzzing))]
fn put_data(writer: &mut Writer<'_>, message: &DataMessage<'_>) -> bool {
    match message {
        DataMessage::Ask(m) => writer.message(m),
        DataMessage::Answer(m) => writer.message(m),
        DataMessage::Broadcast(m) => writer.message(m),
        DataMessage::Confirm(m) => writer.message(m),
        DataMessage::KeyValue(m) => writer.message(m),
        DataMessage::DataDigest(m) => writer.message(m),
        DataMessage::AskHead(m) => writer.message(m),
        DataMessage::Chunk(m) => writer.message(m),
        DataMessage::AnswerHead(m) => writer.message(m),
        DataMessage::DataHello(m) => writer.message(m),
        DataMessage::BroadcastHead(m) => writer.message(m),
        DataMessage::KeyValueHead(m) => writer.message(m),
        DataMessage::KeyValueDelta(m) => writer.message(m),
        DataMessage::DataEnd(m) => writer.message(m),
        DataMessage::KeyValueBuckets(m) => writer.message(m),
    }
}

fn put(writer: &mut Writer<'_>, message: &Message<'_>) -> bool {
    match message {
        Message::Ping(m) => writer.message(m),
        Message::Ack(m) => writer.message(m),
        Message::PingReq(m) => writer.message(m),
        Message::Nack(m) => writer.message(m),
        Message::Retry(m) => writer.message(m),
        Message::NewToken(m) => writer.message(m),
        Message::Seen(m) => writer.message(m),
        Message::Carried(m) => writer.message(m),
        Message::Alive(m) => writer.message(m),
        Message::Suspect(m) => writer.message(m),
        Message::Failed(m) => writer.message(m),
        Message::Left(m) => writer.message(m),
        Message::Departed(m) => writer.message(m),
        Message::Hello(m) => writer.message(m),
        Message::Same(m) => writer.message(m),
        Message::End(m) => writer.message(m),
        Message::StreamPing(m) => writer.message(m),
        Message::StreamAck(m) => writer.message(m),
        Message::BucketDigests(m) => writer.message(m),
        Message::BucketSelection(m) => writer.message(m),
        Message::Digest(m) => writer.message(m),
        Message::KeyChange(m) => writer.message(m),
        Message::KeyAnswer(m) => writer.message(m),
    }
}
