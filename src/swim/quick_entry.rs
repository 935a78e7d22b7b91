//! The entries that a node writes most often, byte by byte as an [`Entry`](super::entry::Entry) is serialized. When an idle
//! node wakes, the code of a serializer is cold: to fetch it takes longer than to write the bytes.

use std::net::SocketAddr;

use super::entry::{Input, RecordedBytes, RecordedOutput};

/// More than any beginning takes.
const MAX_BEGINNING: usize = 48;

/// An entry: how it begins, and the bytes of its datagram behind that.
pub(super) struct QuickEntry<'a> {
    beginning: [u8; MAX_BEGINNING],
    length: usize,
    datagram: &'a [u8],
}

impl<'a> QuickEntry<'a> {
    /// The entry of an input that comes `after` nanoseconds behind the one before, if it is of a frequent kind.
    pub(super) fn given(after: i64, input: &Input<'a>) -> Option<Self> {
        let mut entry = Self::new(&[0]);
        entry.push_signed(after);
        match *input {
            Input::Datagram { from, bytes } => {
                entry.push(&[0]);
                entry.push_addr(from);
                entry.end_with(bytes);
            }
            Input::Timeout => entry.push(&[1]),
            _ => return None,
        }
        Some(entry)
    }

    /// The entry of an output, if it is of a frequent kind.
    pub(super) fn gave(output: &RecordedOutput<'a>) -> Option<Self> {
        let mut entry = Self::new(&[1]);
        match *output {
            RecordedOutput::Datagram(to, RecordedBytes::Whole(bytes)) => {
                entry.push(&[0]);
                entry.push_addr(to.addr);
                entry.push_number(to.recipient.into());
                entry.push(&[0]);
                entry.end_with(bytes);
            }
            RecordedOutput::NoDatagram => entry.push(&[1]),
            _ => return None,
        }
        Some(entry)
    }

    /// All its bytes, in two parts.
    pub(super) fn parts(&self) -> [&[u8]; 2] {
        [&self.beginning[..self.length], self.datagram]
    }

    fn new(first: &[u8]) -> Self {
        let mut entry = Self { beginning: [0; MAX_BEGINNING], length: 0, datagram: &[] };
        entry.push(first);
        entry
    }

    fn push(&mut self, bytes: &[u8]) {
        self.beginning[self.length..self.length + bytes.len()].copy_from_slice(bytes);
        self.length += bytes.len();
    }

    fn push_addr(&mut self, addr: SocketAddr) {
        match addr {
            SocketAddr::V4(addr) => {
                self.push(&[0]);
                self.push(&addr.ip().octets());
            }
            SocketAddr::V6(addr) => {
                self.push(&[1]);
                self.push(&addr.ip().octets());
            }
        }
        self.push_number(addr.port().into());
    }

    fn push_signed(&mut self, number: i64) {
        self.push_number(((number << 1) ^ (number >> 63)) as u64);
    }

    #[inline(never)]
    fn push_number(&mut self, mut number: u64) {
        while number >= 0x80 {
            self.push(&[number as u8 | 0x80]);
            number >>= 7;
        }
        self.push(&[number as u8]);
    }

    fn end_with(&mut self, datagram: &'a [u8]) {
        self.push_number(datagram.len() as u64);
        self.datagram = datagram;
    }
}

#[cfg(test)]
mod tests {
    use std::borrow::Cow;

    use proptest::prelude::*;

    use super::{super::entry::Entry, *};
    use crate::swim::Destination;

    fn same(entry: &Entry<'_>, quick: Option<QuickEntry<'_>>) {
        assert_eq!(quick.expect("it is frequent").parts().concat(), postcard::to_stdvec(entry).unwrap());
    }

    proptest! {
        #[test]
        fn they_are_what_a_serializer_writes(
            after: i64, addr: SocketAddr, recipient: u32, bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            for input in [Input::Datagram { from: addr, bytes: &bytes }, Input::Timeout] {
                let quick = QuickEntry::given(after, &input);
                same(&Entry::Given(after, Cow::Borrowed(&input)), quick);
            }
            let to = Destination { addr, recipient };
            for output in [RecordedOutput::Datagram(to, RecordedBytes::Whole(&bytes)), RecordedOutput::NoDatagram] {
                let quick = QuickEntry::gave(&output);
                same(&Entry::Gave(output), quick);
            }
        }
    }

    #[test]
    fn the_longest_beginning_has_room() {
        let addr = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap();
        let bytes = vec![7; 70_000];
        assert!(QuickEntry::given(i64::MIN, &Input::Datagram { from: addr, bytes: &bytes }).is_some());
        let to = Destination { addr, recipient: u32::MAX };
        assert!(QuickEntry::gave(&RecordedOutput::Datagram(to, RecordedBytes::Whole(&bytes))).is_some());
    }
}
