/** Resize images to the same bytes as Pillow 13, with its filters, fixed-point arithmetic and order of passes. */

/**
 * @typedef {{data: Uint8Array, width: number, height: number}} Picture RGB, one byte per channel, row by row.
 * @typedef {[number, number, number, number]} Box left, upper, right, lower, in fractions of pixels.
 */

const PRECISION = 22; // fraction bits: 32 minus 8 for a pixel and 2 for filters that overshoot
const HALF = 1 << (PRECISION - 1);

const FILTERS = {
  bilinear: { support: 1, weight: (x) => Math.max(0, 1 - Math.abs(x)) },
  bicubic: { support: 2, weight: bicubic },
  lanczos: { support: 3, weight: (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0) },
};

/**
 * Resize the content of the box like Pillow's `Image.resize`.
 *
 * @param {Picture} picture
 * @param {[number, number]} size height and width
 * @param {Box | null} box the whole picture if null
 * @param {"nearest" | "bilinear" | "bicubic" | "lanczos"} interpolation
 * @returns {Picture}
 */
export function resize(picture, [height, width], box, interpolation) {
  // Pillow stores the box as 32-bit floats.
  const [left, upper, right, lower] = (box ?? [0, 0, picture.width, picture.height]).map(Math.fround);
  const across = { from: left, length: Math.fround(right - left), size: width };
  const down = { from: upper, length: Math.fround(lower - upper), size: height };
  if (isCut(across) && isCut(down)) {
    return cut(picture, left, upper, width, height);
  }
  if (interpolation === "nearest") {
    return nearest(picture, across, down);
  }
  const filter = FILTERS[interpolation];
  const columns = weights(picture.width, across, filter);
  const rows = weights(picture.height, down, filter);
  const shorterBy = picture.height - height;
  if (shorterBy > 0 && shorterBy > (picture.width - width) * 2) {
    return horizontally(vertically(picture, rows), columns);
  }
  return vertically(horizontally(picture, columns, span(rows)), rows);
}

/**
 * Sample an image bilinearly at fractional rows and columns. Positions beyond an edge are moved to it.
 *
 * @param {Picture} picture
 * @param {Float64Array} rows
 * @param {Float64Array} columns
 * @returns {Picture}
 */
export function bilinear(picture, rows, columns) {
  const result = blank(columns.length, rows.length);
  const across = neighbours(columns, picture.width);
  let to = 0;
  for (const [upper, lower, down] of neighbours(rows, picture.height)) {
    for (const [left, right, share] of across) {
      for (let channel = 0; channel < 3; channel++) {
        const at = (y, x) => picture.data[(y * picture.width + x) * 3 + channel];
        const above = at(upper, left) * (1 - share) + at(upper, right) * share;
        const below = at(lower, left) * (1 - share) + at(lower, right) * share;
        result.data[to++] = roundHalfEven(above * (1 - down) + below * down);
      }
    }
  }
  return result;
}

/** Crop an image at whole pixels. */
export function cut(picture, left, upper, width, height) {
  const result = blank(width, height);
  for (let y = 0; y < height; y++) {
    const from = ((upper + y) * picture.width + left) * 3;
    result.data.set(picture.data.subarray(from, from + width * 3), y * width * 3);
  }
  return result;
}

/** Round to the nearest whole number, halves to even, like Python and NumPy. */
export function roundHalfEven(x) {
  const floor = Math.floor(x);
  const rest = x - floor;
  return rest > 0.5 || (rest === 0.5 && floor % 2 !== 0) ? floor + 1 : floor;
}

function blank(width, height) {
  return { data: new Uint8Array(width * height * 3), width, height };
}

function isCut({ from, length, size }) {
  return Number.isInteger(from) && length === size;
}

function bicubic(x) {
  x = Math.abs(x);
  if (x < 1) {
    return (1.5 * x - 2.5) * x * x + 1;
  }
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * -0.5 : 0;
}

