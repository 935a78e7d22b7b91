//! The rules of the protocol, one test each, in virtual time.

mod chaos;
mod detection;
mod life;
mod network;
mod world;
