//! The frames of one stream that somebody opens to us, cut at random.

#![no_main]

mod rig;

use libfuzzer_sys::fuzz_target;
use syncswim::swim::StreamStep;

fuzz_target!(|frames: Vec<&[u8]>| {
    let mut node = rig::node();
    let mut buffer = Vec::new();
    let mut frames = frames.into_iter();
    let Some(stream) = node.accept_stream(rig::BEGIN, rig::addr(1)) else { return };
    loop {
        match node.poll_stream(rig::BEGIN, stream, &mut buffer) {
            StreamStep::Send => assert!(buffer.len() <= 32 * 1024),
            StreamStep::Close => break,
            StreamStep::Receive => {
                let Some(sections) = frames.next() else { break };
                node.handle_frame(rig::BEGIN, stream, &rig::packet(sections));
                rig::drain(&mut node);
            }
        }
    }
    rig::check(&node);
});
