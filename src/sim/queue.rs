//! Deliveries and deadlines in one order.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::swim::Time;

/// A delivery or a deadline.
#[derive(Debug)]
pub(super) enum Next<D> {
    Delivery(D),
    /// The deadline of a host.
    Deadline(usize),
}

/// A place in the order: by time; at one time deliveries before deadlines, as the rule for drivers demands; then as
/// scheduled.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    at: Time,
    is_deadline: bool,
    sequence: u64,
    /// The delivery's slot or the host.
    index: usize,
}

#[derive(Debug)]
pub(super) struct Queue<D> {
    order: BinaryHeap<Reverse<Place>>,
    slots: Vec<Option<D>>,
    free: Vec<usize>,
    sequence: u64,
}

impl<D> Queue<D> {
    pub(super) fn new() -> Self {
        Self { order: BinaryHeap::new(), slots: Vec::new(), free: Vec::new(), sequence: 0 }
    }

    pub(super) fn deliver(&mut self, at: Time, delivery: D) {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        self.slots[index] = Some(delivery);
        self.push(at, false, index);
    }

    pub(super) fn wake(&mut self, at: Time, host: usize) {
        self.push(at, true, host);
    }

    fn push(&mut self, at: Time, is_deadline: bool, index: usize) {
        self.sequence += 1;
        self.order.push(Reverse(Place { at, is_deadline, sequence: self.sequence, index }));
    }

    /// The first entry, if it is due by `end`.
    pub(super) fn pop(&mut self, end: Time) -> Option<(Time, Next<D>)> {
        if self.order.peek()?.0.at > end {
            return None;
        }
        let Reverse(place) = self.order.pop()?;
        let next = if place.is_deadline {
            Next::Deadline(place.index)
        } else {
            self.free.push(place.index);
            Next::Delivery(self.slots[place.index].take().expect("a slot is freed when it is taken"))
        };
        Some((place.at, next))
    }
}
