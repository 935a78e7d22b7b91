// The space–time diagram: a line for each node, an arrow for each datagram.
"use strict";

// What a datagram is drawn as: that of its most telling message. Bits as in `lab/src/view/run.rs`.
const KINDS = [
  { name: "ping-req", bit: 4, dash: [9, 3], tail: "square", label: "ping-req (asks a relay)" },
  { name: "nack", bit: 8, dash: [2, 3], tail: "diamond", label: "nack (a relay heard nothing)" },
  { name: "ping", bit: 1, dash: [], tail: "disc", label: "ping" },
  { name: "ack", bit: 2, dash: [], tail: "ring", label: "ack" },
  { name: "gossip", bit: 0, dash: [1, 2], tail: "", label: "no probe: gossip, answers of other kinds" },
];
const BADGES = [[32, "F", "failed"], [16, "S", "suspect"], [128, "L", "left"], [64, "A", "alive"]];
const shown = { kinds: new Set(KINDS.map(kind => kind.name)), arrows: [], rows: [], selected: -1 };

const kindOf = what => KINDS.find(kind => what.kind & kind.bit) ?? KINDS.at(-1);

// The badge of a datagram: what it claims of the member that is looked at, else any accusation.
function badgeOf(what) {
  const about = what.claims.filter(([subject]) => subject === view.subject);
  const bits = (about.length ? about : what.claims).reduce((all, [, bit]) => all | bit, 0);
  return BADGES.find(([bit]) => bits & bit & (about.length ? 255 : 48));
}

// It stays where it is while the scrubber is in it.
function diagramWindow() {
  if (view.time < view.from || view.time > view.from + view.span) view.from = view.time - view.span / 2;
  view.from = Math.max(run.start, Math.min(view.from, run.end - view.span));
  return [view.from, Math.min(run.end, view.from + view.span)];
}

// A datagram that waited until a process went on that was held up: it had arrived long before it was read.
function hasWaited({ at, end, to }) {
  return end - at > 100e3 && nodes[to].stalls.some(([, on]) => Math.abs(end - on) < 100e3);
}

function inWindow() {
  const [from, to] = diagramWindow();
  // A datagram may have been sent before: none is under way for longer than the longest that is kept.
  const kept = datagrams.slice(after(datagrams, from - run.longest - 1), after(datagrams, to));
  return kept.filter(datagram => datagram.end >= from);
}

// The lines that matter most: the member that is looked at, then those that speak with it or of it.
function chooseLines(window) {
  const most = +byId("lines").value;
  if (nodes.length <= most) return nodes.map((_, i) => i);
  const weight = new Map();
  const add = (node, by) => weight.set(node, (weight.get(node) ?? 0) + by);
  for (const { from, to, what } of window) {
    const ends = [from, to].includes(view.subject);
    const about = what.target === view.subject || what.claims.some(([subject, bit]) => subject === view.subject && bit !== 64);
    const by = (ends ? 20 : 0) + (what.target === view.subject ? 15 : 0) + (about ? 2 : 0);
    if (by) { add(from, by); add(to, by); }
  }
  view.verdict?.accusers.forEach(node => add(node, 1e4));
  if (view.verdict) add(view.verdict.observer, 1e4);
  if (view.subject >= 0) add(view.subject, 1e6);
  const sorted = [...weight].sort((a, b) => b[1] - a[1] || a[0] - b[0]).slice(0, most).map(([node]) => node);
  for (let i = 0; sorted.length < Math.min(most, 3) && i < nodes.length; i++) if (!sorted.includes(i)) sorted.push(i);
  return sorted.sort((a, b) => a - b);
}

