//! The forms of a seed's text.
//!
//! - `host:port`, or `host` for the port that this node binds;
//! - `dns+host:port` and `dnssrv+_service._tcp.domain` (feature `dns-client`);
//! - `file:/path`: seeds of the first two kinds, one a line;
//! - `exec:command`: the same from the output of a command.
//!
//! A list may not name lists or commands: so look-ups end, and text from elsewhere runs nothing.

use std::{
    fs::File,
    io::{self, ErrorKind, Read},
    net::SocketAddr,
    time::Duration,
};

use super::command;
use crate::{
    Error,
    address::Target,
    blocking::{SLICE, now, pause},
    dns::{self, Conf, Query},
    text::Quoted,
};

/// The longest list, in bytes.
const MAX_LIST: usize = command::MAX_OUTPUT;
/// Seeds that a list may hold; more are not read.
const MAX_LISTED: usize = 1024;
/// A file that did not change for so long is not being written.
const SETTLED: Duration = Duration::from_secs(1);

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Seed<'a> {
    Target(Target<'a>),
    Dns(Query),
    File(&'a str),
    Command(&'a str),
}

/// The result of a look-up.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Resolved {
    pub(super) addrs: Vec<SocketAddr>,
    /// Seeds of a list, which have to be resolved in turn.
    pub(super) seeds: Vec<String>,
    /// Errors in lines of a list.
    pub(super) problems: Vec<String>,
}

impl<'a> Seed<'a> {
    /// The error continues a sentence that begins with the text.
    pub(super) fn parse(text: &'a str) -> Result<Self, String> {
        match text.split_once(':') {
            // Hosts may have the names `file` and `exec`.
            Some(("file", path)) if path.contains('/') => Ok(Self::File(path)),
            Some(("file", path)) if !is_port(path) => Err(
                "has no path with a `/`; write file:/path, or file:./path for one in the working directory"
                    .into(),
            ),
            Some(("exec", command)) if command.trim().is_empty() => {
                Err("names no command to run; write exec:command".into())
            }
            Some(("exec", command)) if !is_port(command) => Ok(Self::Command(command)),
            _ => Self::parse_listed(text),
        }
    }

    /// Parses a seed that a list or a discovery may name.
    pub(super) fn parse_listed(text: &'a str) -> Result<Self, String> {
        match Query::parse(text) {
            Some(query) => query.map(Self::Dns),
            None => Target::parse(text).map(Self::Target),
        }
    }

    /// The addresses of the seed now; those without a port get `default_port`. May block for long.
    pub(super) fn resolve(&self, default_port: u16, is_stopped: &dyn Fn() -> bool) -> io::Result<Resolved> {
        match self {
            Self::Target(target) => {
                Ok(Resolved { addrs: target.resolve(default_port)?, ..Resolved::default() })
            }
            Self::Dns(query) => {
                let lookup = dns::look_up(query, &Conf::system(), is_stopped)?;
                if lookup.found.is_empty() {
                    return Err(io::Error::new(ErrorKind::NotFound, "DNS knows no address"));
                }
                let addr = |found: &dns::Found| SocketAddr::new(found.ip, found.port.unwrap_or(default_port));
                Ok(Resolved { addrs: lookup.found.iter().map(addr).collect(), ..Resolved::default() })
            }
            Self::File(path) => list(&read(path, is_stopped)?),
            Self::Command(command) => list(&command::run(command, is_stopped)?),
        }
    }

    /// What an operator can do if the seed does not resolve.
    pub(super) fn advice(&self) -> &'static str {
        match self {
            Self::Target(_) => "check the spelling and the resolver, or give an address",
            Self::Dns(_) => "check the name and the name servers in /etc/resolv.conf",
            Self::File(_) => "write the file, with one seed a line",
            Self::Command(_) => {
                "run the command by hand: it must end within 10 s, with success, and print one seed a line"
            }
        }
    }
}

/// Refuses a text that is not a seed, with the reason. `field` names its place.
pub(super) fn check(field: &'static str, seed: &str) -> Result<(), Error> {
    let error = |problem| {
        let seed = Quoted(seed);
        format!("has {seed}, which {problem}; a seed is host:port, or one of what GossipConfig::seeds lists")
    };
    Seed::parse(seed).map(drop).map_err(|problem| Error::invalid(field, error(problem)))
}

/// The address of a seed that needs no look-up.
pub(super) fn literal(seed: &str, default_port: u16) -> Option<SocketAddr> {
    Target::parse(seed).ok()?.literal(default_port)
}

