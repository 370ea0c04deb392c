/** The MediaPipe Tasks engine: the same code as the library on phones, which follows the metadata in the file. */

import { FilesetResolver, ImageClassifier } from "./mediapipe/vision_bundle.mjs";
import { imageData } from "./preprocessing.js";

const WASM = new URL("./mediapipe/wasm", import.meta.url).href;

let fileset, canvas;

/**
 * Load the engine.
 * @returns {Promise<{backend: string, threads: number}>}
 */
export async function open() {
  canvas = new OffscreenCanvas(1, 1); // shared by all files, since browsers limit the number of contexts
  if (!canvas.getContext("webgl2")) {
    throw new Error("MediaPipe needs WebGL 2, which this browser does not support");
  }
  fileset = await FilesetResolver.forVisionTasks(WASM);
  return { backend: "MediaPipe Tasks", threads: 1 };
}

/**
 * Load a file, ready to run.
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

/** Free the memory of a loaded file. */
export function close(model) {
  model.close();
}

/**
 * Return the probabilities for one image. Arguments and result are as in litert.js.
 * The image already has the network's size, and the library normalizes it.
 */
export async function classify(model, pixels, file) {
  const image = imageData(pixels, file.preprocessing.size);
  const began = performance.now();
  const { classifications } = model.classify(image);
  const milliseconds = performance.now() - began;
  if (canvas.getContext("webgl2").isContextLost()) {
    // it would still answer, as if the image were blank
    throw new Error("MediaPipe has lost its WebGL context: reload the page");
  }
  const probabilities = new Float32Array(classifications[0].categories.length);
  for (const { index, score } of classifications[0].categories) {
    probabilities[index] = score;
  }
  return { probabilities, milliseconds };
}
