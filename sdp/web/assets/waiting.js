// How long to wait before the next attempt.

const FIRST_WAIT = 0.25; // seconds
const LONGEST_WAIT = 8;

/**
 * Seconds to wait before attempt number `failures` + 1: doubling, with a part left to chance so that a crowd spreads.
 */
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
