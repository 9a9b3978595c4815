// How loud each side is, in dBFS, read on every animation frame.

const FLOOR_DBFS = -60;

export class Meter {
  #analyser; #samples; #source;

  /** @param {HTMLElement} element a role=meter that shows and speaks the level */
  constructor(element) {
    this.element = element;
    this.dbfs = FLOOR_DBFS;
  }

  listen(context, stream) {
    this.#source?.disconnect();
    this.#analyser = new AnalyserNode(context, { fftSize: 1024 });
    this.#samples = new Float32Array(this.#analyser.fftSize);
    this.#source = context.createMediaStreamSource(stream);
    this.#source.connect(this.#analyser);
  }

  /** Measure the last 21 ms; RMS amplitude, 0..1. */
  read() {
    let power = 0;
    if (this.#analyser) {
      this.#analyser.getFloatTimeDomainData(this.#samples);
      for (const sample of this.#samples) power += sample * sample;
      power /= this.#samples.length;
    }
    this.dbfs = Math.max(FLOOR_DBFS, 10 * Math.log10(power + 1e-12));
    return Math.sqrt(power);
  }

  show() {
    this.element.style.setProperty('--level', (1 - this.dbfs / FLOOR_DBFS).toFixed(3));
    this.element.setAttribute('aria-valuenow', Math.round(this.dbfs));
  }
}
