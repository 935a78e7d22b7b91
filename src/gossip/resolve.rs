//! What is known of seeds without a look-up.

use std::{
    io,
    net::{SocketAddr, ToSocketAddrs},
};

use super::seed::Seed;
use crate::{
    Error,
    address::{Host, Target},
};

/// Refuses a text that is no seed, and says why. `field` is what it was given as.
pub(super) fn check(field: &'static str, seed: &str) -> Result<(), Error> {
    let error = |problem| Error::Config {
        field,
        problem: format!(
            "has {seed:?}, which {problem}; write host:port, host for our own port, or where else to find seeds, \
             as GossipConfig::seeds explains"
        ),
    };
    Seed::parse(seed).map(drop).map_err(error)
}

/// The address of a seed that needs no look-up.
pub(super) fn literal(seed: &str, default_port: u16) -> Option<SocketAddr> {
    match Target::parse(seed) {
        Ok(Target { host: Host::Ip(ip), port }) => Some(SocketAddr::new(ip, port.unwrap_or(default_port))),
        _ => None,
    }
}

/// The name that has to be looked up.
pub(super) fn name(seed: &str) -> Option<&str> {
    match Target::parse(seed) {
        Ok(Target { host: Host::Name(name), .. }) => Some(name),
        _ => None,
    }
}

/// Every address of a host; without a port of its own it gets `default_port`. May block on the resolver. Other seeds than
/// hosts are errors.
pub(super) fn resolve(seed: &str, default_port: u16) -> io::Result<Vec<SocketAddr>> {
    let Target { host, port } =
        Target::parse(seed).map_err(|problem| io::Error::new(io::ErrorKind::InvalidInput, problem))?;
    let port = port.unwrap_or(default_port);
    match host {
        Host::Ip(ip) => Ok(vec![SocketAddr::new(ip, port)]),
        Host::Name(host) => (host, port).to_socket_addrs().map(Iterator::collect),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_without_a_port_gets_our_own() {
        let addr = |text: &str| Some(text.parse().unwrap());
        assert_eq!(literal("10.0.0.5:1", 9), addr("10.0.0.5:1"));
        assert_eq!(literal("10.0.0.5", 9), addr("10.0.0.5:9"));
        assert_eq!(literal("::1", 9), addr("[::1]:9"));
        assert_eq!(literal("db:1", 9), None);
        assert_eq!(resolve("[::1]", 9).unwrap(), ["[::1]:9".parse().unwrap()]);
    }

    #[test]
    fn a_seed_that_cannot_be_meant_is_named_with_what_is_wrong() {
        let error = check("seeds", "db:0").unwrap_err().to_string();
        assert!(error.contains("`seeds` has \"db:0\", which has the port `0`"), "{error}");
        assert!(check("seeds", "db:1").is_ok() && resolve("db:0", 1).is_err());
    }
}
