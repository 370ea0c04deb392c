/** The engine MediaPipe Tasks: the code of the phone's library, which goes by the file's own metadata. */

import { FilesetResolver, ImageClassifier } from "./mediapipe/vision_bundle.mjs";
import { imageData } from "./preprocessing.js";

const WASM = new URL("./mediapipe/wasm", import.meta.url).href;

let fileset, canvas;

/**
 * Loads the engine.
 * @returns {Promise<{backend: string, threads: number}>}
 */
export async function open() {
  canvas = new OffscreenCanvas(1, 1); // of all files, for contexts are few
  if (!canvas.getContext("webgl2")) {
    throw new Error("MediaPipe needs WebGL 2, which this browser does not have");
  }
  fileset = await FilesetResolver.forVisionTasks(WASM);
  return { backend: "MediaPipe Tasks", threads: 1 };
}

/**
 * Makes a file ready to run.
 * @param {Uint8Array} content of the file.
 * @returns {Promise<object>} for `classify` and `close`.
 */
export function load(content) {
  return ImageClassifier.createFromOptions(fileset, {
    baseOptions: { modelAssetBuffer: content, delegate: "CPU" },
    canvas,
    runningMode: "IMAGE",
    maxResults: -1,
  });
}

/** Frees what `load` took. */
export function close(model) {
  model.close();
}

/**
 * The probabilities of one picture; arguments and result as of LiteRT.js's.
 * It is given the network's own size, so that it has nothing to resize, and it normalises by itself.
 */
export async function classify(model, pixels, file) {
  const image = imageData(pixels, file.preprocessing.size);
  const began = performance.now();
  const { classifications } = model.classify(image);
  const milliseconds = performance.now() - began;
  if (canvas.getContext("webgl2").isContextLost()) {
    // it answers all the same, as if it saw nothing
    throw new Error("MediaPipe has lost its WebGL context: load the page again");
  }
  const probabilities = new Float32Array(classifications[0].categories.length);
  for (const { index, score } of classifications[0].categories) {
    probabilities[index] = score;
  }
  return { probabilities, milliseconds };
}
