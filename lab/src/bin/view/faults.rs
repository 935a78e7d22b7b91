//! The faults of a simulated cluster, from the command line.

use std::{str::FromStr, time::Duration};

use syncswim::sim::{Fault, Side};

/// A fault and its time.
#[derive(Debug, Clone)]
pub(crate) struct Planned {
    pub(crate) at: Duration,
    pub(crate) fault: Fault,
    /// As it was asked for.
    pub(crate) text: String,
    /// The greatest number of a node in it.
    pub(crate) highest: usize,
}

impl FromStr for Planned {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (at, what) = text.split_once(':').ok_or("it must be AT:WHAT")?;
        let (fault, highest) = fault(&what.split(':').collect::<Vec<_>>())?;
        Ok(Self { at: seconds(at)?, fault, text: what.replace(':', " "), highest })
    }
}

fn fault(words: &[&str]) -> Result<(Fault, usize), String> {
    let fault = match words {
        ["crash", node] => Fault::Crash(number(node)?),
        ["restart", node] => Fault::Restart(number(node)?),
        ["leave", node] => Fault::Leave(number(node)?),
        ["pause", node, length] => Fault::Pause(number(node)?, seconds(length)?),
        ["block", node, length] => Fault::Block(number(node)?, seconds(length)?),
        ["late", node, length] => Fault::LateTimers(number(node)?, seconds(length)?),
        ["cut", from, to] => Fault::Cut(number(from)?, number(to)?),
        ["deaf", node] => Fault::FilteredUdp(Side::Into(number(node)?)),
        ["isolate", nodes] => Fault::Isolate(nodes.split('+').map(number).collect::<Result<_, _>>()?),
        ["loss", share] => Fault::Loss(
            share.parse().ok().filter(|share| (0.0..1.0).contains(share)).ok_or("loss is a share, 0..1")?,
        ),
        ["heal"] => Fault::Heal,
        _ => return Err(format!("there is no fault {}", words.join(":"))),
    };
    let numbers = words[1..].iter().take(if words[0] == "cut" { 2 } else { 1 });
    let highest = numbers.flat_map(|word| word.split('+')).filter_map(|word| word.parse().ok()).max();
    Ok((fault, highest.unwrap_or(0)))
}

fn number(word: &str) -> Result<usize, String> {
    word.parse().map_err(|_| format!("{word} is not a number of a node"))
}

fn seconds(word: &str) -> Result<Duration, String> {
    let number: f64 = word.parse().map_err(|_| format!("{word} is not a number of seconds"))?;
    Duration::try_from_secs_f64(number).map_err(|problem| format!("{word}: {problem}"))
}
