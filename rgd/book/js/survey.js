/**
 * A survey: consent, then pairs of images, one by one, in an order and on sides drawn by lot; at the end the answers,
 * as a file or posted. It knows no method by its name: of two that are compared it is told which image is the first's,
 * so that each is equally often on either side.
 *
 * State: `survey`, what `rgd.survey.page.packed` gives; `whole`, true where the widget is all of a page. It sets
 * `answers` to the text of the file. Until then what was answered stays in the browser (localStorage).
 */

import { below, shuffled } from "./lots.js";
import { h } from "./plane_parts.js";

const LETTERS = "abcdefghjkmnpqrstuvwxyz23456789"; // those that nobody mistakes for another
const SIDES = ["left", "right"];
const KEYS = { ArrowLeft: 0, 1: 0, ArrowRight: 1, 2: 1 };
const BLINK = 250; // milliseconds: nobody has looked by then, so that it is a second tap on the pair before

const STYLE = `
.rgd-survey { --line: color-mix(in srgb, currentColor 50%, transparent); line-height: 1.45; max-width: 41rem; }
[data-theme="dark"] .rgd-survey { color-scheme: dark; }
.rgd-survey [hidden] { display: none !important; }
.rgd-survey :is(p, ul, h2, details) { margin: 0 0 .8rem; }
.rgd-survey h2 { font-size: 1.05rem; }
.rgd-survey ul { padding-left: 1.2rem; }
.rgd-survey li { margin: 0 0 .35rem; }
.rgd-survey .own { white-space: pre-line; }
.rgd-survey :is(button, a.file) { font: inherit; color: inherit; background: transparent; text-decoration: none;
  border: 1px solid var(--line); border-radius: 6px; padding: .35rem 1rem; min-height: 2.75rem; cursor: pointer;
  box-sizing: border-box; display: inline-flex; align-items: center; justify-content: center;
  touch-action: manipulation; }
.rgd-survey button:disabled { opacity: .45; cursor: default; }
.rgd-survey :is(button, a).go { background: #0072b2; border-color: #0072b2; color: #fff; font-weight: 600; }
.rgd-survey :focus-visible { outline: 3px solid currentColor; outline-offset: 2px; }
.rgd-survey :is(h2, .asked):focus { outline: none; }
.rgd-survey .asked { font-size: 1.15rem; font-weight: 600; }
.rgd-survey .way { display: flex; align-items: center; gap: .8rem; font-variant-numeric: tabular-nums; }
.rgd-survey progress { flex: 1; height: .6rem; appearance: none; border: 0; border-radius: 3px; overflow: hidden;
  background: color-mix(in srgb, currentColor 18%, transparent); }
.rgd-survey progress::-webkit-progress-bar { background: transparent; }
.rgd-survey progress::-webkit-progress-value { background: #0072b2; }
.rgd-survey progress::-moz-progress-bar { background: #0072b2; }
.rgd-survey .two { display: grid; grid-template-columns: repeat(2, minmax(0, 20rem)); gap: .8rem; margin: 0 0 .8rem; }
.rgd-survey .two button { display: block; padding: .5rem .5rem .6rem; font-weight: 600; font-size: 1.05rem; }
.rgd-survey .two button:active { border-color: #0072b2; box-shadow: 0 0 0 2px #0072b2; }
.rgd-survey .two img { width: 100%; aspect-ratio: 1; display: block; image-rendering: pixelated; border-radius: 3px;
  margin: 0 0 .5rem; }
.rgd-survey .row { display: flex; flex-wrap: wrap; gap: .8rem; align-items: center; }
.rgd-survey .hint { font-size: .9rem; }
@media (hover: none) { .rgd-survey .hint { display: none; } }
@media (hover: hover) { .rgd-survey .two button:hover { border-color: currentColor; } }
.rgd-survey textarea { width: 100%; box-sizing: border-box; height: 6rem; font: .8rem/1.3 monospace; color: inherit;
  background: transparent; border: 1px solid var(--line); margin: .5rem 0 0; }
`;

