// The page of a cell: one step of one sequence at a time, moved by mouse, keyboard or slider.
// Everything that is shown is read from the JSON in the page and written as text or as SVG, never as HTML.
"use strict";

const data = JSON.parse(document.getElementById("data").textContent);
const at = { sequence: 0, step: 0, layer: 0, unit: 0 };
const byId = (id) => document.getElementById(id);

const ABOUT = {
  input: ["input gate i", "lets the candidate in"],
  forget: ["forget gate f", "keeps the old cell state"],
  candidate: ["candidate", "what would be written"],
  output: ["output gate o", "shows the cell state"],
  cell: ["cell state c", "what is carried"],
  reset: ["reset gate r", "lets the candidate see the old state"],
  update: ["update gate z", "keeps the old state"],
  hidden: ["state h", "what the unit shows"],
};
const GATES = ["input", "forget", "output", "reset", "update"];

const layer = () => data.layers[at.layer];
const sequence = () => layer().spans[at.sequence];
const value = (quantity, step, unit) =>
  layer().values[quantity][at.sequence][step * layer().units + unit];

function number(x) {
  if (x === null || Number.isNaN(x)) return "–";
  if (!Number.isFinite(x)) return x > 0 ? "∞" : "−∞";
  const digits = Math.abs(x) >= 100 ? 1 : Math.abs(x) >= 0.005 || x === 0 ? 2 : 4;
  const text = x.toFixed(digits);
  return Number(text) === 0 ? "0.00" : text.replace("-", "−");
}

const inner = (x) => (x < 0 ? `(${number(x)})` : number(x));
const logit = (p) => Math.log(p / (1 - p));

function svg(name, attributes, parent) {
  const element = document.createElementNS("http://www.w3.org/2000/svg", name);
  for (const [key, text] of Object.entries(attributes)) element.setAttribute(key, text);
  if (parent) parent.append(element);
  return element;
}

function html(name, text, parent, attributes = {}) {
  const element = document.createElement(name);
  element.textContent = text;
  for (const [key, given] of Object.entries(attributes)) element.setAttribute(key, given);
  if (parent) parent.append(element);
  return element;
}

// The range of a quantity: gates lie between 0 and 1, everything else around 0.
function range(quantity) {
  if (GATES.includes(quantity) && layer().gate_activation === "sigmoid") return [0, 1];
  const every = layer().values[quantity][at.sequence];
  const most = every.reduce((most, x) => Math.max(most, Math.abs(x)), 1e-9);
  const reach = quantity === "cell" ? most : Math.max(1, most);
  return [-reach, reach];
}

function drawUnits(quantity, place) {
  const units = layer().units, [low, high] = range(quantity);
  const picture = svg("svg", { viewBox: `0 0 ${units} 20`, preserveAspectRatio: "none", "aria-hidden": "true" });
  const y = (x) => 19 - (18 * (x - low)) / (high - low);
  for (let unit = 0; unit < units; unit++) {
    const [a, b] = [y(0), y(value(quantity, at.step, unit))];
    svg("rect", {
      x: unit + 0.1, width: 0.8, y: Math.min(a, b), height: Math.max(0.25, Math.abs(a - b)),
      class: unit === at.unit ? "bar chosen" : "bar",
    }, picture);
  }
  svg("line", { x1: 0, x2: units, y1: y(0), y2: y(0), class: "zero" }, picture);
  svg("path", { d: `M${at.unit + 0.5} 0 l-0.5 -0 l0.5 2.4 l0.5 -2.4 z`, class: "mark" }, picture);
  picture.addEventListener("pointerdown", (event) => {
    const box = picture.getBoundingClientRect();
    go({ unit: Math.floor(((event.clientX - box.left) / box.width) * units) });
  });
  place.replaceChildren(picture);
}

