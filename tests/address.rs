//! The address that a node advertises on hosts of several kinds, each a network namespace.
//!
//! Needs `unshare` and `ip`, and the right to create namespaces; skips with a message where these are missing.

#![cfg(target_os = "linux")]

use std::{
    env, fs,
    path::{Path, PathBuf},
    process::{Command, Output},
    sync::OnceLock,
};

use syncswim::{Gossip, GossipConfig};

const NO_ROUTE: &str = "ip link set lo up";
/// One address beside loopback, in one network, without a default route.
const ONE_NETWORK: &str = "ip link set lo up; ip link add v0 type veth peer name w0; ip link set w0 up; \
                           ip addr add 10.9.0.5/24 dev v0; ip addr add fd09::5/64 dev v0 nodad; ip link set v0 up";
const SECOND_NETWORK: &str = "ip link add v1 type veth peer name w1; ip link set w1 up; \
                              ip addr add 10.10.0.5/24 dev v1; ip link set v1 up";

/// Whether this system can create such hosts.
fn hosts_can_be_made() -> bool {
    static CAN: OnceLock<bool> = OnceLock::new();
    *CAN.get_or_init(|| {
        let can = in_namespace(ONE_NETWORK, |_| {}).is_some_and(|output| output.status.success());
        if !can {
            println!("no namespaces with networks can be made here: not tested");
        }
        can
    })
}

fn in_namespace(script: &str, prepare: impl FnOnce(&mut Command)) -> Option<Output> {
    let mut command = Command::new("unshare");
    let script = format!("set -e; {script}");
    command
        .args(["--map-root-user", "--net", "--mount", "sh", "-c", &script])
        .arg(env::current_exe().unwrap());
    prepare(&mut command);
    command.output().ok()
}

/// The names that a host knows; no name server is asked. Written once, since hosts read it while others are created.
fn names() -> &'static Path {
    static FILE: OnceLock<PathBuf> = OnceLock::new();
    FILE.get_or_init(|| {
        let file = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("hosts-{}", std::process::id()));
        fs::write(&file, "127.0.0.1 localhost\n127.0.1.1 myself\n10.9.0.9 other\n").unwrap();
        file
    })
}

/// The address that a node on that host advertises, or why it does not start.
fn node(host: &str, bind: &str, advertise: &str, seeds: &str) -> String {
    let hosts = names();
    let names =
        format!("mount --bind {} /etc/hosts; mount --bind /dev/null /etc/resolv.conf", hosts.display());
    let run = "exec \"$0\" --exact a_node_of_this_host --ignored --nocapture";
    let output = in_namespace(&format!("{host}; {names}; {run}"), |command| {
        command.env("BIND", bind).env("ADVERTISE", advertise).env("SEEDS", seeds);
    });
    let output = output.unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    let result = said.lines().find_map(|line| Some(line.split_once("RESULT ")?.1.to_owned()));
    result.unwrap_or_else(|| panic!("{said}{}", String::from_utf8_lossy(&output.stderr)))
}

#[test]
#[ignore = "the others run it, each in a namespace"]
fn a_node_of_this_host() {
    let [bind, advertise, seeds] = ["BIND", "ADVERTISE", "SEEDS"].map(|name| env::var(name).unwrap());
    let mut config = GossipConfig::lan("a").bind(bind);
    config.seeds = seeds.split_whitespace().map(str::to_owned).collect();
    if !advertise.is_empty() {
        config = config.advertise(advertise);
    }
    match Gossip::start(config) {
        Ok(node) => println!("\nRESULT {}", node.local().addr.ip()),
        Err(error) => println!("\nRESULT {}", error.report()),
    }
}

#[test]
fn one_address_is_enough_without_a_route_or_a_name_server() {
    if !hosts_can_be_made() {
        return;
    }
    for seeds in
        ["not-yet:7946", "", "192.0.2.7:9", "localhost:9 192.0.2.7:9", "myself:9", "other:9 not-yet:9"]
    {
        assert_eq!(node(ONE_NETWORK, "0.0.0.0:0", "", seeds), "10.9.0.5", "{seeds:?}");
    }
    assert_eq!(node(ONE_NETWORK, "[::]:0", "", "10.9.0.9:9"), "10.9.0.5");
    assert_eq!(node(ONE_NETWORK, "[::]:0", "", "[fd09::9]:9"), "fd09::5");
}

