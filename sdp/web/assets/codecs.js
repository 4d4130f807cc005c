// Which codecs a stream has, read from its initialization segment, in the words that a browser takes (RFC 6381).
// Sources: ISO/IEC 14496-12 (stsd), 14496-15 (avcC, hvcC), 14496-1 (esds), and the codecs' own ISOBMFF documents.

import { boxes, findBox, findPath, fourCharacters, viewOf } from "./boxes.js";
import { ELEMENT, elements, readUnsigned } from "./elements.js";

const VISUAL_ENTRY = 78;
const SOUND_ENTRY = 28;
const SOUND_EXTENSION = { 0: 0, 1: 16, 2: 36 }; // QuickTime's later versions of a sound entry

/** Describe a whole initialization segment: {tracks: [{kind, codec, width, height}], mime}. */
export function describe(container, bytes) {
  const tracks = container === "webm" ? webmTracks(bytes) : mp4Tracks(bytes);
  const kind = tracks.some((track) => track.kind === "video") ? "video" : "audio";
  const codecs = tracks.map((track) => track.codec).join(",");
  return { tracks, mime: `${kind}/${container === "webm" ? "webm" : "mp4"}; codecs="${codecs}"` };
}

function hex(value, digits = 2) {
  return value.toString(16).padStart(digits, "0");
}

function decimal(value) {
  return value.toString().padStart(2, "0");
}

// -- MP4 ------------------------------------------------------------------------------------------------------------

export function mp4Tracks(bytes) {
  return Array.from(movieTracks(bytes), ({ kind, entry }) => mp4Track(bytes, kind, entry));
}

/** Yield each track of picture or sound: {kind, track, media, entry}, the last three being boxes. */
export function* movieTracks(bytes) {
  const movie = findBox(bytes, "moov");
  if (movie === undefined) return;
  for (const track of boxes(bytes, movie.body, movie.end)) {
    if (track.type !== "trak") continue;
    const media = findPath(bytes, ["mdia"], track.body, track.end);
    const table = media && findPath(bytes, ["minf", "stbl", "stsd"], media.body, media.end);
    const handler = media && findBox(bytes, "hdlr", media.body, media.end);
    if (!table || !handler || handler.body + 12 > handler.end) continue;
    const kind = { vide: "video", soun: "audio" }[fourCharacters(bytes, handler.body + 8)];
    const entry = boxes(bytes, table.body + 8, table.end).next().value;
    if (kind !== undefined && entry !== undefined) yield { kind, track, media, entry };
  }
}

export function mp4Track(bytes, kind, entry) {
  const view = viewOf(bytes);
  if (kind === "video") {
    const codec = videoCodec(bytes, entry, entry.body + VISUAL_ENTRY);
    return { kind, codec, width: view.getUint16(entry.body + 24), height: view.getUint16(entry.body + 26) };
  }
  return { kind, codec: soundCodec(bytes, entry, soundBoxes(view, entry)) };
}

/** Where the boxes within a sound entry begin. */
function soundBoxes(view, entry) {
  return entry.body + SOUND_ENTRY + (SOUND_EXTENSION[view.getUint16(entry.body + 8)] ?? 0);
}

const VIDEO_CONFIGURATIONS = {
  avc1: ["avcC", 4, avcCodec],
  avc3: ["avcC", 4, avcCodec],
  hvc1: ["hvcC", 13, hevcCodec],
  hev1: ["hvcC", 13, hevcCodec],
  av01: ["av1C", 4, av1Codec],
  vp08: ["vpcC", 8, vpCodec],
  vp09: ["vpcC", 8, vpCodec],
};

function videoCodec(bytes, entry, inside) {
  const [type, least, write] = VIDEO_CONFIGURATIONS[entry.type] ?? [];
  const found = type && findBox(bytes, type, inside, entry.end);
  if (!found || found.end - found.body < least) return entry.type;
  return write(entry.type, bytes.subarray(found.body, found.end));
}

/**
 * What a decoder has to know beside the codec's name, in the form that WebCodecs' codec registry asks for; undefined
 * where it needs nothing, or nothing is there.
 */
export function configurationOf(bytes, kind, entry) {
  const content = (type, inside) => {
    const found = findBox(bytes, type, inside, entry.end);
    return found && bytes.slice(found.body, found.end);
  };
  if (kind === "video") {
    const [type] = VIDEO_CONFIGURATIONS[entry.type] ?? [];
    // VP8 and VP9 say all of it in their pictures.
    return type === undefined || type === "vpcC" ? undefined : content(type, entry.body + VISUAL_ENTRY);
  }
  const inside = soundBoxes(viewOf(bytes), entry);
  if (entry.type === "mp4a") {
    const found = content("esds", inside);
    return found && specificOf(found.subarray(4));
  }
  if (entry.type === "fLaC") {
    const found = content("dfLa", inside);
    return found && Uint8Array.of(0x66, 0x4c, 0x61, 0x43, ...found.subarray(4)); // "fLaC", then its blocks
  }
  return undefined;
}

function avcCodec(entry, fields) {
  return `${entry}.${hex(fields[1])}${hex(fields[2])}${hex(fields[3])}`;
}

