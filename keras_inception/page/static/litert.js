/** The LiteRT.js engine: TensorFlow Lite in WebAssembly, in a worker. */

import { loadAndCompile, loadLiteRt, Tensor } from "./litert/index.js";

const WASM = new URL("./litert/", import.meta.url).href;
const THREADED = `${WASM}litert_wasm_threaded_internal.js`;

/**
 * Load the engine, with threads if the page's headers allow shared memory.
 * @returns {Promise<{backend: string, threads: number}>}
 */
export async function open() {
  const threads = self.crossOriginIsolated === true && navigator.hardwareConcurrency > 1;
  // By default the engine looks for its files beside the worker's script.
  self.Module = { locateFile: (name) => WASM + name, mainScriptUrlOrBlob: THREADED };
  const litert = await loadLiteRt(WASM, { threads });
  return { backend: "LiteRT.js, XNNPACK", threads: threads ? litert.liteRtWasm.getThreadCount() : 1 };
}

/**
 * Load a file, ready to run.
 * @param {Uint8Array} content of the file.
 * @returns {Promise<object>} for `classify` and `close`.
 */
export function load(content) {
  return loadAndCompile(content, { accelerator: "wasm" });
}

/** Free the memory of a loaded file. */
export function close(model) {
  model.delete();
}

/**
 * Return the probabilities for one image.
 * @param {object} model from `load`.
 * @param {Uint8Array} pixels RGB, of the network's size.
 * @param {{shape: number[], dtype: string, output: {scale: number, zeroPoint: number}}} file its entry in `site.json`.
 * @param {(pixels: Uint8Array) => Float32Array} normalize normalizes the pixels for a float input.
 * @returns {Promise<{probabilities: Float32Array, milliseconds: number}>}
 */
export async function classify(model, pixels, file, normalize) {
  const input = new Tensor(file.dtype === "uint8" ? pixels : normalize(pixels), file.shape);
  try {
    const began = performance.now();
    const outputs = await model.run(input);
    const milliseconds = performance.now() - began;
    const values = await outputs[0].data();
    outputs.forEach((output) => output.delete());
    return { probabilities: dequantised(values, file.output), milliseconds };
  } finally {
    input.delete();
  }
}

function dequantised(values, { scale, zeroPoint }) {
  return scale ? Float32Array.from(values, (value) => (value - zeroPoint) * scale) : Float32Array.from(values);
}
