//! Makes accounts from recordings: runs each node again, and asks it for explanations at its verdicts.

use std::time::Duration;

use syncswim::{
    recording::{Difference, Dissected, Input, Recording, Said, Step, dissect},
    swim::{Event, Member, MemberState, Node, Observation, Observed, Origin, Time},
};

use super::{
    account::{Account, Content, Held, Seen},
    run::{ACK, ALIVE, Belief, FAILED, LEFT, NACK, PING, PING_REQ, SUSPECT},
};
use crate::recording::aligned;

/// The number of verdicts in each recording, the latest, of which the explanations are kept.
const MOST_EXPLAINED: usize = 16;

/// Runs recorded nodes again, each up to its end or the first difference. The offsets, in nanoseconds, are added to their
/// clocks. `are_whole` if nothing is missing at the ends of these recordings. Returns the accounts, and what is wrong with the
/// recordings.
#[must_use]
pub fn accounts(recordings: &[Recording], offsets: &[i64], are_whole: bool) -> (Vec<Account>, Vec<String>) {
    let (mut accounts, mut problems) = (Vec::new(), Vec::new());
    for (recording, offset) in recordings.iter().zip(offsets) {
        let (told, difference) = replayed(recording, *offset);
        // What comes after a difference is recorded, but it is not known.
        let is_whole = are_whole && difference.is_none();
        accounts.extend(told.into_iter().map(|account| Account { is_whole, ..account }));
        problems.extend(recording.damage().iter().map(|damage| format!("{}: {damage}", recording.name())));
        problems.extend(difference.map(|difference| {
            format!("what {} did after its replay differs: {difference}", recording.name())
        }));
    }
    let end = accounts.iter().map(|account| account.span.1).max().unwrap_or_default();
    for account in &mut accounts {
        // It did nothing more because nothing was due, not because it no longer ran.
        if account.due >= end {
            account.span.1 = end;
        }
    }
    (accounts, problems)
}

/// There are more accounts than one if parts of the node's life are lost.
fn replayed(recording: &Recording, offset: i64) -> (Vec<Account>, Option<Difference>) {
    let mut replay = recording.replay();
    let mut reader = Reader { name: recording.name().to_owned(), offset, ..Reader::default() };
    while let Some(step) = replay.next() {
        match step {
            Ok(step) => reader.take(&step, replay.node()),
            Err(difference) => return (reader.accounts, Some(difference)),
        }
    }
    (reader.accounts, None)
}

#[derive(Default)]
struct Reader {
    name: String,
    /// Nanoseconds, added to its host's clock.
    offset: i64,
    accounts: Vec<Account>,
    /// When the node's next timer was due, after the step before.
    due: Option<Time>,
    last: Time,
}

impl Reader {
    fn take(&mut self, step: &Step<'_>, node: &Node) {
        let now = self.now(step);
        if step.restored || self.accounts.is_empty() {
            self.begin(now, node);
        } else {
            self.notice_stall(step, node);
        }
        for held in step.events().filter_map(|event| held(now, step.at, event, node)) {
            self.accounts.last_mut().expect("it has begun").held.push(held);
            self.forget_explanation();
        }
        let account = self.accounts.last_mut().expect("it has begun");
        account.span.1 = now;
        account.beliefs.extend(step.events().filter_map(belief).map(|(name, belief)| (now, name, belief)));
        account.lives.extend(step.events().filter_map(life).map(|(name, epoch)| (now, name, epoch)));
        let sent = step.sent.iter().filter_map(|sent| {
            let dissected = dissect(&sent.bytes)?;
            Some(Seen {
                at: now,
                other: sent.recipient,
                hash: dissected.fingerprint,
                content: content(&dissected),
            })
        });
        account.sent.extend(sent);
        if let Some(Input::Datagram { bytes, .. }) = &step.input
            // A datagram with only messages of the data layer is not part of a recording.
            && let Some(dissected) = dissect(bytes).filter(|said| !said.messages.is_empty())
        {
            let content = content(&dissected);
            account.received.push(Seen {
                at: now,
                other: dissected.sender,
                hash: dissected.fingerprint,
                content,
            });
        }
        (self.due, self.last) = (node.poll_timeout(), step.at);
        account.due = self.due.map_or(u64::MAX, |due| now + micros(due.since(step.at)));
    }

    /// By the clock that all accounts share.
    fn now(&self, step: &Step<'_>) -> u64 {
        micros(aligned(step.wall.as_nanos() as i64, self.offset))
    }

    /// The beliefs of the node when its recording begins, or goes on.
    fn begin(&mut self, now: u64, node: &Node) {
        let members = node.members();
        let beliefs = members.iter().map(|member| (now, member.name.to_string(), state(member))).collect();
        let lives =
            members.iter().map(|member| (now, member.name.to_string(), member.identity.epoch)).collect();
        self.accounts.push(Account {
            name: self.name.clone(),
            span: (now, now),
            beliefs,
            lives,
            ..Account::default()
        });
    }

