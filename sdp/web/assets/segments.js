// What comes over the wire, cut where a decoder must be told of it: initialization segments apart from the media.
// A splitter keeps back a box's head or an initialization segment that is not yet whole; media pass as they arrive.

import { boxAt, fourCharacters } from "./boxes.js";
import { ELEMENT, elementAt } from "./elements.js";

/** Bytes of an initialization segment at most: real ones have a few thousand. */
const INITIALIZATION_LIMIT = 1 << 20;

const TOO_LARGE = "The stream's initialization segment is too large.";

const SYNC_BYTE = 0x47;
const PACKET = 188;

/** Tell the container by its first bytes: "mp4", "webm", "mpegts", "sound", "unknown", or undefined for too few. */
export function containerOf(bytes) {
  if (bytes.length < 12) return undefined;
  if (["ftyp", "styp", "moov", "moof", "prft", "emsg", "sidx"].includes(fourCharacters(bytes, 4))) return "mp4";
  if (bytes[0] === 0x1a && bytes[1] === 0x45 && bytes[2] === 0xdf && bytes[3] === 0xa3) return "webm";
  if (bytes[0] === SYNC_BYTE && (bytes.length <= PACKET || bytes[PACKET] === SYNC_BYTE)) return "mpegts";
  if (fourCharacters(bytes, 0).startsWith("ID3") || (bytes[0] === 0xff && bytes[1] >= 0xe0)) return "sound";
  return "unknown";
}

/** Return the splitter for a container, or null where there is none. */
export function splitterFor(container) {
  if (container === "mp4") return new Mp4Splitter();
  if (container === "webm") return new WebmSplitter();
  return null;
}

export function joined(first, second) {
  if (first.length === 0) return second;
  const whole = new Uint8Array(first.length + second.length);
  whole.set(first);
  whole.set(second, first.length);
  return whole;
}

/** push(bytes) returns the pieces that are complete now: {initialization, bytes}, in order. */
export class Mp4Splitter {
  #held = new Uint8Array(0);
  #left = 0; // bytes of the box that is passing
  #started = false; // an initialization segment was there: media before one are of no use

  /** The next bytes do not follow on: they begin with a box. */
  jump() {
    this.#held = new Uint8Array(0);
    this.#left = 0;
  }

  push(bytes) {
    const data = joined(this.#held, bytes);
    const pieces = [];
    let at = 0;
    let mediaFrom = 0;
    const passMedia = () => {
      if (this.#started && at > mediaFrom) pieces.push({ initialization: false, bytes: data.subarray(mediaFrom, at) });
    };
    for (;;) {
      const step = Math.min(this.#left, data.length - at);
      at += step;
      this.#left -= step;
      if (this.#left > 0) break;
      const box = boxAt(data, at);
      if (box === undefined) break;
      if (box === null) throw new Error("The stream's boxes are damaged.");
      if (box.type !== "ftyp" && box.type !== "moov") {
        this.#left = box.end - at;
        continue;
      }
      const end = initializationEnd(data, box);
      if (end === undefined) break;
      passMedia();
      if (end === null) {
        at = box.end; // a file type by itself says nothing to a decoder
      } else {
        this.#started = true;
        pieces.push({ initialization: true, bytes: data.subarray(at, end) });
        at = end;
      }
      mediaFrom = at;
    }
    passMedia();
    this.#held = data.slice(at);
    return pieces;
  }
}

/**
 * Where the initialization segment ends that begins with `box`, a file type or a movie: undefined where it is not
 * whole yet, null where no movie follows the file type.
 */
function initializationEnd(data, box) {
  if (box.end - box.start > INITIALIZATION_LIMIT) throw new Error(TOO_LARGE);
  const movie = box.type === "moov" ? box : boxAt(data, box.end);
  if (movie === undefined) return undefined;
  if (movie === null || movie.type !== "moov") return null;
  if (movie.end - box.start > INITIALIZATION_LIMIT) throw new Error(TOO_LARGE);
  return movie.end > data.length ? undefined : movie.end;
}

/** The same for WebM: all up to the first Cluster is the initialization segment. */
export class WebmSplitter {
  #held = new Uint8Array(0);
  #at = 0;
  #started = false;

  /** The next bytes do not follow on: they begin with a cluster. What stands before the first one stays, if it is whole. */
  jump() {
    if (this.#at === this.#held.length) return;
    this.#held = new Uint8Array(0);
    this.#at = 0;
  }

  push(bytes) {
    if (this.#started) return [{ initialization: false, bytes }];
    const data = joined(this.#held, bytes);
    this.#held = data;
    for (;;) {
      const element = elementAt(data, this.#at);
      if (element === undefined) break;
      if (element === null) throw new Error("The stream's elements are damaged.");
      if (element.id === ELEMENT.cluster) return this.#start(data);
      // A Segment is entered; whatever else stands before the first Cluster is stepped over.
      const next = element.id === ELEMENT.segment ? element.body : element.end;
      if (next > INITIALIZATION_LIMIT) throw new Error(TOO_LARGE);
      if (next > data.length) break;
      this.#at = next;
    }
    return [];
  }

  #start(data) {
    this.#started = true;
    this.#held = new Uint8Array(0);
    return [
      { initialization: true, bytes: data.subarray(0, this.#at) },
      { initialization: false, bytes: data.subarray(this.#at) },
    ];
  }
}
