/**
 * Read a file's pixels as `keras_inception/datasets/reading.py` does: upright, on white, without color conversion.
 *
 * Two differences remain. The browser reduces 16-bit gray to 8 bits, which can round a pixel to the next level. TIFF,
 * JPEG 2000 and PPM are not supported.
 */

import { orientation, size, withoutExif } from "./exif.js";

/** @typedef {import("./resample.js").Picture} Picture */

const LARGEST = 67_108_864; // pixels
const TILE = 2048; // side in pixels of the squares that are copied at a time; every GPU supports this texture size

/** Shared by all images: Chromium allows four contexts per worker and drops the oldest, even if it is MediaPipe's. */
let textures = null;

/** Thrown for a file that cannot be read as an image. The message is a sentence to show to the user. */
export class PictureError extends Error {}

/**
 * Decode a JPEG, PNG, GIF, BMP or WebP file, recognized by its first bytes and not by its name.
 *
 * @param {Blob} blob the file
 * @returns {Promise<Picture>}
 * @throws {PictureError} if the file is of another type, has more pixels than `LARGEST`, or is damaged
 */
export async function decode(blob) {
  const bytes = await contents(blob);
  const head = size(bytes);
  if (head === null) {
    throw new PictureError("This picture cannot be read: it must be a JPEG, PNG, GIF, BMP or WebP file.");
  }
  if (head.width * head.height > LARGEST) {
    throw new PictureError(`The picture is too large: ${head.width}×${head.height}, more than ${LARGEST} pixels.`);
  }
  const bitmap = await decoded(bytes, head.type);
  try {
    return turned(overWhite(bitmap), orientation(bytes));
  } finally {
    bitmap.close();
  }
}

/**
 * Turn an image upright.
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
  const steps = [3, width * 3]; // bytes to the next pixel and the next row, as stored
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
 * Composite a channel of a translucent pixel on white, rounded as by Pillow's `alpha_composite`.
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
    throw new PictureError(`The ${type} file cannot be decoded: it is damaged, or too large for this browser.`);
  }
}

/** Composite a bitmap on white, tile by tile to save memory. */
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
        // A canvas stores colors multiplied by alpha, which rounds them. A texture stores them unchanged.
        exact ??= textureReader(bitmap);
        pixels = exact(...tile) ?? pixels;
      }
      place(picture, pixels, ...tile);
    }
  }
  return picture;
}

/** Return a function from left, top, width and height to RGBA. */
function canvasReader(bitmap) {
  const canvas = new OffscreenCanvas(Math.min(TILE, bitmap.width), Math.min(TILE, bitmap.height));
  const context = canvas.getContext("2d", { willReadFrequently: true });
  return (left, top, width, height) => {
    context.clearRect(0, 0, width, height);
    context.drawImage(bitmap, left, top, width, height, 0, 0, width, height);
    return context.getImageData(0, 0, width, height).data;
  };
}

/** Return a function like `canvasReader`'s that reads through WebGL; it returns null where that fails. */
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

/** Return a WebGL context that reads from a texture; null without WebGL 2. */
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
