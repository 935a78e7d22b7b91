//! How fast an update spreads: ours against push gossip on a ticker, as memberlist does it, and Serf's own curve.

use std::time::Duration;

use lab::{
    plot::{self, Caption},
    runs,
    stats::{mean, percentile, seconds},
};
use syncswim::{Tags, sim::World, swim::Config};

use crate::{
    Options,
    report::{Table, Verdict},
};

#[derive(Debug, Clone, Copy)]
struct Setting {
    members: usize,
    fanout: usize,
    loss: f64,
    /// The model of push gossip with rounds by a ticker: the mean and the 99th percentile of the time until all know.
    model: (f64, f64),
}

impl Setting {
    /// The result of the convergence simulator in Serf's documentation: seconds until 99.99 % of the members know.
    fn serf(&self) -> f64 {
        let contacts = self.fanout as f64 * (1.0 - self.loss) * 0.5;
        0.2 * ((self.members as f64 + 1.0) * 9999.0).ln() / contacts
    }
}

const SETTINGS: [Setting; 8] = [
    Setting { members: 30, fanout: 3, loss: 0.0, model: (0.49, 0.80) },
    Setting { members: 128, fanout: 3, loss: 0.0, model: (0.70, 1.03) },
    Setting { members: 1000, fanout: 3, loss: 0.0, model: (1.00, 1.26) },
    Setting { members: 1000, fanout: 3, loss: 0.1, model: (1.10, 1.44) },
    Setting { members: 1000, fanout: 3, loss: 0.25, model: (1.32, 1.85) },
    Setting { members: 1000, fanout: 3, loss: 0.5, model: (2.02, 2.80) },
    Setting { members: 1000, fanout: 1, loss: 0.0, model: (2.88, 3.73) },
    Setting { members: 2000, fanout: 3, loss: 0.0, model: (1.08, 1.39) },
];

/// Seconds from the creation of an update until each member knows it, for several updates in one cluster.
fn spread(setting: &Setting, seed: u64, pieces: usize) -> Vec<Vec<f64>> {
    let mut world = World::new(seed);
    (world.checker, world.keep_events) = (None, false);
    world.start_cluster(setting.members, |name| {
        let mut config = Config::lan(name);
        config.gossip_fanout = setting.fanout;
        config
    });
    world.run_until("one view", Duration::from_secs(300), |world| world.all_see(setting.members));
    world.run_for(Duration::from_secs(20));
    world.net.datagram_loss = setting.loss;
    world.keep_events = true;
    (0..pieces)
        .map(|piece| {
            let teller = world.rng.usize(..setting.members);
            let start = world.now();
            let tags = Tags::new([("piece", piece.to_string())]).expect("it is short");
            world.with(teller, |node, now| node.set_tags(now, tags));
            world.run_for(Duration::from_secs(12));
            let name = world.hosts[teller].config.name.clone();
            let heard = world.hosts.iter_mut().filter_map(|host| {
                let events = std::mem::take(&mut host.events);
                let about = |e: &syncswim::swim::Event| e.member().is_some_and(|m| *m.name == *name);
                events.iter().find(|(_, event)| about(event)).map(|(at, _)| at.since(start).as_secs_f64())
            });
            heard.collect()
        })
        .collect()
}

pub(crate) fn table(options: &Options) -> Table {
    let mut table = Table::new("Push gossip: seconds until all members know");
    let mut curves = Vec::new();
    for setting in SETTINGS {
        let Setting { members, fanout, loss, model: (model, model_99) } = setting;
        if members > 1000 && !options.full {
            continue;
        }
        let (jobs, pieces) = if options.full { (8, 25) } else { (2, 10) };
        let seeds: Vec<u64> = (0..jobs).map(|i| options.seed + i).collect();
        let label = format!("{members} members, fan-out {fanout}, {} % loss", loss * 100.0);
        let heard = runs::map(&label, &seeds, |seed| spread(&setting, *seed, pieces)).concat();
        let complete: Vec<f64> = heard
            .iter()
            .filter(|times| times.len() == members)
            .map(|times| times.iter().copied().fold(0.0, f64::max))
            .collect();
        let (measured, measured_99) = (mean(&complete), percentile(&complete, 0.99));
        table.row(
            label.clone(),
            format!("ticker: {model} mean, {model_99} p99; Serf says {:.2}", setting.serf()),
            format!(
                "{} mean, {} p99; {} of {} complete in 12 s",
                seconds(measured),
                seconds(measured_99),
                complete.len(),
                heard.len()
            ),
            Verdict::of(measured <= model * 1.1 && complete.len() == heard.len()),
        );
        curves.push((label, heard.concat()));
    }
    let caption = Caption {
        name: "gossip",
        title: "How fast gossip reaches all: Serf's convergence figures",
        parameters: &options.parameters(),
        x: "time until a member knows, s",
        y: "share of the members",
    };
    plot::distribution(options.out.as_deref(), caption, &curves);
    table
}
