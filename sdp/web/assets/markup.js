// What is inside an <sdp-player>: its elements, once, as a template to be cloned.

const ICONS = {
  play: "M7 4.5v15l13-7.5z",
  pause: "M6 4.5h4.2v15H6zM13.8 4.5H18v15h-4.2z",
  silent: "M4 9v6h4l5 4.5v-15L8 9zM15.5 9.2l5.6 5.6m0-5.6-5.6 5.6",
  loud: "M4 9v6h4l5 4.5v-15L8 9zM16 8.5a5 5 0 0 1 0 7M18.6 6a8.6 8.6 0 0 1 0 12",
  figures: "M3.5 20.5h17M5 16l4.5-5.5 4 3.5L20 6",
  full: "M4 9V4h5M15 4h5v5M20 15v5h-5M9 20H4v-5",
};

function icon(name) {
  return `<svg viewBox="0 0 24 24" aria-hidden="true"><path d="${ICONS[name]}"/></svg>`;
}

function figure(id, words) {
  return `<div><dt>${words}</dt><dd id="${id}">–</dd></div>`;
}

function curve(id, words) {
  return `<figure class="${id}"><figcaption>${words} <span id="${id}-now">–</span></figcaption>
    <canvas id="${id}" role="img" aria-label="${words}, the last minute"></canvas></figure>`;
}

const MARKUP = `
<section class="player" id="player" aria-label="Player">
  <div class="picture" id="picture">
    <canvas class="screen" id="canvas" role="img" hidden></canvas>
    <video class="screen" id="video" playsinline hidden></video>
    <p class="state" id="state" role="status" data-state="waiting">
      <span class="mark" aria-hidden="true"></span> <span class="word">connecting</span></p>
    <div class="message" id="message" role="alert" hidden></div>
    <div class="controls" id="controls" role="group" aria-label="Controls" hidden>
      <input type="range" id="time" min="0" max="0" step="1" aria-label="Time" hidden>
      <button type="button" id="play" aria-label="Pause" title="Pause (space)" aria-keyshortcuts="Space">
        <span class="off">${icon("pause")}</span><span class="on">${icon("play")}</span></button>
      <button type="button" id="sound" aria-label="Sound on" title="Sound (m)" aria-keyshortcuts="m">
        <span class="off">${icon("silent")}</span><span class="on">${icon("loud")}</span></button>
      <span class="where" id="where"></span>
      <span class="space"></span>
      <button type="button" class="live" id="live" aria-keyshortcuts="End" title="To the live edge (End)">
        <span class="dot" aria-hidden="true"></span> Live</button>
      <button type="button" id="figures" aria-label="Statistics" title="Statistics (s)" aria-keyshortcuts="s"
        aria-pressed="false">${icon("figures")}</button>
      <button type="button" id="full" aria-label="Full screen" title="Full screen (f)" aria-keyshortcuts="f">
        ${icon("full")}</button>
    </div>
  </div>
  <div class="panel" id="panel" role="group" aria-label="Statistics" hidden>
    <div class="curves">
      ${curve("latency-curve", "Latency")}${curve("buffer-curve", "Buffer")}${curve("rate-curve", "Bit rate")}
    </div>
    <dl>
      ${figure("latency", "Glass to glass")}${figure("delay", "Playout delay")}${figure("clock", "Clock offset")}
      ${figure("speed", "Speed")}${figure("size", "Picture")}${figure("codecs", "Codecs")}
      ${figure("frames", "Pictures")}${figure("stalls", "Stalls, skips")}${figure("way", "Played by")}
    </dl>
  </div>
</section>`;

/** A copy of it, and of the sheet that belongs to it. */
export function inside() {
  const template = document.createElement("template");
  template.innerHTML = MARKUP;
  const sheet = document.createElement("link");
  sheet.rel = "stylesheet";
  sheet.href = new URL("./player.css", import.meta.url).href;
  const copy = document.importNode(template.content, true);
  copy.prepend(sheet);
  return copy;
}
