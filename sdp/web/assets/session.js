// The ways to play one stream, and which of them comes next: live while it is live, its recording once it has ended,
// and what is left where this browser can do neither.

import { BufferedPlayer } from "./buffered.js";
import { DirectPlayer } from "./direct.js";
import { oneStream, told } from "./streams.js";
import { Unplayable } from "./unplayable.js";

const ASK_EVERY = 2000; // milliseconds

/** The players that may be tried, the best one first. */
const PLAYERS = { webcodecs: DirectPlayer, mse: BufferedPlayer };

/**
 * `view` shows what is going on: screens (canvas and video), show(mode, player), state({state, words}), message(text,
 * {address, button}) and tracks(tracks); see Player, which is one.
 */
export class Session {
  player = null;
  #url;
  #view;
  #options;
  #signal;
  #connection = { kind: "connecting" };
  #stream; // what the Distributor last said of it: an object, null for none, undefined for no answer
  #changed = () => {}; // called when it is known anew

  /** `options` are {engine, rules, muted}; all ends when `signal` aborts. */
  constructor(url, view, options, signal) {
    this.#url = url;
    this.#view = view;
    this.#options = options;
    this.#signal = signal;
  }

  async run() {
    this.#keepAsking();
    await this.#ask();
    let next = this.#stream?.state === "ended" ? "recording" : "live";
    while (!this.#signal.aborted) {
      try {
        next = next === "recording" ? await this.#playRecording() : await this.#playLive();
      } catch (error) {
        if (!(error instanceof Unplayable)) throw error;
        await this.#playOtherwise(error);
        next = "live";
      }
    }
  }

  async #playLive() {
    let reason = new Unplayable("This browser has neither WebCodecs nor Media Source Extensions.", "unknown");
    for (const Player of this.#players()) {
      try {
        const outcome = await this.#playWith(Player);
        await this.#ask();
        return outcome === "recorded" ? "recording" : outcome === "over" ? this.#end() : "stopped";
      } catch (error) {
        this.#close();
        if (!(error instanceof Unplayable)) throw error;
        reason = error;
        if (error.container === "mpegts") break; // which no browser takes apart
      }
    }
    throw reason;
  }

  #players() {
    const { engine } = this.#options;
    const wanted = PLAYERS[engine] === undefined ? Object.values(PLAYERS) : [PLAYERS[engine]];
    return wanted.filter((Player) => Player.isPossible);
  }

  async #playWith(Player) {
    this.#close();
    this.#connection = { kind: "connecting" };
    const isDirect = Player === DirectPlayer;
    const report = (event) => this.#report(event);
    const { rules, muted } = this.#options;
    const screen = isDirect ? this.#view.canvas : this.#view.video;
    this.player = new Player(screen, this.#url, { rules, muted, report });
    this.#view.message(null);
    this.#view.show(isDirect ? "canvas" : "video", this.player);
    this.#tell();
    if (document.hidden) this.player.seen(false);
    return this.player.run(this.#signal, async () => (await this.#ask())?.state === "ended");
  }

  #report(event) {
    if (event.kind === "opened") this.#connection = { kind: "open" };
    if (event.kind === "refused" || event.kind === "broken") this.#connection = event;
    if (event.kind === "tracks") this.#view.tracks(event.tracks);
    this.#tell();
  }

  #tell(words = told(this.#connection, this.#stream)) {
    this.#view.state(words);
  }

  #close() {
    if (this.player !== null) this.#options.muted = this.player.muted;
    this.player?.close();
    this.player = null;
  }

  /** It has ended while it was watched: its last picture stays until something else is to be played. */
  async #end() {
    this.#connection = { kind: "over" };
    this.#tell();
    this.#view.show("end", null);
    const epoch = this.#stream?.epoch;
    const asked = this.#view.message("", { button: "Watch the recording" }).then(() => "recording");
    return Promise.race([asked, this.#untilLive(epoch).then(() => "live")]);
  }

  async #playRecording() {
    this.#close();
    const epoch = this.#stream?.epoch;
    this.#view.message(null);
    this.#view.show("file", null);
    this.#tell({ state: "ended", words: "ended: this is the recording" });
    const address = new URL(this.#url);
    if (epoch) address.searchParams.set("epoch", epoch);
    const leave = new AbortController();
    const explain = () => this.#explainRecording();
    this.#view.video.addEventListener("error", explain, { signal: leave.signal });
    this.#playFile(address.href);
    await this.#untilLive(epoch);
    leave.abort();
    if (this.#signal.aborted) return "stopped";
    this.#tell({ state: "live", words: "live again" });
    await this.#view.message("", { button: "Go to the live stream" });
    return "live";
  }

  /** Hand an address itself to the browser: a recording, or what only the browser knows how to play. */
  #playFile(address) {
    const { video } = this.#view;
    video.playbackRate = 1;
    video.muted = this.#options.muted;
    video.src = address;
    video.play().catch(() => {});
  }

  /** The browser has refused the recording: without a word it would be an empty picture. */
  #explainRecording() {
    this.#view.show("none", null);
    this.#tell({ state: "ended", words: "cannot be played here" });
    const isTransport = this.#stream?.content_type?.toLowerCase() === "video/mp2t";
    const what = isTransport ? "This recording is an MPEG transport stream, which browsers do not play." : null;
    this.#view.message(what ?? "This browser does not play this recording.", { address: true });
  }

  async #playOtherwise(error) {
    this.#close();
    const epoch = this.#stream?.epoch;
    const { video } = this.#view;
    if (error.container !== "mpegts") {
      this.#view.show("file", null);
      this.#playFile(this.#url);
      this.#tell({ state: "live", words: "live, with the browser's own delay" });
      const failed = new Promise((resolve) => video.addEventListener("error", resolve, { once: true }));
      await Promise.race([failed, this.#untilLive(epoch)]);
      if (video.error === null) return;
    }
    this.#view.show("none", null);
    this.#tell({ state: "ended", words: "cannot be played here" });
    const transport = "This stream is an MPEG transport stream, which browsers do not play.";
    this.#view.message(error.container === "mpegts" ? transport : error.message, { address: true });
    await this.#untilLive(epoch);
  }

  // -- what the Distributor says of it ----------------------------------------------------------------------------

  /** The Distributor has another epoch than `epoch`, and it is live. */
  async #untilLive(epoch) {
    const isOther = () => this.#stream && this.#stream.state === "live" && this.#stream.epoch !== epoch;
    while (!isOther() && !this.#signal.aborted) {
      await new Promise((resolve) => {
        this.#changed = resolve;
        this.#signal.addEventListener("abort", resolve, { once: true });
      });
    }
  }

  async #ask() {
    this.#stream = await oneStream(this.#url);
    this.#changed();
    return this.#stream;
  }

  async #keepAsking() {
    while (!this.#signal.aborted) {
      await new Promise((resolve) => setTimeout(resolve, ASK_EVERY));
      if (this.#signal.aborted || document.hidden) continue;
      await this.#ask();
      if (this.player !== null) this.#tell();
    }
  }
}
