import assert from "node:assert/strict";
import { test } from "node:test";

import { backOff, feed, sleep } from "../../sdp/web/assets/feed.js";
import { bytesOf } from "./made.mjs";

/** A fetch() that gives each answer in turn; a function is called, to fail. */
function answers(...given) {
  return async (url, { signal }) => {
    assert.equal(signal.aborted, false);
    assert.ok(given.length > 0, "no more answers");
    const next = given.shift();
    return typeof next === "function" ? next(signal) : next;
  };
}

function answer(parts, { status = 200, breaks = false, headers = {} } = {}) {
  const body = new ReadableStream({
    pull(controller) {
      if (parts.length > 0) controller.enqueue(bytesOf(parts.shift()));
      else if (breaks) controller.error(new TypeError("network error"));
      else controller.close();
    },
  });
  return new Response(body, { status, headers: { ETag: '"e1"', "Content-Type": "video/mp4", ...headers } });
}

const unreachable = () => {
  throw new TypeError("fetch failed");
};

/** Collect events until `count` of them are there. */
async function collect(count, fetch) {
  const events = [];
  const waits = [];
  const pause = async (seconds) => void waits.push(seconds);
  for await (const event of feed("/a", { fetch, pause, random: () => 0.5 })) {
    events.push(event.kind === "bytes" ? String.fromCharCode(...event.bytes) : event);
    if (events.length === count) break;
  }
  return { events, waits };
}

const OPENED = { kind: "opened", epoch: '"e1"', contentType: "video/mp4", length: null };

test("a live stream's bytes come as they arrive, and its regular end is told", async () => {
  const { events } = await collect(4, answers(answer(["ab", "c"])));
  assert.deepEqual(events, [OPENED, "ab", "c", { kind: "closed" }]);
});

test("a recording says its length", async () => {
  const { events } = await collect(1, answers(answer(["ab"], { headers: { "Content-Length": "2" } })));
  assert.equal(events[0].length, 2);
});

test("after a break it connects again, and after bytes the waits begin anew", async () => {
  const fetch = answers(unreachable, unreachable, answer(["a"], { breaks: true }), answer(["b"]));
  const { events, waits } = await collect(7, fetch);
  assert.deepEqual(events, [
    { kind: "broken", wait: 0.25 },
    { kind: "broken", wait: 0.5 },
    OPENED,
    "a",
    { kind: "broken", wait: 0.25 },
    OPENED,
    "b",
  ]);
  assert.deepEqual(waits, [0.25, 0.5, 0.25]);
});

test("a refusal is told with its status", async () => {
  const { events } = await collect(2, answers(answer([], { status: 404 }), answer([])));
  assert.deepEqual(events, [{ kind: "refused", status: 404, wait: 0.25 }, OPENED]);
});

test("a refusal that says when to come again is obeyed, however often", async () => {
  const refusal = () => answer([], { status: 404, headers: { "Retry-After": "1" } });
  const { waits } = await collect(7, answers(...Array.from({ length: 6 }, refusal), answer([])));
  assert.deepEqual(waits, [1.25, 1.25, 1.25, 1.25, 1.25, 1.25]);
  const dated = answer([], { status: 503, headers: { "Retry-After": "Mon, 23 Nov 2026 15:00:00 GMT" } });
  assert.deepEqual((await collect(2, answers(dated, answer([])))).waits, [0.25]);
});

test("after a regular end it asks again: another epoch may follow", async () => {
  const { events } = await collect(5, answers(answer(["a"]), answer(["b"], { headers: { ETag: '"e2"' } })));
  assert.deepEqual(events.slice(2), [{ kind: "closed" }, { ...OPENED, epoch: '"e2"' }, "b"]);
});

test("whoever leaves the loop closes the connection", async () => {
  let connection;
  const fetch = async (url, { signal }) => {
    connection = signal;
    return answer(["a", "b"]);
  };
  await collect(2, fetch);
  assert.equal(connection.aborted, true);
});

test("an abort ends it, in an answer and between two", async () => {
  for (const failing of [false, true]) {
    const stop = new AbortController();
    const fetch = async (url, { signal }) => {
      if (failing) throw new TypeError("fetch failed");
      return new Response(
        new ReadableStream({
          start(controller) {
            controller.enqueue(bytesOf("a"));
            signal.addEventListener("abort", () => controller.error(signal.reason));
          },
        }),
      );
    };
    const kinds = [];
    for await (const event of feed("/a", { signal: stop.signal, fetch, pause: sleep, random: () => 0.5 })) {
      kinds.push(event.kind);
      if (event.kind !== "opened") stop.abort();
    }
    assert.deepEqual(kinds, failing ? ["broken"] : ["opened", "bytes"]);
  }
});

test("an error that is not the network's is not swallowed", async () => {
  const fetch = async () => {
    throw new RangeError("a bug");
  };
  await assert.rejects(collect(1, fetch), RangeError);
});

test("waits double up to a limit, and are spread", () => {
  const middle = [0, 1, 2, 3, 4, 5, 50].map((failures) => backOff(failures, () => 0.5));
  assert.deepEqual(middle, [0.25, 0.5, 1, 2, 4, 8, 8]);
  assert.equal(backOff(2, () => 0), 0.75);
  assert.equal(backOff(2, () => 1), 1.25);
});
