/**
 * The gradient explorer: a digit that the reader draws or picks, noise on it, and what three published classifiers say
 * of it: their gradients towards a class, side by side, and their verdicts.
 *
 * State, all of it optional: digit, the number of the picture to begin with; t; seed, of the noise (`rgd.noise`'s);
 * towards, the class; own, whether each gradient has a colour scale of its own; `files`, the address of the folder that
 * `tools.live` wrote, if it is not the site's own. What was computed is also an event "rgd-explored" of `el`, with
 * { t, seed, x0, xt, found }; found[name] has the gradient of log p(y | xt) for each y in turn, and the logits.
 */

import { lengths, linear, qSample } from "./diffusion.js";
import { blank, centred, pad } from "./explore_pad.js";
import { softmax } from "./mixture.js";
import { bytes, classifiers, folder } from "./models.js";
import { noise } from "./noise.js";
import { PIXELS, SIDE, draw, grey, redBlue } from "./pictures.js";
import { choice, h, slider } from "./plane_parts.js";

const NAMES = ["clean", "vanilla", "robust"];
const CLASSES = [...Array(10).keys()];
const ALPHA_BAR = linear();
const SIZE = "about 7 MB";
const DEFAULTS = { digit: 7, t: 400, seed: 0, towards: 8, own: false };

const STYLE = `
.rgd-explore { border: 1px solid color-mix(in srgb, currentColor 25%, transparent); border-radius: 6px; padding: 1rem;
  margin: 1rem 0; line-height: 1.4; font-size: .9rem; }
[data-theme="dark"] .rgd-explore { color-scheme: dark; }
.rgd-explore :is(button, select, input[type=number]) { font: inherit; color: inherit; background: transparent;
  border: 1px solid color-mix(in srgb, currentColor 50%, transparent); border-radius: 4px; padding: .1rem .6rem;
  min-height: 2.2rem; box-sizing: border-box; }
.rgd-explore option { color: CanvasText; background: Canvas; }
.rgd-explore button.go { background: #0072b2; border-color: #0072b2; color: #fff; font-weight: 600; }
.rgd-explore button:disabled { opacity: .5; }
.rgd-explore :focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
.rgd-explore p { margin: .7rem 0 0; }
.rgd-explore p.wrong { font-weight: 600; }
.rgd-explore progress { width: 100%; margin-top: .5rem; accent-color: #0072b2; }
.rgd-explore [hidden] { display: none !important; }
.rgd-explore canvas { width: 100%; aspect-ratio: 1; image-rendering: pixelated; display: block; border-radius: 3px; }
.rgd-explore .top { display: grid; grid-template-columns: minmax(0, 14rem) minmax(0, 1fr); gap: 1rem 1.2rem; }
.rgd-explore .said { position: absolute; width: 1px; height: 1px; margin: 0; overflow: hidden; clip-path: inset(50%); }
.rgd-explore .draw { max-width: 14rem; }
.rgd-explore canvas.pad { touch-action: none; cursor: crosshair; }
.rgd-explore .hint { font-size: .8rem; margin: .3rem 0 0; }
.rgd-explore .digits { display: grid; grid-template-columns: repeat(5, minmax(0, 3rem)); gap: .3rem; }
.rgd-explore .digits button { padding: 2px; min-height: 0; aspect-ratio: 1; }
.rgd-explore .digits button[aria-pressed="true"] { outline: 2px solid #0072b2; outline-offset: 1px; }
.rgd-explore .line { display: flex; flex-wrap: wrap; gap: .4rem .6rem; align-items: center; margin: .5rem 0; }
.rgd-explore .rgd-line { display: grid; grid-template-columns: 6.5rem minmax(0, 1fr) 2.4rem; gap: .5rem;
  margin: .3rem 0; align-items: center; min-height: 1.9rem; }
.rgd-explore .rgd-line :is(select, input[type=number]) { grid-column: 2 / 4; justify-self: start; min-width: 6rem; }
.rgd-explore .rgd-line input[type=range] { width: 100%; accent-color: #0072b2; }
.rgd-explore .rgd-line output { text-align: right; font-variant-numeric: tabular-nums; }
.rgd-explore .pictures { display: grid; grid-template-columns: repeat(4, minmax(0, 1fr)); gap: .8rem;
  margin: 1rem 0 0; }
.rgd-explore .caption { font-size: .8rem; margin: .3rem 0 0; white-space: pre-line; }
.rgd-explore .scale { display: flex; gap: .6rem; align-items: center; margin: .8rem 0 0; font-size: .8rem; }
.rgd-explore .scale i { flex: 0 1 16rem; height: .7rem; border-radius: 3px;
  background: linear-gradient(90deg, ${[-1, 0, 1].map((end) => `rgb(${redBlue(end)})`)}); }
@container (max-width: 32rem) { .rgd-explore .top { grid-template-columns: minmax(0, 1fr); }
  .rgd-explore .pictures { grid-template-columns: repeat(2, minmax(0, 1fr)); } .rgd-explore { padding: .7rem; } }
`;

