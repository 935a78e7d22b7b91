//! Asks and answers in streams: a head, then the payload in chunks. The side that opened the stream asks; the other side
//! answers and closes the stream.

use std::{collections::BTreeMap, sync::Arc};

use super::{
    MAX_MESSAGE,
    answerer::AskKind,
    memory::AskId,
    status::{Answer, Status},
};
use crate::{
    swim::StreamId,
    wire::{
        data::{AnswerHead, AskHead, Chunk, MAX_CHUNK},
        message::Malformed,
        packet::Writer,
    },
};

/// A longer payload is not received, not even to refuse it.
const MAX_RECEIVED: usize = 16 << 20;

/// The ask or answer that a payload belongs to.
#[derive(Debug, Clone)]
pub(super) enum Head {
    Ask { id: AskId, life: u64, kind: AskKind, within_ms: u32, topic: Arc<str> },
    Answer { epoch: u64, id: u64, status: Status },
}

#[derive(Debug)]
struct Outgoing {
    head: Head,
    begun: bool,
    payload: Arc<[u8]>,
    sent: usize,
}

#[derive(Debug)]
struct Incoming {
    head: Head,
    length: usize,
    received: usize,
    bytes: Vec<u8>,
}

/// One stream.
#[derive(Debug, Default)]
struct Transfer {
    outgoing: Option<Outgoing>,
    incoming: Option<Incoming>,
}

/// A head with its whole payload; `None` if the payload is too long.
pub(super) type Received = (Head, Option<Arc<[u8]>>);

#[derive(Debug, Default)]
pub(super) struct Transfers(BTreeMap<StreamId, Transfer>);

impl Transfers {
    pub(super) fn knows(&self, stream: StreamId) -> bool {
        self.0.contains_key(&stream)
    }

    pub(super) fn ended(&mut self, stream: StreamId) {
        self.0.remove(&stream);
    }

    /// Queues this for a stream.
    pub(super) fn say(&mut self, stream: StreamId, head: Head, payload: Arc<[u8]>) {
        let outgoing = Outgoing { head, begun: false, payload, sent: 0 };
        self.0.entry(stream).or_default().outgoing = Some(outgoing);
    }

    pub(super) fn answer(&mut self, stream: StreamId, id: AskId, Answer { status, payload }: Answer) {
        self.say(stream, Head::Answer { epoch: id.epoch, id: id.number, status }, payload);
    }

    /// Writes the next part. Returns false if there is none.
    pub(super) fn write(&mut self, stream: StreamId, frame: &mut Writer<'_>) -> bool {
        let Some(outgoing) = self.0.get_mut(&stream).and_then(|transfer| transfer.outgoing.as_mut()) else {
            return false;
        };
        let mut written = !outgoing.begun && outgoing.write_head(frame);
        outgoing.begun = true;
        while outgoing.write_chunk(frame) {
            written = true;
        }
        written
    }

    /// Whether this node has sent its whole answer in a stream.
    pub(super) fn has_answered(&self, stream: StreamId) -> bool {
        let outgoing = self.0.get(&stream).and_then(|transfer| transfer.outgoing.as_ref());
        outgoing.is_some_and(|outgoing| {
            matches!(outgoing.head, Head::Answer { .. })
                && outgoing.begun
                && outgoing.sent == outgoing.payload.len()
        })
    }

    /// Processes a head. Returns what it completes.
    pub(super) fn take_head(
        &mut self,
        stream: StreamId,
        head: Head,
        length: u32,
    ) -> Result<Option<Received>, Malformed> {
        let length = usize::try_from(length).unwrap_or(usize::MAX);
        let transfer = self.0.entry(stream).or_default();
        let asks = matches!(head, Head::Ask { .. });
        if transfer.incoming.is_some() || transfer.outgoing.is_some() == asks || length > MAX_RECEIVED {
            return Err(Malformed);
        }
        transfer.incoming = Some(Incoming { head, length, received: 0, bytes: Vec::new() });
        Ok(transfer.complete())
    }

    /// Processes a part of a payload. Returns what it completes.
    pub(super) fn take_chunk(
        &mut self,
        stream: StreamId,
        bytes: &[u8],
    ) -> Result<Option<Received>, Malformed> {
        let transfer = self.0.get_mut(&stream).ok_or(Malformed)?;
        let incoming = transfer.incoming.as_mut().ok_or(Malformed)?;
        if bytes.is_empty() || bytes.len() > incoming.length - incoming.received {
            return Err(Malformed);
        }
        incoming.received += bytes.len();
        if incoming.length <= MAX_MESSAGE {
            incoming.bytes.extend_from_slice(bytes);
        }
        Ok(transfer.complete())
    }
}

impl Transfer {
    fn complete(&mut self) -> Option<Received> {
        let incoming = self.incoming.as_mut().filter(|incoming| incoming.received == incoming.length)?;
        let bytes = std::mem::take(&mut incoming.bytes);
        Some((incoming.head.clone(), (incoming.length <= MAX_MESSAGE).then(|| bytes.into())))
    }
}

