//! Rejoin: a node that restarts looks for its cluster where the members of its earlier life were.
//!
//! They are addresses to try and no members: nothing is listed, probed or told because it is remembered. They stand in for
//! seeds until another member is known: they are joined in random order, in the race of all joins (`race.rs`), after the seeds
//! had a head start, and again with back-off. Those that are not found in this way are failed members to the reconnects
//! (`reconnect.rs`), which try each at its address, without end.

use std::{net::SocketAddr, sync::Arc, time::Duration};

use serde::{Deserialize, Serialize};

use super::{
    entry::Input,
    event::{JoinResult, Output},
    join::{FIRST_RETRY, JoinOrigin, MAX_ADDRS},
    member::{Identity, MemberId},
    node::Node,
    phase::Phase,
    time::Time,
    timers::Timer,
};
use crate::{address::problem_of, wire::message::is_name};

/// How long the seeds are tried alone: the connection attempt delay of RFC 8305, section 8.
const HEAD_START: Duration = Duration::from_millis(250);

/// A node's knowledge of an earlier life of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct EarlierLife {
    /// The epoch of that life: the present life's is later, even if the clock is behind. 0 if there was none.
    pub epoch: u64,
    /// The members that it knew, with their addresses. Beyond [`max_reconnects`](super::Config::max_reconnects) only the
    /// first ones are used.
    pub members: Vec<EarlierMember>,
}

impl EarlierLife {
    /// An earlier life of this epoch, with members of these names at these addresses.
    #[must_use]
    pub fn new(epoch: u64, members: impl IntoIterator<Item = (Arc<str>, SocketAddr)>) -> Self {
        let members = members.into_iter().map(|(name, addr)| EarlierMember { name, addr });
        Self { epoch, members: members.collect() }
    }
}

/// A member that an [`EarlierLife`] knew.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct EarlierMember {
    /// Its name.
    pub name: Arc<str>,
    /// Its address.
    pub addr: SocketAddr,
}

/// The addresses that stand in for seeds.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Rejoin {
    addrs: Vec<SocketAddr>,
    /// The delay before the next try.
    delay: Duration,
}

impl Rejoin {
    /// Whether members of an earlier life are still looked for.
    pub(super) fn is_awaited(&self) -> bool {
        !self.addrs.is_empty()
    }

    #[cfg(any(test, feature = "sim"))]
    pub(super) fn len(&self) -> usize {
        self.addrs.len()
    }
}

impl Node {
    /// Continues from an earlier life: takes a later epoch, and looks for its members at their addresses.
    /// [`Output::RejoinTried`] reports each attempt's result, until one has succeeded or another member is known.
    ///
    /// Call it before the node knows others; later calls do not raise the epoch.
    pub fn rejoin(&mut self, now: Time, past: &EarlierLife) {
        self.given(now, || Input::Rejoin {
            epoch: past.epoch,
            members: past.members.iter().map(|member| ((&*member.name).into(), member.addr)).collect(),
        });
        self.advance(now);
        if self.phase == Phase::Starting && past.epoch > 0 && past.epoch <= self.latest_epoch() {
            self.outlive(Identity { epoch: past.epoch, incarnation: 0 });
        }
        self.rejoin.addrs.clear();
        for EarlierMember { name, addr } in past.members.iter().take(self.config.max_reconnects) {
            if self.may_be_remembered(name, *addr) {
                self.rejoin.addrs.push(*addr);
                self.reconnect_from_now_on(Arc::clone(name), *addr);
            }
        }
        if self.phase == Phase::Live {
            self.schedule_reconnect();
        }
        if !self.rejoin.addrs.is_empty() {
            self.set_timer(Timer::Rejoin, HEAD_START);
        }
    }

    /// Whether another node may be there, of which this one knows nothing yet.
    fn may_be_remembered(&self, name: &str, addr: SocketAddr) -> bool {
        is_name(name)
            && self.table.find(name).is_none()
            && addr != self.table.get(MemberId::SELF).addr
            && addr.port() != 0
            && problem_of(addr.ip()).is_none()
            && self.config.allows(addr.ip())
    }

    /// Tries those remembered, unless the node has company by now.
    pub(super) fn try_rejoin(&mut self) {
        let is_done = !self.table.rings.met().is_empty() && self.phase != Phase::Starting;
        if is_done || self.is_leaving() || self.rejoin.addrs.is_empty() {
            self.rejoin = Rejoin::default();
            return;
        }
        self.rng.shuffle(&mut self.rejoin.addrs);
        let addrs: Vec<_> = self.rejoin.addrs.iter().copied().take(MAX_ADDRS).collect();
        self.begin_join(JoinOrigin::Remembered, &addrs, 0);
    }

    /// One of them was reached, or none.
    pub(super) fn rejoin_tried(&mut self, result: JoinResult) {
        let result = self.judge_join(result);
        self.live_with_company(&result);
        if result.is_ok() {
            self.rejoin = Rejoin::default();
        } else if !self.is_leaving() {
            self.rejoin.delay = (self.rejoin.delay * 2).max(FIRST_RETRY).min(self.config.seed_max_delay);
            let delay = self.jittered(self.rejoin.delay);
            self.set_timer(Timer::Rejoin, delay);
        }
        self.emit(Output::RejoinTried { result });
    }
}
