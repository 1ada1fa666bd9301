/**
 * "Guide a digit": the published MNIST models draw ten digits in the reader's own browser, step by step, beside their
 * unguided twins from the same noise, and above the gradient that made the difference.
 *
 * State: digit (0 to 9, or "each"), guide, scale, seed, steps, shown ("x" or "x0"); `files`, the address of the folder
 * that `tools.live` wrote, if it is not the site's own; `noise`, x_T itself as a list, in place of the seed's.
 * Every step is also an event
 * "rgd-step" of `el`, with { k, t, x, x0, gradient, twin } as its detail.
 */

import { ddim, lengths } from "./diffusion.js";
import { folder, load } from "./models.js";
import { noise } from "./noise.js";
import { PIXELS, SIDE, draw, grey, redBlue } from "./pictures.js";

const IMAGES = 10;
const GUIDES = {
  none: "none", clean: "clean: never saw noise", vanilla: "vanilla", robust: "robust", robust_2: "robust, radius 2",
};
const DEFAULTS = { digit: 3, guide: "robust", scale: 4, seed: 0, steps: 12, shown: "x", noise: null, files: null };

const STYLE = `
.rgd-guide { border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: 6px; padding: 1rem;
  margin: 1rem 0; line-height: 1.4; }
.rgd-guide .controls { display: flex; flex-wrap: wrap; gap: .6rem 1rem; align-items: end; }
.rgd-guide label { display: flex; flex-direction: column; font-size: .85rem; gap: .15rem; margin: 0; }
.rgd-guide select, .rgd-guide input, .rgd-guide button { font: inherit; color: inherit;
  height: 2.2rem; box-sizing: border-box;
  background: transparent; border: 1px solid color-mix(in srgb, currentColor 50%, transparent); border-radius: 4px;
  padding: .1rem .4rem; max-width: 100%; }
.rgd-guide option { color: CanvasText; background: Canvas; }
.rgd-guide input[type=number] { width: 5.5rem; }
.rgd-guide input[type=range] { padding: 0; border: 0; accent-color: #0072b2; width: 9rem; }
.rgd-guide button { cursor: pointer; padding: .1rem .9rem; font-weight: 600; }
.rgd-guide button.go { background: #0072b2; border-color: #0072b2; color: #fff; }
.rgd-guide button:disabled, .rgd-guide input:disabled { opacity: .5; cursor: default; }
.rgd-guide :focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
.rgd-guide p { margin: .7rem 0 0; font-size: .9rem; min-height: 1.4em; }
.rgd-guide p.wrong { font-weight: 600; }
.rgd-guide progress { width: 100%; margin-top: .5rem; accent-color: #0072b2; }
.rgd-guide .rows[hidden], .rgd-guide progress[hidden] { display: none; }
.rgd-guide .name { font-size: .85rem; margin: .7rem 0 .2rem; }
.rgd-guide .images { display: grid; grid-template-columns: repeat(10, 1fr); gap: 3px; }
.rgd-guide canvas { width: 100%; aspect-ratio: 1; image-rendering: pixelated; display: block; border-radius: 2px; }
.rgd-guide .replay { margin-top: .8rem; }
.rgd-guide .replay input { width: 100%; }
[data-theme="dark"] .rgd-guide { color-scheme: dark; }
@media (max-width: 500px) { .rgd-guide .images { grid-template-columns: repeat(5, 1fr); }
  .rgd-guide { padding: .7rem; } }
`;

/** A new element with properties and children. */
function make(tag, properties = {}, ...children) {
  const element = Object.assign(document.createElement(tag), properties);
  element.append(...children);
  return element;
}

/** Ten images under a name; `show(values, colour)` draws them. */
function row() {
  const name = make("div", { className: "name" });
  const images = make("div", { className: "images" });
  images.setAttribute("role", "img");
  const canvases = Array.from({ length: IMAGES }, () => make("canvas", { width: SIDE, height: SIDE }));
  images.append(...canvases);
  const element = make("div", {}, name, images);
  return {
    element,
    show(said, values, colour) {
      element.hidden = values === null;
      if (values === null) return;
      name.textContent = said;
      images.setAttribute("aria-label", `Ten images. ${said}`);
      canvases.forEach((canvas, b) => draw(canvas, values, b, colour));
    },
  };
}

