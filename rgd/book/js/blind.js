/**
 * A blind test of two guides: pairs of digits in an order and on sides that the reader's browser draws by lot, the
 * answers counted with an interval, and then, not before, the key.
 *
 * State, optional: `files`, the address of the folder that `tools.live` wrote, if it is not the site's own. What the
 * reader answered stays in the browser (localStorage), until the test is begun anew.
 */

import { shuffled } from "./lots.js";
import { bytes, folder } from "./models.js";
import { PIXELS, SIDE, draw, grey } from "./pictures.js";
import { h } from "./plane_parts.js";

const KEPT = "rgd-blind";
const SIDES = ["A", "B"];

const STYLE = `
.rgd-blind { --line: color-mix(in srgb, currentColor 50%, transparent); border: 1px solid var(--line);
  border-radius: 6px; padding: 1rem; margin: 1rem 0; line-height: 1.4; }
[data-theme="dark"] .rgd-blind { color-scheme: dark; }
.rgd-blind [hidden] { display: none !important; }
.rgd-blind button { font: inherit; color: inherit; background: transparent; border: 1px solid var(--line);
  border-radius: 4px; padding: .1rem .9rem; min-height: 2.2rem; cursor: pointer; }
.rgd-blind button:disabled { opacity: .5; cursor: default; }
.rgd-blind button.go { background: #0072b2; border-color: #0072b2; color: #fff; font-weight: 600; }
.rgd-blind :focus-visible { outline: 2px solid currentColor; outline-offset: 2px; }
.rgd-blind p { margin: 0 0 .7rem; }
.rgd-blind p.wrong { font-weight: 600; }
.rgd-blind canvas { width: 100%; aspect-ratio: 1; image-rendering: pixelated; display: block; border-radius: 3px; }
.rgd-blind .two { display: grid; grid-template-columns: repeat(2, minmax(0, 11rem)); gap: 1rem; margin: 0 0 .8rem; }
.rgd-blind .two button { padding: .5rem; font-weight: 600; }
.rgd-blind .anew { margin: .8rem 0 0; }
.rgd-blind table { border-collapse: collapse; margin: 0 0 .7rem; font-variant-numeric: tabular-nums; }
.rgd-blind :is(th, td) { text-align: left; padding: .15rem 1.2rem .15rem 0; border-bottom: 1px solid var(--line); }
.rgd-blind .all { display: grid; grid-template-columns: repeat(auto-fill, minmax(9rem, 1fr)); gap: .9rem;
  margin: .9rem 0 0; padding: 0; list-style: none; font-size: .8rem; }
.rgd-blind .all li { margin: 0; }
.rgd-blind .pair { display: grid; grid-template-columns: 1fr 1fr; gap: .4rem; }
.rgd-blind .all .mine canvas { outline: 3px solid #0072b2; outline-offset: 1px; }
.rgd-blind .all .mine span { font-weight: 600; }
`;

/** Of n answers `successes` as a share, with Wilson's 95 % interval: `rgd.metrics.proportion`. */
export function proportion(successes, n) {
  const z = 1.959963984540054, value = successes / n, middle = (value + (z * z) / (2 * n)) / (1 + (z * z) / n);
  const half = (z / (1 + (z * z) / n)) * Math.sqrt((value * (1 - value)) / n + (z * z) / (4 * n * n));
  return { value, low: Math.max(0, middle - half), high: Math.min(1, middle + half) };
}

/** A new test of n pairs: their order, and which guide is on side A of each, either one equally often. */
function lot(id, n) {
  const order = shuffled(Array.from({ length: n }, (_, i) => i));
  return { id, order, first: shuffled(order.map((_, i) => i % 2)), answers: [], revealed: false };
}

/** What was kept of a test of the same pairs, or null. A browser may refuse to keep anything. */
function kept(id) {
  try {
    const found = JSON.parse(localStorage.getItem(KEPT));
    return found?.id === id ? found : null;
  } catch {
    return null;
  }
}

function keep(test) {
  try {
    localStorage.setItem(KEPT, JSON.stringify(test));
  } catch { /* then it lasts as long as the page */ }
}

/** The pairs, as `tools.pairs` packed them: { id, made, image(guide, pair) }. */
async function load(from) {
  const { id, made, images } = JSON.parse(new TextDecoder().decode(await bytes(from, "pairs")));
  const values = Float32Array.from(atob(images), (letter) => letter.charCodeAt(0) / 127.5 - 1);
  const image = (guide, pair) => {
    const at = (guide * made.classes.length + pair) * PIXELS;
    return values.subarray(at, at + PIXELS);
  };
  return { id, made, image };
}

const screen = () => h("canvas", { width: SIDE, height: SIDE, "aria-hidden": "true" });
const button = (text, act, kind = "") => {
  const made = h("button", { type: "button", class: kind }, text);
  made.addEventListener("click", act);
  return made;
};
const told = ({ value, low, high }) => `${value.toFixed(2)} (${low.toFixed(2)} to ${high.toFixed(2)})`;
const article = (digit) => (digit === 8 ? "an 8" : `a ${digit}`);
const guideOn = (test, k, side) => (side === 0 ? test.first[k] : 1 - test.first[k]);

