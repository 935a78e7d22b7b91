//! The status of a node and the explanation of a member's state, as texts for people; and the flight recording.

use std::ffi::c_char;

use super::{
    cluster::{syncswim_cluster, with_gossip},
    pointer::{Buffer, Out, text},
    status::{Failure, SYNCSWIM_ERR_RANGE, SYNCSWIM_OK, c_text, status, syncswim_status},
};
use crate::Gossip;

/// Writes the status of the node into `buffer`, which has `size` bytes: one line, beginning with "starting", "joined",
/// "alone", "unreachable", "away", "displaced", "leaving" or "ended"; then the number of live members, its health score,
/// what keeps others from reaching it, and with a key how many members' clocks are off and by how much, or by how much its
/// own is. After "displaced" comes the address of the node that holds its name. The text ends with NUL; `needed` becomes
/// the number of bytes that it takes with the NUL. If it does not fit, nothing is written and the call fails with
/// SYNCSWIM_ERR_RANGE.
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

/// Writes an explanation of a member's state into `buffer`, which has `size` bytes, in several lines: this node's probes of
/// the member, accusations, refutations and verdicts that it received, and its own stalls and failed probes meanwhile, as
/// far as it remembers (the key "history" of the configuration). A name that is not listed is not an error: the text says
/// so. The text ends with NUL; `needed` becomes the number of bytes that it takes with the NUL. If it does not fit, nothing
/// is written and the call fails with SYNCSWIM_ERR_RANGE: try again with some more than `needed`, because the next text may
/// be longer.
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

/// Records the node's inputs and outputs to the file `path`, from now on: the latest that fit in `limit` bytes, which
/// must be at least 1048576. An existing file is renamed, with ".old" behind its name. NULL ends the recording, whatever
/// the limit. Programs run the node again from the file (docs/operating/RECORDING.md). The file contains names, addresses
/// and tags, but no keys; only its owner may read it. Fails with SYNCSWIM_ERR_SYSTEM if it cannot be written.
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
