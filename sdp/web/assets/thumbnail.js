// A stream's newest picture that can be decoded by itself, small: its random access point is fetched with what it is
// decoded with, and shown by the browser's own player, which stands still.

const TIME_LIMIT = 8000; // milliseconds for all of it
const MOST = 8 << 20; // bytes of a picture: what is larger is not worth a thumbnail
const PAST = 1; // records that are asked for beside the picture's own, to know where it ends

const sniffed = (type) => (/^(video|audio)\//.test(type) ? type : "video/mp4");

export class Thumbnail {
  /** The newest random access point's times, {captured, received} (microseconds since the Unix epoch), or null. */
  times = null;
  #canvas;
  #name;
  #shown = null; // the picture that shows: its epoch and offset
  #initialization = null; // {epoch, bytes} of the last one

  constructor(canvas, name) {
    this.#canvas = canvas;
    this.#name = name;
  }

  /** Show what is newest now; whether there is a picture. */
  async refresh(type) {
    const signal = AbortSignal.timeout(TIME_LIMIT);
    const newest = await this.#ask("records", { newest: "random-access" }, signal);
    const point = newest?.records[0];
    if (point === undefined) return false;
    this.times = { captured: point.capture_time ?? null, received: point.received_time ?? null };
    const place = `${newest.epoch} ${point.offset}`;
    if (place === this.#shown) return true;
    const bytes = await this.#fetch(newest, point.offset, signal);
    if (bytes === null) return this.#shown !== null;
    await this.#paint(new Blob(bytes, { type: sniffed(type) }), signal);
    this.#shown = place;
    return true;
  }

  /** What the picture is decoded with, and the picture: two runs of bytes, or null. */
  async #fetch({ epoch, end_offset: edge }, offset, signal) {
    const following = await this.#ask("records", { epoch, first: offset, limit: 1 + PAST }, signal);
    const end = following?.records[1]?.offset ?? edge;
    if (end <= offset || end - offset > MOST) return null;
    if (this.#initialization?.epoch !== epoch) {
      const response = await this.#get(`/-/initialization/${this.#name}`, { before: offset, epoch }, signal);
      if (!response.ok) return null;
      this.#initialization = { epoch, bytes: new Uint8Array(await response.arrayBuffer()) };
    }
    const response = await this.#get(`/${this.#name}`, { epoch }, signal, { Range: `bytes=${offset}-${end - 1}` });
    return response.status === 206 ? [this.#initialization.bytes, new Uint8Array(await response.arrayBuffer())] : null;
  }

  async #ask(view, query, signal) {
    const response = await this.#get(`/-/${view}/${this.#name}`, query, signal);
    return response.ok ? response.json() : null;
  }

  #get(path, query, signal, headers = {}) {
    return fetch(`${path}?${new URLSearchParams(query)}`, { cache: "no-store", signal, headers });
  }

  async #paint(blob, signal) {
    const video = document.createElement("video");
    const address = URL.createObjectURL(blob);
    try {
      video.muted = true;
      video.preload = "auto";
      await new Promise((resolve, reject) => {
        video.addEventListener("loadeddata", resolve, { once: true });
        video.addEventListener("error", () => reject(new Error("This browser does not show it.")), { once: true });
        signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        video.src = address;
      });
      if (video.videoWidth === 0) return;
      const canvas = this.#canvas;
      canvas.height = Math.max(1, Math.round((canvas.width * video.videoHeight) / video.videoWidth));
      canvas.getContext("2d").drawImage(video, 0, 0, canvas.width, canvas.height);
      canvas.dataset.painted = "true";
    } finally {
      video.removeAttribute("src");
      video.load();
      URL.revokeObjectURL(address);
    }
  }
}
