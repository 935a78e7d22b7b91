//! The configuration of a node from text: one table of keys, for [`GossipConfig::set`], for the
//! [environment](super::environment), and for the C interface.

use std::{borrow::Cow, str::FromStr, time::Duration};

use super::{config::GossipConfig, host_port::HostPort, seed};
#[cfg(feature = "encryption")]
use crate::{Encryption, Key, Keyring};
use crate::{
    Error, IpNetwork,
    text::{Quoted, did_you_mean},
};

/// A key and the effect of its values.
pub(super) struct Entry {
    pub(super) key: &'static str,
    set: fn(&mut GossipConfig, &'static str, &str) -> Result<(), Error>,
}

/// The entry of a field of the protocol's configuration, which has the name of the field, with `_ms` behind it for
/// durations. For another field: its key, and how the text becomes a value.
macro_rules! knob {
    ($field:ident) => {
        knob!(stringify!($field), swim.$field = parse_value)
    };
    ($field:ident in ms) => {
        knob!(concat!(stringify!($field), "_ms"), swim.$field = parse_millis)
    };
    ($key:expr, $($field:ident).+ = $parse:expr) => {
        Entry { key: $key, set: |config, key, text| Ok(config.$($field).+ = $parse(key, text)?) }
    };
}

/// All keys but `tag.KEY`, whose `KEY` is free.
pub(super) const KEYS: &[Entry] = &[
    knob!("cluster", swim.cluster = |_, text: &str| Ok::<_, Error>(text.to_owned())),
    knob!("bind", bind = parse_host_port),
    knob!("advertise", advertise = |key, text| parse_host_port(key, text).map(Some)),
    Entry { key: "join", set: add_seed },
    knob!("recv_buffer", recv_buffer = parse_value),
    knob!("record", record = |_, text: &str| Ok::<_, Error>((!text.is_empty()).then(|| text.into()))),
    knob!("record_limit", record_limit = parse_value),
    knob!("state_file", state_file = |_, text: &str| Ok::<_, Error>((!text.is_empty()).then(|| text.into()))),
    knob!("rejoin_after_leave", rejoin_after_leave = parse_value),
    Entry { key: "allow", set: allow },
    #[cfg(feature = "encryption")]
    Entry { key: "key", set: add_key },
    #[cfg(feature = "encryption")]
    Entry { key: "encryption", set: set_encryption },
    knob!(probe_interval in ms),
    knob!(probe_timeout in ms),
    knob!(indirect_probes),
    knob!(stream_fallback),
    knob!(lha_probe),
    knob!(nacks),
    knob!(lha_suspicion),
    knob!(buddy),
    knob!(notice_stalls),
    knob!(health_max),
    knob!(suspicion_mult),
    knob!(suspicion_max_mult),
    knob!(suspicion_confirmations),
    knob!(verifiers),
    knob!(gossip_interval in ms),
    knob!(gossip_fanout),
    knob!(retransmit_mult),
    knob!(gossip_to_failed in ms),
    knob!(sync_interval in ms),
    knob!(reconnect_max_delay in ms),
    knob!(seed_max_delay in ms),
    knob!(leave_timeout in ms),
    knob!(reap_failed_after in ms),
    knob!(reap_left_after in ms),
    knob!(forget_after in ms),
    knob!(stream_timeout in ms),
    knob!(max_datagram),
    knob!(max_members),
    knob!(max_departed),
    knob!(max_reconnects),
    knob!(history),
];

impl GossipConfig {
    /// Sets a field by its name and a text: from a file, a command line, or a table of a database. The C interface has the
    /// same keys, and a few of its own for settings outside of a `GossipConfig`.
    ///
    /// - `cluster`, `bind`, `advertise`, `recv_buffer`, `record`, `record_limit`, `state_file`, `rejoin_after_leave`: the
    ///   fields of this name;
    /// - `join`: adds a [seed](Self::seeds);
    /// - `tag.KEY`: sets the tag `KEY`;
    /// - `allow`: adds a network, such as `10.0.0.0/8`, to [those allowed](crate::swim::Config::allow); an empty text adds
    ///   none, so that nobody is allowed unless other networks are;
    /// - `key`: adds a key of 64 hexadecimal digits to the keyring; the first seals. `encryption`: `require`, which is the
    ///   default where there is a key, `send` or `accept`. A keyring that is [shared](Self::keyring) is copied first: later
    ///   changes of the shared one do not reach this configuration. (Feature `encryption`.)
    /// - each other field of [`swim::Config`](crate::swim::Config) but `name`, by its name: `suspicion_mult`. Durations are
    ///   in milliseconds and have `_ms` behind the name: `probe_interval_ms`.
    ///
    /// Numbers are decimal; booleans are `true` or `false`. A value that is valid by itself but not together with others is
    /// an error of [`validate`](Self::validate), and so of the start.
    ///
    /// ```
    /// use std::time::Duration;
    /// use syncswim::GossipConfig;
    ///
    /// let mut config = GossipConfig::lan("node-a");
    /// for line in ["bind=0.0.0.0:7946", "join=10.0.0.5", "tag.role=db", "probe_interval_ms=500"] {
    ///     let (key, value) = line.split_once('=').unwrap();
    ///     config.set(key, value)?;
    /// }
    /// assert_eq!(config.swim.probe_interval, Duration::from_millis(500));
    /// assert_eq!((config.tags.get("role"), &*config.seeds[0]), (Some("db"), "10.0.0.5"));
    ///
    /// let error = config.set("nacks", "yes").unwrap_err();
    /// assert_eq!(error.to_string(), "bad configuration: `nacks` is \"yes\"; it must be true or false");
    /// # Ok::<(), syncswim::Error>(())
    /// ```
    ///
    /// # Errors
    /// [`Error::Config`] that names the key, what is wrong and what is accepted; [`Error::Key`] for a text that is not a
    /// key. The configuration is then unchanged.
    pub fn set(&mut self, key: &str, value: &str) -> Result<(), Error> {
        if let Some(tag) = key.strip_prefix("tag.") {
            self.tags = self.tags.with(tag, value).map_err(|error| error.in_field("tags"))?;
            return Ok(());
        }
        let entry = KEYS.iter().find(|entry| entry.key == key).ok_or_else(|| unknown(key))?;
        (entry.set)(self, entry.key, value)
    }

