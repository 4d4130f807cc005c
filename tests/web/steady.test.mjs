import assert from "node:assert/strict";
import { test } from "node:test";

import { Steady } from "../../sdp/web/assets/steady.js";

test("it begins with what comes first, and goes at its own pace however fast the rest comes", () => {
  const clock = new Steady();
  assert.equal(clock.update(0).position, null);
  for (let time = 5_000_000; time < 9_000_000; time += 40_000) clock.arrived(time, 10, { duration: 40_000 });
  assert.equal(clock.update(1000).position, 5_000_000);
  const { position, rate, state } = clock.update(501_000);
  assert.deepEqual([position, rate, state], [5_500_000, 1, "playing"]);
});

test("where bytes are lacking it waits, and goes on from there", () => {
  const clock = new Steady();
  clock.arrived(0, 0, { duration: 100_000 });
  clock.update(0);
  assert.equal(clock.update(150_000).position, 100_000);
  assert.equal(clock.update(260_000).state, "stalled");
  assert.equal(clock.stalls, 1);
  clock.arrived(100_000, 300_000, { duration: 500_000 });
  assert.equal(clock.update(300_000).state, "playing");
  assert.equal(clock.update(350_000).position, 190_000);
});
