//! How a node stands and why a member does, as texts for people; and its flight recording.

use std::ffi::c_char;

use super::{
    cluster::{syncswim_cluster, with_gossip},
    pointer::{Buffer, Out, text},
    status::{Failure, SYNCSWIM_ERR_RANGE, SYNCSWIM_OK, c_text, status, syncswim_status},
};
use crate::Gossip;

/// Writes how the node stands into `buffer`, which has `size` bytes: one line, beginning with "starting", "joined",
/// "alone", "unreachable", "away", "displaced", "leaving" or "ended", then the number of live members, its health, what
/// hinders others from reaching it, and with a key whose clock is off, if one is. The text ends with NUL; `needed` becomes
/// how many bytes it takes with it. If it does not fit, nothing is written and the call fails with SYNCSWIM_ERR_RANGE.
///
/// # Safety
/// `buffer` must have `size` bytes, and may be NULL if `size` is 0; `needed` must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_status(
    cluster: *const syncswim_cluster,
    buffer: *mut c_char,
    size: usize,
    needed: *mut usize,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let (buffer, needed) = unsafe { (Buffer::new(buffer, size, "buffer")?, Out::new(needed, "needed")?) };
        put_text(&with_gossip(cluster, |node| node.status())?.to_string(), buffer, needed)
    })
}

/// Writes why a member stands as it does into `buffer`, which has `size` bytes, in several lines: this node's probes of
/// it, accusations, refutations and verdicts that it heard of, and its own trouble meanwhile, as far as it remembers (the
/// key "history" of the configuration). A name that is not listed is not an error: the text says so. The text ends with NUL;
/// `needed` becomes how many bytes it takes with it. If it does not fit, nothing is written and the call fails with
/// SYNCSWIM_ERR_RANGE: try again with some more than `needed`, because the next text may be longer.
///
/// # Safety
/// `member` must be a text that ends with NUL; `buffer` must have `size` bytes, and may be NULL if `size` is 0; `needed`
/// must be NULL or writable.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_explain(
    cluster: *const syncswim_cluster,
    member: *const c_char,
    buffer: *mut c_char,
    size: usize,
    needed: *mut usize,
) -> syncswim_status {
    status(|| {
        // SAFETY: as the caller of this function promises.
        let member = unsafe { text(member, "member")? };
        // SAFETY: the same.
        let (buffer, needed) = unsafe { (Buffer::new(buffer, size, "buffer")?, Out::new(needed, "needed")?) };
        put_text(&with_gossip(cluster, |node| node.explain(member))?.to_string(), buffer, needed)
    })
}

/// Records what the node is given and what it puts out to the file `path`, from now on: the latest that fits in `limit`
/// bytes, at least 1048576. What was there is renamed, with ".old" behind its name. NULL ends the recording, whatever the
/// limit. Programs run the node again from the file (docs/operating/RECORDING.md). No keys are in it, but names, addresses
/// and tags: its owner alone may read it. Fails with SYNCSWIM_ERR_SYSTEM if it cannot be written.
///
/// # Safety
/// `path` must be NULL, or a text that ends with NUL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn syncswim_cluster_record(
    cluster: *const syncswim_cluster,
    path: *const c_char,
    limit: u64,
) -> syncswim_status {
    status(|| {
        if path.is_null() {
            with_gossip(cluster, Gossip::stop_recording)?;
        } else {
            // SAFETY: as the caller of this function promises.
            let path = unsafe { text(path, "path")? };
            with_gossip(cluster, |node| node.record(path, limit))??;
        }
        Ok(SYNCSWIM_OK)
    })
}

/// Writes a text with its NUL into a caller's buffer, or says how large one has to be.
pub(super) fn put_text(text: &str, buffer: Buffer, needed: Out<usize>) -> Result<syncswim_status, Failure> {
    let text = c_text(text);
    let length = text.count_bytes() + 1;
    needed.put(length);
    if !buffer.put(&text) {
        let message = format!("the text takes {length} bytes, `buffer` has fewer");
        return Err(Failure::new(SYNCSWIM_ERR_RANGE, message));
    }
    Ok(SYNCSWIM_OK)
}
