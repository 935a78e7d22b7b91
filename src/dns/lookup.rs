//! From a name to all addresses behind it: search domains, aliases, services and their targets.

use std::{
    io::{self, ErrorKind},
    net::IpAddr,
    time::Duration,
};

use super::{
    Conf, Found, Lookup, Query, QueryKind,
    client::Client,
    message::{Kind, MAX_ALIASES, Records, Service},
};

/// The most time for a look-up.
const MAX_TIME: Duration = Duration::from_secs(30);
/// Targets of services that are looked up; more make the answer a partial one.
const MAX_TARGETS: usize = 256;
const FAMILIES: [Kind; 2] = [Kind::A, Kind::Aaaa];

/// Looks a name up, in at most 30 s, and until told to stop. Finding nothing is not an error.
///
/// # Errors
/// That nothing was found because of something that failed.
pub(crate) fn look_up(query: &Query, conf: &Conf, is_stopped: &dyn Fn() -> bool) -> io::Result<Lookup> {
    let client = Client::new(conf, is_stopped, MAX_TIME);
    let mut failure: Option<io::Error> = None;
    for name in conf.candidates(&query.name) {
        let found = match query.kind {
            QueryKind::Addresses => addresses(&client, &name, None, FAMILIES),
            QueryKind::Services => services(&client, &name),
        };
        match found {
            Ok(mut lookup) if !lookup.found.is_empty() => {
                if let Some(port) = query.port {
                    lookup.found.iter_mut().for_each(|found| found.port = Some(port));
                }
                lookup.found.sort_unstable();
                lookup.found.dedup_by_key(|found| (found.ip, found.port));
                // The look-up of an earlier candidate failed.
                lookup.note(failure.map(|error| error.to_string()));
                return Ok(lookup);
            }
            Ok(lookup) => failure = failure.or(lookup.partial.map(io::Error::other)),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => failure = failure.or(Some(error)),
        }
    }
    failure.map_or_else(|| Ok(Lookup::default()), Err)
}

/// The addresses of these families. What one of them cannot tell makes the answer a partial one.
fn addresses(
    client: &Client<'_>,
    name: &str,
    port: Option<u16>,
    families: impl IntoIterator<Item = Kind>,
) -> io::Result<Lookup> {
    let mut lookup = Lookup::default();
    let mut failure = None;
    for kind in families {
        match follow(client, name, kind) {
            Ok(records) => {
                let found = records.addrs.iter().map(|(ip, ttl)| Found { ip: *ip, port, ttl: Some(*ttl) });
                lookup.found.extend(found);
                lookup.note(records.truncated.then(|| "the answer was truncated".into()));
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => {
                lookup.note(Some(error.to_string()));
                let is_silent = error.kind() == ErrorKind::TimedOut;
                failure = Some(error);
                // A silent server would be silent again.
                if is_silent {
                    break;
                }
            }
        }
    }
    match failure {
        Some(error) if lookup.found.is_empty() => Err(error),
        _ => Ok(lookup),
    }
}

/// Asks on where a name is an alias that the answer does not follow to its end.
fn follow(client: &Client<'_>, name: &str, kind: Kind) -> io::Result<Records> {
    let mut records = client.ask(name, kind)?;
    for _ in 0..MAX_ALIASES {
        let Some(alias) = records.alias.take() else { return Ok(records) };
        records = client.ask(&alias, kind)?;
    }
    match records.alias {
        None => Ok(records),
        Some(_) => Err(io::Error::new(ErrorKind::InvalidData, format!("{name} is an alias without end"))),
    }
}

/// The addresses of all services. Priorities and weights are ignored, as all are used. A server may send addresses of one family
/// along and leave out the other (RFC 2782, "may"; RFC 2181, section 9): that one is asked for.
fn services(client: &Client<'_>, name: &str) -> io::Result<Lookup> {
    let Records { mut services, extra, truncated, .. } = follow(client, name, Kind::Srv)?;
    let mut lookup = Lookup::default();
    lookup.note(truncated.then(|| "the answer was truncated".into()));
    services.sort_unstable_by(|a, b| (&a.target, a.port, a.ttl).cmp(&(&b.target, b.port, b.ttl)));
    services.dedup_by(|a, b| (&a.target, a.port) == (&b.target, b.port));
    if services.len() > MAX_TARGETS {
        lookup.note(Some(format!(
            "{} services are more than the {MAX_TARGETS} that are looked at",
            services.len()
        )));
        services.truncate(MAX_TARGETS);
    }
    for Service { target, port, ttl } in services {
        let along = extra.get(&target).map_or(&[][..], Vec::as_slice);
        let found =
            |(ip, own): &(IpAddr, Duration)| Found { ip: *ip, port: Some(port), ttl: Some(ttl.min(*own)) };
        lookup.found.extend(along.iter().map(found));
        let is_along = |family: Kind| along.iter().any(|(ip, _)| ip.is_ipv4() == (family == Kind::A));
        match addresses(client, &target, Some(port), FAMILIES.into_iter().filter(|kind| !is_along(*kind))) {
            Ok(of_target) => {
                let found = of_target.found.into_iter();
                lookup
                    .found
                    .extend(found.map(|found| Found { ttl: found.ttl.map(|own| own.min(ttl)), ..found }));
                lookup.note(of_target.partial);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => return Err(error),
            Err(error) => lookup.note(Some(format!("{target}: {error}"))),
        }
    }
    Ok(lookup)
}

impl Lookup {
    /// Keeps the first reason why this is not all.
    fn note(&mut self, reason: Option<String>) {
        self.partial = self.partial.take().or(reason);
    }
}
