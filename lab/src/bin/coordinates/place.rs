//! A place in a space of few dimensions, so that the distance of two places is the round-trip time of their nodes (Vivaldi, Dabek
//! et al., SIGCOMM 2004, with its height vectors): with what a node measures, and what it tells.

use std::collections::{HashMap, VecDeque};

/// The share of an error that one sample may change, of the error estimate and of the place (Vivaldi §3.4).
const CE: f64 = 0.25;
const CC: f64 = 0.25;
const LARGEST_ERROR: f64 = 1.5;
/// What one sample moves a place at most, and all that a height is, in milliseconds.
const LARGEST_MOVE: f64 = 100.0;
const HEIGHTS: (f64, f64) = (0.01, 5_000.0);
/// Samples of one peer that are kept; the second smallest counts.
const SAMPLES: usize = 4;
/// Inner places in each of the two windows that are compared (Ledlie et al., NSDI 2007, §4.2: the ENERGY rule, here with
/// centroids).
const WINDOW: usize = 16;

/// Milliseconds in each dimension, and above all of them: the way that every path of this node has in common.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Place {
    at: Vec<f64>,
    height: f64,
}

impl Place {
    fn new(dimensions: usize) -> Self {
        Self { at: vec![0.0; dimensions], height: HEIGHTS.0 }
    }

    /// The round-trip time between the two, in milliseconds.
    pub(crate) fn distance(&self, other: &Self) -> f64 {
        self.flat(other) + self.height + other.height
    }

    /// The same, so many milliseconds further in each dimension.
    pub(crate) fn shifted(mut self, by: f64) -> Self {
        self.at.iter_mut().for_each(|at| *at += by);
        self
    }

    fn flat(&self, other: &Self) -> f64 {
        self.at.iter().zip(&other.at).map(|(a, b)| (a - b).powi(2)).sum::<f64>().sqrt()
    }

    fn centroid<'a>(places: impl Iterator<Item = &'a Self> + Clone) -> Self {
        let count = places.clone().count().max(1) as f64;
        let mut sum = Self { at: Vec::new(), height: 0.0 };
        for place in places {
            sum.at.resize(place.at.len(), 0.0);
            sum.at.iter_mut().zip(&place.at).for_each(|(sum, at)| *sum += at / count);
            sum.height += place.height / count;
        }
        sum
    }
}

/// What a node knows of places.
#[derive(Debug)]
pub(crate) struct Placed {
    /// What it moves with each sample.
    inner: Place,
    /// What others are told of it.
    pub(crate) told: Place,
    pub(crate) error: f64,
    samples: HashMap<usize, VecDeque<f64>>,
    /// How often in a row a peer's place contradicted what was measured of it.
    contradicted: HashMap<usize, u32>,
    /// The latest inner places, the last at the end.
    lately: VecDeque<Place>,
    /// The least round-trip time that it knows.
    nearest: f64,
    pub(crate) tellings: usize,
    /// Tells each inner place at once.
    restless: bool,
}

impl Placed {
    pub(crate) fn new(dimensions: usize, restless: bool) -> Self {
        let place = Place::new(dimensions);
        Self {
            told: place.clone(),
            inner: place,
            error: LARGEST_ERROR,
            samples: HashMap::new(),
            contradicted: HashMap::new(),
            lately: VecDeque::new(),
            nearest: f64::MAX,
            tellings: 0,
            restless,
        }
    }

    /// What was measured of a peer lately.
    pub(crate) fn measured(&self, peer: usize) -> Option<f64> {
        let mut samples: Vec<_> = self.samples.get(&peer)?.iter().copied().collect();
        samples.sort_by(f64::total_cmp);
        samples.get(1).or(samples.first()).copied()
    }

    /// A probe of a peer was answered after so many milliseconds, and the answer told where it is. Says how far it moved.
    pub(crate) fn sample(
        &mut self,
        rng: &mut fastrand::Rng,
        peer: usize,
        millis: f64,
        theirs: &Place,
        their_error: f64,
    ) -> f64 {
        let samples = self.samples.entry(peer).or_default();
        samples.push_front(millis);
        samples.truncate(SAMPLES);
        let Some(measured) = self.measured(peer) else { return 0.0 };
        self.nearest = self.nearest.min(measured);
        if self.is_incredible(peer, measured, theirs, their_error) {
            return 0.0;
        }
        let before = self.inner.clone();
        self.follow(rng, measured, theirs, their_error.clamp(0.01, LARGEST_ERROR));
        self.lately.push_back(self.inner.clone());
        if self.lately.len() > 2 * WINDOW {
            self.lately.pop_front();
        }
        if self.restless || self.is_elsewhere() {
            (self.told, self.tellings) = (self.inner.clone(), self.tellings + 1);
            self.lately.clear();
        }
        before.flat(&self.inner) + (before.height - self.inner.height).abs()
    }

    /// Whether a place has been off by a factor of ten or more, three times in a row, once both ends say that they are settled.
    fn is_incredible(&mut self, peer: usize, measured: f64, theirs: &Place, their_error: f64) -> bool {
        let told = self.inner.distance(theirs);
        let settled = self.error < 0.5 && their_error < 0.5;
        let off = settled && (told > 10.0 * measured.max(1.0) || measured > 10.0 * told.max(1.0));
        let count = self.contradicted.entry(peer).or_default();
        *count = if off { *count + 1 } else { 0 };
        *count >= 3
    }

    fn follow(&mut self, rng: &mut fastrand::Rng, measured: f64, theirs: &Place, their_error: f64) {
        let residual = measured - self.inner.distance(theirs);
        let weight = self.error / (self.error + their_error);
        let wrong = residual.abs() / measured.max(0.1);
        self.error = (wrong * CE * weight + self.error * (1.0 - CE * weight)).clamp(0.01, LARGEST_ERROR);
        let force = (CC * weight * residual).clamp(-LARGEST_MOVE, LARGEST_MOVE);
        let flat = self.inner.flat(theirs);
        let mut direction: Vec<_> = self.inner.at.iter().zip(&theirs.at).map(|(a, b)| a - b).collect();
        if flat < 1e-6 {
            direction.iter_mut().for_each(|part| *part = rng.f64() - 0.5);
        }
        let length = direction.iter().map(|part| part * part).sum::<f64>().sqrt().max(1e-9);
        self.inner.at.iter_mut().zip(&direction).for_each(|(at, part)| *at += force * part / length);
        if flat >= 1e-6 {
            let share = (self.inner.height + theirs.height) / (flat + self.inner.height + theirs.height);
            self.inner.height = (self.inner.height + force * share).clamp(HEIGHTS.0, HEIGHTS.1);
        }
    }

    /// Whether it has moved for good: between the two windows by more than a quarter of the way to its nearest neighbour.
    fn is_elsewhere(&self) -> bool {
        if self.lately.len() < 2 * WINDOW {
            return false;
        }
        let past = Place::centroid(self.lately.iter().take(WINDOW));
        let now = Place::centroid(self.lately.iter().skip(WINDOW));
        let far = self.nearest.max(1.0) / 4.0;
        past.flat(&now) + (past.height - now.height).abs() > far
            || now.flat(&self.told) + (now.height - self.told.height).abs() > far
    }
}
