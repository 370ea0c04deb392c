/**
 * Decodes and classifies away from the page, which so never freezes. One request at a time, in their order:
 * {id, ask: 'open' | 'classify', …} is answered by {id, answer} or {id, error}.
 *
 * Not a module: both engines load their WebAssembly by importScripts, which modules lack.
 */

const engineName = new URLSearchParams(self.location.search).get("engine");
const RUNS = 10; // of a file on a picture, at most, for its median
const PATIENCE = 600; // milliseconds after which no further run is begun

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

/** The engine, ready: its name and its threads. */
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
 * What a variant says of a picture.
 * @param {{blob: Blob, fitted: boolean, variant: string}} request
 * @returns {Promise<{probabilities: Float32Array, milliseconds: number, runs: number, pixels: Uint8Array}>} `pixels`
 *   are what the network saw.
 */
async function classify({ blob, fitted, variant }) {
  const file = site.variants[variant];
  const picture = await parts.decode(blob);
  const pixels = fitted ? picture.data : parts.fit(picture, file.preprocessing);
  const model = await modelOf(file);
  const normalise = (bytes) => parts.normalise(bytes, file.preprocessing);
  const run = () => parts.engine.classify(model, pixels, file, normalise);
  const { probabilities } = await run(); // the first run is slower, and not counted
  const times = [];
  const until = performance.now() + PATIENCE;
  do {
    times.push((await run()).milliseconds);
  } while (times.length < RUNS && performance.now() < until);
  return { probabilities, milliseconds: median(times), runs: times.length, pixels };
}

/** The file, ready to run; one is kept at a time. */
async function modelOf(file) {
  if (loaded.file !== file) {
    const response = await fetch(file.path);
    if (!response.ok) {
      throw new Error(`${file.path} is not there: the server says ${response.status}`);
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
