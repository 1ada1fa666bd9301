/**
 * The widget `plane`: a labelled mixture that the reader draws, its closed forms, and particles that run the guided
 * reverse process in it. All of its state is in the model; what follows from the state is computed anew.
 *
 * State, all of it optional: start, which of STARTS the rest begins as; gaussians, a list of
 * {x, y, sd, weight, label}; t; scale; label, the class to guide to, or null; field, "density", "posterior" or "none";
 * arrows, "score", "gradient" or "none"; wrong, whether the classifier has a ripple; chosen, the number of the Gaussian
 * that the controls act on; seed, of the particles' start.
 */

import { classify, ddim, examine, linear, noised, normals, respaced } from "./mixture.js";
import { EDGE, draw } from "./plane_draw.js";
import { listen } from "./plane_hand.js";
import { STYLE, choice, h, slider, told } from "./plane_parts.js";

const STEPS = 50;
const PARTICLES = 240;
const CLASSES = [0, 1, 2];
const MOST = 12;
const FRAME = 50; // milliseconds between two steps that are played
/** Chapter 4's ripple: hardly an answer changes, and every slope does. */
export const RIPPLE = { a: 0.05, omega: 400, angles: [0.5235132575035095, 0.6160554885864258, 2.5925092697143555] };
const alphaBar = linear();
const times = respaced(alphaBar.length, STEPS).reverse();

const CIRCLE = { t: 100, scale: 1, label: 0, field: "posterior", arrows: "gradient", wrong: false, chosen: 0, seed: 0 };
/** Two Gaussians for each class, opposite each other around the centre, at given distances and with given variances. */
function around(radii, variances) {
  return CLASSES.concat(CLASSES).map((label, i) => ({
    x: radii[i] * Math.cos((i * Math.PI) / 3), y: radii[i] * Math.sin((i * Math.PI) / 3), sd: Math.sqrt(variances[i]),
    weight: 1, label,
  }));
}

/** Where a reader may begin: the worlds of chapters 4, 2, 3 and, without its slants, 1. Chapter 3's has a second axis
 *  here, along which all Gaussians are alike, so that neither class nor guide depends on it. */
export const STARTS = {
  circle: { ...CIRCLE, gaussians: around(Array(6).fill(1.2), Array(6).fill(0.08)) },
  crooked: {
    ...CIRCLE, gaussians: around([1.2, 0.9, 1.4, 1, 1.3, 1.1], [0.05, 0.08, 0.12, 0.06, 0.1, 0.04]),
  },
  line: {
    ...CIRCLE, scale: 4,
    gaussians: [[-1.4, 0], [0.6, 0], [0, 1]].map(([x, label]) => ({ x, y: 0, sd: Math.sqrt(0.06), weight: 1, label })),
  },
  clouds: {
    ...CIRCLE, label: null, field: "density", arrows: "score",
    gaussians: [
      { x: -1, y: -0.6, sd: 0.18, weight: 2.5, label: 0 },
      { x: 1, y: -0.4, sd: 0.18, weight: 1.5, label: 1 },
      { x: 0.1, y: 1.1, sd: 0.2, weight: 1, label: 2 },
    ],
  },
};
const NAMES = Object.keys(STARTS.circle);

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** The model's state, with what it leaves out; no guide to a class that has no Gaussian. */
function read(model) {
  const state = { ...STARTS[model.get("start") ?? "circle"] };
  for (const name of NAMES) if (model.get(name) !== undefined) state[name] = model.get(name);
  if (!state.gaussians.some((g) => g.label === state.label)) state.label = null;
  state.chosen = clamp(state.chosen, 0, state.gaussians.length - 1);
  state.ripple = state.wrong ? RIPPLE : null;
  return state;
}

/** The particles' way, a list of `ddim`'s frames; the classes in which they end, and the Gaussians that they are most
 *  probably of; how many end outside the canvas. */
export function run(state) {
  const guide = state.label === null ? null : { label: state.label, scale: state.scale, ripple: state.ripple };
  const frames = ddim(state.gaussians, alphaBar, normals(2 * PARTICLES, state.seed + 1), STEPS, guide);
  const [clean, last] = [noised(state.gaussians, 1), frames[STEPS]];
  const alone = noised(state.gaussians.map((g, i) => ({ ...g, label: i })), 1); // each Gaussian a class of its own
  const [ends, sources] = [clean, alone].map((parts) =>
    Array.from({ length: PARTICLES }, (_, i) => classify(parts, [last[2 * i], last[2 * i + 1]])));
  const outside = ends.filter((_, i) => Math.max(Math.abs(last[2 * i]), Math.abs(last[2 * i + 1])) > EDGE).length;
  return { frames, ends, sources, outside };
}

