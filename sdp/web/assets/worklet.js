// The sound's last step, in the browser's audio thread: from decoded pieces to the loudspeaker, as the playout wants
// it.

import { Stretcher } from "./stretch.js";

const TELL_EVERY = 0.1; // seconds

class Loudspeaker extends AudioWorkletProcessor {
  #stretcher;
  #anchor = null; // {context, position, rate}: which moment of the stream is due at which of the context
  #told = 0;

  constructor({ processorOptions }) {
    super();
    this.#stretcher = new Stretcher(sampleRate, processorOptions.channels);
    this.port.onmessage = ({ data }) => {
      if (data.planes !== undefined) this.#stretcher.push(data.time, data.planes);
      else this.#anchor = data.anchor;
    };
  }

  process(_inputs, [outputs]) {
    const anchor = this.#anchor;
    const wanted = anchor && anchor.position + (currentTime - anchor.context) * anchor.rate * 1e6;
    this.#stretcher.read(outputs, wanted);
    if (currentTime - this.#told >= TELL_EVERY) {
      this.#told = currentTime;
      const { position, cuts, missing } = this.#stretcher;
      this.port.postMessage({ context: currentTime, position, cuts, missing });
    }
    return true;
  }
}

registerProcessor("sdp-loudspeaker", Loudspeaker);
