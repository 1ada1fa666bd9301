/** The parts of the widget `plane` that a reader touches and reads: elements, controls, style and words. */

/** An element with attributes and children; an attribute that is false is left out. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) if (value !== false) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

/** A labelled slider with its value beside it; `show` writes a value into it. */
export function slider(text, [min, max, step], hear) {
  const input = h("input", { type: "range", min, max, step });
  const value = h("output");
  input.addEventListener("input", () => hear(+input.value));
  const row = h("label", { class: "rgd-line" }, h("span", {}, text), input, value);
  const show = (now, off = false) => {
    input.value = now;
    input.disabled = off;
    value.textContent = +(+now).toFixed(2);
  };
  return { row, show };
}

/** A labelled choice among [value, text] pairs; `show` chooses one and says which values cannot be had. */
export function choice(text, pairs, hear) {
  const select = h("select", {}, ...pairs.map(([value, said]) => h("option", { value }, said)));
  select.addEventListener("change", () => hear(select.value));
  const show = (now, off = []) => {
    select.value = now;
    for (const option of select.options) option.disabled = off.includes(option.value);
  };
  return { row: h("label", { class: "rgd-line" }, h("span", {}, text), select), show };
}

const count = (n, thing) => `${n} ${thing}${n === 1 ? "" : "s"}`;
const list = (words) => words.join(", ").replace(/, ([^,]*)$/, " and $1");
const FIELDS = { density: "the density", posterior: "the class posterior", none: "no field" };

/** What is on the canvas, in sentences: this is what a reader has who does not see it. `ran` is what `run` gave, and
 *  `examined` what `examine` found, or null. */
export function told(state, { ends, sources, outside }, examined) {
  const of = (labels) => [...new Set(labels)].sort().map((c) => [labels.filter((l) => l === c).length, c]);
  const kinds = of(state.gaussians.map((g) => g.label)).map(([n, c]) => `${n} of class ${c}`);
  const arrows = {
    score: " and the score as arrows",
    gradient: state.label === null
      ? " and no arrows, for no class is chosen"
      : ` and the gradient of log p(y = ${state.label} | xt) as arrows`,
    none: "",
  };
  const guide = state.label === null ? "without a guide" : `guided to class ${state.label} at scale ${state.scale}`;
  const arrived = of(ends).map(([n, c]) => `${n} in class ${c}`);
  const sentences = [
    `${count(state.gaussians.length, "Gaussian")}: ${list(kinds)}.`,
    `At t = ${state.t}, ${FIELDS[state.field]}${arrows[state.arrows]}.`,
    `${count(ends.length, "particle")} ${guide}: at the end ${list(arrived)}` +
      `${outside ? `, ${outside} of them beyond the edge` : ""}.`,
  ];
  const own = state.gaussians.map((g, i) => i).filter((i) => state.gaussians[i].label === state.label);
  if (own.length > 1) {
    const shares = own.map((i) => `${sources.filter((source) => source === i).length} of Gaussian ${i + 1}`);
    sentences.push(`Counted by their most probable Gaussian: ${list(shares)}.`);
  }
  if (examined) {
    const percent = (share) => `${(100 * share).toFixed(1)} %`;
    const { exact, rippled, cosine } = examined;
    const mean = `The mean cosine of its gradient to the exact one is ${cosine.toFixed(2)}.`;
    sentences.push(`At this t the classifier with the ripple names ${percent(rippled)} of 1000 points rightly, ` +
      `the exact one ${percent(exact)}.`, ...(Number.isNaN(cosine) ? [] : [mean]));
  }
  return sentences.join(" ");
}

/** The widget's own style. Colours follow the page's theme, or the notebook's. */
export const STYLE = `
.rgd-plane { --ink: #1f2328; --paper: #ffffff; --line: #8c959f; --class-0: #0b7a6f; --class-1: #b07d00;
  --class-2: #a03a96; --wrong: #c04f00; color: var(--ink); font-size: 0.9rem; line-height: 1.4;
  display: grid; gap: 1rem 1.4rem; grid-template-columns: minmax(0, 1fr); }
[data-theme="dark"] .rgd-plane { --ink: #e6e9ec; --paper: #14181e; --line: #768390; --class-0: #4fd1c0;
  --class-1: #f2c14e; --class-2: #e691de; --wrong: #ff9955; }
.rgd-plane canvas { width: 100%; max-width: 30rem; aspect-ratio: 1; border: 1px solid var(--line);
  border-radius: 0.4rem; touch-action: pan-y; display: block; }
.rgd-plane fieldset { border: 0; margin: 0 0 0.7rem; padding: 0; min-width: 0; }
.rgd-plane legend { font-size: 0.9rem; font-weight: bold; margin: 0 0 0.2rem; padding: 0; float: none; width: auto; }
.rgd-plane .rgd-line { display: grid; grid-template-columns: 4.6rem minmax(0, 1fr) 2.4rem; gap: 0.5rem;
  align-items: center; margin: 0; min-height: 1.9rem; }
.rgd-plane .rgd-line select { grid-column: 2 / 4; }
.rgd-plane .rgd-line output { text-align: right; font-variant-numeric: tabular-nums; }
.rgd-plane .rgd-line input[type="range"] { width: 100%; margin: 0; accent-color: var(--class-0); }
.rgd-plane .check { display: flex; gap: 0.5rem; align-items: center; margin: 0; min-height: 1.9rem; }
.rgd-plane :is(button, select) { color: var(--ink); background: var(--paper); border: 1px solid var(--line);
  border-radius: 0.3rem; font: inherit; padding: 0.15rem 0.6rem; min-height: 1.9rem; }
.rgd-plane button:disabled { opacity: 0.5; }
.rgd-plane .many { display: flex; flex-wrap: wrap; gap: 0.3rem; margin: 0.2rem 0; }
.rgd-plane .many button[aria-pressed] { border-width: 2px; min-width: 2.1rem; padding: 0; }
.rgd-plane .many button[aria-pressed="true"] { background: var(--ink); color: var(--paper); }
.rgd-plane :is(button, select, input):focus-visible { outline: 3px solid var(--class-2); outline-offset: 2px; }
.rgd-plane .said { margin: 0.6rem 0 0; }
@container (min-width: 36rem) { .rgd-plane { grid-template-columns: minmax(0, 1.15fr) minmax(0, 1fr); } }
`;
