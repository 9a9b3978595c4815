// The page: a conversation, its controls, and what they do to each other.

import { Call } from './call.js';
import { Door } from './door.js';
import { Meter } from './meters.js';
import { openMicrophone, silence } from './microphone.js';
import { Network } from './network.js';
import { Ribbon } from './ribbon.js';
import { Settings } from './settings.js';
import { Transcript } from './transcript.js';
import { showTrouble, Trouble } from './trouble.js';

const $ = (id) => document.getElementById(id);
const TROUBLE_SHOWN_MS = 12_000;
const STATES = { listening: 'Listening', thinking: 'Thinking', speaking: 'Speaking', ducked: 'Paused for you' };
const PHASES = { connecting: 'Connecting', reconnecting: 'Reconnecting', live: 'Connected', ended: 'Call ended' };

const door = new Door();
const settings = new Settings();
const transcript = new Transcript($('transcript'));
const network = new Network($('network'));
const you = new Meter($('level-you'));
const agent = new Meter($('level-agent'));
const ribbon = new Ribbon($('ribbon'), $('talk'), {
  you: document.querySelector('.mark .you'), agent: document.querySelector('.mark .agent'),
  rest: $('engines'), cut: document.querySelector('.mark .cut'),
});
let page = null;
let call = null;
let attempts = 0; // to place a call: one that was ended, or followed by another, is void
let context = null;
let forget = 0;

async function arrive() {
  try {
    page = await door.page();
  } catch (trouble) {
    return refuse(trouble);
  }
  showTrouble($('trouble'), null);
  settings.offer(page);
  $('setup').hidden = false;
  const { asr, tts, llm } = page.engines;
  $('engines').textContent = [asr && `ears ${asr}`, tts && `voice ${tts}`, llm && `brain ${llm}`].filter(Boolean).join(' · ');
  document.querySelectorAll('.privacy').forEach((line) => { line.textContent = page.privacy; });
  await settings.listMicrophones();
}

async function begin({ typing = false } = {}) {
  if (document.body.dataset.calling === 'true') return;
  if (!page) return arrive();
  showTrouble($('trouble'), null);
  context ??= new AudioContext();
  context.resume();
  setPhase('connecting');
  const attempt = ++attempts;
  let track;
  try {
    track = typing ? silence(context) : await openChosenMicrophone();
  } catch (trouble) {
    return attempt === attempts && refuse(trouble);
  }
  if (attempt !== attempts) return track.stop(); // ended while the browser still asked
  transcript.clear();
  ribbon.clear();
  $('agent-name').textContent = transcript.agentName = settings.personaTitle;
  attend(track);
  call = new Call(door, { iceServers: page.ice_servers, wishes: settings.wishes });
  call.addEventListener('phase', ({ detail }) => onPhase(detail, typing));
  call.addEventListener('event', ({ detail }) => onEvent(detail));
  call.addEventListener('trouble', ({ detail }) => refuse(detail));
  call.addEventListener('renewed', () => {
    transcript.clear();
    ribbon.clear();
    showState('listening', '', PHASES.reconnecting);
    mention({ message: 'The call was over when you came back.', cure: 'A new one has begun.' });
  });
  call.addEventListener('sound', ({ detail }) => {
    $('ear').srcObject = detail;
    agent.listen(context, detail);
    network.watch(call.pc);
  });
  call.start(track);
  setMuted(false);
}

// Browsers may hide which microphones there are until one is allowed: the kept choice shows only then.
async function openChosenMicrophone() {
  const track = await openMicrophone(settings.microphone);
  await settings.listMicrophones();
  if (!settings.microphone || track.getSettings().deviceId === settings.microphone) return track;
  track.stop();
  return openMicrophone(settings.microphone);
}

function end() {
  attempts += 1;
  if (call) call.end();
  else onPhase({ phase: 'ended', reason: 'You hung up.' });
}

function attend(track) {
  you.listen(context, new MediaStream([track]));
  track.onended = replaceMicrophone; // it was unplugged: stop() does not tell
}

async function replaceMicrophone() {
  const placed = call;
  let track;
  try {
    track = await openMicrophone('');
    mention({ message: 'Your microphone is gone.', cure: 'The system’s choice took its place.' });
  } catch (trouble) {
    track = silence(context);
    mention(trouble);
  }
  useTrack(track, placed);
}

// The call may have ended while the browser looked for the microphone.
async function useTrack(track, placed) {
  if (call !== placed) return track.stop();
  await call.useTrack(track);
  attend(track);
}

function onPhase({ phase, reason }, typing) {
  announce(reason || PHASES[phase]);
  if (phase === 'ended') return leave(reason);
  const placed = document.body.dataset.phase === 'connecting'; // whoever reconnects may be typing
  setPhase(phase);
  if (placed && phase === 'live') (typing ? $('text') : $('mute')).focus();
}

