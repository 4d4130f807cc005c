// How near to the live edge playback can stay: the law that steers it. Pure: times in, a speed and perhaps a jump out.
//
// All times are seconds. The edge is the media time up to which the stream has arrived. If the media played at a
// fixed delay D behind the wall clock (position = now - D), they would run dry unless D is at least `now - edge` at
// every moment; that is greatest just before an arrival. So the delay to hold is the greatest such lateness of the
// last seconds, and a margin. It follows the fragments' own length, the network's jitter, and a drifting clock.

const BUCKETS = 12; // of one second each: how long a lateness counts

/** Media that arrive this soon after a run's begin were produced before it, and say nothing of how late new ones are. */
const SETTLING = 0.3;
/** An arrival this much earlier than any before it ends a backlog: what came before says nothing, either. */
const BACKLOG = 0.1;
/** An interval without any arrival that ends the run. */
const BREAK = 10;

const MARGIN = 0.03;
const FIRST_MARGIN = 0.1;
const TOLERANCE = 0.05;

const JUMP = 3; // how far behind is too far to be caught up with by speed
const YOUNG = 2; // seconds from a run's begin in which a jump disturbs nobody,
const YOUNG_JUMP = 0.3; // and makes up for this much

const MOST = 0.05; // of the speed, up or down
const GAIN = 0.3;

const noLateness = () => new Array(BUCKETS).fill([-Infinity, -Infinity]);

export class Edge {
  #run = null; // {began, last, edge, earliest, buckets}

  /** Media up to `edge` are there since `now`. */
  arrived(now, edge) {
    const run = this.#run;
    if (run === null || now - run.last > BREAK || edge < run.edge - 1) {
      this.#run = { began: now, last: now, edge, earliest: now - edge, buckets: noLateness() };
      return;
    }
    if (edge <= run.edge) return;
    if (now - edge < run.earliest - BACKLOG) {
      run.buckets = noLateness();
    } else if (now - run.began > SETTLING) {
      const second = Math.floor(now);
      const [of, lateness] = run.buckets[second % BUCKETS];
      const here = now - run.edge;
      run.buckets[second % BUCKETS] = [second, of === second ? Math.max(lateness, here) : here];
    }
    run.earliest = Math.min(run.earliest, now - edge);
    run.last = now;
    run.edge = edge;
  }

  /** Forget all: other media follow. */
  reset() {
    this.#run = null;
  }

  /** The delay D to hold at `now`, or null while nothing has arrived. */
  delay(now) {
    const run = this.#run;
    if (run === null) return null;
    const recent = run.buckets.filter(([second]) => second > now - BUCKETS);
    if (recent.length === 0) return run.last - run.edge + FIRST_MARGIN;
    return Math.max(...recent.map(([, lateness]) => lateness)) + MARGIN;
  }

  /**
   * Say what to do at `now` with playback at `position`, `ranges` being what is buffered ([[start, end], ...]):
   * {rate, seek, behind}; `seek` is a position or null, `behind` the seconds from position to edge.
   */
  steer(now, position, ranges) {
    const delay = this.delay(now);
    if (delay === null || ranges.length === 0) return { rate: 1, seek: null, behind: 0 };
    const [start, end] = ranges.at(-1);
    const wanted = Math.max(Math.min(now - delay, end - TOLERANCE), start);
    const behind = Math.max(0, end - position);
    const error = wanted - position;
    const inside = ranges.some(([from, to]) => position >= from - TOLERANCE && position <= to + TOLERANCE);
    const most = now - this.#run.began < YOUNG ? YOUNG_JUMP : JUMP;
    if (error > most || !inside) return { rate: 1, seek: wanted, behind: end - wanted };
    const correction = Math.min(MOST, Math.max(-MOST, error * GAIN));
    return { rate: 1 + Math.round(correction * 100) / 100, seek: null, behind };
  }
}
