//! Which name servers to ask, and how: `/etc/resolv.conf` (resolv.conf(5)).

use std::{
    fs,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, ToSocketAddrs},
    path::Path,
    time::Duration,
};

use super::message;

/// The port of name servers.
const PORT: u16 = 53;
/// The limit of resolv.conf(5).
const MAX_SERVERS: usize = 3;
const MAX_SEARCH: usize = 32;
const MAX_NDOTS: usize = 15;
const MAX_TIMEOUT: u64 = 30;
const MAX_ATTEMPTS: u32 = 5;

#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Conf {
    /// Asked in this order, each time; never none.
    pub(super) servers: Vec<SocketAddr>,
    /// Domains that are tried behind a name.
    pub(super) search: Vec<String>,
    /// Names with fewer dots are looked for in these domains first.
    pub(super) ndots: usize,
    /// The timeout of one question to one server.
    pub(super) timeout: Duration,
    /// How often all servers are asked.
    pub(super) attempts: u32,
}

impl Default for Conf {
    fn default() -> Self {
        Self {
            servers: vec![SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), PORT)],
            search: Vec::new(),
            ndots: 1,
            timeout: Duration::from_secs(5),
            attempts: 2,
        }
    }
}

impl Conf {
    /// The system's configuration at this moment; without a file, a name server on this host, as resolv.conf(5) says.
    pub(crate) fn system() -> Self {
        Self::read("/etc/resolv.conf")
    }

    /// Comments may be in any encoding.
    fn read(path: impl AsRef<Path>) -> Self {
        fs::read(path).map_or_else(|_| Self::default(), |bytes| Self::parse(&String::from_utf8_lossy(&bytes)))
    }

    /// The same with other servers, if there are any.
    pub(crate) fn with_servers(self, servers: Vec<SocketAddr>) -> Self {
        if servers.is_empty() { self } else { Self { servers, ..self } }
    }

    pub(super) fn parse(text: &str) -> Self {
        let (mut conf, mut servers) = (Self::default(), Vec::new());
        for line in text.lines().filter(|line| !line.starts_with(['#', ';'])) {
            let mut words = line.split_whitespace();
            match words.next() {
                Some("nameserver") => servers.extend(words.next().and_then(server)),
                // The last one counts.
                Some("domain") => conf.search = words.take(1).map(String::from).collect(),
                Some("search") => conf.search = words.take(MAX_SEARCH).map(String::from).collect(),
                Some("options") => words.for_each(|option| conf.set(option)),
                _ => {}
            }
        }
        servers.truncate(MAX_SERVERS);
        conf.with_servers(servers)
    }

    fn set(&mut self, option: &str) {
        let Some((key, value)) = option.split_once(':') else { return };
        let Ok(value) = value.parse::<u64>() else { return };
        match key {
            "ndots" => self.ndots = usize::try_from(value).unwrap_or(MAX_NDOTS).min(MAX_NDOTS),
            "timeout" => self.timeout = Duration::from_secs(value.clamp(1, MAX_TIMEOUT)),
            "attempts" => self.attempts = u32::try_from(value).unwrap_or(MAX_ATTEMPTS).clamp(1, MAX_ATTEMPTS),
            _ => {}
        }
    }

    /// The full names that a name may stand for, in the order in which they are tried. Names that cannot be asked for are left
    /// out, as those that `search .` of systemd-resolved makes.
    pub(super) fn candidates(&self, name: &str) -> Vec<String> {
        if let Some(absolute) = name.strip_suffix('.') {
            return vec![absolute.into()];
        }
        let behind = |domain: &String| format!("{name}.{}", domain.trim_matches('.'));
        let mut names: Vec<String> =
            self.search.iter().map(behind).filter(|name| message::is_askable(name)).collect();
        let is_full = name.matches('.').count() >= self.ndots;
        names.insert(if is_full { 0 } else { names.len() }, name.into());
        names
    }
}

