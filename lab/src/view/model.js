// The run: what is embedded in this page, decoded, and what can be asked of it. Times are microseconds since the run began;
// what is shown begins at `run.start`.
"use strict";

const STATES = ["unknown", "alive", "suspect", "failed", "left"];
const ARRIVED = 0, LOST = 1, UNSEEN = 2, UNSENT = 3;

const run = JSON.parse(document.getElementById("run").textContent);
const nodes = run.nodes;
const observers = nodes.map((_, i) => i).filter(i => nodes[i].recorded.length > 0);

function sums(deltas) {
  let sum = 0;
  return deltas.map(delta => sum += delta);
}

// Of each subject, its changes in time: {at, observer, state}.
const changesOf = nodes.map(() => []);
const changeTimes = [];
{
  const { at, observer, subject, state } = run.beliefs;
  sums(at).forEach((time, i) => {
    changesOf[subject[i]].push({ at: time, observer: observer[i], state: state[i] });
    if (time > run.start && changeTimes.at(-1) !== time) changeTimes.push(time);
  });
}

const datagrams = (() => {
  const { sent, took, from, to, text, fate } = run.datagrams;
  return sums(sent).map((time, i) => ({
    at: time, end: time + took[i], from: from[i], to: to[i], fate: fate[i], what: run.texts[text[i]],
  }));
})();

// The first item whose `at` is later than a time.
function after(items, time) {
  let low = 0, high = items.length;
  while (low < high) {
    const middle = (low + high) >> 1;
    if ((items[middle].at ?? items[middle]) > time) high = middle; else low = middle + 1;
  }
  return low;
}

// What everybody believes of a subject at a time, by observer.
function beliefsAt(subject, time) {
  const beliefs = new Map(), lives = nodes.map((_, node) => lifeAt(node, time));
  for (const change of changesOf[subject]) {
    if (change.at > time) break;
    if (lives[change.observer] && change.at >= lives[change.observer][0]) beliefs.set(change.observer, change.state);
  }
  return beliefs;
}

// The part of a node's life that is recorded and holds this time.
function lifeAt(node, time) {
  return nodes[node].recorded.find(([from, to]) => from <= time && time <= to);
}

// Of one observer and one subject: spans of one state each.
function spansOf(observer, subject) {
  const spans = [];
  for (const [from, to] of nodes[observer].recorded) {
    let span = { from, to, state: 0 };
    for (const change of changesOf[subject]) {
      if (change.observer !== observer || change.at < from || change.at > to) continue;
      if (change.at > span.from) spans.push({ ...span, to: change.at });
      span = { from: change.at, to, state: change.state };
    }
    spans.push(span);
  }
  return spans;
}

// Of one subject: spans with how many observers are of which belief.
function sharesOf(subject) {
  const happenings = changesOf[subject].map(change => ({ ...change, order: 1 }));
  observers.forEach(observer => nodes[observer].recorded.forEach(([from, to]) => {
    happenings.push({ at: from, observer, state: 0, order: 0 }, { at: to, observer, state: -1, order: 2 });
  }));
  happenings.sort((a, b) => a.at - b.at || a.order - b.order);
  const spans = [], counts = [0, 0, 0, 0, 0], beliefs = new Map();
  let from = run.start;
  for (const { at, observer, state } of happenings) {
    if (at > from) spans.push({ from, to: at, counts: counts.slice() });
    from = at;
    if (beliefs.has(observer)) counts[beliefs.get(observer)]--;
    beliefs.delete(observer);
    if (state >= 0) { counts[state]++; beliefs.set(observer, state); }
  }
  if (run.end > from) spans.push({ from, to: run.end, counts: counts.slice() });
  return spans;
}

// Members of whom anybody ever believed that they were suspect or had departed.
const troubled = nodes.map((_, i) => i).filter(i => changesOf[i].some(change => change.state > 1));

function seconds(time, digits = 3) {
  return `${(time / 1e6).toFixed(digits)} s`;
}

function length(micros) {
  if (micros < 1000) return `${Math.round(micros)} µs`;
  if (micros < 1e6) return `${+(micros / 1000).toPrecision(3)} ms`;
  return `${+(micros / 1e6).toPrecision(3)} s`;
}
