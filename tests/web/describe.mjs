// Print, as JSON, what codecs.js reads from each file that is named.

import { readFileSync } from "node:fs";

import { describe } from "../../sdp/web/assets/codecs.js";
import { containerOf } from "../../sdp/web/assets/segments.js";

const found = process.argv.slice(2).map((name) => {
  const bytes = new Uint8Array(readFileSync(name));
  return describe(containerOf(bytes), bytes);
});
process.stdout.write(JSON.stringify(found));
