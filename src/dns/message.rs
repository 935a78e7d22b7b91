//! Questions and answers of DNS as bytes (RFC 1035, section 4; SRV: RFC 2782; EDNS0: RFC 6891).

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
    time::Duration,
};

use simple_dns::{
    CLASS, Name, OPCODE, Packet, PacketFlag, QTYPE, Question, RCODE, ResourceRecord, TYPE,
    rdata::{OPT, RData},
};

/// The longest answer over UDP that we say we take; larger ones may be fragmented and lost.
const EDNS_SIZE: u16 = 1232;
/// Records of one answer that are looked at; more make it a partial one.
const MAX_RECORDS: usize = 1024;
/// Aliases that are followed within one answer.
pub(super) const MAX_ALIASES: usize = 8;
/// The header, and the least that a question and a record take.
const HEADER: usize = 12;
const LEAST_QUESTION: usize = 5;
const LEAST_RECORD: usize = 11;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    A,
    Aaaa,
    Srv,
}

impl Kind {
    fn code(self) -> TYPE {
        match self {
            Self::A => TYPE::A,
            Self::Aaaa => TYPE::AAAA,
            Self::Srv => TYPE::SRV,
        }
    }
}

/// The content of an answer about a name.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Records {
    pub(super) addrs: Vec<(IpAddr, Duration)>,
    pub(super) services: Vec<Service>,
    /// Addresses of services' targets that came with the answer.
    pub(super) extra: BTreeMap<String, Vec<(IpAddr, Duration)>>,
    /// The name to ask for next: the one asked for is its alias, and the answer has no record of it.
    pub(super) alias: Option<String>,
    /// Whether there may be more.
    pub(super) truncated: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Service {
    pub(super) target: String,
    pub(super) port: u16,
    pub(super) ttl: Duration,
}

/// Why a message is not accepted as an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// It is not the answer to this question: it may come yet.
    NotOurs,
    /// The server did not understand the question, perhaps because of EDNS0.
    NotUnderstood,
    /// The server failed, or refused.
    Failed(RCODE),
    /// It cannot be taken apart.
    Malformed,
}

pub(super) fn is_askable(name: &str) -> bool {
    question(0, name, Kind::A, false).is_some()
}

/// A question as bytes; `None` if the name cannot be asked for.
pub(super) fn question(id: u16, name: &str, kind: Kind, edns: bool) -> Option<Vec<u8>> {
    let mut packet = Packet::new_query(id);
    packet.set_flags(PacketFlag::RECURSION_DESIRED);
    // The library would leave an empty part out.
    let name = Name::new(name).ok().filter(|_| !name.split('.').any(str::is_empty))?;
    packet.questions.push(Question::new(name, QTYPE::TYPE(kind.code()), CLASS::IN.into(), false));
    if edns {
        *packet.opt_mut() = Some(OPT { opt_codes: Vec::new(), udp_packet_size: EDNS_SIZE, version: 0 });
    }
    packet.build_bytes_vec().ok()
}

/// Takes an answer apart.
pub(super) fn answer(bytes: &[u8], id: u16, name: &str, kind: Kind) -> Result<Records, Refusal> {
    // The parser allocates memory for the announced number of records before it reads them.
    if bytes.get(..2) != Some(&id.to_be_bytes()) {
        return Err(Refusal::NotOurs);
    }
    if !can_hold_what_it_announces(bytes) {
        return Err(Refusal::Malformed);
    }
    let packet = Packet::parse(bytes).map_err(|_| Refusal::Malformed)?;
    let is_answer = packet.has_flags(PacketFlag::RESPONSE) && packet.opcode() == OPCODE::StandardQuery;
    let is_ours = |asked: &Question<'_>| {
        text(&asked.qname).is_some_and(|asked| asked == name.to_ascii_lowercase())
            && asked.qtype == QTYPE::TYPE(kind.code())
    };
    // Servers that cannot read a question may leave it out.
    let echoes = match &packet.questions[..] {
        [asked] => is_ours(asked),
        [] => packet.rcode() == RCODE::FormatError,
        _ => false,
    };
    if !is_answer || !echoes {
        return Err(Refusal::NotOurs);
    }
    match packet.rcode() {
        RCODE::NoError => Ok(records(&packet, name, kind)),
        // There is no such name, which is an answer.
        RCODE::NameError => Ok(Records::default()),
        RCODE::FormatError | RCODE::NotImplemented | RCODE::BADVERS => Err(Refusal::NotUnderstood),
        other => Err(Refusal::Failed(other)),
    }
}

