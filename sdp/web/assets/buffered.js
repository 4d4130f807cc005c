// The player for where the other one cannot: the same GET > the browser's own demultiplexer and decoders (Media Source
// Extensions) > a video element, which the same playout steers by its speed.

import { wallNow } from "./clock.js";
import { describe } from "./codecs.js";
import { FragmentReader } from "./fragments.js";
import { Place, get } from "./get.js";
import { LiveSource, isPlayable, mediaSourceClass } from "./mse.js";
import { beginning } from "./past.js";
import { Playout } from "./playout.js";
import { Rate } from "./rate.js";
import { containerOf, joined, splitterFor } from "./segments.js";
import { Unplayable } from "./unplayable.js";
import { sleep } from "./waiting.js";

const STEER_EVERY = 50; // milliseconds
const MOST_FAILURES = 3; // of splitter or decoder, without a second of playback in between
const OVERHEAD = 30_000; // microseconds that have to be buffered, or else a video element stalls
const NEAR = 0.05; // seconds from the end of what is buffered where a seek is safe
const OFF = 0.15; // seconds from where it should begin that are worth a seek
// Milliseconds between two seeks: on a busy machine one takes longer than it gains, and the next would follow at once.
const SEEK_EVERY = 2000;
const SEEK_EVERY_STARTING = 400; // which itself lasts for two seconds at most
const AHEAD = 10; // seconds of what is past that are read ahead
const GONE = 410;

const microseconds = () => Math.round(performance.now() * 1000);

export class BufferedPlayer {
  kind = "Media Source Extensions";
  #video;
  #url;
  #report;
  #rules;
  #clock;
  #place = new Place();
  #rate = new Rate();
  #source = null;
  #splitter = null;
  #head = new Uint8Array(0); // until the container is known
  #reader = null; // of fragmented MP4: for when it was captured
  #captured = null; // {time, captured} of the last picture that said so
  #expected = null;
  #end = null; // of what has been buffered, in seconds
  #epoch = null;
  #failures = 0;
  #decision = null;
  #connection = null;
  #change = null;
  #wake = () => {};
  #isAway = false;
  #isPaused = false; // by a person, not by a browser that wants to be asked first
  #hasSound = false;
  #unseeked = true; // nothing has been played since it began, or was sent elsewhere
  #sought = -Infinity; // when it was last sent elsewhere
  #before = { stalls: 0, skips: 0 };

  /** As DirectPlayer, but with a video element. */
  constructor(video, url, { rules = {}, muted = true, report = () => {} } = {}) {
    this.#video = video;
    this.#url = url;
    this.#report = report;
    this.#rules = rules;
    this.#startClock();
    video.muted = muted;
  }

  static get isPossible() {
    return mediaSourceClass() !== undefined;
  }