function drawDatagrams() {
  const window = inWindow(), [from, to] = diagramWindow();
  shown.rows = chooseLines(window);
  const gap = shown.rows.length <= 4 ? 70 : shown.rows.length <= 12 ? 44 : shown.rows.length <= 24 ? 28 : 16;
  const surface = prepare(byId("datagrams"), 30 + gap * (shown.rows.length - 1) + 22 + 40), { pen, width, height } = surface;
  const x = time => LEFT + (time - from) / (to - from) * (width - LEFT - 14);
  shown.timeAt = pixel => from + Math.min(1, Math.max(0, (pixel - LEFT) / (width - LEFT - 14))) * (to - from);
  const lines = new Map(shown.rows.map((node, i) => [node, 24 + gap * i]));
  timeAxis(surface, LEFT, from, to, x);
  pen.save();
  pen.beginPath();
  pen.rect(LEFT, 0, width - LEFT, height - 36);
  pen.clip();
  shadeUnkept(pen, x, from, to, height);
  lines.forEach((y, node) => drawLifeline(pen, node, y, x, from, to));
  const between = window.filter(({ from, to }) => lines.has(from) && lines.has(to));
  shown.arrows = between.filter(({ what }) => shown.kinds.has(kindOf(what).name)).map(datagram => ({
    datagram, x1: x(datagram.at), y1: lines.get(datagram.from), y2: lines.get(datagram.to),
    x2: hasWaited(datagram) ? x(datagram.at) : x(datagram.end),
  }));
  shown.arrows.forEach(arrow => drawArrow(pen, arrow));
  drawBadges(pen);
  lines.forEach((y, node) => nameStalls(pen, node, y, x, from, to));
  const selected = shown.arrows.find(({ datagram }) => datagram === view.datagram);
  if (selected) drawArrow(pen, selected, true);
  cursor(pen, x(view.time), height);
  pen.restore();
  lines.forEach((y, node) => label(pen, nodes[node].name, LEFT - 12, y, LEFT - 18, node === view.subject ? colours.accent : colours.ink));
  noteOf(window, between);
}

function noteOf(window, between) {
  const lost = between.filter(({ fate }) => fate === LOST).length;
  const parts = [`${shown.arrows.length} datagrams drawn, ${lost} of them lost (ending in a cross)`];
  if (window.length > between.length) parts.push(`${window.length - between.length} more go to or from members without a line here`);
  if (run.windows.every(([from, to]) => to < diagramWindow()[0] || from > diagramWindow()[1])) {
    parts.push("datagrams of this time are not in this file: only those around verdicts are");
  }
  byId("datagrams-note").textContent = `${parts.join("; ")}.`;
  byId("datagrams").setAttribute("aria-label",
    `Datagrams between ${shown.rows.length} members. ${parts.join("; ")}. Arrow keys choose one; it is described below, and all are in the table.`);
}

// Times of which the file has no datagrams.
function shadeUnkept(pen, x, from, to, height) {
  pen.fillStyle = colours.panel;
  let at = from;
  for (const [begin, end] of run.windows) {
    if (begin > at) pen.fillRect(x(at), 0, x(Math.min(begin, to)) - x(at), height - 36);
    at = Math.max(at, end);
  }
  if (at < to) pen.fillRect(x(at), 0, x(to) - x(at), height - 36);
}

// Thick while the node is recorded; a box while it was held up.
function drawLifeline(pen, node, y, x, from, to) {
  pen.fillStyle = colours.line;
  for (let at = LEFT; at < x(to); at += 7) pen.fillRect(at, y, 3, 1);
  pen.fillStyle = node === view.subject ? colours.accent : colours.soft;
  nodes[node].recorded.forEach(([begin, end]) => {
    if (end < from || begin > to) return;
    pen.fillRect(x(begin), y - 1, x(end) - x(begin), 2);
    if (end < run.end) pen.fillRect(x(end) - 1, y - 7, 3, 14);
  });
  nodes[node].stalls.forEach(([begin, end]) => {
    if (end < from || begin > to) return;
    const left = Math.max(x(begin), LEFT);
    pen.fillStyle = colours.page;
    pen.strokeStyle = colours.stall;
    pen.lineWidth = 2;
    pen.fillRect(left, y - 8, x(end) - left, 16);
    pen.strokeRect(left, y - 8, x(end) - left, 16);
  });
}