function sinc(x) {
  return x === 0 ? 1 : Math.sin(x * Math.PI) / (x * Math.PI);
}

/** Return, for each position, the pixels before and after it, and its distance from the former. */
function neighbours(places, size) {
  return Array.from(places, (place) => {
    const inside = Math.min(Math.max(place, 0), size - 1);
    const first = Math.floor(inside);
    return [first, Math.min(first + 1, size - 1), inside - first];
  });
}

function nearest({ data, width, height }, across, down) {
  const result = blank(across.size, down.size);
  const columns = nearestPlaces(across);
  nearestPlaces(down).forEach((y, row) => {
    columns.forEach((x, column) => {
      if (x < width && y < height) {
        // rounding can put the last position just beyond the edge; it is black in Pillow too
        const from = (y * width + x) * 3;
        const to = (row * across.size + column) * 3;
        result.data[to] = data[from];
        result.data[to + 1] = data[from + 1];
        result.data[to + 2] = data[from + 2];
      }
    });
  });
  return result;
}

/** Return the pixel at each position. Steps are accumulated as in Pillow, to round alike. */
function nearestPlaces({ from, length, size }) {
  const step = length / size;
  const places = new Int32Array(size);
  let place = from + step * 0.5;
  for (let i = 0; i < size; i++) {
    places[i] = place;
    place += step;
  }
  return places;
}

/**
 * Return the pixels that contribute to each pixel of the result, with their fixed-point weights.
 *
 * @returns {{start: number, weights: Int32Array}[]}
 */
function weights(pixels, { from, length, size }, filter) {
  const scale = length / size;
  const stretch = Math.max(scale, 1);
  const support = filter.support * stretch;
  return Array.from({ length: size }, (_, i) => {
    const center = from + (i + 0.5) * scale;
    const start = Math.max(Math.trunc(center - support + 0.5), 0);
    const end = Math.min(Math.trunc(center + support + 0.5), pixels);
    const exact = new Float64Array(end - start);
    let sum = 0;
    for (let x = 0; x < exact.length; x++) {
      exact[x] = filter.weight((x + start - center + 0.5) * (1 / stretch));
      sum += exact[x];
    }
    return { start, weights: Int32Array.from(exact, (weight) => fixed(sum === 0 ? weight : weight / sum)) };
  });
}

function fixed(weight) {
  return Math.trunc(weight * (1 << PRECISION) + (weight < 0 ? -0.5 : 0.5));
}

/** Return the first row that is read, and the row after the last. */
function span(rows) {
  const last = rows[rows.length - 1];
  return [rows[0].start, last.start + last.weights.length];
}

/** Compute only the rows of the span; the others stay black, since they are never read. */
function horizontally({ data, width, height }, columns, [first, end] = [0, height]) {
  const result = blank(columns.length, height);
  let to = first * columns.length * 3;
  for (let y = first; y < end; y++) {
    for (const column of columns) {
      let red = HALF;
      let green = HALF;
      let blue = HALF;
      let from = (y * width + column.start) * 3;
      for (const weight of column.weights) {
        red += data[from++] * weight;
        green += data[from++] * weight;
        blue += data[from++] * weight;
      }
      result.data[to++] = byte(red);
      result.data[to++] = byte(green);
      result.data[to++] = byte(blue);
    }
  }
  return result;
}

function vertically({ data, width }, rows) {
  const result = blank(width, rows.length);
  const sums = new Int32Array(width * 3);
  rows.forEach((row, y) => {
    sums.fill(HALF);
    row.weights.forEach((weight, i) => {
      const from = (row.start + i) * sums.length;
      for (let x = 0; x < sums.length; x++) {
        sums[x] += data[from + x] * weight;
      }
    });
    result.data.set(sums.map(byte), y * sums.length);
  });
  return result;
}

function byte(sum) {
  return Math.min(Math.max(sum >> PRECISION, 0), 255);
}