  /** As DirectPlayer's. */
  async run(signal, isOver = async () => false) {
    const timer = setInterval(() => this.#steer(), STEER_EVERY);
    try {
      while (!signal.aborted) {
        await this.#untilWanted(signal);
        try {
          const outcome = await this.#connect(signal, isOver);
          if (outcome !== null) return outcome;
        } catch (error) {
          if (error instanceof Unplayable) throw error;
          this.#failures += 1;
          if (this.#failures >= MOST_FAILURES) throw new Unplayable(error.message, "unknown");
          this.#anew();
          this.#place.forget();
        }
      }
      return "stopped";
    } finally {
      clearInterval(timer);
    }
  }

  async #connect(signal, isOver) {
    this.#connection = new AbortController();
    const either = AbortSignal.any([signal, this.#connection.signal]);
    for await (const event of get(this.#url, this.#place, { signal: either })) {
      if (event.kind === "bytes") {
        this.#expected = event.offset + event.bytes.length;
        await this.#take(event.bytes);
        await this.#untilNear(either);
      } else if (event.kind === "part") {
        if (event.complete !== null && this.#expected === null) return "recorded";
        if (event.start !== this.#expected) this.#jump(event.start);
      } else {
        this.#report(event);
        if (event.kind === "opened") this.#opened(event.epoch);
        if (event.kind === "replaced") this.#opened(null);
        if (event.kind === "refused" && event.status === GONE) this.#goLive();
        if (event.kind === "closed" && (event.recorded || (await isOver()))) {
          this.#source?.finish();
          await this.#untilPlayed(either);
          return either.aborted ? null : "over";
        }
      }
    }
    return null;
  }

  #opened(epoch) {
    if (this.#epoch !== null && this.#epoch !== epoch) this.#anew();
    this.#epoch = epoch;
  }

  #jump(offset) {
    this.#splitter?.jump();
    this.#reader?.jump(offset);
    this.#head = new Uint8Array(0);
    this.#source?.interrupt();
    this.#expected = offset;
  }

  #anew() {
    this.#source?.close();
    this.#source = this.#splitter = this.#reader = this.#captured = this.#expected = this.#end = null;
    this.#head = new Uint8Array(0);
    this.#unseeked = true;
    this.#startClock();
  }

  #startClock() {
    this.#before.skips += this.#clock?.skips ?? 0;
    this.#before.stalls += this.#clock?.stalls ?? 0;
    this.#clock = new Playout(this.#rules);
    this.#clock.overhead = OVERHEAD;
    this.#decision = null;
  }

  // -- what arrives -----------------------------------------------------------------------------------------------

  async #take(bytes) {
    const at = microseconds();
    this.#rate.add(performance.now(), bytes.length);
    let data = bytes;
    if (this.#splitter === null) {
      data = joined(this.#head, bytes);
      this.#head = data;
      const container = containerOf(data);
      if (container === undefined) return;
      this.#splitter = splitterFor(container);
      if (this.#splitter === null) throw new Unplayable("Not a container for Media Source Extensions.", container);
      if (container === "mp4") this.#reader = new FragmentReader();
    }
    for (const piece of this.#splitter.push(data)) {
      if (piece.initialization) await this.#initialize(piece.bytes);
      else await this.#source.append(piece.bytes);
    }
    for (const { samples = [] } of this.#reader?.push(data) ?? []) {
      this.#captured = samples.find((sample) => sample.captured !== null) ?? this.#captured;
    }
    this.#buffered(at);
    this.#steer();
  }

  async #initialize(bytes) {
    const container = containerOf(bytes);
    const { tracks, mime } = describe(container, bytes);
    this.#report({ kind: "tracks", tracks, mime });
    if (!isPlayable(mime)) throw new Unplayable(`This browser does not play ${mime}.`, container);
    this.#hasSound = tracks.some((track) => track.kind === "audio");
    if (this.#source === null) {
      this.#source = new LiveSource(this.#video);
      this.#video.play().catch(() => {}); // where the browser wants a person's leave first, the button is there
    }
    await this.#source.initialize(mime, bytes);
  }

  /** What has become playable is a unit to the playout: it can begin anywhere in it. */
  #buffered(at) {
    const last = this.#source?.ranges.at(-1);
    if (last === undefined) return;
    const begin = this.#end === null || last[0] > this.#end ? last[0] : this.#end;
    if (last[1] <= begin) return;
    this.#end = last[1];
    const duration = Math.round((last[1] - begin) * 1e6);
    this.#clock.arrived(Math.round(begin * 1e6), at, { duration, randomAccess: true });
  }

  // -- where it plays ---------------------------------------------------------------------------------------------

  #steer() {
    const video = this.#video;
    const ranges = this.#source?.ranges ?? [];
    if (ranges.length === 0 || video.seeking) return;
    const inside = ranges.some(([from, to]) => video.currentTime >= from - NEAR && video.currentTime <= to + NEAR);
    if (this.#place.follow) {
      if (this.#unseeked || !inside) this.#seekTo(ranges.at(-1)[0]);
      video.playbackRate = 1;
      return;
    }
    if (video.paused && !this.#unseeked) return;
    const decision = this.#clock.update(microseconds(), inside ? Math.round(video.currentTime * 1e6) : null);
    this.#decision = decision;
    if (decision.position === null) return;
    const [from, to] = ranges.at(-1);
    const wanted = Math.max(from, Math.min(decision.position / 1e6, to - NEAR));
    const isStarting = decision.state === "starting";
    const isOff = isStarting ? Math.abs(wanted - video.currentTime) > OFF : decision.skip !== null;
    const isWorthIt = isOff && performance.now() - this.#sought >= (isStarting ? SEEK_EVERY_STARTING : SEEK_EVERY);
    if (this.#unseeked || !inside || isWorthIt) this.#seekTo(wanted);
    const rate = Math.round(decision.rate * 200) / 200;
    if (video.playbackRate !== rate) video.playbackRate = rate;
    if (video.currentTime - from > 1) this.#failures = 0;
  }

  #seekTo(time) {
    this.#unseeked = false;
    this.#sought = performance.now();
    this.#video.currentTime = time;
  }

  get #buffer() {
    return Math.max(0, (this.#source?.ranges.at(-1)?.[1] ?? 0) - this.#video.currentTime);
  }

  async #untilNear(signal) {
    while (this.#place.follow && !signal.aborted && this.#buffer > AHEAD) await sleep(0.1, signal);
  }

  async #untilPlayed(signal) {
    while (!signal.aborted && !this.#video.ended && !this.#video.paused && this.#buffer > 0) await sleep(0.05, signal);
  }

  // -- what a person wants: as DirectPlayer -------------------------------------------------------------------------

  get paused() {
    return this.#isPaused || (this.#video.paused && !this.#unseeked);
  }

  get isLive() {
    return !this.#place.follow && !this.paused;
  }

  pause() {
    if (this.#isPaused) return;
    this.#isPaused = true;
    this.#video.pause();
    this.#connection?.abort();
  }

  play() {
    if (!this.paused) return;
    if (this.#isPaused && this.#place.end !== null) this.#place.follow = true;
    this.#isPaused = false;
    this.#video.play().catch(() => {});
    this.#wake();
  }

  live() {
    if (this.isLive) return;
    this.#then(() => this.#goLive());
  }

  #goLive() {
    this.#anew();
    this.#place.forget();
  }

  async seek(ago) {
    const found = await beginning(this.#url, ago);
    if (found === null) return false;
    this.#then(async () => {
      this.#anew();
      this.#place.epoch = found.epoch;
      this.#place.follow = true;
      await this.#take(found.initialization);
      this.#jump(found.offset);
      this.#place.end = found.offset;
    });
    return true;
  }

  seen(isSeen) {
    if (isSeen) {
      if (this.#isAway) this.#then(() => this.#goLive());
    } else if (this.isLive && this.#video.muted) {
      this.#isAway = true;
      this.#connection?.abort();
    }
  }

  #then(change) {
    this.#isAway = this.#isPaused = false;
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
    return this.#hasSound;
  }

  get muted() {
    return this.#video.muted;
  }

  set muted(muted) {
    this.#video.muted = muted;
  }

  close() {
    this.#connection?.abort();
    this.#source?.close();
    this.#source = null;
  }

  /** As DirectPlayer's; what a video element does not tell is null. */
  get statistics() {
    const video = this.#video;
    const { totalVideoFrames = 0, droppedVideoFrames = 0 } = video.getVideoPlaybackQuality?.() ?? {};
    const known = this.#captured;
    const captured = known && known.captured + video.currentTime * 1e6 - known.time;
    return {
      state: this.paused ? "paused" : this.#place.follow ? "playing" : (this.#decision?.state ?? "waiting"),
      shown:
        totalVideoFrames > 0
          ? { time: video.currentTime, captured, arrived: null, decoded: null, painted: wallNow() }
          : null,
      delay: (this.#decision?.delay ?? 0) / 1e6,
      target: this.#clock.target / 1e6,
      rate: video.playbackRate,
      buffered: this.#buffer,
      pictures: {
        decoded: totalVideoFrames,
        painted: totalVideoFrames - droppedVideoFrames,
        late: droppedVideoFrames,
        skipped: null,
        queued: null,
      },
      stalls: this.#before.stalls + this.#clock.stalls,
      skips: this.#before.skips + this.#clock.skips,
      sound: null,
      bitRate: this.#rate.at(performance.now()),
    };
  }
}
