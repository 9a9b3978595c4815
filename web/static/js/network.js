// How good the line is, from the browser's own statistics and what the server sees.

const EVERY_MS = 1000;
const WORDS = ['not connected', 'poor', 'fair', 'good', 'excellent'];

export class Network {
  #element; #pc; #timer; #before = {}; #server = {};

  constructor(element) {
    this.#element = element;
  }

  watch(pc) {
    this.stop();
    this.#pc = pc;
    this.#before = {};
    this.#timer = setInterval(() => this.#measure(), EVERY_MS);
  }

  stop() {
    clearInterval(this.#timer);
    this.#server = {};
    this.#show(0, '');
  }

  fromServer({ loss_percent, rtt_ms }) {
    this.#server = { loss_percent, rtt_ms };
  }

  async #measure() {
    let rtt_ms = this.#server.rtt_ms ?? 0;
    let loss_percent = this.#server.loss_percent ?? 0;
    let buffer_ms = 0;
    for (const report of (await this.#pc.getStats()).values()) {
      if (report.type === 'candidate-pair' && report.nominated) rtt_ms = 1000 * (report.currentRoundTripTime ?? 0);
      if (report.type !== 'inbound-rtp' || report.kind !== 'audio') continue;
      const since = (name) => (report[name] ?? 0) - (this.#before[name] ?? 0);
      const lost = Math.max(0, since('packetsLost'));
      const received = since('packetsReceived');
      // The server sends even while nobody speaks: when nothing came, everything was lost.
      loss_percent = Math.max(loss_percent, received ? (100 * lost) / (received + lost) : 100);
      const emitted = since('jitterBufferEmittedCount');
      if (emitted) buffer_ms = (1000 * since('jitterBufferDelay')) / emitted;
      this.#before = report;
    }
    this.#show(bars(rtt_ms, loss_percent),
      `round trip ${Math.round(rtt_ms)} ms, loss ${loss_percent.toFixed(1)} %, browser buffer ${Math.round(buffer_ms)} ms`);
  }

  #show(count, detail) {
    const label = `Network: ${WORDS[count]}${detail && `, ${detail}`}`;
    this.#element.dataset.bars = count;
    this.#element.setAttribute('aria-label', label);
    this.#element.title = label;
  }
}

function bars(rtt_ms, loss_percent) {
  if (loss_percent > 8 || rtt_ms > 600) return 1;
  if (loss_percent > 3 || rtt_ms > 300) return 2;
  if (loss_percent > 1 || rtt_ms > 150) return 3;
  return 4;
}
