import assert from "node:assert/strict";
import { test } from "node:test";

import { ELEMENT } from "../../sdp/web/assets/elements.js";
import { containerOf, splitterFor } from "../../sdp/web/assets/segments.js";
import { FTYP, big, box, bytesOf, cuttings, element, movie, openElement } from "./made.mjs";

/** Push all, and join what belongs together: [[initialization, bytes as a string], ...]. */
function split(container, cuts) {
  const splitter = splitterFor(container);
  const runs = [];
  for (const cut of cuts) {
    for (const { initialization, bytes } of splitter.push(cut)) {
      const text = Buffer.from(bytes).toString("latin1");
      if (!initialization && runs.at(-1)?.[0] === false) runs.at(-1)[1] += text;
      else runs.push([initialization, text]);
    }
  }
  return runs;
}

const text = (...parts) => Buffer.from(bytesOf(...parts)).toString("latin1");

const FIRST = bytesOf(FTYP, movie());
const OTHER = movie(box("trak"));
const FRAGMENT = bytesOf(box("prft", big(7, 24)), box("moof", "head"), box("mdat", big(0, 100)));

const MP4 = {
  "an initialization segment, then media": [
    [FIRST, FRAGMENT, FRAGMENT],
    [[true, FIRST], [false, bytesOf(FRAGMENT, FRAGMENT)]],
  ],
  "another initialization segment later": [
    [FIRST, FRAGMENT, FTYP, OTHER, FRAGMENT],
    [[true, FIRST], [false, FRAGMENT], [true, bytesOf(FTYP, OTHER)], [false, FRAGMENT]],
  ],
  "a movie without a file type": [
    [OTHER, FRAGMENT],
    [[true, OTHER], [false, FRAGMENT]],
  ],
  "a file type that no movie follows": [
    [FTYP, box("free", "x"), OTHER, FRAGMENT],
    [[true, OTHER], [false, FRAGMENT]],
  ],
  "media before any initialization segment": [
    [FRAGMENT, FIRST, FRAGMENT],
    [[true, FIRST], [false, FRAGMENT]],
  ],
  "a box without an end": [
    [FIRST, big(0), "mdat", "all the rest"],
    [[true, FIRST], [false, bytesOf(big(0), "mdat", "all the rest")]],
  ],
};

for (const [what, [parts, wanted]] of Object.entries(MP4)) {
  test(`MP4: ${what}, however it is cut`, () => {
    for (const cuts of cuttings(bytesOf(...parts))) {
      assert.deepEqual(split("mp4", cuts), wanted.map(([kind, bytes]) => [kind, text(bytes)]));
    }
  });
}

test("MP4: media pass before their box is whole", () => {
  const splitter = splitterFor("mp4");
  splitter.push(FIRST);
  const half = bytesOf(big(1000), "mdat", "abc");
  assert.deepEqual(splitter.push(half), [{ initialization: false, bytes: half }]);
});

test("MP4: damage and excess are said", () => {
  assert.throws(() => split("mp4", [bytesOf(FIRST, big(3), "moof")]), /damaged/);
  assert.throws(() => split("mp4", [bytesOf(big(1 << 21), "moov")]), /too large/);
  assert.throws(() => split("mp4", [bytesOf(FTYP, big(1 << 21), "moov")]), /too large/);
});

const HEAD = bytesOf(
  element(big(ELEMENT.header), 1, "webm"),
  openElement(big(ELEMENT.segment), element([0xec], 8, big(0, 60)), element(big(ELEMENT.tracks), 2, "tracks")),
);
const CLUSTER = openElement(big(ELEMENT.cluster), "frames");

test("WebM: all up to the first cluster is the initialization segment, however it is cut", () => {
  for (const cuts of cuttings(bytesOf(HEAD, CLUSTER, CLUSTER))) {
    const wanted = [[true, text(HEAD)], [false, text(CLUSTER, CLUSTER)]];
    assert.deepEqual(split("webm", cuts), wanted);
  }
});

test("WebM: damage and excess are said", () => {
  assert.throws(() => split("webm", [bytesOf(element(big(ELEMENT.header), 1, "webm"), [0, 0])]), /damaged/);
  assert.throws(() => split("webm", [bytesOf([0xec, 0x10], big(1 << 21, 3))]), /too large/);
});

test("what does not follow on is read from a box, or a cluster, on", () => {
  const mp4 = splitterFor("mp4");
  assert.equal(mp4.push(FIRST).length, 1);
  mp4.push(FRAGMENT.subarray(0, FRAGMENT.length - 2));
  mp4.jump();
  assert.deepEqual(mp4.push(FRAGMENT), [{ initialization: false, bytes: FRAGMENT }]);
  const webm = splitterFor("webm");
  assert.deepEqual(webm.push(HEAD), []); // whether more of it follows is not known before a cluster has come
  webm.jump();
  assert.deepEqual(webm.push(CLUSTER).map(({ bytes }) => text(bytes)), [text(HEAD), text(CLUSTER)]);
  webm.jump();
  assert.deepEqual(webm.push(CLUSTER).map(({ bytes }) => text(bytes)), [text(CLUSTER)]);
  const cut = splitterFor("webm");
  cut.push(HEAD.subarray(0, HEAD.length - 1));
  cut.jump();
  assert.deepEqual(cut.push(bytesOf(HEAD, CLUSTER)).map(({ bytes }) => text(bytes)), [text(HEAD), text(CLUSTER)]);
});

test("the container shows in its first bytes", () => {
  const packets = new Uint8Array(400);
  packets[0] = packets[188] = 0x47;
  assert.equal(containerOf(FIRST), "mp4");
  assert.equal(containerOf(FRAGMENT), "mp4");
  assert.equal(containerOf(HEAD), "webm");
  assert.equal(containerOf(packets), "mpegts");
  assert.equal(containerOf(bytesOf("ID3", big(0, 12))), "sound");
  assert.equal(containerOf(bytesOf([0xff, 0xf1], big(0, 12))), "sound");
  assert.equal(containerOf(bytesOf("hello, world")), "unknown");
  assert.equal(containerOf(FIRST.subarray(0, 11)), undefined);
  packets[188] = 0;
  assert.equal(containerOf(packets), "unknown");
  assert.equal(splitterFor("mpegts"), null);
});
