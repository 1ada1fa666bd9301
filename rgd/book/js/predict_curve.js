/**
 * Curves of the widget `predict`: empty axes to draw one on, and its drawing over the figure itself.
 *
 * Axes are as `tools.axes` tells of them. A curve being drawn is a list of KNOTS heights, evenly spaced from one end of
 * the axes to the other, each a share of the axes' height or null; a curve that is kept is a list of [x, y] as data.
 */

export const KNOTS = 49;
const STRIDE = 6; // from one of the points that the keyboard moves to the next
const SVG = "http://www.w3.org/2000/svg";

const clamp = (share) => Math.min(Math.max(share, 0), 1);

/** The data at a share of the way along an axis {limits, scale}. */
export function toData({ limits: [low, high], scale }, share) {
  return scale === "log" ? low * (high / low) ** share : low + (high - low) * share;
}

/** The share of the way along an axis at which data lie: the inverse of `toData`. */
export function toShare({ limits: [low, high], scale }, data) {
  return scale === "log" ? Math.log(data / low) / Math.log(high / low) : (data - low) / (high - low);
}

/** The knots after a stroke from one point (across, up) to another, both in shares. */
export function stroke(knots, from, to) {
  const [left, right] = from[0] <= to[0] ? [from, to] : [to, from];
  const at = (share) => clamp(share) * (KNOTS - 1);
  const [first, last] = [Math.round(at(left[0])), Math.round(at(right[0]))];
  const height = (k) => {
    const along = (k / (KNOTS - 1) - left[0]) / (right[0] - left[0]);
    return first === last ? to[1] : left[1] + clamp(along) * (right[1] - left[1]);
  };
  return knots.map((old, k) => (k >= first && k <= last ? clamp(height(k)) : old));
}

/** The curve's height at a knot: between those that are drawn it is straight, and outside them there is none. */
export function heightAt(knots, k) {
  const drawn = knots.flatMap((height, i) => (height === null ? [] : [i]));
  const [before, after] = [drawn.findLast((i) => i <= k), drawn.find((i) => i >= k)];
  if (before === undefined || after === undefined) return null;
  const along = before === after ? 0 : (k - before) / (after - before);
  return knots[before] + along * (knots[after] - knots[before]);
}

/** The knots after the keyboard has moved one of its points: the curve goes straight from it to its neighbours. */
export function nudge(knots, k, by) {
  const height = clamp((heightAt(knots, k) ?? 0.5) + by);
  const ends = [k - STRIDE, k + STRIDE].filter((i) => i in knots).map((i) => [i, heightAt(knots, i)]);
  const moved = knots.map((old, i) => (i === k ? height : Math.abs(i - k) < STRIDE ? null : old));
  for (const [i, old] of ends) moved[i] = old;
  return moved;
}

/** What is kept of a curve, or null of one that has no length. */
export function curve(knots, { x, y }) {
  const point = (height, k) => [toData(x, k / (KNOTS - 1)), toData(y, height)];
  const points = knots.flatMap((height, k) => (height === null ? [] : [point(height, k)]));
  return points.length > 1 ? points : null;
}

/** Where data lie in a picture of a size, in its pixels. */
export function toPixels({ inside: [left, top, right, bottom], x, y }, [width, height], [dataX, dataY]) {
  const [across, up] = [toShare(x, dataX), toShare(y, dataY)];
  return [(left + across * (right - left)) * width, (bottom - up * (bottom - top)) * height];
}

const short = (value) => String(+value.toPrecision(2));
const plain = (label) => label.replaceAll("$", "");

/** A curve in words, by as many points as the keyboard has. */
function told(points, { x, y }) {
  const some = points.filter((_, i) => i % STRIDE === 0 || i === points.length - 1);
  return `${plain(y.label)} by ${plain(x.label)}: ${some.map(([a, b]) => `${short(b)} at ${short(a)}`).join(", ")}`;
}

