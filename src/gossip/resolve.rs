//! From seeds as people write them to addresses.

use std::{
    io,
    net::{IpAddr, SocketAddr, ToSocketAddrs},
};

/// A seed, taken apart.
#[derive(Debug, PartialEq, Eq)]
enum Seed<'a> {
    Addr(SocketAddr),
    Host(&'a str, u16),
}

/// Says what is wrong with a seed that cannot be meant.
pub(super) fn check_syntax(seed: &str) -> Result<(), &'static str> {
    parse(seed, 1).map(drop)
}

/// Whether resolving it needs nobody's answer.
pub(super) fn is_literal(seed: &str) -> bool {
    matches!(parse(seed, 1), Ok(Seed::Addr(_)))
}

/// Every address of a seed; without a port of its own it gets `default_port`. May block on the resolver.
pub(super) fn resolve(seed: &str, default_port: u16) -> io::Result<Vec<SocketAddr>> {
    match parse(seed, default_port).map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))? {
        Seed::Addr(addr) => Ok(vec![addr]),
        Seed::Host(host, port) => (host, port).to_socket_addrs().map(Iterator::collect),
    }
}

fn parse(seed: &str, default_port: u16) -> Result<Seed<'_>, &'static str> {
    if let Ok(addr) = seed.parse::<SocketAddr>() {
        return if addr.port() == 0 { Err("has port 0") } else { Ok(Seed::Addr(addr)) };
    }
    let bare = seed.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(seed);
    if let Ok(ip) = bare.parse::<IpAddr>() {
        return Ok(Seed::Addr(SocketAddr::new(ip, default_port)));
    }
    let (host, port) = match seed.rsplit_once(':') {
        None => (seed, default_port),
        Some((host, port)) => (host, port.parse().ok().filter(|port| *port != 0).ok_or("has a bad port")?),
    };
    if host.is_empty() {
        return Err("has no host");
    }
    if host.contains([':', '[', ']', '/', ' ']) {
        return Err("has a bad host");
    }
    Ok(Seed::Host(host, port))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_address_is_understood() {
        let addr = |text: &str| Ok(Seed::Addr(text.parse().unwrap()));
        assert_eq!(parse("10.0.0.5:1", 9), addr("10.0.0.5:1"));
        assert_eq!(parse("10.0.0.5", 9), addr("10.0.0.5:9"));
        assert_eq!(parse("[::1]:1", 9), addr("[::1]:1"));
        assert_eq!(parse("[::1]", 9), addr("[::1]:9"));
        assert_eq!(parse("::1", 9), addr("[::1]:9"));
        assert_eq!(parse("db.example:1", 9), Ok(Seed::Host("db.example", 1)));
        assert_eq!(parse("db", 9), Ok(Seed::Host("db", 9)));
    }

    #[test]
    fn what_cannot_be_meant_is_refused() {
        for bad in ["", ":1", "db:", "db:x", "db:0", "db:70000", "10.0.0.5:0", "[::1", "a b", "http://db:1"] {
            assert!(check_syntax(bad).is_err(), "{bad:?}");
        }
    }
}
