// SDP's own GET in a browser: the player says what it holds, and the Distributor sends what it lacks, the newest first.
// Connection after connection, each going on where the last one broke off.

import { backOff, sleep } from "./waiting.js";
import { PartsReader, boundaryOf, parseContentRange } from "./parts.js";

const SILENCE = 10; // seconds without a byte after which a connection counts as dead
const SILENT = new DOMException("Nothing came.", "AbortError");
const FOREVER = 2 ** 53 - 1; // the last-pos of a range that stays open (RFC 8673)

/** Where in a stream a player stands. */
export class Place {
  /**
   * `follow`: every byte from `end` on, as whoever looks at the past wants it; else the newest, whatever was before.
   */
  constructor({ epoch = null, end = null, follow = false } = {}) {
    this.epoch = epoch; // the ETag
    this.end = end; // the offset after the last byte that is here; null where nothing is
    this.follow = follow;
  }

  /** The fields of the request that goes on from here. */
  get fields() {
    const fields = { "Connection-Type": "consumer" };
    if (this.epoch !== null) fields["If-Match"] = this.epoch;
    if (this.follow) return { ...fields, Range: `bytes=${this.end}-${FOREVER}` };
    // A player wants nothing that is older than what it plays, so for it all of that counts as held.
    const held = this.end === null ? "bytes */0" : `bytes 0-${this.end - 1}/*`;
    return { ...fields, Accept: "multipart/byteranges", "Content-Range": held };
  }

  /** Nothing of it is any use any more. */
  forget() {
    this.epoch = this.end = null;
    this.follow = false;
  }
}

/** An answer that is no SDP Distributor's. */
export class Foreign extends Error {}

/**
 * Yield what happens to a stream from `place` on, until `signal` aborts or the caller leaves the loop:
 *
 *   {kind: "opened", epoch}            an answer begins
 *   {kind: "part", start, ...}         a run of bytes begins, as PartsReader tells of it
 *   {kind: "bytes", offset, bytes}     some of it, as it arrived
 *   {kind: "closed", recorded}         it ended as it should; `recorded`: it was of an epoch that has ended
 *   {kind: "replaced"}                 there is another epoch now
 *   {kind: "refused", status, wait}    no such answer; the next attempt comes in `wait` seconds
 *   {kind: "broken", wait}             no connection, or it broke off
 *   {kind: "silent", wait}             nothing came for so long that the connection was given up
 *
 * `place` moves along. Nothing is read ahead of the caller. Throws Foreign.
 */
export async function* get(url, place, options = {}) {
  const { signal, fetch = globalThis.fetch.bind(globalThis), pause = sleep, random = Math.random } = options;
  let failures = 0;
  while (!signal?.aborted) {
    const connection = new AbortController();
    const leave = () => connection.abort();
    signal?.addEventListener("abort", leave);
    let trouble = null;
    let askedWait = null; // seconds, where the Distributor says when to come again (RFC 9110 section 10.2.3)
    try {
      const request = { headers: place.fields, cache: "no-store", signal: connection.signal };
      const response = await inTime(fetch(url, request), connection);
      if (response.status === 412 || response.status === 416) {
        place.forget();
        trouble = { kind: "replaced" };
      } else if (response.ok) {
        for await (const event of answered(response, place, connection)) {
          if (event.kind === "bytes") failures = 0;
          yield event;
        }
      } else {
        trouble = { kind: "refused", status: response.status };
        askedWait = Number(response.headers.get("Retry-After")) || null;
      }
    } catch (error) {
      if (signal?.aborted) return;
      if (!(error instanceof TypeError || error.name === "AbortError")) throw error; // what fetch() throws, no other
      trouble = { kind: connection.signal.reason === SILENT ? "silent" : "broken" };
    } finally {
      connection.abort();
      signal?.removeEventListener("abort", leave);
    }
    let wait = askedWait === null ? backOff(failures, random) : askedWait * (1 + 0.5 * random());
    if (trouble?.kind === "replaced" && failures === 0) wait = 0;
    failures += 1;
    if (trouble !== null) yield { ...trouble, wait };
    await pause(wait, signal);
  }
}

async function* answered(response, place, connection) {
  const epoch = response.headers.get("ETag");
  const boundary = boundaryOf(response.headers.get("Content-Type"));
  const range = parseContentRange(response.headers.get("Content-Range"));
  if (response.status === 204) {
    yield { kind: "closed", recorded: true };
    return;
  }
  if (epoch === null || (boundary === null && range === null)) throw new Foreign("The server does not speak SDP.");
  place.epoch = epoch;
  yield { kind: "opened", epoch };
  let recorded = (range?.complete ?? null) !== null;
  if (boundary === null) yield { kind: "part", ...range, captured: null, received: null };
  const parts = boundary === null ? null : new PartsReader(boundary);
  let offset = range?.start;
  for await (const bytes of chunks(response.body, connection)) {
    const events = parts === null ? [{ kind: "bytes", offset, bytes }] : parts.push(bytes);
    offset += bytes.length;
    for (const event of events) {
      if (event.kind === "part") recorded ||= event.complete !== null;
      if (event.kind === "bytes") place.end = event.offset + event.bytes.length;
      if (event.kind !== "end") yield event;
    }
  }
  yield { kind: "closed", recorded };
}

/** Give a connection up that stays silent: one whose other end is gone may never break by itself. */
async function inTime(promise, connection) {
  const timer = setTimeout(() => connection.abort(SILENT), SILENCE * 1000);
  try {
    return await promise;
  } finally {
    clearTimeout(timer);
  }
}

async function* chunks(body, connection) {
  const reader = body.getReader();
  for (;;) {
    const { done, value } = await inTime(reader.read(), connection);
    if (done) return;
    yield value;
  }
}
