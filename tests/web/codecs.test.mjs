import assert from "node:assert/strict";
import { test } from "node:test";

import { describe } from "../../sdp/web/assets/codecs.js";
import { ELEMENT } from "../../sdp/web/assets/elements.js";
import { FTYP, big, box, bytesOf, element, movie, openElement, sound, track, visual } from "./made.mjs";

const bytes = (digits) => Buffer.from(digits.replaceAll(" ", ""), "hex");
const esds = (digits) => box("esds", big(0), bytes(digits));

const ENTRIES = {
  "avc1.42c01f": visual("avc1", 640, 360, box("avcC", bytes("01 42 c0 1f ff"))),
  "avc3.640028": visual("avc3", 640, 360, box("btrt", big(0, 12)), box("avcC", bytes("01 64 00 28 ff"))),
  "hvc1.1.6.L93.b0": visual("hvc1", 640, 360, box("hvcC", bytes("01 01 60000000 b00000000000 5d f000"))),
  "hev1.A2.4.H120.90.8": visual("hev1", 640, 360, box("hvcC", bytes("01 62 20000000 900800000000 78 f000"))),
  "av01.0.04M.08": visual("av01", 640, 360, box("av1C", bytes("81 04 0c 00"))),
  "av01.2.19H.12": visual("av01", 640, 360, box("av1C", bytes("81 53 e0 00"))),
  "av01.0.08M.10": visual("av01", 640, 360, box("av1C", bytes("81 08 4c 00"))),
  "vp09.02.31.10": visual("vp09", 640, 360, box("vpcC", bytes("01000000 02 1f a3 02 02 02 0000"))),
  "mp4a.40.2": sound("mp4a", esds("03 80808022 0001 00 04 80808014 40 15 000000 00000000 00000000 05 80808002 1190")),
  "mp4a.40.5": sound("mp4a", esds("03 19 0001 00 04 11 40 15 000000 00000000 00000000 05 02 2b92")),
  "mp4a.40.42": sound("mp4a", esds("03 19 0001 00 04 11 40 15 000000 00000000 00000000 05 02 f94c")),
  "mp4a.6b": sound("mp4a", esds("03 15 0001 00 04 0d 6b 15 000000 00000000 00000000")),
  "mp4a.67": sound("mp4a", esds("03 1c 0001 e0 0002 03 616263 0005 04 0d 67 15 000000 00000000 00000000")),
  opus: sound("Opus", box("dOps", big(0, 11))),
  flac: sound("fLaC", box("dfLa", big(0, 42))),
  "ec-3": sound("ec-3"),
  mp4v: visual("mp4v", 640, 360),
  avc1: visual("avc1", 640, 360, box("avcC", [1, 2])),
  mp4a: sound("mp4a"),
};

for (const [codec, entry] of Object.entries(ENTRIES)) {
  const kind = /^(mp4a|opus|flac|ec-3)/.test(codec) ? "audio" : "video";
  test(`MP4: ${codec}`, () => {
    const found = describe("mp4", bytesOf(FTYP, movie(track(kind === "video" ? "vide" : "soun", entry))));
    assert.equal(found.mime, `${kind}/mp4; codecs="${codec}"`);
    assert.equal(found.tracks[0].width, kind === "video" ? 640 : undefined);
  });
}

test("MP4: each track of picture and sound, and no other", () => {
  const tracks = [
    track("soun", ENTRIES["mp4a.40.2"]),
    track("meta", box("mett", big(0, 8))),
    track("vide", ENTRIES["avc1.42c01f"]),
  ];
  const found = describe("mp4", movie(...tracks));
  assert.equal(found.mime, 'video/mp4; codecs="mp4a.40.2,avc1.42c01f"');
  assert.deepEqual(found.tracks[1], { kind: "video", codec: "avc1.42c01f", width: 640, height: 360 });
});

test("MP4: a movie that is cut off anywhere gives fewer tracks, and no exception", () => {
  const whole = bytesOf(FTYP, movie(track("vide", ENTRIES["avc1.42c01f"]), track("soun", ENTRIES["mp4a.40.2"])));
  for (let at = 0; at < whole.length; at += 1) {
    assert.deepEqual(describe("mp4", whole.subarray(0, at)).tracks, []);
    const damaged = Uint8Array.from(whole);
    damaged[at] ^= 0xff;
    assert.ok(describe("mp4", damaged).tracks.length <= 2);
  }
});

function webm(...entries) {
  const tracks = element(big(ELEMENT.tracks), 8, ...entries);
  return bytesOf(element(big(ELEMENT.header), 1, "webm"), openElement(big(ELEMENT.segment), tracks));
}

function entry(type, codec, ...more) {
  return element([0xae], 2, element([0x83], 1, [type]), element([0x86], 1, codec), ...more);
}

test("WebM: picture and sound", () => {
  const size = element([0xe0], 1, element([0xb0], 1, [2, 128]), element([0xba], 1, [1, 104]));
  const found = describe("webm", webm(entry(1, "V_VP9", size), entry(2, "A_OPUS\0"), entry(17, "S_TEXT/UTF8")));
  assert.equal(found.mime, 'video/webm; codecs="vp9,opus"');
  assert.deepEqual(found.tracks[0], { kind: "video", codec: "vp9", width: 640, height: 360 });
});

test("WebM: AV1 says its profile; what WebM does not know keeps its own name", () => {
  const av1 = entry(1, "V_AV1", element([0x63, 0xa2], 1, bytes("81 04 0c 00")));
  assert.equal(describe("webm", webm(av1)).mime, 'video/webm; codecs="av01.0.04M.08"');
  assert.equal(describe("webm", webm(entry(2, "A_FLAC"))).mime, 'audio/webm; codecs="A_FLAC"');
});
