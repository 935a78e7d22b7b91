//! Clusters: made, started, stopped, waited for.

use std::{convert::Infallible, ffi::c_char, time::Duration};

use crossbeam_channel::{Receiver, Sender, bounded};
use parking_lot::Mutex;

use super::{
    config::{self, syncswim_config},
    handle::Registry,
    membership::{MEMBERSHIPS, syncswim_membership},
    pointer::{Out, text, texts},
    status::{Failure, SYNCSWIM_ERR_STATE, SYNCSWIM_OK, SYNCSWIM_TIMEOUT, status, syncswim_status, value},
};
use crate::{Cluster, ClusterHandle, Discovery, DnsDiscovery, Gossip, GossipHandle, Membership, NoDiscovery};

/// A membership and the discoveries that fill it. Any thread may use it, several at a time; a thread that waits
/// for it does not keep others from using it.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_cluster {
    _private: (),
}

static CLUSTERS: Registry<syncswim_cluster, Object> = Registry::new("cluster");

struct Object {
    membership: Membership,
    state: Mutex<State>,
}

struct State {
    stage: Stage,
    /// The node of the gossip discovery, if there is one.
    gossip: Option<GossipHandle>,
}

enum Stage {
    New(Cluster),
    /// Sockets are being bound on another thread. The flag says whether the cluster is to stop as soon as it runs.
    Starting(bool),
    Running(ClusterHandle),
    /// A thread waits for the cluster's threads. The channel disconnects once the outcome is known.
    Ending(Receiver<Infallible>),
    /// The status and message of its failure, if it failed.
    Ended(Option<(syncswim_status, String)>),
}

/// Makes a cluster with an empty membership and no discovery.
///
/// # Safety
/// `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_new(out: *mut *mut syncswim_cluster) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let out = unsafe { Out::new(out, "out")? };
        let cluster = Cluster::new();
        let membership = cluster.membership().clone();
        let state = Mutex::new(State { stage: Stage::New(cluster), gossip: None });
        out.put(CLUSTERS.insert(Object { membership, state }));
        Ok(SYNCSWIM_OK)
    })
}

/// Adds a fixed list of peers. Before the start only, like all discoveries.
///
/// # Safety
/// `peers` must have `count` texts that end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_add_fixed(
    cluster: *const syncswim_cluster,
    peers: *const *const c_char,
    count: usize,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let peers = unsafe { texts(peers, count, "peers")? };
        add(cluster, None, NoDiscovery::new(peers))
    })
}

/// Adds the addresses of a DNS name, "host" or "host:port", looked up every `interval_ms` milliseconds; 0 stands for 30,000.
/// New addresses are added; an address that three look-ups in a row miss leaves, and is removed if the next look-up misses
/// it too. Look-ups that fail or may be incomplete do not count, and where name servers return a part of all addresses by
/// turns, no address leaves because of that. With the feature dns-client also "dns+host:port" and
/// "dnssrv+_service._tcp.domain".
///
/// # Safety
/// `name` must end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_add_dns(
    cluster: *const syncswim_cluster,
    name: *const c_char,
    interval_ms: u64,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let dns = DnsDiscovery::new(unsafe { text(name, "name")? });
        add(
            cluster,
            None,
            if interval_ms == 0 { dns } else { dns.interval(Duration::from_millis(interval_ms)) },
        )
    })
}

/// Adds a gossip node, with a copy of the configuration. At most one per cluster.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_cluster_add_gossip(
    cluster: *const syncswim_cluster,
    config: *const syncswim_config,
) -> syncswim_status {
    status(|| {
        let discovery = config::discovery(config)?;
        add(cluster, Some(discovery.gossip()), discovery)
    })
}

fn add(
    cluster: *const syncswim_cluster,
    gossip: Option<GossipHandle>,
    discovery: impl Discovery,
) -> Result<syncswim_status, Failure> {
    let object = CLUSTERS.get(cluster)?;
    let mut state = object.state.lock();
    if !matches!(state.stage, Stage::New(_)) {
        return Err(Failure::new(
            SYNCSWIM_ERR_STATE,
            "the cluster was started already: add discoveries before",
        ));
    }
    if gossip.is_some() {
        if state.gossip.is_some() {
            return Err(Failure::new(SYNCSWIM_ERR_STATE, "the cluster has a gossip node already"));
        }
        state.gossip = gossip;
    }
    if let Stage::New(cluster) = std::mem::replace(&mut state.stage, Stage::Ended(None)) {
        state.stage = Stage::New(cluster.with_discovery(discovery));
    }
    Ok(SYNCSWIM_OK)
}

/// Binds sockets and starts the threads. A cluster that cannot start has ended; free it. It starts once.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_cluster_start(cluster: *const syncswim_cluster) -> syncswim_status {
    status(|| {
        let object = CLUSTERS.get(cluster)?;
        let cluster = object.begin()?;
        let started = cluster.start();
        let mut state = object.state.lock();
        match started {
            Ok(handle) => {
                if matches!(state.stage, Stage::Starting(true)) {
                    handle.stop();
                }
                state.stage = Stage::Running(handle);
            }
            Err(error) => {
                let failure = Failure::from(error);
                state.stage = Stage::Ended(Some(failure.to_parts()));
                return Err(failure);
            }
        }
        Ok(SYNCSWIM_OK)
    })
}

