// What a person does to a player, by pointer, touch and keys; and what the controls say of it.

import { duration } from "./panel.js";

const STEP = 10; // seconds that an arrow key goes
const IDLE = 3000; // milliseconds without a touch or a move after which the controls go
const LEAST_WINDOW = 5; // seconds of past that are worth a time bar

export class Controls {
  #root;
  #player;
  #window = 0; // seconds of past that are kept
  #hideTimer = 0;
  #dragging = false;
  #byTouch = false;

  /** `player` is the element; `root` finds what is inside of it. */
  constructor(root, player, signal) {
    this.#root = root;
    this.#player = player;
    const on = (id, kind, act) => root.getElementById(id).addEventListener(kind, act, { signal });
    on("play", "click", () => player.togglePlay());
    on("sound", "click", () => this.#toggleSound());
    on("live", "click", () => player.live());
    on("figures", "click", () => this.togglePanel());
    on("full", "click", () => this.toggleFull());
    on("time", "input", () => this.#drag());
    on("time", "change", () => this.#drop());
    for (const kind of ["pointermove", "pointerdown", "focusin", "keydown"]) {
      on("picture", kind, (event) => this.#awake(event));
    }
    for (const id of ["canvas", "video"]) on(id, "click", () => this.#tapped());
    on("picture", "dblclick", (event) => event.target.closest("button, input") || this.toggleFull());
  }

  #element(id) {
    return this.#root.getElementById(id);
  }

  set hidden(hidden) {
    this.#element("controls").hidden = hidden;
    if (hidden) this.#element("panel").hidden = true;
  }

  // -- keys ---------------------------------------------------------------------------------------------------------

  /** Act on a key; whether it was one of ours. */
  key(event) {
    if (event.ctrlKey || event.altKey || event.metaKey || this.#element("controls").hidden) return false;
    const target = event.composedPath()[0];
    // What has the focus keeps its own keys: space presses a button.
    if (event.key === " " && target.closest?.("button, a, summary")) return false;
    const act = {
      " ": () => this.#player.togglePlay(),
      ArrowLeft: () => this.#player.seekBy(-STEP),
      ArrowRight: () => this.#player.seekBy(STEP),
      Home: () => this.#player.seek(this.#window),
      End: () => this.#player.live(),
      f: () => this.toggleFull(),
      m: () => this.#toggleSound(),
      s: () => this.togglePanel(),
    }[event.key.length === 1 ? event.key.toLowerCase() : event.key];
    if (act === undefined) return false;
    event.preventDefault();
    if (!event.repeat) act();
    return true;
  }

  // -- pointer and touch ----------------------------------------------------------------------------------------------

  #awake(event) {
    this.#byTouch = event.pointerType === "touch";
    // A finger's first tap shows the controls, and does nothing else.
    if (event.type !== "pointerdown" || !this.#byTouch) this.wake();
  }

  /** Show the controls, for a while. */
  wake() {
    const picture = this.#element("picture");
    picture.classList.remove("idle");
    clearTimeout(this.#hideTimer);
    this.#hideTimer = setTimeout(() => {
      if (!this.#player.paused && !this.#dragging) picture.classList.add("idle");
    }, IDLE);
  }

  #tapped() {
    const wasIdle = this.#element("picture").classList.contains("idle");
    this.wake();
    if (this.#element("controls").hidden || (this.#byTouch && wasIdle)) return;
    if (!this.#byTouch) this.#player.togglePlay();
    else this.#element("picture").classList.add("idle");
  }

  #drag() {
    this.#dragging = true;
    this.#showWhere(this.#window - Number(this.#element("time").value));
  }

  #drop() {
    this.#dragging = false;
    const ago = this.#window - Number(this.#element("time").value);
    if (ago < 1) this.#player.live();
    else this.#player.seek(ago);
  }

  // -- what it says
  // -----------------------------------------------------------------------------------------------------

  #toggleSound() {
    this.#player.muted = !this.#player.muted;
    this.show();
  }

  togglePanel() {
    const panel = this.#element("panel");
    panel.hidden = !panel.hidden;
    this.#element("figures").setAttribute("aria-pressed", String(!panel.hidden));
  }

  toggleFull() {
    const player = this.#element("player");
    if (this.#root.fullscreenElement) return void document.exitFullscreen();
    if (player.requestFullscreen) return void player.requestFullscreen().catch(() => {});
    return this.#element("video").webkitEnterFullscreen?.();
  }

  #label(id, isOn, words) {
    const button = this.#element(id);
    button.classList.toggle("is-on", isOn);
    if (button.getAttribute("aria-label") !== words) button.setAttribute("aria-label", words);
  }

  /** Say what is: `ago` is how many seconds before now what is presented was, null where unknown. */
  show({ ago = null, past = this.#window, isLive = this.#player.isLive } = {}) {
    const { paused, muted, hasSound } = this.#player;
    this.#label("play", paused, paused ? "Play" : "Pause");
    this.#label("sound", !muted, muted ? "Sound on" : "Sound off");
    this.#element("sound").hidden = !hasSound;
    this.#element("live").classList.toggle("is-live", isLive);
    this.#window = past;
    const time = this.#element("time");
    time.hidden = past < LEAST_WINDOW;
    if (this.#dragging) return;
    const behind = isLive ? 0 : (ago ?? 0);
    if (Number(time.max) !== Math.round(past)) time.max = String(Math.round(past));
    time.value = String(Math.round(past - behind));
    this.#showWhere(behind);
  }

  #showWhere(behind) {
    const words = behind < 1 ? "live" : `${duration(Math.round(behind))} behind`;
    const where = this.#element("where");
    const text = behind < 1 ? "" : `−${duration(Math.round(behind))}`;
    if (where.textContent !== text) where.textContent = text;
    this.#element("time").setAttribute("aria-valuetext", words);
  }
}
