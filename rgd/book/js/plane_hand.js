/** The hand on the widget `plane`: click, drag, wheel and pinch on its canvas. */

import { toCanvas, toPlane } from "./plane_draw.js";

const REACH = 20; // pixels around a mean that belong to it, however narrow the Gaussian

/** The number of the Gaussian at a point of the canvas, or -1: the one whose mean is nearest, among those in reach. */
export function hit(gaussians, at, size) {
  let [found, nearest] = [-1, Infinity];
  gaussians.forEach((g, i) => {
    const [x, y] = toCanvas([g.x, g.y], size);
    const [edge] = toCanvas([g.x + g.sd, g.y], size);
    const distance = Math.hypot(at[0] - x, at[1] - y);
    if (distance < Math.max(REACH, edge - x) && distance < nearest) [found, nearest] = [i, distance];
  });
  return found;
}

/**
 * Listens to a canvas. A finger beside every Gaussian still scrolls the page; on one it moves it.
 *
 * @param read () -> {gaussians, chosen}
 * @param acts {choose(i), move(x, y), widen(factor), place(x, y)}; all but place act on the chosen Gaussian
 */
export function listen(canvas, read, acts) {
  const fingers = new Map();
  let pressed = null;
  const place = (event) => {
    const box = canvas.getBoundingClientRect();
    return [event.clientX - box.left, event.clientY - box.top];
  };
  const found = (event) => hit(read().gaussians, place(event), canvas.clientWidth);
  const apart = () => {
    const [a, b] = [...fingers.values()];
    return Math.hypot(a[0] - b[0], a[1] - b[1]);
  };
  canvas.addEventListener("touchstart", (event) => {
    if (event.touches.length > 1 || found(event.touches[0]) >= 0) event.preventDefault();
  }, { passive: false });
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    const on = found(event);
    fingers.set(event.pointerId, place(event));
    pressed = { id: event.pointerId, from: place(event), on, moved: fingers.size > 1 };
    if (on < 0) return;
    const mean = toCanvas([read().gaussians[on].x, read().gaussians[on].y], canvas.clientWidth);
    pressed.grip = [mean[0] - pressed.from[0], mean[1] - pressed.from[1]];
    acts.choose(on);
    canvas.setPointerCapture(event.pointerId);
  });
  canvas.addEventListener("pointermove", (event) => {
    const at = place(event);
    if (!fingers.has(event.pointerId)) {
      canvas.style.cursor = found(event) >= 0 ? "grab" : "crosshair";
      return;
    }
    const before = fingers.size === 2 ? apart() : 0;
    fingers.set(event.pointerId, at);
    if (before > 0) return acts.widen(apart() / before);
    if (!pressed || pressed.id !== event.pointerId) return;
    pressed.moved ||= Math.hypot(at[0] - pressed.from[0], at[1] - pressed.from[1]) > 5;
    if (!pressed.moved || pressed.on < 0) return;
    acts.move(...toPlane([at[0] + pressed.grip[0], at[1] + pressed.grip[1]], canvas.clientWidth));
  });
  const lift = (event) => {
    const click = pressed?.id === event.pointerId && pressed.on < 0 && !pressed.moved && event.type === "pointerup";
    if (click) acts.place(...toPlane(place(event), canvas.clientWidth));
    fingers.delete(event.pointerId);
    pressed = null;
  };
  for (const type of ["pointerup", "pointercancel"]) canvas.addEventListener(type, lift);
  canvas.addEventListener("wheel", (event) => {
    const on = found(event);
    if (on < 0 || on !== read().chosen) return; // elsewhere the wheel scrolls the page
    event.preventDefault();
    acts.widen(Math.exp(-event.deltaY / 800));
  }, { passive: false });
}
