//! Round trips per second: pings to a running node over loopback, beside a bare echo of datagrams as long.
//!
//! The pings are made by a core that takes the asking socket's address for a neighbour's; the node that answers runs as in a
//! program, with its threads and sockets. The bare echo is a thread that only receives and sends. Both are asked in turn,
//! one datagram at a time, by the same loop.

use std::{
    net::{SocketAddr, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use syncswim::{Gossip, GossipConfig, swim};

use crate::{
    peers::LOCALHOST,
    report::{Summary, Table},
    rig::{self, BEGIN},
};

type Problem = Box<dyn std::error::Error>;

pub(crate) fn table(quick: bool) -> Result<Table, Problem> {
    let (rounds, time) = if quick { (5, 200) } else { (15, 500) };
    let node = Gossip::start(GossipConfig::lan("answers").bind(LOCALHOST))?;
    let socket = UdpSocket::bind(LOCALHOST)?;
    socket.set_read_timeout(Some(Duration::from_secs(1)))?;
    let ping = ping("answers", node.local().addr, socket.local_addr()?);
    let length = round_trip(&socket, node.local().addr, &ping)?;

    let echo = UdpSocket::bind(LOCALHOST)?;
    let to = echo.local_addr()?;
    let stop = Arc::new(AtomicBool::new(false));
    let echoing = thread::spawn({
        let stop = Arc::clone(&stop);
        move || answer(&echo, length, &stop)
    });
    let (mut bare, mut ours) = (Vec::new(), Vec::new());
    for _ in 0..rounds {
        bare.push(per_second(&socket, to, &ping, Duration::from_millis(time))?);
        ours.push(per_second(&socket, node.local().addr, &ping, Duration::from_millis(time))?);
    }
    stop.store(true, Ordering::Relaxed);
    socket.send_to(&[], to)?;
    echoing.join().map_err(|_| "the echo panicked")??;
    node.abort()?;

    let mut table = Table::new(
        "Driver: round trips per second over loopback, one at a time",
        &["responder", "median", "min–max", "of the bare echo"],
    );
    let (bare, ours) = (Summary::of(&bare).ok_or("no rounds")?, Summary::of(&ours).ok_or("no rounds")?);
    for (who, Summary { median, min, max }) in [("a bare echo", bare), ("a syncswim node", ours)] {
        let share = format!("{:.0} %", median / bare.median * 100.0);
        table.row([who.to_owned(), format!("{median:.0}"), format!("{min:.0}–{max:.0}"), share]);
    }
    table.note(format!("{} bytes asked, {length} bytes answered", ping.len()));
    Ok(table)
}

/// A ping to a node of this name, from a core that knows it.
fn ping(name: &str, addr: SocketAddr, from: SocketAddr) -> Vec<u8> {
    let node = |name: &str, addr| {
        let start = swim::Start::new(addr, 1_700_000_000_000, 1);
        swim::Node::new(swim::Config::lan(name), start, BEGIN)
    };
    let (mut target, mut asker) = (node(name, addr), node("asks", from));
    rig::connect(&mut asker, &mut target, BEGIN);
    let mut bytes = Vec::new();
    loop {
        while asker.poll_transmit(&mut bytes).is_some() {
            // The tag of a ping. The first ping asks for a token and shows none; a ping of an unverified peer is answered
            // with an ack.
            if bytes.get(rig::HEADER) == Some(&1) {
                return bytes;
            }
        }
        while asker.poll_output().is_some() {}
        let now = asker.poll_timeout().expect("a member probes");
        asker.handle_timeout(now);
    }
}

fn answer(echo: &UdpSocket, length: usize, stop: &AtomicBool) -> std::io::Result<()> {
    let mut buffer = [0; 2048];
    while !stop.load(Ordering::Relaxed) {
        let (_, from) = echo.recv_from(&mut buffer)?;
        echo.send_to(&buffer[..length], from)?;
    }
    Ok(())
}

fn round_trip(socket: &UdpSocket, to: SocketAddr, ping: &[u8]) -> std::io::Result<usize> {
    let mut buffer = [0; 2048];
    socket.send_to(ping, to)?;
    Ok(socket.recv_from(&mut buffer)?.0)
}

fn per_second(socket: &UdpSocket, to: SocketAddr, ping: &[u8], time: Duration) -> std::io::Result<f64> {
    let (start, mut trips) = (Instant::now(), 0);
    while start.elapsed() < time {
        round_trip(socket, to, ping)?;
        trips += 1;
    }
    Ok(f64::from(trips) / start.elapsed().as_secs_f64())
}
