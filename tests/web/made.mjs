// Small bytes made by hand, and the ways to cut them.

export function bytesOf(...parts) {
  return Uint8Array.from(parts.flatMap((part) => (typeof part === "string" ? [...part].map((c) => c.charCodeAt(0)) : [...part])));
}

export function big(value, width = 4) {
  return Array.from({ length: width }, (_, index) => Math.floor(value / 256 ** (width - 1 - index)) % 256);
}

export function box(type, ...parts) {
  const content = bytesOf(...parts);
  return bytesOf(big(content.length + 8), type, content);
}

export const FTYP = box("ftyp", "iso6", big(0x200), "iso6");

export function movie(...tracks) {
  return box("moov", box("mvhd", big(0, 100)), ...tracks);
}

export function track(handler, entry) {
  const table = box("stbl", box("stsd", big(0), big(1), entry));
  return box("trak", box("mdia", box("hdlr", big(0), big(0), handler, big(0, 13)), box("minf", table)));
}

export function visual(type, width, height, ...inside) {
  return box(type, big(1, 8), big(0, 16), big(width, 2), big(height, 2), big(0, 50), ...inside);
}

export function sound(type, ...inside) {
  return box(type, big(1, 8), big(0, 2), big(0, 18), ...inside);
}

/** An EBML element with a size of `width` bytes; "unknown" for a size that is not known. */
export function element(id, width, ...parts) {
  const content = bytesOf(...parts);
  const size = big(content.length, width);
  size[0] |= 0x80 >> (width - 1);
  return bytesOf(id, size, content);
}

export function openElement(id, ...parts) {
  return bytesOf(id, [0x01, 255, 255, 255, 255, 255, 255, 255], ...parts);
}

/** `bytes` whole, byte by byte, and in cuts drawn from a fixed series. */
export function* cuttings(bytes) {
  yield [bytes];
  yield Array.from(bytes, (_, at) => bytes.subarray(at, at + 1));
  let seed = 7;
  for (let round = 0; round < 50; round += 1) {
    const cuts = [];
    for (let at = 0; at < bytes.length; ) {
      seed = (seed * 48271) % 2147483647;
      const end = at + 1 + (seed % 40);
      cuts.push(bytes.subarray(at, end));
      at = end;
    }
    yield cuts;
  }
}
