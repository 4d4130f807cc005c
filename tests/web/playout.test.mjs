// The browser's playout decides as the native player's does: on the same series, within the tolerance that they name.

import assert from "node:assert/strict";
import { readFileSync, readdirSync } from "node:fs";
import { test } from "node:test";

import { Playout } from "../../sdp/web/assets/playout.js";

const SERIES = new URL("../playout/", import.meta.url);
const names = readdirSync(SERIES).filter((name) => name.endsWith(".json"));

const NAMED = ["state", "position", "rate", "target", "delay", "skip"];

function toleranceOf(name, tolerance) {
  return name === "rate" ? tolerance.rate : tolerance.microseconds;
}

test("there are series to hold it to", () => assert.ok(names.length >= 10));

for (const name of names) {
  const { about, rules, overhead, tolerance, steps, decisions } = JSON.parse(readFileSync(new URL(name, SERIES), "utf8"));
  test(`${name}: ${about}`, () => {
    const playout = new Playout(rules);
    playout.overhead = overhead;
    let decided = 0;
    for (const [what, at, time, duration, track, randomAccess] of steps) {
      if (what === "arrived") {
        playout.arrived(time, at, { duration, track, randomAccess });
        continue;
      }
      const made = playout.update(at, time ?? null);
      const wanted = decisions[decided];
      NAMED.forEach((field, index) => {
        const [is, should] = [made[field], wanted[index]];
        const near = typeof is === "number" && typeof should === "number" && Math.abs(is - should) <= toleranceOf(field, tolerance);
        assert.ok(is === should || near, `decision ${decided}, at ${at}: ${field} is ${is}, not ${should}`);
      });
      decided += 1;
    }
    assert.equal(decided, decisions.length);
  });
}
