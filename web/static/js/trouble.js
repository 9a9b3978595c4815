// Everything that can go wrong, in plain words: what happened and what to do about it.

export class Trouble extends Error {
  /** @param {string} title what happened  @param {string} cure what to do  @param {object} offer {retry, typing, key} */
  constructor(title, cure, offer = { retry: true }) {
    super(title);
    this.cure = cure;
    this.offer = offer;
  }
}

const MICROPHONE = {
  NotAllowedError: ['The browser kept the microphone to itself.',
    'Allow it with the icon beside the address, then try again. You can also type.'],
  NotFoundError: ['No microphone was found.', 'Plug one in and try again. You can also type.'],
  NotReadableError: ['Another program holds the microphone.', 'Close it and try again. You can also type.'],
  OverconstrainedError: ['The microphone you chose is gone.', 'Choose another under Settings.'],
};

/** Why getUserMedia failed. */
export function microphoneTrouble(error) {
  if (!window.isSecureContext) {
    return new Trouble('Browsers lend a microphone only to secure pages.',
      `Open this page over https, or as http://localhost on the machine itself. You can also type.`, { typing: true });
  }
  const [title, cure] = MICROPHONE[error.name] ?? ['The microphone did not start.', `The browser says: ${error.message}`];
  return new Trouble(title, cure, { retry: true, typing: true });
}

/** Why the server said no; `response` is a failed fetch Response, or null when nothing answered. */
export async function serverTrouble(response) {
  if (!response) return new Trouble('The server does not answer.', 'Is Parley still running? Start it and try again.');
  const said = await response.json().catch(() => ({}));
  const title = said.error ?? `The server answered ${response.status}.`;
  if (response.status === 401) return new Trouble(title, said.cure ?? '', { key: true });
  return new Trouble(title, said.cure ?? 'Try again; if it stays so, ask the operator.');
}

/** Why no connection came about, from what both sides offered. */
export function connectionTrouble(localCandidates, answerSdp, hasRelay) {
  if (!localCandidates) {
    return new Trouble('Your browser found no way out to the network.',
      'Join a network (even without internet), or allow WebRTC in the browser, then try again.');
  }
  if (!/^a=candidate:/m.test(answerSdp ?? '')) {
    return new Trouble('The server has no network address to offer.',
      'Connect the server to a network: 127.0.0.1 alone is not enough for WebRTC.');
  }
  return new Trouble('Sound found no way between you and the server.', hasRelay
    ? 'A firewall may block UDP here. Try another network.'
    : 'A firewall may block UDP here. Try another network, or give the server a TURN relay.');
}

export const lostTrouble = () =>
  new Trouble('The connection was lost.', 'Connecting again did not work. Check your network and call again.');

/** Show `trouble` in the alert region; `act` maps retry, typing, key to what they do. */
export function showTrouble(region, trouble, act) {
  region.replaceChildren();
  if (!trouble) return;
  const title = document.createElement('h2');
  title.textContent = trouble.message;
  const cure = document.createElement('p');
  cure.textContent = trouble.cure;
  region.append(title, cure);
  if (trouble.offer.key) region.append(keyForm(act.key));
  const actions = document.createElement('div');
  actions.className = 'actions';
  if (trouble.offer.retry) actions.append(button('Try again', act.retry));
  if (trouble.offer.typing) actions.append(button('Type instead', act.typing));
  if (actions.children.length) region.append(actions);
}

function button(label, action) {
  const element = document.createElement('button');
  element.textContent = label;
  element.addEventListener('click', action);
  return element;
}

function keyForm(submit) {
  const form = document.createElement('form');
  const input = Object.assign(document.createElement('input'), { type: 'password', autocomplete: 'off' });
  input.setAttribute('aria-label', 'Key');
  form.append(input, Object.assign(document.createElement('button'), { textContent: 'Enter' }));
  form.addEventListener('submit', (event) => {
    event.preventDefault();
    submit(input.value.trim());
  });
  return form;
}
