/** The pad of the widget `explore`: a digit that mouse, finger or keys draw, white on black as MNIST's are. */

import { PIXELS, SIDE, draw, grey } from "./pictures.js";
import { h } from "./plane_parts.js";

const REACH = 1.7; // pixels from the pen's line at which ink ends; full ink ends one sooner
const PEN = [255, 140, 0];
const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
const HINT = "Draw with mouse or finger. With keys, arrows move the pen, and Space lowers and lifts it.";

const clamp = (value, low, high) => Math.min(Math.max(value, low), high);

/** No ink at all. */
export function blank() {
  return new Float32Array(PIXELS).fill(-1);
}

/** An image with a line of ink from one point to another; points are [column, row], a pixel's centre at its half. */
export function stroke(image, [x, y], [toX, toY]) {
  const [dx, dy] = [toX - x, toY - y], length = dx * dx + dy * dy;
  return image.map((value, i) => {
    const [ox, oy] = [(i % SIDE) + 0.5 - x, Math.floor(i / SIDE) + 0.5 - y];
    const share = length > 0 ? clamp((ox * dx + oy * dy) / length, 0, 1) : 0;
    const ink = clamp(REACH - Math.hypot(ox - share * dx, oy - share * dy), 0, 1);
    return Math.max(value, 2 * ink - 1);
  });
}

/** The image moved by whole pixels so that its ink's centre of mass is nearest to the middle, where MNIST's lie. */
export function centred(image) {
  let [ink, column, row] = [0, 0, 0];
  image.forEach((value, i) => {
    ink += value + 1;
    column += (value + 1) * ((i % SIDE) + 0.5);
    row += (value + 1) * (Math.floor(i / SIDE) + 0.5);
  });
  if (ink === 0) return image;
  const [right, down] = [column, row].map((sum) => Math.round(SIDE / 2 - sum / ink));
  return image.map((_, i) => {
    const [x, y] = [(i % SIDE) - right, Math.floor(i / SIDE) - down];
    return x >= 0 && x < SIDE && y >= 0 && y < SIDE ? image[y * SIDE + x] : -1;
  });
}

/** Keys on the pad: the pen's place and whether it is down. `ink(from, to)` draws, `moved()` shows the pen. */
function keys(canvas, said, ink, moved) {
  const pen = { at: [SIDE / 2, SIDE / 2], down: false };
  canvas.addEventListener("keydown", (event) => {
    if (event.key === " ") pen.down = !pen.down;
    else if (!STEPS[event.key]) return;
    event.preventDefault();
    const from = pen.at;
    pen.at = from.map((place, axis) => clamp(place + (STEPS[event.key]?.[axis] ?? 0), 0.5, SIDE - 0.5));
    if (pen.down) ink(from, pen.at);
    moved();
    const [column, row] = pen.at.map(Math.ceil);
    said.textContent = `Pen ${pen.down ? "down" : "up"}, column ${column}, row ${row} of ${SIDE}.`;
  });
  canvas.addEventListener("blur", () => {
    pen.down = false;
    said.textContent = HINT;
    moved();
  });
  return pen;
}

/** The pad: { element, show(image) }. `read()` gives the image, and `changed(image)` hears of each stroke. */
export function pad(read, changed) {
  const canvas = h("canvas", { width: SIDE, height: SIDE, tabindex: 0, role: "application", class: "pad",
    "aria-label": "The digit, to draw on", "aria-roledescription": "drawing pad" });
  const said = h("p", { class: "hint", "aria-live": "polite" }, HINT);
  const ink = (from, to) => changed(stroke(read(), from, to));
  let byKeys = false, from = null;
  const show = () => {
    draw(canvas, read(), 0, grey);
    if (!byKeys || document.activeElement !== canvas) return;
    const context = canvas.getContext("2d"), [x, y] = pen.at.map(Math.floor);
    context.fillStyle = `rgb(${PEN})`;
    context.fillRect(x, y, 1, 1);
  };
  const pen = keys(canvas, said, ink, () => { byKeys = true; show(); });
  const place = ({ clientX, clientY }) => {
    const box = canvas.getBoundingClientRect();
    return [((clientX - box.left) / box.width) * SIDE, ((clientY - box.top) / box.height) * SIDE];
  };
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    canvas.setPointerCapture(event.pointerId);
    byKeys = false;
    from = place(event);
    ink(from, from);
  });
  canvas.addEventListener("pointermove", (event) => {
    if (from === null) return;
    const to = place(event);
    ink(from, to);
    from = to;
  });
  for (const type of ["pointerup", "pointercancel"]) canvas.addEventListener(type, () => { from = null; });
  return { element: h("div", { class: "draw" }, canvas, said), show };
}
