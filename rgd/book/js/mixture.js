/**
 * Labelled mixtures of round Gaussians in the plane, under noise: the closed forms of rgd/mixtures.py, in float64.
 *
 * A Gaussian is {x, y, sd, weight, label}: its mean, its standard deviation, its weight (positive, of any sum) and its
 * class, an integer from 0. A point is [x, y]. The parts of a mixture at one noise level are made by `noised`.
 */

/** alpha_bar at t = 0 ... T - 1 of the linear schedule, as rgd.schedule.linear has it. */
export function linear(T = 1000) {
  const first = 0.1 / T;
  const last = Math.min(20 / T, 0.999);
  let product = 1;
  return Float64Array.from({ length: T }, (_, i) => {
    product *= 1 - (first + ((last - first) * i) / Math.max(T - 1, 1));
    return product;
  });
}

/** The mixture at a noise level: means are multiplied by sqrt(alphaBar), and a variance becomes
 *  alphaBar sd^2 + 1 - alphaBar. With alphaBar = 1 it is the clean mixture. */
export function noised(gaussians, alphaBar) {
  const total = gaussians.reduce((sum, g) => sum + g.weight, 0);
  const signal = Math.sqrt(alphaBar);
  return gaussians.map((g) => {
    const variance = alphaBar * g.sd ** 2 + (1 - alphaBar);
    const logWeight = Math.log(g.weight / total);
    const logScale = logWeight - Math.log(2 * Math.PI * variance);
    return { x: signal * g.x, y: signal * g.y, variance, logWeight, logScale, label: g.label };
  });
}

function logSumExp(values) {
  const top = Math.max(...values);
  let sum = 0;
  for (const value of values) sum += Math.exp(value - top);
  return top + Math.log(sum);
}

/**
 * What each class says of a point: its logit log p_t(x, y), -Infinity where the mixture has no such class, and its
 * slope, the gradient of that logit.
 *
 * With a ripple {a, omega, angles} these are the answers of a classifier that is wrong in its slope: a sin(omega u_y x)
 * is added to each logit, u_y being the unit vector at angles[y]. No logit moves by more than a; a slope moves by up to
 * a omega. (Chapter 4 has the same, in Python.)
 */
export function byClass(parts, [x, y], ripple = null) {
  const logJoint = new Float64Array(parts.length);
  const logits = [];
  for (let i = 0; i < parts.length; i++) {
    const k = parts[i];
    logJoint[i] = k.logScale - ((x - k.x) ** 2 + (y - k.y) ** 2) / (2 * k.variance);
    while (logits.length <= k.label) logits.push(-Infinity);
    if (logJoint[i] > logits[k.label]) logits[k.label] = logJoint[i]; // for now the largest of its class
  }
  const sums = logits.map(() => 0);
  const slopes = logits.map(() => [0, 0]);
  for (let i = 0; i < parts.length; i++) {
    const k = parts[i];
    const share = Math.exp(logJoint[i] - logits[k.label]);
    sums[k.label] += share;
    slopes[k.label][0] += (share * (k.x - x)) / k.variance;
    slopes[k.label][1] += (share * (k.y - y)) / k.variance;
  }
  for (let c = 0; c < logits.length; c++) {
    if (sums[c] === 0) continue;
    logits[c] += Math.log(sums[c]);
    slopes[c][0] /= sums[c];
    slopes[c][1] /= sums[c];
    if (ripple) addRipple(logits, slopes, c, x, y, ripple);
  }
  return { logits, slopes };
}

function addRipple(logits, slopes, c, x, y, { a, omega, angles }) {
  const [ux, uy] = [Math.cos(angles[c]), Math.sin(angles[c])];
  const phase = omega * (ux * x + uy * y);
  const steep = a * omega * Math.cos(phase);
  logits[c] += a * Math.sin(phase);
  slopes[c][0] += steep * ux;
  slopes[c][1] += steep * uy;
}

/** log p_t(x), or log p_t(x | label). */
export function logProb(parts, point, label = null) {
  const { logits } = byClass(parts, point);
  if (label === null) return logSumExp(logits);
  return logits[label] - logSumExp(parts.filter((k) => k.label === label).map((k) => k.logWeight));
}

/** The softmax of logits: of those of `byClass`, the class posterior. */
export function softmax(logits) {
  const all = logSumExp(logits);
  return logits.map((logit) => Math.exp(logit - all));
}

/** The class posterior p_t(y | x), a number for each class. */
export function posterior(parts, point, ripple = null) {
  return softmax(byClass(parts, point, ripple).logits);
}

/** The gradient of `logProb`. */
export function score(parts, point, label = null) {
  const said = byClass(parts, point);
  return label === null ? averageSlope(said) : said.slopes[label];
}

/**
 * The gradient of log p_t(label | x), of the exact classifier or of one with a ripple.
 *
 * It is the slope of the class's logit minus the average slope, written as the sum over the other classes c of
 * p(c | x) (slope of the class - slope of c): so it keeps its digits where the class is all but certain.
 */
