//! What a random schedule is about, besides the accidents that every cluster has.

use std::time::Duration;

use super::fault::Fault;
use crate::swim::Config;

/// What goes wrong in a random schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Machines, processes and networks fail.
    Accidents,
    /// Timers come late and clocks jump, across any deadline; some nodes have a short memory.
    Late,
    /// Applications call what they like, when they like.
    Calls,
    /// Two hosts have one name.
    Conflicts,
    /// Nodes start with a clock that is wrong.
    Clocks,
    /// Hosts send from elsewhere than they are reached, are not reached, or not by datagrams.
    Paths,
    /// An attacker lies.
    Attacks,
    /// Any of these.
    Everything,
    /// Machines lose power and restart, and there are no seeds: nodes rejoin from their state files.
    Restarts,
    /// An attacker that joined lies all the time to a cluster that is well, and healthy members are judged meanwhile.
    Insiders,
}

impl Theme {
    /// Every theme.
    pub const ALL: [Self; 10] = [
        Self::Accidents,
        Self::Late,
        Self::Calls,
        Self::Conflicts,
        Self::Clocks,
        Self::Paths,
        Self::Attacks,
        Self::Everything,
        Self::Restarts,
        Self::Insiders,
    ];

    /// Its name, as it is called on a command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Accidents => "accidents",
            Self::Late => "late",
            Self::Calls => "calls",
            Self::Conflicts => "conflicts",
            Self::Clocks => "clocks",
            Self::Paths => "paths",
            Self::Attacks => "attacks",
            Self::Everything => "everything",
            Self::Restarts => "restarts",
            Self::Insiders => "insiders",
        }
    }

    /// The theme of that name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.name() == name)
    }

    /// What every schedule about it begins with.
    pub(super) fn first(self) -> Option<Fault> {
        match self {
            Self::Restarts => Some(Fault::StateFiles),
            Self::Insiders => Some(Fault::first_of_insiders()),
            _ => None,
        }
    }

    /// Draws how many nodes a cluster has. Among few, made-up members would outnumber all others.
    pub(super) fn nodes(self, rng: &mut fastrand::Rng) -> usize {
        match self {
            Self::Insiders => rng.usize(6..10),
            _ => 2 + rng.usize(..11),
        }
    }

    /// The longest time before a fault. What insiders keep doing takes its time to show.
    pub(super) fn longest_pause(self) -> u64 {
        if self == Self::Insiders { 12_000 } else { 6000 }
    }

    /// Draws a fault for a cluster of `n`: half of them are accidents, whatever it is about, except for insiders.
    pub(super) fn draw(self, rng: &mut fastrand::Rng, n: usize) -> Fault {
        let own = match self {
            Self::Everything => Self::ALL[rng.usize(..7)],
            theme => theme,
        };
        match own {
            Self::Accidents => Fault::draw(rng, n),
            Self::Insiders => Fault::draw_by_insiders(rng, n),
            _ if self != Self::Everything && rng.bool() => Fault::draw(rng, n),
            Self::Late => Fault::draw_late(rng, n),
            Self::Calls => Fault::draw_call(rng, n),
            Self::Conflicts => Fault::draw_conflict(rng, n),
            Self::Clocks => Fault::draw_wrong_clock(rng, n),
            Self::Paths => Fault::draw_path(rng, n),
            Self::Restarts => Fault::draw_restart(rng, n),
            _ => Fault::draw_attack(rng, n),
        }
    }

    /// The configuration of a seed's cluster: each preset in turn. Where time is what goes wrong, every second one
    /// forgets the departed after seconds. Where made-up members lie, they cannot be all relays, as they could of the one that a
    /// local preset has.
    #[must_use]
    pub fn config(self, seed: u64, name: String) -> Config {
        let second = if self == Self::Insiders { Config::lan } else { Config::local };
        let presets = [Config::lan, second, Config::wan];
        let mut config = presets[seed as usize % 3](name);
        if matches!(self, Self::Late | Self::Everything) && seed % 2 == 1 {
            let mut rng = fastrand::Rng::with_seed(seed);
            let mut upto = |most: u64| Duration::from_millis(rng.u64(1..=most));
            (config.reap_left_after, config.reap_failed_after) = (upto(10_000), upto(20_000));
            let listed = config.reap_left_after.max(config.reap_failed_after) + upto(10_000);
            config.forget_after = listed.max(config.longest_suspicion());
            config.seed_max_delay = upto(20_000);
        }
        config
    }
}
