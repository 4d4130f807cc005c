// The test pattern's machine-readable strip: when a picture was drawn, and which one it is. (sdp/media/stamp.py draws
// it.)
//
// 120 black or white cells at the top left, row by row, most significant bit first: 8 bits marker, 64 bits clock
// (microseconds since the Unix epoch), 32 bits frame number, 16 bits CRC (CCITT, from 0xFFFF). A reader averages the
// middle of each cell, and believes nothing whose CRC does not fit. Pure: pixels in, numbers out.

const MARKER = 0b10110010;
const CELLS = 120;
const LEAST_CONTRAST = 48;

/** The strip's grid in a picture of `width` x `height` pixels: {columns, rows, cellWidth, cellHeight}. */
export function stripLayout(width, height) {
  const columns = width >= 640 ? 40 : 20;
  let cellWidth = Math.floor(width / columns);
  cellWidth -= cellWidth % (cellWidth >= 16 ? 16 : 8);
  const cellHeight = height >= 720 ? 32 : height >= 240 ? 16 : 8;
  return { columns, rows: CELLS / columns, cellWidth: Math.max(cellWidth, 8), cellHeight };
}

/** How many pixels of a picture hold the strip: [width, height]. */
export function stripSize(width, height) {
  const { columns, rows, cellWidth, cellHeight } = stripLayout(width, height);
  return [columns * cellWidth, rows * cellHeight];
}

/**
 * Read the strip from `pixels` (RGBA, as ImageData has them, `stride` pixels a line), the top left of a picture of
 * `width` x `height`: {clock, frame}, the clock in microseconds; or null where there is none.
 */
export function readStamp(pixels, stride, width, height) {
  if (width < 160 || height < 120) return null;
  const { columns, cellWidth, cellHeight } = stripLayout(width, height);
  const levels = new Float64Array(CELLS);
  for (let cell = 0; cell < CELLS; cell += 1) {
    const left = (cell % columns) * cellWidth + (cellWidth >> 2);
    const top = Math.floor(cell / columns) * cellHeight + (cellHeight >> 2);
    let sum = 0;
    for (let y = top; y < top + cellHeight / 2; y += 2) {
      // Green is nearly all of the luma, and black and white are far apart.
      for (let x = left; x < left + cellWidth / 2; x += 1) sum += pixels[4 * (y * stride + x) + 1] ?? NaN;
    }
    levels[cell] = sum / (Math.ceil(cellHeight / 4) * (cellWidth / 2));
  }
  const isWhite = (index) => (MARKER >> (7 - index)) & 1;
  let [white, black] = [0, 0];
  for (let index = 0; index < 8; index += 1) {
    if (isWhite(index)) white += levels[index] / 4;
    else black += levels[index] / 4;
  }
  const middle = (white + black) / 2;
  if (!(white - black >= LEAST_CONTRAST)) return null;
  for (let index = 0; index < 8; index += 1) if (levels[index] > middle !== Boolean(isWhite(index))) return null;
  const bytes = new Uint8Array(CELLS / 8);
  levels.forEach((level, index) => {
    if (level > middle) bytes[index >> 3] |= 0x80 >> (index & 7);
  });
  const view = new DataView(bytes.buffer);
  if (crc(bytes.subarray(1, 13)) !== view.getUint16(13)) return null;
  return { clock: Number(view.getBigUint64(1)), frame: view.getUint32(9) };
}

/** CRC-CCITT, as binascii.crc_hqx with 0xFFFF. */
function crc(bytes) {
  let value = 0xffff;
  for (const byte of bytes) {
    value ^= byte << 8;
    for (let bit = 0; bit < 8; bit += 1) value = value & 0x8000 ? ((value << 1) ^ 0x1021) & 0xffff : value << 1;
  }
  return value;
}
