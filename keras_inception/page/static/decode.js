/**
 * A file's pixels as `keras_inception/datasets/reading.py` reads them: no colour conversion, upright, before white.
 *
 * (Grey of 16 bits is made 8 by the browser, which can round a pixel to the next level. TIFF, JPEG 2000 and PPM no
 * browser decodes.)
 */

import { orientation, size, withoutExif } from "./exif.js";

/** @typedef {import("./resample.js").Picture} Picture */

const LARGEST = 67_108_864; // pixels
const TILE = 2048; // pixels a side that are copied at a time: every graphics processor takes as many

/** One for all pictures: Chromium grants a worker four contexts and ends the oldest for a fifth, MediaPipe's too. */
let textures = null;

/** A file that is no picture to be read. The message is one sentence for people. */
export class PictureError extends Error {}

/**
 * Decode a picture: JPEG, PNG, GIF, BMP or WebP by its first bytes, whatever its name.
 *
 * @param {Blob} blob the file
 * @returns {Promise<Picture>}
 * @throws {PictureError} it is none of these, is larger than `LARGEST`, or is damaged
 */
export async function decode(blob) {
  const bytes = await contents(blob);
  const head = size(bytes);
  if (head === null) {
    throw new PictureError("This is not a picture that can be read: it must be a JPEG, PNG, GIF, BMP or WebP file.");
  }
  if (head.width * head.height > LARGEST) {
    throw new PictureError(`The picture has ${head.width}×${head.height} pixels, more than ${LARGEST} in all.`);
  }
  const bitmap = await decoded(bytes, head.type);
  try {
    return turned(overWhite(bitmap), orientation(bytes));
  } finally {
    bitmap.close();
  }
}

/**
 * A picture turned upright.
 *
 * @param {Picture} picture as it is stored
 * @param {number} turn EXIF's orientation, 1 to 8
 * @returns {Picture}
 */
export function turned(picture, turn) {
  if (turn === 1) {
    return picture;
  }
  const { data, width, height } = picture;
  const steps = [3, width * 3]; // bytes to the next pixel and to the next row of what is stored
  const sides = [width, height];
  let start = 0;
  if ([2, 3, 7, 8].includes(turn)) {
    // from right to left
    start += (width - 1) * steps[0];
    steps[0] = -steps[0];
  }
  if ([3, 4, 6, 7].includes(turn)) {
    // from bottom to top
    start += (height - 1) * steps[1];
    steps[1] = -steps[1];
  }
  if (turn >= 5) {
    // rows become columns
    steps.reverse();
    sides.reverse();
  }
  const result = { data: new Uint8Array(data.length), width: sides[0], height: sides[1] };
  let to = 0;
  for (let y = 0; y < result.height; y++) {
    let from = start + y * steps[1];
    for (let x = 0; x < result.width; x++, from += steps[0]) {
      result.data[to++] = data[from];
      result.data[to++] = data[from + 1];
      result.data[to++] = data[from + 2];
    }
  }
  return result;
}

/**
 * A channel of a translucent pixel before white, rounded as by Pillow's `alpha_composite`.
 *
 * @param {number} value 0 to 255
 * @param {number} alpha 0 to 255
 */
export function beforeWhite(value, alpha) {
  const sum = (value * alpha + 255 * (255 - alpha)) * 128 + 128 * 128;
  return ((sum >> 8) + sum) >> 15;
}

async function contents(blob) {
  try {
    return new Uint8Array(await blob.arrayBuffer());
  } catch {
    throw new PictureError("The file cannot be read.");
  }
}

async function decoded(bytes, type) {
  const blob = new Blob(withoutExif(bytes), { type: `image/${type.toLowerCase()}` });
  try {
    return await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  } catch {
    throw new PictureError(`The ${type} file is damaged, or too large for this browser: it cannot be decoded.`);
  }
}

/** The bitmap's pixels before white, copied tile by tile to spare memory. */
function overWhite(bitmap) {
  const { width, height } = bitmap;
  const picture = { data: new Uint8Array(width * height * 3), width, height };
  const drawn = canvasReader(bitmap);
  let exact;
  for (let y = 0; y < height; y += TILE) {
    for (let x = 0; x < width; x += TILE) {
      const tile = [x, y, Math.min(TILE, width - x), Math.min(TILE, height - y)];
      let pixels = drawn(...tile);
      if (!isOpaque(pixels)) {
        // A canvas keeps colours times alpha, which rounds them. A texture keeps them as they are.
        exact ??= textureReader(bitmap);
        pixels = exact(...tile) ?? pixels;
      }
      place(picture, pixels, ...tile);
    }
  }
  return picture;
}

/** A function from left, top, width and height to RGBA. */
function canvasReader(bitmap) {
  const canvas = new OffscreenCanvas(Math.min(TILE, bitmap.width), Math.min(TILE, bitmap.height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  return (left, top, width, height) => {
    context.clearRect(0, 0, width, height);
    context.drawImage(bitmap, left, top, width, height, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  };
}

/** The same, by WebGL; null where that fails. */
function textureReader(bitmap) {
  textures = textures && !textures.isContextLost() ? textures : textureContext();
  const gl = textures;
  if (!gl) {
    return () => null;
  }
  return (left, top, width, height) => {
    const pixels = new Uint8Array(width * height * 4);
    gl.pixelStorei(gl.UNPACK_SKIP_PIXELS, left);
    gl.pixelStorei(gl.UNPACK_SKIP_ROWS, top);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, width, height, 0, gl.RGBA, gl.UNSIGNED_BYTE, bitmap);
    gl.readPixels(0, 0, width, height, gl.RGBA, gl.UNSIGNED_BYTE, pixels);
    return gl.getError() === gl.NO_ERROR && !gl.isContextLost() ? pixels : null;
  };
}

/** A WebGL context that reads from a texture; null where there is no WebGL 2. */
function textureContext() {
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  if (gl) {
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.bindFramebuffer(gl.FRAMEBUFFER, gl.createFramebuffer());
    gl.framebufferTexture2D(gl.FRAMEBUFFER, gl.COLOR_ATTACHMENT0, gl.TEXTURE_2D, texture, 0);
  }
  return gl;
}

function isOpaque(pixels) {
  for (let i = 3; i < pixels.length; i += 4) {
    if (pixels[i] !== 255) {
      return false;
    }
  }
  return true;
}

function place(picture, pixels, left, top, width, height) {
  for (let y = 0; y < height; y++) {
    let to = ((top + y) * picture.width + left) * 3;
    for (let from = y * width * 4; from < (y + 1) * width * 4; from += 4) {
      const alpha = pixels[from + 3];
      for (let channel = 0; channel < 3; channel++) {
        picture.data[to++] = beforeWhite(pixels[from + channel], alpha);
      }
    }
  }
}
