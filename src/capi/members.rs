//! The gossip node behind a cluster: its members, tags, leave and metrics.

use std::{
    ffi::{CString, c_char, c_int},
    mem, ptr,
};

use super::{
    cluster::{syncswim_cluster, with_gossip},
    handle::Registry,
    membership::beyond,
    pointer::{Buffer, Out, text, texts},
    report::put_text,
    status::{
        Failure, SYNCSWIM_ERR_NULL, SYNCSWIM_ERR_RANGE, SYNCSWIM_OK, c_text, status, syncswim_status, value,
    },
};
use crate::{
    Error, Filter, Gossip, Removal, Tags,
    swim::{Member, MemberState, Metrics},
    text::Quoted,
};

/// The members of a gossip cluster at one moment, this node included, by ascending name. It never changes; any
/// thread may read it, several at a time.
#[derive(Debug)]
#[allow(non_camel_case_types)]
pub struct syncswim_members {
    _private: (),
}

/// The member answers, or no member has accused it.
pub const SYNCSWIM_MEMBER_ALIVE: c_int = 0;
/// The member was accused and has some time to refute. It counts as an active peer.
pub const SYNCSWIM_MEMBER_SUSPECT: c_int = 1;
/// The member did not refute in time.
pub const SYNCSWIM_MEMBER_FAILED: c_int = 2;
/// The member left the cluster on purpose.
pub const SYNCSWIM_MEMBER_LEFT: c_int = 3;

/// One member. Set struct_size to sizeof(struct syncswim_member) before a call: no more than that is written, so
/// that later versions can append fields.
#[derive(Debug)]
#[repr(C)]
#[allow(non_camel_case_types)]
pub struct syncswim_member {
    /// The caller's sizeof.
    pub struct_size: usize,
    /// Its name. Valid until the members are freed.
    pub name: *const c_char,
    /// Its address with port, over UDP and TCP. Valid until the members are freed.
    pub addr: *const c_char,
    /// SYNCSWIM_MEMBER_ALIVE, SYNCSWIM_MEMBER_SUSPECT, SYNCSWIM_MEMBER_FAILED or SYNCSWIM_MEMBER_LEFT.
    pub state: c_int,
    /// 1 for this node itself, otherwise 0.
    pub is_local: c_int,
    /// The life of the name: milliseconds since 1970, raised above every epoch known for the name.
    pub epoch: u64,
    /// The version of what it says in that life: raised with each refutation and each change of tags.
    pub incarnation: u64,
    /// How many tags it has.
    pub tag_count: usize,
    /// The name of the member that removed it, if it left because it was removed (syncswim_cluster_remove); otherwise NULL.
    /// Valid until the members are freed.
    pub removed_by: *const c_char,
}

static MEMBERS: Registry<syncswim_members, Vec<Entry>> = Registry::new("list of members");

struct Entry {
    name: CString,
    addr: CString,
    state: c_int,
    is_local: bool,
    epoch: u64,
    incarnation: u64,
    tags: Vec<(CString, CString)>,
    removed_by: Option<CString>,
}

impl Entry {
    fn list<'a>(node: &Gossip, members: impl Iterator<Item = &'a Member>) -> Vec<Self> {
        let own = node.local().name;
        members.map(|member| Self::of(member, member.name == own)).collect()
    }

    fn of(member: &Member, is_local: bool) -> Self {
        let state = match member.state {
            MemberState::Alive => SYNCSWIM_MEMBER_ALIVE,
            MemberState::Suspect => SYNCSWIM_MEMBER_SUSPECT,
            MemberState::Failed => SYNCSWIM_MEMBER_FAILED,
            MemberState::Left => SYNCSWIM_MEMBER_LEFT,
        };
        Self {
            name: c_text(&member.name),
            addr: c_text(&member.addr.to_string()),
            state,
            is_local,
            epoch: member.identity.epoch,
            incarnation: member.identity.incarnation,
            tags: member.tags.iter().map(|(key, value)| (c_text(key), c_text(value))).collect(),
            removed_by: member.removed_by.as_deref().map(c_text),
        }
    }

    fn view(&self) -> syncswim_member {
        syncswim_member {
            struct_size: mem::size_of::<syncswim_member>(),
            name: self.name.as_ptr(),
            addr: self.addr.as_ptr(),
            state: self.state,
            is_local: c_int::from(self.is_local),
            epoch: self.epoch,
            incarnation: self.incarnation,
            tag_count: self.tags.len(),
            removed_by: self.removed_by.as_ref().map_or(ptr::null(), |name| name.as_ptr()),
        }
    }
}

