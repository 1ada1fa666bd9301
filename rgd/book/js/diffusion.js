/**
 * The mathematics of guided sampling, under the names of `rgd`: the linear schedule, `respace`, and guided DDIM.
 *
 * Images are Float32Arrays of a batch, one image after the other, in [-1, 1]; tables are float64, as JavaScript's
 * numbers are. Networks are functions, so that nothing here knows what runs them.
 */

/** alpha_bar (T,): beta rises linearly from 0.1 / T to 20 / T (`rgd.schedule.linear`). */
export function linear(T = 1000) {
  const first = 0.1 / T, last = Math.min(20 / T, 0.999);
  let product = 1;
  return Float64Array.from({ length: T }, (_, i) => {
    product *= 1 - (first + ((last - first) * i) / Math.max(T - 1, 1));
    return product;
  });
}

/** To the nearest integer, halves to the even one, as Python rounds. */
function round(value) {
  const below = Math.floor(value);
  return value - below === 0.5 ? below + (below % 2) : Math.round(value);
}

/** `steps` times of T, evenly spaced, the first and last among them; one step is the last (`Schedule.respace`). */
export function respace(T, steps) {
  if (!Number.isInteger(steps) || steps < 1 || steps > T) {
    throw new RangeError(`of ${T} times, 1 to ${T} can be kept, not ${steps}`);
  }
  if (steps === 1) return [T - 1];
  return Array.from({ length: steps }, (_, i) => round((i * (T - 1)) / (steps - 1)));
}

/** xt of x0 and of noise eps (`Schedule.q_sample`). */
export function qSample(x0, eps, alphaBar) {
  return x0.map((x, i) => Math.sqrt(alphaBar) * x + Math.sqrt(1 - alphaBar) * eps[i]);
}

/** x0 and eps from a network's eps, x0 cut to the pixel range and eps following it (`NetworkDenoiser`). */
export function predict(xt, output, alphaBar) {
  const signal = Math.sqrt(alphaBar), sigma = Math.sqrt(1 - alphaBar);
  const x0 = xt.map((x, i) => Math.max(-1, Math.min(1, (x - sigma * output[i]) / signal)));
  return { x0, eps: xt.map((x, i) => (x - signal * x0[i]) / sigma) };
}

/**
 * Guidance in the score form: eps moves by -sigma s g, and x0 with it (`rgd.guide`). The limit that `rgd` sets where
 * alpha_bar < 1e-5 is not needed here: the linear schedule ends at 4e-5.
 */
export function guide({ x0, eps }, gradient, scale, alphaBar) {
  const sigma = Math.sqrt(1 - alphaBar), ratio = sigma / Math.sqrt(alphaBar);
  const shift = gradient.map((g) => sigma * scale * g);
  return { x0: x0.map((x, i) => x + ratio * shift[i]), eps: eps.map((e, i) => e - shift[i]) };
}

/**
 * Guided DDIM, eta = 0, step by step (`rgd.ddim`). Yields { k, t, x, x0, gradient }: step number k, from 1, starts at
 * the time t and leads to x; x0 is the guided estimate at t, and gradient what guided it, null where nothing does.
 *
 * @param {(xt: Float32Array, t: number) => Promise<Float32Array>} denoise a network's eps
 * @param {Float32Array} x the noise x_T
 * @param {{ gradient?: (xt: Float32Array, t: number, y: number[]) => Promise<Float32Array>, scale?: number,
 *           y?: number[], steps?: number, alphaBar?: Float64Array }} options
 */
export async function* ddim(denoise, x, { gradient = null, scale = 1, y = [], steps = 15, alphaBar = linear() } = {}) {
  const times = respace(alphaBar.length, steps);
  for (let i = steps - 1; i >= 0; i--) {
    const t = times[i], previous = i > 0 ? alphaBar[times[i - 1]] : 1;
    let prediction = predict(x, await denoise(x, t), alphaBar[t]), g = null;
    if (gradient !== null && scale !== 0) {
      g = await gradient(x, t, y);
      prediction = guide(prediction, g, scale, alphaBar[t]);
    }
    const { x0, eps } = prediction;
    x = x0.map((value, j) => Math.sqrt(previous) * value + Math.sqrt(1 - previous) * eps[j]);
    yield { k: steps - i, t, x, x0, gradient: g };
  }
}

/** The length of each image's part of a batch. */
export function lengths(values, images) {
  const size = values.length / images;
  return Array.from({ length: images }, (_, b) => Math.hypot(...values.subarray(b * size, (b + 1) * size)));
}
