use std::sync::Arc;

use super::*;

pub(super) fn life(name: &str, epoch: u64) -> Life {
    Life { name: name.into(), epoch }
}

pub(super) fn item(name: &str, epoch: u64, seq: u64) -> Arc<Item> {
    let origin = life(name, epoch);
    let (topic, payload) = ("topic".into(), seq.to_le_bytes().into());
    let account = name.bytes().next().map(|first| u32::from(first).into());
    Arc::new(Item { origin, account, seq, stamp: 0, given: 0, flags: 0, topic, payload })
}