/** What classifiers say of one image at one level: for each name, the gradients towards all classes, and the logits. */
async function explored(models, x0, t, seed) {
  const xt = qSample(x0, noise(1, PIXELS, seed), ALPHA_BAR[t]), found = {};
  const batch = Float32Array.from({ length: CLASSES.length * PIXELS }, (_, i) => xt[i % PIXELS]);
  for (const name of NAMES) {
    const { gradient, logits } = await models[name](batch, t, CLASSES);
    found[name] = { gradient, logits: logits.subarray(0, CLASSES.length) };
  }
  return { t, seed, x0, xt, found };
}

/** A probability in words, of three digits. */
function percent(share) {
  if (share < 1e-4) return "under 0.01 %";
  return share > 0.999 ? "over 99.9 %" : `${(100 * share).toPrecision(3)} %`;
}


/** What one classifier says, for the picture of its gradient: { values, most, verdict, length }. */
function read({ gradient, logits }, y) {
  const values = gradient.subarray(y * PIXELS, (y + 1) * PIXELS), p = softmax(logits);
  const best = p.indexOf(Math.max(...p));
  const most = values.reduce((m, g) => Math.max(m, Math.abs(g)), 1e-12);
  const verdict = `says ${best} (${percent(p[best])})` + (best === y ? "" : `\n${y} has ${percent(p[y])}`);
  return { values, most, verdict, length: lengths(values, 1)[0].toPrecision(2) };
}

/** A picture with a caption: { element, show(values, colour, words, alt) }. */
function captioned(title) {
  const canvas = h("canvas", { width: SIDE, height: SIDE, role: "img" }), said = h("span");
  const caption = h("div", { class: "caption" }, h("strong", {}, title), said);
  return {
    element: h("div", {}, canvas, caption),
    show(values, colour, words, alt) {
      draw(canvas, values, 0, colour);
      canvas.setAttribute("aria-label", alt);
      said.textContent = `\n${words}`;
    },
  };
}

/** The noisy digit and the three gradients: { element, show(explored, y, own) }; `show` returns it in a sentence. */
function pictures() {
  const noisy = captioned("noisy digit"), gradients = NAMES.map((name) => [name, captioned(name)]);
  const [low, high, which] = [h("span"), h("span"), h("p", { class: "hint" })], bar = h("i", { "aria-hidden": "true" });
  const show = ({ t, xt, found }, y, own) => {
    noisy.show(xt, grey, `t = ${t}`, `The noisy digit at t = ${t}`);
    const all = gradients.map(([name, picture]) => ({ name, picture, ...read(found[name], y) }));
    const most = Math.max(...all.map((one) => one.most));
    for (const { picture, name, values, most: mine, verdict, length } of all) {
      const full = own ? mine : most, note = own ? `\nfull colour ${mine.toPrecision(2)}` : "";
      picture.show(values.map((g) => g / full), redBlue, `${verdict}\nlength ${length}${note}`,
        `The gradient of the ${name} classifier towards ${y}`);
    }
    const end = own ? "full colour" : most.toPrecision(2);
    [low.textContent, high.textContent] = [`−${end}`, `+${end}`];
    which.textContent = "Blue pixels should become darker, red ones brighter. " + (own
      ? "Each gradient has a colour scale of its own; its full colour is given below it."
      : "All three gradients are on this one colour scale.");
    return all.map(({ name, verdict, length }) =>
      `${name} ${verdict.replace("\n", ", ")}, its gradient has length ${length}`).join("; ");
  };
  return { element: h("div", {}, h("div", { class: "pictures" }, noisy.element,
    ...gradients.map(([, { element }]) => element)), h("div", { class: "scale" }, low, bar, high), which), show };
}

/** The digits to pick: { element, show(digit) }. */
function digits(images, pick) {
  const buttons = CLASSES.map((k) => {
    const canvas = h("canvas", { width: SIDE, height: SIDE, "aria-hidden": "true" });
    draw(canvas, images, k, grey);
    const button = h("button", { type: "button", "aria-label": `A test image of ${k}` }, canvas);
    button.addEventListener("click", () => pick(k));
    return button;
  });
  const element = h("div", { class: "digits", role: "group", "aria-label": "Pick a digit" }, ...buttons);
  const show = (digit) => buttons.forEach((button, k) => button.setAttribute("aria-pressed", k === digit));
  return { element, show };
}

