// Boxes: how ISO base media files (MP4) are built (ISO/IEC 14496-12 section 4.2). Pure: bytes in, places out.

const HEADER = 8;
const LARGE_HEADER = 16;

export function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}

export function fourCharacters(bytes, at) {
  return String.fromCharCode(bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]);
}

/**
 * Read the head of the box at `start`: {type, start, body, end}, its content being [body, end).
 *
 * Undefined where too few bytes are there to tell, null where no box can begin like this. `end` may lie beyond the
 * bytes, and is Infinity for a box that reaches to the end of the file.
 */
export function boxAt(bytes, start, limit = bytes.length) {
  if (start + HEADER > limit) return undefined;
  const view = viewOf(bytes);
  const type = fourCharacters(bytes, start + 4);
  let size = view.getUint32(start);
  let header = HEADER;
  if (size === 1) {
    if (start + LARGE_HEADER > limit) return undefined;
    size = Number(view.getBigUint64(start + HEADER));
    header = LARGE_HEADER;
  } else if (size === 0) {
    size = Infinity;
  }
  if (size < header) return null;
  return { type, start, body: start + header, end: start + size };
}

/** Yield each box that lies whole in [start, end); what is damaged or cut off ends the walk. */
export function* boxes(bytes, start = 0, end = bytes.length) {
  let box = boxAt(bytes, start, end);
  while (box && box.end <= end) {
    yield box;
    box = boxAt(bytes, box.end, end);
  }
}

/** Return the first box of `type` in [start, end), or undefined. */
export function findBox(bytes, type, start = 0, end = bytes.length) {
  for (const box of boxes(bytes, start, end)) {
    if (box.type === type) return box;
  }
  return undefined;
}

/** Follow `path`, a list of types, from [start, end) inwards; return the innermost box, or undefined. */
export function findPath(bytes, path, start = 0, end = bytes.length) {
  let box = { body: start, end };
  for (const type of path) {
    box = findBox(bytes, type, box.body, box.end);
    if (box === undefined) return undefined;
  }
  return box;
}
