import assert from "node:assert/strict";
import { test } from "node:test";

import { Foreign, Place, get } from "../../sdp/web/assets/get.js";
import { sleep } from "../../sdp/web/assets/waiting.js";
import { bytesOf } from "./made.mjs";

/** A fetch() that gives each answer in turn and keeps the requests; a function is called, to fail. */
function answers(...given) {
  const fetch = async (url, { signal, headers }) => {
    assert.equal(signal.aborted, false);
    assert.ok(given.length > 0, "no more answers");
    fetch.asked.push(headers);
    const next = given.shift();
    return typeof next === "function" ? next(signal) : next;
  };
  fetch.asked = [];
  return fetch;
}

function answer(status, headers = {}, parts = [], breaks = false) {
  const body = new ReadableStream({
    pull(controller) {
      if (parts.length > 0) controller.enqueue(bytesOf(parts.shift()));
      else if (breaks) controller.error(new TypeError("network error"));
      else controller.close();
    },
  });
  return new Response(status === 204 ? null : body, { status, headers: { ETag: '"e1"', ...headers } });
}

const MULTIPART = { "Content-Type": "multipart/byteranges; boundary=b" };
const part = (start, text, complete = "*") =>
  `--b\r\nContent-Range: bytes ${start}-${start + text.length - 1}/${complete}\r\n\r\n${text}\r\n`;

const unreachable = () => {
  throw new TypeError("fetch failed");
};

/** Collect events until `count` of them are there; a part as its start, bytes as their text. */
async function collect(count, fetch, place = new Place()) {
  const events = [];
  const waits = [];
  const pause = async (seconds) => void waits.push(seconds);
  for await (const event of get("/a", place, { fetch, pause, random: () => 0.5 })) {
    if (event.kind === "part") events.push(event.start);
    else events.push(event.kind === "bytes" ? String.fromCharCode(...event.bytes) : event);
    if (events.length === count) break;
  }
  return { events, waits, asked: fetch.asked, place };
}

const OPENED = { kind: "opened", epoch: '"e1"' };
const CONSUMER = { "Connection-Type": "consumer" };
const NEWEST = { ...CONSUMER, Accept: "multipart/byteranges" };

test("who has nothing says so, and is sent parts", async () => {
  const { events, asked, place } = await collect(6, answers(answer(206, MULTIPART, [part(0, "ab"), part(7, "c"), "--b--"])));
  assert.deepEqual(events, [OPENED, 0, "ab", 7, "c", { kind: "closed", recorded: false }]);
  assert.deepEqual(asked, [{ ...NEWEST, "Content-Range": "bytes */0" }]);
  assert.equal(place.end, 8);
});

test("after a break it says what it has, and of which epoch", async () => {
  const fetch = answers(
    unreachable,
    answer(206, MULTIPART, [part(0, "ab").slice(0, -3)], true),
    answer(206, MULTIPART, [part(1, "b")]),
  );
  const { events, waits, asked } = await collect(8, fetch);
  assert.deepEqual(events.slice(0, 5), [{ kind: "broken", wait: 0.25 }, OPENED, 0, "a", { kind: "broken", wait: 0.25 }]);
  assert.deepEqual(waits, [0.25, 0.25]);
  assert.deepEqual(asked[2], { ...NEWEST, "If-Match": '"e1"', "Content-Range": "bytes 0-0/*" });
});

for (const status of [412, 416]) {
  test(`${status}: what it has is of no use any more, and it asks anew at once`, async () => {
    const fetch = answers(answer(status), answer(206, { ...MULTIPART, ETag: '"e2"' }, [part(0, "a")]));
    const { events, asked } = await collect(2, fetch, new Place({ epoch: '"e1"', end: 9 }));
    assert.deepEqual(events, [{ kind: "replaced", wait: 0 }, { kind: "opened", epoch: '"e2"' }]);
    assert.deepEqual(asked[1], { ...NEWEST, "Content-Range": "bytes */0" });
  });
}