    /// The keys that [`set`](Self::set) accepts, so that a program can list its options. `tag.KEY` is not among them, as its
    /// `KEY` is free. The features decide which keys there are.
    ///
    /// ```
    /// use syncswim::GossipConfig;
    ///
    /// assert!(GossipConfig::keys().any(|key| key == "probe_interval_ms"));
    /// ```
    pub fn keys() -> impl Iterator<Item = &'static str> {
        KEYS.iter().map(|entry| entry.key)
    }

    /// A preset by its name.
    pub(crate) fn preset(preset: &str, name: impl Into<String>) -> Option<Self> {
        match preset {
            "lan" => Some(Self::lan(name)),
            "wan" => Some(Self::wan(name)),
            "local" => Some(Self::local(name)),
            _ => None,
        }
    }
}

fn add_seed(config: &mut GossipConfig, key: &'static str, text: &str) -> Result<(), Error> {
    seed::check(key, text).map_err(|error| error.in_field(key))?;
    config.seeds.push(text.into());
    Ok(())
}

fn allow(config: &mut GossipConfig, key: &'static str, text: &str) -> Result<(), Error> {
    let network: Option<IpNetwork> = if text.is_empty() { None } else { Some(parse_text(key, text)?) };
    config.swim.allow.get_or_insert_default().extend(network);
    Ok(())
}

