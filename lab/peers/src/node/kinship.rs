use std::{thread, time::Duration};

use kinship::{Cluster, Config, Event, Member};
use tokio::sync::mpsc;

use super::{Problem, Setup, say};

const LEAVE_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn run(setup: Setup) -> Result<(), Problem> {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build()?.block_on(node(setup))
}

async fn node(setup: Setup) -> Result<(), Problem> {
    let mut config = Config::lan()
        .with_name(setup.name)
        .with_bind(setup.bind)
        .with_insecure_plaintext(true)
        .with_seeds(setup.seeds);
    if let Some(addr) = setup.advertise {
        config = config.with_advertise(addr);
    }
    let cluster = Cluster::start(config).await?;
    let mut events = cluster.events();
    for member in cluster.members() {
        say("joined", describe(&member));
    }
    let mut commands = read_commands();
    loop {
        tokio::select! {
            event = events.recv() => match event {
                Some(event) => tell(&cluster, &event),
                None => return Err("the node has ended".into()),
            },
            line = commands.recv() => match line.as_deref().map(|line| line.split_once(' ').unwrap_or((line, ""))) {
                Some(("tag", tag)) => {
                    say("tagging", tag);
                    cluster.set_meta(tag).await?;
                }
                Some(("leave", _)) => {
                    say("leaving", "");
                    let left = cluster.leave(LEAVE_TIMEOUT).await;
                    cluster.close().await;
                    say("gone", left.map_or_else(|error| error.to_string(), |()| "ok".into()));
                    return Ok(());
                }
                Some((other, _)) => say("unknown", other),
                // Whoever started it is gone.
                None => std::process::exit(0),
            },
        }
    }
}

fn describe(member: &Member) -> String {
    format!("{} {} {}", member.name, member.addr, String::from_utf8_lossy(&member.meta))
}

fn tell(cluster: &Cluster, event: &Event) {
    match event {
        Event::MemberJoined(member) => say("joined", describe(member)),
        Event::MemberUpdated { member, .. } | Event::MemberRecovered(member) => {
            say("updated", describe(member))
        }
        Event::MemberSuspect(member) => say("suspected", describe(member)),
        Event::MemberLeft(member) => say("left", describe(member)),
        Event::MemberDead(member) => say("failed", describe(member)),
        // It says nothing of whom; the members do.
        Event::EventsLost(_) => cluster.members().iter().for_each(|member| say("joined", describe(member))),
        other => say("other", format!("{other:?}")),
    }
}

fn read_commands() -> mpsc::UnboundedReceiver<String> {
    let (tell, commands) = mpsc::unbounded_channel();
    thread::spawn(move || {
        std::io::stdin().lines().map_while(Result::ok).try_for_each(|line| tell.send(line))
    });
    commands
}
