// Where samples become picture and sound: two decoders, and one clock that says what is due. It knows no network.

import { Pictures } from "./pictures.js";
import { Playout } from "./playout.js";
import { Sound } from "./sound.js";
import { Steady } from "./steady.js";
import { Unplayable } from "./unplayable.js";

const HALF_INTERVAL = 8_000; // microseconds: what is due before the screen's next half interval is painted now
const HIDDEN_EVERY = 100; // milliseconds: where nobody looks there are no frames, and the sound goes on
const FOLLOW_EVERY = 50; // milliseconds between two words to the loudspeaker
const SUDDEN = 15_000; // microseconds of overhead that make a difference
const MOST_FAILURES = 3; // of a decoder, without a picture in between

export class Stage {
  /** Why it can go on no longer, or null. */
  failure = null;
  paused = false;
  #rules;
  #clock;
  #decision = null;
  #pictures;
  #sound = null;
  #video = null; // the tracks that are presented
  #audio = null;
  #muted;
  #seen = true;
  #failures = 0;
  #followed = 0;
  #before = { stalls: 0, skips: 0 }; // of the clocks before this one

  /** `rules` are Playout's. */
  constructor(canvas, rules, muted) {
    this.#rules = rules;
    this.#muted = muted;
    this.#clock = new Playout(rules);
    this.#pictures = new Pictures(canvas, (error) => this.#decoderFailed(error));
    this.#pictures.onDecoded = () => this.present();
  }

  /** Present from now on, until the function that is returned is called. */
  open() {
    let frame = 0;
    const onFrame = () => {
      this.present();
      frame = requestAnimationFrame(onFrame);
    };
    onFrame();
    const timer = setInterval(() => this.present(), HIDDEN_EVERY);
    return () => {
      cancelAnimationFrame(frame);
      clearInterval(timer);
    };
  }

  close() {
    this.#pictures.clear();
    this.#closeSound();
  }

  // -- what arrives -----------------------------------------------------------------------------------------------

  /** What follows is of `tracks`. Throws Unplayable where this browser decodes none of it. */
  async initialize(tracks) {
    const video = tracks.find((track) => track.kind === "video") ?? null;
    const audio = tracks.find((track) => track.kind === "audio") ?? null;
    if (video === null && audio === null) throw new Unplayable("The stream has neither picture nor sound.", "mp4");
    if (video !== null && !(await Pictures.isPlayable(video))) throw unsupported(video);
    const isHeard = audio !== null && (await Sound.isPlayable(audio));
    if (video === null && !isHeard) throw unsupported(audio);
    if (video !== null) this.#pictures.configure(video);
    this.#video = video;
    this.#closeSound();
    this.#audio = isHeard ? audio : null;
    this.muted = this.#muted;
  }

  get isInitialized() {
    return this.#video !== null || this.#audio !== null;
  }

