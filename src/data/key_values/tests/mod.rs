//! Key–values: one map by itself, and clusters in the simulator.

mod clusters;
mod maps;
mod schedules;
mod trials;
