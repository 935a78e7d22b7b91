//! Seeds that are dead, silent, in files, from commands or from another discovery: real sockets, with deadlines.

mod support;

use std::{
    fs,
    net::{SocketAddr, TcpListener},
    path::PathBuf,
    time::Duration,
};

use crossbeam_channel::bounded;
use socket2::{Domain, Socket, Type};
use support::{LONG, await_that, in_time};
use syncswim::{
    BoxError, Cluster, Discovery, Error, Gossip, GossipConfig, GossipDiscovery, Membership, NoDiscovery, Stop,
};

fn config(name: &str) -> GossipConfig {
    GossipConfig::lan(name).bind(([127, 0, 0, 1], 0))
}

fn start(config: GossipConfig) -> Gossip {
    Gossip::start(config).unwrap()
}

fn addr(node: &Gossip) -> String {
    node.local().addr.to_string()
}

fn sees(node: &Gossip, count: usize) -> bool {
    node.members().live().count() == count
}

/// Accepts connections, as the system does for a process that hangs, and sends nothing.
fn hung() -> TcpListener {
    TcpListener::bind("127.0.0.1:0").unwrap()
}

/// A file that exists as long as this value.
struct File(PathBuf);

impl File {
    fn new(name: &str) -> Self {
        Self(std::env::temp_dir().join(format!("syncswim-{name}-{}", std::process::id())))
    }

    fn write(&self, text: &str) {
        fs::write(&self.0, text).unwrap();
    }

    fn seed(&self) -> String {
        format!("file:{}", self.0.display())
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _ = fs::remove_file(&self.0);
    }
}

/// Streams may take an hour, so a node that waits for dead seeds does not reach the end.
#[test]
fn forty_hung_seeds_do_not_keep_a_node_from_the_live_one() {
    let live = start(config("live"));
    let dead: Vec<_> = (0..40).map(|_| hung()).collect();
    let patient = |name| {
        let mut config = config(name);
        config.swim.stream_timeout = Duration::from_secs(3600);
        config
    };
    let mut seeds: Vec<_> = dead.iter().map(|seed| seed.local_addr().unwrap().to_string()).collect();
    seeds.push(addr(&live));
    let joiner = start(seeds.iter().fold(patient("joiner"), |config, seed| config.seed(seed)));
    await_that("the live seed is joined", || sees(&joiner, 2));
    let caller = start(patient("caller"));
    assert_eq!(in_time(move || caller.join(&seeds).unwrap()), 1);
}

#[test]
fn seeds_are_read_from_a_file_that_may_come_later_and_change() {
    let (a, b) = (start(config("a")), start(config("b")));
    let file = File::new("later");
    let mut config = config("c").seed(file.seed());
    config.swim.seed_max_delay = Duration::from_millis(100);
    let c = start(config);
    file.write(&format!("# the first\nnonsense here\n{} # a\n", addr(&a)));
    await_that("the file is read once it is there", || sees(&c, 2));
    file.write(&addr(&b));
    await_that("what it says later is tried", || sees(&c, 3));
}

#[test]
#[cfg(unix)]
fn seeds_are_read_from_the_output_of_a_command() {
    let a = start(config("a"));
    let b = start(config("b").seed(format!("exec:echo '# ours'; echo {}", addr(&a))));
    await_that("what it prints is joined", || sees(&b, 2));
    assert_eq!(start(config("c")).join([format!("exec:printf {}", addr(&a))]).unwrap(), 1);
    let error = b.join(["exec:exit 7"]).unwrap_err();
    assert!(matches!(&error, Error::Resolve { host, .. } if host == "exec:exit 7"), "{error}");
    assert!(error.report().contains("exit status: 7"), "{}", error.report());
}

#[test]
#[cfg(unix)]
fn a_stop_does_not_wait_for_a_command() {
    let file = File::new("runs");
    let node = start(config("a").seed(format!("exec:: > {}; exec sleep 1000", file.0.display())));
    await_that("it runs", || file.0.exists());
    in_time(move || node.shutdown().unwrap());
}

#[test]
fn a_join_without_seeds_or_with_an_invalid_seed_says_so() {
    let node = start(config("a"));
    let error = node.join::<&str>([]).unwrap_err().to_string();
    assert!(error.contains("nobody to join") && error.contains("host:port"), "{error}");
    let error = node.join(["http://db"]).unwrap_err().to_string();
    assert!(error.contains("\"http://db\"") && error.contains("is a URL"), "{error}");
    assert_eq!(node.join([addr(&node)]).unwrap(), 0, "oneself");
    let error = node.join(["file:/no/such/file"]).unwrap_err().report();
    assert!(error.contains("file:/no/such/file"), "{error}");
    #[cfg(not(feature = "dns-client"))]
    {
        let error = node.join(["dnssrv+_gossip._tcp.svc"]).unwrap_err().to_string();
        assert!(error.contains("feature `dns-client`"), "{error}");
    }
}

