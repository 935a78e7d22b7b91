// The state of the page: the time, the span of the datagrams, what is looked at; and the controls.
"use strict";

const byId = id => document.getElementById(id);
const view = { time: run.start, from: run.start, span: run.span, subject: -1, verdict: null, datagram: null, playing: false };

function refresh() {
  view.time = Math.min(run.end, Math.max(run.start, view.time));
  const slider = byId("time");
  slider.value = Math.round((view.time - run.start) / 1000);
  slider.setAttribute("aria-valuetext", seconds(view.time));
  byId("now").textContent = seconds(view.time);
  byId("span").textContent = length(view.span);
  document.querySelectorAll("#verdicts button").forEach((button, i) => button.setAttribute("aria-pressed", run.verdicts[i] === view.verdict));
  drawBeliefs();
  drawDatagrams();
  buildTable();
  buildList();
}

function zoom(by) {
  // What the scrubber is at stays where it is.
  const share = (view.time - view.from) / view.span;
  view.span = Math.min(run.end - run.start, Math.max(200, view.span * by));
  view.from = view.time - share * view.span;
  refresh();
}

function toChange(direction) {
  if (direction > 0) view.time = changeTimes[after(changeTimes, view.time + 0.5)] ?? run.end;
  else view.time = changeTimes[after(changeTimes, view.time - 0.5) - 1] ?? run.start;
  refresh();
}

function play(on) {
  view.playing = on;
  byId("play").textContent = on ? "Pause" : "Play";
  let last = performance.now();
  const frame = now => {
    if (!view.playing) return;
    view.time += (now - last) * 1000 * byId("speed").value;
    last = now;
    if (view.time >= run.end) play(false);
    refresh();
    requestAnimationFrame(frame);
  };
  if (on) {
    if (view.time >= run.end) view.time = run.start;
    requestAnimationFrame(frame);
  }
}

function setTheme(theme) {
  document.documentElement.dataset.theme = theme;
  byId("theme").textContent = theme === "dark" ? "Light" : "Dark";
  repaint();
}

function repaint() {
  readColours();
  buildHead();
  buildLegend();
  refresh();
}

function onKey(event) {
  const tag = event.target.tagName;
  if (event.ctrlKey || event.metaKey || event.altKey || tag === "SELECT") return;
  const isButton = ["BUTTON", "SUMMARY", "INPUT"].includes(tag), step = view.span / (event.shiftKey ? 2 : 20);
  const does = { n: () => toChange(1), p: () => toChange(-1), "+": () => zoom(1 / 1.5), "=": () => zoom(1 / 1.5), "-": () => zoom(1.5) };
  if (!isButton) does[" "] = () => play(!view.playing);
  if (!isButton || event.target.id === "time") {
    does.ArrowRight = () => { view.time += step; refresh(); };
    does.ArrowLeft = () => { view.time -= step; refresh(); };
  }
  if (!does[event.key]) return;
  event.preventDefault();
  does[event.key]();
}

function begin() {
  const slider = byId("time");
  slider.max = Math.ceil((run.end - run.start) / 1000);
  slider.addEventListener("input", () => { view.time = run.start + slider.value * 1000; refresh(); });
  byId("lines").append(...[8, 12, 24, 48].filter((most, i, all) => i === 0 || all[i - 1] < nodes.length)
    .map(most => element("option", { value: most, textContent: most >= nodes.length ? `all ${nodes.length}` : `${most} of ${nodes.length}`, selected: most === 12 })));
  byId("lines").addEventListener("change", refresh);
  byId("quiet").addEventListener("change", event => { buildRows(event.target.checked); chart.selected = -1; refresh(); });
  byId("quiet-label").hidden = isSmall;
  for (const [id, does] of [["play", () => play(!view.playing)], ["before", () => toChange(-1)], ["after", () => toChange(1)],
    ["in", () => zoom(1 / 1.5)], ["out", () => zoom(1.5)]]) byId(id).addEventListener("click", does);
  for (const id of ["table-details", "list-details"]) byId(id).addEventListener("toggle", refresh);
  stripEvents(byId("beliefs"), chart);
  stripEvents(byId("drill-chart"), drill);
  diagramEvents(byId("datagrams"));
  document.addEventListener("keydown", onKey);
  const prefersDark = matchMedia("(prefers-color-scheme: dark)");
  byId("theme").addEventListener("click", () => setTheme(byId("theme").textContent.toLowerCase()));
  prefersDark.addEventListener("change", () => setTheme(prefersDark.matches ? "dark" : "light"));
  buildRows(false);
  buildVerdicts();
  buildMarks();
  const asked = location.hash.slice(1);
  setTheme(["dark", "light"].find(theme => asked.split("&").includes(theme)) ?? (prefersDark.matches ? "dark" : "light"));
  if (run.verdicts.length) chooseVerdict(run.verdicts.find(verdict => verdict.false) ?? run.verdicts[0]);
  pick(null);
  new ResizeObserver(refresh).observe(document.querySelector(".charts"));
  document.body.dataset.ready = "true";
}

begin();
