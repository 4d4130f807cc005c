// Sound at a speed that is not quite 1, its pitch kept: pieces of some milliseconds are left out or repeated where the
// sound after the cut is most like the sound before it (the idea of WSOLA: Verhelst and Roelands, 1993). At the right
// place the samples pass as they are. Pure: samples and positions in, samples out. It runs in the AudioWorklet.

const HOP = 0.01; // seconds that are given out, or blended, at a time
const TOLERATED = 0.008; // how far it may stand from where it should before it cuts: eyes and ears do not notice
const TOO_FAR = 0.15; // beyond that a cut is not sought: it jumps
const KEEP = 0.5; // of what was played, for going back a little
const MOST = 15; // of what is to come
const STEP = 2; // samples from one place that is tried to the next

/** One track of sound, `rate` samples a second in each of `channels`. Times are microseconds of the stream. */
export class Stretcher {
  cuts = 0;
  missing = 0; // samples for which there was no sound
  #rate;
  #planes;
  #first = 0; // the absolute number of the oldest sample held
  #length = 0;
  #origin = null; // the time of sample number 0
  #next = null; // the number of the sample that follows on what was given out
  #hop;
  #left = []; // given out by a hop, and not yet read: [planes, from]

  constructor(rate, channels) {
    this.#rate = rate;
    this.#hop = Math.round(rate * HOP);
    this.#planes = Array.from({ length: channels }, () => new Float32Array(Math.ceil(rate * (KEEP + MOST))));
  }

  /** Sound that begins at `time`: one Float32Array for each channel. A gap is silent, what was there before goes. */
  push(time, planes) {
    const count = planes[0].length;
    const number = this.#origin === null ? 0 : Math.round(((time - this.#origin) * this.#rate) / 1e6);
    const end = this.#first + this.#length;
    const near = Math.abs(number - end) <= this.#rate * TOO_FAR;
    if (this.#origin === null || !near) return this.#begin(time, planes);
    // Rounded times put a sample here or there: what follows within a fiftieth of a second follows on.
    const at = Math.abs(number - end) < this.#rate / 50 ? end : number;
    this.#makeRoom(at + count);
    this.#write(at, planes, count);
    return undefined;
  }

  #begin(time, planes) {
    for (const plane of this.#planes) plane.fill(0);
    this.#origin = time;
    this.#first = this.#length = 0;
    this.#next = null;
    this.#write(0, planes, planes[0].length);
  }

  #write(at, planes, count) {
    const from = at - this.#first;
    if (from < 0) return;
    const held = this.#planes[0].length;
    if (from > this.#length) for (const plane of this.#planes) plane.fill(0, this.#length, Math.min(from, held));
    this.#planes.forEach((plane, index) => {
      plane.set((planes[index] ?? planes[0]).subarray(0, Math.max(0, held - from)), Math.min(from, held));
    });
    this.#length = Math.min(held, Math.max(this.#length, from + count));
  }

  /** Drop the oldest, so that all before sample `end` has room. */
  #makeRoom(end) {
    const size = this.#planes[0].length;
    if (end - this.#first <= size) return;
    const drop = Math.min(this.#length, end - this.#first - size + Math.round(this.#rate * 1));
    for (const plane of this.#planes) plane.copyWithin(0, drop, this.#length);
    this.#first += drop;
    this.#length -= drop;
  }

  /**
   * Fill `outputs` (equally long) with what should be heard from the time `wanted` on, or as near to it as sounds
   * well.
   */
  read(outputs, wanted) {
    const count = outputs[0].length;
    for (let done = 0; done < count; ) {
      if (this.#left.length === 0) {
        this.#left = [this.#give(wanted === null ? null : wanted + (done * 1e6) / this.#rate), 0];
      }
      const [planes, from] = this.#left;
      const step = Math.min(count - done, planes[0].length - from);
      outputs.forEach((output, index) => output.set((planes[index] ?? planes[0]).subarray(from, from + step), done));
      done += step;
      this.#left = from + step < planes[0].length ? [planes, from + step] : [];
    }
  }

  /** The time of the sample that is read next; null before there is any. */
  get position() {
    if (this.#next === null) return null;
    const unread = this.#left.length === 0 ? 0 : this.#left[0][0].length - this.#left[1];
    return this.#origin + ((this.#next - unread) * 1e6) / this.#rate;
  }

  #give(wanted) {
    const given = this.#planes.map(() => new Float32Array(this.#hop));
    if (this.#origin === null || wanted === null) {
      this.#next = null; // nothing is wanted: what comes next need not follow on
      return given;
    }
    const place = Math.round(((wanted - this.#origin) * this.#rate) / 1e6);
    if (this.#next === null) return this.#fadeIn(given, place);
    const off = place - this.#next;
    if (Math.abs(off) < this.#rate * TOLERATED) {
      this.#copy(given, this.#next);
      this.#next += this.#hop;
    } else {
      const target = Math.abs(off) > this.#rate * TOO_FAR ? place : this.#next + this.#bestCut(off);
      this.#blend(given, this.#next, target);
      this.#next = target + this.#hop;
      this.cuts += 1;
    }
    return given;
  }

  #fadeIn(given, place) {
    this.#copy(given, place);
    for (const plane of given) for (let i = 0; i < plane.length; i += 1) plane[i] *= i / plane.length;
    this.#next = place + this.#hop;
    return given;
  }

  #has(start, count) {
    return start >= this.#first && start + count <= this.#first + this.#length;
  }

  #copy(given, start) {
    const count = given[0].length;
    if (this.#has(start, count)) {
      const from = start - this.#first;
      given.forEach((plane, index) => plane.set(this.#planes[index].subarray(from, from + count)));
      return;
    }
    given.forEach((plane, index) => {
      for (let i = 0; i < count; i += 1) plane[i] = this.#sample(index, start + i);
    });
    const held = Math.max(0, Math.min(start + count, this.#first + this.#length) - Math.max(start, this.#first));
    this.missing += count - held;
  }

  #sample(channel, number) {
    const at = number - this.#first;
    return at >= 0 && at < this.#length ? this.#planes[channel][at] : 0;
  }

  #blend(given, from, to) {
    const count = given[0].length;
    given.forEach((plane, index) => {
      for (let i = 0; i < count; i += 1) {
        const weight = 0.5 - 0.5 * Math.cos((Math.PI * (i + 0.5)) / count);
        plane[i] = this.#sample(index, from + i) * (1 - weight) + this.#sample(index, to + i) * weight;
      }
    });
  }

  /** How many samples to go on by (or back), about `off`, so that the sound there is most like the sound here. */
  #bestCut(off) {
    const [least, most] = [0.4 * off, 1.6 * off].map(Math.round).sort((a, b) => a - b);
    let [best, bestLikeness] = [off, -Infinity];
    for (let shift = least; shift <= most; shift += STEP) {
      if (!this.#has(this.#next + shift, this.#hop) || !this.#has(this.#next, this.#hop)) continue;
      const likeness = this.#likeness(this.#next - this.#first, shift);
      if (likeness > bestLikeness) [best, bestLikeness] = [shift, likeness];
    }
    return best;
  }

  #likeness(at, shift) {
    const plane = this.#planes[0];
    let [product, energy] = [0, 1e-9];
    for (let i = 0; i < this.#hop; i += STEP) {
      const there = plane[at + shift + i];
      product += plane[at + i] * there;
      energy += there * there;
    }
    return product / Math.sqrt(energy);
  }
}