#[test]
fn an_address_that_no_node_can_have_is_refused_wherever_it_comes_from() {
    let node = start(config("a"));
    let port = node.bound_addr().port();
    let file = File::new("unspecified");
    file.write(&format!("0.0.0.0:{port}"));
    let error = node.join([file.seed()]).unwrap_err().report();
    assert!(error.contains("0.0.0.0") && error.contains("stands for every address"), "{error}");
}

#[test]
fn an_ipv4_address_in_the_form_of_ipv6_is_the_same_seed() {
    let node = start(config("a"));
    let port = node.bound_addr().port();
    assert_eq!(node.join([format!("[::ffff:127.0.0.1]:{port}")]).unwrap(), 0, "oneself");
    let b = start(config("b").seed(format!("[::ffff:127.0.0.1]:{port}")));
    await_that("it is joined", || sees(&b, 2));
}

#[test]
fn the_error_of_a_join_through_many_names_some() {
    let node = start(config("a"));
    let dead: Vec<_> = (0..20)
        .map(|_| {
            // Bound but not listening: callers are refused, and no listener of another test can take the port.
            let tcp = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            tcp.bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into()).unwrap();
            tcp
        })
        .collect();
    let addrs = dead.iter().map(|tcp| tcp.local_addr().unwrap().as_socket().unwrap().to_string());
    let error = node.join(addrs).unwrap_err();
    assert!(error.report().contains(" and 15 more: nobody listens at 127.0.0.1:"), "{}", error.report());
}

#[test]
fn peers_of_another_discovery_are_joined_whenever_it_finds_them() {
    let (a, b) = (start(config("a")), start(config("b")));
    let (find, found) = bounded::<String>(1);
    let source = move |membership: &Membership, stop: &Stop| -> Result<(), BoxError> {
        while let Ok(peer) = found.recv() {
            membership.add(["no seed at all", &peer]);
        }
        while !stop.wait(LONG) {}
        Ok(())
    };
    let discovery =
        GossipDiscovery::new(config("c")).seeds_from(source).seeds_from(NoDiscovery::new(["127.0.0.1:1"]));
    let handle = discovery.gossip();
    let running = Cluster::new().with_discovery(discovery).start().unwrap();
    let c = handle.get().unwrap();
    for (count, node) in [(2, &a), (3, &b)] {
        find.send(addr(node)).unwrap();
        await_that("what is found is joined", || sees(c, count));
    }
    // Peers of the source do not become peers of the cluster.
    let snapshot = running.membership().snapshot();
    assert!(!snapshot.peers().iter().any(|peer| &**peer == "no seed at all"), "{snapshot:?}");
    drop(find);
    running.stop();
    in_time(|| running.join()).unwrap();
}

struct Broken(&'static str);

impl Discovery for Broken {
    fn name(&self) -> std::borrow::Cow<'_, str> {
        "broken".into()
    }

    fn bind(&mut self) -> Result<(), BoxError> {
        if self.0 == "bind" { Err("no luck".into()) } else { Ok(()) }
    }

    fn start(&mut self, membership: &Membership, _: &Stop) -> Result<(), BoxError> {
        membership.add(["127.0.0.1:1"]);
        if self.0 == "start" { Err("no luck".into()) } else { Ok(()) }
    }
}

#[test]
fn a_source_of_seeds_that_fails_ends_the_cluster_with_its_error_and_one_that_only_ends_does_not() {
    let cluster =
        |how| Cluster::new().with_discovery(GossipDiscovery::new(config("a")).seeds_from(Broken(how)));
    let error = cluster("bind").start().unwrap_err().report();
    assert!(error.contains("`gossip` failed") && error.contains("`broken` failed: no luck"), "{error}");
    let running = cluster("start").start().unwrap();
    let error = in_time(|| running.join()).unwrap_err().report();
    assert!(error.contains("`broken` failed: no luck"), "{error}");
    let running = cluster("").start().unwrap();
    assert!(running.receiver().recv_timeout(Duration::from_millis(300)).unwrap_err().is_timeout());
    running.stop();
    in_time(|| running.join()).unwrap();
}
