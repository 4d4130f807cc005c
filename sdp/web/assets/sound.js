// Coded sound to the loudspeaker: decoded (WebCodecs), and handed to an AudioWorklet that plays it as the playout
// wants.

const PIECE = 0.01; // seconds that the worklet gives out at a time
const MOST_INSIDE = 256; // pieces that wait for the decoder: five seconds

/** Plays one track of sound. `failed(error)` is called when the decoder gives up. */
export class Sound {
  /** What the worklet last told: {context, position, cuts, missing}; null before. */
  told = null;
  decoded = 0;
  #failed;
  #track;
  #context = null;
  #node = null;
  #closing = new AbortController();
  #decoder = null;
  #delay = 0; // what decoding takes, in microseconds
  #sent = new Map(); // by time: when a piece went into the decoder

  constructor(track, failed) {
    this.#track = track;
    this.#failed = failed;
  }

  /** Whether this browser decodes the track and lets a script play it. */
  static async isPlayable(track) {
    if (globalThis.AudioDecoder === undefined || globalThis.AudioWorkletNode === undefined) return false;
    const { supported } = await AudioDecoder.isConfigSupported(configOf(track)).catch(() => ({ supported: false }));
    return supported;
  }

  /** Begin: to be called when a person has asked for sound, for else a browser may keep it silent. */
  async open() {
    this.#context = new AudioContext({ sampleRate: this.#track.rate, latencyHint: "interactive" });
    const context = this.#context;
    await context.audioWorklet.addModule(new URL("./worklet.js", import.meta.url));
    if (context !== this.#context) return;
    const channels = Math.min(this.#track.channels, 2);
    const options = { numberOfInputs: 0, outputChannelCount: [channels], processorOptions: { channels } };
    this.#node = new AudioWorkletNode(context, "sdp-loudspeaker", options);
    this.#node.port.onmessage = ({ data }) => {
      this.told = data;
    };
    this.#node.connect(context.destination);
    // A browser that lets no page be loud before a person has touched it lets it from then on.
    for (const kind of ["pointerup", "keydown"]) {
      document.addEventListener(kind, () => context.resume(), { signal: this.#closing.signal });
    }
    await context.resume();
  }

  get isOpen() {
    return this.#node !== null && this.#context.state === "running";
  }

  /**
   * Microseconds from a piece's arrival until it can be heard: decoding, the worklet's steps, and the system's own
   * delay.
   */
  get overhead() {
    if (!this.isOpen) return 0;
    return this.#delay + 2e6 * PIECE + 1e6 * Math.max(0, this.#context.currentTime - this.#heard());
  }

  /** The moment of the context that is being heard now. */
  #heard() {
    const { contextTime, performanceTime } = this.#context.getOutputTimestamp();
    if (performanceTime > 0) return contextTime + (performance.now() - performanceTime) / 1000;
    return this.#context.currentTime - (this.#context.outputLatency || this.#context.baseLatency || 0);
  }

  push(sample) {
    const decoder = this.#openDecoder();
    if (decoder.decodeQueueSize >= MOST_INSIDE) return;
    if (this.#sent.size > MOST_INSIDE) this.#sent.clear(); // times that never came out again
    this.#sent.set(sample.time, performance.now());
    const { time, duration, data } = sample;
    decoder.decode(new EncodedAudioChunk({ type: "key", timestamp: time, duration, data }));
  }

  #openDecoder() {
    if (this.#decoder !== null) return this.#decoder;
    const decoder = new AudioDecoder({
      output: (data) => (decoder === this.#decoder ? this.#decoded(data) : data.close()),
      error: (error) => decoder === this.#decoder && this.#broken(error),
    });
    decoder.configure(configOf(this.#track));
    this.#decoder = decoder;
    return decoder;
  }

  #broken(error) {
    this.#decoder = null;
    this.#sent.clear();
    this.#failed(error);
  }

  #decoded(data) {
    const sent = this.#sent.get(data.timestamp);
    this.#sent.delete(data.timestamp);
    if (sent !== undefined) this.#delay += ((performance.now() - sent) * 1000 - this.#delay) / 16;
    this.decoded += 1;
    if (this.#node !== null) {
      const planes = Array.from({ length: Math.min(data.numberOfChannels, 2) }, (_, planeIndex) => {
        const plane = new Float32Array(data.numberOfFrames);
        data.copyTo(plane, { planeIndex, format: "f32-planar" });
        return plane;
      });
      const time = data.timestamp;
      this.#node.port.postMessage({ time, planes }, planes.map((plane) => plane.buffer));
    }
    data.close();
  }

  /** The stream's moment `position` (microseconds) is being presented now, at `rate`; null for none: silence. */
  follow(position, rate) {
    if (this.#node === null) return;
    this.#node.port.postMessage({ anchor: position === null ? null : { context: this.#heard(), position, rate } });
  }

  close() {
    if (this.#decoder !== null && this.#decoder.state !== "closed") this.#decoder.close();
    this.#decoder = this.#node = null;
    this.#closing.abort();
    this.#context?.close();
    this.#context = null;
  }
}

function configOf(track) {
  return {
    codec: track.codec,
    sampleRate: track.rate,
    numberOfChannels: track.channels,
    ...(track.configuration && { description: track.configuration }),
  };
}
