// The page that plays one stream: live while it is live, its recording once it has ended.

import { LivePlayer, Unplayable } from "./player.js";
import { copy, oneStream, told } from "./streams.js";

const ASK_EVERY = 2000; // milliseconds
const FIGURES_EVERY = 250;

const element = (id) => document.getElementById(id);
const name = element("player").dataset.name;
const url = `/${name}`;
const video = element("video");

let connection = { kind: "connecting" };
let stream; // what the Distributor last said of it: an object, null for none, undefined for no answer
let player = null;
let stalls = 0;
let changed = () => {}; // called when `stream` is known anew

function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function showState({ state, words } = told(connection, stream)) {
  element("state").dataset.state = state;
  write(element("state").querySelector(".word"), words);
}

function showMessage(text, withAddress = false) {
  const message = element("message");
  message.hidden = text === null;
  if (text === null) return;
  const parts = [text];
  if (withAddress) {
    const link = document.createElement("a");
    link.href = url;
    link.textContent = link.href;
    parts.push(" VLC, mpv and ffplay do: ", link);
  }
  message.replaceChildren(...parts);
}

/** "live": our own controls and figures; "file": the browser's; "none": nothing plays. */
function setControls(mode) {
  element("controls").hidden = mode !== "live";
  element("figures").hidden = mode !== "live";
  video.controls = mode === "file";
}

// -- the ways to play -----------------------------------------------------------------------------------------------

async function playLive() {
  closeLive();
  connection = { kind: "connecting" };
  showMessage(null);
  setControls("live");
  showState();
  player = new LivePlayer(video, url, (event) => {
    if (event.kind === "opened") connection = { kind: "open" };
    if (event.kind === "refused" || event.kind === "broken") connection = event;
    if (event.kind === "tracks") showTracks(event);
    showState();
  });
  try {
    const outcome = await player.run(undefined, async () => (await ask())?.state === "ended");
    if (outcome === "over") await untilPlayed();
    return outcome;
  } catch (error) {
    closeLive();
    throw error;
  }
}

/** After a regular end the last picture stays until something else is to be played. */
function closeLive() {
  player?.close();
  player = null;
}

/** Hand the address itself to the browser: a recording, or what only the browser knows how to play. */
function playFile(address) {
  closeLive();
  showMessage(null);
  setControls("file");
  video.playbackRate = 1;
  video.src = address;
  video.play().catch(() => {});
}

/** The rest of what is buffered has played, or nobody is looking at it. */
async function untilPlayed() {
  if (video.ended || video.paused) return;
  await new Promise((resolve) => {
    for (const kind of ["ended", "error", "pause", "emptied"]) video.addEventListener(kind, resolve, { once: true });
  });
}

/** The Distributor has another epoch than `epoch`, and it is live. */
async function untilLive(epoch) {
  while (!(stream && stream.state === "live" && stream.epoch !== epoch)) {
    await new Promise((resolve) => {
      changed = resolve;
    });
  }
}

async function playRecording() {
  const epoch = stream?.epoch;
  playFile(epoch ? `${url}?epoch=${encodeURIComponent(epoch)}` : url);
  showState({ state: "ended", words: "ended: this is the recording" });
  video.addEventListener("error", explainRecording);
  await untilLive(epoch);
  video.removeEventListener("error", explainRecording);
  showState({ state: "live", words: "live again" });
  const message = document.createElement("button");
  message.type = "button";
  message.textContent = "Go to the live stream";
  element("message").replaceChildren(message);
  element("message").hidden = false;
  await new Promise((resolve) => message.addEventListener("click", resolve));
}

/** The browser has refused the recording: without a word it would be an empty picture. */
function explainRecording() {
  setControls("none");
  showState({ state: "ended", words: "cannot be played here" });
  const isTransport = stream?.content_type?.toLowerCase() === "video/mp2t";
  showMessage(
    isTransport
      ? "This recording is an MPEG transport stream, which browsers do not play."
      : "This browser does not play this recording.",
    true,
  );
}

async function playEnd() {
  connection = { kind: "over" };
  showState();
  setControls("none");
  const epoch = stream?.epoch;
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = "Watch the recording";
  element("message").replaceChildren(button);
  element("message").hidden = false;
  const asked = new Promise((resolve) => button.addEventListener("click", () => resolve("recording")));
  return Promise.race([asked, untilLive(epoch).then(() => "live")]);
}

