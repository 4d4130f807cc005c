// What the pages know of the Distributor's streams. The functions are pure but for those that ask the Distributor.

const ORDER = ["live", "stalled", "ended"];
const TIME_LIMIT = 5000; // milliseconds for an answer
const UNITS = [
  ["Gbit/s", 1e9],
  ["Mbit/s", 1e6],
  ["kbit/s", 1e3],
];

/** Say a rate in bits a second with three significant figures; pages.py says it alike. */
export function bitRate(rate) {
  for (const [unit, size] of UNITS) {
    if (rate >= 0.9995 * size) {
      const value = rate / size;
      return `${value.toFixed(value < 9.995 ? 2 : value < 99.95 ? 1 : 0)} ${unit}`;
    }
  }
  return `${rate.toFixed(0)} bit/s`;
}

/** The streams in the order in which a person looks for them: live, stalled, ended, each by name. */
export function ordered(streams) {
  const place = (stream) => (ORDER.indexOf(stream.state) + ORDER.length + 1) % (ORDER.length + 1);
  return [...streams].sort((a, b) => place(a) - place(b) || (a.name < b.name ? -1 : 1));
}

/** How far behind the live edge a stream's slowest consumer is, in seconds; null where there is none. */
export function greatestLag(stream) {
  const lags = stream.consumers.map((consumer) => consumer.lag_ms / 1000);
  return lags.length === 0 ? null : Math.max(...lags);
}

/**
 * What to tell a person who watches: {state, words}. `connection` is {kind: "connecting" | "open" | "broken" |
 * "refused" | "over", status}; `stream` what the Distributor last said of it, null for no such stream.
 */
export function told(connection, stream) {
  switch (connection.kind) {
    case "over":
      return { state: "ended", words: "ended" };
    case "broken":
      return { state: "waiting", words: "connection lost: trying again" };
    case "refused":
      if (connection.status === 404) return { state: "waiting", words: "waiting for the stream" };
      if (connection.status === 401 || connection.status === 403) {
        return { state: "ended", words: `not allowed (${connection.status})` };
      }
      return { state: "waiting", words: `refused (${connection.status}): trying again` };
    case "open":
      if (stream?.state === "stalled") return { state: "stalled", words: "stalled: the origin sends nothing" };
      return { state: "live", words: "live" };
    default:
      return { state: "waiting", words: "connecting" };
  }
}

/** Ask the Distributor that this page came from for all streams; throws where there is no answer. */
export async function allStreams() {
  const response = await ask("/-/streams");
  if (!response.ok) throw new Error(`The Distributor answered ${response.status}.`);
  return (await response.json()).streams;
}

/** Ask for the stream at `url`: its object, null where there is none, undefined where there is no answer. */
export async function oneStream(url) {
  try {
    const { origin, pathname } = new URL(url);
    const response = await ask(`${origin}/-/streams${pathname}`);
    if (response.status === 404) return null;
    return response.ok ? await response.json() : undefined;
  } catch {
    return undefined;
  }
}

function ask(path) {
  return fetch(path, { cache: "no-store", signal: AbortSignal.timeout(TIME_LIMIT) });
}

/** Copy `text`; where the page may not (plain HTTP from afar), select `element`'s text for a person to copy. */
export async function copy(text, element) {
  try {
    await navigator.clipboard.writeText(text);
    return true;
  } catch {
    getSelection().selectAllChildren(element);
    return document.execCommand("copy");
  }
}