function hevcCodec(entry, fields) {
  const space = ["", "A", "B", "C"][fields[1] >> 6];
  let compatibility = 0;
  for (let bit = 0; bit < 32; bit += 1) {
    if (fields[2 + (bit >> 3)] & (0x80 >> (bit & 7))) compatibility += 2 ** bit;
  }
  const constraints = Array.from(fields.subarray(6, 12));
  while (constraints.at(-1) === 0) constraints.pop();
  const level = `${fields[1] & 0x20 ? "H" : "L"}${fields[12]}`;
  const parts = [entry, space + (fields[1] & 0x1f), compatibility.toString(16), level];
  return [...parts, ...constraints.map((value) => value.toString(16))].join(".");
}

function av1Codec(entry, fields) {
  const depth = fields[2] & 0x40 ? (fields[2] & 0x20 ? 12 : 10) : 8;
  return `${entry}.${fields[1] >> 5}.${decimal(fields[1] & 0x1f)}${fields[2] & 0x80 ? "H" : "M"}.${decimal(depth)}`;
}

function vpCodec(entry, fields) {
  return `${entry}.${decimal(fields[4])}.${decimal(fields[5])}.${decimal(fields[6] >> 4)}`;
}

function soundCodec(bytes, entry, inside) {
  if (entry.type === "Opus") return "opus";
  if (entry.type === "fLaC") return "flac";
  if (entry.type !== "mp4a") return entry.type;
  const found = findBox(bytes, "esds", inside, entry.end);
  return found ? elementaryCodec(bytes.subarray(found.body + 4, found.end)) : entry.type;
}

const STREAM_DESCRIPTOR = 3;
const DECODER_DESCRIPTOR = 4;
const SPECIFIC_DESCRIPTOR = 5;
const AAC = 0x40;

/** ISO/IEC 14496-1 section 7.2.6: descriptors within descriptors, down to the decoder's. */
function decoderDescriptor(bytes) {
  const stream = descriptor(bytes, 0, STREAM_DESCRIPTOR);
  if (!stream) return undefined;
  const flags = bytes[stream.body + 2];
  let at = stream.body + 3;
  if (flags & 0x80) at += 2;
  if (flags & 0x40) at += 1 + bytes[at];
  if (flags & 0x20) at += 2;
  return descriptor(bytes, at, DECODER_DESCRIPTOR);
}

/** The codec's name out of the AudioSpecificConfig's first bits. */
function elementaryCodec(bytes) {
  const decoder = decoderDescriptor(bytes);
  if (!decoder) return "mp4a";
  const objectType = bytes[decoder.body];
  if (objectType !== AAC) return `mp4a.${hex(objectType)}`;
  const specific = descriptor(bytes, decoder.body + 13, SPECIFIC_DESCRIPTOR);
  if (!specific || specific.body >= bytes.length) return "mp4a.40.2";
  const first = bytes[specific.body];
  const kind = first >> 3 === 31 ? 32 + (((first & 7) << 3) | (bytes[specific.body + 1] >> 5)) : first >> 3;
  return `mp4a.40.${kind}`;
}

/** The AudioSpecificConfig itself, or undefined. */
function specificOf(bytes) {
  const decoder = decoderDescriptor(bytes);
  const specific = decoder && descriptor(bytes, decoder.body + 13, SPECIFIC_DESCRIPTOR);
  return specific && bytes.slice(specific.body, specific.body + specific.size);
}

function descriptor(bytes, start, tag) {
  if (bytes[start] !== tag) return undefined;
  let at = start + 1;
  let size = bytes[at] & 0x7f; // in seven bits a byte
  while (bytes[at] & 0x80) {
    at += 1;
    size = size * 128 + (bytes[at] & 0x7f);
  }
  return { body: at + 1, size };
}

// -- WebM -----------------------------------------------------------------------------------------------------------

const WEBM_CODECS = { V_VP8: "vp8", V_VP9: "vp9", A_OPUS: "opus", A_VORBIS: "vorbis" };

export function webmTracks(bytes) {
  const tracks = [];
  const walk = (start, end) => {
    for (const element of elements(bytes, start, end)) {
      if (element.id === ELEMENT.segment || element.id === ELEMENT.tracks) walk(element.body, element.end);
      if (element.id === ELEMENT.trackEntry) tracks.push(webmTrack(bytes, element));
    }
  };
  walk(0, bytes.length);
  return tracks.filter((track) => track.kind !== undefined);
}

function webmTrack(bytes, entry) {
  const track = { kind: undefined, codec: "unknown" };
  let configuration = new Uint8Array(0);
  for (const field of elements(bytes, entry.body, entry.end)) {
    if (field.id === ELEMENT.trackType) track.kind = { 1: "video", 2: "audio" }[bytes[field.body]];
    if (field.id === ELEMENT.codecId) track.codec = new TextDecoder().decode(bytes.subarray(field.body, field.end));
    if (field.id === ELEMENT.codecPrivate) configuration = bytes.subarray(field.body, field.end);
    if (field.id === ELEMENT.video) {
      for (const inner of elements(bytes, field.body, field.end)) {
        if (inner.id === ELEMENT.width) track.width = readUnsigned(bytes, inner.body, inner.end);
        if (inner.id === ELEMENT.height) track.height = readUnsigned(bytes, inner.body, inner.end);
      }
    }
  }
  track.codec = track.codec.replace(/\0+$/, "");
  if (track.codec === "V_AV1" && configuration.length >= 4) track.codec = av1Codec("av01", configuration);
  track.codec = WEBM_CODECS[track.codec] ?? track.codec;
  return track;
}
