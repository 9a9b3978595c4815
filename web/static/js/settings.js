// What the visitor chose, kept in this browser.

import { microphones } from './microphone.js';
import { keeper } from './storage.js';

const $ = (id) => document.getElementById(id);
const local = keeper(() => localStorage);
const kept = (name, otherwise) => local.get(`parley.${name}`) ?? otherwise;
const keep = (name, value) => local.set(`parley.${name}`, value);

export class Settings extends EventTarget {
  #page = { personas: [], voices: [] };

  constructor() {
    super();
    this.#bind('volume', '100', (value) => { $('ear').volume = value / 100; });
    this.#bind('theme', 'light dark', (value) => {
      document.documentElement.style.colorScheme = value;
      this.dispatchEvent(new Event('theme'));
    });
    $('announce').checked = kept('announce', '') === 'yes';
    $('announce').addEventListener('change', () => keep('announce', $('announce').checked ? 'yes' : ''));
    $('microphone').addEventListener('change', () => {
      keep('microphone', $('microphone').value);
      this.dispatchEvent(new Event('microphone'));
    });
    navigator.mediaDevices?.addEventListener?.('devicechange', () => this.listMicrophones());
  }

  get microphone() { return $('microphone').value; }
  get announce() { return $('announce').checked; }
  get persona() { return $('personas').querySelector(':checked')?.value; }
  get personaTitle() { return this.#chosen?.title ?? 'Parley'; }
  get wishes() { return { persona: this.persona, ...($('voice').value && { voice: $('voice').value }) }; }

  /** Fill in what the server offers. */
  offer(page) {
    this.#page = page;
    const chosen = kept('persona', page.personas[0]?.name);
    const known = page.personas.some((one) => one.name === chosen) ? chosen : page.personas[0]?.name;
    const choices = page.personas.map(({ name, title }) => personaChoice(name, title, name === known));
    $('personas').querySelector('.choices').replaceChildren(...choices);
    $('personas').onchange = () => {
      keep('persona', this.persona);
      this.#introduce();
    };
    this.#introduce();
    $('personas').hidden = page.personas.length < 2;
    const voices = page.voices.map(({ name, description }) => [name, description ? `${name}, ${description}` : name]);
    fill($('voice'), [['', 'The persona’s own'], ...voices], kept('voice', ''));
    $('voice').onchange = () => keep('voice', $('voice').value);
  }

  #introduce() {
    $('about').textContent = this.#chosen?.about ?? '';
  }

  async listMicrophones() {
    const found = (await microphones()).map(({ id, label }) => [id, label]);
    fill($('microphone'), [['', 'The system’s choice'], ...found], kept('microphone', ''));
  }

  get #chosen() { return this.#page.personas.find((one) => one.name === this.persona); }

  #bind(name, otherwise, apply) {
    const input = $(name);
    input.value = kept(name, otherwise);
    apply(input.value);
    input.addEventListener('input', () => {
      keep(name, input.value);
      apply(input.value);
    });
  }
}

function fill(select, options, chosen) {
  select.replaceChildren(...options.map(([value, label]) => new Option(label, value, false, value === chosen)));
}

function personaChoice(name, title, checked) {
  const choice = Object.assign(document.createElement('div'), { className: 'persona' });
  const input = Object.assign(document.createElement('input'), { type: 'radio', name: 'persona', value: name, id: `persona-${name}`, checked });
  const label = Object.assign(document.createElement('label'), { htmlFor: input.id, textContent: title });
  choice.append(input, label);
  return choice;
}
