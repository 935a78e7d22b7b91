//! The advertised address on different kinds of hosts.

use super::*;

/// A host with these addresses, which reaches others from the first address of their prefix, or by its default route.
#[derive(Default)]
struct Fake {
    own: &'static [&'static str],
    /// The source address for destinations that begin with a prefix.
    routes: &'static [(&'static str, &'static str)],
    names: &'static [(&'static str, &'static [&'static str])],
}

impl Host for Fake {
    fn source_toward(&self, to: IpAddr) -> Option<IpAddr> {
        let text = to.to_string();
        if to.is_loopback() || self.own.contains(&&*text) {
            return Some(if to.is_loopback() && to.is_ipv4() { Ipv4Addr::LOCALHOST.into() } else { to });
        }
        let is_of_family = |source: &IpAddr| source.is_ipv4() == to.is_ipv4();
        let mut routes = self.routes.iter().filter(|(prefix, _)| text.starts_with(prefix));
        routes.find_map(|(_, source)| source.parse().ok().filter(is_of_family))
    }

    fn candidates(&self) -> Vec<IpAddr> {
        self.own.iter().map(|ip| ip.parse().unwrap()).collect()
    }

    fn has(&self, ip: IpAddr) -> Option<bool> {
        Some(self.own.iter().any(|own| own.parse() == Ok(ip)))
    }

    fn look_up_limit(&self) -> Duration {
        Duration::from_millis(50)
    }

    fn look_up(&self, seed: &str, _: Instant) -> Receiver<io::Result<Vec<SocketAddr>>> {
        let Ok(Target { host: address::Host::Name(host), .. }) = Target::parse(seed) else {
            panic!("addresses need no look-up");
        };
        let (found, answer) = bounded(1);
        if host.starts_with("slow") {
            // No answer ever comes.
            std::mem::forget(found);
            return answer;
        }
        let ips = self.names.iter().find(|(name, _)| *name == host).map(|(_, ips)| *ips);
        let addrs = |ips: &[&str]| ips.iter().map(|ip| SocketAddr::new(ip.parse().unwrap(), 9)).collect();
        found.send(ips.map(addrs).ok_or_else(|| io::Error::other("there is no such name"))).unwrap();
        answer
    }
}

/// The address that a node advertises, or the error.
fn advertised(host: &Fake, bind: &str, seeds: &[&str]) -> String {
    let config = seeds.iter().fold(GossipConfig::lan("a").bind(bind), |config, seed| config.seed(*seed));
    config.validate().unwrap();
    let bound = config.bind.literal(1).unwrap();
    let chosen = choose(&config, bound, Family::of_bind(bound.ip()), host);
    chosen.map_or_else(|error| error.to_string(), |addr| addr.ip().to_string())
}

/// The usual host: an address, a default route, and its own name at 127.0.1.1 as Debian has it.
const USUAL: Fake = Fake {
    own: &["10.0.0.5"],
    routes: &[("", "10.0.0.5")],
    names: &[("myself", &["127.0.1.1"]), ("localhost", &["::1", "127.0.0.1"]), ("db", &["10.0.0.9"])],
};
const TWO_NETWORKS: Fake = Fake {
    own: &["10.0.0.5", "192.168.1.5"],
    routes: &[("192.168.", "192.168.1.5"), ("10.", "10.0.0.5")],
    names: &[("db", &["192.168.1.9"]), ("myself", &["127.0.1.1"])],
};
#[test]
fn a_gone_address_is_replaced_by_the_one_from_which_members_are_reached() {
    let forbidden: IpAddr = "10.0.0.6".parse().unwrap();
    let again = |host: &Fake, gone: &str, members: &[&str]| {
        let members = members.iter().map(|ip| ip.parse().unwrap());
        choose_again(gone.parse().unwrap(), members, |ip| ip != forbidden, host).map(|ip| ip.to_string())
    };
    assert_eq!(again(&TWO_NETWORKS, "192.168.1.4", &["192.168.1.9"]).as_deref(), Some("192.168.1.5"));
    assert_eq!(again(&USUAL, "10.0.0.4", &[]).as_deref(), Some("10.0.0.5"), "the default route");
    assert_eq!(again(&USUAL, "10.0.0.4", &["127.0.0.1"]).as_deref(), Some("10.0.0.5"), "not loopback");
    assert_eq!(again(&USUAL, "2001:db8::4", &["10.0.0.9"]), None, "others may not speak the other family");
    assert_eq!(again(&LONELY, "10.0.0.4", &["10.0.0.9"]), None, "there is none yet");
    const PARTLY: Fake = Fake { own: &[], routes: &[("10.", "10.0.0.6"), ("", "192.168.1.5")], names: &[] };
    assert_eq!(
        again(&PARTLY, "10.0.0.4", &["10.0.0.9"]).as_deref(),
        Some("192.168.1.5"),
        "not a refused one"
    );
}

