// Print, as JSON, what fragments.js reads from a file, its pieces cut as small as is said: tracks, then samples.

import { createHash } from "node:crypto";
import { readFileSync } from "node:fs";

import { FragmentReader } from "../../sdp/web/assets/fragments.js";

const [name, size] = process.argv.slice(2);
const bytes = new Uint8Array(readFileSync(name));
const reader = new FragmentReader();
const found = { tracks: [], samples: [] };
for (let at = 0; at < bytes.length; at += Number(size)) {
  for (const event of reader.push(bytes.subarray(at, at + Number(size)))) {
    if (event.kind === "initialization") found.tracks = event.tracks.map(({ configuration, ...track }) => ({ ...track, configuration: configuration && Buffer.from(configuration).toString("hex") }));
    else found.samples.push(...event.samples.map(({ data, ...sample }) => ({ ...sample, data: createHash("sha256").update(data).digest("hex") })));
  }
}
process.stdout.write(JSON.stringify(found));
