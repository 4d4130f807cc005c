// The list of streams: keeps itself up to date, and shows one of them.

import { allStreams, bitRate, chosen, copy, ordered } from "./streams.js";

const REFRESH = 2000; // milliseconds

const list = document.getElementById("streams");
const blank = document.getElementById("row");
const stage = document.getElementById("stage");
const preview = document.getElementById("preview");
const caption = document.getElementById("caption");
const notice = document.getElementById("notice");

const rows = new Map(Array.from(list.children, (row) => [row.dataset.name, row]));
let streams = [];
let picked = null;
let shown = null; // the epoch that plays

/** Write only what differs: a screen reader, a selection and the eye are left alone. */
function write(element, text) {
  if (element.textContent !== text) element.textContent = text;
}

function newRow(name) {
  const row = blank.content.firstElementChild.cloneNode(true);
  row.dataset.name = name;
  const watch = row.querySelector(".watch");
  watch.href = `/-/watch/${name}`;
  watch.textContent = name;
  row.querySelector(".copy").setAttribute("aria-label", `Copy the address of ${name}`);
  row.querySelector(".show").setAttribute("aria-label", `Show ${name} on this page`);
  const plain = row.querySelector(".plain");
  plain.href = `/${name}`;
  rows.set(name, row);
  return liven(row);
}

/** What needs a script: whole addresses, and the buttons. */
function liven(row) {
  const plain = row.querySelector(".plain");
  plain.textContent = plain.href;
  const button = row.querySelector(".copy");
  button.hidden = false;
  button.addEventListener("click", async () => {
    const done = await copy(plain.href, plain);
    write(button, done ? "Copied" : "Press Ctrl+C");
    setTimeout(() => write(button, "Copy"), 2000);
  });
  row.querySelector(".show").addEventListener("click", () => {
    picked = row.dataset.name;
    showOne();
    stage.scrollIntoView({ block: "nearest" });
  });
  return row;
}

function update(row, stream) {
  if (row.dataset.state !== stream.state) row.dataset.state = stream.state;
  write(row.querySelector(".word"), stream.state);
  write(row.querySelector(".bit-rate"), bitRate(stream.bit_rate));
  write(row.querySelector(".consumers"), String(stream.consumers.length));
  write(row.querySelector(".content-type"), stream.content_type);
  row.querySelector(".show").hidden = stream.state !== "live";
}

function updateList() {
  const present = new Set(streams.map((stream) => stream.name));
  for (const [name, row] of rows) {
    if (!present.has(name)) {
      row.remove();
      rows.delete(name);
    }
  }
  ordered(streams).forEach((stream, index) => {
    const row = rows.get(stream.name) ?? newRow(stream.name);
    update(row, stream);
    if (list.children[index] !== row) list.insertBefore(row, list.children[index] ?? null);
  });
  const live = streams.filter((stream) => stream.state === "live").length;
  write(document.getElementById("count"), `${live} live`);
  write(
    document.querySelector("#publish summary"),
    streams.length > 0 ? "Publish a stream" : "No streams yet: here is how to publish one",
  );
}

/** A type that is no medium's (application/octet-stream) is worth an attempt. */
function plays(type) {
  return !/^(video|audio)\//.test(type) || preview.canPlayType(type) !== "";
}

function showOne() {
  const stream = chosen(streams, picked, preview.dataset.name ?? null, plays);
  for (const [name, row] of rows) row.classList.toggle("showing", name === (stream?.name ?? preview.dataset.name));
  if (stream === null || stream.epoch === shown) return;
  const alreadyPlays = shown === null && preview.dataset.name === stream.name; // the page came with it
  shown = stream.epoch;
  stage.hidden = false;
  if (alreadyPlays && preview.error === null) return;
  preview.dataset.name = stream.name;
  preview.setAttribute("aria-label", stream.name);
  const link = document.createElement("a");
  link.href = `/-/watch/${stream.name}`;
  link.textContent = stream.name;
  caption.replaceChildren(link);
  preview.src = `/${stream.name}`;
  preview.play().catch(() => {});
}

preview.addEventListener("error", () => {
  const name = preview.dataset.name;
  const type = streams.find((stream) => stream.name === name)?.content_type ?? "";
  const link = document.createElement("a");
  link.href = `/-/watch/${name}`;
  link.textContent = name;
  const refused = preview.error?.code === MediaError.MEDIA_ERR_SRC_NOT_SUPPORTED;
  const why = refused ? ` cannot be played here (${type}).` : " has broken off.";
  caption.replaceChildren(link, `${why} VLC, mpv and ffplay play its address.`);
});

async function refresh() {
  try {
    streams = await allStreams();
    notice.hidden = true;
    updateList();
    showOne();
  } catch {
    write(notice, "The Distributor does not answer: trying again.");
    notice.hidden = false;
  }
}

for (const base of document.querySelectorAll(".base")) base.textContent = location.origin;
for (const row of rows.values()) liven(row);
for (;;) {
  if (!document.hidden) await refresh();
  await new Promise((resolve) => setTimeout(resolve, REFRESH));
}
