//! The configuration of a gossip node, by keys and values that are texts: a new knob needs no new symbol.

use std::{ffi::c_char, str::FromStr, time::Duration};

use parking_lot::Mutex;

use super::{
    handle::Registry,
    pointer::{Out, bytes, text},
    status::{Failure, SYNCSWIM_ERR_CONFIG, SYNCSWIM_ERR_TEXT, SYNCSWIM_OK, status, syncswim_status, value},
};
#[cfg(feature = "encryption")]
use crate::{Encryption, Key, Keyring};
use crate::{GossipConfig, GossipDiscovery, HostPort, PeerName, Tags};

/// The configuration of a node. Any thread may use it, several at a time.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_config {
    _private: (),
}

static CONFIGS: Registry<syncswim_config, Mutex<Settings>> = Registry::new("configuration");

#[derive(Debug, Clone)]
struct Settings {
    gossip: GossipConfig,
    tags: Vec<(String, String)>,
    naming: PeerName,
    attempts: Option<u32>,
    leave_on_stop: bool,
    #[cfg(feature = "encryption")]
    keys: Vec<Key>,
    #[cfg(feature = "encryption")]
    encryption: Encryption,
}

/// Makes a configuration from a preset: "lan" (one data centre), "wan" (across the internet) or "local" (one
/// host). `name` is the node's name, unique in the cluster, of 1 to 128 bytes.
///
/// # Safety
/// Texts must end with NUL; `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_config_new(
    preset: *const c_char,
    name: *const c_char,
    out: *mut *mut syncswim_config,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (preset, name, out) =
            unsafe { (text(preset, "preset")?, text(name, "name")?, Out::new(out, "out")?) };
        let gossip = match preset {
            "lan" => GossipConfig::lan(name),
            "wan" => GossipConfig::wan(name),
            "local" => GossipConfig::local(name),
            _ => return Err(wrong("preset", preset, "it must be lan, wan or local")),
        };
        gossip.validate()?;
        let (tags, naming) = (Vec::new(), PeerName::default());
        let settings = Settings {
            gossip,
            tags,
            naming,
            attempts: None,
            leave_on_stop: true,
            #[cfg(feature = "encryption")]
            keys: Vec::new(),
            #[cfg(feature = "encryption")]
            encryption: Encryption::Require,
        };
        out.put(CONFIGS.insert(Mutex::new(settings)));
        Ok(SYNCSWIM_OK)
    })
}

/// Sets a value. Numbers are written in decimal, durations in milliseconds (their keys end with _ms), truth as
/// "true" or "false". A value that cannot work is refused here or, if it depends on others, at the start; the
/// message names the key, and the configuration is as it was.
///
/// Where the node is, and with whom:
///
/// - cluster: packets of other clusters are dropped. Defaults to "default".
/// - bind: where to listen, over UDP and TCP: host:port or host, where the host is an address, a name, or, if the library
///   was built with the feature interfaces, a network interface such as eth0. Port 0 takes any. Defaults to 0.0.0.0:7946,
///   for the preset "local" 127.0.0.1:7946.
/// - advertise: what others are told to send to, if it differs; written like bind, without a port for the one of bind. A
///   name is looked up once, at the start.
/// - join: a node to join through, as host:port, or as host for our own port. Each call adds one; they are tried for
///   ever, each by itself. Also "dns+host:port" (A and AAAA records) and "dnssrv+_service._tcp.domain" (SRV records,
///   with their ports), if the library was built with the feature dns-client; "file:/path", a file with one of these a
///   line, where # begins a comment, read anew each time; and "exec:command", which is run by sh -c and prints such
///   lines within 10 seconds.
/// - attempts: rounds of trying them before the start counts as failed. Defaults to 0: for ever.
/// - tag.KEY: a tag that this node shows to all others. All of them take at most 512 bytes.
/// - peer_name: what a member is called in the membership: "address" (the default), "name", or "tag:KEY".
/// - leave_on_stop: whether the others are told good-bye at a stop. Defaults to true.
/// - recv_buffer: bytes of the receive buffer to ask the system for. Defaults to 4194304.
///
/// Who may take part:
///
/// - key: 64 hexadecimal digits, the secret of the cluster; packets and streams are sealed with it. Further calls
///   add keys that are understood as well. Defaults to none: all is sent in clear.
/// - encryption: where there is a key, "require" (the default), or to turn it on in a running cluster first "accept"
///   and then "send" on all nodes.
/// - allow: a network such as 10.0.0.0/8; each call adds one, and what comes from elsewhere is dropped. Empty adds
///   none: then nobody is allowed. Defaults to everybody.
///
/// The protocol's knobs, as the crate's documentation explains them: probe_interval_ms, probe_timeout_ms,
/// indirect_probes, stream_fallback, lha_probe, nacks, lha_suspicion, buddy, notice_stalls, health_max,
/// suspicion_mult, suspicion_max_mult, suspicion_confirmations, verifiers, gossip_interval_ms, gossip_fanout,
/// retransmit_mult, gossip_to_failed_ms, sync_interval_ms, reconnect_max_delay_ms, seed_max_delay_ms, leave_timeout_ms,
/// reap_failed_after_ms, reap_left_after_ms, forget_after_ms, stream_timeout_ms, max_datagram, max_members,
/// max_departed, max_reconnects.
///
/// # Safety
/// Texts must end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_config_set(
    config: *const syncswim_config,
    key: *const c_char,
    value: *const c_char,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (key, value) = unsafe { (text(key, "key")?, text(value, "value")?) };
        apply(config, key, value)
    })
}

