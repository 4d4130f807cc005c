import assert from "node:assert/strict";
import { test } from "node:test";

import { Offset, follow } from "../../sdp/web/assets/clock.js";

test("the shortest round trip says most, and half of it is the error", () => {
  const offset = new Offset();
  assert.equal(offset.best, null);
  offset.answered(1000, 6100, 1200);
  assert.deepEqual(offset.best, { offset: 5000, error: 100 });
  offset.answered(2000, 7004, 2006);
  offset.answered(3000, 8300, 3100);
  assert.deepEqual(offset.best, { offset: 5001, error: 3 });
});

test("what is long ago is forgotten, and what cannot be is not heard", () => {
  const offset = new Offset();
  offset.answered(0, 100, 1);
  offset.answered(10, 100, 9);
  offset.answered(10, NaN, 11);
  for (let at = 100; at < 116; at += 1) offset.answered(at, at + 200, at + 4);
  assert.deepEqual(offset.best, { offset: 198, error: 2 });
});

test("it asks the Distributor until it is told to stop, whatever fails", async () => {
  const stop = new AbortController();
  const asked = [];
  let now = 0;
  const fetch = async (url) => {
    asked.push(String(url));
    now += 10;
    if (asked.length === 2) throw new TypeError("network error");
    if (asked.length === 4) stop.abort();
    return new Response("5000000\n");
  };
  const offset = follow("http://there:8080/a/b?c", stop.signal, { fetch, now: () => now });
  while (asked.length < 4) await new Promise(setImmediate);
  await new Promise(setImmediate);
  assert.deepEqual([...new Set(asked)], ["http://there:8080/-/time"]);
  assert.deepEqual(offset.best, { offset: 4995, error: 5 });
});