/// The members at this moment. The cluster must have a gossip node and be started.
///
/// # Safety
/// `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_members(
    cluster: *const syncswim_cluster,
    out: *mut *mut syncswim_members,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let out = unsafe { Out::new(out, "out")? };
        let members = with_gossip(cluster, |node| Entry::list(node, node.members().iter()))?;
        out.put(MEMBERS.insert(members));
        Ok(SYNCSWIM_OK)
    })
}

/// The members that a filter matches, in any state. A filter is a text of conditions that all must hold, with commas between
/// them: "role=db" and "role=db|cache" for a tag's value, "version=2.*" for its beginning, "@name=a|b", "@others" for all
/// but this node, and "!" before a condition that must not hold. An empty filter matches all. SYNCSWIM_ERR_CONFIG if the
/// text is not a filter.
///
/// # Safety
/// `filter` must end with NUL; `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_members_matching(
    cluster: *const syncswim_cluster,
    filter: *const c_char,
    out: *mut *mut syncswim_members,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (filter, out) = unsafe { (text(filter, "filter")?, Out::new(out, "out")?) };
        let filter: Filter = filter.parse()?;
        let members = with_gossip(cluster, |node| Entry::list(node, node.members().matching(&filter)))?;
        out.put(MEMBERS.insert(members));
        Ok(SYNCSWIM_OK)
    })
}

/// The live members that a filter matches and whose round-trip time this node has measured: the nearest first, not in the
/// order of their names, and at most `most`. Members whose times differ by less than a millisecond or an eighth count as
/// equally near. For the filter see syncswim_cluster_members_matching, for the times syncswim_cluster_rtt.
///
/// # Safety
/// `filter` must end with NUL; `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_nearest(
    cluster: *const syncswim_cluster,
    filter: *const c_char,
    most: usize,
    out: *mut *mut syncswim_members,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (filter, out) = unsafe { (text(filter, "filter")?, Out::new(out, "out")?) };
        let filter: Filter = filter.parse()?;
        let nearest = with_gossip(cluster, |node| {
            let nearest = node.nearest(&filter, most);
            Entry::list(node, nearest.iter().map(|near| &near.member))
        })?;
        out.put(MEMBERS.insert(nearest));
        Ok(SYNCSWIM_OK)
    })
}

/// The round-trip time to a member in microseconds, and how many milliseconds ago this node measured it: the second smallest
/// time of its last four probes. If it has measured none yet, as for itself, `age_ms` becomes UINT64_MAX and `micros` 0.
/// SYNCSWIM_ERR_UNKNOWN_MEMBER if no member of that name is listed.
///
/// # Safety
/// `name` must end with NUL; `micros` and `age_ms` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_rtt(
    cluster: *const syncswim_cluster,
    name: *const c_char,
    micros: *mut u64,
    age_ms: *mut u64,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (name, micros) = unsafe { (text(name, "name")?, Out::new(micros, "micros")?) };
        // SAFETY: the same.
        let age_ms = unsafe { Out::new(age_ms, "age_ms")? };
        let known = with_gossip(cluster, |node| node.members().named(name).map(|_| node.rtt(name)))?;
        let rtt = known.ok_or_else(|| Error::UnknownMember { name: name.into() })?;
        let whole = |number: u128| u64::try_from(number).unwrap_or(u64::MAX);
        micros.put(rtt.as_ref().map_or(0, |rtt| whole(rtt.time.as_micros())));
        age_ms.put(rtt.map_or(u64::MAX, |rtt| whole(rtt.age.as_millis())));
        Ok(SYNCSWIM_OK)
    })
}

/// How many members there are; 0 if the call failed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_members_len(members: *const syncswim_members) -> usize {
    value(0, || Ok(MEMBERS.get(members)?.len()))
}