#[test]
fn of_two_networks_the_one_of_the_seeds_is_taken_or_the_error_names_both() {
    if !hosts_can_be_made() {
        return;
    }
    let two = format!("{ONE_NETWORK}; {SECOND_NETWORK}");
    assert_eq!(node(&two, "0.0.0.0:0", "", "10.10.0.9:9"), "10.10.0.5");
    assert_eq!(node(&two, "0.0.0.0:0", "", "not-yet:9 other:9"), "10.9.0.5");
    assert_eq!(
        node(&format!("{two}; ip route add default via 10.10.0.1"), "0.0.0.0:0", "", "not-yet"),
        "10.10.0.5"
    );
    let problem = node(&two, "0.0.0.0:0", "", "not-yet:9");
    assert!(
        problem.contains("no route shows which of 10.9.0.5, 10.10.0.5 others use; set it to that"),
        "{problem}"
    );
}

#[test]
fn loopback_is_advertised_to_loopback_alone() {
    if !hosts_can_be_made() {
        return;
    }
    assert_eq!(node(NO_ROUTE, "0.0.0.0:0", "", "127.0.0.1:9"), "127.0.0.1");
    assert_eq!(node(NO_ROUTE, "0.0.0.0:0", "", "localhost:9"), "127.0.0.1");
    for seeds in ["localhost:9 192.0.2.7:9", "myself:9", "not-yet:9", "other:9", ""] {
        let problem = node(NO_ROUTE, "0.0.0.0:0", "", seeds);
        assert!(
            problem.contains("`advertise` is needed: this node is bound to 0.0.0.0:"),
            "{seeds:?} {problem}"
        );
    }
    let problem = node(ONE_NETWORK, "0.0.0.0:0", "myself", "other:9");
    assert!(problem.contains("`advertise` has \"myself\", which is 127.0.1.1 on this host"), "{problem}");
    assert_eq!(node(ONE_NETWORK, "0.0.0.0:0", "other", "not-yet"), "10.9.0.9");

    let problem = node(ONE_NETWORK, "myself:0", "", "other:9");
    assert!(problem.contains("`bind` has \"myself:0\", which is 127.0.1.1 on this host"), "{problem}");
    assert_eq!(node(ONE_NETWORK, "myself:0", "10.9.0.5", "other:9"), "10.9.0.5", "it is mapped");
    assert_eq!(node(ONE_NETWORK, "myself:0", "", "127.0.0.1:9"), "127.0.1.1");

    let problem = node(ONE_NETWORK, "127.0.0.1:0", "", "10.9.0.9:9");
    assert!(problem.contains("from where other hosts are not reached"), "{problem}");
    assert_eq!(node(ONE_NETWORK, "127.0.0.1:0", "", "10.9.0.5:9"), "127.0.0.1");
    let problem = node(ONE_NETWORK, "[::1]:0", "", "[fd09::9]:9");
    assert!(problem.contains("from where other hosts are not reached"), "{problem}");
}

#[test]
fn an_interface_may_be_named() {
    if !hosts_can_be_made() {
        return;
    }
    if cfg!(feature = "interfaces") {
        assert_eq!(node(ONE_NETWORK, "v0:0", "", ""), "10.9.0.5");
        assert_eq!(node(ONE_NETWORK, "v0", "", "[fd09::9]:9"), "fd09::5", "what speaks with the seeds");
        assert_eq!(node(ONE_NETWORK, "v0:0", "[fd09::5]", ""), "fd09::5");
        let two = format!("{ONE_NETWORK}; {SECOND_NETWORK}");
        assert_eq!(node(&two, "0.0.0.0:0", "v1", ""), "10.10.0.5");
        assert_eq!(node(&two, "[::]:0", "v0:7946", ""), "10.9.0.5");
        let problem = node(ONE_NETWORK, "w0:0", "", "");
        assert!(problem.contains("no interface of this name has an address"), "{problem}");
    } else {
        let problem = node(ONE_NETWORK, "v0:0", "", "");
        assert!(problem.contains("build with the feature `interfaces`"), "{problem}");
    }
}
