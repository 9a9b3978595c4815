// The wire, drawn: each bar is 40 ms of sound. Yours run out to the left of the button, the agent's
// to the right, so equal distance from the middle is the same moment and speaking at once shows.

const BAR_MS = 40;
const PITCH_PX = 6;
const WIDTH_PX = 3;
const EDGE_PX = 14;
const MOST_BARS = 25;
const STILL_BARS = 6;
const QUIET_RMS = 0.004;
const FULL_RMS = 0.42;

export class Ribbon {
  #canvas; #button; #pen; #you = []; #agent = []; #colours = {}; #due = 0; #peak = [0, 0]; #still; #probes;

  /** Draw on `canvas` on both sides of `button`, in the colours that the elements `probes` have. */
  constructor(canvas, button, probes) {
    this.#canvas = canvas;
    this.#button = button;
    this.#pen = canvas.getContext('2d');
    this.#probes = probes;
    this.#still = matchMedia('(prefers-reduced-motion: reduce)');
    new ResizeObserver(() => this.draw()).observe(canvas);
    new ResizeObserver(() => this.draw()).observe(button);
  }

  clear() {
    this.#you = [];
    this.#agent = [];
    this.draw();
  }

  /** The agent was interrupted just now. */
  cut() {
    if (this.#agent[0]) this.#agent[0].look = 'cut';
  }

  /** Take in both levels (RMS, 0..1) at `now_ms`; the agent's bars are hollow while it is ducked. */
  push(now_ms, you, agent, ducked) {
    this.#peak = [Math.max(this.#peak[0], you), Math.max(this.#peak[1], agent)];
    if (now_ms < this.#due) return;
    // A slow screen draws several bars at once: distance stays time.
    const bars = this.#due ? Math.min(MOST_BARS, 1 + Math.floor((now_ms - this.#due) / BAR_MS)) : 1;
    this.#due = Math.max(this.#due + bars * BAR_MS, now_ms);
    for (let bar = 0; bar < bars; bar += 1) {
      this.#you.unshift({ level: this.#peak[0], look: '' });
      this.#agent.unshift({ level: this.#peak[1], look: ducked ? 'hollow' : '' });
    }
    this.#peak = [0, 0];
    const room = Math.ceil(this.#canvas.clientWidth / 2 / PITCH_PX);
    this.#you.length = Math.min(this.#you.length, room);
    this.#agent.length = Math.min(this.#agent.length, room);
    this.draw();
  }

  draw() {
    const { clientWidth: width, clientHeight: height } = this.#canvas;
    const ratio = devicePixelRatio;
    if (this.#canvas.width !== Math.round(width * ratio) || this.#canvas.height !== Math.round(height * ratio)) {
      this.#canvas.width = Math.round(width * ratio);
      this.#canvas.height = Math.round(height * ratio);
    }
    for (const [name, probe] of Object.entries(this.#probes)) this.#colours[name] = getComputedStyle(probe).color;
    const pen = this.#pen;
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, width, height);
    const edge = this.#button.offsetWidth / 2 + EDGE_PX;
    const bars = Math.ceil((width / 2 - edge) / PITCH_PX);
    for (let age = 0; age < bars; age += 1) {
      // Someone who asks for less motion sees a few bars beside the button instead of a stream.
      const at = !this.#still.matches ? age : age < STILL_BARS ? 0 : Infinity;
      this.#bar(width / 2 - edge - age * PITCH_PX, this.#you[at], 'you', age / bars, height);
      this.#bar(width / 2 + edge + age * PITCH_PX, this.#agent[at], 'agent', age / bars, height);
    }
  }

  #bar(x, bar, side, age, height) {
    const level = (bar?.level ?? 0) < QUIET_RMS ? 0 : Math.min(1, bar.level / FULL_RMS);
    const tall = Math.max(WIDTH_PX, Math.pow(level, 0.65) * height * 0.94);
    const pen = this.#pen;
    pen.globalAlpha = level ? 1 - 0.75 * age * age : 0.55 * (1 - age * age);
    pen.fillStyle = pen.strokeStyle = level ? this.#colours[side] : this.#colours.rest;
    if (bar?.look === 'cut') {
      pen.globalAlpha = 1 - 0.5 * age;
      pen.fillStyle = this.#colours.cut;
      pen.fillRect(x - 1, height * 0.12, 2, height * 0.76);
      return;
    }
    pen.beginPath();
    pen.roundRect(x - WIDTH_PX / 2, (height - tall) / 2, WIDTH_PX, tall, WIDTH_PX / 2);
    if (bar?.look === 'hollow' && level) pen.stroke();
    else pen.fill();
  }
}
