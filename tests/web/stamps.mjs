// Print, as JSON, what stamp.js reads from each picture that is named: FILE:WIDTHxHEIGHT, a plane of 8-bit luma.

import { readFileSync } from "node:fs";

import { readStamp, stripSize } from "../../sdp/web/assets/stamp.js";

const found = process.argv.slice(2).map((argument) => {
  const [, name, width, height] = /^(.*):([0-9]+)x([0-9]+)$/.exec(argument);
  const [columns, lines] = stripSize(Number(width), Number(height));
  const luma = readFileSync(name);
  const pixels = new Uint8ClampedArray(4 * columns * lines).fill(255);
  for (let y = 0; y < lines; y += 1) {
    // Grey, from the studio's range to a screen's.
    for (let x = 0; x < columns; x += 1) pixels.fill(((luma[y * width + x] - 16) * 255) / 219, 4 * (y * columns + x), 4 * (y * columns + x) + 3);
  }
  return readStamp(pixels, columns, Number(width), Number(height));
});
process.stdout.write(JSON.stringify(found));
