// Where a live stream's bytes meet the browser's decoder: one SourceBuffer, appended to piece by piece.

const KEEP = 30; // seconds behind the position
const TRIM_EVERY = 10;

export function mediaSourceClass() {
  return globalThis.ManagedMediaSource ?? globalThis.MediaSource;
}

/** Whether the browser can play `mime` piece by piece. */
export function isPlayable(mime) {
  return mediaSourceClass()?.isTypeSupported(mime) ?? false;
}

function once(target, good, bad) {
  return new Promise((resolve, reject) => {
    const leave = new AbortController();
    const settle = (act) => (event) => {
      leave.abort();
      act(event);
    };
    for (const name of good) target.addEventListener(name, settle(resolve), { signal: leave.signal });
    for (const name of bad) {
      const fail = settle(() => reject(new DecodeError("The browser cannot decode these media.")));
      target.addEventListener(name, fail, { signal: leave.signal });
    }
  });
}

/** The browser refused what it was given. */
export class DecodeError extends Error {}

/** One stream on its way into a video element. Bytes go in one append at a time: await each call. */
export class LiveSource {
  #video;
  #source = new (mediaSourceClass())();
  #buffer = null;
  #mime = "";
  #url = URL.createObjectURL(this.#source);

  constructor(video) {
    this.#video = video;
    video.disableRemotePlayback = true; // what a ManagedMediaSource asks for
    video.src = this.#url;
  }

  /** Begin, or go on, with media of type `mime`, whose initialization segment is `bytes`. */
  async initialize(mime, bytes) {
    if (this.#source.readyState === "closed") await once(this.#source, ["sourceopen"], []);
    if (this.#buffer === null) {
      this.#buffer = this.#source.addSourceBuffer(mime);
    } else if (mime !== this.#mime) {
      this.#buffer.changeType(mime);
    }
    this.#mime = mime;
    await this.append(bytes);
  }

  async append(bytes) {
    if (this.#video.error !== null) throw new DecodeError(this.#video.error.message);
    try {
      await this.#append(bytes);
    } catch (error) {
      if (error.name !== "QuotaExceededError") throw error;
      await this.trim(1);
      await this.#append(bytes);
    }
    if (this.#position - (this.ranges[0]?.[0] ?? Infinity) > KEEP + TRIM_EVERY) await this.trim(KEEP);
  }

  async #append(bytes) {
    if (this.#buffer === null || this.#source.readyState !== "open") throw new DecodeError("The decoder has closed.");
    const done = once(this.#buffer, ["updateend"], ["error"]);
    try {
      this.#buffer.appendBuffer(bytes);
    } catch (error) {
      done.catch(() => {});
      throw error;
    }
    await done;
  }

  /** Drop what lies more than `keep` seconds behind the position. */
  async trim(keep) {
    const before = this.#position - keep;
    if (this.#buffer === null || !(before > (this.ranges[0]?.[0] ?? Infinity))) return;
    const done = once(this.#buffer, ["updateend"], ["error"]);
    this.#buffer.remove(0, before);
    await done;
  }

  /** A paused video stays where it is while the stream goes on; it will go on from the edge. */
  get #position() {
    return this.#video.paused ? (this.ranges.at(-1)?.[1] ?? 0) : this.#video.currentTime;
  }

  /** A new connection begins with whole boxes again: forget the part of one that the last may have left. */
  interrupt() {
    if (this.#buffer !== null && this.#source.readyState === "open") this.#buffer.abort();
  }

  /** Nothing follows: playback runs to the end of what is here, and stops. */
  finish() {
    if (this.#source.readyState === "open" && this.#buffer !== null) this.#source.endOfStream();
  }

  close() {
    URL.revokeObjectURL(this.#url);
    if (this.#video.src === this.#url) {
      this.#video.removeAttribute("src");
      this.#video.load();
    }
  }

  /** What is buffered: [[start, end], ...] in seconds. */
  get ranges() {
    if (this.#buffer === null || this.#source.readyState === "closed") return [];
    const ranges = this.#buffer.buffered;
    return Array.from({ length: ranges.length }, (_, index) => [ranges.start(index), ranges.end(index)]);
  }
}
