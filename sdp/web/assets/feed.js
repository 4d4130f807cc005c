// The stream's bytes, as a plain GET gives them, connection after connection.

const FIRST_WAIT = 0.25; // seconds
const LONGEST_WAIT = 8;

/** Seconds to wait before attempt number `failures` + 1: doubling, with a part left to chance so that a crowd spreads. */
export function backOff(failures, random = Math.random) {
  return Math.min(LONGEST_WAIT, FIRST_WAIT * 2 ** failures) * (0.75 + 0.5 * random());
}

export function sleep(seconds, signal) {
  return new Promise((resolve) => {
    if (signal?.aborted) return resolve();
    const done = () => {
      clearTimeout(timer);
      signal?.removeEventListener("abort", done);
      resolve();
    };
    const timer = setTimeout(done, seconds * 1000);
    signal?.addEventListener("abort", done);
  });
}

/**
 * Yield what happens to a stream, until `signal` aborts or the caller leaves the loop:
 *
 *   {kind: "opened", epoch, contentType, length}  an answer begins; `length` is null while the stream is live
 *   {kind: "bytes", bytes}                        some of it, as it arrived
 *   {kind: "closed"}                              it ended as it should
 *   {kind: "refused", status, wait}               no such answer; the next attempt comes in `wait` seconds
 *   {kind: "broken", wait}                        no connection, or it broke off
 *
 * Nothing is read ahead of the caller: a slow one slows the connection down, and the Distributor jumps for it.
 */
export async function* feed(url, { signal, fetch = globalThis.fetch, pause = sleep, random = Math.random } = {}) {
  let failures = 0;
  while (!signal?.aborted) {
    const connection = new AbortController();
    const leave = () => connection.abort();
    signal?.addEventListener("abort", leave);
    let trouble;
    let askedWait = null; // seconds, where the Distributor says when to come again (RFC 9110 section 10.2.3)
    try {
      const response = await fetch(url, { signal: connection.signal, cache: "no-store" });
      if (response.ok) {
        yield opening(response);
        for await (const bytes of chunks(response.body)) {
          failures = 0;
          yield { kind: "bytes", bytes };
        }
        yield { kind: "closed" };
      } else {
        trouble = { kind: "refused", status: response.status };
        askedWait = Number(response.headers.get("Retry-After")) || null;
      }
    } catch (error) {
      if (signal?.aborted) return;
      if (!(error instanceof TypeError || error.name === "AbortError")) throw error; // what fetch() throws, no other
      trouble = { kind: "broken" };
    } finally {
      connection.abort();
      signal?.removeEventListener("abort", leave);
    }
    const wait = askedWait === null ? backOff(failures, random) : askedWait * (1 + 0.5 * random());
    failures += 1;
    if (trouble !== undefined) yield { ...trouble, wait };
    await pause(wait, signal);
  }
}

function opening(response) {
  const length = response.headers.get("Content-Length");
  return {
    kind: "opened",
    epoch: response.headers.get("ETag"),
    contentType: response.headers.get("Content-Type") ?? "",
    length: length === null ? null : Number(length),
  };
}

async function* chunks(body) {
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    yield value;
  }
}