test("who follows asks for every byte from a place on", async () => {
  const fetch = answers(answer(206, { "Content-Range": "bytes 5-9007199254740991/*" }, ["abc"]), answer(206, MULTIPART));
  const { events, asked } = await collect(5, fetch, new Place({ epoch: '"e1"', end: 5, follow: true }));
  assert.deepEqual(events, [OPENED, 5, "abc", { kind: "closed", recorded: false }, OPENED]);
  const range = (first) => ({ ...CONSUMER, "If-Match": '"e1"', Range: `bytes=${first}-9007199254740991` });
  assert.deepEqual(asked, [range(5), range(8)]);
});

test("what has ended is told", async () => {
  assert.deepEqual((await collect(1, answers(answer(204)))).events, [{ kind: "closed", recorded: true }]);
  const { events } = await collect(4, answers(answer(206, MULTIPART, [part(0, "ab", "2")])));
  assert.deepEqual(events[3], { kind: "closed", recorded: true });
  const single = answers(answer(206, { "Content-Range": "bytes 0-1/2" }, ["ab"]));
  assert.deepEqual((await collect(4, single)).events[3], { kind: "closed", recorded: true });
});

test("a refusal is told with its status, and one that says when to come again is obeyed", async () => {
  const refusal = () => answer(404, { "Retry-After": "1" });
  const { events, waits } = await collect(4, answers(refusal(), refusal(), refusal(), answer(503)));
  assert.deepEqual(events[0], { kind: "refused", status: 404, wait: 1.25 });
  assert.deepEqual(events[3], { kind: "refused", status: 503, wait: 2 });
  assert.deepEqual(waits, [1.25, 1.25, 1.25]);
});

test("a server that answers otherwise is none of ours", async () => {
  await assert.rejects(collect(2, answers(answer(200, {}, ["a"]))), Foreign);
  await assert.rejects(collect(2, answers(new Response("a", { status: 206, headers: MULTIPART }))), Foreign);
});

test("whoever leaves the loop closes the connection", async () => {
  let connection;
  const fetch = async (url, { signal }) => {
    connection = signal;
    return answer(206, MULTIPART, [part(0, "a"), part(1, "b")]);
  };
  await collect(2, fetch);
  assert.equal(connection.aborted, true);
});

test("an abort ends it, in an answer and between two", async () => {
  for (const failing of [false, true]) {
    const stop = new AbortController();
    const fetch = async (url, { signal }) => {
      if (failing) throw new TypeError("fetch failed");
      const start = (controller) => {
        controller.enqueue(bytesOf(part(0, "a")));
        signal.addEventListener("abort", () => controller.error(signal.reason));
      };
      return new Response(new ReadableStream({ start }), { status: 206, headers: { ETag: '"e"', ...MULTIPART } });
    };
    const kinds = [];
    for await (const event of get("/a", new Place(), { signal: stop.signal, fetch, pause: sleep, random: () => 0.5 })) {
      kinds.push(event.kind);
      if (event.kind === "bytes" || failing) stop.abort();
    }
    assert.deepEqual(kinds, failing ? ["broken"] : ["opened", "part", "bytes"]);
  }
});

test("a connection that stays silent is given up, and the next one goes on", async (context) => {
  context.mock.timers.enable({ apis: ["setTimeout"] });
  const silent = (signal) =>
    new Promise((_, reject) => {
      signal.addEventListener("abort", () => reject(signal.reason));
      queueMicrotask(() => context.mock.timers.tick(60_000));
    });
  const { events } = await collect(2, answers(silent, answer(206, MULTIPART, [part(0, "a")])));
  assert.deepEqual(events, [{ kind: "silent", wait: 0.25 }, OPENED]);
});

test("an error that is not the network's is not swallowed", async () => {
  const fetch = async () => {
    throw new RangeError("a bug");
  };
  await assert.rejects(collect(1, fetch), RangeError);
});
