//! The control port of a `serf agent`: maps in MessagePack over TCP, to send events and queries and to be told of them.

use std::{
    io::{BufReader, Write},
    net::{SocketAddr, TcpStream},
    sync::{
        Arc, Mutex,
        mpsc::{Receiver, Sender, channel},
    },
    thread,
    time::{Duration, Instant},
};

use rmpv::{Value, decode::read_value, encode::write_value};

use super::{Asked, Heard, Problem};

/// How long the end of a query is waited for.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) struct Control {
    requests: Arc<Requests>,
    /// What is said about a query: that there is a response, or that it is done.
    about_query: Receiver<String>,
}

struct Requests(Mutex<Numbered>);

struct Numbered {
    socket: TcpStream,
    last: u64,
}

impl Control {
    /// Tells of every event that comes to the agent, and answers its queries.
    pub(super) fn connect(agent: SocketAddr, node: usize, heard: Sender<Heard>) -> Result<Self, Problem> {
        let socket = TcpStream::connect(agent)?;
        socket.set_nodelay(true)?;
        let mut said = BufReader::new(socket.try_clone()?);
        let requests = Arc::new(Requests(Mutex::new(Numbered { socket, last: 0 })));
        requests.send("handshake", vec![("Version", 1.into())])?;
        requests.send("stream", vec![("Type", "user,query".into())])?;
        let (tell, about_query) = channel();
        let answers = Arc::clone(&requests);
        thread::spawn(move || {
            while let Ok(value) = read_value(&mut said) {
                take(node, &value, &heard, &answers, &tell);
            }
        });
        Ok(Self { requests, about_query })
    }

    pub(super) fn send_event(&self, text: &str) -> Result<(), Problem> {
        // A coalesced event would wait for others of its name.
        self.requests.send(
            "event",
            vec![("Name", "peers".into()), ("Payload", text.into()), ("Coalesce", false.into())],
        )
    }

    /// With the agent's own timeout.
    pub(super) fn query(&self) -> Result<Asked, Problem> {
        let (start, mut asked) = (Instant::now(), Asked::default());
        self.requests.send("query", vec![("Name", "peers".into()), ("Payload", "".into())])?;
        loop {
            match self.about_query.recv_timeout(PATIENCE)?.as_str() {
                "response" => {
                    asked.answers += 1;
                    asked.last = start.elapsed();
                }
                "done" => return Ok(Asked { end: start.elapsed(), ..asked }),
                _ => {}
            }
        }
    }
}

/// One value is an event, a query, something about a query of ours, or the head of an answer, which tells of errors.
fn take(
    node: usize,
    value: &Value,
    heard: &Sender<Heard>,
    requests: &Requests,
    about_query: &Sender<String>,
) {
    let at = Instant::now();
    match text(value, "Event").as_deref() {
        Some("user") => {
            let text = text(value, "Payload").unwrap_or_default();
            let _ = heard.send(Heard { node, text, at });
        }
        Some("query") => {
            let id = field(value, "ID").cloned().unwrap_or(Value::Nil);
            if let Err(error) = requests.send("respond", vec![("ID", id), ("Payload", "here".into())]) {
                eprintln!("serf: {error}");
            }
        }
        _ => {}
    }
    if let Some(kind) = text(value, "Type") {
        let _ = about_query.send(kind);
    }
    if let Some(error) = text(value, "Error").filter(|error| !error.is_empty()) {
        eprintln!("serf: {error}");
    }
}

impl Requests {
    /// In one piece, so that requests of several threads do not mix.
    fn send(&self, command: &str, body: Vec<(&str, Value)>) -> Result<(), Problem> {
        let mut numbered = self.0.lock().unwrap_or_else(|e| e.into_inner());
        numbered.last += 1;
        let map = |fields: Vec<(&str, Value)>| {
            Value::Map(fields.into_iter().map(|(key, value)| (key.into(), value)).collect())
        };
        let mut bytes = Vec::new();
        write_value(&mut bytes, &map(vec![("Command", command.into()), ("Seq", numbered.last.into())]))?;
        write_value(&mut bytes, &map(body))?;
        Ok(numbered.socket.write_all(&bytes)?)
    }
}

fn field<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    value.as_map()?.iter().find_map(|(name, value)| (name.as_str() == Some(key)).then_some(value))
}

fn text(value: &Value, key: &str) -> Option<String> {
    field(value, key)?.as_slice().map(|bytes| String::from_utf8_lossy(bytes).into_owned())
}