#[cfg(feature = "encryption")]
fn add_key(config: &mut GossipConfig, _: &'static str, text: &str) -> Result<(), Error> {
    let key: Key = text.parse()?;
    config.keyring = Some(match &config.keyring {
        None => {
            let ring = Keyring::new(key);
            ring.set_encryption(config.encryption.unwrap_or(Encryption::Require));
            ring
        }
        // A running node may share the old ring.
        Some(ring) => {
            let ring = ring.detached();
            ring.install(key)?;
            ring
        }
    });
    Ok(())
}

#[cfg(feature = "encryption")]
fn set_encryption(config: &mut GossipConfig, key: &'static str, text: &str) -> Result<(), Error> {
    let encryption = parse_text(key, text)?;
    config.encryption = Some(encryption);
    if let Some(ring) = &mut config.keyring {
        *ring = ring.detached();
        ring.set_encryption(encryption);
    }
    Ok(())
}

/// A type of value that is written as text.
pub(crate) trait Value: Sized {
    /// The accepted values, as the end of a sentence.
    const ACCEPTED: &'static str;

    fn parse(text: &str) -> Option<Self>;
}

impl Value for bool {
    const ACCEPTED: &'static str = "true or false";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for u32 {
    const ACCEPTED: &'static str = "a whole number from 0 to 4294967295";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for u64 {
    const ACCEPTED: &'static str = "a whole number, 0 or more";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

impl Value for usize {
    const ACCEPTED: &'static str = "a whole number, 0 or more";

