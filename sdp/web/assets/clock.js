// How far the Distributor's clock is from this browser's, from a few questions to /-/time.
// An answer was made somewhere between asking and having it; so its offset is known up to half of the round trip, and
// the shortest round trip says most (the rule of Cristian's algorithm, and of RFC 5905 section 10's clock filter).

const KEPT = 16; // answers; what is older says nothing of a clock that drifts
const FIRST = 5; // questions at the beginning, one after another,
const EVERY = 10_000; // and then one each so many milliseconds
const TIME_LIMIT = 3000;

/** Milliseconds since the Unix epoch, with a fraction, by a clock that nobody sets while the page is open. */
export function wallNow() {
  return performance.timeOrigin + performance.now();
}

/** The estimate. Pure: times in milliseconds. */
export class Offset {
  #answers = [];

  /** An answer of `theirs`, asked for at `asked` and here at `here`, both by our clock. */
  answered(asked, theirs, here) {
    if (!(here >= asked) || !Number.isFinite(theirs)) return;
    const error = (here - asked) / 2;
    this.#answers.push({ offset: theirs - (asked + error), error });
    if (this.#answers.length > KEPT) this.#answers.shift();
  }

  /** {offset, error}: their clock is ours plus `offset`, give or take `error`; null while nothing is known. */
  get best() {
    if (this.#answers.length === 0) return null;
    return this.#answers.reduce((best, each) => (each.error < best.error ? each : best));
  }
}

/** Keep asking the Distributor at `base` (its URL) until `signal` aborts; returns the estimate, which fills itself. */
export function follow(base, signal, { fetch = globalThis.fetch.bind(globalThis), now = wallNow } = {}) {
  const offset = new Offset();
  const ask = async () => {
    const asked = now();
    const limit = AbortSignal.any([signal, AbortSignal.timeout(TIME_LIMIT)]);
    const response = await fetch(new URL("/-/time", base), { cache: "no-store", signal: limit });
    const here = now(); // the answer is small: its head and its content come together
    if (response.ok) offset.answered(asked, Number(await response.text()) / 1000, here);
  };
  const keepAsking = async () => {
    for (let asked = 1; !signal.aborted; asked += 1) {
      await ask().catch(() => {}); // no answer, no estimate: the next one may be
      if (asked >= FIRST) {
        await new Promise((resolve) => {
          const timer = setTimeout(resolve, EVERY);
          signal.addEventListener("abort", () => resolve(clearTimeout(timer)), { once: true });
        });
      }
    }
  };
  keepAsking();
  return offset;
}
