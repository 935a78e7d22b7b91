//! One datagram, unchanged and with a corrected header, from members, from senders that pretend to be members, and from
//! unverified peers.

#![no_main]

mod rig;

use libfuzzer_sys::fuzz_target;

fuzz_target!(|bytes: &[u8]| {
    for speaker in [1, 4, 7, 98, 99].map(rig::speaker) {
        let mut node = rig::node();
        node.handle_datagram(rig::BEGIN, speaker.from, bytes);
        rig::drain(&mut node);
        let before = node.metrics().datagrams_sent;
        let packet = rig::packet(speaker, bytes);
        node.handle_datagram(rig::BEGIN, speaker.from, &packet);
        rig::drain(&mut node);
        // Besides an answer and a confirmation, an unverified peer may be pinged, and one gossip round may go out.
        let fanout = node.config().gossip_fanout as u64;
        assert!(node.metrics().datagrams_sent - before <= 3 + fanout);
        rig::check(&node);
    }
});
