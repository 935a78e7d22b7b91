//! Replaces `secrets.rs` without the feature `encryption`: nothing is sealed.

use std::{
    io::{self, Read, Write},
    sync::Arc,
};

use super::{config::GossipConfig, counters::Counters, directory::Directory};
use crate::{
    Error,
    log_line::Sink,
    swim::{Clocks, Metrics},
    wire::frame,
};

#[derive(Debug)]
pub(super) struct Secrets;

impl Secrets {
    pub(super) fn of(_: &GossipConfig, _: &Arc<Counters>) -> Self {
        Self
    }

    pub(super) fn clocks(&self) -> Option<Clocks> {
        None
    }

    pub(super) fn clock_ahead_ms(&self, _: &str) -> Option<i64> {
        None
    }

    pub(super) fn add_to(&self, _: &mut Metrics) {}

    pub(super) fn seals(&self) -> bool {
        false
    }

    pub(super) fn requires(&self) -> bool {
        false
    }

    pub(super) fn open_stream(&self, _: &mut (impl Read + Write), _: Purpose) -> io::Result<StreamSeal> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn begin_stream(&self, _: &mut impl Write, _: Purpose) -> io::Result<Opening> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn finish_stream(&self, _: &mut impl Read, opening: Opening) -> io::Result<StreamSeal> {
        match opening {}
    }

    pub(super) fn answer_stream(
        &self,
        _: [u8; frame::PREFIX],
        _: &mut (impl Read + Write),
    ) -> io::Result<Option<StreamSeal>> {
        Ok(None)
    }
}

/// The purpose of a sealed stream.
#[derive(Clone, Copy)]
pub(super) enum Purpose {
    Members,
}

/// Never exists.
pub(super) enum Opening {}

/// Never exists.
pub(super) enum StreamSeal {}

impl StreamSeal {
    pub(super) const OVERHEAD: usize = 0;

    pub(super) fn is_for_keys(&self) -> bool {
        match *self {}
    }

    pub(super) fn seal(&mut self, _: &mut Vec<u8>) {
        match *self {}
    }

    pub(super) fn open(&mut self, _: &mut Vec<u8>) -> bool {
        match *self {}
    }
}

/// Why a datagram was dropped before its packet was read. Never exists.
pub(super) enum Dropped {}

#[derive(Debug)]
pub(super) struct DatagramSeal;

impl DatagramSeal {
    pub(super) fn new(_: &Secrets, _: &str, _: u64) -> Result<Self, Error> {
        Ok(Self)
    }

    pub(super) fn seal<'a>(&'a mut self, _: u32, packet: &'a [u8]) -> &'a [u8] {
        packet
    }

    pub(super) fn open<'a>(&mut self, bytes: &'a mut [u8]) -> Result<&'a [u8], Dropped> {
        Ok(bytes)
    }

    pub(super) fn on_opened(&mut self, _: Option<u32>, _: &Directory, _: &mut impl Sink) {}
}
