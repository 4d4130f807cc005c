import assert from "node:assert/strict";
import { test } from "node:test";

import { bitRate, greatestLag, ordered, told } from "../../sdp/web/assets/streams.js";

const stream = (name, state = "live", content_type = "video/mp4") => ({ name, state, content_type });

// The same rows as in test_pages.py: page and script say a rate alike.
for (const [rate, words] of [
  [0, "0 bit/s"],
  [999, "999 bit/s"],
  [999.7, "1.00 kbit/s"],
  [1000, "1.00 kbit/s"],
  [64_000, "64.0 kbit/s"],
  [999_900, "1.00 Mbit/s"],
  [1_205_959, "1.21 Mbit/s"],
  [123_456_789, "123 Mbit/s"],
  [2.5e9, "2.50 Gbit/s"],
]) {
  test(`${rate} bits a second are ${words}`, () => assert.equal(bitRate(rate), words));
}

test("live comes first, then stalled, then ended, then what is unknown; each by name", () => {
  const streams = [stream("x", "odd"), stream("c", "ended"), stream("b", "stalled"), stream("z"), stream("a/b")];
  assert.deepEqual(ordered(streams).map(({ name }) => name), ["a/b", "z", "b", "c", "x"]);
});

test("the greatest lag is that of the slowest consumer", () => {
  const lagging = (...lags) => ({ consumers: lags.map((lag_ms) => ({ lag_ms })) });
  assert.equal(greatestLag(lagging()), null);
  assert.equal(greatestLag(lagging(0)), 0);
  assert.equal(greatestLag(lagging(3, 1250.5, 0)), 1.2505);
});

for (const [connection, known, state, words] of [
  [{ kind: "connecting" }, undefined, "waiting", /connecting/],
  [{ kind: "open" }, stream("a"), "live", /^live$/],
  [{ kind: "open" }, stream("a", "stalled"), "stalled", /stalled/],
  [{ kind: "open" }, undefined, "live", /^live$/],
  [{ kind: "refused", status: 404 }, null, "waiting", /waiting for the stream/],
  [{ kind: "refused", status: 503 }, null, "waiting", /503.*trying again/],
  [{ kind: "refused", status: 401 }, null, "ended", /not allowed/],
  [{ kind: "broken" }, stream("a"), "waiting", /trying again/],
  [{ kind: "over" }, stream("a", "ended"), "ended", /^ended$/],
]) {
  test(`${JSON.stringify(connection)} with ${known?.state} is told as ${state}`, () => {
    const found = told(connection, known);
    assert.equal(found.state, state);
    assert.match(found.words, words);
  });
}
