/** Read the header of an image file without decoding it. Damaged files are expected, so nothing here throws. */

const ORIENTATION = 0x0112;
const VALUE_BYTES = { 1: 1, 2: 1, 3: 2, 4: 4, 5: 8, 6: 1, 7: 1, 8: 2, 9: 4, 10: 8, 11: 4, 12: 8, 13: 4, 16: 8 };
const INTEGERS = { 3: "getUint16", 4: "getUint32", 6: "getInt8", 8: "getInt16", 9: "getInt32", 13: "getUint32" };
const TIFF_MARKS = ["II*\0", "MM\0*", "II\0*", "MM*\0"]; // the last two are invalid, but occur
const WEBP_HAS_EXIF = 0x08;
const WEBP_HAS_XMP = 0x04;

/**
 * @typedef {{width: number, height: number, type: "JPEG" | "PNG" | "GIF" | "BMP" | "WEBP"}} Size in pixels, as stored:
 * before any rotation
 */

/**
 * Return the size and type of an image, by its first bytes and not by its name.
 *
 * @param {Uint8Array} bytes the file
 * @returns {Size | null} null for other types, and for a file that ends before its size
 */
export function size(bytes) {
  const type = kind(bytes);
  const found = type && inBounds(() => SIZES[type](bytes, view(bytes)));
  return found && found[0] > 0 && found[1] > 0 ? { width: found[0], height: found[1], type } : null;
}

/**
 * Return the orientation in the EXIF block, else in the XMP block, as Pillow finds it.
 *
 * Unlike Pillow, this ignores the compressed text in which old versions of ImageMagick store the EXIF block of a PNG.
 *
 * @param {Uint8Array} bytes the file
 * @returns {number} 1 to 8; 1 (upright) by default
 */
export function orientation(bytes) {
  const type = kind(bytes);
  const { exif, xmp } = METADATA[type]?.(bytes) ?? {};
  const turn = (exif && inExif(exif)) ?? (xmp && inXmp(xmp)) ?? 1;
  return turn >= 1 && turn <= 8 ? turn : 1;
}

/**
 * Remove a file's EXIF block, since browsers rotate images by it, some even when told not to.
 *
 * @param {Uint8Array} bytes the file
 * @returns {Uint8Array[]} its parts, for a Blob
 */
export function withoutExif(bytes) {
  const type = kind(bytes);
  if (type === "WEBP" && startsWith(bytes, "VP8X", 12)) {
    // the block is ignored without its flag
    return [bytes.subarray(0, 20), Uint8Array.of(bytes[20] & ~WEBP_HAS_EXIF), bytes.subarray(21)];
  }
  const parts = [];
  let from = 0;
  for (const { start, end } of METADATA[type]?.(bytes).exifPlaces ?? []) {
    parts.push(bytes.subarray(from, start));
    from = end;
  }
  return [...parts, bytes.subarray(from)];
}

const KINDS = {
  JPEG: (bytes) => startsWith(bytes, "\xff\xd8\xff"),
  PNG: (bytes) => startsWith(bytes, "\x89PNG\r\n\x1a\n"),
  GIF: (bytes) => startsWith(bytes, "GIF87a") || startsWith(bytes, "GIF89a"),
  BMP: (bytes) => startsWith(bytes, "BM"),
  WEBP: (bytes) => startsWith(bytes, "RIFF") && startsWith(bytes, "WEBP", 8),
};

const SIZES = {
  JPEG(bytes) {
    for (const { marker, at } of jpegSegments(bytes)) {
      if (marker >= 0xc0 && marker <= 0xcf && ![0xc4, 0xc8, 0xcc].includes(marker)) {
        // a start of frame
        return [view(bytes).getUint16(at + 3), view(bytes).getUint16(at + 1)];
      }
    }
    return null;
  },
  PNG: (bytes, data) => (startsWith(bytes, "IHDR", 12) ? [data.getUint32(16), data.getUint32(20)] : null),
  GIF: (bytes, data) => [data.getUint16(6, true), data.getUint16(8, true)],
  BMP(bytes, data) {
    if (data.getUint32(14, true) === 12) {
      // OS/2's header
      return [data.getUint16(18, true), data.getUint16(20, true)];
    }
    return [data.getInt32(18, true), Math.abs(data.getInt32(22, true))]; // upside down if negative
  },
  WEBP(bytes, data) {
    if (startsWith(bytes, "VP8 ", 12) && startsWith(bytes, "\x9d\x01\x2a", 23)) {
      return [data.getUint16(26, true) & 0x3fff, data.getUint16(28, true) & 0x3fff];
    }
    if (startsWith(bytes, "VP8L", 12) && bytes[20] === 0x2f) {
      const bits = data.getUint32(21, true);
      return [(bits & 0x3fff) + 1, ((bits >>> 14) & 0x3fff) + 1];
    }
    if (startsWith(bytes, "VP8X", 12)) {
      return [(data.getUint32(23, true) >>> 8) + 1, (data.getUint32(26, true) >>> 8) + 1];
    }
    return null;
  },
};

