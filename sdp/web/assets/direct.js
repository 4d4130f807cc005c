// The player of least delay: SDP's own GET > samples > WebCodecs > playout > canvas and loudspeaker. Nothing on that
// way buffers but what the playout asks for.

import { FragmentReader } from "./fragments.js";
import { Place, get } from "./get.js";
import { beginning } from "./past.js";
import { Rate } from "./rate.js";
import { containerOf } from "./segments.js";
import { Stage } from "./stage.js";
import { Unplayable } from "./unplayable.js";
import { sleep } from "./waiting.js";

const AHEAD = 3; // seconds of what is past that are read ahead
const GONE = 410; // retention has taken it

export class DirectPlayer {
  kind = "WebCodecs";
  #url;
  #report;
  #place = new Place();
  #stage;
  #reader = new FragmentReader();
  #rate = new Rate();
  #epoch = null;
  #record = null; // the part that arrives
  #expected = null; // the offset that follows on
  #connection = null; // what ends the present one
  #change = null; // what a person wants to be done before the next one
  #wake = () => {};
  #isAway = false; // nobody sees or hears it

  /**
   * Plays the stream at `url` on `canvas`. `rules` are Playout's. `report(event)` is told what get() says, but for the
   * bytes,
   * and {kind: "tracks", tracks, mime}.
   */
  constructor(canvas, url, { rules = {}, muted = true, report = () => {} } = {}) {
    this.#url = url;
    this.#report = report;
    this.#stage = new Stage(canvas, rules, muted);
  }

  /** Whether this browser can (a page that did not come over HTTPS or from this machine never can). */
  static get isPossible() {
    return globalThis.VideoDecoder !== undefined;
  }

  /**
   * Play until `signal` aborts, or `isOver()`, asked after each regular end of an answer, says that nothing follows.
   * Returns "over", "recorded" (the stream had ended before it began) or "stopped"; throws Unplayable.
   */
  async run(signal, isOver = async () => false) {
    const leave = this.#stage.open();
    try {
      while (!signal.aborted) {
        await this.#untilWanted(signal);
        const outcome = await this.#connect(signal, isOver);
        if (outcome !== null) return outcome;
      }
      return "stopped";
    } finally {
      leave();
    }
  }

