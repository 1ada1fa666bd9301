/**
 * The noise of `rgd.noise(shape, seed)`, number for number: a hash of (seed, image) seeds a Mersenne Twister, whose
 * numbers become normal ones as PyTorch makes them on a CPU. The same seed draws the same digits here and in Python.
 */

const START = [
  0x6a09e667f3bcc908n, 0xbb67ae8584caa73bn, 0x3c6ef372fe94f82bn, 0xa54ff53a5f1d36f1n,
  0x510e527fade682d1n, 0x9b05688c2b3e6c1fn, 0x1f83d9abfb41bd6bn, 0x5be0cd19137e2179n,
];
const ORDERS = [
  "0123456789abcdef", "ea489fd61c02b753", "b8c052fdae367194", "7931dcbe265a40f8", "905724afe1bc683d",
  "2c6a0b834d75fe19", "c51fed4a0763928b", "db7ec13950f4862a", "6fe9b308c2d714a5", "a2847615fb9e3cd0",
  "0123456789abcdef", "ea489fd61c02b753",
].map((order) => [...order].map((digit) => parseInt(digit, 16)));
const QUADS = [
  [0, 4, 8, 12], [1, 5, 9, 13], [2, 6, 10, 14], [3, 7, 11, 15],
  [0, 5, 10, 15], [1, 6, 11, 12], [2, 7, 8, 13], [3, 4, 9, 14],
];
const cut = (value) => BigInt.asUintN(64, value);
const turn = (value, bits) => cut((value >> bits) | (value << (64n - bits)));

/** BLAKE2b (RFC 7693) of a text of at most 128 letters, in 8 bytes, read as a little-endian integer. */
function blake2b(text) {
  const block = new DataView(new ArrayBuffer(128));
  [...text].forEach((letter, i) => block.setUint8(i, letter.charCodeAt(0)));
  const first = START[0] ^ 0x01010008n;
  const v = [first, ...START.slice(1), ...START];
  v[12] ^= BigInt(text.length);
  v[14] = cut(~v[14]);
  for (const order of ORDERS) {
    QUADS.forEach(([a, b, c, d], i) => {
      [[32n, 24n], [16n, 63n]].forEach(([right, again], half) => {
        v[a] = cut(v[a] + v[b] + block.getBigUint64(8 * order[2 * i + half], true));
        v[d] = turn(v[d] ^ v[a], right);
        v[c] = cut(v[c] + v[d]);
        v[b] = turn(v[b] ^ v[c], again);
      });
    });
  }
  return first ^ v[0] ^ v[8];
}

/** A Mersenne Twister (MT19937), as a function that gives the next 32 bits. */
function twister(seed) {
  const state = new Uint32Array(624);
  state[0] = seed;
  for (let i = 1; i < 624; i++) state[i] = Math.imul(1812433253, state[i - 1] ^ (state[i - 1] >>> 30)) + i;
  let next = 624;
  return () => {
    if (next === 624) {
      for (let i = 0; i < 624; i++) {
        const mixed = (state[i] & 0x80000000) | (state[(i + 1) % 624] & 0x7fffffff);
        state[i] = state[(i + 397) % 624] ^ (mixed >>> 1) ^ (mixed & 1 ? 0x9908b0df : 0);
      }
      next = 0;
    }
    let bits = state[next++];
    bits ^= bits >>> 11;
    bits ^= (bits << 7) & 0x9d2c5680;
    bits ^= (bits << 15) & 0xefc60000;
    return (bits ^ (bits >>> 18)) >>> 0;
  };
}

/** Standard normal noise for `images` images of `size` pixels, a multiple of 16: `rgd.noise` with that seed. */
export function noise(images, size, seed) {
  const values = new Float32Array(images * size);
  for (let image = 0; image < images; image++) {
    const bits = twister(Number((blake2b(`(${seed}, 'image', ${image}, 0)`) >> 1n) & 0xffffffffn));
    const uniform = Array.from({ length: size }, () => (bits() & 0xffffff) / 2 ** 24);
    for (let i = 0; i < size; i++) {
      const pair = i % 16 < 8 ? i : i - 8; // Box and Muller's pairs stand eight apart
      const radius = Math.sqrt(-2 * Math.log(1 - uniform[pair])), angle = 2 * Math.PI * uniform[pair + 8];
      values[image * size + i] = radius * (i === pair ? Math.cos(angle) : Math.sin(angle));
    }
  }
  return values;
}
