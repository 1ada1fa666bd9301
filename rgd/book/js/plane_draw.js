/** What the widget `plane` draws on its canvas: fields, arrows, particles and the Gaussians themselves. */

import { byClass, gradLogProb, noised, score, softmax } from "./mixture.js";

/** The plane's edge: x and y go from -EDGE to EDGE. */
export const EDGE = 2.6;
const CELLS = 80;
const ARROWS = 17;

/** From the plane to a canvas of `size` pixels, where y goes down. */
export function toCanvas([x, y], size) {
  return [((x + EDGE) / (2 * EDGE)) * size, ((EDGE - y) / (2 * EDGE)) * size];
}

/** And back. */
export function toPlane([x, y], size) {
  return [(x / size) * 2 * EDGE - EDGE, EDGE - (y / size) * 2 * EDGE];
}

/** A colour "#rrggbb" as three numbers. */
function rgb(colour) {
  return [1, 3, 5].map((i) => parseInt(colour.slice(i, i + 2), 16));
}

/** The density as the ink's opacity, or the class posterior as a mixture of the classes' colours. */
export function drawField(context, size, parts, kind, colours, ripple) {
  if (kind === "none") return;
  const image = new ImageData(CELLS, CELLS);
  const density = new Float64Array(CELLS * CELLS);
  const [ink, ...classes] = [colours.ink, ...colours.classes].map(rgb);
  for (let i = 0; i < density.length; i++) {
    const at = toPlane([(i % CELLS) + 0.5, Math.floor(i / CELLS) + 0.5], CELLS);
    const { logits } = byClass(parts, at, kind === "posterior" ? ripple : null);
    density[i] = logits.reduce((sum, logit) => sum + Math.exp(logit), 0);
    const mix = [0, 0, 0];
    if (kind === "posterior") {
      softmax(logits).forEach((p, c) => classes[c].forEach((value, d) => { mix[d] += p * value; }));
    }
    image.data.set(kind === "posterior" ? [...mix, 80] : [...ink, 0], 4 * i);
  }
  const most = Math.max(...density);
  if (kind === "density") density.forEach((p, i) => { image.data[4 * i + 3] = 150 * Math.sqrt(p / most); });
  const small = document.createElement("canvas");
  small.width = small.height = CELLS;
  small.getContext("2d").putImageData(image, 0, 0);
  context.drawImage(small, 0, 0, size, size);
}

/** The score, or the gradient of log p(label | xt), as arrows of one length, faint where it is short. */
export function drawArrows(context, size, parts, label, colour, ripple) {
  const cell = size / ARROWS;
  context.strokeStyle = colour;
  context.lineWidth = 1.4;
  for (let i = 0; i < ARROWS ** 2; i++) {
    const middle = [((i % ARROWS) + 0.5) * cell, (Math.floor(i / ARROWS) + 0.5) * cell];
    const at = toPlane(middle, size);
    const [x, y] = label === null ? score(parts, at) : gradLogProb(parts, at, label, ripple);
    const length = Math.hypot(x, y);
    if (length < 1e-9) continue;
    const [dx, dy] = [(0.36 * cell * x) / length, (-0.36 * cell * y) / length];
    const tip = [middle[0] + dx, middle[1] + dy];
    context.globalAlpha = 0.15 + (0.85 * length) / (length + 0.5);
    context.beginPath();
    context.moveTo(middle[0] - dx, middle[1] - dy);
    context.lineTo(...tip);
    context.moveTo(tip[0] - 0.7 * dx + 0.4 * dy, tip[1] - 0.7 * dy - 0.4 * dx);
    context.lineTo(...tip);
    context.lineTo(tip[0] - 0.7 * dx - 0.4 * dy, tip[1] - 0.7 * dy + 0.4 * dx);
    context.stroke();
  }
  context.globalAlpha = 1;
}

/** A disc, a square or a triangle: colour is never a class's only sign. */
function mark(context, [x, y], shape, r) {
  context.beginPath();
  if (shape === 0) context.arc(x, y, r, 0, 2 * Math.PI);
  if (shape === 1) context.rect(x - 0.9 * r, y - 0.9 * r, 1.8 * r, 1.8 * r);
  if (shape === 2) {
    context.moveTo(x, y - 1.2 * r);
    context.lineTo(x + 1.1 * r, y + 0.8 * r);
    context.lineTo(x - 1.1 * r, y + 0.8 * r);
    context.closePath();
  }
}

/** Particles where they are, with the mark of the class in which each ends. */
export function drawParticles(context, size, points, ends, colours) {
  context.lineWidth = 0.8;
  context.strokeStyle = colours.paper;
  ends.forEach((label, i) => {
    mark(context, toCanvas([points[2 * i], points[2 * i + 1]], size), label, size / 135);
    context.fillStyle = colours.classes[label];
    context.fill();
    context.stroke();
  });
}

/** Each Gaussian as a circle of one standard deviation, its class in the middle; the chosen one has a broken line. */
export function drawGaussians(context, size, gaussians, chosen, colours) {
  context.font = `bold ${Math.round(size / 28)}px sans-serif`;
  context.textAlign = "center";
  context.textBaseline = "middle";
  gaussians.forEach((g, i) => {
    const [x, y] = toCanvas([g.x, g.y], size);
    const radius = (g.sd / (2 * EDGE)) * size;
    context.beginPath();
    context.arc(x, y, radius, 0, 2 * Math.PI);
    context.strokeStyle = colours.classes[g.label];
    context.lineWidth = 1 + 1.5 * Math.sqrt(g.weight);
    context.stroke();
    if (i === chosen) {
      context.beginPath();
      context.setLineDash([4, 4]);
      context.arc(x, y, radius + 5, 0, 2 * Math.PI);
      context.strokeStyle = colours.ink;
      context.lineWidth = 1.5;
      context.stroke();
      context.setLineDash([]);
    }
    context.lineWidth = 4;
    context.strokeStyle = colours.paper;
    context.strokeText(String(g.label), x, y);
    context.fillStyle = colours.ink;
    context.fillText(String(g.label), x, y);
  });
}

/** All of it, from a state and what follows from it: `points` at its t, and the classes in which they end. */
export function draw(canvas, state, alphaBar, points, ends, colours) {
  const context = canvas.getContext("2d");
  const size = canvas.clientWidth;
  const dense = globalThis.devicePixelRatio || 1;
  if (canvas.width !== Math.round(size * dense)) canvas.width = canvas.height = Math.round(size * dense);
  context.setTransform(dense, 0, 0, dense, 0, 0);
  context.fillStyle = colours.paper;
  context.fillRect(0, 0, size, size);
  const parts = noised(state.gaussians, alphaBar);
  drawField(context, size, parts, state.field, colours, state.ripple);
  if (state.arrows === "score") drawArrows(context, size, parts, null, colours.ink, null);
  if (state.arrows === "gradient" && state.label !== null) {
    drawArrows(context, size, parts, state.label, state.ripple ? colours.wrong : colours.ink, state.ripple);
  }
  drawParticles(context, size, points, ends, colours);
  drawGaussians(context, size, state.gaussians, state.chosen, colours);
}
