// Elements: how Matroska and WebM are built (RFC 8794). Pure: bytes in, places out.

export const ELEMENT = {
  header: 0x1a45dfa3,
  segment: 0x18538067,
  cluster: 0x1f43b675,
  tracks: 0x1654ae6b,
  trackEntry: 0xae,
  trackType: 0x83,
  codecId: 0x86,
  codecPrivate: 0x63a2,
  video: 0xe0,
  width: 0xb0,
  height: 0xba,
};

const MOST_ID_BYTES = 4;

function widthOf(first) {
  return Math.clz32(first) - 23;
}

/**
 * Read the head of the element at `start`: {id, start, body, end}, its content being [body, end).
 *
 * Undefined where too few bytes are there to tell, null where no element can begin like this. `end` is Infinity
 * for an element of unknown size.
 */
export function elementAt(bytes, start, limit = bytes.length) {
  if (start >= limit) return undefined;
  const idWidth = widthOf(bytes[start]);
  if (idWidth > MOST_ID_BYTES) return null;
  const sizeAt = start + idWidth;
  if (sizeAt >= limit) return undefined;
  const sizeWidth = widthOf(bytes[sizeAt]);
  if (sizeWidth > 8) return null;
  const body = sizeAt + sizeWidth;
  if (body > limit) return undefined;
  const id = readUnsigned(bytes, start, sizeAt);
  const top = bytes[sizeAt] & (0xff >> sizeWidth);
  const unknown = top === 0xff >> sizeWidth && bytes.subarray(sizeAt + 1, body).every((byte) => byte === 0xff);
  const size = top * 256 ** (sizeWidth - 1) + readUnsigned(bytes, sizeAt + 1, body);
  return { id, start, body, end: unknown ? Infinity : body + size };
}

/** Yield each element that begins in [start, end), the last one cut off there; what is damaged ends the walk. */
export function* elements(bytes, start = 0, end = bytes.length) {
  let element = elementAt(bytes, start, end);
  while (element) {
    element.end = Math.min(element.end, end);
    yield element;
    element = elementAt(bytes, element.end, end);
  }
}

/** Read [start, end) as an unsigned number, most significant byte first; exact up to 2 ** 53. */
export function readUnsigned(bytes, start, end) {
  let value = 0;
  for (let at = start; at < end; at += 1) value = value * 256 + bytes[at];
  return value;
}