function drawSteps(quantity, place) {
  const steps = sequence().steps, [low, high] = range(quantity);
  const picture = svg("svg", { viewBox: "0 0 100 20", preserveAspectRatio: "none", "aria-hidden": "true" });
  const x = (step) => (steps > 1 ? (100 * step) / (steps - 1) : 50);
  const y = (given) => 19 - (18 * (given - low)) / (high - low);
  svg("line", { x1: 0, x2: 100, y1: y(0), y2: y(0), class: "zero" }, picture);
  let points = "";
  for (let step = 0; step < steps; step++)
    points += `${x(step).toFixed(2)},${y(value(quantity, step, at.unit)).toFixed(2)} `;
  svg("polyline", { points, class: "course" }, picture);
  svg("line", { x1: x(at.step), x2: x(at.step), y1: 0, y2: 20, class: "cursor" }, picture);
  const move = (event) => {
    if (event.type === "pointermove" && event.pointerType !== "mouse" && !event.buttons) return;
    const box = picture.getBoundingClientRect();
    go({ step: Math.round(((event.clientX - box.left) / box.width) * (steps - 1)) });
  };
  picture.addEventListener("pointermove", move);
  picture.addEventListener("pointerdown", move);
  place.replaceChildren(picture);
}

// What was carried into this step. Before the first step that is known it follows from the equation.
function before(quantity, otherwise) {
  const step = at.step + (layer().direction === "reverse" ? 1 : -1);
  if (step >= 0 && step < sequence().steps) return value(quantity, step, at.unit);
  return otherwise();
}

// The sum inside a gate or a candidate; a convolution is written ∗.
function sum(letter, rest = "") {
  const times = layer().cell.startsWith("conv") ? " ∗ " : " ";
  if (layer().layer_norm) return `LN(W${letter}${times}x) + LN(U${letter}${times}h₋₁)${rest}`;
  return `W${letter}${times}x + U${letter}${times}h₋₁ + b${letter}${rest}`;
}

// A function of a sum, and its value. What was inside is told where the function can be turned round.
function applied(letter, name, found, inside) {
  if (name === "sigmoid")
    return [`${letter} = σ(${inside})`, `= σ(${number(logit(found))}) = ${number(found)}`];
  if (name === "tanh")
    return [`${letter} = tanh(${inside})`, `= tanh(${number(Math.atanh(found))}) = ${number(found)}`];
  return [`${letter} = ${name}(${inside})`, `= ${number(found)}`];
}

function gate(name, letter, rest = "") {
  return applied(letter, layer().gate_activation, value(name, at.step, at.unit), sum(letter, rest));
}

function mixed(text, computed, found) {
  const apart = Math.abs(computed - found) > 2e-3 * Math.max(1, Math.abs(found));
  return text + (apart ? `, mixed with the old state (zoneout): ${number(found)}` : "");
}

function equations() {
  const own = layer(), now = (quantity) => value(quantity, at.step, at.unit), squash = own.activation;
  const h = now("hidden");
  if (own.cell.endsWith("lstm")) {
    const [i, f, g, o, c] = ["input", "forget", "candidate", "output", "cell"].map(now);
    const old = before("cell", () => (f ? (c - i * g) / f : 0));
    const made = f * old + i * g;
    const peep = own.peepholes ? [" + pᵢ c₋₁", " + p_f c₋₁", " + pₒ c"] : ["", "", ""];
    const plain = squash === "tanh" && !own.layer_norm;
    return [
      gate("input", "i", peep[0]),
      gate("forget", "f", peep[1]),
      applied("g", squash, g, sum("g")),
      ["c = f · c₋₁ + i · g",
        mixed(`= ${number(f)} · ${inner(old)} + ${number(i)} · ${inner(g)} = ${number(made)}`, made, c)],
      gate("output", "o", peep[2]),
      [`h = o · ${squash}(${own.layer_norm ? "LN(c)" : "c"})`, plain
        ? mixed(`= ${number(o)} · tanh(${number(c)}) = ${number(o * Math.tanh(c))}`, o * Math.tanh(c), h)
        : `= ${number(o)} · ${inner(o ? h / o : 0)} = ${number(h)}`],
    ];
  }
  if (own.cell.startsWith("gru")) {
    const [z, n] = ["update", "candidate"].map(now);
    const old = before("hidden", () => (z ? (h - (1 - z) * n) / z : 0));
    const made = (1 - z) * n + z * old;
    const after = own.layer_norm ? "LN(Wn x) + r · LN(Un h₋₁)" : "Wn x + bn + r · (Un h₋₁ + cn)";
    const inside = own.cell === "gru" ? after : "Wn x + bn + Un (r · h₋₁) + cn";
    return [
      gate("reset", "r"),
      gate("update", "z"),
      applied("n", squash, n, inside),
      ["h = (1 − z) · n + z · h₋₁",
        mixed(`= ${number(1 - z)} · ${inner(n)} + ${number(z)} · ${inner(old)} = ${number(made)}`, made, h)],
    ];
  }
  return [[`h = ${squash === "relu" ? "max(0, ·)" : squash}(W x + U h₋₁ + b)`, `= ${number(h)}`]];
}

