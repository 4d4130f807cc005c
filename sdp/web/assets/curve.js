// A figure over time, as a line: the last minute of it. The series is pure; drawing needs a canvas.

/** The last `most` values, null where there was none. */
export class Series {
  values = [];
  #most;

  constructor(most = 240) {
    this.#most = most;
  }

  add(value) {
    this.values.push(Number.isFinite(value) ? value : null);
    if (this.values.length > this.#most) this.values.shift();
  }

  get greatest() {
    return Math.max(0, ...this.values.filter((value) => value !== null));
  }

  /** Where the line goes in `width` x `height`, newest at the right: [[x, y], ...] for each run without a gap. */
  lines(width, height, top = ceiling(this.greatest)) {
    const step = width / (this.#most - 1);
    const left = width - (this.values.length - 1) * step;
    const lines = [];
    let line = null;
    this.values.forEach((value, index) => {
      if (value === null) {
        line = null;
        return;
      }
      if (line === null) lines.push((line = []));
      line.push([left + index * step, height - (value / top) * height]);
    });
    return lines;
  }
}

/** The least of 1, 2 and 5 times a power of ten that is not below `value`: where an axis ends. */
export function ceiling(value) {
  if (!(value > 0)) return 1;
  const power = 10 ** Math.floor(Math.log10(value));
  return [1, 2, 5, 10].map((step) => step * power).find((step) => step >= value * (1 - 1e-9));
}

/** Draw `series` on `canvas` in the element's own colour, sharp on any screen. */
export function drawCurve(canvas, series) {
  const ratio = globalThis.devicePixelRatio || 1;
  const [width, height] = [canvas.clientWidth, canvas.clientHeight];
  if (width === 0) return;
  if (canvas.width !== Math.round(width * ratio) || canvas.height !== Math.round(height * ratio)) {
    canvas.width = Math.round(width * ratio);
    canvas.height = Math.round(height * ratio);
  }
  const context = canvas.getContext("2d");
  context.setTransform(ratio, 0, 0, ratio, 0, 0);
  context.clearRect(0, 0, width, height);
  context.strokeStyle = context.fillStyle = getComputedStyle(canvas).color;
  context.lineWidth = 1.5;
  context.lineJoin = "round";
  for (const line of series.lines(width, height - 3)) {
    const path = new Path2D();
    for (const [x, y] of line) path.lineTo(x, y + 1.5);
    context.stroke(path);
    path.lineTo(line.at(-1)[0], height);
    path.lineTo(line[0][0], height);
    context.globalAlpha = 0.18;
    context.fill(path);
    context.globalAlpha = 1;
  }
}