function draw(tag, attributes = {}, ...children) {
  const element = document.createElementNS(SVG, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  element.append(...children);
  return element;
}

const sizeOf = (picture) => [picture.naturalWidth, picture.naturalHeight];
const join = (points) => points.map((point) => point.map((v) => v.toFixed(2)).join(",")).join(" ");

/** A line that is seen on whatever a figure has there, and that shows it in the gaps between its dashes. */
function line(points) {
  return ["rgd-halo", "rgd-drawn"].map((name) => draw("polyline", { class: name, points: join(points) }));
}

/** The kept curve, drawn over its picture, wherever and however large that is shown. */
export function overlay(picture, axes, points) {
  const size = sizeOf(picture);
  const over = draw("svg", { class: "rgd-over", viewBox: `0 0 ${size.join(" ")}`, role: "img",
    preserveAspectRatio: "none", "aria-label": `Your prediction, ${told(points, axes)}` },
    ...line(points.map((point) => toPixels(axes, size, point))));
  const fit = () => {
    const { paddingLeft, paddingRight, paddingTop, paddingBottom } = getComputedStyle(picture);
    const [left, top] = [parseFloat(paddingLeft), parseFloat(paddingTop)];
    Object.assign(over.style, {
      left: `${picture.offsetLeft + left}px`, width: `${picture.offsetWidth - left - parseFloat(paddingRight)}px`,
      top: `${picture.offsetTop + top}px`, height: `${picture.offsetHeight - top - parseFloat(paddingBottom)}px`,
    });
  };
  new ResizeObserver(fit).observe(picture);
  picture.after(over);
  return over;
}

/** The points that the keyboard moves: sliders, of which Tab reaches one, and the arrows to the sides the others. */
function grips(axes, toXY, state) {
  const name = (k) => `${plain(axes.y.label)} at ${plain(axes.x.label)} ${short(toData(axes.x, k / (KNOTS - 1)))}`;
  const all = Array.from({ length: (KNOTS - 1) / STRIDE + 1 }, (_, i) => i * STRIDE).map((k, i) => {
    const grip = draw("circle", { class: "rgd-grip", r: 5, role: "slider", tabindex: i === 0 ? 0 : -1,
      "aria-orientation": "vertical", "aria-label": name(k), "aria-valuemin": 0, "aria-valuemax": 1 });
    grip.addEventListener("keydown", (event) => {
      const by = { ArrowUp: 0.02, ArrowDown: -0.02, PageUp: 0.1, PageDown: -0.1 }[event.key];
      const next = all[i + ({ ArrowRight: 1, ArrowLeft: -1 }[event.key] ?? 0)];
      if (by) state.set(nudge(state.knots, k, by));
      else if (next && next !== grip) {
        grip.setAttribute("tabindex", -1);
        next.setAttribute("tabindex", 0);
        next.focus();
      } else return;
      event.preventDefault();
    });
    return grip;
  });
  const show = () => all.forEach((grip, i) => {
    const height = heightAt(state.knots, i * STRIDE);
    const [cx, cy] = toXY(i * STRIDE, height ?? 0.5);
    grip.setAttribute("cx", cx);
    grip.setAttribute("cy", cy);
    grip.setAttribute("aria-valuenow", height ?? 0.5);
    grip.setAttribute("aria-valuetext", height === null ? "not drawn" : short(toData(axes.y, height)));
  });
  return { all, show };
}

/** Strokes of mouse, pen or finger on an element; `toShares` says where in the axes an event is. */
function listen(element, toShares, state) {
  let before = null;
  element.addEventListener("pointerdown", (event) => {
    element.setPointerCapture(event.pointerId);
    before = toShares(event);
    event.preventDefault(); // selects no text
  });
  element.addEventListener("pointermove", (event) => {
    if (before === null) return;
    const now = toShares(event);
    state.set(stroke(state.knots, before, now));
    before = now;
  });
  for (const end of ["pointerup", "pointercancel"]) element.addEventListener(end, () => { before = null; });
}

/** Empty axes to draw on: the picture, of which all within the axes is covered. `hear` is given the curve, or null. */
export function board(picture, axes, hear) {
  const [width, height] = sizeOf(picture);
  const [left, top, right, bottom] = axes.inside.map((share, i) => share * (i % 2 ? height : width));
  const [x0, y0, x1, y1] = axes.whole.map((share, i) => share * (i % 2 ? height : width));
  const toXY = (k, up) => [left + (k / (KNOTS - 1)) * (right - left), bottom - up * (bottom - top)];
  const cover = draw("rect", { class: "rgd-cover", x: left + 1, y: top - 1, width: right - left,
    height: bottom - top });
  const drawn = draw("g");
  const state = {
    knots: Array(KNOTS).fill(null),
    set(knots) {
      state.knots = knots;
      drawn.replaceChildren(...line(knots.flatMap((up, k) => (up === null ? [] : [toXY(k, up)]))));
      points.show();
      hear(curve(knots, axes));
    },
  };
  const points = grips(axes, toXY, state);
  const range = ({ label, limits }) => `${plain(label)} from ${limits.map(short).join(" to ")}`;
  const svg = draw("svg", { class: "rgd-board", role: "group", viewBox: `${x0} ${y0} ${x1 - x0} ${y1 - y0}`,
    "aria-label": `Axes to draw on: ${range(axes.y)} over ${range(axes.x)}` },
    draw("image", { href: picture.currentSrc, width, height, "aria-hidden": true }), cover, drawn, ...points.all);
  svg.style.maxWidth = `${1.2 * (x1 - x0)}px`;
  listen(svg, (event) => {
    const box = svg.getBoundingClientRect();
    const across = x0 + ((event.clientX - box.left) / box.width) * (x1 - x0);
    const down = y0 + ((event.clientY - box.top) / box.height) * (y1 - y0);
    return [clamp((across - left) / (right - left)), clamp((bottom - down) / (bottom - top))];
  }, state);
  points.show();
  return svg;
}
