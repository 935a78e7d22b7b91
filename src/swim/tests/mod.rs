//! The rules of the protocol, one test each, in virtual time.

mod bench;
mod carried;
mod claims;
mod datagrams;
mod detection;
mod edges;
mod events;
mod flap;
mod found;
mod history;
mod introduce;
mod leave;
mod life;
mod metrics;
mod network;
mod not_tried;
mod outside;
mod patience;
mod push_pull;
mod race;
mod reach;
mod reproduced;
mod room;
mod status;
mod streams_only;
mod world;