const LONELY: Fake = Fake { own: &[], routes: &[], names: USUAL.names };

#[test]
fn loopback_is_advertised_only_if_every_seed_is_there() {
    for seeds in [&["127.0.0.1:9"][..], &["localhost:9"], &["LOCALHOST."], &["127.0.0.1", "localhost:9"]] {
        for host in [&USUAL, &LONELY] {
            assert_eq!(advertised(host, "0.0.0.0:1", seeds), "127.0.0.1", "{seeds:?}");
        }
    }
    assert_eq!(advertised(&LONELY, "[::]:1", &["[::1]:9"]), "::1");
    for seeds in [
        &["localhost:9", "192.0.2.7:9"][..],
        &["127.0.0.1:9", "10.0.0.9"],
        &["myself:9"],
        &["myself", "localhost"],
    ] {
        assert_eq!(advertised(&USUAL, "0.0.0.0:1", seeds), "10.0.0.5", "{seeds:?}");
        let problem = advertised(&LONELY, "0.0.0.0:1", seeds);
        assert!(
            problem.contains("`advertise` is needed: this node is bound to 0.0.0.0:1, and no route shows"),
            "{problem}"
        );
    }
    assert!(advertised(&LONELY, "0.0.0.0:1", &["not-yet:9"]).contains("`advertise` is needed"));
    assert!(advertised(&LONELY, "0.0.0.0:1", &[]).contains("bind to 127.0.0.1"));
}

#[test]
fn of_several_addresses_the_one_with_a_route_to_a_seed_is_advertised() {
    let of = |seeds: &[&str]| advertised(&TWO_NETWORKS, "0.0.0.0:1", seeds);
    assert_eq!(of(&["192.168.1.9:9"]), "192.168.1.5");
    assert_eq!(of(&["10.0.0.9"]), "10.0.0.5");
    assert_eq!(of(&["not-yet:9", "db"]), "192.168.1.5");
    assert_eq!(of(&["db", "10.0.0.9"]), "10.0.0.5", "what need not be looked up comes first");
    assert_eq!(of(&["localhost:9", "192.168.1.5:9"]), "192.168.1.5", "the seed is this host");
    let problem = of(&["not-yet:9"]);
    assert!(
        problem.contains("no route shows which of 10.0.0.5, 192.168.1.5 others use; set it"),
        "{problem}"
    );
}

#[test]
fn names_that_are_not_resolved_in_time_keep_no_node_from_its_start() {
    let slow: Vec<String> = (0..20).map(|n| format!("slow{n}:9")).collect();
    let seeds: Vec<&str> = slow.iter().map(String::as_str).collect();
    const ROUTED: Fake = Fake {
        own: &["10.0.0.5", "192.168.1.5"],
        routes: &[("192.168.", "192.168.1.5"), ("", "10.0.0.5")],
        names: &[("db", &["192.168.1.9"])],
    };
    assert_eq!(advertised(&ROUTED, "0.0.0.0:1", &seeds), "10.0.0.5", "the default route");
    let lines = crate::log_line::capture::lines(|| {
        let of = advertised(&ROUTED, "0.0.0.0:1", &["slow:9", "db"]);
        assert_eq!(of, "192.168.1.5", "the one that is known");
    });
    assert!(lines.len() == 1 && lines[0].starts_with("seed slow seed=slow:9 hint="), "{lines:?}");
}

#[test]
fn the_only_address_needs_no_route_and_no_look_up() {
    const CUT_OFF: Fake = Fake { own: &["10.0.0.5"], routes: &[], names: &[] };
    const BOTH: Fake = Fake { own: &["10.0.0.5", "fd00::5"], routes: &[], names: &[] };
    for seeds in [&["not-yet:9"][..], &["172.16.0.1:9"], &[], &["localhost:9", "not-yet"]] {
        assert_eq!(advertised(&CUT_OFF, "0.0.0.0:1", seeds), "10.0.0.5", "{seeds:?}");
        assert_eq!(advertised(&BOTH, "0.0.0.0:1", seeds), "10.0.0.5", "{seeds:?}");
        assert_eq!(advertised(&BOTH, "[::]:1", seeds), "10.0.0.5", "{seeds:?}");
    }
    assert!(advertised(&CUT_OFF, "[::]:1", &["[fd00::9]:9"]).contains("`advertise` is needed"));
    assert_eq!(advertised(&BOTH, "[::]:1", &["[fd00::9]:9"]), "fd00::5");
    assert_eq!(advertised(&BOTH, "[::]:1", &["[fd00::9]:9", "not-yet"]), "10.0.0.5");
}

