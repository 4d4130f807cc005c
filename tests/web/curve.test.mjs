import assert from "node:assert/strict";
import { test } from "node:test";

import { Series, ceiling } from "../../sdp/web/assets/curve.js";
import { duration, offsetWords } from "../../sdp/web/assets/panel.js";
import { Rate } from "../../sdp/web/assets/rate.js";

test("the newest value stands at the right, and a gap parts the line", () => {
  const series = new Series(5);
  for (const value of [9, 1, 2, NaN, 4]) series.add(value);
  series.add(5);
  assert.deepEqual(series.values, [1, 2, null, 4, 5]);
  assert.deepEqual(series.lines(40, 10), [[[0, 8], [10, 6]], [[30, 2], [40, 0]]]);
  const young = new Series(5);
  young.add(1);
  assert.deepEqual(young.lines(40, 10), [[[40, 0]]]);
});

test("an axis ends at a round number that is not below", () => {
  assert.deepEqual([0, 0.012, 0.2, 1, 3, 5.1, 800].map(ceiling), [1, 0.02, 0.2, 1, 5, 10, 1000]);
});

test("a duration is said as a person reads it", () => {
  const said = [null, NaN, 0.0123, -0.5, 1.9994, 2, 59.94, 61, 3723].map(duration);
  assert.deepEqual(said, ["–", "–", "12 ms", "-500 ms", "1999 ms", "2.0 s", "59.9 s", "1:01", "1:02:03"]);
});

test("a clock's offset is said with its error", () => {
  assert.equal(offsetWords(null), "–");
  assert.equal(offsetWords({ offset: -2.04, error: 0.26 }), "−2.0 ± 0.3 ms");
});

test("a bit rate is that of the last three seconds", () => {
  const rate = new Rate();
  for (let at = 0; at <= 5000; at += 1000) rate.add(at, 1000);
  assert.equal(rate.at(5000), 8000);
  assert.equal(rate.at(7000), 8000 / 3);
});
