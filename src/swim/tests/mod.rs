//! The rules of the protocol, one test each, in virtual time.

mod bench;
mod claims;
mod detection;
mod flap;
mod found;
mod introduce;
mod life;
mod network;
mod not_tried;
mod world;
