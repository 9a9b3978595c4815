// RTVI 2.2 envelopes, the protocol that pipecat speaks on the data channel.

const LABEL = 'rtvi-ai';
const VERSION = '2.2.0';
let lastId = 0;

function envelope(type, data) {
  return JSON.stringify({ label: LABEL, type, id: `page-${++lastId}`, data });
}

export const clientReady = () =>
  envelope('client-ready', { version: VERSION, about: { library: 'parley-page', library_version: '1' } });

export const sendText = (content) =>
  envelope('send-text', { content, options: { run_immediately: true, audio_response: true } });

export const interrupt = () => envelope('client-message', { t: 'interrupt' });

/** Parse one message; null when it is not RTVI. */
export function parse(raw) {
  try {
    const message = JSON.parse(raw);
    return message.label === LABEL ? message : null;
  } catch {
    return null;
  }
}
