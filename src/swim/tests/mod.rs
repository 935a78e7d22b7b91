//! The rules of the protocol, one test each, in virtual time.

mod bench;
mod chaos;
mod claims;
mod detection;
mod life;
mod network;
mod world;