// Over the arrows, since it is the cause of many.
function nameStalls(pen, node, y, x, from, to) {
  nodes[node].stalls.filter(([begin, end]) => end >= from && begin <= to).forEach(([begin, end]) => {
    const left = Math.max(x(begin), LEFT), text = `held up ${length(end - begin)}`, { width } = pen.measureText(text);
    if (Math.min(x(end), x(to)) - left < width + 14) return;
    pen.fillStyle = colours.page;
    pen.fillRect(left + 3, y - 6, width + 6, 12);
    pen.fillStyle = colours.stall;
    pen.textAlign = "left";
    pen.fillText(text, left + 6, y);
  });
}

function drawArrow(pen, { datagram, x1, y1, x2, y2 }, selected = false) {
  const kind = kindOf(datagram.what), colour = datagram.fate === LOST ? colours.lost : colours[kind.name];
  let [ex, ey] = [x2, y2], [bx, by] = [x1, y1];
  // Lost, or nobody knows: it ends short of the receiver. Sent by nobody that was recorded: it begins on its way.
  if (datagram.fate === LOST || datagram.fate === UNSEEN) [ex, ey] = [x1 + 5, y2 + Math.sign(y1 - y2) * 13];
  if (datagram.fate === UNSENT) [bx, by] = [x2 - 8, y1 + (y2 - y1) * 0.5];
  pen.strokeStyle = pen.fillStyle = colour;
  pen.lineWidth = selected ? 4 : 1.4;
  pen.setLineDash(selected ? [] : kind.dash);
  pen.beginPath();
  pen.moveTo(bx, by); pen.lineTo(ex, ey);
  pen.stroke();
  pen.setLineDash([]);
  drawTail(pen, kind.tail, bx, by);
  if (datagram.fate === LOST) drawCross(pen, ex, ey);
  else if (datagram.fate === UNSEEN) { pen.textAlign = "center"; pen.fillText("?", ex + 2, ey + (y2 > y1 ? 7 : -7)); }
  else drawHead(pen, Math.atan2(ey - by, ex - bx), ex, ey);
}

function drawTail(pen, tail, x, y) {
  pen.beginPath();
  if (tail === "disc" || tail === "ring") pen.arc(x, y, 3, 0, 7);
  if (tail === "square") pen.rect(x - 3, y - 3, 6, 6);
  if (tail === "diamond") { pen.moveTo(x, y - 4); pen.lineTo(x + 4, y); pen.lineTo(x, y + 4); pen.lineTo(x - 4, y); pen.closePath(); }
  if (tail !== "ring") return pen.fill();
  const ink = pen.fillStyle;
  pen.fillStyle = colours.page;
  pen.fill();
  pen.lineWidth = 1.4;
  pen.stroke();
  pen.fillStyle = ink;
}

function drawHead(pen, angle, x, y) {
  pen.beginPath();
  pen.moveTo(x, y);
  for (const turn of [2.7, -2.7]) pen.lineTo(x + 7 * Math.cos(angle + turn), y + 7 * Math.sin(angle + turn));
  pen.fill();
}

function drawCross(pen, x, y) {
  pen.lineWidth = 2.4;
  pen.beginPath();
  for (const turn of [-1, 1]) { pen.moveTo(x - 4, y - 4 * turn); pen.lineTo(x + 4, y + 4 * turn); }
  pen.stroke();
}