export function gradLogProb(parts, point, label, ripple = null) {
  return slopeBeyond(byClass(parts, point, ripple), label);
}

function averageSlope({ logits, slopes }) {
  const total = [0, 0];
  softmax(logits).forEach((p, c) => {
    total[0] += p * slopes[c][0];
    total[1] += p * slopes[c][1];
  });
  return total;
}

function slopeBeyond({ logits, slopes }, label) {
  const total = [0, 0];
  softmax(logits).forEach((p, c) => {
    if (c === label || p === 0) return;
    total[0] += p * (slopes[label][0] - slopes[c][0]);
    total[1] += p * (slopes[label][1] - slopes[c][1]);
  });
  return total;
}

/** n times out of 0 ... T - 1, evenly spaced, the first and last among them, as Schedule.respace(n) keeps them. */
export function respaced(T, n) {
  return Array.from({ length: n }, (_, i) => Math.round((i * (T - 1)) / (n - 1)));
}

/**
 * Guided DDIM with the exact denoiser: the points at each stop on their way from noise to data.
 *
 * @param start the points at the last time, x and y in turn, Float64Array (2 n)
 * @param guide {label, scale, ripple}, or null for no guide
 * @returns steps + 1 arrays like start: the first is the start, the last the sample; array k is at the noise level of
 *   the k-th time of `respaced`, counted from the noisiest
 */
export function ddim(gaussians, alphaBar, start, steps, guide = null) {
  const times = respaced(alphaBar.length, steps).reverse();
  const frames = [start];
  times.forEach((t, k) => {
    const parts = noised(gaussians, alphaBar[t]);
    const signal = Math.sqrt(alphaBar[t]);
    const sigma = Math.sqrt(1 - alphaBar[t]);
    const before = k + 1 < steps ? alphaBar[times[k + 1]] : 1;
    const from = frames[k];
    const to = new Float64Array(from.length);
    for (let i = 0; i < from.length; i += 2) {
      const point = [from[i], from[i + 1]];
      const said = byClass(parts, point);
      const up = averageSlope(said);
      const push = guide ? slopeBeyond(guide.ripple ? byClass(parts, point, guide.ripple) : said, guide.label) : [0, 0];
      for (const d of [0, 1]) {
        const eps = -sigma * (up[d] + (guide ? guide.scale * push[d] : 0));
        const x0 = (point[d] - sigma * eps) / signal;
        to[i + d] = Math.sqrt(before) * x0 + Math.sqrt(1 - before) * eps;
      }
    }
    frames.push(to);
  });
  return frames;
}

/** Uniform random numbers in (0, 1) that the seed decides (mulberry32). */
export function uniform(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let z = Math.imul(state ^ (state >>> 15), state | 1);
    z ^= z + Math.imul(z ^ (z >>> 7), z | 61);
    return (((z ^ (z >>> 14)) >>> 0) + 0.5) / 4294967296;
  };
}

/** n standard normal numbers (Box and Muller's way), n even. */
export function normals(n, seed) {
  const draw = uniform(seed);
  const values = new Float64Array(n);
  for (let i = 0; i < n; i += 2) {
    const radius = Math.sqrt(-2 * Math.log(draw()));
    const angle = 2 * Math.PI * draw();
    values[i] = radius * Math.cos(angle);
    values[i + 1] = radius * Math.sin(angle);
  }
  return values;
}

/** The class with the largest logit. */
export function classify(parts, point, ripple = null) {
  const { logits } = byClass(parts, point, ripple);
  return logits.indexOf(Math.max(...logits));
}

/**
 * Chapter 4's examination of the classifier with a ripple, at n points drawn from the noised mixture.
 *
 * @returns {exact, rippled, cosine}: the shares that the two classifiers name rightly, and the mean cosine of the
 *   rippled gradient to the exact one where that is longer than 1e-3 (NaN if it is nowhere)
 */
export function examine(gaussians, alphaBar, ripple, n = 1000, seed = 3) {
  const parts = noised(gaussians, alphaBar);
  const draw = uniform(seed);
  const noise = normals(2 * n, seed + 1);
  const found = { exact: 0, rippled: 0, cosine: 0 };
  let counted = 0;
  for (let i = 0; i < n; i++) {
    let left = draw();
    const k = parts.find((part) => (left -= Math.exp(part.logWeight)) <= 0) ?? parts[parts.length - 1];
    const spread = Math.sqrt(k.variance);
    const point = [k.x + spread * noise[2 * i], k.y + spread * noise[2 * i + 1]];
    found.exact += (classify(parts, point) === k.label) / n;
    found.rippled += (classify(parts, point, ripple) === k.label) / n;
    const truth = gradLogProb(parts, point, k.label);
    const used = gradLogProb(parts, point, k.label, ripple);
    if (Math.hypot(...truth) <= 1e-3) continue;
    counted++;
    found.cosine += (truth[0] * used[0] + truth[1] * used[1]) / (Math.hypot(...truth) * Math.hypot(...used));
  }
  return { ...found, cosine: found.cosine / counted };
}