/// The same with a value of `length` bytes that need not end with NUL, as other languages have them.
///
/// # Safety
/// `key` must end with NUL, `value` must have `length` bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_config_set_bytes(
    config: *const syncswim_config,
    key: *const c_char,
    value: *const u8,
    length: usize,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (key, value) = unsafe { (text(key, "key")?, bytes(value, length, "value")?) };
        let value = std::str::from_utf8(value)
            .map_err(|_| Failure::new(SYNCSWIM_ERR_TEXT, format!("the value of `{key}` is not UTF-8")))?;
        apply(config, key, value)
    })
}

/// Frees a configuration; clusters that were given it keep a copy. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_config_free(config: *mut syncswim_config) {
    value((), || CONFIGS.remove(config).map(drop));
}

/// The discovery that a configuration describes.
pub(super) fn discovery(config: *const syncswim_config) -> Result<GossipDiscovery, Failure> {
    let settings = CONFIGS.get(config)?.lock().clone();
    #[cfg(feature = "encryption")]
    let keyring = settings.keyring()?;
    let Settings { mut gossip, tags, naming, attempts, leave_on_stop, .. } = settings;
    #[cfg(feature = "encryption")]
    {
        gossip.keyring = keyring;
    }
    gossip.tags = Tags::new(tags)?;
    gossip.validate()?;
    let discovery = GossipDiscovery::new(gossip).peer_name(naming).leave_on_stop(leave_on_stop);
    Ok(match attempts {
        Some(attempts) => discovery.attempts(attempts),
        None => discovery,
    })
}

fn apply(config: *const syncswim_config, key: &str, value: &str) -> Result<syncswim_status, Failure> {
    let config = CONFIGS.get(config)?;
    let mut settings = config.lock();
    let mut changed = settings.clone();
    changed.set(key, value)?;
    *settings = changed;
    Ok(SYNCSWIM_OK)
}

impl Settings {
    #[cfg(feature = "encryption")]
    fn keyring(&self) -> Result<Option<Keyring>, Failure> {
        let Some((primary, others)) = self.keys.split_first() else { return Ok(None) };
        let ring = Keyring::new(primary.clone());
        others.iter().try_for_each(|key| ring.install(key.clone()))?;
        ring.set_encryption(self.encryption);
        Ok(Some(ring))
    }

    fn set(&mut self, key: &str, value: &str) -> Result<(), Failure> {
        if let Some(tag) = key.strip_prefix("tag.") {
            self.tags.push((tag.into(), value.into()));
            Tags::new(self.tags.clone())?;
            return Ok(());
        }
        let Self { gossip, .. } = self;
        match key {
            "cluster" => gossip.swim.cluster = value.into(),
            "bind" => gossip.bind = addr("bind", value)?,
            "advertise" => gossip.advertise = Some(addr("advertise", value)?),
            "join" => gossip.seeds.push(value.into()),
            "attempts" => self.attempts = Some(parse(key, value)?).filter(|attempts| *attempts > 0),
            "peer_name" => self.naming = naming(value)?,
            "leave_on_stop" => self.leave_on_stop = parse(key, value)?,
            "recv_buffer" => gossip.recv_buffer = parse(key, value)?,
            "allow" if value.is_empty() => _ = gossip.swim.allow.get_or_insert_default(),
            "allow" => gossip.swim.allow.get_or_insert_default().push(value.parse()?),
            #[cfg(feature = "encryption")]
            "key" => self.keys.push(value.parse()?),
            #[cfg(feature = "encryption")]
            "encryption" => self.encryption = encryption(value)?,
            _ => set_knob(&mut gossip.swim, key, value)?,
        }
        Ok(())
    }
}

