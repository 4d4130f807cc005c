import assert from "node:assert/strict";
import { test } from "node:test";

import { FragmentReader, readTracks } from "../../sdp/web/assets/fragments.js";
import { FTYP, big, box, bytesOf, cuttings, sound, visual } from "./made.mjs";

const UNITY = big(0, 36);

function fullTrack(id, timescale, handler, entry, edits = []) {
  const head = box("tkhd", big(0, 4), big(0, 8), big(id), big(0, 20), UNITY, big(0, 8));
  const table = box("stbl", box("stsd", big(0), big(1), entry));
  const media = box(
    "mdia",
    box("mdhd", big(0), big(0, 8), big(timescale), big(0, 8)),
    box("hdlr", big(0), big(0), handler, big(0, 13)),
    box("minf", table),
  );
  const list = box("elst", big(0), big(edits.length), ...edits.map((time) => bytesOf(big(0), big(time < 0 ? 2 ** 32 + time : time), big(0x10000))));
  return box("trak", head, ...(edits.length > 0 ? [box("edts", list)] : []), media);
}

const AVCC = bytesOf([1, 0x42, 0xc0, 0x1f, 0xff, 0xe0, 0]);
const ESDS = bytesOf(big(0), [3, 25, 0, 1, 0, 4, 17, 0x40, 0x15], big(0, 11), [5, 2, 0x11, 0x90]);
const SOUND_ENTRY = () => {
  const entry = sound("mp4a", box("esds", ESDS));
  entry.set([0, 2], 24); // channels
  entry.set([0xbb, 0x80], 32); // samples a second
  return entry;
};

function initialization({ edits = [], defaults = [0, 0, 0] } = {}) {
  const extend = (id) => box("trex", big(0), big(id), big(1), ...defaults.map((value) => big(value)));
  const tracks = [
    fullTrack(1, 1000, "vide", visual("avc1", 640, 360, box("avcC", AVCC)), edits),
    fullTrack(2, 48_000, "soun", SOUND_ENTRY()),
  ];
  return bytesOf(FTYP, box("moov", box("mvhd", big(0, 100)), ...tracks, box("mvex", extend(1), extend(2))));
}

/**
 * A fragment: for each run {track, time, samples: [{data, duration, flags, offset}]}; absolute data offsets with
 * `base`.
 */
function fragment(runs, base = null) {
  const build = (lengths) => {
    let place = lengths === null ? 0 : lengths + 8;
    const boxes = runs.map(({ track, time, samples }) => {
      const head = box("tfhd", [0, base === null ? 2 : 0, 0, base === null ? 0 : 1], big(track), base === null ? [] : big(base, 8));
      const rows = samples.map(({ data, duration, flags = 0, offset = 0 }) =>
        bytesOf(big(duration), big(data.length), big(flags), big(offset)),
      );
      const run = box("trun", [1, 0, 0x0f, 1], big(samples.length), big(place), ...rows);
      place += samples.reduce((sum, { data }) => sum + data.length, 0);
      return box("traf", head, box("tfdt", [1, 0, 0, 0], big(time, 8)), run);
    });
    return box("moof", box("mfhd", big(0), big(1)), ...boxes);
  };
  const moof = build(build(null).length);
  return bytesOf(moof, box("mdat", ...runs.flatMap(({ samples }) => samples.map(({ data }) => data))));
}

const NOT_SYNC = 0x10000;
const RUNS = [
  {
    track: 1,
    time: 5000,
    samples: [
      { data: "key", duration: 40, offset: 80 },
      { data: "delta", duration: 40, flags: NOT_SYNC },
    ],
  },
  { track: 2, time: 48_000, samples: [{ data: "sound", duration: 1024 }] },
];

const PRFT = box("prft", [1, 0, 0, 24], big(1), big(2_208_988_800 + 1000), big(2 ** 31), big(5080, 8)); // 1000.5 s

const SAMPLES = [
  { track: 1, kind: "video", time: 5_080_000, duration: 40_000, sync: true, captured: 1_000_500_000, text: "key" },
  { track: 1, kind: "video", time: 5_040_000, duration: 40_000, sync: false, captured: 1_000_460_000, text: "delta" },
  { track: 2, kind: "audio", time: 1_000_000, duration: 21_333, sync: true, captured: null, text: "sound" },
];

function samplesOf(events) {
  const found = events.flatMap((event) => event.samples ?? []);
  return found.map(({ data, ...sample }) => ({ ...sample, text: String.fromCharCode(...data) }));
}

