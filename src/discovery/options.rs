//! The options that a `GossipDiscovery` adds to the configuration of its node, and setting all of them by text.

use super::PeerName;
use crate::{
    Error, GossipConfig,
    gossip::{parse_text, parse_value},
};

#[derive(Debug, Clone)]
pub(crate) struct Options {
    pub(crate) peer_name: PeerName,
    pub(crate) attempts: Option<u32>,
    pub(crate) leave_on_stop: bool,
}

impl Default for Options {
    fn default() -> Self {
        Self { peer_name: PeerName::default(), attempts: None, leave_on_stop: true }
    }
}

impl Options {
    pub(crate) const KEYS: &[&str] = &["attempts", "peer_name", "leave_on_stop"];

    /// Sets an option or, by any other key, a field of the node's configuration. If that fails, nothing has changed.
    pub(crate) fn set(&mut self, node: &mut GossipConfig, key: &str, value: &str) -> Result<(), Error> {
        match key {
            "attempts" => {
                self.attempts = Some(parse_value("attempts", value)?).filter(|attempts| *attempts > 0);
            }
            "peer_name" => self.peer_name = parse_text("peer_name", value)?,
            "leave_on_stop" => self.leave_on_stop = parse_value("leave_on_stop", value)?,
            _ => node.set(key, value)?,
        }
        Ok(())
    }
}
