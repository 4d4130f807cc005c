// <sdp-player src="http://HOST:PORT/NAME">: a stream in any page, of any site. `import` this module, and write the
// element.

import { follow, wallNow } from "./clock.js";
import { Controls } from "./controls.js";
import { inside } from "./markup.js";
import { Panel } from "./panel.js";
import { oldest } from "./past.js";
import { Session } from "./session.js";

const FIGURES_EVERY = 250; // milliseconds
const OLDEST_EVERY = 10_000;

/**
 * Attributes: `src` (the stream's URL), `label` (its name for people who cannot see it; else what `src` says), `muted`
 * ("false": with sound, where the browser lets it), `target` (milliseconds of playout delay, or "auto"), `engine`
 * ("webcodecs", "mse", or "auto"). Events: "statechange" with {state, words}. `statistics` tells what it does.
 */
export class SDPPlayer extends HTMLElement {
  static observedAttributes = ["src", "target", "engine"];
  canvas;
  video;
  #panel;
  #controls = null;
  #session = null;
  #ending = null; // ends all that runs while it is connected
  #clock = null;
  #oldest = null; // the oldest moment that is kept, in milliseconds
  #state = { state: "waiting", words: "connecting" };

  constructor() {
    super();
    const root = this.attachShadow({ mode: "open" });
    root.append(inside());
    this.canvas = root.getElementById("canvas");
    this.video = root.getElementById("video");
    this.#panel = new Panel(root);
  }

  connectedCallback() {
    if (this.#ending !== null) return;
    const src = this.getAttribute("src");
    if (!src) return;
    const url = new URL(src, document.baseURI).href;
    const ending = new AbortController();
    this.#ending = ending;
    const { signal } = ending;
    const name = this.getAttribute("label") ?? decodeURIComponent(new URL(url).pathname.slice(1));
    for (const screen of [this.canvas, this.video]) screen.setAttribute("aria-label", name);
    this.#clock = follow(url, signal);
    this.#controls = new Controls(this.shadowRoot, this, signal);
    this.addEventListener("keydown", (event) => this.key(event), { signal });
    document.addEventListener("visibilitychange", () => this.#session?.player?.seen(!document.hidden), { signal });
    const muted = this.getAttribute("muted") !== "false";
    this.#session = new Session(url, this, { engine: this.getAttribute("engine"), rules: this.#rules, muted }, signal);
    this.#session.run().catch((error) => {
      if (signal.aborted) return;
      this.state({ state: "ended", words: "failed" });
      this.message(`The player failed: ${error.message}.`, { address: true });
      throw error;
    });
    const figures = setInterval(() => this.#tell(), FIGURES_EVERY);
    const askOldest = async () => {
      const found = document.hidden ? null : await oldest(url);
      if (found !== null) this.#oldest = found / 1000;
    };
    const past = setInterval(askOldest, OLDEST_EVERY);
    setTimeout(askOldest, 1000);
    signal.addEventListener("abort", () => {
      clearInterval(figures);
      clearInterval(past);
      this.#session.player?.close();
    });
  }

  disconnectedCallback() {
    this.#ending?.abort();
    this.#ending = this.#session = null;
  }

  attributeChangedCallback(_name, before, after) {
    if (before === after || !this.isConnected) return;
    this.disconnectedCallback();
    this.connectedCallback();
  }

  get #rules() {
    const target = this.getAttribute("target");
    return target !== null && /^[0-9]+(\.[0-9]+)?$/.test(target) ? { target: Number(target) * 1000 } : {};
  }

  // -- what a page, or a person, wants of it ------------------------------------------------------------------------

  get paused() {
    return this.#session?.player?.paused ?? false;
  }

  get isLive() {
    return this.#session?.player?.isLive ?? false;
  }

  get hasSound() {
    return this.#session?.player?.hasSound ?? false;
  }

  get muted() {
    return this.#session?.player?.muted ?? true;
  }

  set muted(muted) {
    const player = this.#session?.player;
    if (player) player.muted = muted;
  }

  togglePlay() {
    const player = this.#session?.player;
    if (!player) return;
    if (player.paused) player.play();
    else player.pause();
    this.#tell();
  }

