//! The behaviour of a recorded node with another configuration.

use super::{Difference, Recording, Said, dissect};
use crate::{
    Error,
    swim::{Config, Event, Node, Output, Time},
};

/// The results of the same inputs with both configurations.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct WhatIf {
    /// Events as they were recorded.
    pub recorded: Vec<(Time, Event)>,
    /// Those with the other configuration.
    pub changed: Vec<(Time, Event)>,
    /// When both first asked different questions. Answers that come later are to the recorded ones, so what the other
    /// configuration makes of silence from then on is not evidence.
    pub parted: Option<Time>,
}

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum WhatIfProblem {
    /// The configuration is not valid.
    #[error(transparent)]
    Config(#[from] Error),
    /// The recording is not replayed as it is.
    #[error(transparent)]
    Differs(#[from] Box<Difference>),
}

impl Recording {
    /// Gives another configuration the same inputs at the same times. Timers fire when they are due, but while the recorded
    /// node was late with its own, this one is late as well.
    ///
    /// # Errors
    /// The configuration is not valid, or the recording cannot be replayed.
    pub fn what_if(&self, config: &Config) -> Result<WhatIf, WhatIfProblem> {
        config.validate()?;
        let mut replay = self.replay();
        let mut other = Variant::new(self.replay().into_node(), config);
        let (mut recorded, mut asked) = (Vec::new(), Vec::new());
        loop {
            let due = replay.node().poll_timeout();
            let Some(step) = replay.next() else { break };
            let step = step.map_err(Box::new)?;
            recorded.extend(step.events().map(|event| (step.at, event.clone())));
            asked.extend(step.sent.iter().filter_map(|sent| Some((step.at, question(&sent.bytes)?))));
            match step.input {
                Some(input) => {
                    other.wait(due, step.at);
                    other.node.give(step.at, &input);
                }
                // A gap: both begin again.
                None => other = Variant { node: replay.node_again(), ..other }.configured(config),
            }
            other.drain(step.at);
        }
        let both = asked.iter().zip(&other.asked);
        let parted = both.clone().find(|((_, recorded), (_, changed))| recorded != changed);
        let parted = parted.map(|((at, _), (then, _))| *at.min(then));
        let rest = asked.get(both.len()).or(other.asked.get(both.len())).map(|(at, _)| *at);
        Ok(WhatIf { recorded, changed: other.events, parted: parted.or(rest) })
    }
}

/// The number of a ping and its target.
fn question(bytes: &[u8]) -> Option<(u32, String)> {
    dissect(bytes)?.messages.into_iter().find_map(|said| match said {
        Said::Ping { seq, target } => Some((seq, target)),
        _ => None,
    })
}

/// The node with the other configuration.
struct Variant {
    node: Node,
    events: Vec<(Time, Event)>,
    asked: Vec<(Time, (u32, String))>,
    buffer: Vec<u8>,
}

impl Variant {
    fn new(node: Node, config: &Config) -> Self {
        Self { node, events: Vec::new(), asked: Vec::new(), buffer: Vec::new() }.configured(config)
    }

    fn configured(mut self, config: &Config) -> Self {
        self.node.reconfigure(config.clone());
        self
    }

    /// Fires what is due before `now` and before the recorded node's next timer, which is due at `due`: that one was late by
    /// as much as the recording says.
    fn wait(&mut self, due: Option<Time>, now: Time) {
        let until = due.map_or(now, |due| due.min(now));
        while let Some(at) = self.node.poll_timeout().filter(|at| *at < until) {
            self.node.handle_timeout(at);
            self.drain(at);
        }
    }

    fn drain(&mut self, now: Time) {
        while self.node.poll_transmit(&mut self.buffer).is_some() {
            self.asked.extend(question(&self.buffer).map(|question| (now, question)));
        }
        while let Some(output) = self.node.poll_output() {
            if let Output::Event(event) = output {
                self.events.push((now, event));
            }
        }
    }
}
