// Coded pictures to a canvas: queued, decoded a few ahead (WebCodecs), and painted when they are due.
// Every picture is accounted for: painted, or dropped because a newer one was due, or skipped before it was decoded.

const MOST_DECODED = 6; // pictures that wait decoded: each holds some of the decoder's own memory
const MOST_WAITING = 3600; // coded pictures, a minute at 60 a second: live, the playout skips long before

/** Paints one track of pictures. `failed(error)` is called when the decoder gives up. */
export class Pictures {
  counts = { decoded: 0, painted: 0, late: 0, skipped: 0 };
  /**
   * What was painted last: {time, duration, captured, arrived, decoded, painted}; moments in milliseconds of
   * performance.now().
   */
  shown = null;
  #canvas;
  #context;
  #failed;
  #decoder = null;
  #track = null;
  #waiting = []; // coded, in decoding order
  #ready = []; // decoded: {frame, about}, by time
  #inside = new Map(); // by time: what is known of a picture that is being decoded
  #needsKey = true;

  constructor(canvas, failed) {
    this.#canvas = canvas;
    this.#context = canvas.getContext("2d", { alpha: false, desynchronized: true });
    this.#failed = failed;
  }

  /** Whether this browser decodes the track; the answer of a browser that has no WebCodecs is no. */
  static async isPlayable(track) {
    if (globalThis.VideoDecoder === undefined) return false;
    const { supported } = await VideoDecoder.isConfigSupported(configOf(track)).catch(() => ({ supported: false }));
    return supported;
  }

  /** What follows is decoded as `track` says. */
  configure(track) {
    this.#track = track;
    this.jump();
  }

  /** What follows does not follow on: nothing can be decoded before the next random access point. */
  jump() {
    this.#needsKey = true;
  }

  /** A coded picture has arrived, at the moment `arrived` (milliseconds). */
  push(sample, arrived) {
    if (this.#needsKey && !sample.sync) {
      this.counts.skipped += 1;
      return;
    }
    const begins = this.#needsKey;
    this.#needsKey = false;
    this.#waiting.push({ sample, arrived, begins });
    if (this.#waiting.length > MOST_WAITING) this.skipTo(this.#waiting.at(-1).sample.time);
    this.#decode();
  }

  /** Leave out what has not been decoded before the random access point at `time`. */
  skipTo(time) {
    const at = this.#waiting.findLastIndex(({ sample }) => sample.sync && sample.time <= time);
    if (at <= 0) return;
    this.counts.skipped += at;
    this.#waiting.splice(0, at);
    this.#decode();
  }

  /** How many pictures are here and not painted. */
  get queued() {
    return this.#waiting.length + this.#inside.size + this.#ready.length;
  }

  #decode() {
    while (this.#waiting.length > 0 && this.#ready.length < MOST_DECODED) {
      const decoder = this.#openDecoder();
      if (decoder.decodeQueueSize >= MOST_DECODED) return;
      const { sample, arrived, begins } = this.#waiting.shift();
      // A picture that never comes out, as of a reset decoder, must not be waited for.
      if (begins && this.#inside.size > 0) this.#abandon();
      const { time, duration, captured } = sample;
      this.#inside.set(time, { time, duration, captured, arrived, decoded: 0, painted: 0 });
      const type = sample.sync ? "key" : "delta";
      decoder.decode(new EncodedVideoChunk({ type, timestamp: time, duration, data: sample.data }));
    }
  }

  #openDecoder() {
    if (this.#decoder !== null && this.#decoder.track === this.#track) return this.#decoder;
    this.#closeDecoder();
    const decoder = new VideoDecoder({
      output: (frame) => (decoder === this.#decoder ? this.#decoded(frame) : frame.close()),
      error: (error) => decoder === this.#decoder && this.#broken(error),
    });
    decoder.configure(configOf(this.#track));
    decoder.track = this.#track;
    decoder.addEventListener("dequeue", () => decoder === this.#decoder && this.#decode());
    this.#decoder = decoder;
    return decoder;
  }

  #closeDecoder() {
    const decoder = this.#decoder;
    this.#decoder = null;
    if (decoder !== null && decoder.state !== "closed") decoder.close();
    this.#abandon();
  }

  /** Pictures that went into the decoder and will not come out. */
  #abandon() {
    this.counts.skipped += this.#inside.size;
    this.#inside.clear();
  }

  #decoded(frame) {
    const about = this.#inside.get(frame.timestamp);
    this.#inside.delete(frame.timestamp);
    if (about === undefined) return frame.close();
    about.decoded = performance.now();
    this.counts.decoded += 1;
    this.#ready.push({ frame, about });
    return this.onDecoded(about);
  }

  /** Called for each picture that is ready; to be set. */
  onDecoded() {}

  #broken(error) {
    this.#closeDecoder();
    this.#waiting = [];
    this.jump();
    this.#failed(error);
  }

  /** Paint the newest picture that is due at `position` (microseconds of the stream); true where there was one. */
  show(position) {
    let due = null;
    while (this.#ready.length > 0 && this.#ready[0].about.time <= position) {
      if (due !== null) {
        due.frame.close();
        this.counts.late += 1;
      }
      due = this.#ready.shift();
    }
    if (due === null) return false;
    this.#paint(due);
    this.#decode();
    return true;
  }

  #paint({ frame, about }) {
    const canvas = this.#canvas;
    if (canvas.width !== frame.displayWidth || canvas.height !== frame.displayHeight) {
      canvas.width = frame.displayWidth;
      canvas.height = frame.displayHeight;
    }
    this.#context.drawImage(frame, 0, 0, canvas.width, canvas.height);
    frame.close();
    about.painted = performance.now();
    this.counts.painted += 1;
    this.shown = about;
  }

  /** Nothing of what is here is wanted any more; what was painted last stays. */
  clear() {
    this.#closeDecoder();
    this.counts.skipped += this.#waiting.length;
    this.counts.late += this.#ready.length;
    for (const { frame } of this.#ready) frame.close();
    this.#waiting = [];
    this.#ready = [];
    this.jump();
  }
}

function configOf(track) {
  return {
    codec: track.codec,
    codedWidth: track.width,
    codedHeight: track.height,
    optimizeForLatency: true,
    ...(track.configuration && { description: track.configuration }),
  };
}
