/** Turn an image into a network's input, byte for byte as `keras_inception/preprocessing.py`, which has the details. */

import { bilinear, cut, resize, roundHalfEven } from "./resample.js";

/**
 * @typedef {import("./resample.js").Picture} Picture
 * @typedef {object} Preprocessing the content of `preprocessing.json`
 * @property {[number, number]} size height and width
 * @property {[number, number, number]} mean
 * @property {[number, number, number]} std
 * @property {"RGB" | "BGR"} channels
 * @property {number} crop
 * @property {"nearest" | "bilinear" | "bicubic" | "lanczos"} interpolation
 * @property {"box" | "shorter" | "stretch" | "central_crop" | "pad" | "slim"} fitting slim is the old name of central_crop
 * @property {boolean} antialias
 */

const PADDING = 128; // gray
const LARGEST = 2 ** 23; // pixels; beyond this, only the part that survives the crop is resized

/**
 * Crop and resize an image to the network's size.
 *
 * @param {Picture} picture
 * @param {Preprocessing} preprocessing
 * @returns {Uint8Array} RGB, height × width × 3
 */
export function fit(picture, preprocessing) {
  return fitted(picture, preprocessing).data;
}

/**
 * Turn RGB pixels of the network's size into its input.
 *
 * @param {Uint8Array} pixels height × width × 3
 * @param {Preprocessing} preprocessing
 * @returns {Float32Array} in the order of `channels`
 */
export function normalize(pixels, { mean, std, channels }) {
  const [means, stds] = [Float32Array.from(mean), Float32Array.from(std)];
  const input = new Float32Array(pixels.length);
  for (let i = 0; i < pixels.length; i++) {
    const channel = i % 3;
    const from = channels === "BGR" ? i + 2 - 2 * channel : i;
    input[i] = Math.fround(pixels[from] - means[channel]) / stds[channel];
  }
  return input;
}

function fitted(picture, preprocessing) {
  const { size, crop, fitting } = preprocessing;
  if (fitting === "box") {
    return resized(picture, size, preprocessing, boxIn(picture, size, crop));
  }
  if (fitting === "central_crop" || fitting === "slim") {
    return centralCrop(picture, size, crop);
  }
  if (fitting === "pad") {
    return padded(picture, preprocessing);
  }
  const least = size.map((side) => roundHalfEven(side / crop));
  const whole = fitting === "shorter" ? covering(picture, least) : least;
  const [upper, left] = whole.map((outer, i) => roundHalfEven((outer - size[i]) / 2));
  if (whole[0] * whole[1] > LARGEST) {
    const down = picture.height / whole[0];
    const across = picture.width / whole[1];
    const box = [left * across, upper * down, (left + size[1]) * across, (upper + size[0]) * down];
    return resized(picture, size, preprocessing, box);
  }
  return cut(resized(picture, whole, preprocessing, null), left, upper, size[1], size[0]);
}

function resized(picture, size, { interpolation, antialias }, box) {
  if (antialias || interpolation === "nearest") {
    return resize(picture, size, box, interpolation);
  }
  const [left, upper, right, lower] = box ?? [0, 0, picture.width, picture.height];
  const places = (from, to, length) =>
    Float64Array.from({ length }, (_, i) => from + (i + 0.5) * ((to - from) / length) - 0.5);
  return bilinear(picture, places(upper, lower, size[0]), places(left, right, size[1]));
}

/** Return the largest centered box with the aspect ratio of `size`, its sides scaled by `share`. */
function boxIn(picture, [height, width], share) {
  const scale = share * Math.min(picture.width / width, picture.height / height);
  const across = Math.max(0, picture.width - width * scale) * 0.5;
  const down = Math.max(0, picture.height - height * scale) * 0.5;
  return [across, down, picture.width - across, picture.height - down];
}

/** Return the height and width of an image after it is resized to cover `least`. */
function covering({ width, height }, [leastHeight, leastWidth]) {
  if (width * leastHeight <= height * leastWidth) {
    return [Math.floor((height * leastWidth) / width), leastWidth];
  }
  return [leastHeight, Math.floor((width * leastHeight) / height)];
}

/** Resize an image so that it just fits into `size`, in the middle of a gray ground. */
function padded(picture, preprocessing) {
  const [height, width] = preprocessing.size;
  const inner =
    picture.width * height <= picture.height * width
      ? [height, Math.max(1, Math.floor((picture.width * height) / picture.height))]
      : [Math.max(1, Math.floor((picture.height * width) / picture.width)), width];
  const [upper, left] = inner.map((side, i) => roundHalfEven((preprocessing.size[i] - side) / 2));
  const { data } = resized(picture, inner, preprocessing, null);
  const filled = { width, height, data: new Uint8Array(3 * height * width).fill(PADDING) };
  for (let row = 0; row < inner[0]; row++) {
    const pixels = data.subarray(3 * row * inner[1], 3 * (row + 1) * inner[1]);
    filled.data.set(pixels, 3 * ((upper + row) * width + left));
  }
  return filled;
}

function centralCrop(picture, size, crop) {
  const [upper, left] = [picture.height, picture.width].map((side) => Math.trunc((side - side * crop) / 2));
  const [height, width] = [picture.height - 2 * upper, picture.width - 2 * left];
  const places = (side, length) => Float64Array.from({ length }, (_, i) => i * (side / length));
  return bilinear(cut(picture, left, upper, width, height), places(height, size[0]), places(width, size[1]));
}

/**
 * Convert pixels to the format of a canvas.
 *
 * @param {Uint8Array} pixels RGB
 * @param {[number, number]} size height and width
 * @returns {ImageData}
 */
export function imageData(pixels, [height, width]) {
  const image = new ImageData(width, height);
  for (let i = 0; i < height * width; i++) {
    image.data.set(pixels.subarray(3 * i, 3 * i + 3), 4 * i);
    image.data[4 * i + 3] = 255;
  }
  return image;
}
