// Many ranges in one answer: multipart/byteranges (RFC 9110 section 14.6), as SDP's own GET brings a live stream. A
// part's Content-Range says how long it is, so content is never searched for the boundary. Pure: bytes in, events out.

import { joined } from "./segments.js";

const MOST_HEAD = 8192; // bytes of a part's head: a range and a few fields of a record
const CR = 13;
const LF = 10;
const DASH = 45;

/** The boundary that a Content-Type names, or null where it is not multipart/byteranges. */
export function boundaryOf(contentType) {
  const found = /^multipart\/byteranges\s*;.*?\bboundary=(?:"([^"]+)"|([^\s;"]+))/i.exec(contentType ?? "");
  return found ? (found[1] ?? found[2]) : null;
}

/** Read a Content-Range: {start, end, complete} with a half-open end, `complete` null while unknown; or null. */
export function parseContentRange(value) {
  const found = /^bytes ([0-9]{1,16})-([0-9]{1,16})\/(\*|[0-9]{1,16})$/.exec(value ?? "");
  if (!found) return null;
  const [start, last] = [Number(found[1]), Number(found[2])];
  if (last < start || !Number.isSafeInteger(last)) return null;
  return { start, end: last + 1, complete: found[3] === "*" ? null : Number(found[3]) };
}

function digitsOf(value) {
  return value !== undefined && /^[0-9]{1,16}$/.test(value) ? Number(value) : null;
}

/**
 * Parts out of an answer's bytes, however they are cut. push(bytes) returns what is there now, in order:
 *
 *   {kind: "part", start, end, complete, captured, received, randomAccess, initialization}   a part begins
 *   {kind: "bytes", offset, bytes}                                                           some of its content
 *   {kind: "end"}                                                                            the closing delimiter
 *
 * Offsets are the stream's; times are microseconds since the Unix epoch, or null. Throws where it is no such content.
 */
export class PartsReader {
  #delimiter;
  #held = new Uint8Array(0);
  #offset = 0; // of the part's next byte
  #left = 0; // bytes that the part still has
  #ended = false;

  constructor(boundary) {
    this.#delimiter = `--${boundary}`;
  }

  push(bytes) {
    const data = joined(this.#held, bytes);
    const events = [];
    let at = 0;
    while (!this.#ended && at < data.length) {
      if (this.#left > 0) {
        const end = Math.min(data.length, at + this.#left);
        events.push({ kind: "bytes", offset: this.#offset, bytes: data.subarray(at, end) });
        this.#left -= end - at;
        this.#offset += end - at;
        at = end;
        continue;
      }
      if (data[at] === CR && data[at + 1] === LF) {
        at += 2; // it ends the content before, and comes with it
        continue;
      }
      const end = headEnd(data, at, this.#delimiter.length);
      if (end === null) {
        if (data.length - at > MOST_HEAD) throw new Error("A part's head is too large.");
        break;
      }
      events.push(this.#begin(data.subarray(at, end)));
      at = end;
    }
    this.#held = data.slice(at);
    return events;
  }

  #begin(head) {
    const [delimiter, ...lines] = new TextDecoder("latin1").decode(head).trim().split("\r\n");
    if (delimiter === `${this.#delimiter}--`) {
      this.#ended = true;
      return { kind: "end" };
    }
    if (delimiter !== this.#delimiter) throw new Error("A part is longer or shorter than its range says.");
    const fields = new Map();
    for (const line of lines) {
      const colon = line.indexOf(":");
      if (colon > 0) fields.set(line.slice(0, colon).toLowerCase(), line.slice(colon + 1).trim());
    }
    const range = parseContentRange(fields.get("content-range"));
    if (range === null) throw new Error("A part says no range.");
    this.#offset = range.start;
    this.#left = range.end - range.start;
    return {
      kind: "part",
      ...range,
      captured: digitsOf(fields.get("capture-time")),
      received: digitsOf(fields.get("received-time")),
      randomAccess: fields.get("random-access") === "?1",
      initialization: fields.get("initialization") === "?1",
    };
  }
}

/** Where the head that begins at `start` ends, its empty line included; null where it is not whole yet. */
function headEnd(data, start, delimiterLength) {
  const after = start + delimiterLength;
  // The closing delimiter has no head; neither need a line's end follow it.
  if (data[after] === DASH && data[after + 1] === DASH) return after + 2;
  for (let at = start; at + 3 < data.length; at += 1) {
    if (data[at] === CR && data[at + 1] === LF && data[at + 2] === CR && data[at + 3] === LF) return at + 4;
  }
  return null;
}