/// Asks the cluster to stop and returns at once; syncswim_cluster_wait waits for the end. The node leaves the cluster unless
/// leave_on_stop is false. Before the start and after the end the call does nothing; a cluster that is being started stops
/// as soon as it runs.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_cluster_stop(cluster: *const syncswim_cluster) -> syncswim_status {
    status(|| {
        CLUSTERS.get(cluster)?.stop();
        Ok(SYNCSWIM_OK)
    })
}

/// Waits until the cluster has ended and all its threads are gone: after a stop, or because a discovery failed.
/// Returns SYNCSWIM_TIMEOUT if that takes more than `timeout_ms` milliseconds (a negative number waits for
/// ever), and the discovery's error if one ended it, at each call.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_cluster_wait(
    cluster: *const syncswim_cluster,
    timeout_ms: i64,
) -> syncswim_status {
    status(|| {
        let object = CLUSTERS.get(cluster)?;
        let finished = match &object.state.lock().stage {
            Stage::New(_) | Stage::Starting(_) => {
                return Err(Failure::new(SYNCSWIM_ERR_STATE, "the cluster was not started"));
            }
            Stage::Running(handle) => Some(handle.receiver().clone()),
            Stage::Ending(ended) => Some(ended.clone()),
            Stage::Ended(_) => None,
        };
        let limit = super::limit(timeout_ms);
        if finished
            .is_some_and(|finished| finished.recv_timeout(limit).is_err_and(|error| error.is_timeout()))
        {
            return Ok(SYNCSWIM_TIMEOUT);
        }
        object.end()?;
        Ok(SYNCSWIM_OK)
    })
}

/// Stops the cluster, waits for its threads and frees it; if another thread is starting it, that start ends. Its
/// memberships, snapshots and watches stay valid; the watches report SYNCSWIM_CLOSED. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_cluster_free(cluster: *mut syncswim_cluster) {
    value((), || {
        let Some(object) = CLUSTERS.remove(cluster)? else { return Ok(()) };
        if let Some(finished) = object.stop() {
            let _ = finished.recv();
        }
        object.end()
    });
}

impl Object {
    fn begin(&self) -> Result<Cluster, Failure> {
        let mut state = self.state.lock();
        match std::mem::replace(&mut state.stage, Stage::Starting(false)) {
            Stage::New(cluster) => Ok(cluster),
            started => {
                state.stage = started;
                Err(Failure::new(SYNCSWIM_ERR_STATE, "the cluster was started already: make a new one"))
            }
        }
    }

    /// Asks a running cluster to stop. The channel that it returns disconnects at the end.
    fn stop(&self) -> Option<Receiver<Infallible>> {
        match &mut self.state.lock().stage {
            Stage::Running(handle) => {
                handle.stop();
                Some(handle.receiver().clone())
            }
            Stage::Starting(stop) => {
                *stop = true;
                None
            }
            Stage::Ending(ended) => Some(ended.clone()),
            Stage::New(_) | Stage::Ended(_) => None,
        }
    }

    /// Stores and returns the outcome of a cluster that has finished.
    fn end(&self) -> Result<(), Failure> {
        self.join();
        match &self.state.lock().stage {
            Stage::Ended(Some((status, message))) => Err(Failure::new(*status, message.clone())),
            _ => Ok(()),
        }
    }

    /// Waits for the threads of a running cluster, under no lock. Other callers wait for the outcome meanwhile.
    fn join(&self) {
        let (done, ended) = bounded(0);
        let mut state = self.state.lock();
        match std::mem::replace(&mut state.stage, Stage::Ending(ended)) {
            Stage::Running(handle) => {
                drop(state);
                let failure = handle.join().err().map(|error| Failure::from(error).to_parts());
                self.state.lock().stage = Stage::Ended(failure);
                drop::<Sender<Infallible>>(done);
            }
            Stage::Ending(ended) => {
                state.stage = Stage::Ending(ended.clone());
                drop(state);
                let _ = ended.recv();
            }
            other => state.stage = other,
        }
    }
}

/// Another handle of the cluster's membership, which the caller frees. Reports through it are the application's.
///
/// # Safety
/// `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_membership(
    cluster: *const syncswim_cluster,
    out: *mut *mut syncswim_membership,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let out = unsafe { Out::new(out, "out")? };
        out.put(MEMBERSHIPS.insert(CLUSTERS.get(cluster)?.membership.clone()));
        Ok(SYNCSWIM_OK)
    })
}

/// Gives the cluster's gossip node to `use_node`, under no lock.
pub(super) fn with_gossip<R>(
    cluster: *const syncswim_cluster,
    use_node: impl FnOnce(&Gossip) -> R,
) -> Result<R, Failure> {
    let object = CLUSTERS.get(cluster)?;
    let handle = object.state.lock().gossip.clone();
    let handle = handle.ok_or_else(|| Failure::new(SYNCSWIM_ERR_STATE, "the cluster has no gossip node"))?;
    let node = handle.get();
    node.map(use_node).ok_or_else(|| Failure::new(SYNCSWIM_ERR_STATE, "the cluster is not running yet"))
}
