//! The themes of random schedules, besides the accidents that every cluster has.

use std::time::Duration;

use super::fault::Fault;
use crate::swim::Config;

/// The kind of faults in a random schedule.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Theme {
    /// Machines, processes and networks fail.
    Accidents,
    /// Timers come late and clocks jump, across any deadline; some nodes have a short memory.
    Late,
    /// Applications make any calls at any time.
    Calls,
    /// Two hosts have the same name.
    Conflicts,
    /// Nodes start with wrong clocks.
    Clocks,
    /// Hosts send from other addresses than those where they are reached, or are not reached, or not by datagrams.
    Paths,
    /// An attacker lies.
    Attacks,
    /// Any of these.
    Everything,
    /// Machines lose power and restart, and there are no seeds: nodes rejoin from their state files.
    Restarts,
    /// An attacker that joined lies all the time to a healthy cluster, and healthy members are judged meanwhile.
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

    /// Its name on a command line.
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

    /// The theme of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|theme| theme.name() == name)
    }

    /// The first fault of every schedule of this theme.
    pub(super) fn first(self) -> Option<Fault> {
        match self {
            Self::Restarts => Some(Fault::StateFiles),
            Self::Insiders => Some(Fault::first_of_insiders()),
            _ => None,
        }
    }

    /// Draws the number of nodes. In a small cluster made-up members would outnumber all others.
    pub(super) fn nodes(self, rng: &mut fastrand::Rng) -> usize {
        match self {
            Self::Insiders => rng.usize(6..10),
            _ => 2 + rng.usize(..11),
        }
    }

    /// The longest time before a fault. Repeated attacks of insiders take time to show an effect.
    pub(super) fn longest_pause(self) -> u64 {
        if self == Self::Insiders { 12_000 } else { 6000 }
    }

    /// Draws a fault for a cluster of `n`. In a theme about one kind of fault, half of the faults are accidents.
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

    /// The configuration of a seed's cluster: each preset in turn. In themes about time, every second cluster forgets
    /// departed members after seconds. In themes with made-up members, a probe has so many relays that these cannot be all
    /// of them, as they could with the single relay of the local preset.
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