/// A server's address; a link-local one has the interface behind it, as in `fe80::1%eth0` (RFC 4007, section 11).
fn server(word: &str) -> Option<SocketAddr> {
    let is_zoned = |(ip, _): (&str, &str)| ip.parse::<Ipv6Addr>().is_ok();
    if word.split_once('%').is_some_and(is_zoned) {
        // The system knows its interfaces; an address is not looked up.
        return (word, PORT).to_socket_addrs().ok()?.next();
    }
    Some(SocketAddr::new(word.parse().ok()?, PORT))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_file_of_a_pod_is_understood() {
        let conf = Conf::parse(
            "# made by somebody\nsearch shop.svc.cluster.local svc.cluster.local\nnameserver 10.96.0.10\n\
             nameserver ::1\n; more\noptions ndots:5 timeout:2 attempts:3 edns0 rotate\nnameserver nonsense\n",
        );
        let servers = ["10.96.0.10:53", "[::1]:53"].map(|addr| addr.parse().unwrap());
        assert_eq!(conf.servers, servers);
        assert_eq!((conf.ndots, conf.timeout, conf.attempts), (5, Duration::from_secs(2), 3));
        let names = ["db.shop.svc.cluster.local", "db.svc.cluster.local", "db"];
        assert_eq!(conf.candidates("db"), names);
        assert_eq!(conf.candidates("db."), ["db"]);
        assert_eq!(conf.candidates("a.b.c.d.e.f")[0], "a.b.c.d.e.f");
    }

    #[test]
    fn a_search_domain_that_makes_no_name_is_left_out() {
        let long = [&*"x".repeat(60); 4].join(".");
        let conf = |search: &str| Conf::parse(&format!("nameserver 127.0.0.53\n{search}\n"));
        for search in ["search .", "domain .", "search ..", "search a..b", &format!("search {long}")] {
            assert_eq!(
                conf(search).candidates("db-of-a-name-with-some-letters"),
                ["db-of-a-name-with-some-letters"]
            );
            assert_eq!(conf(search).candidates("db-of-a-name.with-some-letters")[1..], [""; 0]);
        }
        assert_eq!(conf("search . svc.test.").candidates("db"), ["db.svc.test", "db"]);
    }

    #[test]
    fn a_comment_in_another_encoding_hides_no_server() {
        let path = std::env::temp_dir().join(format!("syncswim-resolv-{}", std::process::id()));
        fs::write(&path, b"# B\xfcro\nnameserver 10.96.0.10\n").unwrap();
        let conf = Conf::read(&path);
        fs::remove_file(&path).unwrap();
        assert_eq!(conf.servers, ["10.96.0.10:53".parse().unwrap()]);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_server_on_the_link_has_its_interface() {
        let conf =
            Conf::parse("nameserver fe80::1%lo\nnameserver fe80::2%no-such-interface\nnameserver db%lo\n");
        let [SocketAddr::V6(server)] = conf.servers[..] else { panic!("{:?}", conf.servers) };
        assert_eq!((server.ip().to_string(), server.port()), ("fe80::1".into(), 53));
        assert_ne!(server.scope_id(), 0);
    }

    #[test]
    fn missing_options_have_the_defaults_and_absurd_ones_are_bounded() {
        assert_eq!(Conf::parse(""), Conf::default());
        assert_eq!(Conf::parse("nameserver\noptions ndots\nsearch"), Conf::default());
        let conf =
            Conf::parse("options ndots:99 timeout:0 attempts:99999999999\ndomain a\nsearch b\ndomain c d");
        assert_eq!((conf.ndots, conf.timeout, conf.attempts), (15, Duration::from_secs(1), 5));
        assert_eq!(conf.search, ["c"]);
        let many = (0..9).map(|at| format!("nameserver 10.0.0.{at}\n")).collect::<String>();
        assert_eq!(Conf::parse(&many).servers.len(), 3);
    }
}
