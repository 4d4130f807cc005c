import assert from "node:assert/strict";
import { test } from "node:test";

import { backOff, sleep } from "../../sdp/web/assets/waiting.js";

test("waits double up to a limit, and are spread", () => {
  const middle = [0, 1, 2, 3, 4, 5, 50].map((failures) => backOff(failures, () => 0.5));
  assert.deepEqual(middle, [0.25, 0.5, 1, 2, 4, 8, 8]);
  assert.equal(backOff(2, () => 0), 0.75);
  assert.equal(backOff(2, () => 1), 1.25);
});

test("a sleep ends at once where nobody waits for it any more", async () => {
  const stop = new AbortController();
  const slept = sleep(3600, stop.signal);
  stop.abort();
  await slept;
  await sleep(3600, stop.signal);
});
