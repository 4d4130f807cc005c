// The statistics over the picture: figures, and curves of the last minute.

import { Series, drawCurve } from "./curve.js";
import { bitRate } from "./streams.js";

const UNKNOWN = "–";

/** Say seconds as a person reads them: milliseconds below two seconds. */
export function duration(seconds) {
  if (seconds === null || !Number.isFinite(seconds)) return UNKNOWN;
  if (Math.abs(seconds) < 1.9995) return `${Math.round(seconds * 1000)} ms`;
  if (Math.abs(seconds) < 60) return `${seconds.toFixed(1)} s`;
  const whole = Math.round(seconds);
  const [hours, minutes] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60];
  const rest = `${String(minutes).padStart(hours > 0 ? 2 : 1, "0")}:${String(whole % 60).padStart(2, "0")}`;
  return hours > 0 ? `${hours}:${rest}` : rest;
}

/** Say how far a clock is from ours, and how well that is known; both in milliseconds. */
export function offsetWords(best) {
  if (best === null) return UNKNOWN;
  return `${best.offset < 0 ? "−" : "+"}${Math.abs(best.offset).toFixed(1)} ± ${best.error.toFixed(1)} ms`;
}

export class Panel {
  #root;
  #curves = { "latency-curve": new Series(), "buffer-curve": new Series(), "rate-curve": new Series() };

  /** `root` finds the elements by their ids. */
  constructor(root) {
    this.#root = root;
  }

  #write(id, text) {
    const element = this.#root.getElementById(id);
    if (element.textContent !== text) element.textContent = text;
  }

  tracks(tracks) {
    const picture = tracks.find((track) => track.kind === "video");
    this.#write("size", picture ? `${picture.width} × ${picture.height}` : "none");
    this.#write("codecs", tracks.map((track) => track.codec).join(", ") || UNKNOWN);
  }

  /** One more point of each curve, and the figures as they are now; drawn only where somebody looks. */
  add(statistics, isShown) {
    const { latency, buffered, bitRate: rate } = statistics;
    const now = { "latency-curve": latency, "buffer-curve": buffered, "rate-curve": rate };
    for (const [id, value] of Object.entries(now)) this.#curves[id].add(value ?? NaN);
    if (!isShown) return;
    this.#write("latency-curve-now", duration(latency));
    this.#write("buffer-curve-now", duration(buffered));
    this.#write("rate-curve-now", bitRate(rate));
    for (const [id, series] of Object.entries(this.#curves)) drawCurve(this.#root.getElementById(id), series);
    this.#figures(statistics);
  }

  #figures(statistics) {
    const { latency, delay, target, clock, rate, pictures, stalls, skips, kind } = statistics;
    const error = clock === null ? "" : ` ± ${Math.max(1, Math.round(clock.error))}`;
    this.#write("latency", latency === null ? UNKNOWN : duration(latency) + error);
    this.#write("delay", `${duration(delay)} of ${duration(target)}`);
    this.#write("clock", offsetWords(clock));
    this.#write("speed", `${rate.toFixed(3)} ×`);
    const { painted, late, skipped } = pictures;
    this.#write("frames", `${painted}, ${late} late${skipped === null ? "" : `, ${skipped} skipped`}`);
    this.#write("stalls", `${stalls}, ${skips}`);
    this.#write("way", kind);
  }
}
