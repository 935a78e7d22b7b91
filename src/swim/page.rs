//! What a recorder has written and not handed over yet, and the entries that it writes most often, in a layout of their own.
//!
//! When an idle node wakes, nothing of its recorder is in the caches: to fetch its code and data takes longer than to run it. So
//! all that a frequent entry needs is in one cache line, and one short function writes it; a serializer would be many.
//!
//! ```text
//! 0       kind: 2 timeout, 3 no datagram, 4 datagram in, 6 datagram out; 5 and 7 those with an IPv6 address
//! 1..6    of an input nanoseconds after the input before, of an output the recipient; LE
//! 6..8    length of the datagram, u16 LE      (from here on only kinds 4 to 7)
//! 8..10   port, u16 LE
//! 10..    address, 4 or 16 bytes; the datagram
//! ```
//!
//! An entry that begins with 0 or 1 is a serialized [`Entry`].

use std::net::SocketAddr;
#[cfg(any(test, feature = "sim"))]
use std::{borrow::Cow, net::IpAddr};

#[cfg(any(test, feature = "sim"))]
use super::transmit::Destination;
use super::{
    entry::{Entry, Input, RecordedBytes, RecordedOutput},
    time::Time,
};

const TIMEOUT: u8 = 2;
const NO_DATAGRAM: u8 = 3;
const DATAGRAM_IN: u8 = 4;
const DATAGRAM_OUT: u8 = 6;
/// Bytes of a kind and a number.
const SHORT: usize = 6;
/// Bytes before an address.
const BEFORE_IP: usize = 10;
/// Room that a datagram may take, with what is before it.
const MAX_LENGTH: usize = u16::MAX as usize;
/// More than any entry has before its datagram.
const MAX_HEAD: usize = 32;

/// What is written, and how much more may be without a look at anything else.
#[derive(Debug, Default)]
pub(super) struct Page {
    pub(super) bytes: Vec<u8>,
    /// Bytes; none unless frequent entries may be written.
    pub(super) room: usize,
    /// An input at this moment or later is not to be written here.
    pub(super) until: Time,
    /// When the last input was given.
    pub(super) last: Time,
}

/// An entry of a frequent kind.
#[derive(Debug, Clone, Copy)]
pub(super) struct Quick<'a> {
    kind: u8,
    recipient: u32,
    addr: Option<&'a SocketAddr>,
    datagram: &'a [u8],
}

impl<'a> Quick<'a> {
    #[inline(always)]
    pub(super) fn given(input: &'a Input<'a>) -> Option<Self> {
        let (kind, addr, datagram) = match input {
            Input::Timeout => (TIMEOUT, None, &[][..]),
            Input::Datagram { from, bytes } => (DATAGRAM_IN, Some(from), *bytes),
            _ => return None,
        };
        Some(Self { kind, recipient: 0, addr, datagram })
    }

    #[inline(always)]
    pub(super) fn gave(output: &'a RecordedOutput<'a>) -> Option<Self> {
        let (kind, recipient, addr, datagram) = match output {
            RecordedOutput::NoDatagram => (NO_DATAGRAM, 0, None, &[][..]),
            RecordedOutput::Datagram(to, RecordedBytes::Whole(bytes)) => {
                (DATAGRAM_OUT, to.recipient, Some(&to.addr), *bytes)
            }
            _ => return None,
        };
        Some(Self { kind, recipient, addr, datagram })
    }
}

impl Page {
    /// Writes an entry, of an input with its time, if there is room, and says whether it did.
    #[cold]
    #[inline(never)]
    pub(super) fn write(&mut self, now: Option<Time>, entry: Quick<'_>) -> bool {
        let Quick { mut kind, recipient, addr, datagram } = entry;
        let length = datagram.len();
        if MAX_HEAD + length > self.room.min(MAX_LENGTH)
            || now.is_some_and(|now| now >= self.until || now < self.last)
        {
            return false;
        }
        let number = now.map_or(recipient.into(), |now| now.nanos() - self.last.nanos());
        let mut head = [0; MAX_HEAD];
        head[1..9].copy_from_slice(&number.to_le_bytes());
        head[SHORT..8].copy_from_slice(&(length as u16).to_le_bytes());
        let end = match addr {
            None => SHORT,
            Some(SocketAddr::V4(addr)) => {
                head[8..BEFORE_IP].copy_from_slice(&addr.port().to_le_bytes());
                head[BEFORE_IP..14].copy_from_slice(&addr.ip().octets());
                14
            }
            Some(SocketAddr::V6(addr)) => {
                kind += 1;
                head[8..BEFORE_IP].copy_from_slice(&addr.port().to_le_bytes());
                head[BEFORE_IP..26].copy_from_slice(&addr.ip().octets());
                26
            }
        };
        head[0] = kind;
        self.last = now.unwrap_or(self.last);
        self.room -= end + length;
        // An array of a fixed length is a few moves.
        let end = self.bytes.len() + end;
        self.bytes.extend_from_slice(&head);
        self.bytes.truncate(end);
        self.bytes.extend_from_slice(datagram);
        true
    }
}

