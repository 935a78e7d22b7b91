//! The frames of one stream that a member opens to the node, or a peer that pretends to be one, cut at random.

#![no_main]

mod rig;

use libfuzzer_sys::fuzz_target;
use syncswim::swim::StreamStep;

fuzz_target!(|frames: Vec<&[u8]>| {
    for speaker in [1, 7].map(rig::speaker) {
        hear(speaker, &frames);
    }
});

fn hear(speaker: rig::Speaker, frames: &[&[u8]]) {
    let mut node = rig::node();
    let mut buffer = Vec::new();
    let mut frames = frames.iter();
    let Some(stream) = node.accept_stream(rig::BEGIN, speaker.from) else { return };
    loop {
        match node.poll_stream(rig::BEGIN, stream, &mut buffer) {
            StreamStep::Send => assert!(buffer.len() <= 32 * 1024),
            StreamStep::Close => break,
            StreamStep::Receive => {
                let Some(sections) = frames.next() else { break };
                node.handle_frame(rig::BEGIN, stream, &rig::packet(speaker, sections));
                rig::drain(&mut node);
            }
            other => panic!("{other:?}"),
        }
    }
    rig::check(&node);
}
