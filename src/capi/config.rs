//! The configuration of a gossip node, as keys and values that are texts: a new key needs no new symbol.

use std::ffi::c_char;

use parking_lot::Mutex;

use super::{
    handle::Registry,
    pointer::{Out, bytes, text},
    status::{Failure, SYNCSWIM_ERR_CONFIG, SYNCSWIM_ERR_TEXT, SYNCSWIM_OK, status, syncswim_status, value},
};
use crate::{
    GossipConfig, GossipDiscovery,
    discovery::Options,
    text::{Brief, Quoted},
};

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
    options: Options,
}

/// Makes a configuration from a preset: "lan" (one data centre), "wan" (across the internet) or "local" (one
/// host). `name` is the node's name, unique in the cluster, of 1 to 128 bytes without control characters.
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
        let gossip = GossipConfig::preset(preset, name).ok_or_else(|| {
            let message = format!("the preset is {}; it must be lan, wan or local", Quoted(preset));
            Failure::new(SYNCSWIM_ERR_CONFIG, message)
        })?;
        gossip.validate()?;
        let settings = Settings { gossip, options: Options::default() };
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
/// - cluster: packets of other clusters are dropped; a name like that of a node. Defaults to "default".
/// - bind: where to listen, over UDP and TCP: host:port or host, where the host is an address, a name, or, if the library
///   was built with the feature interfaces, a network interface such as eth0. Port 0 takes any. Defaults to 0.0.0.0:7946,
///   for the preset "local" 127.0.0.1:7946.
/// - advertise: the address that others send to, if it differs from bind; written like bind, without a port for the port of
///   bind. A name is looked up once, at the start.
/// - join: a node to join through, as host:port, or as host for our own port. Each call adds one; they are tried for
///   ever, each by itself. Also "dns+host:port" (A and AAAA records) and "dnssrv+_service._tcp.domain" (SRV records,
///   with their ports), if the library was built with the feature dns-client; "file:/path", a file with one of these a
///   line, where # begins a comment, read again each time; and "exec:command", which is run by sh -c and prints such lines
///   within 10 seconds.
/// - attempts: rounds of trying them before the start counts as failed. Defaults to 0: for ever.
/// - tag.KEY: a tag that this node shows to all others, without control characters. All of them take at most 512 bytes.
/// - peer_name: the name of a member in the membership: "address" (the default), "name", or "tag:KEY".
/// - leave_on_stop: whether the node leaves the cluster at a stop, so that others see it as left. Defaults to true.
/// - recv_buffer: bytes of the receive buffer to ask the system for. Defaults to 4194304.
/// - record: the file of a flight recording that begins with the node. Defaults to none.
/// - record_limit: the most bytes that it takes, at least 1048576. Defaults to 67108864.
/// - state_file: a file of this node's own, in which it stores the cluster's members and their addresses: with it, the node
///   finds the cluster again after a restart even if no seed answers. Defaults to none.
/// - rejoin_after_leave: whether it does so after a leave, too. Defaults to false.
///
/// Who may take part:
///
/// - key: 64 hexadecimal digits, the secret of the cluster; packets and streams are sealed with it. Further calls
///   add keys that are understood as well. Defaults to none: all is sent in the clear.
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
/// max_departed, max_reconnects, history.
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

/// The same with a value of `length` bytes that need not end with NUL, for languages whose strings do not.
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
        let value = std::str::from_utf8(value).map_err(|_| {
            Failure::new(SYNCSWIM_ERR_TEXT, format!("the value of `{}` is not UTF-8", Brief(key)))
        })?;
        apply(config, key, value)
    })
}

/// Frees a configuration; clusters that were given it keep a copy. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_config_free(config: *mut syncswim_config) {
    value((), || CONFIGS.remove(config).map(drop));
}

/// The discovery with this configuration.
pub(super) fn discovery(config: *const syncswim_config) -> Result<GossipDiscovery, Failure> {
    let Settings { gossip, options } = CONFIGS.get(config)?.lock().clone();
    // No other cluster of this configuration has the keyring.
    #[cfg(feature = "encryption")]
    let gossip = {
        let mut gossip = gossip;
        gossip.keyring = gossip.keyring.map(|ring| ring.detached());
        gossip
    };
    gossip.validate()?;
    Ok(GossipDiscovery::with_options(gossip, options))
}

fn apply(config: *const syncswim_config, key: &str, value: &str) -> Result<syncswim_status, Failure> {
    let config = CONFIGS.get(config)?;
    let Settings { gossip, options } = &mut *config.lock();
    options.set(gossip, key, value)?;
    Ok(SYNCSWIM_OK)
}