fn can_hold_what_it_announces(bytes: &[u8]) -> bool {
    let count = |at: usize| {
        bytes.get(at..at + 2).map_or(usize::MAX, |two| usize::from(two[0]) << 8 | usize::from(two[1]))
    };
    let counts = [4, 6, 8, 10].map(count);
    let [questions, records @ ..] = counts;
    bytes.len() >= HEADER
        && questions * LEAST_QUESTION + records.iter().sum::<usize>() * LEAST_RECORD <= bytes.len() - HEADER
}

fn records(packet: &Packet<'_>, name: &str, kind: Kind) -> Records {
    let mut records = Records { truncated: packet.has_flags(PacketFlag::TRUNCATION), ..Records::default() };
    records.truncated |= packet.answers.len() > MAX_RECORDS || packet.additional_records.len() > MAX_RECORDS;
    let (mut owner, mut longest) = (name.to_ascii_lowercase(), Duration::MAX);
    for _ in 0..MAX_ALIASES {
        let (mut found, mut next) = (false, None);
        for record in packet.answers.iter().take(MAX_RECORDS).filter(|record| is_of(record, &owner)) {
            let ttl = longest.min(ttl_of(record));
            match &record.rdata {
                RData::SRV(srv) if kind == Kind::Srv => {
                    found = true;
                    // The target `.` says that the service is not offered (RFC 2782).
                    if let Some(target) = text(&srv.target).filter(|target| !target.is_empty())
                        && srv.port != 0
                    {
                        records.services.push(Service { target, port: srv.port, ttl });
                    }
                }
                RData::CNAME(alias) => next = text(&alias.0).map(|alias| (alias, ttl)),
                rdata => {
                    if let Some(ip) =
                        address(rdata).filter(|ip| ip.is_ipv4() == (kind == Kind::A) && kind != Kind::Srv)
                    {
                        found = true;
                        records.addrs.push((ip, ttl));
                    }
                }
            }
        }
        match next {
            Some((alias, ttl)) if !found => {
                (owner, longest) = (alias, ttl);
                records.alias = Some(owner.clone());
            }
            _ => {
                if found {
                    records.alias = None;
                }
                break;
            }
        }
    }
    for record in packet.additional_records.iter().take(MAX_RECORDS) {
        if let (Some(ip), Some(owner)) = (address(&record.rdata), text(&record.name)) {
            records.extra.entry(owner).or_default().push((ip, ttl_of(record)));
        }
    }
    records
}

fn is_of(record: &ResourceRecord<'_>, owner: &str) -> bool {
    record.class == CLASS::IN && text(&record.name).is_some_and(|name| name == owner)
}

/// A time to live with its first bit set counts as zero (RFC 2181, section 8).
fn ttl_of(record: &ResourceRecord<'_>) -> Duration {
    Duration::from_secs(i32::try_from(record.ttl).map_or(0, i32::unsigned_abs).into())
}

fn address(rdata: &RData<'_>) -> Option<IpAddr> {
    match rdata {
        RData::A(a) => Some(Ipv4Addr::from_bits(a.address).into()),
        RData::AAAA(aaaa) => Some(Ipv6Addr::from_bits(aaaa.address).into()),
        _ => None,
    }
}

/// A name as we write it, in small letters; `None` for one that cannot be written so.
fn text(name: &Name<'_>) -> Option<String> {
    let mut text = String::new();
    for label in name.as_bytes() {
        if !text.is_empty() {
            text.push('.');
        }
        if !label.iter().all(|byte| byte.is_ascii_graphic() && *byte != b'.' && *byte != b'\\') {
            return None;
        }
        text.extend(label.iter().map(|byte| char::from(byte.to_ascii_lowercase())));
    }
    Some(text)
}
