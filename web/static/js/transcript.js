// The conversation as it is understood, spoken, and cut short.

import { waterfall } from './waterfall.js';

const NEAR_END_PX = 120;

export class Transcript {
  #region; #exchanges = new Map(); #following = true;
  agentName = 'Parley';

  constructor(region) {
    this.#region = region;
    region.addEventListener('scroll', () => {
      this.#following = region.scrollHeight - region.scrollTop - region.clientHeight < NEAR_END_PX;
    });
    new ResizeObserver(() => this.#keepingEnd(() => {})).observe(region);
  }

  clear() {
    this.#exchanges.clear();
    this.#following = true;
    this.#region.replaceChildren();
  }

  callerWords({ turn, text, final }) {
    const exchange = this.#exchange(turn);
    const { said } = exchange;
    this.#keepingEnd(() => {
      if (final && !exchange.spoken) this.#unsay(exchange);
      if (final && !text && !exchange.words.length) return this.#forget(turn); // a cough, a murmur of assent
      said.lastChild.textContent = text;
      said.className = final ? 'said' : 'said partial';
    });
  }

  agentText({ turn, text }) {
    const exchange = this.#exchange(turn);
    this.#keepingEnd(() => {
      if (exchange.ended) this.#another(exchange);
      for (const word of text.split(/\s+/).filter(Boolean)) {
        const span = Object.assign(document.createElement('span'), { className: 'word', textContent: word });
        exchange.reply.append(span, ' ');
        exchange.words.push(span);
      }
      this.#light(exchange);
    });
  }

  agentWords({ turn, spoken }) {
    const exchange = this.#exchange(turn);
    exchange.spoken = spoken;
    this.#light(exchange);
  }

  /** Strike what was never heard. */
  agentCut({ turn, heard }) {
    const exchange = this.#exchange(turn);
    if (exchange.ended) return;
    if (!heard.trim()) return this.#unsay(exchange);
    exchange.spoken = Math.min(exchange.words.length, heard.split(/\s+/).filter(Boolean).length);
    exchange.ended = true;
    this.#light(exchange);
    const unheard = exchange.words.slice(exchange.spoken);
    if (!unheard.length) return;
    this.#keepingEnd(() => {
      const struck = document.createElement('del');
      unheard[0].before(struck);
      unheard.forEach((word, index) => struck.append(index ? ' ' : '', word));
      const note = Object.assign(document.createElement('span'), { className: 'note', textContent: 'cut short, not heard' });
      exchange.reply.append(note);
    });
  }

  latency({ turn, total_ms, parts }) {
    const { row, said } = this.#exchange(turn);
    this.#keepingEnd(() => {
      row.querySelectorAll('.steps, .total').forEach((old) => old.remove());
      said.after(...waterfall(total_ms, parts));
    });
  }

  /** The agent fell silent: nothing is being said now. */
  rest() {
    for (const exchange of this.#exchanges.values()) {
      if (exchange.ended || !exchange.words.length || exchange.spoken < exchange.words.length) continue;
      exchange.ended = true;
      this.#light(exchange);
    }
  }

  /** The call is over. */
  end() {
    for (const exchange of this.#exchanges.values()) {
      exchange.ended = true;
      this.#light(exchange);
    }
  }

  // A reply that begins; what was said earlier in this turn stays as it is.
  #another(exchange) {
    const reply = line('reply', this.agentName);
    exchange.replies.append(reply);
    Object.assign(exchange, { reply, words: [], spoken: 0, ended: false });
  }

  // None of the reply was heard: as far as anyone knows it was never said.
  #unsay({ reply, words }) {
    words.splice(0);
    reply.replaceChildren(reply.firstChild);
  }

  #forget(turn) {
    this.#exchanges.get(turn).row.remove();
    this.#exchanges.delete(turn);
  }

  #light({ words, spoken, ended }) {
    words.forEach((word, index) => {
      word.classList.toggle('heard', index < spoken);
      word.classList.toggle('now', !ended && index === spoken - 1);
    });
  }

  #exchange(turn) {
    let exchange = this.#exchanges.get(turn);
    if (exchange) return exchange;
    const row = Object.assign(document.createElement('div'), { className: 'exchange' });
    const said = line('said unsaid', 'You');
    const replies = Object.assign(document.createElement('div'), { className: 'replies' });
    said.append(document.createTextNode(''));
    row.dataset.turn = turn;
    row.append(said, replies);
    exchange = { row, said, replies };
    this.#another(exchange);
    this.#exchanges.set(turn, exchange);
    this.#keepingEnd(() => this.#region.append(row));
    return exchange;
  }

  // Follow the conversation unless the reader has scrolled back.
  #keepingEnd(change) {
    change();
    if (this.#following) this.#region.scrollTop = this.#region.scrollHeight;
  }
}

// Who says it is told by place and colour; a screen reader is told in words.
function line(className, who) {
  const paragraph = Object.assign(document.createElement('p'), { className, dir: 'auto' }); // as its words are written
  paragraph.append(Object.assign(document.createElement('span'), { className: 'visually-hidden', dir: 'ltr', textContent: `${who}: ` }));
  return paragraph;
}