/** CRC-32 of ASCII text, in hex, as zlib has it. */
export function crc32(text) {
  let crc = -1;
  for (const letter of text) {
    crc ^= letter.charCodeAt(0);
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return (~crc >>> 0).toString(16).padStart(8, "0");
}

/** A new rater: a code, the order of the pairs, and which image of each pair is on the left. In each group of pairs
 *  the first image is as often on the left as the second, or once more or less. */
export function lot(pairs) {
  const left = pairs.map(() => 0);
  for (const group of new Set(pairs.map((pair) => pair.group))) {
    const members = pairs.map((_, k) => k).filter((k) => pairs[k].group === group), coin = below(2);
    shuffled(members).forEach((k, i) => { left[k] = (i + coin) % 2; });
  }
  const rater = Array.from({ length: 10 }, () => LETTERS[below(LETTERS.length)]).join("");
  return { rater, order: shuffled(pairs.map((_, k) => k)), left, trials: [], slip: false, sent: false };
}

/** The text of the file: what `rgd.survey.answers` reads. */
export function written(digest, { rater, trials }) {
  const answers = { survey: digest, simulated: false, rater, trials };
  return JSON.stringify({ answers, checksum: crc32(JSON.stringify(answers)) });
}

/** What this browser keeps of a survey. It may refuse to keep anything: then a test lasts as long as the page. */
function keeper(digest) {
  const name = `rgd-survey ${digest}`;
  const attempt = (act) => { try { return act(); } catch { return null; } };
  return {
    read: () => attempt(() => JSON.parse(localStorage.getItem(name))),
    write: (test) => attempt(() => localStorage.setItem(name, JSON.stringify(test))),
    forget: () => attempt(() => localStorage.removeItem(name)),
  };
}

const paragraph = (text, kind = "") => h("p", { class: kind }, text);
const heading = (text) => h("h2", { tabindex: -1 }, text);

function button(text, act, kind = "") {
  const made = h("button", { type: "button", class: kind }, text);
  made.addEventListener("click", act);
  return made;
}

/** What a rater agrees to. The first words are the asker's own, and the list is what this page does. */
function consent({ consent: own, address, pairs }, test, whole, begin) {
  const begun = test.trials.length, minutes = Math.ceil(pairs.length / 15);
  const end = whole ? "At the end they are given to you as a file, which you hand to whoever asked you." :
    "At the end they go to the notebook that shows this survey.";
  const sent = `At the end they are sent to ${address}. That server sees your network address, as every server does.`;
  const facts = [
    `You see ${pairs.length} pairs of images that a computer made, and choose the better one of each. That takes ` +
      `about ${minutes === 1 ? "a minute" : `${minutes} minutes`}. You need to be able to see images.`,
    "There are no right answers, but for a few pairs that check attention: one of their images is plainly spoiled.",
    "Kept are your choices, on which side each image was, and how long you took, under a code drawn by lot. Not " +
      "your name, the time of day, or anything about you or your device.",
    `Until you are done your answers stay in this browser. ${address ? sent : end}`,
    "You may stop at any time: Stop deletes your answers. If you only close the page, it goes on from there.",
  ];
  return [
    heading("Before you begin"), ...(own ? [paragraph(own, "own")] : []),
    h("ul", {}, ...facts.map((fact) => h("li", {}, fact))),
    ...(begun ? [paragraph(`You have answered ${begun} of ${pairs.length}.`)] : []),
    button(begun ? "I agree: go on" : "I agree: begin", begin, "go"),
  ];
}

/** The question: { parts, show(test) }. `answer(side, ms)`, `back()` and `stop()` are what the rater does. */
function question(survey, answer, back, stop) {
  const asked = h("p", { class: "asked", "aria-live": "polite", tabindex: -1 });
  const done = h("progress", { max: survey.pairs.length, "aria-label": "Pairs answered" }), count = h("span");
  const images = SIDES.map((side) => h("img", { alt: `The image on the ${side}` }));
  let since = Infinity;
  const choose = (side) => {
    const ms = performance.now() - since;
    if (ms >= BLINK) answer(side, 100 * Math.round(ms / 100));
  };
  const buttons = ["Left", "Right"].map((text, side) => button(text, () => choose(side)));
  buttons.forEach((one, side) => one.prepend(images[side]));
  const before = button("Back", back);
  const show = async ({ order, left, trials, slip }) => {
    const k = trials.length, pair = survey.pairs[order[k]];
    since = Infinity;
    images.forEach((image, side) => { image.src = pair.images[side === 0 ? left[order[k]] : 1 - left[order[k]]]; });
    await Promise.all(images.map((image) => image.decode().catch(() => {})));
    asked.textContent = survey.question.replace("{}", pair.label);
    count.textContent = `${k + 1} of ${survey.pairs.length}`;
    done.value = k;
    before.disabled = !slip;
    since = performance.now();
  };
  const hint = paragraph("Keys: ← or 1 for left, → or 2 for right. Back mends a slip in the last answer.", "hint");
  const way = h("p", { class: "way" }, count, done);
  const row = h("p", { class: "row" }, before, button("Stop", stop));
  return { parts: [asked, h("div", { class: "two" }, ...buttons), way, row, hint], show, choose };
}

/** Sends the answers, and says what became of it. As plain text, a server need not be asked before. */
async function post(address, text, say) {
  say("Your answers are being sent.");
  try {
    const reply = await fetch(address, { method: "POST", headers: { "Content-Type": "text/plain" }, body: text });
    if (!reply.ok) throw new Error(`the server said ${reply.status}`);
    say("Your answers were sent. There is nothing more to do.");
    return true;
  } catch (error) {
    say(`Your answers could not be sent (${error.message}). Nothing is lost: try again, or save the file and hand it ` +
      "to whoever asked you.");
    return false;
  }
}

/** The end: thanks, and the answers. */
function thanks(survey, test, whole, sent) {
  const text = written(survey.digest, test), said = h("p", { role: "status" });
  const name = `survey-${survey.digest.slice(0, 8)}-${test.rater}.json`;
  const href = URL.createObjectURL(new Blob([text], { type: "application/json" }));
  const file = h("a", { class: survey.address ? "file" : "file go", href, download: name }, "Save the file");
  const again = button("Try again", () => send(), "go");
  const say = (what) => { said.textContent = what; };
  const send = async () => {
    again.hidden = true;
    again.hidden = await post(survey.address, text, say);
    if (again.hidden) sent();
  };
  if (!survey.address) say(whole ? "Please save the file, and hand it to whoever asked you." : "The notebook has it.");
  else if (test.sent) say("Your answers were sent. There is nothing more to do.");
  else send();
  again.hidden = true;
  const copy = h("details", {}, h("summary", {}, "No file came?"),
    paragraph("Copy this text and hand it on:"), h("textarea", { readonly: "", "aria-label": "Your answers" }, text));
  return [heading("Thank you"), paragraph(`All ${survey.pairs.length} pairs are answered. Your code is ${test.rater}.`),
    said, h("p", { class: "row" }, again, file), copy];
}

/** The widget, as anywidget and a page of its own want it. */
function render({ model, el }) {
  const survey = model.get("survey"), whole = Boolean(model.get("whole")), keep = keeper(survey.digest);
  const stage = h("div"), root = h("div", { class: "rgd-survey" }, h("style", {}, STYLE), stage);
  let test = keep.read() ?? lot(survey.pairs), asking = false;
  const turn = (parts, focus = true) => {
    stage.replaceChildren(...parts);
    if (focus) stage.querySelector("[tabindex]").focus();
  };
  const move = (change) => {
    test = { ...test, ...change };
    keep.write(test);
    asking = test.trials.length < survey.pairs.length;
    if (asking) asks.show(test);
    else end(true);
  };
  const answer = (side, ms) => {
    const pair = test.order[test.trials.length];
    move({ trials: [...test.trials, { pair, left: test.left[pair], choice: SIDES[side], ms }], slip: true });
  };
  const back = () => move({ trials: test.trials.slice(0, -1), slip: false });
  const stop = () => {
    if (!confirm("Stop, and delete your answers?")) return;
    asking = false;
    keep.forget();
    turn([heading("You stopped"), paragraph("Your answers were deleted, and nothing was kept. Thank you.")]);
  };
  const asks = question(survey, answer, back, stop);
  const end = (focus) => {
    model.set("answers", written(survey.digest, test));
    model.save_changes();
    turn(thanks(survey, test, whole, () => keep.write(test = { ...test, sent: true })), focus);
  };
  const key = (event) => {
    const side = KEYS[event.key];
    if (!asking || side === undefined || event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
    event.preventDefault();
    event.stopPropagation(); // else a notebook takes it for its own
    asks.choose(side);
  };
  const ears = whole ? document : root;
  ears.addEventListener("keydown", key);
  el.append(root);
  if (test.trials.length === survey.pairs.length) end(false);
  else turn(consent(survey, test, whole, () => { turn(asks.parts); move({}); }), false);
  return () => ears.removeEventListener("keydown", key);
}

export default { render };
