import assert from "node:assert/strict";
import { test } from "node:test";

import { PartsReader, boundaryOf, parseContentRange } from "../../sdp/web/assets/parts.js";
import { bytesOf, cuttings } from "./made.mjs";

const HEAD = "--gap\r\nContent-Range: bytes 10-14/*\r\nCapture-Time: 17\r\nReceived-Time: 18\r\nRandom-Access: ?1\r\n\r\n";
const WHOLE = bytesOf(
  HEAD,
  "--gap", // content may be anything, the delimiter too
  "\r\n--gap\r\ncontent-range:bytes 15-15/20\r\nInitialization: ?1\r\n\r\n",
  "x",
  "\r\n--gap--\r\nwhat follows is nobody's",
);

const PART = { complete: null, captured: null, received: null, randomAccess: false, initialization: false };
const EVENTS = [
  { kind: "part", ...PART, start: 10, end: 15, captured: 17, received: 18, randomAccess: true },
  { kind: "bytes", offset: 10, text: "--gap" },
  { kind: "part", ...PART, start: 15, end: 16, complete: 20, initialization: true },
  { kind: "bytes", offset: 15, text: "x" },
  { kind: "end" },
];

/** Runs of content put together again, wherever they were cut. */
function read(reader, cuts) {
  const events = [];
  for (const { bytes, ...event } of cuts.flatMap((cut) => reader.push(cut))) {
    const last = events.at(-1);
    if (bytes === undefined) {
      events.push(event);
    } else if (last.kind === "bytes") {
      assert.equal(event.offset, last.offset + last.text.length);
      last.text += String.fromCharCode(...bytes);
    } else {
      events.push({ ...event, text: String.fromCharCode(...bytes) });
    }
  }
  return events;
}

test("parts, their content and the end are told, however they are cut", () => {
  for (const cuts of cuttings(WHOLE)) assert.deepEqual(read(new PartsReader("gap"), cuts), EVENTS);
});

test("a part's content is given out as far as it is here", () => {
  const reader = new PartsReader("gap");
  assert.deepEqual(read(reader, [bytesOf(HEAD, "--")]), [EVENTS[0], { kind: "bytes", offset: 10, text: "--" }]);
});

const WRONG = {
  "another boundary": "--pag\r\nContent-Range: bytes 0-1/*\r\n\r\nab",
  "no range": "--gap\r\nCapture-Time: 1\r\n\r\nab",
  "a range without positions": "--gap\r\nContent-Range: bytes */5\r\n\r\nab",
  "a part that is longer than it says": "--gap\r\nContent-Range: bytes 0-1/*\r\n\r\nabc\r\n--gap\r\nContent-Range: bytes 2-3/*\r\n\r\n",
  "a head without an end": `--gap\r\nX: ${"y".repeat(9000)}`,
};

for (const [what, text] of Object.entries(WRONG)) {
  test(`refused: ${what}`, () => assert.throws(() => new PartsReader("gap").push(bytesOf(text)), Error));
}

test("a boundary is read from its Content-Type", () => {
  assert.equal(boundaryOf("multipart/byteranges; boundary=gap7"), "gap7");
  assert.equal(boundaryOf('Multipart/ByteRanges; charset=x; boundary="a b"'), "a b");
  for (const other of [null, "", "video/mp4", "multipart/mixed; boundary=a", "multipart/byteranges"]) {
    assert.equal(boundaryOf(other), null);
  }
});

test("a Content-Range is read strictly", () => {
  assert.deepEqual(parseContentRange("bytes 0-0/1"), { start: 0, end: 1, complete: 1 });
  assert.deepEqual(parseContentRange("bytes 5-9/*"), { start: 5, end: 10, complete: null });
  for (const wrong of [null, "bytes */5", "bytes 5-4/*", "bytes +1-2/*", "bytes 1-2", "items 1-2/*", "bytes 1-99999999999999999/*"]) {
    assert.equal(parseContentRange(wrong), null);
  }
});
