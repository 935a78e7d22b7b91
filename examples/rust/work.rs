//! Work by query: all nodes count the primes below a number, each its part, and the asking node adds them up. It does the
//! parts without an answer itself: `echo 1000000 | cargo run --bin work b 127.0.0.1:7002 127.0.0.1:7001`.

mod arguments;

use std::{error::Error, io, process::ExitCode, thread, time::Duration};

use syncswim::{Gossip, GossipConfig, Query, Requests};

const USAGE: &str =
    "Counts primes with all nodes of its cluster: below each number that it reads, until its input ends.

usage: work NAME ADDR [SEED]

  --help  shows this

example: cargo run --bin work a 127.0.0.1:7001";

/// How many primes below `limit` there are among `part`, `part + parts`, `part + 2 · parts` …
fn primes(limit: u64, part: usize, parts: usize) -> usize {
    let is_prime = |n: &u64| *n > 1 && (2..).take_while(|d| d * d <= *n).all(|d| !n.is_multiple_of(d));
    (part as u64..limit).step_by(parts).filter(is_prime).count()
}

/// Answers requests with a limit and, line by line, the names of the nodes that take part.
fn serve(requests: &Requests, own: &str) {
    for request in requests {
        let text = String::from_utf8_lossy(request.payload()).into_owned();
        let (limit, names) = text.split_once('\n').unwrap_or_default();
        let part = names.lines().position(|name| name == own);
        let count = |(limit, part)| primes(limit, part, names.lines().count()).to_string();
        let result = match limit.parse().ok().zip(part).map(count) {
            Some(count) => request.answer(count.as_bytes()),
            None => request.refuse("there is no part for this node"),
        };
        result.unwrap_or_else(|error| eprintln!("work: {}", error.report()));
    }
}

fn count(node: &Gossip, limit: u64) -> Result<(), Box<dyn Error>> {
    let names: Vec<String> = node.members().live().map(|member| member.name.to_string()).collect();
    let query = Query::new("primes").payload(format!("{limit}\n{}", names.join("\n")).as_bytes());
    let mut answers = node.query(&query.within(Duration::from_secs(10)))?;
    let mut counts = vec![None; names.len()];
    for answered in &mut answers {
        let part = names.iter().position(|name| **name == *answered.member.name);
        if let (Some(part), Ok(answer)) = (part, answered.result) {
            counts[part] = Some(String::from_utf8_lossy(&answer.payload).parse()?);
        }
    }
    let or_own =
        |(part, count): (usize, &Option<usize>)| count.unwrap_or_else(|| primes(limit, part, names.len()));
    let sum: usize = counts.iter().enumerate().map(or_own).sum();
    println!("{sum} primes below {limit}: {}", answers.report());
    Ok(())
}

fn main() -> ExitCode {
    let Err(error) = run(&arguments::read(USAGE, 2..=3)) else { return ExitCode::SUCCESS };
    eprintln!("work: {}", error.downcast_ref().map_or_else(|| error.to_string(), syncswim::Error::report));
    ExitCode::FAILURE
}

fn run(arguments: &[String]) -> Result<(), Box<dyn Error>> {
    let own = arguments[0].clone();
    let node = Gossip::start(GossipConfig::local(&own).bind(arguments[1].as_str()))?;
    let requests = node.serve("primes")?;
    thread::Builder::new().name("primes".into()).spawn(move || serve(&requests, &own))?;
    if let Some(seed) = arguments.get(2) {
        node.join([seed])?;
    }
    println!("listens on {}", node.local().addr);
    for line in io::stdin().lines() {
        count(&node, line?.trim().parse()?)?;
    }
    Ok(node.shutdown()?)
}