impl<'a> Entry<'a> {
    /// Reads the first entry, and returns what is behind it.
    #[cfg(any(test, feature = "sim"))]
    pub(crate) fn take_from(bytes: &'a [u8]) -> Option<(Self, &'a [u8])> {
        match bytes.first()? {
            0 | 1 => postcard::take_from_bytes(bytes).ok(),
            _ => take_quick(bytes),
        }
    }
}

#[cfg(any(test, feature = "sim"))]
fn take_quick(bytes: &[u8]) -> Option<(Entry<'_>, &[u8])> {
    let (head, rest) = bytes.split_first_chunk::<SHORT>()?;
    let kind = head[0];
    let mut number = [0; 8];
    number[..5].copy_from_slice(&head[1..]);
    let number = u64::from_le_bytes(number);
    let given = |input| Entry::Given(number as i64, Cow::Owned(input));
    Some(match kind {
        TIMEOUT => (given(Input::Timeout), rest),
        NO_DATAGRAM => (Entry::Gave(RecordedOutput::NoDatagram), rest),
        4..=7 => {
            let (from, bytes, rest) = take_datagram(rest, kind % 2 == 1)?;
            let entry = match kind < DATAGRAM_OUT {
                true => given(Input::Datagram { from, bytes }),
                false => {
                    let to = Destination { addr: from, recipient: number as u32 };
                    Entry::Gave(RecordedOutput::Datagram(to, RecordedBytes::Whole(bytes)))
                }
            };
            (entry, rest)
        }
        _ => return None,
    })
}

/// An address, a datagram, and what is behind it.
#[cfg(any(test, feature = "sim"))]
fn take_datagram(bytes: &[u8], is_v6: bool) -> Option<(SocketAddr, &[u8], &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let (port, rest) = rest.split_first_chunk()?;
    let (ip, rest) = match is_v6 {
        false => rest.split_first_chunk::<4>().map(|(ip, rest)| (IpAddr::from(*ip), rest))?,
        true => rest.split_first_chunk::<16>().map(|(ip, rest)| (IpAddr::from(*ip), rest))?,
    };
    let (datagram, rest) = rest.split_at_checked(u16::from_le_bytes(*length).into())?;
    Some((SocketAddr::new(ip, u16::from_le_bytes(*port)), datagram, rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn page() -> Page {
        Page { bytes: Vec::new(), room: 1 << 16, until: Time::MAX, last: Time::ZERO }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read(
            after in 0_u64..1 << 40, addr: SocketAddr, recipient: u32,
            bytes in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            // What the wire does not carry, a recording does not hold.
            let addr = SocketAddr::new(addr.ip(), addr.port());
            let mut page = page();
            let now = Time::from_origin(std::time::Duration::from_nanos(after));
            let datagram = Input::Datagram { from: addr, bytes: &bytes };
            let to = Destination { addr, recipient };
            let sent = RecordedOutput::Datagram(to, RecordedBytes::Whole(&bytes));
            for input in [&datagram, &Input::Timeout] {
                prop_assert!(page.write(Some(now), Quick::given(input).unwrap()));
            }
            for output in [&sent, &RecordedOutput::NoDatagram] {
                prop_assert!(page.write(None, Quick::gave(output).unwrap()));
            }
            let expected = [
                Entry::Given(after as i64, Cow::Owned(datagram)),
                Entry::Given(0, Cow::Owned(Input::Timeout)),
                Entry::Gave(sent),
                Entry::Gave(RecordedOutput::NoDatagram),
            ];
            let mut rest = &page.bytes[..];
            prop_assert_eq!(page.room, (1 << 16) - rest.len());
            for entry in expected {
                let (read, behind) = Entry::take_from(rest).unwrap();
                prop_assert_eq!(read, entry);
                rest = behind;
            }
            prop_assert!(rest.is_empty());
        }

        #[test]
        fn whatever_is_there_is_read_or_refused(bytes in prop::collection::vec(any::<u8>(), 0..60), kind in 0_u8..9) {
            let bytes = [&[kind][..], &bytes].concat();
            if let Some((_, rest)) = Entry::take_from(&bytes) {
                prop_assert!(rest.len() < bytes.len());
            }
        }
    }

    #[test]
    fn what_has_no_room_or_not_its_time_is_not_written() {
        let addr = "[ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff]:65535".parse().unwrap();
        let bytes = vec![7; 1 << 16];
        let second = |s| Time::from_origin(std::time::Duration::from_secs(s));
        let page = || Page { until: second(9), last: second(5), ..page() };
        for (at, length, is_written) in [
            (5, 100, true),
            (8, 100, true),
            (4, 100, false),
            (9, 100, false),
            (5, 65_503, true),
            (5, 65_504, false),
        ] {
            let mut page = page();
            let input = Input::Datagram { from: addr, bytes: &bytes[..length] };
            assert_eq!(
                page.write(Some(second(at)), Quick::given(&input).unwrap()),
                is_written,
                "{at} {length}"
            );
            assert_eq!(
                (page.bytes.is_empty(), page.last == second(at)),
                (!is_written, is_written || at == 5)
            );
        }
    }
}
