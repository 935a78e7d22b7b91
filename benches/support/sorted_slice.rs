//! The reference: a slice that is kept sorted, as the Go package does.

/// Adds a peer unless it is there.
pub(crate) fn insert<S: Ord>(peers: &mut Vec<S>, peer: S) {
    match peers.binary_search(&peer) {
        Ok(_) => {}
        Err(0) => {
            // Go's append grows a slice of one to exactly what is needed.
            let mut all = Vec::with_capacity(peers.len() + 1);
            all.push(peer);
            all.append(peers);
            *peers = all;
        }
        Err(at) => peers.insert(at, peer),
    }
}
