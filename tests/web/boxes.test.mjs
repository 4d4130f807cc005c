import assert from "node:assert/strict";
import { test } from "node:test";

import { boxAt, boxes, findPath } from "../../sdp/web/assets/boxes.js";
import { ELEMENT, elementAt, elements } from "../../sdp/web/assets/elements.js";
import { big, box, bytesOf, element, openElement } from "./made.mjs";

test("boxes follow one another, and what is cut off is no box", () => {
  const bytes = bytesOf(box("ftyp", "abcd"), box("free"), big(100), "mdat", "xy");
  assert.deepEqual(
    [...boxes(bytes)].map(({ type, start, body, end }) => [type, start, body, end]),
    [
      ["ftyp", 0, 8, 12],
      ["free", 12, 20, 20],
    ],
  );
});

test("a box's head needs all of its bytes", () => {
  const bytes = box("moof", "abc");
  for (let length = 0; length < 8; length += 1) assert.equal(boxAt(bytes.subarray(0, length), 0), undefined);
  assert.equal(boxAt(bytes.subarray(0, 8), 0).end, 11);
});

test("a large size and an open one", () => {
  const large = bytesOf(big(1), "mdat", big(5 * 2 ** 32, 8));
  assert.deepEqual(boxAt(large, 0), { type: "mdat", start: 0, body: 16, end: 5 * 2 ** 32 });
  assert.equal(boxAt(large.subarray(0, 15), 0), undefined);
  assert.equal(boxAt(bytesOf(big(0), "mdat"), 0).end, Infinity);
});

test("a size smaller than its own head is no box", () => {
  for (const size of [2, 7]) assert.equal(boxAt(bytesOf(big(size), "moov"), 0), null);
  assert.equal(boxAt(bytesOf(big(1), "moov", big(15, 8)), 0), null);
});

test("a path leads inwards, or nowhere", () => {
  const bytes = bytesOf(box("free"), box("moov", box("trak", box("mdia", "!"))));
  const found = findPath(bytes, ["moov", "trak", "mdia"]);
  assert.deepEqual([...bytes.subarray(found.body, found.end)], [33]);
  assert.equal(findPath(bytes, ["moov", "mdia"]), undefined);
});

test("bytes that start past the buffer's own beginning are read in their place", () => {
  const bytes = bytesOf("junk", box("free", "abc")).subarray(4);
  assert.equal(boxAt(bytes, 0).end, 11);
});

test("elements have sizes of every width, exactly", () => {
  for (let width = 1; width <= 8; width += 1) {
    const bytes = element([0xec], width, big(0, 77));
    assert.deepEqual(elementAt(bytes, 0), { id: 0xec, start: 0, body: 1 + width, end: 1 + width + 77 });
    for (let length = 0; length < 1 + width; length += 1) {
      assert.equal(elementAt(bytes.subarray(0, length), 0), undefined);
    }
  }
});

test("an element of unknown size reaches to the end", () => {
  const bytes = openElement(big(ELEMENT.segment), element([0xec], 1, "ab"));
  assert.equal(elementAt(bytes, 0).end, Infinity);
  assert.equal(elementAt(bytesOf(big(ELEMENT.cluster), [0xff]), 0).end, Infinity);
  assert.equal([...elements(bytes)][0].end, bytes.length);
});

test("no element begins with a zero byte", () => {
  assert.equal(elementAt(bytesOf([0, 0, 0, 0]), 0), null);
  assert.equal(elementAt(bytesOf([0xec, 0]), 0), null);
});