/** The number of the frame that is shown at a time: the first that is as clean. At t = 0 it is the sample itself. */
export function frameAt(t) {
  return t <= 0 ? STEPS : times.findIndex((time) => time <= t);
}

/** What the hand and the controls do to the state. */
function actions(model, set) {
  const change = (values) => {
    const { gaussians, chosen } = read(model);
    set("gaussians", gaussians.map((g, i) => (i === chosen ? { ...g, ...values } : g)));
  };
  return {
    change,
    choose: (i) => set("chosen", i),
    move: (x, y) => change({ x: clamp(x, -EDGE, EDGE), y: clamp(y, -EDGE, EDGE) }),
    widen: (factor) => {
      const { gaussians, chosen } = read(model);
      change({ sd: clamp(gaussians[chosen].sd * factor, 0.1, 1) });
    },
    place: (x, y) => {
      const { gaussians, chosen } = read(model);
      if (gaussians.length === MOST) return;
      set("gaussians", [...gaussians, { ...gaussians[chosen], x, y }]);
      set("chosen", gaussians.length);
    },
    remove: () => {
      const { gaussians, chosen } = read(model);
      if (gaussians.length > 1) set("gaussians", gaussians.filter((_, i) => i !== chosen));
      set("chosen", Math.max(chosen - 1, 0));
    },
  };
}

/** The controls of the chosen Gaussian, and a function that brings them up to a state. */
function editor(acts) {
  const many = h("div", { class: "many", role: "group", "aria-label": "Choose a Gaussian" });
  const add = h("button", { type: "button" }, "Add");
  const remove = h("button", { type: "button" }, "Delete");
  add.addEventListener("click", () => acts.place(0, 0));
  remove.addEventListener("click", acts.remove);
  const rows = {
    x: slider("x", [-EDGE, EDGE, 0.05], (x) => acts.change({ x })),
    y: slider("y", [-EDGE, EDGE, 0.05], (y) => acts.change({ y })),
    sd: slider("width", [0.1, 1, 0.02], (sd) => acts.change({ sd })),
    weight: slider("weight", [0.1, 3, 0.1], (weight) => acts.change({ weight })),
  };
  const label = choice("class", CLASSES.map((c) => [c, `class ${c}`]), (c) => acts.change({ label: +c }));
  const show = ({ gaussians, chosen }) => {
    while (many.children.length > gaussians.length) many.lastChild.remove();
    gaussians.forEach((g, i) => {
      if (!many.children[i]) {
        const button = h("button", { type: "button" }, String(i + 1));
        button.addEventListener("click", () => acts.choose(i));
        many.append(button);
      }
      many.children[i].setAttribute("aria-label", `Gaussian ${i + 1}, of class ${g.label}`);
      many.children[i].setAttribute("aria-pressed", i === chosen);
      many.children[i].style.borderColor = `var(--class-${g.label})`;
    });
    for (const [name, row] of Object.entries(rows)) row.show(gaussians[chosen][name]);
    label.show(gaussians[chosen].label);
    add.disabled = gaussians.length === MOST;
    remove.disabled = gaussians.length === 1;
  };
  const box = h("fieldset", {}, h("legend", {}, "Gaussians"), many,
    ...[rows.x, rows.y, rows.sd, rows.weight, label].map(({ row }) => row), h("div", { class: "many" }, add, remove));
  return { box, show };
}