test("tracks are told with what a decoder needs", () => {
  const [video, audio] = readTracks(initialization());
  assert.deepEqual({ ...video, configuration: [...video.configuration] }, {
    id: 1,
    kind: "video",
    codec: "avc1.42c01f",
    width: 640,
    height: 360,
    timescale: 1000,
    start: 0,
    defaults: { duration: 0, size: 0, flags: 0 },
    configuration: [...AVCC],
  });
  assert.equal(audio.codec, "mp4a.40.2");
  assert.deepEqual([audio.channels, audio.rate, audio.timescale], [2, 48_000, 48_000]);
  assert.deepEqual([...audio.configuration], [0x11, 0x90]);
});

test("samples come with their times, however the bytes are cut", () => {
  const whole = bytesOf(initialization(), PRFT, fragment(RUNS), fragment(RUNS));
  for (const cuts of cuttings(whole)) {
    const reader = new FragmentReader();
    const events = cuts.flatMap((cut) => reader.push(cut));
    assert.deepEqual(events.map((event) => event.kind), ["initialization", "samples", "samples"]);
    const untold = SAMPLES.map((sample) => ({ ...sample, captured: null }));
    assert.deepEqual(samplesOf(events), [...SAMPLES, ...untold]);
  }
});

test("an edit list says where the presentation begins", () => {
  const events = new FragmentReader().push(bytesOf(initialization({ edits: [-1, 80] }), fragment(RUNS)));
  assert.deepEqual(samplesOf(events).map((sample) => sample.time), [5_000_000, 4_960_000, 1_000_000]);
});

test("offsets that count from the stream's first byte are understood by whoever joins later", () => {
  const start = initialization();
  const at = 70_000;
  const reader = new FragmentReader();
  reader.push(start);
  reader.jump(at);
  assert.deepEqual(samplesOf(reader.push(fragment(RUNS, at))).map((sample) => sample.text), ["key", "delta", "sound"]);
});

test("what does not follow on voids what was begun", () => {
  const reader = new FragmentReader();
  const whole = fragment(RUNS);
  reader.push(initialization());
  assert.deepEqual(reader.push(whole.subarray(0, whole.length - 3)), []);
  reader.jump(1 << 20);
  assert.equal(samplesOf(reader.push(whole)).length, 3);
  reader.jump(2 << 20);
  assert.deepEqual(samplesOf(reader.push(whole.subarray(whole.length - 21))), []); // an mdat by itself
});

test("the defaults of the movie and of the fragment hold where a run says nothing", () => {
  const run = (flags, ...fields) => box("trun", [0, ...big(flags, 3)], big(2), ...fields.map((field) => big(field)));
  const traf = (head, ...rest) => box("traf", head, box("tfdt", big(0), big(10)), ...rest);
  const moofs = [
    traf(box("tfhd", [0, 2, 0, 0], big(1)), run(0x1, 96)),
    traf(box("tfhd", [0, 2, 0, 0x38], big(1), big(7), big(1), big(NOT_SYNC)), run(0x5, 112, 0)),
  ].map((fragmentBox) => box("moof", box("mfhd", big(0), big(1)), fragmentBox));
  const found = moofs.map((moof, index) => {
    const reader = new FragmentReader();
    reader.push(initialization({ defaults: [20, 2, 0] }));
    const place = moof.length + 8;
    moof[moof.length - (index === 0 ? 1 : 5)] = place;
    return samplesOf(reader.push(bytesOf(moof, box("mdat", "abcd"))));
  });
  const tell = ({ time, duration, sync, text }) => [time, duration, sync, text];
  assert.deepEqual(found[0].map(tell), [[10_000, 20_000, true, "ab"], [30_000, 20_000, true, "cd"]]);
  assert.deepEqual(found[1].map(tell), [[10_000, 7_000, true, "a"], [17_000, 7_000, false, "b"]]);
});

const DAMAGED = {
  "a box too small": bytesOf(big(3), "free"),
  "a box too large": bytesOf(big(0x7fffffff), "mdat", big(0, 100)),
  "bytes that are not there": bytesOf(
    initialization(),
    fragment(RUNS).subarray(0, fragment(RUNS).length - 21),
    box("mdat", "short"),
  ),
};

for (const [what, bytes] of Object.entries(DAMAGED)) {
  test(`refused: ${what}`, () => assert.throws(() => new FragmentReader().push(bytes), /damaged|does not have/));
}