async function playOtherwise(error) {
  if (error.container === "mpegts") {
    setControls("none");
    showState({ state: "ended", words: "cannot be played here" });
    showMessage("This stream is an MPEG transport stream, which browsers do not play.", true);
    return untilLive(stream?.epoch);
  }
  playFile(url);
  showState({ state: "live", words: "live, with the browser's own delay" });
  const failed = new Promise((resolve) => video.addEventListener("error", resolve, { once: true }));
  const other = untilLive(stream?.epoch);
  await Promise.race([failed, other]);
  if (video.error === null) return undefined;
  setControls("none");
  showState({ state: "ended", words: "cannot be played here" });
  showMessage(error.message, true);
  return other;
}

async function main() {
  await ask();
  let next = stream?.state === "ended" ? "recording" : "live";
  for (;;) {
    if (next === "recording") {
      await playRecording();
      next = "live";
      continue;
    }
    try {
      const outcome = await playLive();
      await ask();
      next = outcome === "recorded" ? "recording" : await playEnd();
    } catch (error) {
      if (!(error instanceof Unplayable)) throw error;
      await playOtherwise(error);
      next = "live";
    }
  }
}

// -- what the Distributor says of it --------------------------------------------------------------------------------

async function ask() {
  stream = await oneStream(name);
  changed();
  return stream;
}

async function keepAsking() {
  for (;;) {
    await new Promise((resolve) => setTimeout(resolve, ASK_EVERY));
    await ask();
    if (player !== null) showState();
  }
}

// -- figures --------------------------------------------------------------------------------------------------------

function showTracks({ tracks, mime }) {
  const picture = tracks.find((track) => track.kind === "video");
  write(element("size"), picture ? `${picture.width} × ${picture.height}` : "none");
  write(element("codecs"), tracks.map((track) => track.codec).join(", ") || mime);
}

function showFigures() {
  if (player === null || player.behind === null) return;
  write(element("behind"), `${Math.round(player.behind * 1000)} ms`);
  write(element("buffered"), `${player.behind.toFixed(1)} s ahead, ${player.kept.toFixed(0)} s back`);
  write(element("rate"), `${video.playbackRate.toFixed(2)} ×`);
  write(element("stalls"), String(stalls));
}

video.addEventListener("waiting", () => {
  // What waits while it finds its place at the beginning is no stall.
  if (player !== null && !video.seeking && player.kept > 2) stalls += 1;
});

// -- controls -------------------------------------------------------------------------------------------------------

function togglePlay() {
  if (connection.kind === "over" && !video.controls) return undefined;
  if (!video.paused) return video.pause();
  player?.catchUp();
  return void video.play().catch(() => {});
}

function toggleSound() {
  video.muted = !video.muted;
}

function toggleFull() {
  const picture = element("player").querySelector(".picture");
  if (document.fullscreenElement) return void document.exitFullscreen();
  if (picture.requestFullscreen) return void picture.requestFullscreen().catch(() => {});
  return video.webkitEnterFullscreen?.();
}

const KEYS = { " ": togglePlay, f: toggleFull, m: toggleSound };

document.addEventListener("keydown", (event) => {
  const act = KEYS[event.key.length === 1 ? event.key.toLowerCase() : event.key];
  if (!act || event.ctrlKey || event.altKey || event.metaKey || event.repeat) return;
  // What has the focus keeps its own keys: space presses a button, and the browser's controls know all three.
  if (event.key === " " && event.target.closest("button, a, summary")) return;
  if (video.controls && event.target === video) return;
  event.preventDefault();
  act();
});

function showControls() {
  write(element("play"), video.paused ? "Play" : "Pause");
  write(element("sound"), video.muted ? "Sound on" : "Sound off");
}

for (const kind of ["play", "pause", "volumechange"]) video.addEventListener(kind, showControls);
video.addEventListener("click", () => {
  if (!video.controls) togglePlay();
});
element("play").addEventListener("click", togglePlay);
element("sound").addEventListener("click", toggleSound);
element("full").addEventListener("click", toggleFull);
element("edge").addEventListener("click", () => {
  player?.catchUp();
  video.play().catch(() => {});
});

const plain = element("plain");
const copyButton = element("copy");
plain.textContent = plain.href;
copyButton.hidden = false;
copyButton.addEventListener("click", async () => {
  write(copyButton, (await copy(plain.href, plain)) ? "Copied" : "Press Ctrl+C");
  setTimeout(() => write(copyButton, "Copy"), 2000);
});

showControls();
setInterval(showFigures, FIGURES_EVERY);
keepAsking();
main().catch((error) => {
  showState({ state: "ended", words: "failed" });
  showMessage(`The player failed: ${error.message}.`, true);
  throw error;
});
