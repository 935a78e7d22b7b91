//! How parts of the state are written that do not say it themselves.

use std::{
    collections::{BTreeMap, HashMap},
    hash::Hash,
};

use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A hash map in the order of its keys: the same state gives the same bytes.
pub(super) mod sorted {
    use super::*;

    pub(in crate::swim) fn serialize<K, V, S>(map: &HashMap<K, V>, serializer: S) -> Result<S::Ok, S::Error>
    where
        K: Ord + Serialize,
        V: Serialize,
        S: Serializer,
    {
        map.iter().collect::<BTreeMap<_, _>>().serialize(serializer)
    }

    pub(in crate::swim) fn deserialize<'de, K, V, D>(deserializer: D) -> Result<HashMap<K, V>, D::Error>
    where
        K: Eq + Hash + Deserialize<'de>,
        V: Deserialize<'de>,
        D: Deserializer<'de>,
    {
        HashMap::deserialize(deserializer)
    }
}

/// The state of the random generator.
pub(super) mod rng {
    use super::*;

    pub(in crate::swim) fn serialize<S: Serializer>(
        rng: &fastrand::Rng,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        rng.get_seed().serialize(serializer)
    }

    pub(in crate::swim) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<fastrand::Rng, D::Error> {
        u64::deserialize(deserializer).map(fastrand::Rng::with_seed)
    }
}
