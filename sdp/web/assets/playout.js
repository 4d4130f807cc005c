// When each picture and each sound is due: the rules of sdp/consumer/playout.py, which says them in words, numbered as
// here. The series in tests/playout bind both. Pure; all times are microseconds: `time` on the stream's own line, `at`
// on any clock of this machine that only goes forward.

const SECOND = 1_000_000;
const WINDOW = 10 * SECOND;
const BUCKET = SECOND / 2;
const LEFT_OUT_FROM = 16;
const MARGIN = 1_000;
const MARGIN_PART = 8;
const SHRINK = 10 * SECOND;
const BAND_PART = 5;
const LEAST_BAND = 2_000;
const MOST_BAND = 40_000;
const PULL = 2 * SECOND;
const STEP = 0.005;
const MOST_STEPS = 10;
const LEAST_GAIN = 200_000;
const SILENT = SECOND;
const STALL = 100_000;
const GROW_TIMES = 2;
const GROW_LEAST = 50_000;
const AGAIN = 20 * SECOND;
const RECOVERY = 2 * SECOND;
const SETTLED = 5_000;
const SETTLE = 250_000;
const START_MOST = 2 * SECOND;
const JUMP = 10 * SECOND;

const clamped = (value, least, most) => Math.min(Math.max(value, least), most);
const withMargin = (jitter) => jitter + MARGIN + Math.floor(jitter / MARGIN_PART);

/** Rules 1 and 2: what the last WINDOW tells of the way here. */
class Offsets {
  tracks = new Map(); // track: [{number, least, greatest}, ...], by half seconds

  add(track, at, offset) {
    if (!this.tracks.has(track)) this.tracks.set(track, []);
    const buckets = this.tracks.get(track);
    const number = Math.floor(at / BUCKET);
    const last = buckets.at(-1);
    if (last?.number !== number) {
      buckets.push({ number, least: offset, greatest: offset });
      return;
    }
    last.least = Math.min(last.least, offset);
    last.greatest = Math.max(last.greatest, offset);
  }

  /** Whether this unit is faster than all of its track before it (rule 9): then those are forgotten. */
  faster(track, offset) {
    const buckets = this.tracks.get(track) ?? [];
    if (buckets.length > 0 && offset >= leastOf(buckets) - SETTLED) return false;
    buckets.length = 0;
    return true;
  }

  /** Drop what lies a window back; the newest bucket of all stays, for without a base nothing can be timed. */
  forget(at) {
    const oldest = Math.floor((at - WINDOW) / BUCKET);
    const newest = Math.max(0, ...Array.from(this.tracks.values(), (buckets) => buckets.at(-1)?.number ?? 0));
    for (const [track, buckets] of this.tracks) {
      while (buckets.length > 0 && buckets[0].number <= oldest && buckets[0].number < newest) buckets.shift();
      if (buckets.length === 0) this.tracks.delete(track);
    }
  }

  get base() {
    return Math.max(...Array.from(this.tracks.values(), leastOf));
  }

  jitter(base) {
    const worst = new Map();
    for (const buckets of this.tracks.values()) {
      for (const { number, greatest } of buckets) worst.set(number, Math.max(worst.get(number) ?? 0, greatest - base));
    }
    const sorted = [...worst.values()].sort((a, b) => a - b);
    return sorted.at(sorted.length >= LEFT_OUT_FROM ? -2 : -1);
  }
}

function leastOf(buckets) {
  return Math.min(...buckets.map((bucket) => bucket.least));
}

/** What may be chosen. A `target` of null is "auto", between `least` and `most`. */
export const RULES = { target: null, least: 0, most: 10 * SECOND, skip_after: 500_000 };

/** Decides what is due: arrived() for every unit, update() as often as something may be presented. */
export class Playout {
  stalls = 0;
  skips = 0;
  overhead = 0; // what decoding and presenting take here: added to the target
  #stalledBefore = null;
  #offsets;
  #tracks; // track: {end, at}
  #point;
  #base;
  #position;
  #rate;
  #auto;
  #updated;
  #began;
  #fastestAt;
  #pulling;
  #heldSince;
  #recoveringUntil;

  constructor(rules = {}) {
    this.rules = { ...RULES, ...rules };
    this.reset();
  }

  /** Another time line begins: a new epoch, or a seek. What was learnt of stalls is kept. */
  reset() {
    this.state = "waiting"; // then "starting", "playing" and "stalled"
    this.#offsets = new Offsets();
    this.#tracks = new Map();
    this.#point = this.#updated = this.#heldSince = this.#recoveringUntil = null;
    this.#base = this.#position = this.#began = this.#fastestAt = this.#pulling = 0;
    this.#rate = 1;
    this.#auto = this.rules.least;
  }

