// The run in words: verdicts with their evidence, beliefs at the scrubber's time, datagrams as a table.
"use strict";

const MOST_ROWS = 300;

function timeButton(at) {
  const button = element("button", { type: "button", textContent: seconds(at) });
  button.addEventListener("click", () => { view.time = at; refresh(); });
  return button;
}

function buildVerdicts() {
  if (!run.verdicts.length) return byId("verdicts").replaceChildren(element("li", {}, "Nobody was declared failed or left."));
  byId("verdicts").replaceChildren(...run.verdicts.map(verdict => {
    const how = verdict.state === 3 ? "failed" : "left";
    const button = element("button", { type: "button", className: how },
      `${nodes[verdict.subject].name} ${verdict.removedBy === null ? how : "was removed"}, ${seconds(verdict.at)}`,
      element("small", {}, `held by ${verdict.holders} of ${observers.length} observers${{ true: " — false verdict", null: " — true or false, nobody knows" }[verdict.false] ?? ""}`));
    button.addEventListener("click", () => chooseVerdict(verdict));
    return element("li", {}, button);
  }));
}

function chooseVerdict(verdict) {
  view.verdict = verdict;
  view.subject = verdict.subject;
  view.time = verdict.at;
  const before = verdict.suspected === null ? run.span / 2 : verdict.at - verdict.suspected + 1.5e6;
  view.span = Math.min(run.end - run.start, Math.max(run.span, before + 5e5));
  view.from = verdict.at - before;
  chart.selected = chart.rows.findIndex(row => row.subject === verdict.subject && (row.observer ?? verdict.observer) === verdict.observer);
  if (!isSmall) showDrill(verdict.subject);
  showWhy(verdict);
  buildLegend();
  refresh();
}

function showWhy(verdict) {
  const choice = element("select", { ariaLabel: "Whose explanation" }, ...verdict.told.map((told, i) =>
    element("option", { value: i, textContent: `as ${nodes[told.observer].name} explains it` })));
  const text = element("div");
  const show = () => {
    const told = verdict.told[choice.value];
    text.replaceChildren(
      element("p", {}, `${seconds(told.at)}: ${told.text}`),
      element("p", { className: "note" }, told.standing),
      element("ol", {}, ...told.seen.map(([at, what]) => element("li", {}, timeButton(at), element("span", {}, what)))));
  };
  choice.addEventListener("change", show);
  const truth = element("p", { className: verdict.false ? "false" : "" }, verdict.truth);
  byId("why").replaceChildren(element("h3", {}, `Why ${nodes[verdict.subject].name}?`), truth,
    ...verdict.words.map(words => element("p", {}, words)), choice, text);
  show();
}

function buildMarks() {
  byId("marks").replaceChildren(...run.marks.map(mark =>
    element("li", {}, timeButton(mark.at), element("span", {}, mark.text))));
  if (!run.marks.length) byId("marks").replaceChildren(element("li", {}, "Nothing else."));
}

function buildTable() {
  byId("table-time").textContent = seconds(view.time);
  if (!byId("table-details").open) return;
  const row = element("p", { id: "table-row", className: "note" });
  row.setAttribute("aria-live", "polite");
  byId("table").replaceChildren(isSmall ? matrix() : summary(), row);
}

function matrix() {
  const head = element("tr", {}, element("th", {}, "observer \\ of"), ...nodes.map(node => element("th", {}, node.name)));
  const all = nodes.map((_, subject) => beliefsAt(subject, view.time));
  const rows = observers.map(observer => element("tr", {}, element("th", {}, nodes[observer].name), ...nodes.map((_, subject) => {
    const state = STATES[all[subject].get(observer) ?? 0];
    return element("td", { className: state, textContent: state === "unknown" ? "–" : state });
  })));
  return element("table", { className: "matrix" }, head, ...rows);
}

function summary() {
  const rows = [];
  let unanimous = 0;
  nodes.forEach((node, subject) => {
    const counts = [0, 0, 0, 0, 0], beliefs = beliefsAt(subject, view.time);
    observers.filter(observer => lifeAt(observer, view.time)).forEach(observer => counts[beliefs.get(observer) ?? 0]++);
    if (counts[0] + counts[2] + counts[3] + counts[4] === 0) unanimous++;
    else rows.push(element("tr", {}, element("th", {}, node.name), ...[1, 2, 3, 4, 0].map(state => element("td", {}, `${counts[state] || "–"}`))));
  });
  const head = element("tr", {}, ...["member", "alive", "suspect", "failed", "left", "not listed"].map(text => element("th", {}, text)));
  const kept = rows.slice(0, 14);
  const more = rows.length - kept.length;
  return element("div", {}, element("p", {}, `${unanimous} of ${nodes.length} members are alive to all who run and are recorded${rows.length ? ". Observers who say of the others:" : "."}`),
    rows.length ? element("table", {}, head, ...kept) : "", more ? element("p", { className: "note" }, `and ${more} more members`) : "");
}

function buildList() {
  if (!byId("list-details").open) return;
  const rows = shown.arrows.slice(0, MOST_ROWS).map(({ datagram: { at, end, from, to, fate, what } }) => element("tr", {},
    ...[seconds(at, 6), nodes[from].name, nodes[to].name, what.text, [length(end - at), "lost", "receiver not recorded", "sender not recorded"][fate]]
      .map(text => element("td", {}, text))));
  const head = element("tr", {}, ...["sent", "from", "to", "what", "took"].map(text => element("th", {}, text)));
  byId("list").replaceChildren(element("table", {}, head, ...rows),
    shown.arrows.length > MOST_ROWS ? element("p", { className: "note" }, `${shown.arrows.length - MOST_ROWS} more: zoom in to see them`) : "");
}

function buildHead() {
  byId("summary").textContent = run.summary;
  byId("parameters").replaceChildren(...run.parameters.flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, value)]));
  byId("left-out").replaceChildren(...run.leftOut.map(text => element("li", {}, text)));
  byId("beliefs-note").textContent = isSmall
    ? "A row for each member and observer: what the observer's own table said. The dashed frame is the time of the datagrams below."
    : `Each row is a member; its height is shared out among the ${observers.length} observers by what they believe. Click a row for every observer. The dashed frame is the time of the datagrams below.`;
  byId("states").replaceChildren(...[1, 2, 3, 4].map(state => {
    const { canvas, pen } = sample();
    pen.fillStyle = fillOf(pen, state);
    pen.fillRect(0, 0, 34, 14);
    return element("li", {}, canvas, STATES[state]);
  }), element("li", {}, "blank: not listed, or the observer is down or not recorded"));
}