fn is_port(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// The content of a file. A file that ends within a line may be half written, and a part of an address can be an
/// address, too: such a file is read once it has not changed for a second.
fn read(path: &str, is_stopped: &dyn Fn() -> bool) -> io::Result<Vec<u8>> {
    let end = now().checked_add(2 * SETTLED);
    loop {
        // Reading a pipe could block.
        if !std::fs::metadata(path)?.is_file() {
            return Err(io::Error::new(ErrorKind::InvalidInput, "it is not a regular file"));
        }
        let (file, mut bytes) = (File::open(path)?, Vec::new());
        (&file).take(MAX_LIST as u64 + 1).read_to_end(&mut bytes)?;
        if bytes.ends_with(b"\n") || has_settled(&file) {
            return Ok(bytes);
        }
        if is_stopped() || end.is_none_or(|end| now() >= end) {
            return Err(io::Error::new(
                ErrorKind::WouldBlock,
                "it is being written: its last line has no end",
            ));
        }
        pause(SLICE);
    }
}

fn has_settled(file: &File) -> bool {
    // The file may come from a host with another clock. A file whose time is not known is read at once.
    file.metadata()
        .and_then(|data| data.modified())
        .map_or(true, |changed| changed.elapsed().unwrap_or_else(|ahead| ahead.duration()) >= SETTLED)
}

/// Parses one seed a line; `#` begins a comment, in any encoding. A line that is not a seed is reported, and the others are
/// used.
fn list(bytes: &[u8]) -> io::Result<Resolved> {
    if bytes.len() > MAX_LIST {
        return Err(io::Error::new(ErrorKind::InvalidData, format!("it is longer than {MAX_LIST} bytes")));
    }
    let text = String::from_utf8_lossy(bytes);
    let mut found = Resolved::default();
    for (at, line) in text.lines().enumerate() {
        let seed = line.split('#').next().unwrap_or_default().trim();
        if seed.is_empty() {
            continue;
        }
        if found.seeds.len() == MAX_LISTED {
            found.problems.push(format!(
                "has more than {MAX_LISTED} seeds; those from line {} on are not used",
                at + 1
            ));
            break;
        }
        match Seed::parse_listed(seed) {
            Ok(_) => found.seeds.push(seed.into()),
            Err(problem) => {
                found.problems.push(format!("has {} in line {}, which {problem}", Quoted(seed), at + 1));
            }
        }
    }
    if found.seeds.is_empty() && found.problems.is_empty() {
        return Err(io::Error::new(ErrorKind::NotFound, "it names no seed"));
    }
    Ok(found)
}

#[cfg(test)]
mod tests {
    use std::time::SystemTime;

    use super::*;

    #[test]
    fn a_seed_without_a_port_gets_our_own() {
        let addr = |text: &str| Some(text.parse().unwrap());
        assert_eq!(literal("10.0.0.5:1", 9), addr("10.0.0.5:1"));
        assert_eq!(literal("10.0.0.5", 9), addr("10.0.0.5:9"));
        assert_eq!(literal("::1", 9), addr("[::1]:9"));
        assert_eq!(literal("db:1", 9), None);
        let resolved = Seed::parse("[::1]").unwrap().resolve(9, &|| false).unwrap();
        assert_eq!(resolved.addrs, ["[::1]:9".parse().unwrap()]);
    }

    #[test]
    fn an_invalid_seed_is_named_with_its_problem() {
        let error = check("seeds", "db:0").unwrap_err().to_string();
        assert!(error.contains("`seeds` has \"db:0\", which has the port 0,"), "{error}");
        assert!(check("seeds", "db:1").is_ok());
    }

    #[test]
    fn every_form_of_seed_is_understood() {
        let is_target = |text| matches!(Seed::parse(text), Ok(Seed::Target(_)));
        assert!(["db:1", "db", "[::1]:1", "10.0.0.1", "file:7946", "exec:7946"].into_iter().all(is_target));
        assert_eq!(Seed::parse("file:/etc/seeds"), Ok(Seed::File("/etc/seeds")));
        assert_eq!(Seed::parse("file:./seeds"), Ok(Seed::File("./seeds")));
        assert_eq!(Seed::parse("exec:list-nodes --dc a:b"), Ok(Seed::Command("list-nodes --dc a:b")));
        for (bad, said) in [
            ("exec: ", "no command"),
            ("exec:", "no command"),
            ("file:seeds", "no path with a `/`; write file:/path"),
            ("file:", "no path with a `/`; write file:/path"),
            ("a:1,b:1", "has a comma"),
            ("db:0", "port 0"),
        ] {
            let problem = Seed::parse(bad).unwrap_err();
            assert!(problem.contains(said), "{bad}: {problem}");
        }
        let dns = Seed::parse("dnssrv+_gossip._tcp.svc");
        assert!(if cfg!(feature = "dns-client") {
            dns.is_ok()
        } else {
            dns.unwrap_err().contains("`dns-client`")
        });
    }

    #[test]
    fn a_list_has_comments_and_a_bad_line_spoils_no_other() {
        let list =
            list(b"# B\xfcro\n\ndb-1:7946 # the first\n  db-2\nhttp://db\nfile:/etc/passwd\nexec:reboot\n")
                .unwrap();
        assert_eq!(list.seeds, ["db-1:7946", "db-2"]);
        assert_eq!(list.problems.len(), 3, "{:?}", list.problems);
        assert!(
            list.problems[0].starts_with("has \"http://db\" in line 5, which is a URL"),
            "{:?}",
            list.problems
        );
    }

    #[test]
    fn lists_are_bounded_and_an_empty_one_is_an_error() {
        assert!(list(b"# nobody\n").is_err());
        assert!(list(&[b'x'; MAX_LIST + 1]).is_err());
        let many = list(&(0..2_000).map(|at| format!("db-{at}\n")).collect::<String>().into_bytes()).unwrap();
        assert_eq!((many.seeds.len(), many.problems.len()), (MAX_LISTED, 1));
    }

    #[test]
    fn files_are_read_anew_each_time_and_may_be_missing() {
        let path = std::env::temp_dir().join(format!("syncswim-seeds-{}", std::process::id()));
        let text = format!("file:{}", path.display());
        let resolve = || Seed::parse(&text).unwrap().resolve(9, &|| false);
        assert_eq!(resolve().unwrap_err().kind(), ErrorKind::NotFound);
        for seeds in [vec!["10.0.0.1:1"], vec!["10.0.0.2", "db:1"]] {
            std::fs::write(&path, seeds.join("\n") + "\n").unwrap();
            assert_eq!(resolve().unwrap().seeds, seeds);
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_that_is_being_written_is_read_once_its_last_line_ends_or_it_is_left_alone() {
        let path = std::env::temp_dir().join(format!("syncswim-half-{}", std::process::id()));
        let text = format!("file:{}", path.display());
        let resolve = |is_stopped: &dyn Fn() -> bool| Seed::parse(&text).unwrap().resolve(9, is_stopped);
        for half in ["", "10.0.0.1", "10.0.0.1:1\n10.0.0.1"] {
            std::fs::write(&path, half).unwrap();
            let whole = || std::fs::write(&path, "10.0.0.1:1\n10.0.0.12:7946\n").is_err();
            assert_eq!(resolve(&whole).unwrap().seeds, ["10.0.0.1:1", "10.0.0.12:7946"]);
            std::fs::write(&path, half).unwrap();
            assert_eq!(resolve(&|| true).unwrap_err().kind(), ErrorKind::WouldBlock, "it is stopped");
        }
        assert_eq!(resolve(&|| false).unwrap().seeds, ["10.0.0.1:1", "10.0.0.1"], "nobody goes on writing");
        let a_century = Duration::from_secs(100 * 365 * 24 * 3600);
        for changed in [SystemTime::UNIX_EPOCH, SystemTime::UNIX_EPOCH + a_century] {
            File::options().append(true).open(&path).unwrap().set_modified(changed).unwrap();
            assert!(resolve(&|| unreachable!("nothing is waited for")).is_ok());
        }
        std::fs::remove_file(&path).unwrap();
    }

    #[test]
    fn a_file_may_be_as_long_as_a_list_and_not_a_byte_longer() {
        let path = std::env::temp_dir().join(format!("syncswim-long-seeds-{}", std::process::id()));
        let text = format!("file:{}", path.display());
        let seed = "db:1\n#";
        let resolved = [MAX_LIST, MAX_LIST + 1].map(|len| {
            std::fs::write(&path, format!("{seed}{}\n", "x".repeat(len - seed.len() - 1))).unwrap();
            Seed::parse(&text).unwrap().resolve(9, &|| false)
        });
        std::fs::remove_file(&path).unwrap();
        let [longest, longer] = resolved;
        assert_eq!(longest.unwrap().seeds, ["db:1"]);
        assert_eq!(longer.map(|resolved| resolved.seeds).unwrap_err().kind(), ErrorKind::InvalidData);
    }
}
