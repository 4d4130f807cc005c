// Fragmented MP4 into samples: what a decoder is set up with, and then one coded picture or piece of sound after
// another. Sources: ISO/IEC 14496-12 sections 8.6.6 (elst), 8.8 (fragments) and 8.16.5 (prft). Pure: bytes in, samples
// out.

import { boxAt, boxes, findBox, findPath, viewOf } from "./boxes.js";
import { configurationOf, movieTracks, mp4Track } from "./codecs.js";
import { joined } from "./segments.js";

const MOST = 64 << 20; // bytes of one box: a second of the best picture there is
const SOUND_CHANNELS = 16;
const SOUND_RATE = 24;
const NOT_SYNC = 0x10000; // of a sample's flags
const SECONDS_1900_TO_1970 = 2_208_988_800;

/**
 * The tracks of an initialization segment, each {id, kind, codec, timescale, start, defaults, configuration} and, by
 * kind, width and height or channels and rate. `start` is where the track's presentation begins, in its own units.
 */
export function readTracks(bytes) {
  const view = viewOf(bytes);
  const extensions = new Map(); // a track's defaults for its fragments
  const extends_ = findPath(bytes, ["moov", "mvex"]);
  for (const box of extends_ ? boxes(bytes, extends_.body, extends_.end) : []) {
    if (box.type !== "trex" || box.body + 24 > box.end) continue;
    const [id, , duration, size, flags] = [4, 8, 12, 16, 20].map((at) => view.getUint32(box.body + at));
    extensions.set(id, { duration, size, flags });
  }
  return Array.from(movieTracks(bytes), ({ kind, track, media, entry }) => {
    const head = findBox(bytes, "tkhd", track.body, track.end);
    const mediaHead = findBox(bytes, "mdhd", media.body, media.end);
    if (!head || !mediaHead) throw new Error("The stream's initialization segment lacks a track's header.");
    const id = view.getUint32(head.body + (bytes[head.body] === 1 ? 20 : 12));
    const found = {
      ...mp4Track(bytes, kind, entry),
      id,
      timescale: view.getUint32(mediaHead.body + (bytes[mediaHead.body] === 1 ? 20 : 12)) || 1,
      start: presentationStart(bytes, track),
      defaults: extensions.get(id) ?? { duration: 0, size: 0, flags: 0 },
      configuration: configurationOf(bytes, kind, entry),
    };
    if (kind === "audio") {
      found.channels = view.getUint16(entry.body + SOUND_CHANNELS);
      found.rate = view.getUint16(entry.body + SOUND_RATE);
    }
    return found;
  });
}

/** The media time at which an edit list has the track begin: an encoder's delay is not to be seen or heard. */
function presentationStart(bytes, track) {
  const list = findPath(bytes, ["edts", "elst"], track.body, track.end);
  if (list === undefined) return 0;
  const view = viewOf(bytes);
  const wide = bytes[list.body] === 1;
  const count = view.getUint32(list.body + 4);
  for (let index = 0, at = list.body + 8; index < count && at + (wide ? 20 : 12) <= list.end; index += 1) {
    const time = wide ? Number(view.getBigInt64(at + 8)) : view.getInt32(at + 4);
    if (time >= 0) return time;
    at += wide ? 20 : 12;
  }
  return 0;
}

/**
 * Whole boxes out of bytes however they are cut. push(bytes) returns, in order:
 *
 *   {kind: "initialization", bytes, tracks}   what follows is decoded with this
 *   {kind: "samples", samples}                of one fragment, each track's in decoding order
 *
 * A sample is {track (its id), kind, time, duration, sync, captured, data}: `time`, when it is to be presented, and
 * `duration` in microseconds; `captured`, when it was (microseconds since the Unix epoch), or null. Throws where the
 * boxes are damaged.
 */
export class FragmentReader {
  #held = new Uint8Array(0);
  #at = 0; // the stream's offset of what is held
  #tracks = new Map();
  #fileType = null;
  #fragment = null; // the moof whose mdat is to come
  #reference = null; // {track, time, captured} of the last prft

  /** The next bytes stand at `offset` and do not follow on what came before: what was begun is void. */
  jump(offset) {
    this.#held = new Uint8Array(0);
    this.#at = offset;
    this.#fileType = this.#fragment = this.#reference = null;
  }

  push(bytes) {
    const data = joined(this.#held, bytes);
    const found = [];
    let at = 0;
    for (;;) {
      const box = boxAt(data, at);
      if (box === undefined) break;
      if (box === null || box.end - box.start > MOST) throw new Error("The stream's boxes are damaged.");
      if (box.end > data.length) break;
      const event = this.#take(data, box);
      if (event !== null) found.push(event);
      at = box.end;
    }
    this.#held = data.slice(at);
    this.#at += at;
    return found;
  }

  #take(data, box) {
    switch (box.type) {
      case "ftyp":
        this.#fileType = data.slice(box.start, box.end);
        return null;
      case "moov":
        return this.#initialize(data.slice(box.start, box.end));
      case "prft":
        this.#reference = readReference(data, box);
        return null;
      case "moof":
        this.#fragment = { bytes: data.slice(box.start, box.end), at: this.#at + box.start };
        return null;
      case "mdat":
        return this.#samples(data, box);
      default:
        return null;
    }
  }