/** All that the reader sets but the digit: { element, show(state) }. */
function settings(set) {
  const t = slider("noise level t", [0, ALPHA_BAR.length - 1, 1], (value) => set("t", value));
  const seed = h("input", { type: "number", min: 0, max: 2 ** 31 - 1, step: 1 });
  seed.addEventListener("change", () => set("seed", Math.max(0, Math.floor(Number(seed.value)) || 0)));
  const towards = choice("towards class", CLASSES.map((k) => [String(k), String(k)]), (k) => set("towards", Number(k)));
  const own = h("input", { type: "checkbox" });
  own.addEventListener("change", () => set("own", own.checked));
  const seeds = h("label", { class: "rgd-line" }, h("span", {}, "noise's seed"), seed);
  const element = h("div", {}, t.row, towards.row, seeds,
    h("label", { class: "line" }, own, "each gradient on a colour scale of its own"));
  const show = (state) => {
    t.show(state("t"));
    towards.show(String(state("towards")));
    seed.value = state("seed");
    own.checked = state("own");
  };
  return { element, show };
}

/** The explorer itself, once everything is loaded. Returns what clears up. */
function explore({ model, el, state, root, fail }, models, images) {
  let x0 = images.slice(state("digit") * PIXELS, (state("digit") + 1) * PIXELS), digit = state("digit");
  let known = null, busy = false, saying = 0;
  const said = h("p", { class: "said", "aria-live": "polite" }); // for who does not see the captions, in a sentence
  const shown = pictures(), sets = settings((name, value) => { model.set(name, value); model.save_changes(); });
  const take = (image, picked = null) => { x0 = image; digit = picked; update(); };
  const picks = digits(images, (k) => take(images.slice(k * PIXELS, (k + 1) * PIXELS), k));
  const board = pad(() => x0, take);
  const present = () => {
    const { t } = known, sentence = shown.show(known, state("towards"), state("own"));
    clearTimeout(saying);
    saying = setTimeout(() => { said.textContent = `At t = ${t}: ${sentence}.`; }, 300);
  };
  const stale = () => known === null || known.x0 !== x0 || known.t !== state("t") || known.seed !== state("seed");
  const compute = async () => {
    if (busy) return; // whatever changes meanwhile is found below
    busy = true;
    while (stale()) {
      known = await explored(models, x0, state("t"), state("seed"));
      present();
      el.dispatchEvent(new CustomEvent("rgd-explored", { detail: known }));
      await new Promise((resolve) => { setTimeout(resolve); }); // the page draws, and hears the hand
    }
    busy = false;
  };
  const update = () => {
    board.show();
    picks.show(digit);
    sets.show(state);
    if (known !== null) present();
    compute().catch((error) => { busy = false; fail(error); });
  };
  const button = (text, act) => {
    const made = h("button", { type: "button" }, text);
    made.addEventListener("click", () => take(act()));
    return made;
  };
  const tools = h("div", { class: "line" }, button("Clear", blank), button("Centre", () => centred(x0)));
  root.append(h("div", { class: "top" }, board.element, h("div", {}, picks.element, tools, sets.element)),
    shown.element, said);
  for (const name of ["t", "seed", "towards", "own"]) model.on(`change:${name}`, update);
  update();
  return () => {
    clearTimeout(saying);
    for (const name of ["t", "seed", "towards", "own"]) model.off(`change:${name}`, update);
  };
}

/** The widget, as anywidget and the page's own loader want it: nothing is loaded before the click. */
function render({ model, el }) {
  const state = (name) => model.get(name) ?? DEFAULTS[name];
  const go = h("button", { type: "button", class: "go" }, "Load the classifiers");
  const status = h("p", { role: "status" }, `They are ${SIZE}; what you draw stays in your browser.`);
  const progress = h("progress", { "aria-label": "Loading", hidden: "" });
  const root = h("div", { class: "rgd-explore" }, h("style", {}, STYLE), go, status, progress);
  let leave = () => {};
  const told = (done, of, what) => {
    [progress.max, progress.value] = [of, done];
    status.textContent = what ? `Loaded ${what}, ${done} of ${of}.` : "Loading …";
  };
  const fail = (error) => {
    status.textContent = `It did not work: ${error.message ?? error}`;
    status.className = "wrong";
    status.hidden = false;
  };
  go.addEventListener("click", async () => {
    go.disabled = true;
    progress.hidden = false;
    status.className = "";
    try {
      const from = folder(state);
      const [models, pixels] = await Promise.all([classifiers(from, NAMES, told), bytes(from, "digits")]);
      go.hidden = status.hidden = true;
      leave = explore({ model, el, state, root, fail }, models, Float32Array.from(pixels, (byte) => byte / 127.5 - 1));
      root.querySelector("canvas.pad").focus();
    } catch (error) {
      fail(error);
    }
    progress.hidden = true;
    go.disabled = false;
  });
  el.style.containerType = "inline-size";
  el.append(root);
  return () => leave();
}

export default { render };