/** A field with a label, tied to the state both ways. */
function field(model, state, name, label, input, read = (text) => text) {
  const shown = () => { input.value = String(state(name)); };
  if (typeof label === "string") input.setAttribute("aria-label", label); // without the options' words
  input.addEventListener("change", () => {
    model.set(name, read(input.value));
    model.save_changes();
  });
  model.on(`change:${name}`, shown);
  shown();
  return make("label", {}, label, input);
}

function choice(options) {
  const made = Object.entries(options).map(([value, textContent]) => make("option", { value, textContent }));
  return make("select", {}, ...made);
}

/** The controls over the pictures: { element, go, stop }. */
function controls(model, state) {
  const digits = Object.fromEntries([...Array(10).keys()].map((digit) => [digit, String(digit)]));
  const scale = make("input", { type: "range", min: 0, max: 16, step: 0.5 });
  const said = make("span");
  const say = () => { said.textContent = `Scale ${scale.value}`; };
  const seed = make("input", { type: "number", min: 0, max: 2 ** 31 - 1, step: 1 });
  const go = make("button", { type: "button", className: "go", textContent: "Draw ten digits" });
  const stop = make("button", { type: "button", textContent: "Stop", disabled: true });
  const element = make(
    "div", { className: "controls" },
    field(model, state, "digit", "Digit", choice({ ...digits, each: "one of each" }),
      (v) => (v === "each" ? v : Number(v))),
    field(model, state, "guide", "Guide", choice(GUIDES)),
    field(model, state, "scale", said, scale, Number),
    field(model, state, "seed", "Seed", seed, (text) => Math.max(0, Math.floor(Number(text)) || 0)),
    field(model, state, "shown", "Show", choice({ x: "xt, the noisy image", x0: "x0, as expected at t" })),
    go, stop,
  );
  scale.setAttribute("aria-label", "Scale");
  scale.addEventListener("input", say);
  model.on("change:scale", say);
  say();
  return { element, go, stop };
}

/** The pictures of one step: { element, show }. */
function pictures() {
  const guided = row(), twin = row(), gradient = row();
  const element = make("div", { className: "rows", hidden: true }, guided.element, twin.element, gradient.element);
  const show = (step, run, shown) => {
    element.hidden = false;
    const towards = run.digit === "each" ? "one digit each" : `the digit ${run.digit}`;
    const free = run.guide === "none";
    const title = free ? "Unguided" : `Guided towards ${towards}: ${GUIDES[run.guide]}, scale ${run.scale}`;
    guided.show(title, step[shown], grey);
    twin.show("Unguided, from the same noise", free ? null : step.twin[shown], grey);
    const most = step.gradient?.reduce((m, g) => Math.max(m, Math.abs(g)), 1e-12);
    const drawn = step.gradient?.map((g) => g / most) ?? null;
    const legend = "The guide's gradient at this step: red wants it brighter, blue darker, all on one scale";
    gradient.show(legend, drawn, redBlue);
  };
  return { element, show };
}

/** A denoiser that answers the same image and time only once: guided and unguided start alike. */
function sharing(denoise) {
  let last = {};
  return (xt, t) => {
    if (last.xt !== xt || last.t !== t) last = { xt, t, output: denoise(xt, t) };
    return last.output;
  };
}

/** Every step of the guided images and of their twins: what `ddim` yields, and the twin's as `twin`. */
async function* together({ denoise, gradient }, x, run) {
  const shared = sharing(denoise), y = Array.from({ length: IMAGES }, (_, b) => (run.digit === "each" ? b : run.digit));
  const twins = gradient === null ? null : ddim(shared, x, { steps: run.steps });
  for await (const step of ddim(shared, x, { gradient, scale: run.scale, y, steps: run.steps })) {
    yield { ...step, twin: twins === null ? step : (await twins.next()).value };
  }
}

