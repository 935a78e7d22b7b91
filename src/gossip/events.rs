//! Subscriptions to events: each reader has a bounded log. A full log is emptied, and takes no event until its reader has
//! read [`Event::Lagged`]: the reader then takes the members again, and must not receive events that are older than these.

use std::collections::VecDeque;

use crossbeam_channel::{Receiver, TryRecvError};

use crate::{
    collections::fanout::{Queue, Subscription},
    reader::{Reader, reads},
    swim::Event,
};

/// How many events a reader may be behind before it loses them.
const MAX_UNREAD: usize = 4096;

#[derive(Debug, Default)]
pub(crate) struct EventLog {
    /// Empty while `lost` is not zero.
    unread: VecDeque<Event>,
    lost: u64,
}

impl EventLog {
    /// Returns how many events are lost.
    pub(super) fn push(&mut self, event: &Event) -> u64 {
        if self.lost == 0 && self.unread.len() < MAX_UNREAD {
            self.unread.push_back(event.clone());
            return 0;
        }
        let lost = self.unread.len() as u64 + 1;
        self.lost += lost;
        self.unread = VecDeque::new();
        lost
    }
}

impl Queue for EventLog {
    type Item = Event;

    fn pop(&mut self) -> Option<Event> {
        match std::mem::take(&mut self.lost) {
            0 => self.unread.pop_front(),
            lost => Some(Event::Lagged { count: lost }),
        }
    }

    fn is_empty(&self) -> bool {
        self.lost == 0 && self.unread.is_empty()
    }
}

/// A subscription to a node's events. Dropping it cancels it.
///
/// A reader that falls more than 4,096 events behind loses them, and all later ones until it reads again. It receives one
/// [`Event::Lagged`] in their place, and then calls [`Gossip::follow`](super::Gossip::follow), for the members and a new
/// subscription to exactly the events after them. A reader never slows the node.
///
/// ```
/// # use syncswim::{Event, Gossip, GossipConfig};
/// let node = Gossip::start(GossipConfig::local("a").bind(([127, 0, 0, 1], 0)))?;
/// let (members, events) = node.follow();
/// assert_eq!(members.len(), 1);
/// node.shutdown()?;
/// for event in &events {
///     println!("{event:?}");
/// }
/// # Ok::<(), syncswim::Error>(())
/// ```
#[derive(Debug)]
#[must_use = "dropping it cancels the subscription"]
pub struct Events(pub(super) Subscription<EventLog>);

impl Reader for Events {
    type Item = Event;

    fn receiver(&self) -> &Receiver<()> {
        self.0.receiver()
    }

    fn try_recv(&self) -> Result<Event, TryRecvError> {
        self.0.try_recv()
    }
}

reads!(Events, Event, "event", "the node has ended and everything was read");

#[cfg(test)]
mod tests {
    use super::*;
    use crate::collections::fanout::Fanout;

    #[test]
    fn after_a_loss_comes_nothing_older() {
        let fanout = Fanout::new();
        let events = Events(fanout.subscribe(EventLog::default()));
        let publish = |from: u64, to| {
            (from..to).for_each(|at| {
                fanout.publish(|log: &mut EventLog| _ = log.push(&Event::Lagged { count: at }))
            });
        };
        let most = MAX_UNREAD as u64;
        publish(0, most + 1_904);
        assert_eq!(events.try_recv(), Ok(Event::Lagged { count: most + 1_904 }));
        assert!(events.try_recv().is_err(), "what came before the reader was told is lost too");
        publish(0, most);
        assert_eq!(events.try_recv(), Ok(Event::Lagged { count: 0 }));
        publish(most, most + 2);
        assert_eq!(events.try_recv(), Ok(Event::Lagged { count: most + 1 }));
        assert!(events.receiver().is_empty());
        publish(7, 8);
        drop(fanout);
        assert!(events.iter().eq([Event::Lagged { count: 7 }]));
    }
}