/** The controls of what is shown and of the guide, and a function that brings them up to a state. */
function settings(set, play) {
  const button = h("button", { type: "button" }, "Run the particles");
  button.addEventListener("click", play);
  const t = slider("noise t", [0, alphaBar.length - 1, 1], (value) => set("t", value));
  const field = choice("field", [["density", "density"], ["posterior", "class posterior"], ["none", "none"]],
    (value) => set("field", value));
  const arrows = choice("arrows", [["score", "score"], ["gradient", "classifier's gradient"], ["none", "none"]],
    (value) => set("arrows", value));
  const label = choice("guide to", [["none", "no class"], ...CLASSES.map((c) => [String(c), `class ${c}`])],
    (value) => set("label", value === "none" ? null : +value));
  const scale = slider("scale s", [0, 10, 0.5], (value) => set("scale", value));
  const wrong = h("input", { type: "checkbox" });
  wrong.addEventListener("change", () => set("wrong", wrong.checked));
  const show = (state) => {
    t.show(state.t);
    field.show(state.field);
    arrows.show(state.arrows);
    const absent = CLASSES.filter((c) => !state.gaussians.some((g) => g.label === c)).map(String);
    label.show(state.label === null ? "none" : String(state.label), absent);
    scale.show(state.scale, state.label === null);
    wrong.checked = state.wrong;
  };
  const box = h("fieldset", {}, h("legend", {}, "Process and guide"), t.row, label.row, scale.row,
    h("label", { class: "check" }, wrong, "ripple: right answers, wrong gradient"), field.row, arrows.row,
    h("div", { class: "many" }, button));
  return { box, show };
}

/** The colours that the theme gives just now. */
function palette(element) {
  const style = getComputedStyle(element);
  const colour = (name) => style.getPropertyValue(`--${name}`).trim();
  const classes = CLASSES.map((c) => colour(`class-${c}`));
  return { ink: colour("ink"), paper: colour("paper"), wrong: colour("wrong"), classes };
}

/** Calls `redraw` when the theme or the size changes; returns a function that stops it. */
function follow(canvas, redraw) {
  const theme = new MutationObserver(redraw);
  theme.observe(document.documentElement, { attributeFilter: ["data-theme"] });
  const size = new ResizeObserver(redraw);
  size.observe(canvas);
  return () => {
    theme.disconnect();
    size.disconnect();
  };
}

/** Plays t from noise to data, or stops; for who asked for less motion it is at the end at once. */
function player(model, set) {
  let timer = null;
  const stop = () => { clearInterval(timer); timer = null; };
  const play = () => {
    if (timer !== null) return stop();
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) return set("t", 0);
    let k = 0;
    timer = setInterval(() => {
      set("t", times[k++]);
      if (k === STEPS) stop();
    }, FRAME);
  };
  return { play, stop };
}

/** See anywidget: draws the widget into `el`, and returns what clears up after it. */
function render({ model, el }) {
  let [waiting, saving, saying, ran] = [0, 0, 0, {}];
  const set = (name, value) => {
    model.set(name, value);
    clearTimeout(saving);
    saving = setTimeout(() => model.save_changes(), 250);
  };
  const acts = actions(model, set);
  const { play, stop } = player(model, set);
  const byHand = (name, value) => {
    if (name === "t") stop();
    set(name, value);
  };
  const [view, edit] = [settings(byHand, play), editor(acts)];
  const canvas = h("canvas", { role: "img" });
  const said = h("p", { class: "said", "aria-live": "polite" });
  const root = h("div", { class: "rgd-plane" }, h("div", {}, canvas, said), h("div", {}, view.box, edit.box));
  const update = () => {
    waiting = 0;
    const state = read(model);
    const { gaussians, scale, label, wrong, seed } = state;
    const key = JSON.stringify([gaussians, scale, label, wrong, seed]);
    if (ran.key !== key) ran = { key, ...run(state) };
    draw(canvas, state, alphaBar[state.t], ran.frames[frameAt(state.t)], ran.ends, palette(root));
    view.show(state);
    edit.show(state);
    clearTimeout(saying);
    saying = setTimeout(() => {
      const examined = wrong ? examine(gaussians, alphaBar[state.t], RIPPLE) : null;
      said.textContent = told(state, ran, examined);
      canvas.setAttribute("aria-label", said.textContent);
    }, 300);
  };
  const redraw = () => { waiting ||= requestAnimationFrame(update); };
  listen(canvas, () => read(model), acts);
  for (const name of NAMES) model.on(`change:${name}`, redraw);
  el.style.containerType = "inline-size";
  el.append(h("style", {}, STYLE), root);
  const leave = follow(canvas, redraw);
  update();
  return () => {
    stop();
    leave();
    for (const name of NAMES) model.off(`change:${name}`, redraw);
  };
}

export default { render };