/** What the reader is told of a step. */
function told(step, run) {
  const at = `Step ${step.k} of ${run.steps}, t = ${step.t}.`;
  if (step.gradient === null) return at;
  const mean = lengths(step.gradient, IMAGES).reduce((sum, length) => sum + length / IMAGES, 0);
  return `${at} The gradient has length ${mean.toPrecision(2)} on average.`;
}

/** One run: loads, samples, shows. `alive()` says whether to go on. */
async function sample(state, el, parts, alive) {
  const run = Object.fromEntries(["digit", "guide", "scale", "steps", "seed"].map((name) => [name, state(name)]));
  const { progress, say, step: showStep, history } = parts;
  const began = performance.now();
  progress.hidden = false;
  const models = await load(folder(state), run.guide, (done, of, what) => {
    if (!alive()) return; // stopped, or another part failed
    progress.max = of;
    progress.value = done;
    say(what ? `Loaded ${what}, ${done} of ${of}.` : "Loading the models, about 8 MB …");
  });
  progress.hidden = true;
  history.length = 0;
  if (!alive()) return say("Stopped before the first step.");
  const x = state("noise") === null ? noise(IMAGES, PIXELS, run.seed) : Float32Array.from(state("noise"));
  if (x.length !== IMAGES * PIXELS) throw new Error(`The noise has ${x.length} numbers, not ${IMAGES * PIXELS}.`);
  say("Sampling …");
  const started = performance.now();
  for await (const step of together(models, x, run)) {
    if (!alive()) break;
    history.push({ step, run });
    showStep(history.length - 1);
    el.dispatchEvent(new CustomEvent("rgd-step", { detail: step }));
    await new Promise((resolve) => { setTimeout(resolve); }); // the page draws, and hears the button
  }
  const [loading, sampling] = [started - began, performance.now() - started].map((ms) => `${(ms / 1000).toFixed(1)} s`);
  const whole = history.length === run.steps;
  const done = `Done: ${run.steps} steps in ${sampling}, after ${loading} of loading.`;
  say(whole ? done : `Stopped after ${history.length} steps.`);
}

/** The widget, as anywidget and the page's own loader want it. */
function render({ model, el }) {
  const state = (name) => model.get(name) ?? DEFAULTS[name];
  const { element, go, stop } = controls(model, state), rows = pictures(), history = [];
  const status = make("p"), about = make("p"), progress = make("progress", { hidden: true });
  const replay = make("input", { type: "range", min: 1, max: 1, disabled: true });
  const again = make("label", { className: "replay", hidden: true }, "Step", replay);
  status.setAttribute("role", "status");
  progress.setAttribute("aria-label", "Loading");
  replay.setAttribute("aria-label", "Step");
  const show = (k) => {
    const { step, run } = history[k];
    replay.max = history.length;
    replay.value = k + 1;
    replay.setAttribute("aria-valuetext", about.textContent = told(step, run));
    rows.show(step, run, state("shown"));
  };
  const say = (text, wrong = false) => {
    status.textContent = text;
    status.className = wrong ? "wrong" : "";
  };
  let running = null;
  go.addEventListener("click", async () => {
    const mine = (running = {});
    go.disabled = replay.disabled = true;
    stop.disabled = again.hidden = false;
    try {
      await sample(state, el, { progress, say, step: show, history }, () => running === mine);
    } catch (error) {
      running = null;
      say(`It did not work: ${error.message ?? error}`, true);
    }
    progress.hidden = stop.disabled = true;
    go.disabled = false;
    replay.disabled = history.length === 0;
    again.hidden = history.length === 0;
  });
  stop.addEventListener("click", () => { running = null; });
  replay.addEventListener("input", () => show(Number(replay.value) - 1));
  model.on("change:shown", () => history.length && show(Number(replay.value) - 1));
  el.append(make(
    "div", { className: "rgd-guide" }, make("style", { textContent: STYLE }), element, status, progress, rows.element,
    about, again,
  ));
  return () => { running = null; };
}

export default { render };
