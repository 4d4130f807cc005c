// How many bits a second arrive. Pure: moments in milliseconds.

const OVER = 3000;

export class Rate {
  #arrivals = []; // [moment, bytes], of the last seconds

  add(now, bytes) {
    this.#arrivals.push([now, bytes]);
    while (this.#arrivals[0][0] <= now - OVER) this.#arrivals.shift();
  }

  /** Bits a second over the last three. */
  at(now) {
    const recent = this.#arrivals.filter(([moment]) => moment > now - OVER);
    return (recent.reduce((sum, [, bytes]) => sum + bytes, 0) * 8000) / OVER;
  }
}