/** Find the EXIF and XMP blocks of each file type; for JPEG and PNG also the range to cut out to remove EXIF. */
const METADATA = {
  JPEG(bytes) {
    const found = { exifPlaces: [] };
    const parts = []; // a long block continues in the next segment
    for (const { marker, at, end } of jpegSegments(bytes)) {
      const body = bytes.subarray(at, end);
      if (marker === 0xe1 && startsWith(body, "Exif\0\0")) {
        parts.push(parts.length ? body.subarray(6) : body);
        found.exifPlaces.push({ start: at - 4, end });
      } else if (marker === 0xe1 && startsWith(body, "http://ns.adobe.com/xap/1.0/\0")) {
        found.xmp = body;
      }
    }
    return parts.length ? { ...found, exif: joined(parts) } : found;
  },
  PNG(bytes) {
    const found = { exifPlaces: [] };
    for (const { name, body, start, end } of chunks(bytes, 8, { littleEndian: false })) {
      if (name === "eXIf") {
        found.exif = body;
        found.exifPlaces.push({ start, end });
      } else if (name === "iTXt" && startsWith(body, "XML:com.adobe.xmp\0\0")) {
        found.xmp = body;
      }
    }
    return found;
  },
  WEBP(bytes) {
    const found = {};
    const flags = startsWith(bytes, "VP8X", 12) ? bytes[20] : 0;
    for (const { name, body } of chunks(bytes, 12, { littleEndian: true })) {
      if (name === "EXIF" && flags & WEBP_HAS_EXIF) {
        found.exif ??= body;
      } else if (name === "XMP " && flags & WEBP_HAS_XMP) {
        found.xmp ??= body;
      }
    }
    return found;
  },
};

function kind(bytes) {
  return Object.keys(KINDS).find((type) => KINDS[type](bytes)) ?? null;
}

/**
 * Return the orientation in an EXIF block, which is a TIFF directory.
 *
 * @returns {number | null} null if it has none; 1 if this is not an EXIF block
 */
function inExif(block) {
  const tiff = unprefixed(block);
  if (tiff.length === 0) {
    return null;
  }
  if (tiff.length < 8 || !TIFF_MARKS.some((mark) => startsWith(tiff, mark))) {
    return 1;
  }
  return inBounds(() => inDirectory(view(tiff), startsWith(tiff, "II")));
}

function inDirectory(data, littleEndian) {
  const start = data.getUint32(4, littleEndian);
  const entries = data.getUint16(start, littleEndian);
  let total = 0;
  for (let i = 0; i < entries; i++) {
    const entry = start + 2 + 12 * i;
    const tag = data.getUint16(entry, littleEndian);
    const type = data.getUint16(entry + 2, littleEndian);
    const length = data.getUint32(entry + 4, littleEndian) * (VALUE_BYTES[type] ?? 0);
    let at = entry + 8;
    data.getUint32(at, littleEndian); // an incomplete entry ends the directory
    if (length > 4) {
      total += length;
      if (total > data.byteLength) {
        continue;
      }
      at = data.getUint32(at, littleEndian);
      data.getUint8(at + length - 1); // and so does a value beyond the end of the file, as in Pillow
    }
    if (tag === ORIENTATION && length > 0) {
      return type in INTEGERS ? data[INTEGERS[type]](at, littleEndian) : 1;
    }
  }
  return null;
}

function inXmp(block) {
  const match = /tiff:Orientation(?:="|>)([0-9])/.exec(new TextDecoder("latin1").decode(block));
  return match && Number(match[1]);
}

/** Skip up to two prefixes of an EXIF block. */
function unprefixed(block) {
  for (let i = 0; i < 2 && startsWith(block, "Exif\0\0"); i++) {
    block = block.subarray(6);
  }
  return block;
}

/** Yield the segments before a JPEG's pixels; their bodies extend from `at` to `end`. */
function* jpegSegments(bytes) {
  let at = 2;
  while (at + 4 <= bytes.length) {
    const marker = bytes[at + 1];
    if (bytes[at] !== 0xff || marker === 0xff) {
      // junk, or padding
      at += 1;
    } else if (marker === 0 || marker === 1 || (marker >= 0xd0 && marker <= 0xd9)) {
      // markers without a body
      at += 2;
    } else {
      const end = at + 2 + bytes[at + 2] * 256 + bytes[at + 3];
      if (marker === 0xda || end < at + 4 || end > bytes.length) {
        // 0xda: the pixels begin
        return;
      }
      yield { marker, at: at + 4, end };
      at = end;
    }
  }
}

/** Yield the chunks of a PNG (big endian, each with a checksum) or a RIFF file (name first, of even length). */
function* chunks(bytes, at, { littleEndian }) {
  while (at + 8 <= bytes.length) {
    const length = view(bytes).getUint32(littleEndian ? at + 4 : at, littleEndian);
    const name = String.fromCharCode(...bytes.subarray(littleEndian ? at : at + 4).subarray(0, 4));
    const body = bytes.subarray(at + 8, at + 8 + length);
    if (body.length < length) {
      return;
    }
    const end = at + 8 + length + (littleEndian ? length % 2 : 4);
    yield { name, body, start: at, end };
    at = end;
  }
}

function startsWith(bytes, text, at = 0) {
  return bytes.length >= at + text.length && [...text].every((letter, i) => bytes[at + i] === letter.charCodeAt(0));
}

function joined(parts) {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}

function view(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

/** Call `read` and return its result; null if it reads beyond the end, which makes a DataView throw. */
function inBounds(read) {
  try {
    return read();
  } catch (error) {
    if (error instanceof RangeError) {
      return null;
    }
    throw error;
  }
}
