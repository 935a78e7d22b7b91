//! Values that no other node can guess: sequence numbers, which answers must repeat, and tokens, which prove an address.
//!
//! Both come from SipHash-2-4, a keyed pseudorandom function, under the node's seed as its key: the same seed gives the
//! same values, and some of them tell nothing of the others.

use std::{hash::Hasher, net::SocketAddr};

use serde::{Deserialize, Serialize};
use siphasher::sip::SipHasher24;

/// The hasher for one purpose, so that no value for one is a value for another.
fn keyed(seed: u128, purpose: u8) -> SipHasher24 {
    let mut hasher = SipHasher24::new_with_key(&seed.to_le_bytes());
    hasher.write_u8(purpose);
    hasher
}

/// Sequence numbers: a counter through the function.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Numbers {
    keyed: SipHasher24,
    drawn: u64,
}

impl Numbers {
    pub(super) fn new(seed: u128) -> Self {
        Self { keyed: keyed(seed, b'n'), drawn: 0 }
    }

    pub(super) fn draw(&mut self) -> u32 {
        let mut hasher = self.keyed;
        hasher.write_u64(self.drawn);
        self.drawn = self.drawn.wrapping_add(1);
        hasher.finish() as u32
    }
}

/// Address validation tokens (RFC 9000 §8.1.3): a function of the name and the address, so that none need be stored
/// for nodes that are no members.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Tokens {
    keyed: SipHasher24,
}

impl Default for Tokens {
    fn default() -> Self {
        Self::new(0)
    }
}

impl Tokens {
    pub(super) fn new(seed: u128) -> Self {
        Self { keyed: keyed(seed, b't') }
    }

    /// The token that the node of this name at this address may show; never 0, which stands for none.
    pub(super) fn of(&self, name: &str, addr: SocketAddr) -> u32 {
        let mut hasher = self.keyed;
        hasher.write(name.as_bytes());
        hasher.write_u8(0xff);
        match addr {
            SocketAddr::V4(addr) => hasher.write_u32(addr.ip().to_bits()),
            SocketAddr::V6(addr) => hasher.write_u128(addr.ip().to_bits()),
        }
        hasher.write_u16(addr.port());
        (hasher.finish() as u32).max(1)
    }

    /// The token that a stream of this node shows, so that it is recognized if it arrives here.
    pub(super) fn of_stream(&self, stream: u64) -> u32 {
        let mut hasher = self.keyed;
        hasher.write_u8(0xfe);
        hasher.write_u64(stream);
        (hasher.finish() as u32).max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_values_and_another_seed_others() {
        let addr = SocketAddr::from(([10, 0, 0, 1], 1));
        let draw = |seed| {
            let mut numbers = Numbers::new(seed);
            (numbers.draw(), numbers.draw(), Tokens::new(seed).of("a", addr))
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
        assert_ne!(draw(7).0, draw(7).1);
    }

    #[test]
    fn a_token_is_for_one_name_at_one_address() {
        let tokens = Tokens::new(1);
        let addr = |port| SocketAddr::from(([10, 0, 0, 1], port));
        assert_ne!(tokens.of("a", addr(1)), tokens.of("a", addr(2)));
        assert_ne!(tokens.of("a", addr(1)), tokens.of("b", addr(1)));
        assert_ne!(tokens.of("a", addr(1)), tokens.of("a", ([0, 0, 0, 0, 0, 0, 0, 1], 1).into()));
    }
}