    fn parse(text: &str) -> Option<Self> {
        text.parse().ok()
    }
}

/// Parses the value of a key that holds a number or a boolean.
pub(crate) fn parse_value<T: Value>(key: &'static str, text: &str) -> Result<T, Error> {
    T::parse(text).ok_or_else(|| wrong(key, text, T::ACCEPTED))
}

/// Parses the value of a key whose type has a text form of its own.
pub(crate) fn parse_text<T: FromStr<Err = Error>>(key: &'static str, text: &str) -> Result<T, Error> {
    text.parse().map_err(|error: Error| error.in_field(key))
}

fn parse_millis(key: &'static str, text: &str) -> Result<Duration, Error> {
    let millis = text.parse().map(Duration::from_millis);
    millis.map_err(|_| wrong(key, text, "a whole number of milliseconds"))
}

fn parse_host_port(key: &'static str, text: &str) -> Result<HostPort, Error> {
    let addr = HostPort::from(text);
    addr.check(key)?;
    Ok(addr)
}

pub(super) fn wrong(field: impl Into<Cow<'static, str>>, text: &str, accepted: &str) -> Error {
    Error::config(field, format!("is {}; it must be {accepted}", Quoted(text)))
}

fn unknown(key: &str) -> Error {
    let known: Vec<_> = KEYS.iter().map(|entry| entry.key).collect();
    let meant = did_you_mean(key, known.iter().copied());
    Error::config(key.to_owned(), format!("is not known{meant}; the keys are tag.KEY, {}", known.join(", ")))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lan() -> GossipConfig {
        GossipConfig::lan("n")
    }

    fn problem(key: &str, value: &str) -> String {
        let mut config = lan();
        let before = format!("{config:?}");
        let error = config.set(key, value).unwrap_err().to_string();
        assert_eq!(format!("{config:?}"), before, "{key} = {value:?} changed it");
        error
    }

    /// `Debug` lists the fields.
    #[test]
    fn every_field_of_the_protocol_has_a_key_that_sets_it() {
        let shown = format!("{:#?}", lan().swim);
        let fields = shown.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
        let mut count = 0;
        // Each of these has a key of its own.
        for (field, value) in fields.filter(|(field, _)| !["name", "cluster", "allow"].contains(field)) {
            let (key, other) = match value.trim_end_matches(',') {
                "true" => (field.to_owned(), "false"),
                "false" => (field.to_owned(), "true"),
                value if value.ends_with('s') => (format!("{field}_ms"), "12345"),
                _ => (field.to_owned(), "12345"),
            };
            let mut config = lan();
            config.set(&key, other).unwrap();
            let expected = if key.ends_with("_ms") { "12.345s" } else { other };
            let line = format!("    {field}: {expected},");
            assert!(format!("{:#?}", config.swim).lines().any(|shown| shown == line), "{line}");
            count += 1;
        }
        assert!(count > 25, "{shown}");
    }

    #[test]
    fn other_keys_set_or_add_to_their_fields() {
        let mut config = lan();
        for (key, value) in [
            ("cluster", "blue"),
            ("bind", "10.0.0.1:1"),
            ("advertise", "db.example"),
            ("join", "a"),
            ("join", "b:1"),
            ("tag.role", "db"),
            ("tag.zone", "1"),
            ("tag.role", "web"),
            ("recv_buffer", "4096"),
            ("state_file", "/var/lib/a.state"),
            ("rejoin_after_leave", "true"),
            ("allow", ""),
            ("allow", "10.0.0.0/8"),
        ] {
            config.set(key, value).unwrap();
        }
        assert_eq!((&*config.swim.cluster, config.recv_buffer), ("blue", 4096));
        assert_eq!(
            (config.state_file.as_deref(), config.rejoin_after_leave),
            (Some("/var/lib/a.state".as_ref()), true)
        );
        assert_eq!((config.bind, config.advertise), ("10.0.0.1:1".into(), Some("db.example".into())));
        assert_eq!(config.seeds, ["a", "b:1"]);
        assert_eq!(config.tags.iter().collect::<Vec<_>>(), [("role", "web"), ("zone", "1")]);
        assert_eq!(config.swim.allow, Some(vec!["10.0.0.0/8".parse().unwrap()]));
    }

    #[test]
    fn an_error_names_the_key_the_problem_and_the_accepted_values() {
        for (key, value, expected) in [
            ("nacks", "yes", "`nacks` is \"yes\"; it must be true or false"),
            ("verifiers", "-1", "`verifiers` is \"-1\"; it must be a whole number"),
            ("max_members", "1e3", "`max_members` is \"1e3\"; it must be a whole number"),
            (
                "probe_interval_ms",
                "1s",
                "`probe_interval_ms` is \"1s\"; it must be a whole number of milliseconds",
            ),
            ("bind", "http://a", "`bind` has \"http://a\", which is a URL"),
            ("join", "db:0", "`join` has \"db:0\", which has the port 0,"),
            ("allow", "10.1.2.3/8", "`allow` has \"10.1.2.3/8\", which has bits set"),
            (
                "probe_interval",
                "1",
                "`probe_interval` is not known (did you mean `probe_interval_ms`?); the keys are tag.KEY, cluster, bind",
            ),
        ] {
            let problem = problem(key, value);
            assert!(problem.contains(expected), "{problem}, not {expected}");
        }
        assert!(problem("tag.a", &"x".repeat(600)).contains("512 at most"));
    }

    #[cfg(feature = "encryption")]
    #[test]
    fn keys_make_a_ring_of_this_configuration_alone_in_any_order() {
        use crate::Encryption;

        let (one, two) = ("01".repeat(32), "02".repeat(32));
        let fingerprint = |text: &str| text.parse::<Key>().unwrap().fingerprint();
        let mut config = lan();
        config.set("encryption", "send").unwrap();
        assert!(config.keyring.is_none());
        config.set("key", &one).unwrap();
        let other = config.clone();
        config.set("key", &two).unwrap();
        config.set("encryption", "accept").unwrap();
        let ring = |config: &GossipConfig| {
            config.keyring.as_ref().map(|ring| (ring.fingerprints(), ring.encryption())).unwrap()
        };
        assert_eq!(ring(&config), (vec![fingerprint(&one), fingerprint(&two)], Encryption::Accept));
        assert_eq!(ring(&other), (vec![fingerprint(&one)], Encryption::Send));
        assert!(problem("key", "0102").contains("64 hexadecimal digits"));
        assert!(
            problem("encryption", "yes")
                .contains("`encryption` is \"yes\"; it must be accept, send or require")
        );
    }
}