impl Outgoing {
    fn write_head(&self, frame: &mut Writer<'_>) -> bool {
        let length = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        match &self.head {
            Head::Ask { id, life, kind, within_ms, topic } => frame.message(&AskHead {
                epoch: id.epoch,
                slot: id.slot,
                id: id.number,
                life: *life,
                kind: kind.number(),
                within_ms: *within_ms,
                topic,
                length,
            }),
            Head::Answer { epoch, id, status } => {
                frame.message(&AnswerHead { epoch: *epoch, id: *id, status: status.number(), length })
            }
        }
    }

    fn write_chunk(&mut self, frame: &mut Writer<'_>) -> bool {
        let rest = &self.payload[self.sent..];
        let bytes = &rest[..rest.len().min(MAX_CHUNK)];
        let written = !bytes.is_empty() && frame.message(&Chunk { bytes });
        self.sent += if written { bytes.len() } else { 0 };
        written
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::swim::InForm;
    use crate::wire::{
        data::DataMessage,
        frame::MAX_FRAME,
        packet::{self, Header},
    };

    const ID: AskId = AskId { slot: 0, epoch: 1, number: 1 };

    /// A stream's number, as a node draws it.
    fn stream() -> StreamId {
        postcard::from_bytes::<InForm<StreamId>>(&[1]).unwrap().0
    }

    fn frames(sender: &mut Transfers) -> Vec<Vec<u8>> {
        let header = Header { cluster: 1, sender: 0, token: 0 };
        let mut frames = Vec::new();
        loop {
            let mut buffer = Vec::new();
            let mut frame = Writer::new(&mut buffer, header, MAX_FRAME);
            let written = sender.write(stream(), &mut frame);
            frame.finish();
            if !written {
                return frames;
            }
            frames.push(buffer);
        }
    }

    fn take(receiver: &mut Transfers, frame: &[u8]) -> Result<Option<Received>, Malformed> {
        let mut complete = None;
        for section in packet::sections(frame) {
            let received = match section?.data_message()? {
                Some(DataMessage::AnswerHead(AnswerHead { epoch, id, status, length })) => {
                    let head = Head::Answer { epoch, id, status: Status::of(status) };
                    receiver.take_head(stream(), head, length)?
                }
                Some(DataMessage::Chunk(chunk)) => receiver.take_chunk(stream(), chunk.bytes)?,
                _ => return Err(Malformed),
            };
            complete = received.or(complete);
        }
        Ok(complete)
    }

    /// The side that asked, which awaits an answer.
    fn asker() -> Transfers {
        let mut asker = Transfers::default();
        let head = Head::Ask { id: ID, life: 1, kind: AskKind::Request, within_ms: 1, topic: "t".into() };
        asker.say(stream(), head, Arc::default());
        asker
    }

    fn arrives(payload: &[u8]) -> Option<Arc<[u8]>> {
        let (mut answerer, mut asker) = (Transfers::default(), asker());
        answerer.answer(stream(), ID, Answer { status: Status::Answered, payload: payload.into() });
        assert!(!answerer.has_answered(stream()));
        let frames = frames(&mut answerer);
        assert!(answerer.has_answered(stream()));
        let (last, others) = frames.split_last().unwrap();
        others.iter().for_each(|frame| assert!(take(&mut asker, frame).unwrap().is_none()));
        take(&mut asker, last).unwrap().unwrap().1
    }

    #[test]
    fn a_payload_that_is_too_long_is_received_but_not_kept() {
        assert_eq!(arrives(&vec![7; MAX_MESSAGE]).map(|payload| payload.len()), Some(MAX_MESSAGE));
        assert_eq!(arrives(&vec![7; MAX_MESSAGE + 1]), None);
        let mut receiver = asker();
        let head = Head::Answer { epoch: 1, id: 1, status: Status::Answered };
        assert_eq!(receiver.take_head(stream(), head, 1 + (16 << 20)).err(), Some(Malformed));
    }

    #[test]
    fn heads_and_chunks_out_of_turn_are_refused() {
        let head = || Head::Answer { epoch: 1, id: 1, status: Status::Answered };
        assert_eq!(Transfers::default().take_chunk(stream(), b"x").err(), Some(Malformed));
        assert_eq!(Transfers::default().take_head(stream(), head(), 1).err(), Some(Malformed));
        let mut receiver = asker();
        assert!(receiver.take_head(stream(), head(), 3).unwrap().is_none());
        assert_eq!(receiver.take_head(stream(), head(), 3).err(), Some(Malformed));
        assert_eq!(receiver.take_chunk(stream(), b"").err(), Some(Malformed));
        assert_eq!(receiver.take_chunk(stream(), b"abcd").err(), Some(Malformed));
    }

    proptest! {
        #[test]
        fn a_payload_arrives_as_it_was_sent(
            len in prop_oneof![0..100_usize, MAX_CHUNK - 1..MAX_CHUNK + 2, 0..200_000_usize],
            first: u8,
        ) {
            let payload: Vec<u8> = (0..len).map(|at| (at % 251) as u8 ^ first).collect();
            let arrived = arrives(&payload);
            prop_assert_eq!(arrived.as_deref(), Some(&*payload));
        }
    }
}
