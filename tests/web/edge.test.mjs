import assert from "node:assert/strict";
import { test } from "node:test";

import { Edge } from "../../sdp/web/assets/edge.js";

const near = (actual, wanted) => assert.ok(Math.abs(actual - wanted) < 1e-6, `${actual} is not ${wanted}`);

/** Fragments of `length` seconds, each arriving whole as it ends, from media time 100 and wall time `from` on. */
function arrivals(edge, length, from, until, delay = 0) {
  const count = Math.round((until - from) / length);
  for (let index = 1; index <= count; index += 1) {
    const at = from + index * length;
    edge.arrived(at + delay, at + 100);
  }
}

test("nothing is done before anything has arrived", () => {
  const edge = new Edge();
  assert.equal(edge.delay(1), null);
  assert.deepEqual(edge.steer(1, 0, []), { rate: 1, seek: null, behind: 0 });
});

for (const length of [0.02, 1, 6]) {
  test(`fragments of ${length} s need a delay of their own length and the margin`, () => {
    const edge = new Edge();
    arrivals(edge, length, 0, 30);
    near(edge.delay(30), -100 + length + 0.03);
    const position = 130 - length - 0.03;
    const { rate, seek, behind } = edge.steer(30, position, [[100, 130]]);
    assert.deepEqual([rate, seek], [1, null]);
    near(behind, length + 0.03);
  });
}

test("the burst at the beginning says nothing of later fragments", () => {
  const edge = new Edge();
  for (let index = 0; index < 200; index += 1) edge.arrived(0.4 + index / 100, 98 + index / 50); // a backlog of 2 s
  arrivals(edge, 0.02, 2.4, 4);
  near(edge.delay(4), -100 + 0.05);
});

test("one late arrival counts, until it is seconds ago", () => {
  const edge = new Edge();
  arrivals(edge, 0.02, 0, 5);
  edge.arrived(5.4, 105.4);
  arrivals(edge, 0.02, 5.4, 10);
  near(edge.delay(10), -100 + 0.43);
  arrivals(edge, 0.02, 10, 20);
  near(edge.delay(20), -100 + 0.05);
});

test("a clock that drifts is followed", () => {
  const edge = new Edge();
  for (let index = 1; index <= 100_000; index += 1) edge.arrived(index * 0.02, index * 0.02 * 1.001);
  const now = 2000;
  assert.ok(Math.abs(edge.delay(now) - (now - 2002 + 0.05)) < 0.02);
});

test("speed corrects gently: within five in a hundred, and not at all nearby", () => {
  const edge = new Edge();
  arrivals(edge, 0.02, 0, 30);
  const wanted = 130 - 0.05;
  const rateAt = (position) => edge.steer(30, position, [[100, 130]]).rate;
  near(rateAt(wanted - 0.01), 1);
  near(rateAt(wanted - 0.1), 1.03);
  near(rateAt(wanted - 2.9), 1.05);
  near(rateAt(wanted + 0.04), 0.99);
  assert.ok(rateAt(125) <= 1.05);
});

test("too slow a delay is made longer by speed alone", () => {
  const edge = new Edge();
  arrivals(edge, 1, 0, 30);
  assert.deepEqual(edge.steer(30, 129.9, [[100, 130]]).rate, 0.95);
});

test("more than a few seconds behind, it jumps", () => {
  const edge = new Edge();
  arrivals(edge, 0.02, 0, 30);
  const { rate, seek, behind } = edge.steer(30, 120, [[100, 130]]);
  near(seek, 130 - 0.05);
  near(behind, 0.05);
  assert.equal(rate, 1);
});

test("soon after the beginning it jumps for less", () => {
  const edge = new Edge();
  arrivals(edge, 0.02, 0, 1);
  near(edge.steer(1, 100.4, [[100, 101]]).seek, 101 - 0.05);
  assert.equal(edge.steer(1, 100.8, [[100, 101]]).seek, null);
});

test("a gap is jumped over, and playback never leaves what is there", () => {
  const edge = new Edge();
  arrivals(edge, 0.02, 0, 30);
  near(edge.steer(30, 120, [[100, 110], [129.99, 130]]).seek, 129.99);
  near(edge.steer(30, 0, [[100, 130]]).seek, 129.95);
  assert.equal(edge.steer(30, 130, [[100, 130]]).seek, null);
});

test("after a break, and after a reset, all is learned anew", () => {
  const edge = new Edge();
  arrivals(edge, 0.02, 0, 5);
  edge.arrived(25, 106);
  near(edge.delay(25), 25 - 106 + 0.1);
  edge.arrived(26, 3); // media times begin again
  near(edge.delay(26), 26 - 3 + 0.1);
  edge.reset();
  assert.equal(edge.delay(26), null);
});