  /** A sample has arrived, at the moment `here` (milliseconds of performance.now()). */
  arrived(sample, here) {
    const isPicture = sample.track === this.#video?.id;
    if (!isPicture && sample.track !== this.#audio?.id) return;
    // What nobody sees or hears must not hold up the rest.
    const counts = isPicture ? this.#seen : this.#sound !== null || this.#video === null;
    if (counts) {
      const randomAccess = sample.sync && (isPicture || this.#video === null);
      const { duration, track } = sample;
      this.#clock.arrived(sample.time, Math.round(here * 1000), { duration, track, randomAccess });
    }
    if (!isPicture) this.#sound?.push(sample);
    else if (this.#seen) this.#pictures.push(sample, here);
  }

  /** What arrives next does not follow on. */
  jump() {
    this.#pictures.jump();
  }

  #decoderFailed(error) {
    this.#failures += 1;
    if (this.#failures < MOST_FAILURES) return;
    this.failure = new Unplayable(`The browser's decoder gives up: ${error.message}.`, "mp4");
  }

  // -- which moment is due ----------------------------------------------------------------------------------------

  /** Nothing that is here is wanted: what comes is live. */
  startLive() {
    this.#pictures.clear();
    this.#start(new Playout(this.#rules));
  }

  /** Nothing that is here is wanted: what comes is past. */
  startPast() {
    this.#pictures.clear();
    this.#start(new Steady());
  }

  /** What is here goes on, and is past from now on; false where there is nothing to go on with. */
  goOnAsPast() {
    const position = this.#decision?.position ?? null;
    if (position === null) return false;
    const duration = Math.max(0, this.#clock.end - position);
    this.#start(new Steady());
    this.#clock.arrived(position, 0, { duration });
    return true;
  }

  #start(clock) {
    this.#before.skips += this.#clock.skips;
    this.#before.stalls += this.#clock.stalls;
    this.#clock = clock;
    this.#decision = null;
  }

  /** Present what is due. */
  present() {
    if (this.paused) return;
    const now = performance.now();
    const decision = this.#decide(Math.round(now * 1000));
    if (decision.skip !== null) this.#pictures.skipTo(decision.skip);
    if (decision.position === null) return;
    if (this.#pictures.show(decision.position + HALF_INTERVAL)) this.#failures = 0;
    if (this.#sound !== null && now - this.#followed >= FOLLOW_EVERY) {
      this.#followed = now;
      this.#sound.follow(decision.state === "playing" ? decision.position : null, decision.rate);
    }
  }

  #decide(at) {
    const clock = this.#clock;
    const overhead = this.#sound?.overhead ?? 0;
    const change = overhead - clock.overhead;
    let known = null;
    if (Math.abs(change) > SUDDEN) {
      // Sound was turned on, or off. To get there by speed alone would take seconds, without sound for so long.
      clock.overhead = overhead;
      if (clock.state === "playing") known = (clock.update(at).position ?? 0) - change;
    }
    this.#decision = clock.update(at, known);
    return this.#decision;
  }

  /** The seconds that are here and not presented yet. */
  get buffered() {
    const position = this.#decision?.position ?? null;
    return position === null ? 0 : Math.max(0, this.#clock.end - position) / 1e6;
  }

  pause() {
    this.paused = true;
    this.#sound?.follow(null, 1);
  }

  /** Whether anybody sees the pictures. */
  set seen(seen) {
    if (this.#seen === seen) return;
    this.#seen = seen;
    if (!seen) this.#pictures.clear();
  }

  // -- sound ------------------------------------------------------------------------------------------------------

  get hasSound() {
    return this.#audio !== null;
  }

  get isHeard() {
    return this.#sound !== null;
  }

  get muted() {
    return this.#muted;
  }

  set muted(muted) {
    this.#muted = muted;
    if (muted || this.#audio === null) {
      this.#closeSound();
    } else if (this.#sound === null) {
      const sound = new Sound(this.#audio, () => this.#closeSound());
      this.#sound = sound;
      sound.open().catch(() => this.#sound === sound && this.#closeSound());
    }
  }

  #closeSound() {
    this.#sound?.close();
    this.#sound = null;
  }

  // -- figures ----------------------------------------------------------------------------------------------------

  /** See DirectPlayer.statistics. */
  get statistics() {
    const { shown, counts, queued } = this.#pictures;
    const sound = this.#sound;
    return {
      state: this.paused ? "paused" : (this.#decision?.state ?? "waiting"),
      shown: shown && {
        time: shown.time / 1e6,
        captured: shown.captured,
        arrived: performance.timeOrigin + shown.arrived,
        decoded: performance.timeOrigin + shown.decoded,
        painted: performance.timeOrigin + shown.painted,
      },
      delay: (this.#decision?.delay ?? 0) / 1e6,
      target: this.#clock.target / 1e6,
      rate: this.#decision?.rate ?? 1,
      buffered: this.buffered,
      pictures: { ...counts, queued },
      stalls: this.#before.stalls + this.#clock.stalls,
      skips: this.#before.skips + this.#clock.skips,
      sound: sound && { isOpen: sound.isOpen, decoded: sound.decoded, ...sound.told },
    };
  }
}

function unsupported(track) {
  const what = track.kind === "video" ? "picture" : "sound";
  return new Unplayable(`This browser does not decode the stream's ${what} (${track.codec}).`, "mp4");
}