/// Writes a member into `out`, whose struct_size must be set.
///
/// # Safety
/// `out` must be NULL or have struct_size bytes.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_members_get(
    members: *const syncswim_members,
    index: usize,
    out: *mut syncswim_member,
) -> syncswim_status {
    status(|| {
        if out.is_null() {
            return Err(Failure::new(SYNCSWIM_ERR_NULL, "`out` is NULL"));
        }
        // SAFETY: not null, and the caller set the field.
        let size = unsafe { (&raw const (*out).struct_size).read() };
        if size < mem::size_of::<usize>() || size > 4096 {
            let message = format!("struct_size is {size}: set it to sizeof(struct syncswim_member)");
            return Err(Failure::new(SYNCSWIM_ERR_RANGE, message));
        }
        let members = MEMBERS.get(members)?;
        let member = entry(&members, index)?.view();
        let known = size.min(mem::size_of::<syncswim_member>());
        // SAFETY: `out` has `size` bytes, as the caller promises, and `known` is no more.
        unsafe { ptr::copy_nonoverlapping((&raw const member).cast::<u8>(), out.cast::<u8>(), known) };
        // SAFETY: the same. What the caller knows of the struct is its own.
        unsafe { (&raw mut (*out).struct_size).write(size) };
        Ok(SYNCSWIM_OK)
    })
}

/// The value of a member's tag, valid until the members are freed; NULL if it has none of that key.
///
/// # Safety
/// `key` must end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_members_tag(
    members: *const syncswim_members,
    index: usize,
    key: *const c_char,
) -> *const c_char {
    value(ptr::null(), || {
        // SAFETY: as the caller of this function promises.
        let key = unsafe { text(key, "key")? };
        let members = MEMBERS.get(members)?;
        let mut tags = entry(&members, index)?.tags.iter();
        Ok(tags
            .find(|(known, _)| known.to_bytes() == key.as_bytes())
            .map_or(ptr::null(), |tag| tag.1.as_ptr()))
    })
}

/// The key of a member's tag by its place, below tag_count, in ascending order; NULL beyond. Valid until the
/// members are freed.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_members_tag_key(
    members: *const syncswim_members,
    index: usize,
    tag: usize,
) -> *const c_char {
    value(ptr::null(), || {
        let members = MEMBERS.get(members)?;
        let tags = &entry(&members, index)?.tags;
        tags.get(tag).map(|(key, _)| key.as_ptr()).ok_or_else(|| beyond(tag, tags.len()))
    })
}

/// Frees the members and their texts. NULL does nothing.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_members_free(members: *mut syncswim_members) {
    value((), || MEMBERS.remove(members).map(drop));
}

fn entry(members: &[Entry], index: usize) -> Result<&Entry, Failure> {
    members.get(index).ok_or_else(|| beyond(index, members.len()))
}

/// Replaces the tags that this node shows to the cluster: at most 512 bytes in all, each key once, none empty, and no
/// control characters.
///
/// # Safety
/// `keys` and `values` must each have `count` texts that end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_set_tags(
    cluster: *const syncswim_cluster,
    keys: *const *const c_char,
    values: *const *const c_char,
    count: usize,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (keys, values) = unsafe { (texts(keys, count, "keys")?, texts(values, count, "values")?) };
        let tags = Tags::new(keys.into_iter().zip(values)).map_err(|error| error.in_field("tags"))?;
        with_gossip(cluster, |node| node.set_tags(tags))??;
        Ok(SYNCSWIM_OK)
    })
}

/// Contacts seeds, host:port each, and waits until the first is reached; the node tries them again later. Seeds that are
/// known beforehand are better given to the configuration, as "join".
///
/// # Safety
/// `seeds` must have `count` texts that end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_join(
    cluster: *const syncswim_cluster,
    seeds: *const *const c_char,
    count: usize,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let seeds = unsafe { texts(seeds, count, "seeds")? };
        with_gossip(cluster, |node| node.join(seeds))??;
        Ok(SYNCSWIM_OK)
    })
}