/** The question: { element, show(test) }. `answer(side)` and `back()` are what the reader does. */
function question({ made, image }, answer, back) {
  const asked = h("p", { "aria-live": "polite" }), canvases = SIDES.map(screen);
  const buttons = SIDES.map((side, i) => button(side, () => answer(i)));
  buttons.forEach((one, i) => one.prepend(canvases[i]));
  const before = button("Back", back);
  const element = h("div", {}, asked, h("div", { class: "two" }, ...buttons), h("p", {}, before));
  const show = (test) => {
    const k = test.answers.length, pair = test.order[k];
    element.hidden = pair === undefined;
    if (element.hidden) return;
    asked.textContent = `Pair ${k + 1} of ${test.order.length}. Which looks more like ${article(made.classes[pair])}?`;
    canvases.forEach((canvas, side) => draw(canvas, image(guideOn(test, k, side), pair), 0, grey));
    before.disabled = k === 0;
  };
  return { element, show, focus: () => buttons[0].focus() };
}

/** The answers counted by side, which needs no key. */
function counted(test) {
  const n = test.answers.length, left = test.answers.filter((side) => side === 0).length;
  const share = `A's share is ${told(proportion(left, n))}, with Wilson's 95 % interval.`;
  return `All ${n} are answered: A in ${left}, B in ${n - left}. ${share} Lots put either guide on each side equally ` +
    "often, so this is about you and your hand, and says nothing of the guides.";
}

/** The answers counted by guide: a table, and what it says in a sentence. */
function verdict(test, { guides, scale, seed }) {
  const n = test.answers.length;
  const wins = guides.map((_, guide) => test.answers.filter((side, k) => guideOn(test, k, side) === guide).length);
  const rows = guides.map((guide, i) => h("tr", {}, h("th", { scope: "row" }, guide), h("td", {}, `${wins[i]} of ${n}`),
    h("td", {}, told(proportion(wins[i], n)))));
  const titles = ["guide", "preferred", "share, 95 % interval"].map((title) => h("th", { scope: "col" }, title));
  const table = h("table", {}, h("thead", {}, h("tr", {}, ...titles)), h("tbody", {}, ...rows));
  const best = wins[0] >= wins[1] ? 0 : 1, { low } = proportion(wins[best], n);
  const sentence = low <= 0.5
    ? "The intervals hold one half: these answers do not show which guide you prefer, nor that you prefer none."
    : `The intervals leave out one half: on these pairs you prefer ${guides[best]}. Others may not.`;
  const origin = `Both guides had scale ${scale}, and the noise is that of seed ${seed}.`;
  return [table, h("p", {}, `${sentence} ${origin}`)];
}

/** Every pair with its key, in the order in which it was asked. */
function gallery(test, { made, image }) {
  const pairs = test.order.map((pair, k) => {
    const two = SIDES.map((_, side) => {
      const guide = guideOn(test, k, side), canvas = screen(), mine = test.answers[k] === side;
      draw(canvas, image(guide, pair), 0, grey);
      return h("div", { class: mine ? "mine" : "" }, canvas,
        h("span", {}, `${SIDES[side]}: ${made.guides[guide]}${mine ? ", yours" : ""}`));
    });
    return h("li", {}, `${k + 1}. ${article(made.classes[pair])}`, h("div", { class: "pair" }, ...two));
  });
  return h("ol", { class: "all" }, ...pairs);
}

/** The whole test, once the pairs are loaded. */
function run(root, pairs) {
  let test = kept(pairs.id) ?? lot(pairs.id, pairs.made.classes.length);
  const move = (change) => {
    test = { ...test, ...change };
    keep(test);
    show();
  };
  const asks = question(pairs, (side) => move({ answers: [...test.answers, side] }),
    () => move({ answers: test.answers.slice(0, -1) }));
  const result = h("div", { tabindex: -1 });
  const anew = button("Begin anew", () => {
    move(lot(pairs.id, test.order.length));
    asks.focus();
  });
  const show = () => {
    const done = test.answers.length === test.order.length;
    asks.show(test);
    result.hidden = !done;
    result.replaceChildren();
    if (!done) return;
    result.append(h("p", {}, counted(test)));
    if (test.revealed) result.append(...verdict(test, pairs.made), gallery(test, pairs));
    else result.append(h("p", {}, button("Reveal the key", () => move({ revealed: true }), "go")));
    result.focus();
  };
  root.append(asks.element, result, h("p", { class: "anew" }, anew));
  show();
}

/** The widget, as anywidget and the page's own loader want it: the pairs are loaded on a click. */
function render({ model, el }) {
  const about = h("p", { role: "status" },
    "Each pair is the same noise, guided by two classifiers. Order and sides are drawn by lot in your browser, and " +
    "your answers stay there. The key comes after the last pair.");
  const root = h("div", { class: "rgd-blind" }, h("style", {}, STYLE), about);
  const go = button("Begin", async () => {
    try {
      const pairs = await load(folder((name) => model.get(name)));
      go.remove();
      about.className = "";
      run(root, pairs);
      (root.querySelector(".two button") ?? root).focus();
    } catch (error) {
      about.textContent = `It did not work: ${error.message ?? error}`;
      about.className = "wrong";
    }
  }, "go");
  root.append(go);
  el.append(root);
}

export default { render };