function drawEquations() {
  const place = byId("equations");
  place.replaceChildren();
  for (const [formula, filled] of equations()) {
    html("dt", formula, place);
    html("dd", filled, place);
  }
}

function drawInputs() {
  const place = byId("inputs");
  place.replaceChildren();
  if (!data.features.length) return;
  const given = data.inputs[at.sequence][at.step];
  data.features.forEach((name, number_of) => {
    html("dt", name, place);
    html("dd", number(given[number_of]), place);
  });
}

function draw() {
  const own = layer(), rows = byId("rows");
  if (rows.dataset.of !== String(at.layer)) {
    rows.dataset.of = at.layer;
    rows.replaceChildren();
    for (const quantity of own.quantities) {
      const row = html("div", "", rows, { class: "row", "data-quantity": quantity });
      const name = html("div", "", row, { class: "name" });
      html("strong", ABOUT[quantity][0], name);
      html("span", ABOUT[quantity][1], name);
      html("div", "", row, { class: "units" });
      html("div", "", row, { class: "steps" });
      html("output", "", row, { class: "number" });
    }
  }
  for (const row of rows.children) {
    drawUnits(row.dataset.quantity, row.querySelector(".units"));
    drawSteps(row.dataset.quantity, row.querySelector(".steps"));
    row.querySelector(".number").textContent = number(value(row.dataset.quantity, at.step, at.unit));
  }
  drawEquations();
  drawInputs();
  const first = sequence().first;
  byId("step").max = sequence().steps - 1;
  byId("step").value = at.step;
  byId("unit").max = own.units - 1;
  byId("unit").value = at.unit;
  byId("sequence").value = at.sequence;
  byId("layer").value = at.layer;
  const told = `${data.step} ${first + at.step} of ${first + sequence().steps - 1}`;
  byId("step-told").textContent = told;
  byId("unit-told").textContent = `unit ${at.unit} of ${own.units - 1}`;
  byId("step").setAttribute("aria-valuetext", told);
  byId("said").textContent =
    `${told}, ${own.name}, unit ${at.unit}: ` +
    own.quantities.map((name) => `${ABOUT[name][0]} ${number(value(name, at.step, at.unit))}`).join(", ");
  history.replaceState(null, "", `#${new URLSearchParams(at)}`);
}

const held = (x, most) => Math.min(Math.max(Number.isFinite(x) ? Math.trunc(x) : 0, 0), most);

function go(change) {
  Object.assign(at, change);
  at.sequence = held(at.sequence, data.sequences.length - 1);
  at.layer = held(at.layer, data.layers.length - 1);
  at.step = held(at.step, sequence().steps - 1);
  at.unit = held(at.unit, layer().units - 1);
  draw();
}

data.sequences.forEach((name, index) => html("option", name, byId("sequence"), { value: index }));
data.layers.forEach((one, index) => html("option", one.name, byId("layer"), { value: index }));
for (const name of ["sequence", "step", "layer", "unit"])
  byId(name).addEventListener("input", (event) => go({ [name]: Number(event.target.value) }));

document.addEventListener("keydown", (event) => {
  if (event.altKey || event.ctrlKey || event.metaKey || event.target.tagName === "SELECT") return;
  const far = sequence().steps;
  const moves = {
    ArrowLeft: { step: at.step - 1 }, ArrowRight: { step: at.step + 1 },
    ArrowUp: { unit: at.unit - 1 }, ArrowDown: { unit: at.unit + 1 },
    PageUp: { step: at.step - 10 }, PageDown: { step: at.step + 10 },
    Home: { step: 0 }, End: { step: far - 1 },
  };
  if (!(event.key in moves)) return;
  event.preventDefault();
  go(moves[event.key]);
});

const asked = new URLSearchParams(location.hash.slice(1));
go(Object.fromEntries(Object.keys(at).map((name) => [name, Number(asked.get(name) ?? 0)])));
