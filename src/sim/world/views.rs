//! The views that hosts have of each other.

use std::{collections::BTreeSet, sync::Arc};

use super::World;
use crate::{sim::host::Host, swim::MemberState};

impl World {
    /// The state of a name in a host's view.
    #[must_use]
    pub fn state(&self, host: usize, name: &str) -> Option<MemberState> {
        self.node(host).member(name).map(|member| member.state)
    }

    /// The hosts whose node runs and has not left.
    pub fn up(&self) -> impl Iterator<Item = usize> + '_ {
        (0..self.hosts.len()).filter(|host| self.hosts[*host].is_up() && !self.hosts[*host].left)
    }

    /// Whether every host that is up sees that many live members.
    #[must_use]
    pub fn all_see(&self, n: usize) -> bool {
        self.up().all(|host| self.node(host).live() == n)
    }

    /// Whether every host that is up lists exactly those that are up as live, each at its address and with its present tags.
    #[must_use]
    pub fn views_are_true(&self) -> bool {
        self.all_list_those_up(MemberState::is_live)
    }

    /// Whether any host that is up yielded to another holder of its name.
    #[must_use]
    pub fn is_anybody_displaced(&self) -> bool {
        self.up().any(|host| self.node(host).is_displaced())
    }

    /// Whether views are [true](Self::views_are_true), and no host is suspected, displaced, held up or cut off, and no
    /// attacker answers for a member.
    #[must_use]
    pub fn is_calm(&self) -> bool {
        self.net.is_perfect()
            && self.clogged.is_empty()
            && self.ghosts.are_silent(self.now)
            && self.campaigns.is_empty()
            && !self.is_anybody_displaced()
            && self.up().all(|host| self.hosts[host].is_well(self.now))
            && self.all_see(self.up().count())
            && self.all_list_those_up(|state| state == MemberState::Alive)
    }

    fn all_list_those_up(&self, counts: impl Fn(MemberState) -> bool) -> bool {
        let place = |host: usize| {
            let Host { config, addr, .. } = &self.hosts[host];
            let tags = self.node(host).member(&config.name).map(|own| own.tags.encoded().to_vec());
            (Arc::<str>::from(config.name.as_str()), *addr, tags.unwrap_or_default())
        };
        let truth: BTreeSet<_> = self.up().map(place).collect();
        self.up().all(|host| {
            let members = self.node(host).members();
            let live = members.iter().filter(|member| counts(member.state));
            live.map(|member| (member.name.clone(), member.addr, member.tags.encoded().to_vec()))
                .collect::<BTreeSet<_>>()
                == truth
        })
    }
}