  /** One connection after another: null where a person wants something else, else how it ended. */
  async #connect(signal, isOver) {
    this.#connection = new AbortController();
    const either = AbortSignal.any([signal, this.#connection.signal]);
    for await (const event of get(this.#url, this.#place, { signal: either })) {
      if (event.kind === "bytes") {
        await this.#take(event);
        await this.#untilNear(either);
      } else if (event.kind === "part") {
        if (event.complete !== null && this.#expected === null) return "recorded";
        this.#record = event;
        if (event.start !== this.#expected) this.#jump(event.start);
      } else {
        this.#report(event);
        if (event.kind === "opened") this.#opened(event.epoch);
        if (event.kind === "replaced") this.#opened(null);
        if (event.kind === "refused" && event.status === GONE) this.#goLive();
        if (event.kind === "closed" && (event.recorded || (await isOver()))) {
          await this.#untilPlayed(either);
          return either.aborted ? null : "over";
        }
      }
    }
    return null;
  }

  #opened(epoch) {
    if (this.#epoch !== null && this.#epoch !== epoch) {
      this.#stage.startLive(); // another time line: nothing of what is here belongs to it
      this.#expected = null;
    }
    this.#epoch = epoch;
  }

  #jump(offset) {
    this.#reader.jump(offset);
    this.#stage.jump();
    this.#expected = offset;
  }

  async #take({ offset, bytes }) {
    const here = performance.now();
    this.#rate.add(here, bytes.length);
    if (!this.#stage.isInitialized && offset === this.#record.start) checkContainer(bytes);
    this.#expected = offset + bytes.length;
    await this.#pass(bytes, here);
    this.#stage.present();
    if (this.#stage.failure !== null) throw this.#stage.failure;
  }

  async #pass(bytes, here) {
    for (const event of this.#reader.push(bytes)) {
      if (event.kind === "initialization") {
        this.#report({ kind: "tracks", tracks: event.tracks, mime: "video/mp4" });
        await this.#stage.initialize(event.tracks);
        continue;
      }
      for (const sample of event.samples) {
        if (sample.captured === null && sample.kind === "video" && this.#record !== null) {
          sample.captured = this.#record.captured;
          this.#record = { start: this.#record.start, captured: null }; // it is that of the record's first picture
        }
        this.#stage.arrived(sample, here);
      }
    }
  }

  /** What is past is read no faster than it is played. */
  async #untilNear(signal) {
    while (this.#place.follow && !signal.aborted && this.#stage.buffered > AHEAD) await sleep(0.1, signal);
  }

  async #untilPlayed(signal) {
    while (!signal.aborted && this.#stage.buffered > 0) await sleep(0.05, signal);
  }

  // -- what a person wants ----------------------------------------------------------------------------------------

  get paused() {
    return this.#stage.paused;
  }

  /** Whether it stays near the live edge; else it is paused, or plays the past. */
  get isLive() {
    return !this.#place.follow && !this.paused;
  }

  pause() {
    if (this.paused) return;
    this.#stage.pause();
    this.#connection?.abort();
  }

  /** Go on from where it was paused: from then on it plays the past. */
  play() {
    if (!this.paused) return;
    this.#stage.paused = false;
    if (!this.#place.follow && this.#place.end !== null) this.#place.follow = this.#stage.goOnAsPast();
    this.#wake();
  }

  /** Go to the live edge, and stay there. */
  live() {
    if (this.isLive) return;
    this.#then(() => this.#goLive());
  }

  #goLive() {
    this.#place.follow = false;
    this.#stage.startLive();
  }

  /** Go to the moment `ago` seconds before now; false where nothing of it is kept. */
  async seek(ago) {
    const found = await beginning(this.#url, ago);
    if (found === null) return false;
    this.#then(async () => {
      this.#stage.startPast();
      this.#place.epoch = found.epoch;
      this.#place.follow = true;
      this.#reader.jump(0);
      await this.#pass(found.initialization, performance.now());
      this.#reader.jump(found.offset);
      this.#place.end = this.#expected = found.offset;
    });
    return true;
  }

  /** The page is seen, or not any more. */
  seen(isSeen) {
    if (isSeen) {
      this.#stage.seen = true;
      if (this.#isAway) this.#then(() => this.#goLive());
    } else if (this.isLive) {
      this.#stage.seen = false;
      this.#isAway = !this.#stage.isHeard;
      if (this.#isAway) this.#connection?.abort();
    } else {
      this.pause(); // the past waits
    }
  }

  #then(change) {
    this.#stage.paused = this.#isAway = false;
    this.#change = change;
    this.#connection?.abort();
    this.#wake();
  }

  async #untilWanted(signal) {
    while (!signal.aborted && this.#change === null && (this.paused || this.#isAway)) {
      await new Promise((resolve) => {
        this.#wake = resolve;
        signal.addEventListener("abort", resolve, { once: true });
      });
    }
    const change = this.#change;
    this.#change = null;
    await change?.();
  }

  get hasSound() {
    return this.#stage.hasSound;
  }

  get muted() {
    return this.#stage.muted;
  }

  set muted(muted) {
    this.#stage.muted = muted;
  }

  close() {
    this.#connection?.abort();
    this.#stage.close();
  }

  /**
   * What there is to tell, in seconds and bits a second. `shown` is of the picture that was painted last: its `time` in
   * the stream; when it was `captured` (microseconds since the Unix epoch; null where unknown); when its bytes had
   * `arrived`, and it was `decoded` and `painted` (milliseconds since the Unix epoch).
   */
  get statistics() {
    return { ...this.#stage.statistics, bitRate: this.#rate.at(performance.now()) };
  }
}

function checkContainer(bytes) {
  const container = containerOf(bytes);
  if (container !== undefined && container !== "mp4") throw new Unplayable("Not fragmented MP4.", container);
}
