// Talks to the server over HTTP: what there is to choose, and placing a call.

import { keeper } from './storage.js';
import { serverTrouble } from './trouble.js';

const session = keeper(() => sessionStorage);

export class Door {
  #key = session.get('key') ?? '';
  #token = '';
  #path = location.pathname; // the server decides who answers there

  constructor() {
    // A link of the form …/#key=… hands the key over without the server's logs ever seeing it.
    const match = /^#key=(.+)$/.exec(location.hash);
    if (match) {
      this.key = decoded(match[1]);
      history.replaceState(null, '', location.pathname);
    }
  }

  set key(value) {
    this.#key = value;
    session.set('key', value);
  }

  /** What the page needs to know; also renews the token. */
  async page() {
    const page = await this.#ask('GET', `/api/page?path=${encodeURIComponent(this.#path)}`, undefined, this.#key);
    this.#token = page.token;
    return page;
  }

  /** Post an offer; answers {sdp, type, pc_id}. */
  async offer(body) {
    body.request_data.page = this.#path;
    const ask = () => this.#ask('POST', '/api/offer', body, this.#token);
    try {
      return await ask();
    } catch (trouble) {
      if (!trouble.offer.key) throw trouble;
      await this.page(); // the token was too old, or another server's
      return ask();
    }
  }

  candidates(pcId, candidates) {
    return this.#ask('PATCH', '/api/offer', { pc_id: pcId, candidates }, this.#token);
  }

  async #ask(method, path, body, bearer) {
    const headers = { 'content-type': 'application/json' };
    if (bearer) headers.authorization = `Bearer ${bytes(bearer)}`;
    const response = await fetch(path, { method, headers, body: body && JSON.stringify(body) }).catch(() => null);
    if (!response?.ok) throw await serverTrouble(response);
    return response.json();
  }
}

// Headers carry bytes: a letter outside of Latin-1 would make the request fail before it is sent.
function bytes(text) {
  return String.fromCharCode(...new TextEncoder().encode(text));
}

// A key that was not encoded is left as it stands: the server says whether it fits.
function decoded(text) {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}