    /// A timer that is long due, while the node took nothing in either, shows that the process was stalled.
    fn notice_stall(&mut self, step: &Step<'_>, node: &Node) {
        let (Some(due), now) = (self.due, self.now(step)) else { return };
        let pause = step.at.since(due.max(self.last));
        if pause >= node.config().probe_timeout / 2 {
            let account = self.accounts.last_mut().expect("it has begun");
            account.stalls.push((now.saturating_sub(micros(pause)), now));
        }
    }

    /// What came before explains an incident less than what came last.
    fn forget_explanation(&mut self) {
        let held = self.accounts.iter_mut().flat_map(|account| &mut account.held);
        if let Some(early) = held.rev().nth(MOST_EXPLAINED) {
            (early.standing, early.seen) = (String::new(), Vec::new());
        }
    }
}

/// The verdict that an event tells of, and why the node holds it; `now` is `at` by the clock that all accounts share.
fn held(now: u64, at: Time, event: &Event, node: &Node) -> Option<Held> {
    let (member, is_own, accusers, suspected, text) = match event {
        Event::Failed { member, verdict, .. } => {
            let accusers = verdict.accusers.iter().map(|accuser| accuser.name.to_string()).collect();
            (member, verdict.origin == Origin::Own, accusers, verdict.suspected, verdict.to_string())
        }
        Event::Left { member, .. } => {
            let text = match &member.removed_by {
                Some(by) => format!("it was removed by {by}"),
                None => "it left".to_owned(),
            };
            (member, false, vec![], None, text)
        }
        _ => return None,
    };
    let explanation = node.explain(at, &member.name);
    let is_missed = |Observed { at, what, .. }: &Observed| {
        matches!(what, Observation::Missed { .. }) && suspected.is_some_and(|since| *at >= since)
    };
    let seen = |seen: &Observed| (now.saturating_sub(micros(at.since(seen.at))), seen.what.to_string());
    Some(Held {
        at: now,
        subject: member.name.to_string(),
        identity: (member.identity.epoch, member.identity.incarnation),
        belief: state(member),
        removed_by: member.removed_by.as_deref().map(str::to_owned),
        is_own,
        accusers,
        missed: explanation.observations.iter().any(is_missed),
        text,
        standing: format!("{} itself: {}", node.local().name, explanation.status),
        seen: explanation.observations.iter().map(seen).collect(),
    })
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn state(member: &Member) -> Belief {
    match member.state {
        MemberState::Alive => Belief::Alive,
        MemberState::Suspect => Belief::Suspect,
        MemberState::Left => Belief::Left,
        _ => Belief::Failed,
    }
}

fn belief(event: &Event) -> Option<(String, Belief)> {
    let member = match event {
        Event::Reaped { member, .. } => return Some((member.name.to_string(), Belief::Unknown)),
        Event::Conflict { .. } => return None,
        event => event.member()?,
    };
    Some((member.name.to_string(), state(member)))
}

/// The life of a member that is told of, if it is another than before.
fn life(event: &Event) -> Option<(String, u64)> {
    let member = match event {
        Event::Joined { member, .. } => member,
        Event::Updated { member, previous, .. } if member.identity.epoch != previous.identity.epoch => member,
        _ => return None,
    };
    Some((member.name.to_string(), member.identity.epoch))
}

/// The content without sequence numbers, which differ each time and mean nothing to a reader.
fn content(dissected: &Dissected) -> Content {
    let mut content = Content::default();
    let mut texts = Vec::new();
    for said in &dissected.messages {
        let (text, kind, claim) = match said {
            Said::Ping { target, .. } => (format!("ping {target}"), PING, None),
            Said::PingReq { target, .. } => (format!("ping-req {target}"), PING_REQ, None),
            Said::Ack { .. } => ("ack".into(), ACK, None),
            Said::Nack { .. } => ("nack".into(), NACK, None),
            Said::Retry { .. } => ("retry".into(), 0, None),
            Said::Suspect { name, accusers, .. } => {
                (format!("suspect {name} by {}", accusers.join(" and ")), 0, Some((name, SUSPECT)))
            }
            Said::Alive { name, identity, .. } => {
                (format!("alive {name} (incarnation {})", identity.incarnation), 0, Some((name, ALIVE)))
            }
            Said::Failed { name, .. } => (format!("failed {name}"), 0, Some((name, FAILED))),
            Said::Left { name, .. } => (format!("left {name}"), 0, Some((name, LEFT))),
            Said::Departed { name, left, .. } => {
                (format!("departed {name}"), 0, Some((name, if *left { LEFT } else { FAILED })))
            }
            Said::Other(name) => ((*name).to_owned(), 0, None),
            other => (other.to_string(), 0, None),
        };
        if let Said::Ping { target, .. } | Said::PingReq { target, .. } = said {
            content.target = Some(target.clone());
        }
        content.kind |= kind;
        content.claims.extend(claim.map(|(name, bit)| (name.clone(), bit)));
        texts.push(text);
    }
    content.text = texts.join(", ");
    content
}
