import assert from "node:assert/strict";
import { test } from "node:test";

import { Stretcher } from "../../sdp/web/assets/stretch.js";

const RATE = 48_000;
const QUANTUM = 128; // what an AudioWorklet asks for at a time
const STEP = (QUANTUM * 1e6) / RATE;

function tone(hertz, from, count) {
  return Float32Array.from({ length: count }, (_, index) => Math.sin((2 * Math.PI * hertz * (from + index)) / RATE));
}

/** A stretcher with seconds of a tone in it, in packets of 1024 as AAC has them, the time of each rounded. */
function filled(hertz, seconds, begin = 7_000_000) {
  const stretcher = new Stretcher(RATE, 1);
  for (let at = 0; at < seconds * RATE; at += 1024) {
    stretcher.push(begin + Math.round((at * 1e6) / RATE), [tone(hertz, at, 1024)]);
  }
  return stretcher;
}

/** Read so many seconds of it at a speed, from `begin` on. */
function play(stretcher, seconds, speed, begin = 7_000_000) {
  const played = new Float32Array(Math.floor((seconds * RATE) / QUANTUM) * QUANTUM);
  for (let at = 0; at < played.length; at += QUANTUM) {
    stretcher.read([played.subarray(at, at + QUANTUM)], begin + (at / QUANTUM) * STEP * speed);
  }
  return played;
}

function crossings(samples) {
  let count = 0;
  for (let at = 1; at < samples.length; at += 1) if (samples[at - 1] < 0 !== samples[at] < 0) count += 1;
  return count;
}

function steepest(samples) {
  let most = 0;
  for (let at = 1; at < samples.length; at += 1) most = Math.max(most, Math.abs(samples[at] - samples[at - 1]));
  return most;
}

test("at the right place and speed the samples pass as they are, after the first ten milliseconds", () => {
  const stretcher = filled(440, 3);
  const played = play(stretcher, 2, 1);
  const wanted = tone(440, 0, played.length);
  for (let at = 480; at < played.length; at += 1) assert.ok(Math.abs(played[at] - wanted[at]) < 1e-6, `sample ${at}`);
  assert.deepEqual([stretcher.cuts, stretcher.missing], [0, 0]);
});

for (const [hertz, speed] of [[110, 1.05], [440, 1.05], [440, 0.95], [1000, 1.02], [3000, 0.97]]) {
  test(`${hertz} Hz at ${speed} times the speed stay ${hertz} Hz, without a click`, () => {
    const stretcher = filled(hertz, 4);
    const played = play(stretcher, 3, speed).subarray(480);
    assert.ok(stretcher.cuts > 5);
    assert.ok(Math.abs(crossings(played) / ((2 * played.length) / RATE) - hertz) < hertz * 0.02);
    assert.ok(steepest(played) < 1.3 * 2 * Math.PI * (hertz / RATE));
    const wanted = 7_000_000 + 3e6 * speed;
    assert.ok(Math.abs(stretcher.position - wanted) < 25_000, `${stretcher.position - wanted} µs off`);
  });
}

test("far from where it should be it jumps there", () => {
  const stretcher = filled(440, 4);
  play(stretcher, 0.5, 1);
  play(stretcher, 0.5, 1, 9_000_000);
  assert.ok(Math.abs(stretcher.position - 9_500_000) < 25_000);
});

test("what is lacking is silence, and counted", () => {
  const stretcher = filled(440, 0.5);
  const played = play(stretcher, 1, 1);
  assert.ok(stretcher.missing > 0.4 * RATE);
  assert.ok(played.subarray(0.6 * RATE).every((sample) => sample === 0));
});

test("nothing is heard where nothing is wanted", () => {
  const stretcher = filled(440, 1);
  const output = new Float32Array(QUANTUM).fill(1);
  stretcher.read([output], null);
  assert.ok(output.every((sample) => sample === 0));
  assert.equal(stretcher.position, null);
});

test("its memory has a bound, and holds the newest", () => {
  const stretcher = filled(440, 40);
  const output = new Float32Array(QUANTUM);
  for (let at = 0; at < 20; at += 1) stretcher.read([output], 7_000_000 + 39e6 + at * STEP);
  assert.ok(output.some((sample) => sample !== 0));
  assert.equal(stretcher.missing, 0);
});

test("a gap in the times is a gap in the sound, another time line is another beginning", () => {
  const stretcher = new Stretcher(RATE, 2);
  stretcher.push(0, [tone(440, 0, 4800), tone(440, 0, 4800)]);
  stretcher.push(150_000, [tone(440, 0, 4800), tone(440, 0, 4800)]);
  const planes = [new Float32Array(4800), new Float32Array(4800)];
  stretcher.read(planes, 100_000); // the gap, faded in from
  assert.ok(planes[1].subarray(0, 2000).every((sample) => sample === 0));
  assert.ok(planes[1].subarray(2500).some((sample) => sample !== 0));
  stretcher.push(90_000_000, [tone(440, 0, 4800)]);
  stretcher.read(planes, null);
  stretcher.read(planes, 90_000_000);
  assert.ok(planes[1].subarray(1000).some((sample) => sample !== 0));
});
