// What the charts share: colours, patterns, the time axis, labels.
"use strict";

const FONT = '12px system-ui, "Segoe UI", "Noto Sans", "DejaVu Sans", sans-serif';
let colours = {};

// Canvases know no variables of the style sheet: they are resolved here, anew for each theme.
function readColours() {
  const probe = document.createElement("i");
  document.body.append(probe);
  colours = {};
  for (const name of ["page", "panel", "ink", "soft", "line", "grid", "accent", "focus", "alive", "suspect", "failed", "left",
    "unknown", "on-suspect", "on-failed", "stall", "ping", "ack", "ping-req", "nack", "gossip", "lost"]) {
    probe.style.color = `var(--${name})`;
    colours[name] = getComputedStyle(probe).color;
  }
  probe.remove();
  patterns.clear();
}

const patterns = new Map();

// Suspect is hatched one way, failed crossed, left dotted: states differ by more than their colour.
function fillOf(pen, state) {
  if (!patterns.has(state)) patterns.set(state, makePattern(pen, STATES[state]));
  return patterns.get(state);
}

function makePattern(pen, state) {
  if (state === "alive" || state === "unknown") return colours[state];
  const tile = document.createElement("canvas");
  tile.width = tile.height = 8;
  const ink = tile.getContext("2d");
  ink.fillStyle = colours[state];
  ink.fillRect(0, 0, 8, 8);
  ink.strokeStyle = ink.fillStyle = state === "left" ? colours.page : colours[`on-${state}`];
  ink.lineWidth = 1;
  ink.beginPath();
  if (state === "suspect") { ink.moveTo(-1, 9); ink.lineTo(9, -1); }
  if (state === "failed") { ink.moveTo(0, 0); ink.lineTo(8, 8); ink.moveTo(8, 0); ink.lineTo(0, 8); }
  ink.stroke();
  if (state === "left") ink.fillRect(3, 3, 2, 2);
  return pen.createPattern(tile, "repeat");
}

// Makes a canvas this high, as wide as it is shown, sharp on every screen.
function prepare(canvas, height) {
  const ratio = window.devicePixelRatio || 1, width = canvas.parentElement.clientWidth;
  canvas.width = Math.round(width * ratio);
  canvas.height = Math.round(height * ratio);
  canvas.style.height = `${height}px`;
  const pen = canvas.getContext("2d");
  pen.setTransform(ratio, 0, 0, ratio, 0, 0);
  pen.fillStyle = colours.page;
  pen.fillRect(0, 0, width, height);
  pen.font = FONT;
  pen.textBaseline = "middle";
  return { pen, width, height };
}

// A step between ticks that is 1, 2 or 5 times a power of ten, for about so many ticks.
function tickStep(range, wanted) {
  const raw = range / Math.max(wanted, 1), power = 10 ** Math.floor(Math.log10(raw));
  return power * ([1, 2, 5].find(step => step * power >= raw) ?? 10);
}

// Ticks, their lines through the chart, and what the axis shows.
function timeAxis({ pen, width, height }, left, from, to, x) {
  const step = tickStep(to - from, (width - left) / 90), digits = Math.max(0, Math.ceil(-Math.log10(step / 1e6) - 1e-9));
  const bottom = height - 36;
  pen.textAlign = "center";
  for (let k = Math.ceil(from / step); k * step <= to; k++) {
    const at = k * step;
    pen.fillStyle = colours.grid;
    pen.fillRect(Math.round(x(at)), 0, 1, bottom);
    pen.fillStyle = colours.soft;
    pen.fillText((k * step / 1e6).toFixed(digits), x(at), bottom + 10);
  }
  pen.fillStyle = colours.soft;
  pen.fillText("seconds since the beginning of the run", left + (width - left) / 2, bottom + 27);
}

// A label that ends at the left edge of the chart, shortened if it must be.
function label(pen, text, right, y, width, colour = colours.ink) {
  pen.fillStyle = colour;
  pen.textAlign = "right";
  let shown = text;
  while (shown.length > 1 && pen.measureText(shown).width > width) shown = `${shown.replace(/…$/, "").slice(0, -1)}…`;
  pen.fillText(shown, right, y);
}

// The wall between the past and the future of the scrubber.
function cursor(pen, x, height) {
  pen.fillStyle = colours.ink;
  pen.fillRect(Math.round(x) - 1, 0, 2, height - 36);
  pen.beginPath();
  pen.moveTo(x - 6, 0); pen.lineTo(x + 6, 0); pen.lineTo(x, 8);
  pen.fill();
}

function element(tag, properties = {}, ...children) {
  const made = Object.assign(document.createElement(tag), properties);
  made.append(...children);
  return made;
}
