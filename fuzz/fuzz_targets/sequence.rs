//! Any inputs in any order: datagrams, streams of either side, time, commands.

#![no_main]

mod rig;

use std::time::Duration;

use libfuzzer_sys::{
    arbitrary::{self, Arbitrary},
    fuzz_target,
};
use syncswim::swim::{Output, StreamFailure, StreamId, StreamStep};

#[derive(Debug, Arbitrary)]
enum Input<'a> {
    Datagram { from: u8, sections: &'a [u8] },
    Accept { from: u8 },
    Frame { stream: u8, sections: &'a [u8] },
    Poll { stream: u8 },
    Break { stream: u8, refused: bool },
    Time { millis: u32 },
    Join { host: u8 },
    Tags,
}

fuzz_target!(|inputs: Vec<Input<'_>>| {
    let (mut node, mut now) = (rig::node(), rig::BEGIN);
    let (mut streams, mut buffer): (Vec<StreamId>, _) = (Vec::new(), Vec::new());
    let at = |streams: &[StreamId], i: u8| streams.get(usize::from(i)).copied();
    for (i, input) in inputs.into_iter().enumerate() {
        match input {
            Input::Datagram { from, sections } => {
                let speaker = rig::speaker(from);
                node.handle_datagram(now, speaker.from, &rig::packet(speaker, sections));
            }
            Input::Accept { from } => streams.extend(node.accept_stream(now, rig::addr(from))),
            // The speaker has the stream's number.
            Input::Frame { stream: number, sections } => {
                if let Some(stream) = at(&streams, number)
                    && node.poll_stream(now, stream, &mut buffer) == StreamStep::Receive
                {
                    node.handle_frame(now, stream, &rig::packet(rig::speaker(number), sections));
                }
            }
            Input::Poll { stream } => {
                if let Some(stream) = at(&streams, stream) {
                    node.stream_began(now, stream);
                    let _ = node.poll_stream(now, stream, &mut buffer);
                }
            }
            Input::Break { stream, refused } => {
                let how = if refused { StreamFailure::Refused } else { StreamFailure::TimedOut };
                if let Some(stream) = at(&streams, stream) {
                    node.handle_stream_failure(now, stream, how);
                }
            }
            Input::Time { millis } => {
                now = now + Duration::from_millis(millis.into());
                for _ in 0..100 {
                    if node.poll_timeout().is_none_or(|at| at > now) {
                        break;
                    }
                    node.handle_timeout(now);
                    opened(&mut streams, rig::drain(&mut node));
                }
            }
            Input::Join { host } => node.join(now, i as u64, &[rig::addr(host)]),
            Input::Tags => node.set_tags(now, syncswim::Tags::new([("i", i.to_string())]).unwrap()),
        }
        opened(&mut streams, rig::drain(&mut node));
        node.audit().unwrap();
    }
    assert!(node.members().windows(2).all(|pair| pair[0].name < pair[1].name));
});

fn opened(streams: &mut Vec<StreamId>, outputs: Vec<Output>) {
    streams.extend(outputs.into_iter().filter_map(|output| match output {
        Output::OpenStream { stream, .. } => Some(stream),
        _ => None,
    }));
    streams.truncate(256);
}
