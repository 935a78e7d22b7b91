//! A name server in this process, which answers as a test tells it.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpListener, UdpSocket},
    sync::Arc,
    thread::JoinHandle,
    time::Duration,
};

use parking_lot::Mutex;
use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QTYPE, RCODE, ResourceRecord, TYPE,
    rdata::{A, AAAA, CNAME, RData, SRV},
};

use crate::Stop;

/// A question that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Asked {
    pub(super) name: String,
    /// "A", "AAAA" or "SRV".
    pub(super) kind: &'static str,
    pub(super) tcp: bool,
    pub(super) edns: bool,
    bytes: Vec<u8>,
}

/// What becomes of it: bytes, or silence.
type Answer = dyn Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync;

pub(super) struct Server {
    pub(super) addr: SocketAddr,
    asked: Arc<Mutex<Vec<Asked>>>,
    stop: Stop,
    threads: Vec<JoinHandle<()>>,
}

/// Whoever asks for this over TCP gets an answer that hardly comes to its end.
pub(super) const DRIPS: &str = "drips.test";

const TICK: Duration = Duration::from_millis(5);

impl Server {
    pub(super) fn new(answer: impl Fn(&Asked) -> Vec<Vec<u8>> + Send + Sync + 'static) -> Self {
        let (udp, tcp) = pair();
        let (addr, stop, asked) =
            (udp.local_addr().unwrap(), Stop::new(), Arc::<Mutex<Vec<Asked>>>::default());
        let answer: Arc<Answer> = Arc::new(answer);
        let mut threads = Vec::new();
        let mut run = |work: Box<dyn FnOnce() + Send>| {
            threads.push(std::thread::Builder::new().name("name-server".into()).spawn(work).unwrap());
        };
        let (ends, heard, answers) = (stop.clone(), Arc::clone(&asked), Arc::clone(&answer));
        run(Box::new(move || {
            udp.set_read_timeout(Some(TICK)).unwrap();
            let mut buffer = [0; 4096];
            while !ends.is_stopped() {
                let Ok((len, from)) = udp.recv_from(&mut buffer) else { continue };
                let asked = read(&buffer[..len], false);
                heard.lock().push(asked.clone());
                answers(&asked).iter().for_each(|bytes| _ = udp.send_to(bytes, from));
            }
        }));
        let (ends, heard) = (stop.clone(), Arc::clone(&asked));
        run(Box::new(move || {
            tcp.set_nonblocking(true).unwrap();
            while !ends.wait(TICK) {
                let Ok((mut stream, _)) = tcp.accept() else { continue };
                stream.set_nonblocking(false).unwrap();
                let mut prefix = [0; 2];
                stream.read_exact(&mut prefix).unwrap();
                let mut question = vec![0; usize::from(u16::from_be_bytes(prefix))];
                stream.read_exact(&mut question).unwrap();
                let asked = read(&question, true);
                heard.lock().push(asked.clone());
                for bytes in answer(&asked) {
                    let _ = stream.write_all(&[&(bytes.len() as u16).to_be_bytes()[..], &bytes].concat());
                }
                // It announces much, and sends it little by little.
                while asked.name == DRIPS && stream.write_all(&[0xff, 0xff]).is_ok() && !ends.wait(TICK) {}
            }
        }));
        Self { addr, asked, stop, threads }
    }

    /// One that never answers.
    pub(super) fn silent() -> Self {
        Self::new(|_| Vec::new())
    }

    pub(super) fn asked(&self) -> Vec<Asked> {
        self.asked.lock().clone()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.stop();
        self.threads.drain(..).for_each(|thread| thread.join().unwrap());
    }
}

/// UDP and TCP on one port.
fn pair() -> (UdpSocket, TcpListener) {
    (0..100)
        .find_map(|_| {
            let udp = UdpSocket::bind("127.0.0.1:0").unwrap();
            let tcp = TcpListener::bind(udp.local_addr().unwrap()).ok()?;
            Some((udp, tcp))
        })
        .expect("some port is free for both")
}

fn read(bytes: &[u8], tcp: bool) -> Asked {
    let packet = Packet::parse(bytes).unwrap();
    assert!(packet.has_flags(PacketFlag::RECURSION_DESIRED) && !packet.has_flags(PacketFlag::RESPONSE));
    let [question] = &packet.questions[..] else { panic!("one question") };
    let kind = match question.qtype {
        QTYPE::TYPE(TYPE::A) => "A",
        QTYPE::TYPE(TYPE::AAAA) => "AAAA",
        QTYPE::TYPE(TYPE::SRV) => "SRV",
        other => panic!("{other:?}"),
    };
    Asked { name: question.qname.to_string(), kind, tcp, edns: packet.opt().is_some(), bytes: bytes.into() }
}

impl Asked {
    /// An answer with records as zone files have them: `owner type data`, those after `+` in the additional section.
    pub(super) fn answer(&self, zone: &[&str]) -> Vec<u8> {
        self.answer_with(zone, |_| ())
    }

    pub(super) fn answer_with(&self, zone: &[&str], change: impl FnOnce(&mut Packet<'_>)) -> Vec<u8> {
        let mut packet = Packet::parse(&self.bytes).unwrap().into_reply();
        packet.set_flags(PacketFlag::RESPONSE);
        for line in zone {
            match line.strip_prefix('+') {
                Some(line) => packet.additional_records.push(record(line)),
                None => packet.answers.push(record(line)),
            }
        }
        change(&mut packet);
        packet.build_bytes_vec().unwrap()
    }

    pub(super) fn fail(&self, code: RCODE) -> Vec<u8> {
        self.answer_with(&[], |packet| *packet.rcode_mut() = code)
    }

    pub(super) fn truncated(&self, zone: &[&str]) -> Vec<u8> {
        self.answer_with(zone, |packet| packet.set_flags(PacketFlag::TRUNCATION))
    }

    /// What a zone has for this question, a name error if it does not know the name.
    pub(super) fn answer_of(&self, zone: &[&str]) -> Vec<u8> {
        let of_name: Vec<_> = zone
            .iter()
            .filter(|line| line.split(' ').next() == Some(&self.name.to_ascii_lowercase()))
            .copied()
            .collect();
        if of_name.is_empty() {
            return self.fail(RCODE::NameError);
        }
        let fits = |line: &&&str| [Some(self.kind), Some("CNAME")].contains(&line.split(' ').nth(1));
        self.answer(&of_name.iter().filter(fits).copied().collect::<Vec<_>>())
    }
}

fn record(line: &str) -> ResourceRecord<'static> {
    let words: Vec<&str> = line.split(' ').collect();
    let name = |name: &str| Name::new(name).unwrap().into_owned();
    let rdata = match words[1] {
        "A" => RData::A(A { address: words[2].parse::<std::net::Ipv4Addr>().unwrap().to_bits() }),
        "AAAA" => RData::AAAA(AAAA { address: words[2].parse::<std::net::Ipv6Addr>().unwrap().to_bits() }),
        "CNAME" => RData::CNAME(CNAME(name(words[2]))),
        "SRV" => {
            let (port, target) = (words[2].parse().unwrap(), name(words[3]));
            RData::SRV(SRV { priority: 10, weight: 5, port, target })
        }
        other => panic!("{other}"),
    };
    ResourceRecord::new(name(words[0]), CLASS::IN, 60, rdata)
}