#[cfg(feature = "encryption")]
fn encryption(value: &str) -> Result<Encryption, Failure> {
    match value {
        "accept" => Ok(Encryption::Accept),
        "send" => Ok(Encryption::Send),
        "require" => Ok(Encryption::Require),
        _ => Err(wrong("encryption", value, "it must be accept, send or require")),
    }
}

fn set_knob(swim: &mut crate::swim::Config, key: &str, value: &str) -> Result<(), Failure> {
    if let Some(duration) = duration_knob(swim, key) {
        *duration = Duration::from_millis(parse(key, value)?);
        return Ok(());
    }
    match key {
        "indirect_probes" => swim.indirect_probes = parse(key, value)?,
        "stream_fallback" => swim.stream_fallback = parse(key, value)?,
        "lha_probe" => swim.lha_probe = parse(key, value)?,
        "nacks" => swim.nacks = parse(key, value)?,
        "lha_suspicion" => swim.lha_suspicion = parse(key, value)?,
        "buddy" => swim.buddy = parse(key, value)?,
        "notice_stalls" => swim.notice_stalls = parse(key, value)?,
        "health_max" => swim.health_max = parse(key, value)?,
        "suspicion_mult" => swim.suspicion_mult = parse(key, value)?,
        "suspicion_max_mult" => swim.suspicion_max_mult = parse(key, value)?,
        "suspicion_confirmations" => swim.suspicion_confirmations = parse(key, value)?,
        "verifiers" => swim.verifiers = parse(key, value)?,
        "gossip_fanout" => swim.gossip_fanout = parse(key, value)?,
        "retransmit_mult" => swim.retransmit_mult = parse(key, value)?,
        "max_datagram" => swim.max_datagram = parse(key, value)?,
        "max_members" => swim.max_members = parse(key, value)?,
        "max_departed" => swim.max_departed = parse(key, value)?,
        "max_reconnects" => swim.max_reconnects = parse(key, value)?,
        _ => {
            let message = format!("the key `{key}` is not known; syncswim_config_set lists them");
            return Err(Failure::new(SYNCSWIM_ERR_CONFIG, message));
        }
    }
    Ok(())
}

fn duration_knob<'a>(swim: &'a mut crate::swim::Config, key: &str) -> Option<&'a mut Duration> {
    Some(match key {
        "probe_interval_ms" => &mut swim.probe_interval,
        "probe_timeout_ms" => &mut swim.probe_timeout,
        "gossip_interval_ms" => &mut swim.gossip_interval,
        "gossip_to_failed_ms" => &mut swim.gossip_to_failed,
        "sync_interval_ms" => &mut swim.sync_interval,
        "reconnect_max_delay_ms" => &mut swim.reconnect_max_delay,
        "seed_max_delay_ms" => &mut swim.seed_max_delay,
        "leave_timeout_ms" => &mut swim.leave_timeout,
        "reap_failed_after_ms" => &mut swim.reap_failed_after,
        "reap_left_after_ms" => &mut swim.reap_left_after,
        "forget_after_ms" => &mut swim.forget_after,
        "stream_timeout_ms" => &mut swim.stream_timeout,
        _ => return None,
    })
}

fn naming(value: &str) -> Result<PeerName, Failure> {
    value.parse().map_err(|_| wrong("peer_name", value, "it must be address, name or tag:KEY"))
}

fn addr(key: &'static str, value: &str) -> Result<HostPort, Failure> {
    let addr = HostPort::from(value);
    addr.check(key)?;
    Ok(addr)
}

fn parse<T: FromStr<Err: std::fmt::Display>>(key: &str, value: &str) -> Result<T, Failure> {
    value.parse().map_err(|problem: T::Err| wrong(key, value, &problem.to_string()))
}

fn wrong(key: &str, value: &str, problem: &str) -> Failure {
    Failure::new(SYNCSWIM_ERR_CONFIG, format!("`{key}` cannot be {value:?}: {problem}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every field of the configuration has its key: `Debug` lists them.
    #[test]
    fn every_knob_of_the_protocol_has_a_key() {
        let mut swim = crate::swim::Config::lan("n");
        let shown = format!("{swim:#?}");
        let fields = shown.lines().filter_map(|line| line.strip_prefix("    ")?.split_once(": "));
        let mut count = 0;
        // These are no knobs: each has a key of its own.
        for (field, value) in fields.filter(|(field, _)| !["name", "cluster", "allow"].contains(field)) {
            let is_duration = duration_knob(&mut swim, &format!("{field}_ms")).is_some();
            let known = is_duration || set_knob(&mut swim, field, value.trim_end_matches(',')).is_ok();
            assert!(known, "{field}");
            count += 1;
        }
        assert!(count > 25, "{shown}");
    }
}
