/**
 * The published models in the reader's own browser, run by onnxruntime-web from the site's own files.
 *
 * The files are classic scripts that hold base64 of what was gzipped (`tools.live` writes them): a page that was opened
 * from a folder, `file://`, may load those and nothing else. Each is loaded once, when it is first asked for.
 */

const loaded = new Map();

/** Once for each key, whatever it is: a load that failed may be tried again. */
function once(key, make) {
  if (!loaded.has(key)) {
    const made = make();
    made.catch(() => loaded.delete(key));
    loaded.set(key, made);
  }
  return loaded.get(key);
}

/** Runs a classic script of the site. */
function script(address) {
  return once(address, () => new Promise((resolve, reject) => {
    const element = document.createElement("script");
    element.onload = resolve;
    element.onerror = () => {
      element.remove();
      const file = address.split("/").pop();
      reject(new Error(`The site's file ${file} could not be loaded. Either you are offline, or the site was built `
        + "where npm could not be reached: then it lacks what runs the models, and make book adds it once it can be."));
    };
    element.src = address;
    document.head.append(element);
  }));
}

/** Where the files are: on a page of the site, beside its scripts. `state` reads a widget's state by name. */
export function folder(state) {
  const address = state("files") ?? (state("static") && `${state("static")}live/`);
  if (address) return address;
  throw new Error("Where the files are is not known: give `files`, the address of what `python -m tools.live` wrote.");
}

/** The bytes of a file that `tools.live` wrote, unpacked. */
export function bytes(folder, name) {
  return once(`${folder}${name} bytes`, async () => {
    await script(`${folder}${name}.js`);
    const text = atob(globalThis.rgdFiles[name]), packed = new Uint8Array(text.length);
    for (let i = 0; i < text.length; i++) packed[i] = text.charCodeAt(i); // Uint8Array.from takes ten times as long
    delete globalThis.rgdFiles[name]; // the text is no longer needed
    const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Uint8Array(await new Response(stream).arrayBuffer());
  });
}

/** onnxruntime-web, on one thread: more would need headers that a static host does not send. */
function runtime(folder) {
  return once(`${folder}runtime`, async () => {
    if (typeof DecompressionStream === "undefined" || typeof WebAssembly === "undefined") {
      throw new Error("This browser is too old to run the models: it needs WebAssembly and DecompressionStream.");
    }
    await script(`${folder}ort.js`);
    const [glue, wasm] = await Promise.all([bytes(folder, "glue"), bytes(folder, "wasm")]);
    const { env } = globalThis.ort;
    env.logLevel = "error"; // it warns of what it cannot make faster
    env.wasm.numThreads = 1;
    env.wasm.wasmBinary = wasm.buffer;
    env.wasm.wasmPaths = { mjs: URL.createObjectURL(new Blob([glue], { type: "text/javascript" })) };
    return globalThis.ort;
  });
}

/** A model as a function of its inputs in order, (xt, t, y), that gives its outputs by name. */
function model(folder, name) {
  return once(`${folder}${name} model`, async () => {
    const [ort, content] = await Promise.all([runtime(folder), bytes(folder, name)]);
    const session = await ort.InferenceSession.create(content, {
      executionProviders: ["wasm"],
      graphOptimizationLevel: "disabled", // it would take a second of the reader's time, and gains nothing here
      logSeverityLevel: 3,
    });
    const integers = (values) => new ort.Tensor("int64", BigInt64Array.from(values, BigInt), [values.length]);
    return async (xt, t, y) => {
      const images = xt.length / 784, given = { xt: new ort.Tensor("float32", xt, [images, 1, 28, 28]) };
      given.t = integers(Array(images).fill(t));
      if (session.inputNames.includes("y")) given.y = integers(y);
      const outputs = Object.entries(await session.run(given));
      return Object.fromEntries(outputs.map(([output, { data }]) => [output, data]));
    };
  });
}

/** Waits for all parts, a list of [what, promise]; `told(done, of, what)` is called when one has come. */
function all(parts, told) {
  let done = 0;
  told(done, parts.length, "");
  return Promise.all(parts.map(([what, part]) => part.then((came) => {
    told(++done, parts.length, what);
    return came;
  })));
}

/**
 * The denoiser and, unless `guide` is "none", the gradient of a classifier: { denoise, gradient }, for `ddim`.
 *
 * @param {string} folder where the files lie, ending in a slash
 * @param {string} guide a classifier's name, such as "robust"
 * @param {(done: number, of: number, what: string) => void} told called when a part has come
 */
export async function load(folder, guide, told = () => {}) {
  const parts = [["the program", runtime(folder)], ["the denoiser", model(folder, "mnist-ddpm")]];
  if (guide !== "none") parts.push(["the guide", model(folder, `mnist-${guide}`)]);
  const [, denoiser, classifier = null] = await all(parts, told);
  return {
    denoise: async (xt, t) => (await denoiser(xt, t)).output,
    gradient: classifier && (async (xt, t, y) => (await classifier(xt, t, y)).gradient),
  };
}

/** Classifiers by name: { name: (xt, t, y) => { gradient, logits } }; the rest is as in `load`. */
export async function classifiers(folder, names, told = () => {}) {
  const parts = names.map((name) => [`the classifier ${name}`, model(folder, `mnist-${name}`)]);
  const [, ...came] = await all([["the program", runtime(folder)], ...parts], told);
  return Object.fromEntries(names.map((name, i) => [name, came[i]]));
}
