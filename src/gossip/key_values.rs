//! Key–values for programs: setting and deleting those of this node, and reading those of all members.

use super::{
    entries::{Entries, EntryWatch},
    handle::Gossip,
};
use crate::{
    Error,
    data::{MAX_KEYS, MAX_MAP, NotSet, Part},
    wire::data::{MAX_TOPIC, MAX_VALUE},
};

/// The field that an error about a key names.
const KEY: &str = "key";

/// # Key–values
///
/// Each node owns a small map: it alone writes the map, and every member reads it. It is for facts about a member that tags
/// are too small for: shards, weights, counters, a configuration that is pushed.
impl Gossip {
    /// Sets a key of this node's own map, and returns the number of this change in this life of the node. The change
    /// spreads to all members within a few gossip rounds; a member that is cut off meanwhile receives it later. After a
    /// restart of the node the map is empty.
    ///
    /// ```
    /// use syncswim::{Gossip, GossipConfig};
    ///
    /// let node = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// node.set("shards", b"3 7 12")?;
    /// let entries = node.entries();
    /// assert_eq!(&*entries.of("a").get("shards").unwrap().value, b"3 7 12");
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// In all cases nothing was changed. [`Error::TooLarge`] if the key is longer than 64 bytes, the value longer than
    /// 15,360, there are 256 keys already, or all keys and values take more than 64 KiB; [`Error::Busy`] at more than 10
    /// changes a second, 64 at once; [`Error::Invalid`] if the key is empty or has characters that break or disguise a line
    /// (control characters, line separators, changes of direction); [`Error::Left`] after [`leave`](Self::leave);
    /// [`Error::Stopped`] or [`Error::Panicked`] if the node has ended.
    pub fn set(&self, key: &str, value: impl AsRef<[u8]>) -> Result<u64, Error> {
        self.change(key, Some(value.as_ref())).map(Option::unwrap_or_default)
    }

    /// Deletes a key of this node's own map. Returns the number of this change in this life, or `None` if there is no such
    /// key.
    ///
    /// # Errors
    /// As [`set`](Self::set).
    pub fn delete(&self, key: &str) -> Result<Option<u64>, Error> {
        self.change(key, None)
    }

    fn change(&self, key: &str, value: Option<&[u8]>) -> Result<Option<u64>, Error> {
        self.running.check_present()?;
        let result = self.running.node.call(|endpoint, now| endpoint.set(now, key, value));
        self.running.node.wake();
        result.map_err(|problem| match problem {
            NotSet::BadKey => Error::invalid(KEY, "must have 1 to 64 bytes and no control characters"),
            NotSet::TooLarge(what, size) => {
                let (of, limit, remedy) = match what {
                    Part::Key => ("bytes of a key", MAX_TOPIC, "choose a shorter one"),
                    Part::Value => ("bytes of a value", MAX_VALUE, "spread it over several keys"),
                    Part::Keys => ("keys of a node", MAX_KEYS, "delete some, or put several into one value"),
                    Part::Map => ("bytes of a node's keys and values", MAX_MAP, "shorten or delete some"),
                };
                Error::too_large(of, (size, limit), remedy)
            }
            NotSet::Busy => {
                let remedy = "change them less often, or several in one value";
                Error::busy(None, "10 changes of key-values a second, 64 at once", remedy)
            }
        })
    }

    /// The key–values of all listed members at this moment, live or not, and of this node. Those of a member are dropped
    /// when it is listed no longer, and when it restarts. O(1).
    #[must_use]
    pub fn entries(&self) -> Entries {
        self.running.node.call(|endpoint, _| Entries::of_endpoint(endpoint))
    }

    /// Follows one key of all members, or with `None` all keys: first the present state, then the changes.
    ///
    /// ```
    /// use syncswim::{EntryChange, Gossip, GossipConfig};
    ///
    /// let node = Gossip::start(GossipConfig::local("a").bind("127.0.0.1:0"))?;
    /// let watch = node.watch_entries("limits");
    /// assert!(watch.recv().unwrap().is_empty(), "the state: nobody has set it");
    /// node.set("limits", b"100")?;
    /// let changes = watch.recv().unwrap();
    /// assert!(matches!(&changes[..], [EntryChange::Set { owner, entry, .. }] if **owner == *"a" && *entry.value == *b"100"));
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    pub fn watch_entries<'a>(&self, key: impl Into<Option<&'a str>>) -> EntryWatch {
        let subscription = self
            .running
            .node
            .call(|endpoint, _| self.running.publication.follow_entries(Entries::of_endpoint(endpoint)));
        EntryWatch::new(subscription, key.into())
    }
}
