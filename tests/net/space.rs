//! Network namespaces: a switch, its hosts, and the rules that drop packets.
//!
//! Owns what `ip` and `nft` create, and removes it when dropped. Each scenario has a network of its own, so all can use the
//! same addresses at the same time.

use std::{
    cell::Cell,
    fmt,
    io::Write,
    net::Ipv4Addr,
    process::{Command, Stdio},
};

/// The port of every node.
pub(crate) const PORT: u16 = 7946;

/// Why a scenario could not be set up: says nothing about the library.
#[derive(Debug)]
pub(crate) struct Problem(pub(crate) String);

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl From<std::io::Error> for Problem {
    fn from(error: std::io::Error) -> Self {
        Self(error.to_string())
    }
}

/// Runs a program with `input`, and returns what it printed.
pub(crate) fn run(program: &str, args: &[&str], input: &str) -> Result<String, Problem> {
    let problem = |error: &dyn fmt::Display| Problem(format!("`{program} {}`: {error}", args.join(" ")));
    let mut child = Command::new(program)
        .args(args)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| problem(&error))?;
    child.stdin.take().expect("it is piped").write_all(input.as_bytes())?;
    let output = child.wait_with_output()?;
    if output.status.success() {
        Ok(String::from_utf8_lossy(&output.stdout).into_owned())
    } else {
        Err(problem(&String::from_utf8_lossy(&output.stderr).trim()))
    }
}

/// Runs `ip` with these words.
pub(crate) fn ip(words: &str) -> Result<String, Problem> {
    run("ip", &words.split_whitespace().collect::<Vec<_>>(), "")
}

/// One network namespace.
#[derive(Debug)]
pub(crate) struct Space {
    pub(crate) name: String,
}

impl Space {
    pub(crate) fn new(name: String) -> Result<Self, Problem> {
        ip(&format!("netns add {name}"))?;
        Ok(Self { name })
    }

    /// `ip` inside of it.
    pub(crate) fn ip(&self, words: &str) -> Result<String, Problem> {
        ip(&format!("-n {} {words}", self.name))
    }

    /// Adds rules: the text of `nft -f`, with each closing brace on a line of its own.
    pub(crate) fn nft(&self, rules: &str) -> Result<(), Problem> {
        run("ip", &["netns", "exec", &self.name, "nft", "-f", "-"], rules).map(drop)
    }

    /// Sets a parameter of its kernel, which the kernel may lack.
    pub(crate) fn sysctl(&self, key: &str, value: u8) -> Result<(), Problem> {
        let script = format!("[ ! -e /proc/sys/{key} ] || echo {value} > /proc/sys/{key}");
        run("ip", &["netns", "exec", &self.name, "sh", "-c", &script], "").map(drop)
    }

    /// Passes packets on, whichever way they come in.
    fn route(&self) -> Result<(), Problem> {
        self.sysctl("net/ipv4/ip_forward", 1)?;
        for name in ["all", "default"] {
            self.sysctl(&format!("net/ipv4/conf/{name}/rp_filter"), 0)?;
            self.sysctl(&format!("net/ipv4/conf/{name}/send_redirects"), 0)?;
        }
        // Bridged packets must not pass the router's filters.
        self.sysctl("net/bridge/bridge-nf-call-iptables", 0)
    }
}

impl Drop for Space {
    fn drop(&mut self) {
        // If it cannot be removed, nothing more can be done; it holds no other resource.
        let _ = ip(&format!("netns del {}", self.name));
    }
}

/// A switch (10.77.0.254/24) that also routes, and its hosts.
#[derive(Debug)]
pub(crate) struct Net {
    prefix: String,
    pub(crate) switch: Space,
    hosts: Cell<u8>,
    ports: Cell<u32>,
}

/// A host: one namespace with an address of its own at `eth0`.
#[derive(Debug)]
pub(crate) struct Host {
    pub(crate) space: Space,
    pub(crate) addr: Ipv4Addr,
}

impl Net {
    /// `label` distinguishes networks of one process.
    pub(crate) fn new(label: &str) -> Result<Self, Problem> {
        let prefix = format!("lab{}-{label}", std::process::id());
        let switch = Space::new(format!("{prefix}-switch"))?;
        switch.route()?;
        switch.ip("link set lo up")?;
        let net = Self { prefix, switch, hosts: Cell::new(0), ports: Cell::new(0) };
        net.bridge(0)?;
        Ok(net)
    }

    /// Another network, 10.(77 + n).0.0/24, with a bridge of its own.
    pub(crate) fn bridge(&self, n: u8) -> Result<(), Problem> {
        self.switch.ip(&format!("link add br{n} type bridge"))?;
        self.switch.ip(&format!("link set br{n} up"))?;
        self.switch.ip(&format!("addr add 10.{}.0.254/24 dev br{n}", 77 + n)).map(drop)
    }

