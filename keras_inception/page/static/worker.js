/**
 * Decode and classify in a worker, so that the page never freezes. Requests are handled one by one, in order:
 * {id, ask: 'open' | 'classify', …} is answered by {id, answer} or {id, error}.
 *
 * This is not a module: both engines load their WebAssembly with importScripts, which modules lack.
 */

const engineName = new URLSearchParams(self.location.search).get("engine");
const RUNS = 10; // timed runs at most; their median is shown
const PATIENCE = 600; // milliseconds; no run starts later than this

let parts, site;
let loaded = { file: null, model: null };
let last = Promise.resolve();

self.onmessage = ({ data }) => {
  last = last.then(() => reply(data));
};

async function reply({ id, ask, ...rest }) {
  try {
    self.postMessage({ id, answer: await { open, classify }[ask](rest) });
  } catch (error) {
    self.postMessage({ id, error: String(error?.message ?? error) });
  }
}

/** Start the engine, and return its name and number of threads. */
async function open({ described }) {
  site = described;
  const [engine, decoding, preprocessing] = await Promise.all([
    import(`./${engineName}.js`),
    import("./decode.js"),
    import("./preprocessing.js"),
  ]);
  parts = { engine, ...decoding, ...preprocessing };
  return engine.open();
}

/**
 * Classify an image with a variant.
 * @param {{blob: Blob, fitted: boolean, variant: string}} request
 * @returns {Promise<{probabilities: Float32Array, milliseconds: number, runs: number, pixels: Uint8Array}>} `pixels`
 *   is the network's input.
 */
async function classify({ blob, fitted, variant }) {
  const file = site.variants[variant];
  const picture = await parts.decode(blob);
  const pixels = fitted ? picture.data : parts.fit(picture, file.preprocessing);
  const model = await modelOf(file);
  const normalize = (bytes) => parts.normalize(bytes, file.preprocessing);
  const run = () => parts.engine.classify(model, pixels, file, normalize);
  const { probabilities } = await run(); // the first run is slower and does not count
  const times = [];
  const until = performance.now() + PATIENCE;
  do {
    times.push((await run()).milliseconds);
  } while (times.length < RUNS && performance.now() < until);
  return { probabilities, milliseconds: median(times), runs: times.length, pixels };
}

/** Return a file that is loaded and ready to run. Only one is kept in memory. */
async function modelOf(file) {
  if (loaded.file !== file) {
    const response = await fetch(file.path);
    if (!response.ok) {
      throw new Error(`${file.path} cannot be loaded: the server answered ${response.status}`);
    }
    const content = new Uint8Array(await response.arrayBuffer());
    if (loaded.model) {
      parts.engine.close(loaded.model);
      loaded = { file: null, model: null };
    }
    loaded = { file, model: await parts.engine.load(content) };
  }
  return loaded.model;
}

function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}
