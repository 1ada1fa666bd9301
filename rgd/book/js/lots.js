/** Lots, drawn from the browser's source of true randomness. */

/** An integer from 0 to n - 1, each as probable as the others. */
export function below(n) {
  const draws = new Uint32Array(1), fair = 2 ** 32 - (2 ** 32 % n);
  do crypto.getRandomValues(draws); while (draws[0] >= fair);
  return draws[0] % n;
}

/** A list in random order, each order as probable as the others (Fisher and Yates). */
export function shuffled(list) {
  const mixed = [...list];
  for (let i = mixed.length - 1; i > 0; i--) {
    const j = below(i + 1);
    [mixed[i], mixed[j]] = [mixed[j], mixed[i]];
  }
  return mixed;
}