  /** A unit to be presented at `time` was here `at` that moment. */
  arrived(time, at, { duration = 0, track = 0, randomAccess = false } = {}) {
    const offset = at - time;
    if (this.state !== "waiting" && Math.abs(offset - this.#base) >= JUMP) this.reset();
    if (this.state === "waiting") {
      this.state = "starting";
      this.#began = this.#fastestAt = at;
      this.#base = offset;
    } else if (this.state === "starting" && this.#offsets.faster(track, offset)) {
      this.#fastestAt = at;
    }
    if (this.state === "stalled" && time + duration > this.#position) this.#endStall(at, offset - this.#base);
    const known = this.#tracks.get(track);
    this.#tracks.set(track, { end: Math.max(known?.end ?? -Infinity, time + duration), at });
    if (randomAccess && (this.#point === null || time > this.#point)) this.#point = time;
    const outage = this.#recoveringUntil !== null && at < this.#recoveringUntil;
    if (!outage || offset - this.#base <= this.target) {
      this.#offsets.add(track, at, offset);
      this.#base = this.#offsets.base;
    }
  }

  /** Rule 8. */
  #endStall(at, lateness) {
    let grown = withMargin(Math.max(0, lateness));
    if (this.#stalledBefore === null || at - this.#stalledBefore >= AGAIN) {
      grown = Math.min(grown, Math.max(this.#auto * GROW_TIMES, this.#auto + GROW_LEAST));
    }
    this.#stalledBefore = at;
    this.#auto = Math.max(this.#auto, Math.min(grown, this.rules.most));
    this.#recoveringUntil = at + RECOVERY;
    this.state = "playing";
    this.#heldSince = null;
  }

  /** The delay that is aimed at, over the fastest arrival. */
  get target() {
    return (this.rules.target ?? this.#auto) + this.overhead;
  }

  /** Up to where something of every track that goes on has arrived. */
  get end() {
    const tracks = [...this.#tracks.values()];
    const newest = Math.max(...tracks.map((track) => track.at));
    return Math.min(...tracks.filter((track) => newest - track.at <= SILENT).map((track) => track.end));
  }

  /**
   * What to do `at` this moment: {state, position, rate, target, delay, skip}. `position` is null while nothing has
   * arrived; `skip` is the time of the random access point to go on with, once, else null. `known` is what is being
   * presented, where something tells it; else the position is reckoned from the rate.
   */
  update(at, known = null) {
    if (this.state === "waiting") {
      return { state: this.state, position: null, rate: 1, target: this.target, delay: 0, skip: null };
    }
    const elapsed = this.#updated === null ? 0 : at - this.#updated;
    this.#updated = at;
    this.#offsets.forget(at);
    this.#base = this.#offsets.base;
    this.#adapt(elapsed);
    const due = at - this.#base - this.target;
    let skip = null;
    if (this.state === "starting") {
      this.#start(at, due);
    } else {
      this.#advance(at, known ?? this.#position + elapsed * this.#rate);
      skip = this.#skip(due);
      this.#pull(due - this.#position);
    }
    const delay = at - this.#base - this.#position;
    return { state: this.state, position: this.#position, rate: this.#rate, target: this.target, delay, skip };
  }

  /** Rule 4. */
  #adapt(elapsed) {
    const wanted = clamped(withMargin(this.#offsets.jitter(this.#base)), this.rules.least, this.rules.most);
    if (wanted >= this.#auto) this.#auto = wanted;
    else this.#auto -= (this.#auto - wanted) * Math.min(1, elapsed / SHRINK);
  }

  /** Rule 9. */
  #start(at, due) {
    this.#position = Math.min(due, this.end);
    if (at - this.#fastestAt >= SETTLE || at - this.#began >= START_MOST) this.state = "playing";
  }

  /** Rule 7. */
  #advance(at, position) {
    const end = this.end;
    if (position < end) {
      this.#position = position;
      this.#heldSince = null;
      return;
    }
    this.#position = Math.max(this.#position, end);
    if (this.#heldSince === null) {
      this.#heldSince = at;
    } else if (at - this.#heldSince >= STALL && this.state !== "stalled") {
      this.state = "stalled";
      this.stalls += 1;
    }
  }

  /** Rule 6. */
  #skip(due) {
    const point = this.#point;
    const isLate = due - this.#position > this.rules.skip_after;
    if (point === null || !isLate || point - this.#position < LEAST_GAIN) return null;
    this.#position = Math.max(this.#position, Math.min(point, due, this.end));
    this.#heldSince = null;
    this.skips += 1;
    return point;
  }

  /** Rule 5. `error` is how far behind the target the position is; negative: ahead of it. */
  #pull(error) {
    if (this.#heldSince !== null) {
      this.#pulling = 0;
      this.#rate = 1;
      return;
    }
    const band = clamped(this.target / BAND_PART, LEAST_BAND, MOST_BAND);
    if (this.#pulling === 0 && Math.abs(error) > band) this.#pulling = error > 0 ? 1 : -1;
    else if (this.#pulling !== 0 && error * this.#pulling <= band / 4) this.#pulling = 0;
    this.#rate = 1 + this.#pulling * clamped(Math.ceil(Math.abs(error) / PULL / STEP), 1, MOST_STEPS) * STEP;
  }
}