#[test]
fn a_dual_stack_socket_advertises_the_family_of_its_seeds() {
    const BOTH: Fake = Fake {
        own: &["10.0.0.5", "fd00::5"],
        routes: &[("fd00:", "fd00::5"), ("2001:", "fd00::5"), ("1", "10.0.0.5")],
        names: &[("six", &["fd00::9"])],
    };
    assert_eq!(advertised(&BOTH, "[::]:1", &["10.0.0.9:9"]), "10.0.0.5");
    assert_eq!(advertised(&BOTH, "[::]:1", &["[fd00::9]:9"]), "fd00::5");
    assert_eq!(advertised(&BOTH, "[::]:1", &["six:9"]), "fd00::5");
    assert_eq!(advertised(&BOTH, "[::]:1", &[]), "10.0.0.5");
    // Members of the seed's cluster cannot send to an address of the other family.
    const HALF: Fake = Fake { own: &["10.0.0.5", "10.1.0.5"], routes: &[("", "10.0.0.5")], names: &[] };
    assert!(advertised(&HALF, "[::]:1", &["[fd00::9]:9"]).contains("`advertise` is needed"));
}

#[test]
fn a_node_on_loopback_cannot_have_all_its_seeds_on_other_hosts() {
    let problem = advertised(&USUAL, "127.0.0.1:1", &["10.0.0.9:9", "192.0.2.7"]);
    assert!(problem.contains("`bind` is 127.0.0.1:1, from where other hosts are not reached"), "{problem}");
    assert!(problem.contains("(10.0.0.9, 192.0.2.7); bind to 0.0.0.0"), "{problem}");
    for seeds in [
        &["10.0.0.5:9"][..],
        &["10.0.0.9", "127.0.0.1"],
        &["10.0.0.9", "db"],
        &["10.0.0.9", "localhost"],
        &[],
    ] {
        assert_eq!(advertised(&USUAL, "127.0.0.1:1", seeds), "127.0.0.1", "{seeds:?}");
    }
    assert_eq!(advertised(&USUAL, "10.0.0.5:1", &["10.0.0.9:9"]), "10.0.0.5");
}

#[test]
fn a_configured_address_is_advertised_with_the_bound_port_if_it_names_none() {
    let told = |bind: &str, seeds: &[&str], advertise: &str| {
        let config = GossipConfig::lan("a").bind(bind).advertise(advertise);
        let config = seeds.iter().fold(config, |config, seed| config.seed(*seed));
        let bound = config.bind.literal(1).unwrap();
        let chosen = choose(&config, bound, Family::of_bind(bound.ip()), &LONELY);
        chosen.map_or_else(|error| error.to_string(), |addr| addr.to_string())
    };
    assert_eq!(told("0.0.0.0:7", &[], "10.0.0.1:9"), "10.0.0.1:9");
    assert_eq!(told("0.0.0.0:7", &[], "10.0.0.1:0"), "10.0.0.1:7");
    assert_eq!(told("0.0.0.0:7", &[], "10.0.0.1"), "10.0.0.1:7");
    assert_eq!(told("0.0.0.0:7", &["10.0.0.9"], "127.0.0.1"), "127.0.0.1:7", "who writes it means it");
    assert_eq!(told("0.0.0.0:7", &["10.0.0.9"], "localhost"), "127.0.0.1:7");
    assert_eq!(told("127.0.0.1:7", &[], "localhost:8"), "127.0.0.1:8");
    assert_eq!(told("[::]:7", &["10.0.0.9"], "localhost"), "127.0.0.1:7", "the seeds are of IPv4");
}

#[test]
fn the_route_to_a_seed_of_a_list_counts_and_no_command_runs_before_the_node() {
    let path = std::env::temp_dir().join(format!("syncswim-advertise-{}", std::process::id()));
    let list = format!("file:{}", path.display());
    let resolve = |seed: &str| super::resolve(seed, &|| false).map(|addrs| some_of(&addrs));
    std::fs::write(&path, "no-such-host.invalid\n10.0.0.9:7946\n").unwrap();
    assert_eq!(resolve(&list).unwrap(), "10.0.0.9:7946");
    std::fs::write(&path, "localhost:1\n").unwrap();
    assert!(resolve(&list).unwrap().contains(":1"));
    std::fs::remove_file(&path).unwrap();
    assert!(resolve(&list).is_err());
    let touch = format!("exec:touch {}", path.display());
    assert!(resolve(&touch).is_err() && !path.exists());
}
