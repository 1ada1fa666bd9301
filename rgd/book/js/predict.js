/**
 * The widget `predict`: its reader predicts what a cell will show, and sees it only then. The output, and the sentence
 * that reads it, are hidden here and nowhere else, so that without scripts, on paper and in a notebook all is shown.
 *
 * State, of which book/_ext/predict.py sets most: name, of the block; kind, "curve", "number" or "choice"; axes, of a
 * curve; low, high and truth, of a number. What the reader predicted stays in the browser, by page and name.
 */

import { h } from "./plane_parts.js";
import { board, overlay } from "./predict_curve.js";

const STYLE = `
.rgd-live[data-widget="predict"].rgd-live-on { --ink: #1f2328; --paper: #ffffff; --mark: #6a3d9a;
  border: 1px solid var(--mark); border-radius: 0.4rem; padding: 0.8rem 1rem; }
[data-theme="dark"] .rgd-live[data-widget="predict"].rgd-live-on { --ink: #e6e9ec; --paper: #14181e;
  --mark: #c7a6ea; }
.rgd-live[data-widget="predict"] > .rgd-live-instead { display: block; }
.rgd-live[data-widget="predict"] .rgd-live-instead > :last-child { margin-bottom: 0.5rem; }
.rgd-live[data-widget="predict"] li:has(> label) { list-style: none; }
.rgd-live[data-widget="predict"] li > label { display: flex; gap: 0.5rem; align-items: baseline; padding: 0.2rem 0;
  cursor: pointer; }
.rgd-live[data-widget="predict"] ul:has(label) { padding-left: 0.2rem; }
.rgd-predict { color: var(--ink); }
.rgd-predict p { margin: 0 0 0.5rem; font-size: 0.9rem; }
.rgd-predict [hidden] { display: none !important; }
.rgd-predict .many { display: flex; flex-wrap: wrap; gap: 0.5rem; }
.rgd-predict :is(button, input) { color: var(--ink); background: var(--paper); border: 1px solid var(--mark);
  border-radius: 0.3rem; font: inherit; padding: 0.2rem 0.8rem; min-height: 2rem; }
.rgd-predict input { width: 8rem; margin-left: 0.5rem; }
.rgd-predict button:disabled { opacity: 0.5; }
.rgd-live[data-widget="predict"] :is(button, input, circle):focus-visible { outline: 3px solid var(--mark);
  outline-offset: 2px; }
.rgd-board { display: block; width: 100%; height: auto; background: #fff; border-radius: 0.3rem; cursor: crosshair;
  touch-action: pan-y; overflow: hidden; margin-bottom: 0.5rem; }
[data-theme="dark"] .rgd-board { filter: brightness(0.82); }
.rgd-cover { fill: #fff; }
:is(.rgd-board, .rgd-over) polyline { fill: none; stroke-linejoin: round; stroke-dasharray: 7 5;
  vector-effect: non-scaling-stroke; }
.rgd-halo { stroke: #fff; stroke-width: 5; }
.rgd-drawn { stroke: #6a3d9a; stroke-width: 2.5; }
.rgd-grip { fill: #6a3d9a; stroke: #fff; }
.rgd-board:not(:focus-within) .rgd-grip { opacity: 0; }
:has(> .rgd-over) { position: relative; }
.rgd-over { position: absolute; pointer-events: none; background: none !important; padding: 0 !important; }
.rgd-note { font-style: italic; margin: 0.5rem 0; }
@media screen { .rgd-unseen { display: none !important; } }
@media print { :is(.rgd-note, .rgd-over, .rgd-live-instead input) { display: none; } }
@media (prefers-reduced-motion: no-preference) {
  .rgd-unfolds :is(img, pre) { animation: rgd-unfold 1s ease-in-out; } }
@keyframes rgd-unfold { from { clip-path: inset(0 100% 0 0); } to { clip-path: inset(0); } }
`;

/** What the browser keeps; nothing where it refuses. */
function kept(key) {
  const attempt = (act) => {
    try {
      return act();
    } catch {
      return null;
    }
  };
  return {
    read: () => attempt(() => JSON.parse(localStorage.getItem(key))),
    write: (value) => attempt(() => localStorage.setItem(key, JSON.stringify(value))),
    forget: () => attempt(() => localStorage.removeItem(key)),
  };
}

/* Each kind of prediction: `parts` are put into the block, `hear` is told of what the reader predicts, or null;
   `compare` says what it was beside what the output says, and `lock` shows it where it was made. */

