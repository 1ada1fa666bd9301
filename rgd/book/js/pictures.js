/** Images of 28 by 28 pixels on canvases, in the book's colours. */

export const SIDE = 28;
export const PIXELS = SIDE * SIDE;

/** Grey, from -1 (black) to 1 (white). */
export function grey(value) {
  const light = Math.max(0, Math.min(255, 127.5 * (value + 1)));
  return [light, light, light];
}

/** White at 0, towards red above and blue below; full colour at 1. The book's gradients have these colours. */
export function redBlue(value) {
  const share = Math.max(-1, Math.min(1, value)), [r, g, b] = share > 0 ? [178, 24, 43] : [33, 102, 172];
  return [r, g, b].map((end) => 255 + Math.abs(share) * (end - 255));
}

/** Draws image number `b` of a batch. */
export function draw(canvas, values, b, colour) {
  const picture = new ImageData(SIDE, SIDE);
  for (let i = 0; i < PIXELS; i++) picture.data.set([...colour(values[b * PIXELS + i]), 255], 4 * i);
  canvas.getContext("2d").putImageData(picture, 0, 0);
}