function onEvent(event) {
  switch (event?.event) {
    case 'state':
      if (event.state === 'listening') transcript.rest();
      showState(event.state, event.reason);
      break;
    case 'caller_words': transcript.callerWords(event); break;
    case 'agent_text':
      transcript.agentText(event);
      if (settings.announce) announce(event.text);
      break;
    case 'agent_words': transcript.agentWords(event); break;
    case 'agent_cut':
      ribbon.cut();
      transcript.agentCut(event);
      break;
    case 'latency': transcript.latency(event); break;
    case 'network': network.fromServer(event); break;
    case 'error': mention(event); break;
  }
}

// Trouble that the call outlives.
function mention({ message, cure }) {
  showTrouble($('trouble'), new Trouble(message, cure, {}));
  clearTimeout(forget);
  forget = setTimeout(() => showTrouble($('trouble'), null), TROUBLE_SHOWN_MS);
}

function leave(reason) {
  const lostFocus = document.querySelector('.controls').contains(document.activeElement);
  call = null;
  transcript.end();
  network.stop();
  $('ear').srcObject = null;
  setPhase($('transcript').children.length ? 'ended' : 'idle');
  $('state').firstElementChild.textContent = PHASES.ended;
  $('state').lastElementChild.textContent = reason ?? '';
  if (lostFocus) $('transcript').focus(); // no button: a key meant for this call must not place another
}

function refuse(trouble) {
  clearTimeout(forget);
  call = null;
  transcript.end();
  network.stop();
  setPhase($('transcript').children.length ? 'ended' : 'idle');
  $('state').firstElementChild.textContent = '';
  showTrouble($('trouble'), trouble, {
    retry: () => begin(),
    typing: () => begin({ typing: true }),
    key: (key) => { door.key = key; arrive(); },
  });
}

function setPhase(phase) {
  const calling = !['idle', 'ended'].includes(phase);
  document.body.dataset.phase = phase;
  document.body.dataset.calling = calling;
  $('transcript').hidden = phase === 'idle';
  $('talk-label').textContent = calling ? 'End' : phase === 'ended' ? 'Talk again' : 'Talk';
  // A reconnection changes nothing about what the agent does.
  const state = phase === 'connecting' ? 'listening' : document.body.dataset.state;
  if (PHASES[phase]) showState(state, '', phase === 'live' ? STATES[state] : PHASES[phase]);
}

function showState(state, reason, title = STATES[state]) {
  document.body.dataset.state = state;
  $('interrupt').disabled = !['speaking', 'ducked'].includes(state);
  $('state').firstElementChild.textContent = title;
  $('state').lastElementChild.textContent = reason;
}

function setMuted(muted) {
  if (call) call.muted = muted;
  $('mute').setAttribute('aria-pressed', muted);
  $('mute').textContent = muted ? 'Muted' : 'Mute';
}

// Connection news is announced; words only when asked for, since the agent is already audible.
function announce(text) {
  $('announcer').textContent = text;
}

function frame(now_ms) {
  const levels = [you.read(), agent.read()];
  if (document.body.dataset.phase === 'live') {
    const muted = $('mute').getAttribute('aria-pressed') === 'true';
    ribbon.push(now_ms, muted ? 0 : levels[0], levels[1], document.body.dataset.state === 'ducked');
  }
  you.show();
  agent.show();
  requestAnimationFrame(frame);
}

$('talk').addEventListener('click', ({ detail }) => {
  if (detail > 1) return; // the second half of a double click would end what the first began
  if (document.body.dataset.calling === 'true') end();
  else begin();
});
$('type-instead').addEventListener('click', () => begin({ typing: true }));
$('mute').addEventListener('click', () => setMuted($('mute').getAttribute('aria-pressed') !== 'true'));
$('interrupt').addEventListener('click', () => call?.interrupt());
$('setup').addEventListener('submit', (event) => event.preventDefault());
$('typed').addEventListener('submit', (event) => {
  event.preventDefault();
  const text = $('text').value.trim();
  if (text && call?.say(text)) $('text').value = '';
});
settings.addEventListener('theme', () => ribbon.draw());
settings.addEventListener('microphone', async () => {
  const placed = call;
  if (!placed) return;
  const track = await openMicrophone(settings.microphone).catch(mention);
  if (track) useTrack(track, placed);
});
addEventListener('pagehide', () => call?.end()); // a closed tab hangs up at once
document.addEventListener('keydown', (event) => {
  const busy = event.target.closest('input, select, textarea, button, [popover]');
  if (!call || event.isComposing || event.altKey || event.ctrlKey || event.metaKey) return;
  if (event.key === 'Escape' && !document.querySelector(':popover-open')) call.interrupt();
  if (busy || event.repeat) return;
  if (event.key === ' ') setMuted($('mute').getAttribute('aria-pressed') !== 'true');
  else if (event.key === '/') $('text').focus();
  else return;
  event.preventDefault();
});

arrive();
requestAnimationFrame(frame);