    /// A host with the next address, which reaches all others.
    pub(crate) fn host(&self) -> Result<Host, Problem> {
        let host = self.bare()?;
        host.space.ip("link set lo up")?;
        self.plug(&host, 0)?;
        host.space.ip("route add default via 10.77.0.254")?;
        Ok(host)
    }

    /// A host that sends all its packets through the switch, where the relay is.
    pub(crate) fn routed(&self) -> Result<Host, Problem> {
        let host = self.bare()?;
        host.space.ip("link set lo up")?;
        self.cable(&host.space, 0, "eth0")?;
        host.space.ip(&format!("addr add {}/32 dev eth0", host.addr))?;
        host.space.ip("route add 10.77.0.254 dev eth0")?;
        host.space.ip("route add default via 10.77.0.254 dev eth0")?;
        Ok(host)
    }

    /// A host with the next address, but without a network and with its loopback interface down, as the kernel creates it.
    pub(crate) fn bare(&self) -> Result<Host, Problem> {
        let n = self.hosts.get() + 1;
        self.hosts.set(n);
        let space = Space::new(format!("{}-{n}", self.prefix))?;
        Ok(Host { space, addr: Ipv4Addr::new(10, 77, 0, n) })
    }

    /// Gives a host an interface in network `n`, with the same last byte of the address in each.
    pub(crate) fn plug(&self, host: &Host, n: u8) -> Result<Ipv4Addr, Problem> {
        let [.., last] = host.addr.octets();
        let addr = Ipv4Addr::new(10, 77 + n, 0, last);
        self.cable(&host.space, n, &format!("eth{n}"))?;
        host.space.ip(&format!("addr add {addr}/24 dev eth{n}"))?;
        Ok(addr)
    }

    /// What is larger than this vanishes on the way to and from a host that has its first cable at bridge 0.
    pub(crate) fn narrow(&self, host: &Host, mtu: u16) -> Result<(), Problem> {
        self.switch.ip(&format!("link set p{} mtu {mtu}", host.addr.octets()[3] - 1)).map(drop)
    }

    /// A cable from bridge `n` to an interface, without an address.
    fn cable(&self, space: &Space, n: u8, interface: &str) -> Result<(), Problem> {
        let port = self.ports.get();
        self.ports.set(port + 1);
        let (there, switch) = (&space.name, &self.switch.name);
        ip(&format!("link add {interface} netns {there} type veth peer name p{port} netns {switch}"))?;
        self.switch.ip(&format!("link set p{port} master br{n} up"))?;
        space.ip(&format!("link set {interface} up")).map(drop)
    }

    /// A host behind a router that maps one port of these protocols, as `docker -p OUTER:PORT` does: others reach it at the
    /// returned address, and its packets leave from the router's, from any port.
    pub(crate) fn mapped(&self, outer: u16, protocols: &str) -> Result<(Host, Space, Ipv4Addr), Problem> {
        let router = self.host()?;
        let n = router.addr.octets()[3];
        let host = self.bare()?;
        let (space, there) = (host.space, &router.space.name);
        space.ip("link set lo up")?;
        ip(&format!("link add eth0 netns {} type veth peer name in0 netns {there}", space.name))?;
        router.space.ip("link set in0 up")?;
        router.space.ip(&format!("addr add 172.16.{n}.1/24 dev in0"))?;
        space.ip("link set eth0 up")?;
        space.ip(&format!("addr add 172.16.{n}.2/24 dev eth0"))?;
        space.ip(&format!("route add default via 172.16.{n}.1"))?;
        router.space.route()?;
        router.space.nft(&format!(
            "table ip nat {{
                chain in {{
                    type nat hook prerouting priority dstnat;
                    iifname eth0 meta l4proto {{ {protocols} }} th dport {outer} dnat to 172.16.{n}.2:{PORT}
                }}
                chain out {{
                    type nat hook postrouting priority srcnat;
                    oifname eth0 masquerade random
                }}
            }}"
        ))?;
        let inner = Ipv4Addr::new(172, 16, n, 2);
        Ok((Host { space, addr: inner }, router.space, router.addr))
    }
}

impl Host {
    /// Sends each segment of a stream by itself, as it is on a cable: several in one would pass what is too narrow for one.
    pub(crate) fn send_single(&self) -> Result<(), Problem> {
        self.space.ip("link set eth0 gso_max_segs 1").map(drop)
    }

    /// Drops what arrives from the network and `matches`, such as `ip saddr 10.77.0.2`.
    pub(crate) fn filter(&self, matches: &str) -> Result<(), Problem> {
        self.space.nft(&format!(
            "table inet loss {{
                chain in {{
                    type filter hook input priority filter;
                    iifname \"eth*\" {matches} drop
                }}
            }}"
        ))
    }

    /// Drops this share of the incoming packets that match `matches`, at random.
    pub(crate) fn lose(&self, matches: &str, percent: u8) -> Result<(), Problem> {
        self.filter(&format!("{matches} numgen random mod 100 < {percent}"))
    }
}
