// The dashboard: a card for each stream, with its newest picture and its figures, which keep themselves up to date.

import { Series, drawCurve } from "./curve.js";
import { duration } from "./panel.js";
import { allStreams, bitRate, copy, greatestLag, ordered } from "./streams.js";
import { Thumbnail } from "./thumbnail.js";

const REFRESH = 2000; // milliseconds
const THUMBNAIL_EVERY = 4000;
const AT_A_TIME = 2; // thumbnails that are fetched at once: a browser has six connections to a server
const KEPT = 120; // values of a curve: four minutes

const list = document.getElementById("streams");
const blank = document.getElementById("card");
const notice = document.getElementById("notice");

/** Write only what differs: a screen reader, a selection and the eye are left alone. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

/** One stream's place on the page. */
class Card {
  isSeen = false;
  #stream = null;
  #thumbnail;
  #refreshed = -Infinity;
  #latency = new Series(KEPT);
  #lag = new Series(KEPT);

  constructor(root, name) {
    this.root = root;
    this.name = name;
    this.#thumbnail = new Thumbnail(this.#find(".thumbnail canvas"), name);
    const plain = this.#find(".plain");
    plain.textContent = plain.href;
    const button = this.#find(".copy");
    button.hidden = false;
    button.addEventListener("click", async () => {
      write(button, (await copy(plain.href, plain)) ? "Copied" : "Press Ctrl+C");
      setTimeout(() => write(button, "Copy"), 2000);
    });
  }

  static blank(name) {
    const root = document.importNode(blank.content.firstElementChild, true);
    root.dataset.name = name;
    root.querySelector(".watch").href = `/-/watch/${name}`;
    root.querySelector(".name").textContent = name;
    root.querySelector(".copy").setAttribute("aria-label", `Copy the address of ${name}`);
    root.querySelector(".plain").href = `/${name}`;
    return new Card(root, name);
  }

  #find(selector) {
    return this.root.querySelector(selector);
  }

  update(stream) {
    this.#stream = stream;
    if (this.root.dataset.state !== stream.state) this.root.dataset.state = stream.state;
    write(this.#find(".word"), stream.state);
    write(this.#find(".bit-rate"), bitRate(stream.bit_rate));
    write(this.#find(".consumers"), String(stream.consumers.length));
    write(this.#find(".content-type"), stream.content_type);
    this.#find(".curves").hidden = stream.state !== "live";
    const { captured = null, received = null } = this.#thumbnail.times ?? {};
    const latency = captured === null || received === null ? null : (received - captured) / 1e6;
    const lag = greatestLag(stream);
    this.#latency.add(latency ?? NaN);
    this.#lag.add(lag ?? NaN);
    if (!this.isSeen) return;
    write(this.#find(".latency"), duration(latency));
    write(this.#find(".lag"), duration(lag));
    drawCurve(this.#find(".latency-curve"), this.#latency);
    drawCurve(this.#find(".lag-curve"), this.#lag);
  }

  /** Whether its picture should be a newer one. What does not go on needs one once. */
  isDue(now) {
    if (!this.isSeen || this.#stream === null) return false;
    if (this.#stream.state !== "live") return this.#refreshed === -Infinity;
    return now - this.#refreshed >= THUMBNAIL_EVERY;
  }

  async refresh(now) {
    this.#refreshed = now;
    const type = this.#stream.content_type;
    // No picture is no fault: it may be sound, or a codec that this browser has not.
    const there = await this.#thumbnail.refresh(type).catch(() => false);
    this.root.classList.toggle("without", !there);
  }
}

const cards = new Map(Array.from(list.children, (root) => [root.dataset.name, new Card(root, root.dataset.name)]));
const seen = new IntersectionObserver((entries) => {
  for (const { target, isIntersecting } of entries) {
    const card = cards.get(target.dataset.name);
    if (card !== undefined) card.isSeen = isIntersecting;
  }
});
for (const card of cards.values()) seen.observe(card.root);

function showAll(streams) {
  const present = new Set(streams.map((stream) => stream.name));
  for (const [name, card] of cards) {
    if (present.has(name)) continue;
    seen.unobserve(card.root);
    card.root.remove();
    cards.delete(name);
  }
  ordered(streams).forEach((stream, index) => {
    let card = cards.get(stream.name);
    if (card === undefined) {
      card = Card.blank(stream.name);
      cards.set(stream.name, card);
      seen.observe(card.root);
    }
    if (list.children[index] !== card.root) list.insertBefore(card.root, list.children[index] ?? null);
    card.update(stream);
  });
  write(document.getElementById("count"), `${streams.filter((stream) => stream.state === "live").length} live`);
  const publish = streams.length > 0 ? "Publish a stream" : "No streams yet: here is how to publish one";
  write(document.querySelector("#publish summary"), publish);
}

async function refreshStreams() {
  try {
    showAll(await allStreams());
    notice.hidden = true;
  } catch {
    write(notice, "The Distributor does not answer: trying again.");
    notice.hidden = false;
  }
}

const pause = (milliseconds) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** One of those that fetch pictures, a card after another. */
async function keepPainting() {
  for (;;) {
    const now = performance.now();
    const due = document.hidden ? undefined : [...cards.values()].find((card) => card.isDue(now));
    if (due === undefined) await pause(200);
    else await due.refresh(now);
  }
}

for (const base of document.querySelectorAll(".base")) base.textContent = location.origin;
for (let count = 0; count < AT_A_TIME; count += 1) keepPainting();
for (;;) {
  if (!document.hidden) await refreshStreams();
  await pause(REFRESH);
}