  #initialize(movie) {
    const bytes = joined(this.#fileType ?? new Uint8Array(0), movie);
    const tracks = readTracks(bytes);
    this.#tracks = new Map(tracks.map((track) => [track.id, track]));
    this.#fragment = null;
    return { kind: "initialization", bytes, tracks };
  }

  #samples(data, box) {
    const fragment = this.#fragment;
    this.#fragment = null;
    if (fragment === null) return null; // media without a moof: of a fragment whose beginning was skipped
    const inside = box.start - (fragment.at - this.#at); // where the mdat stands, counted from its moof
    const samples = [];
    for (const { track, place, ...sample } of readRuns(fragment.bytes, fragment.at, this.#tracks)) {
      const start = box.start + place - inside;
      if (start < box.body || start + sample.size > box.end) {
        throw new Error("A fragment names bytes that it does not have.");
      }
      samples.push(inMicroseconds(track, sample, this.#reference, data.slice(start, start + sample.size)));
    }
    this.#reference = null;
    return { kind: "samples", samples };
  }
}

function inMicroseconds(track, { decoded, offset, duration, flags }, reference, data) {
  const scale = 1e6 / track.timescale;
  const presented = decoded + offset;
  let captured = null;
  if (reference !== null && reference.track === track.id) {
    captured = Math.round(reference.captured + (presented - reference.time) * scale);
  }
  return {
    track: track.id,
    kind: track.kind,
    time: Math.round((presented - track.start) * scale),
    duration: Math.round(duration * scale),
    sync: (flags & NOT_SYNC) === 0,
    captured,
    data,
  };
}

/** Section 8.16.5: the wall clock (NTP's, 32 bits of seconds and 32 of their fraction) of a media time. */
function readReference(bytes, box) {
  const wide = bytes[box.body] === 1;
  if (box.end - box.body < (wide ? 24 : 20)) return null;
  const view = viewOf(bytes);
  const seconds = view.getUint32(box.body + 8) - SECONDS_1900_TO_1970;
  const fraction = view.getUint32(box.body + 12) / 2 ** 32;
  const time = wide ? Number(view.getBigUint64(box.body + 16)) : view.getUint32(box.body + 16);
  return { track: view.getUint32(box.body + 4), captured: (seconds + fraction) * 1e6, time };
}

/**
 * Yield each sample that a moof (`bytes`, at the stream's offset `at`) tells of; `place` counts from the moof's first
 * byte.
 */
function* readRuns(bytes, at, tracks) {
  const movie = boxAt(bytes, 0);
  let following = 0; // where the data of the run before ended
  for (const fragment of boxes(bytes, movie.body, movie.end)) {
    if (fragment.type !== "traf") continue;
    const head = readHead(bytes, fragment, at, following, tracks);
    if (head === null) continue;
    let { decoded, place } = head;
    for (const run of boxes(bytes, fragment.body, fragment.end)) {
      if (run.type !== "trun") continue;
      for (const sample of readRun(bytes, run, head, place)) {
        yield { track: head.track, decoded, ...sample };
        decoded += sample.duration;
        place = sample.place + sample.size;
      }
    }
    following = place;
  }
}

/** tfhd and tfdt: {track, base, place, decoded, duration, size, flags}; null for a track that is none of ours. */
function readHead(bytes, fragment, at, following, tracks) {
  const view = viewOf(bytes);
  const box = findBox(bytes, "tfhd", fragment.body, fragment.end);
  const time = findBox(bytes, "tfdt", fragment.body, fragment.end);
  const track = box && tracks.get(view.getUint32(box.body + 4));
  if (!track) return null;
  const flags = view.getUint32(box.body) & 0xffffff;
  let next = box.body + 8;
  const field = (bit, otherwise, width = 4) => {
    if (!(flags & bit)) return otherwise;
    next += width;
    return width === 8 ? Number(view.getBigUint64(next - 8)) : view.getUint32(next - 4);
  };
  // Without default-base-is-moof an offset counts from the stream's first byte, or from where the last run ended.
  const base = field(0x1, null, 8);
  field(0x2, 0);
  const duration = field(0x8, track.defaults.duration);
  const size = field(0x10, track.defaults.size);
  const sampleFlags = field(0x20, track.defaults.flags);
  const from = base !== null ? base - at : flags & 0x20000 ? 0 : following;
  let decoded = 0;
  if (time) decoded = bytes[time.body] === 1 ? Number(view.getBigUint64(time.body + 4)) : view.getUint32(time.body + 4);
  return { track, base: from, place: from, decoded, duration, size, flags: sampleFlags };
}

function* readRun(bytes, run, head, from) {
  const view = viewOf(bytes);
  const flags = view.getUint32(run.body) & 0xffffff;
  const count = view.getUint32(run.body + 4);
  let at = run.body + 8;
  const read = (signed = false) => {
    if (at + 4 > run.end) throw new Error("The stream's boxes are damaged.");
    at += 4;
    return signed ? view.getInt32(at - 4) : view.getUint32(at - 4);
  };
  let place = flags & 0x1 ? head.base + read(true) : from;
  const first = flags & 0x4 ? read() : null;
  for (let index = 0; index < count; index += 1) {
    const duration = flags & 0x100 ? read() : head.duration;
    const size = flags & 0x200 ? read() : head.size;
    const own = flags & 0x400 ? read() : index === 0 && first !== null ? first : head.flags;
    const offset = flags & 0x800 ? read(true) : 0;
    yield { place, size, duration, offset, flags: own };
    place += size;
  }
}
