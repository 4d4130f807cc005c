// A live stream in a video element: feed > splitter > decoder, and the law that keeps it near the edge.

import { describe } from "./codecs.js";
import { Edge } from "./edge.js";
import { feed } from "./feed.js";
import { LiveSource, isPlayable, mediaSourceClass } from "./mse.js";
import { containerOf, joined, splitterFor } from "./segments.js";

const STEER_EVERY = 100; // milliseconds
const MOST_FAILURES = 3; // of splitter or decoder, without a second of playback in between

/** Why a stream cannot go through this player. `container` says what it is, as containerOf() does. */
export class Unplayable extends Error {
  constructor(detail, container) {
    super(detail);
    this.container = container;
  }
}

export class LivePlayer {
  #video;
  #url;
  #report;
  #edge = new Edge();
  #source = null;
  #splitter = null;
  #head = new Uint8Array(0); // until the container is known
  #epoch = null;
  #failures = 0;

  /** `report(event)` is told what the feed says, but for the bytes, and {kind: "tracks", tracks, mime}. */
  constructor(video, url, report = () => {}) {
    this.#video = video;
    this.#url = url;
    this.#report = report;
    this.behind = null; // seconds from the position to the live edge: what is buffered ahead
    this.kept = 0; // seconds buffered behind the position
  }

  /**
   * Play until `signal` aborts, or `isOver()`, asked after each regular end of an answer, says that nothing follows.
   * Returns "over", "recorded" (the stream had ended before it began) or "stopped"; throws Unplayable.
   */
  async run(signal, isOver = async () => false) {
    if (mediaSourceClass() === undefined) throw new Unplayable("This browser has no Media Source Extensions.", "mp4");
    const timer = setInterval(() => this.#steer(), STEER_EVERY);
    try {
      for (;;) {
        try {
          return await this.#play(signal, isOver);
        } catch (error) {
          if (error instanceof Unplayable) throw error;
          this.#failures += 1;
          this.#discard();
          if (this.#failures >= MOST_FAILURES) throw new Unplayable(error.message, "unknown");
        }
      }
    } finally {
      clearInterval(timer);
    }
  }

  /** Go to where playback should be: after a pause. */
  catchUp() {
    const wanted = this.#edge.steer(now(), -Infinity, this.#source?.ranges ?? []);
    if (wanted.seek !== null) this.#video.currentTime = wanted.seek;
  }

  close() {
    this.#discard();
  }

  async #play(signal, isOver) {
    for await (const event of feed(this.#url, { signal })) {
      if (event.kind === "bytes") {
        await this.#take(event.bytes);
        continue;
      }
      this.#report(event);
      if (event.kind === "opened") {
        if (event.length !== null) return "recorded";
        this.#open(event.epoch);
      } else if (event.kind === "closed" && (await isOver())) {
        this.#source?.finish();
        return "over";
      }
    }
    return "stopped";
  }

  #open(epoch) {
    if (epoch !== this.#epoch) this.#discard();
    this.#epoch = epoch;
    this.#splitter = null;
    this.#head = new Uint8Array(0);
    this.#source?.interrupt();
    this.#edge.reset();
  }

  #discard() {
    this.#source?.close();
    this.#source = null;
    this.#edge.reset();
    this.behind = null;
  }

  async #take(bytes) {
    let data = bytes;
    if (this.#splitter === null) {
      data = joined(this.#head, bytes);
      this.#head = data;
      const container = containerOf(data);
      if (container === undefined) return;
      this.#splitter = splitterFor(container);
      if (this.#splitter === null) throw new Unplayable("Not a container for Media Source Extensions.", container);
    }
    for (const piece of this.#splitter.push(data)) {
      if (piece.initialization) {
        await this.#initialize(piece.bytes);
      } else {
        await this.#source.append(piece.bytes);
      }
    }
    const end = this.#source?.ranges.at(-1)?.[1];
    if (end !== undefined) {
      this.#edge.arrived(now(), end);
      this.#steer();
    }
  }

  async #initialize(bytes) {
    const container = containerOf(bytes);
    const { tracks, mime } = describe(container, bytes);
    this.#report({ kind: "tracks", tracks, mime });
    if (!isPlayable(mime)) throw new Unplayable(`This browser does not play ${mime}.`, container);
    if (this.#source === null) {
      this.#source = new LiveSource(this.#video);
      this.#video.play().catch(() => {}); // where the browser wants a person's leave first, the button is there
    }
    await this.#source.initialize(mime, bytes);
  }

  #steer() {
    const video = this.#video;
    const ranges = this.#source?.ranges ?? [];
    if (ranges.length === 0) return;
    const { rate, seek, behind } = this.#edge.steer(now(), video.currentTime, ranges);
    this.kept = Math.max(0, video.currentTime - ranges[0][0]);
    this.behind = behind;
    if (video.paused || video.seeking) return;
    if (video.played.length > 0 && video.played.end(video.played.length - 1) - video.played.start(0) > 1) {
      this.#failures = 0;
    }
    if (seek !== null) video.currentTime = seek;
    if (video.playbackRate !== rate) video.playbackRate = rate;
  }
}

function now() {
  return performance.now() / 1000;
}
