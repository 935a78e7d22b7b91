//! Key–values: one map by itself, and clusters in the simulator.

mod announced;
mod bounds;
mod clusters;
mod deltas;
mod maps;
mod schedules;
mod trials;