function curveKind(model, place, output, hear) {
  const [picture, axes] = [output.querySelector("img"), model.get("axes")];
  const box = h("div");
  const how = h("p", {}, "Draw the curve on the axes, by mouse or finger. By keyboard, the arrows up and down move a " +
    "point, and those to the sides go to the next.");
  let over = null;
  return {
    parts: [box],
    empty: () => {
      over?.remove();
      box.replaceChildren(how, board(picture, axes, hear));
    },
    lock: (guess) => {
      box.replaceChildren();
      if (guess) over = overlay(picture, axes, guess);
    },
    compare: () => ["Your prediction is the dashed line."],
  };
}

function numberKind(model, place, output, hear) {
  const [low, high] = [model.get("low"), model.get("high")];
  const field = h("input", { type: "number", min: low, max: high, step: "any" });
  field.addEventListener("input", () => hear(field.value !== "" && field.validity.valid ? +field.value : null));
  return {
    parts: [h("p", {}, h("label", {}, `Your number, from ${low} to ${high}:`, field))],
    empty: () => { field.value = ""; field.disabled = false; },
    lock: (guess) => { field.value = guess ?? ""; field.disabled = true; },
    compare: (guess) => [`You predicted ${guess}; the cell says ${model.get("truth")}.`],
  };
}

function choiceKind(model, place, output, hear) {
  const list = place.querySelector("ul");
  const inputs = [...list.children].map((item, i) => {
    const input = h("input", { type: "radio", name: model.get("name") });
    input.addEventListener("change", () => hear(i));
    const words = item.querySelector("p") ?? item;
    item.replaceChildren(h("label", {}, input, h("span", {}, ...words.childNodes)));
    return input;
  });
  const all = (values) => inputs.forEach((input, i) => Object.assign(input, values(i)));
  list.setAttribute("role", "radiogroup");
  list.setAttribute("aria-label", "Your prediction");
  for (const item of list.children) item.setAttribute("role", "none");
  return {
    parts: [],
    empty: () => all(() => ({ checked: false, disabled: false })),
    lock: (guess) => all((i) => ({ checked: i === guess, disabled: true })),
    compare: (guess) => ["You predicted: ", list.children[guess].querySelector("span").cloneNode(true)],
  };
}

const KINDS = { curve: curveKind, number: numberKind, choice: choiceKind };

/** The output, and the sentence that reads it, which stands next in the page. */
function answerOf(output) {
  const next = output.closest(".cell").nextElementSibling;
  return next?.tagName === "P" ? [output, next] : [output];
}

/** See anywidget; it belongs to a page of the book, and there to the output that answers. */
async function render({ model, el }) {
  const [place, name] = [el.closest(".rgd-live"), model.get("name")];
  const output = document.getElementById(`answer-${name}`);
  await output.querySelector("img")?.decode(); // its size is asked for
  const storage = kept(`rgd-predict ${location.pathname} ${name}`);
  let guess = null;
  const kind = KINDS[model.get("kind")](model, place, output, (heard) => {
    guess = heard;
    show.disabled = guess === null;
  });
  const button = (text, type) => h("button", { type }, text);
  const [show, skip] = [button("Show the result", "submit"), button("Show without predicting", "button")];
  const back = button("Take it back", "button");
  const [before, after] = [h("div", { class: "many" }, show, skip), h("div", { class: "many" }, back)];
  const note = h("p", { class: "rgd-note", role: "status" });
  const turn = (shown) => {
    for (const part of answerOf(output)) part.classList.toggle("rgd-unseen", !shown);
    before.hidden = shown;
    after.hidden = !shown;
  };
  const hide = () => {
    guess = null;
    show.disabled = true;
    kind.empty();
    note.replaceChildren("The result waits for your prediction: ",
      h("a", { href: `#predict-${name}` }, "predict first, or show it"), ".");
    turn(false);
  };
  const reveal = () => {
    kind.lock(guess);
    turn(true);
    note.replaceChildren(...(guess === null ? ["The result is shown."] : kind.compare(guess)));
  };
  const answer = () => {
    storage.write({ guess });
    reveal();
    output.classList.add("rgd-unfolds");
    note.scrollIntoView({ block: "center" });
    back.focus({ preventScroll: true });
  };
  const form = h("form", { class: "rgd-predict" }, ...kind.parts, before, after);
  form.addEventListener("submit", (event) => { event.preventDefault(); answer(); });
  skip.addEventListener("click", () => { guess = null; answer(); });
  back.addEventListener("click", () => { storage.forget(); hide(); skip.focus(); });
  place.id = `predict-${name}`;
  el.append(h("style", {}, STYLE), form);
  output.before(note);
  const earlier = storage.read();
  hide();
  if (!earlier) return;
  try {
    guess = earlier.guess;
    reveal();
  } catch { // the chapter asks something else by now
    storage.forget();
    hide();
  }
}

export default { render };
