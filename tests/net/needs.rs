//! The requirements of a scenario, and which of them this system lacks.

use crate::space::{Space, ip};

/// A requirement beyond namespaces.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Need {
    Namespaces,
    /// `nft` rules that drop and translate packets.
    Nft,
    /// `nft` rules that hand packets to the relay.
    Relay,
}

/// For each requirement, what is missing. Checked once.
#[derive(Debug)]
pub(crate) struct Needs {
    namespaces: Option<String>,
    nft: Option<String>,
    relay: Option<String>,
}

const DROPS: &str = "
    table inet t {
        chain c {
            type filter hook input priority 0;
            udp dport 1 numgen random mod 100 < 25 drop
        }
    }
    table ip n {
        chain c {
            type nat hook postrouting priority srcnat;
            masquerade random
        }
    }
";

impl Needs {
    pub(crate) fn look() -> Self {
        if !cfg!(target_os = "linux") {
            let missing = Some("network namespaces are of Linux".to_owned());
            return Self { namespaces: missing.clone(), nft: missing.clone(), relay: missing };
        }
        sweep();
        let space = match Space::new(format!("lab{}-look", std::process::id())) {
            Ok(space) => space,
            Err(problem) => {
                let missing = Some(format!("needs root and Debian's package iproute2: {problem}"));
                return Self { namespaces: missing.clone(), nft: missing.clone(), relay: missing };
            }
        };
        let lacks = |rules: &str| {
            let problem = space.nft(rules).err()?;
            let problem = problem.0.lines().next().unwrap_or_default().to_owned();
            Some(format!("needs Debian's package nftables and its part of the kernel: {problem}"))
        };
        Self { namespaces: None, nft: lacks(DROPS), relay: lacks(crate::relay::RULES) }
    }

    /// What is missing for this requirement, if anything is.
    pub(crate) fn missing(&self, need: Need) -> Option<&str> {
        match need {
            Need::Namespaces => self.namespaces.as_deref(),
            Need::Nft => self.nft.as_deref(),
            Need::Relay => self.relay.as_deref(),
        }
    }
}

/// Removes namespaces of earlier runs that were killed.
fn sweep() {
    let Ok(list) = ip("netns list") else { return };
    for name in list.lines().filter_map(|line| line.split_whitespace().next()) {
        let of = name.strip_prefix("lab").and_then(|rest| rest.split_once('-')).map(|(pid, _)| pid);
        let gone =
            |pid: &str| pid.parse::<u32>().is_ok() && !std::path::Path::new("/proc").join(pid).exists();
        if of.is_some_and(gone) {
            // Another run may have removed it already.
            let _ = ip(&format!("netns del {name}"));
        }
    }
}
