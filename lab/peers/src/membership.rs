//! `Membership` beside a set kept in sorted slices, in Rust and, where `go` is installed, in Go.
//!
//! The reference inserts as the Go original does: at the front by making a new slice of everything, elsewhere by moving the
//! rest. It has no locks, no watchers and no sources. `cargo bench --bench membership` of the main crate looks closer.

use std::{env, hint::black_box, path::Path, process::Command};

use syncswim::Membership;

use crate::{
    report::{Table, time_cells},
    sorted_slice::insert,
    timing::{Figure, Nanos},
};

pub(crate) fn tables(quick: bool) -> Vec<Table> {
    let sizes: &[usize] = if quick { &[1_000, 10_000] } else { &[1_000, 10_000, 100_000] };
    let head = ["peers", "set", "median", "min–max", "ratio"];
    let mut add = Table::new("Membership: add n peers one by one in random order, per peer", &head);
    let mut snapshot = Table::new("Membership: snapshot, nothing changed", &head);
    let mut go_problem = None;
    for n in sizes {
        let names = names(*n);
        let rounds = if *n >= 100_000 { 1 } else { 9 };
        let ours = Figure::of(9, None, |clock| {
            let membership = Membership::new();
            clock.run(*n as u64, || names.iter().for_each(|name| membership.add([name])));
            assert_eq!(membership.majority(), n / 2 + 1);
        });
        let go = go(*n, rounds).map_err(|problem| go_problem = Some(problem)).ok();
        row(&mut add, *n, "Membership", Some(&ours), None);
        row(
            &mut add,
            *n,
            "slices of 16-byte strings",
            Some(&insert_all(&names, rounds, |name| name.as_str())),
            Some(&ours),
        );
        row(&mut add, *n, "slices of String", Some(&insert_all(&names, rounds, String::clone)), Some(&ours));
        row(&mut add, *n, "slices in Go", go.as_ref().map(|go| &go.0), Some(&ours));

        let membership = Membership::new();
        membership.add(&names);
        let many = 1_000_000 / *n as u64;
        let ours = Figure::of(9, None, |clock| {
            clock.run(many, || (0..many).for_each(|_| drop(black_box(membership.snapshot()))));
        });
        let strings: Vec<&str> = names.iter().map(String::as_str).collect();
        let slices = Figure::of(9, None, |clock| {
            clock.run(many, || (0..many).for_each(|_| drop(black_box(strings.clone()))));
        });
        row(&mut snapshot, *n, "Membership", Some(&ours), None);
        row(&mut snapshot, *n, "slices of 16-byte strings", Some(&slices), Some(&ours));
        row(&mut snapshot, *n, "slices in Go", go.as_ref().map(|go| &go.1), Some(&ours));
    }
    if let Some(problem) = go_problem {
        for table in [&mut add, &mut snapshot] {
            table.note(format!("slices in Go: {problem}"));
        }
    }
    vec![add, snapshot]
}

fn row(table: &mut Table, n: usize, set: &str, figure: Option<&Figure>, reference: Option<&Figure>) {
    let cells =
        figure.map_or(["–", "–", "–"].map(str::to_owned), |figure| time_cells(figure, reference));
    table.row([n.to_string(), set.to_owned()].into_iter().chain(cells));
}

/// Names of the length of an address, shuffled.
fn names(n: usize) -> Vec<String> {
    let mut names: Vec<_> = (0..n).map(|i| format!("10.0.{i:07}:7946")).collect();
    fastrand::Rng::with_seed(1).shuffle(&mut names);
    names
}

fn insert_all<'a, S: Ord>(names: &'a [String], rounds: usize, own: impl Fn(&'a String) -> S) -> Figure {
    Figure::of(rounds, None, |clock| {
        let mut peers = Vec::new();
        clock.run(names.len() as u64, || names.iter().for_each(|name| insert(&mut peers, own(name))));
        assert_eq!(peers.len(), names.len());
    })
}

/// Adds and snapshots of the same in Go, as its program prints them: nanoseconds of each round.
fn go(n: usize, rounds: usize) -> Result<(Figure, Figure), String> {
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("go/slices.go");
    let output = Command::new("go")
        .args(["run".as_ref(), program.as_os_str()])
        .args([n.to_string(), rounds.to_string()])
        .env("GO111MODULE", "off")
        .output()
        .map_err(|_| "not installed".to_owned())?;
    let text = String::from_utf8_lossy(&output.stdout);
    let figure = |key: &str| {
        let line = text.lines().find_map(|line| line.strip_prefix(key))?;
        let mut times: Vec<f64> = line.split_whitespace().filter_map(|time| time.parse().ok()).collect();
        times.sort_unstable_by(f64::total_cmp);
        let [median, min, max] = [*times.get(times.len() / 2)?, *times.first()?, *times.last()?].map(Nanos);
        Some(Figure { median, min, max, allocations: None })
    };
    figure("add").zip(figure("snapshot")).ok_or_else(|| {
        let errors = String::from_utf8_lossy(&output.stderr);
        format!("did not run: {}", errors.lines().next().unwrap_or_default())
    })
}
