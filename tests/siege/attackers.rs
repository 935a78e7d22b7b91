//! The attackers: personas that speak the protocol with an encoder of their own, at addresses of their own.

use std::{
    collections::{HashMap, HashSet},
    io::{Read, Write},
    net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    thread,
    time::Duration,
};

use parking_lot::Mutex;
use socket2::{Domain, Protocol, Socket, Type};

use crate::support::forge::{self, Header, Section, Who};

/// The number of bytes that attackers sent.
pub(crate) static SENT: AtomicU64 = AtomicU64::new(0);

/// A persona at an address of its own. The system accepts streams to it, and no answer is ever sent in them.
pub(crate) struct Persona {
    pub(crate) name: String,
    pub(crate) addr: SocketAddr,
    udp: UdpSocket,
    _hangs: TcpListener,
    epoch: u64,
    incarnation: AtomicU64,
    /// The tokens that others sent to it.
    tokens: Mutex<HashMap<SocketAddr, u32>>,
    /// The names for which it answers.
    answers_to: Mutex<HashSet<String>>,
    /// Some of the packets that it received.
    pub(crate) heard: Mutex<Vec<Vec<u8>>>,
}

impl Persona {
    pub(crate) fn new(name: impl Into<String>, ip: Ipv4Addr, epoch: u64) -> Arc<Self> {
        let (hangs, udp) = loop {
            let hangs = TcpListener::bind((ip, 0)).unwrap();
            if let Ok(udp) = UdpSocket::bind(hangs.local_addr().unwrap()) {
                break (hangs, udp);
            }
        };
        udp.set_nonblocking(true).unwrap();
        let (name, addr) = (name.into(), udp.local_addr().unwrap());
        let answers_to = Mutex::new(HashSet::from([name.clone()]));
        let (tokens, heard) = (Mutex::default(), Mutex::default());
        Arc::new(Self {
            name,
            addr,
            udp,
            _hangs: hangs,
            epoch,
            incarnation: AtomicU64::new(0),
            tokens,
            answers_to,
            heard,
        })
    }

    pub(crate) fn who(&self) -> Who {
        let incarnation = self.incarnation.load(Relaxed);
        Who { name: self.name.clone(), addr: self.addr, epoch: self.epoch, incarnation }
    }

    pub(crate) fn answer_to(&self, name: &str, does: bool) {
        let mut names = self.answers_to.lock();
        if does {
            names.insert(name.into());
        } else {
            names.remove(name);
        }
    }

    pub(crate) fn header(&self, to: SocketAddr) -> Header {
        let token = self.tokens.lock().get(&to).copied().unwrap_or(0);
        Header { sender: forge::mark(&self.name), token }
    }

    pub(crate) fn is_proven_to(&self, to: SocketAddr) -> bool {
        self.tokens.lock().contains_key(&to)
    }

    /// Sends as a member: with its name and token in the header.
    pub(crate) fn say(&self, to: SocketAddr, sections: &[Section]) {
        self.send(to, &forge::packet(self.header(to), sections));
    }

    pub(crate) fn send(&self, to: SocketAddr, bytes: &[u8]) {
        if let Ok(len) = self.udp.send_to(bytes, to) {
            SENT.fetch_add(len as u64, Relaxed);
        }
    }

    /// A ping with a claim about itself behind it: its receiver answers with a token.
    pub(crate) fn introduce(&self, to: SocketAddr, name: &str) {
        let token = forge::word(forge::NEW_TOKEN, 0x0bad_cafe);
        self.say(to, &[forge::ping(1, name), token, self.who().alive()]);
    }

    /// Answers pings and stores tokens, as long as there is something to read.
    fn serve(&self, buffer: &mut [u8]) {
        while let Ok((len, from)) = self.udp.recv_from(buffer) {
            let Some((_, sections)) = forge::read(&buffer[..len]) else { continue };
            let mut heard = self.heard.lock();
            if heard.len() < 200 {
                heard.push(buffer[..len].to_vec());
            }
            drop(heard);
            for (tag, body) in &sections {
                let word = |at: usize| Some(u32::from_le_bytes(body.get(at..at + 4)?.try_into().ok()?));
                let token = match *tag {
                    forge::RETRY => word(4).filter(|token| *token != 0),
                    forge::NEW_TOKEN => word(0),
                    _ => None,
                };
                if let Some(token) = token {
                    self.tokens.lock().insert(from, token);
                }
            }
            let Some((forge::PING, ping)) = sections.first() else { continue };
            let asked = forge::target_of(ping).unwrap_or_default();
            if self.answers_to.lock().contains(asked) {
                let mut header = self.header(from);
                header.sender = forge::mark(asked);
                self.send(from, &forge::packet(header, &[(forge::ACK, ping[..4].to_vec())]));
            }
        }
    }
}

/// Lets personas answer until the end.
pub(crate) fn serve_all(personas: &Mutex<Vec<Arc<Persona>>>, over: &AtomicBool) {
    let mut buffer = vec![0; 65_536];
    while !over.load(Relaxed) {
        let all = personas.lock().clone();
        for persona in all {
            persona.serve(&mut buffer);
        }
        thread::sleep(Duration::from_millis(1));
    }
}

pub(crate) fn connect_from(source: Ipv4Addr, target: SocketAddr) -> std::io::Result<TcpStream> {
    let socket = Socket::new(Domain::IPV4, Type::STREAM, Some(Protocol::TCP))?;
    socket.bind(&SocketAddr::from((source, 0)).into())?;
    socket.connect_timeout(&target.into(), Duration::from_millis(200))?;
    Ok(socket.into())
}

/// Opens an exchange of tables from an address, under a name, and sends these claims instead of a table.
pub(crate) fn tell(
    source: Ipv4Addr,
    target: SocketAddr,
    name: &str,
    header: Header,
    claims: &[Section],
) -> std::io::Result<()> {
    let mut stream = connect_from(source, target)?;
    stream.set_read_timeout(Some(Duration::from_millis(300)))?;
    stream.set_write_timeout(Some(Duration::from_millis(300)))?;
    push(&mut stream, header, &[forge::hello(name)])?;
    loop {
        let mut len = [0; 4];
        stream.read_exact(&mut len)?;
        let mut packet = vec![0; u32::from_le_bytes(len) as usize];
        stream.read_exact(&mut packet)?;
        let (_, sections) = forge::read(&packet).unwrap();
        if sections.last().is_none_or(|(tag, _)| *tag == forge::END) {
            break;
        }
    }
    let mut from = 0;
    while from < claims.len() {
        let mut size = 0;
        let fitting = claims[from..].iter().take_while(|(_, body)| {
            size += body.len() + 3;
            size < 32_000
        });
        let to = from + fitting.count().max(1);
        push(&mut stream, header, &claims[from..to])?;
        from = to;
    }
    push(&mut stream, header, &[(forge::END, vec![])])?;
    let _ = stream.read(&mut [0; 64])?;
    Ok(())
}

fn push(stream: &mut TcpStream, header: Header, sections: &[Section]) -> std::io::Result<()> {
    let bytes = forge::frame(&forge::packet(header, sections));
    SENT.fetch_add(bytes.len() as u64, Relaxed);
    stream.write_all(&bytes)
}