  /** Go to the live edge. */
  live() {
    this.#session?.player?.live();
    this.#tell();
  }

  /** Go to the moment `ago` seconds before now; resolves to whether it is kept. */
  async seek(ago) {
    return (await this.#session?.player?.seek(Math.max(0, ago))) ?? false;
  }

  /** Go so many seconds forward, or back; beyond now is now. */
  seekBy(seconds) {
    const ago = (this.#ago ?? 0) - seconds;
    if (ago > 1) this.seek(ago);
    else this.live();
  }

  /** Act on a key that was pressed anywhere in the page; whether it was one of the player's. */
  key(event) {
    return this.#controls?.key(event) ?? false;
  }

  /** How many seconds before now what is painted was captured; null where unknown. */
  get #ago() {
    const captured = this.#session?.player?.statistics.shown?.captured ?? null;
    const theirs = this.#clock?.best ?? null;
    return captured === null || theirs === null ? null : (wallNow() + theirs.offset - captured / 1000) / 1000;
  }

  /**
   * What it does, or null while nothing plays: a player's statistics, and `latency` (seconds from capture to paint, by
   * the Origin's clock and this one), `clock` (the Distributor's clock less ours, {offset, error} in ms) and `kind`.
   */
  get statistics() {
    const player = this.#session?.player;
    if (!player) return null;
    const statistics = player.statistics;
    const clock = this.#clock?.best ?? null;
    const { captured = null, painted = 0 } = statistics.shown ?? {};
    const latency = captured === null || clock === null ? null : (painted + clock.offset - captured / 1000) / 1000;
    return { ...statistics, latency, clock, kind: player.kind };
  }

  #tell() {
    const statistics = this.statistics;
    if (statistics === null) return;
    const past = this.#oldest === null ? 0 : (wallNow() - this.#oldest) / 1000;
    this.#controls.show({ ago: this.#ago, past });
    this.#panel.add(statistics, !this.shadowRoot.getElementById("panel").hidden);
    this.#tellState(statistics);
  }

  // -- what the session has to say ----------------------------------------------------------------------------------

  /** "canvas" and "video": live, with our own controls; "file": with the browser's; "end": the last picture; "none". */
  show(mode) {
    this.canvas.hidden = !(mode === "canvas" || (mode === "end" && !this.canvas.hidden));
    this.video.hidden = mode === "canvas" || mode === "none" || (mode === "end" && !this.canvas.hidden);
    this.video.controls = mode === "file";
    this.#controls.hidden = !(mode === "canvas" || mode === "video");
    this.shadowRoot.getElementById("state").hidden = false;
  }

  tracks(tracks) {
    this.#panel.tracks(tracks);
  }

  state(state) {
    this.#state = state;
    this.#tellState(this.statistics);
  }

  #tellState(statistics) {
    let { state, words } = this.#state;
    if (state === "live" && statistics !== null) {
      if (statistics.state === "paused") [state, words] = ["paused", "paused"];
      else if (!this.isLive) [state, words] = ["past", "time shift"];
    }
    const element = this.shadowRoot.getElementById("state");
    if (element.dataset.state !== state) element.dataset.state = state;
    const word = element.querySelector(".word");
    if (word.textContent === words) return;
    word.textContent = words;
    this.dispatchEvent(new CustomEvent("statechange", { detail: { state, words } }));
  }

  /**
   * Show a sentence, the stream's address for other players, or a button: resolves when that is pressed. Null:
   * nothing.
   */
  message(text, { address = false, button = null } = {}) {
    const message = this.shadowRoot.getElementById("message");
    message.hidden = text === null;
    message.replaceChildren(text ?? "");
    if (address) {
      const link = document.createElement("a");
      link.href = link.textContent = new URL(this.getAttribute("src"), document.baseURI).href;
      message.append(" VLC, mpv and ffplay do: ", link);
    }
    if (button === null) return Promise.resolve();
    const element = document.createElement("button");
    element.type = "button";
    element.textContent = button;
    message.append(element);
    return new Promise((resolve) => element.addEventListener("click", resolve, { once: true }));
  }
}

customElements.define("sdp-player", SDPPlayer);
