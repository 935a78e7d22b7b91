//! A simulation, recorded.

use std::time::Duration;

use lab::view::{About, run::Mark};
use syncswim::{
    GossipConfig,
    recording::Recording,
    sim::{Latency, World},
    swim::Config,
};

use crate::faults::Planned;

/// A page of more would not be readable.
const MOST_NODES: usize = 500;
/// The limit of each recording in bytes: no simulation that a page can show needs more.
const MOST_BYTES: u64 = 1 << 30;

/// Keys of `GossipConfig::set` that have no effect on a simulated node: they concern sockets, files and sealing.
const MEANINGLESS: [&str; 10] = [
    "cluster",
    "bind",
    "advertise",
    "join",
    "recv_buffer",
    "record",
    "record_limit",
    "allow",
    "key",
    "encryption",
];

/// The cluster, its network and its faults.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    nodes: usize,
    length: Duration,
    seed: u64,
    preset: String,
    /// One way, in milliseconds.
    latency: f64,
    loss: f64,
    /// Further keys of the configuration.
    keys: Vec<(String, String)>,
    faults: Vec<Planned>,
}

impl Plan {
    pub(crate) fn parse(text: &str) -> Result<Self, String> {
        let mut plan = Self {
            nodes: 5,
            length: Duration::from_secs(60),
            seed: 1,
            preset: "lan".into(),
            latency: 0.3,
            loss: 0.0,
            keys: Vec::new(),
            faults: Vec::new(),
        };
        for pair in text.split(',').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').ok_or_else(|| format!("{pair} must be KEY=VALUE"))?;
            let wrong = |_| format!("{key} cannot be {value}");
            match key {
                "nodes" => plan.nodes = value.parse().map_err(|_| wrong(()))?,
                "seconds" => plan.length = Duration::from_secs(value.parse().map_err(|_| wrong(()))?),
                "seed" => plan.seed = value.parse().map_err(|_| wrong(()))?,
                "preset" => plan.preset = value.into(),
                "latency" => plan.latency = value.parse().map_err(|_| wrong(()))?,
                "loss" => plan.loss = value.parse().map_err(|_| wrong(()))?,
                _ if MEANINGLESS.contains(&key) => {
                    return Err(format!("{key} means nothing in a simulation"));
                }
                _ => plan.keys.push((key.into(), value.into())),
            }
        }
        let holds = [
            ("nodes must be 2 to 500", (2..=MOST_NODES).contains(&plan.nodes)),
            ("preset must be lan, wan or local", ["lan", "wan", "local"].contains(&&*plan.preset)),
            ("latency must be 0 to 10000", (0.0..=10_000.0).contains(&plan.latency)),
            ("loss must be at least 0 and less than 1", (0.0..1.0).contains(&plan.loss)),
            ("seconds must be 1 to 3600", (1..=3600).contains(&plan.length.as_secs())),
        ];
        if let Some((problem, _)) = holds.iter().find(|(_, holds)| !holds) {
            return Err((*problem).into());
        }
        plan.config("n0".into())?;
        Ok(plan)
    }

    /// With these faults, in the order of their times.
    pub(crate) fn with(mut self, mut faults: Vec<Planned>) -> Result<Self, String> {
        if let Some(wrong) = faults.iter().find(|fault| fault.highest >= self.nodes) {
            return Err(format!("{}: the last node is {}", wrong.text, self.nodes - 1));
        }
        if let Some(late) = faults.iter().find(|fault| fault.at >= self.length) {
            return Err(format!("{}: the run ends before, after {} s", late.text, self.length.as_secs()));
        }
        faults.sort_by_key(|fault| fault.at);
        self.faults = faults;
        Ok(self)
    }

    fn config(&self, name: String) -> Result<Config, String> {
        let mut config = match self.preset.as_str() {
            "wan" => GossipConfig::wan(name),
            "local" => GossipConfig::local(name),
            _ => GossipConfig::lan(name),
        };
        for (key, value) in &self.keys {
            config.set(key, value).map_err(|problem| problem.to_string())?;
        }
        config.swim.validate().map_err(|problem| problem.to_string())?;
        Ok(config.swim)
    }

    fn about(&self, faults: Vec<Mark>) -> About {
        let mut parameters = vec![
            ("nodes", self.nodes.to_string()),
            ("length", format!("{} s", self.length.as_secs())),
            ("seed", self.seed.to_string()),
            ("preset", self.preset.clone()),
            ("one-way latency", format!("{} ms on average", self.latency)),
            ("loss of datagrams and segments", format!("{} %", self.loss * 100.0)),
        ];
        parameters.extend(
            self.faults
                .iter()
                .map(|fault| ("fault", format!("{} s: {}", fault.at.as_secs_f64(), fault.text))),
        );
        let mut parameters: Vec<_> =
            parameters.into_iter().map(|(key, value)| (key.to_owned(), value)).collect();
        parameters.extend(self.keys.iter().cloned());
        About {
            title: format!("{} simulated nodes, seed {}", self.nodes, self.seed),
            source: "Simulation".into(),
            parameters,
            faults,
            ..About::default()
        }
    }
}

/// Runs it, and returns the recordings of all nodes.
pub(crate) fn run(plan: &Plan) -> (Vec<Recording>, About) {
    let mut world = World::new(plan.seed);
    (world.checker, world.keep_events) = (None, false);
    let mean = Duration::from_secs_f64(plan.latency / 1000.0);
    world.net.latency = Latency::Exponential(mean / 2, mean / 2);
    world.net.lose(plan.loss);
    world.record(MOST_BYTES);
    let began = world.now();
    world.start_cluster(plan.nodes, |name| plan.config(name).expect("it was valid for another name"));
    let mut marks = Vec::new();
    for planned in &plan.faults {
        world.run_for(planned.at.saturating_sub(world.now().since(began)));
        let at = world.now().since(began).as_micros() as u64;
        marks.push(Mark { at, text: format!("simulated fault: {}", planned.text) });
        planned.fault.apply(&mut world);
    }
    world.run_for(plan.length.saturating_sub(world.now().since(began)));
    (world.recordings(), plan.about(marks))
}
