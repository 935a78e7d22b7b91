//! The library's own DNS look-ups, for functions that the system's resolver lacks: SRV records, times to live, whether an
//! answer is complete, and giving up at a stop.
//!
//! Owns the prefixes `dns+` and `dnssrv+`, as Thanos, Cortex and Mimir have them. Messages are taken apart by `simple-dns`;
//! all that needs it is behind the feature `dns-client`.

#[cfg(feature = "dns-client")]
mod client;
#[cfg(feature = "dns-client")]
mod conf;
#[cfg(feature = "dns-client")]
mod lookup;
#[cfg(feature = "dns-client")]
mod message;
#[cfg(all(test, feature = "dns-client"))]
mod tests;

use std::{net::IpAddr, time::Duration};

use crate::{
    address::{Host, Target},
    text::Quoted,
};

#[cfg(feature = "dns-client")]
pub(crate) use self::{conf::Conf, lookup::look_up};

/// A query: the name and the kind of records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Query {
    kind: QueryKind,
    name: String,
    /// The port of what is found; it replaces that of SRV records.
    port: Option<u16>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum QueryKind {
    /// A and AAAA records.
    Addresses,
    /// SRV records, and the addresses of their targets.
    Services,
}

/// The result of a look-up.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Lookup {
    pub(crate) found: Vec<Found>,
    /// If there may be more than was found, why.
    pub(crate) partial: Option<String>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Found {
    pub(crate) ip: IpAddr,
    pub(crate) port: Option<u16>,
    /// The time to live of the record, if known.
    pub(crate) ttl: Option<Duration>,
}

impl Query {
    /// Parses a text with one of these prefixes; `None` for any other text. The error continues a sentence that begins with
    /// the text.
    pub(crate) fn parse(text: &str) -> Option<Result<Self, String>> {
        let (prefix, rest) = text.split_once('+')?;
        let kind = match prefix {
            "dns" => QueryKind::Addresses,
            "dnssrv" => QueryKind::Services,
            "dnssrvnoa" => return Some(Err("would leave names unresolved: take `dnssrv+`".into())),
            _ => return None,
        };
        if !cfg!(feature = "dns-client") {
            return Some(Err(format!("needs the crate's feature `dns-client` for `{prefix}+`: turn it on")));
        }
        Some(Target::parse(rest).and_then(|target| match target.host {
            Host::Name(name) if !name.is_ascii() => {
                Err(format!("has {}, which DNS knows in ASCII only: write it as `xn--…`", Quoted(name)))
            }
            Host::Name(name) => Ok(Self { kind, name: name.into(), port: target.port }),
            Host::Ip(ip) => Err(format!("has the address {ip} behind `{prefix}+`, where a name belongs")),
        }))
    }
}

/// Takes an answer apart, for the fuzzer.
#[cfg(all(fuzzing, feature = "dns-client"))]
pub fn fuzz_dns_answer(kind: u8, bytes: &[u8]) {
    use message::Kind;
    let kind = [Kind::A, Kind::Aaaa, Kind::Srv][usize::from(kind % 3)];
    let id = bytes.first_chunk().map_or(0, |two| u16::from_be_bytes(*two));
    let _ = message::answer(bytes, id, "db.test", kind);
}

#[cfg(not(feature = "dns-client"))]
mod absent {
    use std::io;

    use super::{Lookup, Query};

    /// Stands in for the name servers to ask.
    #[derive(Debug, Clone, Copy, Default)]
    pub(crate) struct Conf;

    impl Conf {
        pub(crate) fn system() -> Self {
            Self
        }

        pub(crate) fn with_servers(self, _: Vec<std::net::SocketAddr>) -> Self {
            self
        }
    }

    /// No query is ever parsed here.
    pub(crate) fn look_up(_: &Query, _: &Conf, _: &dyn Fn() -> bool) -> io::Result<Lookup> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(not(feature = "dns-client"))]
pub(crate) use absent::{Conf, look_up};

#[cfg(test)]
mod query_tests {
    use super::*;

    #[test]
    fn prefixes_are_understood_where_the_feature_is_on_and_refused_with_its_name_where_not() {
        assert_eq!(Query::parse("db:1"), None);
        assert_eq!(Query::parse("http+db:1"), None);
        for text in ["dns+db:7946", "dnssrv+_gossip._tcp.svc"] {
            let parsed = Query::parse(text).unwrap();
            if cfg!(feature = "dns-client") {
                assert!(parsed.is_ok(), "{parsed:?}");
            } else {
                assert!(parsed.unwrap_err().contains("feature `dns-client`"));
            }
        }
    }

    #[test]
    #[cfg(feature = "dns-client")]
    fn a_query_has_a_kind_a_name_and_perhaps_a_port() {
        let query = |kind, name: &str, port| Some(Ok(Query { kind, name: name.into(), port }));
        assert_eq!(Query::parse("dns+db:7946"), query(QueryKind::Addresses, "db", Some(7946)));
        assert_eq!(Query::parse("dnssrv+_g._tcp.svc."), query(QueryKind::Services, "_g._tcp.svc.", None));
        for (bad, said) in [
            ("dns+10.0.0.1:1", "where a name belongs"),
            ("dnssrvnoa+_g._tcp.svc", "take `dnssrv+`"),
            ("dns+", "no host"),
            ("dns+db:0", "port 0"),
            ("dns+dns+db", "'+'"),
        ] {
            let problem = Query::parse(bad).unwrap().unwrap_err();
            assert!(problem.contains(said), "{bad}: {problem}");
        }
    }
}
