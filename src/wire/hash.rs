//! The one hash that crosses the network: FNV-1a over bytes, finished with splitmix64's mixer.
//!
//! It must give the same value on every platform and in every release, which rules out the standard
//! library's. It is not a defence against forgery; encryption is.

use std::net::{IpAddr, SocketAddr};

const OFFSET: u64 = 0xcbf2_9ce4_8422_2325;
const PRIME: u64 = 0x0000_0100_0000_01b3;

fn fnv1a(state: u64, bytes: &[u8]) -> u64 {
    bytes.iter().fold(state, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(PRIME))
}

/// Spreads every input bit over the result, so that sums and xors of hashes stay uniform.
pub(crate) fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// The cluster's mark in every header.
pub(crate) fn cluster(name: &str) -> u32 {
    let hash = mix(fnv1a(OFFSET, name.as_bytes()));
    (hash ^ (hash >> 32)) as u32
}

/// The mark of a member's name in headers; sealed datagrams are bound to it. The byte behind the name is in no text, so
/// that no cluster's name has the same mark.
pub(crate) fn member(name: &str) -> u32 {
    let hash = mix(fnv1a(fnv1a(OFFSET, name.as_bytes()), &[0xff]));
    (hash ^ (hash >> 32)) as u32
}

/// Buckets of a table: two tables that differ exchange only the buckets that do.
pub(crate) const BUCKETS: usize = 64;

/// The bucket of the table that a member is in.
pub(crate) fn bucket(name: &str) -> usize {
    mix(fnv1a(OFFSET, name.as_bytes())) as usize % BUCKETS
}

/// The share of one life of an origin in the digest of broadcasts.
pub(crate) fn broadcasts(origin: &str, epoch: u64, below: u64, above: &[u8]) -> u64 {
    let hash = fnv1a(fnv1a(OFFSET, origin.as_bytes()), &epoch.to_le_bytes());
    mix(fnv1a(fnv1a(hash, &below.to_le_bytes()), above))
}

/// The share of a live member in the table's digest. Its address is a part of it: two processes that never heard of each other
/// may take one identity, and the tables that list either must differ.
pub(crate) fn live(name: &str, epoch: u64, incarnation: u64, addr: SocketAddr) -> u64 {
    let host = match addr.ip() {
        IpAddr::V4(ip) => fnv1a(OFFSET, &ip.octets()),
        IpAddr::V6(ip) => fnv1a(OFFSET, &ip.octets()),
    };
    mix(entry(name, epoch, incarnation) ^ fnv1a(host, &addr.port().to_le_bytes()))
}

/// The share of a name and two numbers in a digest.
pub(crate) fn entry(name: &str, epoch: u64, incarnation: u64) -> u64 {
    let hash = fnv1a(OFFSET, name.as_bytes());
    mix(fnv1a(fnv1a(hash, &epoch.to_le_bytes()), &incarnation.to_le_bytes()))
}

/// The share of a removed member in the digest of those.
pub(crate) fn removal(name: &str, epoch: u64, incarnation: u64, reap: bool) -> u64 {
    mix(entry(name, epoch, incarnation) ^ (1 + u64::from(reap)))
}
