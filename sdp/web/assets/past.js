// Where a stream's past is: which of it is kept, and how to begin at one of its moments. It asks the Distributor.

const TIME_LIMIT = 5000; // milliseconds for an answer
const ALL = 10_000_000_000 - 1; // seconds: "from the start"

function view(url, name, query) {
  const found = new URL(url, globalThis.location?.href);
  found.pathname = `/-/${name}${found.pathname}`;
  found.search = new URLSearchParams(query);
  return found;
}

function ask(address) {
  return fetch(address, { cache: "no-store", signal: AbortSignal.timeout(TIME_LIMIT) });
}

async function pointAt(url, ago) {
  const response = await ask(view(url, "records", { at: String(ago) }));
  if (!response.ok) return null;
  const { epoch, records } = await response.json();
  return records.length === 0 ? null : { epoch, record: records[0] };
}

/** When the oldest moment that is kept was (microseconds since the Unix epoch, by who captured it), or null. */
export async function oldest(url) {
  const found = await pointAt(url, ALL).catch(() => null);
  return found && (found.record.capture_time ?? found.record.received_time ?? null);
}

/**
 * How to begin `ago` seconds before now: {epoch, offset, initialization}, the epoch's ETag, the offset of a random
 * access point, and the bytes that it is decoded with. Null where nothing is kept, or nobody answers.
 */
export async function beginning(url, ago) {
  try {
    const found = await pointAt(url, Math.max(0, ago).toFixed(3));
    if (found === null) return null;
    const { epoch, record } = found;
    const response = await ask(view(url, "initialization", { before: record.offset, epoch }));
    const initialization = new Uint8Array(response.status === 206 ? await response.arrayBuffer() : 0);
    return response.ok ? { epoch: `"${epoch}"`, offset: record.offset, initialization } : null;
  } catch (error) {
    if (error instanceof TypeError || error.name === "TimeoutError") return null;
    throw error;
  }
}