// Letters for what is claimed, where there is room.
function drawBadges(pen) {
  const taken = new Set();
  pen.font = `bold ${FONT.replace("12px", "10px")}`;
  pen.textAlign = "center";
  for (const { datagram, x1, y1, x2, y2 } of shown.arrows) {
    const badge = badgeOf(datagram.what);
    if (!badge) continue;
    const x = x1 + (x2 - x1) * 0.3, y = y1 + (y2 - y1) * 0.3, place = `${Math.round(x / 13)},${Math.round(y / 13)}`;
    if (taken.has(place)) continue;
    taken.add(place);
    pen.fillStyle = colours.page;
    pen.strokeStyle = colours.ink;
    pen.lineWidth = 1;
    pen.beginPath();
    pen.arc(x, y, 6.5, 0, 7);
    pen.fill();
    pen.stroke();
    pen.fillStyle = colours.ink;
    pen.fillText(badge[1], x, y + 0.5);
  }
  pen.font = FONT;
}

function describe({ at, end, from, to, fate, what }) {
  const ends = `${nodes[from].name} → ${nodes[to].name}: ${what.text}`;
  const took = hasWaited({ at, end, to }) ? `read ${length(end - at)} later, when ${nodes[to].name} went on` : `took ${length(end - at)}`;
  const when = [`sent at ${seconds(at, 6)}, ${took}`, `sent at ${seconds(at, 6)}, lost`,
    `sent at ${seconds(at, 6)}; the receiver was not recorded`, `received at ${seconds(end, 6)}; the sender was not recorded`][fate];
  return `${ends}; ${when}.`;
}

function pick(datagram) {
  view.datagram = datagram;
  byId("datagram").textContent = datagram ? describe(datagram) : "Point at an arrow, or choose one with the arrow keys, to read it.";
  drawDatagrams();
}

function nearest(px, py) {
  const distance = ({ x1, y1, x2, y2 }) => {
    const [dx, dy] = [x2 - x1, y2 - y1];
    const t = Math.min(1, Math.max(0, ((px - x1) * dx + (py - y1) * dy) / (dx * dx + dy * dy || 1)));
    return Math.hypot(px - x1 - t * dx, py - y1 - t * dy);
  };
  const best = shown.arrows.reduce((best, arrow) => {
    const far = distance(arrow);
    return far < best.far ? { far, arrow } : best;
  }, { far: 9 });
  return best.arrow?.datagram;
}

function diagramEvents(canvas) {
  canvas.addEventListener("mousemove", event => {
    const found = nearest(event.offsetX, event.offsetY);
    if (found && found !== view.datagram) pick(found);
  });
  canvas.addEventListener("click", event => { view.time = shown.timeAt(event.offsetX); refresh(); });
  canvas.addEventListener("wheel", event => {
    if (!event.ctrlKey && !event.shiftKey) return;
    event.preventDefault();
    zoom(event.deltaY > 0 ? 1.5 : 1 / 1.5);
  }, { passive: false });
  canvas.addEventListener("keydown", event => {
    const step = { ArrowUp: -1, ArrowDown: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    const all = shown.arrows.map(({ datagram }) => datagram), at = all.indexOf(view.datagram);
    pick(all[Math.min(all.length - 1, Math.max(0, at + step))]);
  });
}

function buildLegend() {
  byId("kinds").replaceChildren(...KINDS.map(kind => {
    const box = element("input", { type: "checkbox", checked: shown.kinds.has(kind.name) });
    box.addEventListener("change", () => { shown.kinds[box.checked ? "add" : "delete"](kind.name); refresh(); });
    const { canvas, pen } = sample();
    drawArrow(pen, { datagram: { fate: ARRIVED, what: { kind: kind.bit, claims: [] } }, x1: 4, y1: 7, x2: 32, y2: 7 });
    return element("li", {}, element("label", {}, box, " ", canvas, kind.label));
  }), element("li", {}, `Letters, of ${view.subject >= 0 ? nodes[view.subject].name : "a member"} first: S suspect, F failed, A alive, L left. A cross: lost. Box on a line: that node was held up.`));
}

function sample() {
  const canvas = document.createElement("canvas"), ratio = window.devicePixelRatio || 1;
  [canvas.width, canvas.height] = [34 * ratio, 14 * ratio];
  const pen = canvas.getContext("2d");
  pen.scale(ratio, ratio);
  return { canvas, pen };
}
