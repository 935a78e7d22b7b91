// Who believed what, when: a row for each observer and subject in a small cluster, for each subject in a big one.
"use strict";

const SMALL = 8;
const LEFT = 190;
const isSmall = observers.length * nodes.length <= SMALL * SMALL;

const chart = { rows: [], tops: [], selected: -1 };
const drill = { rows: [], tops: [], selected: -1, subject: -1 };

function buildRows(all) {
  const subjects = isSmall || all ? nodes.map((_, i) => i) : troubled;
  chart.rows = isSmall ? subjects.flatMap(rowsOfSubject) : subjects.map(subject => ({
    subject, label: nodes[subject].name, spans: sharesOf(subject), height: subjects.length > 24 ? 11 : 20, gap: subjects.length > 24 ? 2 : 3,
  }));
}

function rowsOfSubject(subject) {
  return observers.map((observer, i) => ({
    subject, observer, spans: spansOf(observer, subject), height: 13, gap: i === 0 ? 9 : 1,
    label: observer === subject ? "by itself" : `by ${nodes[observer].name}`, group: i === 0 ? nodes[subject].name : "",
  }));
}

// Observers of one subject, those that first heard of trouble on top.
function buildDrill(subject) {
  drill.subject = subject;
  const first = new Map();
  changesOf[subject].filter(change => change.state > 1).forEach(change => {
    if (!first.has(change.observer)) first.set(change.observer, change.at);
  });
  const sorted = observers.slice().sort((a, b) => (first.get(a) ?? Infinity) - (first.get(b) ?? Infinity) || a - b);
  const height = Math.max(2, Math.min(14, Math.floor(520 / sorted.length)));
  drill.rows = sorted.map(observer => ({
    subject, observer, spans: spansOf(observer, subject), height, gap: height > 8 ? 1 : 0,
    label: height > 10 ? nodes[observer].name : "",
  }));
}

function drawStrips(canvas, strips) {
  let y = 10;
  strips.tops = strips.rows.map(row => { y += row.gap; const top = y; y += row.height; return top; });
  const surface = prepare(canvas, y + 44), { pen, width, height } = surface;
  const x = time => LEFT + (time - run.start) / (run.end - run.start) * (width - LEFT - 14);
  strips.timeAt = pixel => run.start + Math.min(1, Math.max(0, (pixel - LEFT) / (width - LEFT - 14))) * (run.end - run.start);
  timeAxis(surface, LEFT, run.start, run.end, x);
  strips.rows.forEach((row, i) => {
    const top = strips.tops[i], chosen = i === strips.selected;
    row.spans.forEach(span => drawSpan(pen, span, x(span.from), x(span.to), top, row.height));
    const middle = top + row.height / 2, ink = chosen ? colours.accent : colours.ink;
    if (row.label) label(pen, row.label, LEFT - 8, middle, isSmall ? LEFT / 2 : LEFT - 14, ink);
    if (row.group) {
      pen.font = `bold ${FONT}`;
      label(pen, row.group, LEFT / 2 - 12, middle, LEFT / 2 - 18);
      pen.font = FONT;
    }
    if (chosen) {
      pen.strokeStyle = colours.accent;
      pen.lineWidth = 2;
      pen.strokeRect(LEFT - 1, top - 1, width - LEFT - 12, row.height + 2);
    }
  });
  shadeWindow(pen, x, height);
  cursor(pen, x(view.time), height);
}

function drawSpan(pen, span, from, to, top, height) {
  const width = Math.max(to - from, 0.6);
  if (!span.counts) {
    pen.fillStyle = fillOf(pen, span.state);
    pen.fillRect(from, top, width, height);
    return;
  }
  // The worst lies at the bottom, as high as its share of the observers.
  const all = span.counts.reduce((sum, count) => sum + count, 0);
  let bottom = top + height;
  for (const state of [3, 4, 2, 1]) {
    if (!span.counts[state]) continue;
    const share = Math.max(span.counts[state] / all * height, state > 1 ? 1.5 : 0);
    pen.fillStyle = fillOf(pen, state);
    pen.fillRect(from, Math.max(top, bottom - share), width, Math.min(share, bottom - top));
    bottom -= share;
  }
}

// The part of the run that the datagrams below are of.
function shadeWindow(pen, x, height) {
  const [from, to] = diagramWindow(), width = Math.max(x(to) - x(from), 3);
  pen.strokeStyle = colours.accent;
  pen.lineWidth = 1.5;
  pen.setLineDash([5, 3]);
  pen.strokeRect(x(from), 4, width, height - 42);
  pen.setLineDash([]);
}

function drawBeliefs() {
  drawStrips(byId("beliefs"), chart);
  if (drill.subject >= 0) drawStrips(byId("drill-chart"), drill);
  const of = isSmall ? `${chart.rows.length} rows: each member as each recorded observer saw it`
    : `${chart.rows.length} members, each with the share of ${observers.length} observers for each state`;
  byId("beliefs").setAttribute("aria-label", `States over time, ${of}. Arrow keys choose a row; its states are in the text below.`);
}

function chooseRow(strips, index) {
  const row = strips.rows[index];
  if (!row) return;
  strips.selected = index;
  if (strips === chart && !isSmall) showDrill(row.subject);
  view.subject = row.subject;
  refresh();
}

function showDrill(subject) {
  buildDrill(subject);
  drill.selected = -1;
  byId("drill").hidden = false;
  byId("drill-title").textContent = `${nodes[subject].name}, as each of ${observers.length} observers saw it (first to learn of trouble on top)`;
  byId("drill-chart").setAttribute("aria-label", byId("drill-title").textContent);
}

function rowAt(strips, y) {
  return strips.rows.findIndex((row, i) => y >= strips.tops[i] - row.gap && y < strips.tops[i] + row.height);
}

function describeRow(row, time) {
  const name = nodes[row.subject].name;
  if (row.observer !== undefined) {
    const span = row.spans.find(span => span.from <= time && time < span.to);
    return `${nodes[row.observer].name} says of ${name}: ${span ? STATES[span.state] : "not recorded then"}`;
  }
  const span = row.spans.find(span => span.from <= time && time < span.to);
  const counts = (span?.counts ?? []).map((count, state) => count && `${count} ${STATES[state]}`).filter(Boolean);
  return `${name}: ${counts.join(", ") || "no observer"}`;
}

function stripEvents(canvas, strips) {
  canvas.addEventListener("click", event => {
    view.time = strips.timeAt(event.offsetX);
    chooseRow(strips, rowAt(strips, event.offsetY));
    refresh();
  });
  canvas.addEventListener("mousemove", event => {
    const row = strips.rows[rowAt(strips, event.offsetY)], time = strips.timeAt(event.offsetX);
    canvas.title = row && event.offsetX > LEFT ? `${seconds(time)}: ${describeRow(row, time)}` : "";
  });
  canvas.addEventListener("keydown", event => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step || !strips.rows.length) return;
    event.preventDefault();
    chooseRow(strips, Math.min(strips.rows.length - 1, Math.max(0, strips.selected + step)));
    byId("table-row").textContent = describeRow(strips.rows[strips.selected], view.time);
  });
}
