// The clock of what is past: a recording, or a stream from an earlier moment on. All of it could be here at once, so
// there is nothing to learn from arrivals, and no edge to stay near: it goes at its own pace, and waits where bytes are
// lacking. It answers as Playout does. Pure; all times are microseconds.

const STALL = 100_000;

export class Steady {
  stalls = 0;
  skips = 0;
  overhead = 0;
  target = 0;
  state = "waiting";
  #position;
  #end = -Infinity;
  #updated = null;
  #heldSince = null;

  /** `position` is where it begins; null for the first unit that arrives. */
  constructor(position = null) {
    this.#position = position;
  }

  reset() {
    this.#position = this.#updated = this.#heldSince = null;
    this.#end = -Infinity;
    this.state = "waiting";
  }

  arrived(time, _at, { duration = 0 } = {}) {
    this.#position ??= time;
    this.#end = Math.max(this.#end, time + duration);
    if (this.state !== "stalled" || this.#end > this.#position) this.state = "playing";
  }

  get end() {
    return this.#end;
  }

  update(at) {
    if (this.state === "waiting") return this.#decision();
    const elapsed = this.#updated === null ? 0 : at - this.#updated;
    this.#updated = at;
    if (this.#position + elapsed < this.#end) {
      this.#position += elapsed;
      this.#heldSince = null;
      return this.#decision();
    }
    this.#position = Math.max(this.#position, this.#end);
    this.#heldSince ??= at;
    if (at - this.#heldSince >= STALL && this.state !== "stalled") {
      this.state = "stalled";
      this.stalls += 1;
    }
    return this.#decision();
  }

  #decision() {
    const position = this.state === "waiting" ? null : this.#position;
    return { state: this.state, position, rate: 1, target: 0, delay: 0, skip: null };
  }
}