/// Leaves the cluster and waits until some members have acknowledged it, at most leave_timeout_ms; SYNCSWIM_TIMEOUT if none
/// did. The node goes on answering until the cluster is stopped, but cannot join again.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_cluster_leave(cluster: *const syncswim_cluster) -> syncswim_status {
    status(|| {
        with_gossip(cluster, |node| node.leave())??;
        Ok(SYNCSWIM_OK)
    })
}

/// Removes a failed member from the cluster, in the views of all: it counts as left, or with `reap` other than 0 it is
/// reaped at once: not listed any more, and no member tries to reach it again. A member that is in fact alive, or is
/// restarted, is listed again. SYNCSWIM_ERR_STILL_LIVE if it is live, SYNCSWIM_ERR_UNKNOWN_MEMBER if it is not listed.
///
/// # Safety
/// `name` must end with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_remove(
    cluster: *const syncswim_cluster,
    name: *const c_char,
    reap: c_int,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let name = unsafe { text(name, "name")? };
        let removal = if reap == 0 { Removal::Leave } else { Removal::Reap };
        with_gossip(cluster, |node| node.remove(name, removal))??;
        Ok(SYNCSWIM_OK)
    })
}

/// Reads one of the node's counters and gauges by its name; syncswim_metric_name lists them. Histograms are in
/// syncswim_cluster_prometheus_text alone.
///
/// # Safety
/// `name` must end with NUL; `out` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_metric(
    cluster: *const syncswim_cluster,
    name: *const c_char,
    out: *mut u64,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (name, out) = unsafe { (text(name, "name")?, Out::new(out, "out")?) };
        let metrics = with_gossip(cluster, |node| node.metrics())?;
        let found =
            metrics.iter().find(|metric| metric.name == name).and_then(|metric| metric.value.number());
        out.put(found.ok_or_else(|| unknown_metric(name))?);
        Ok(SYNCSWIM_OK)
    })
}

fn unknown_metric(name: &str) -> Failure {
    Failure::new(
        SYNCSWIM_ERR_RANGE,
        format!("no metric is called {}; syncswim_metric_name lists them", Quoted(name)),
    )
}

/// The name of a metric by its place, from 0 on; NULL beyond the last. A constant.
#[unsafe(no_mangle)]
pub extern "C" fn syncswim_metric_name(index: usize) -> *const c_char {
    static NAMES: std::sync::OnceLock<Vec<CString>> = std::sync::OnceLock::new();
    value(ptr::null(), || {
        let names = NAMES.get_or_init(|| {
            let metrics = Metrics::default();
            metrics
                .iter()
                .filter(|metric| metric.value.number().is_some())
                .map(|metric| c_text(metric.name))
                .collect()
        });
        Ok(names.get(index).map_or(ptr::null(), |name| name.as_ptr()))
    })
}

/// Writes all of the node's metrics into `buffer`, which has `size` bytes, in the text format of Prometheus, version
/// 0.0.4, with these labels on each line: what a /metrics page shows. Its Content-Type is
/// "text/plain; version=0.0.4; charset=utf-8". The text ends with NUL; `needed` becomes how many bytes it takes with it.
/// If it does not fit, nothing is written and the call fails with SYNCSWIM_ERR_RANGE: try again with some more than
/// `needed`, because the next text may be longer; 32768 bytes are enough where the labels are short. Labels that
/// Prometheus would refuse are SYNCSWIM_ERR_CONFIG.
///
/// # Safety
/// `keys` and `values` must each have `count` texts that end with NUL; `buffer` must have `size` bytes, and may be NULL
/// if `size` is 0; `needed` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_prometheus_text(
    cluster: *const syncswim_cluster,
    keys: *const *const c_char,
    values: *const *const c_char,
    count: usize,
    buffer: *mut c_char,
    size: usize,
    needed: *mut usize,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (keys, values) = unsafe { (texts(keys, count, "keys")?, texts(values, count, "values")?) };
        // SAFETY: the same.
        let (buffer, needed) = unsafe { (Buffer::new(buffer, size, "buffer")?, Out::new(needed, "needed")?) };
        let labels: Vec<_> = keys.into_iter().zip(values).collect();
        put_text(&with_gossip(cluster, |node| node.metrics())?.prometheus_text(&labels)?, buffer, needed)
    })
}
