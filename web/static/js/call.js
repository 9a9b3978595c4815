// One call over WebRTC. Emits: phase, event (page protocol), sound (the agent's stream), renewed, trouble.

import { clientReady, interrupt, parse, sendText } from './rtvi.js';
import { connectionTrouble, lostTrouble, Trouble } from './trouble.js';

const CONNECT_WITHIN_MS = 10_000;
const LOST_AFTER_MS = 1_000; // after what the browser took to notice: up to nine seconds
const CANDIDATE_BATCH_MS = 50;
const RECONNECT_WITHIN_MS = 9_000; // by then the server takes the caller for gone
const FIRST_PAUSE_MS = 500;
const LONGEST_PAUSE_MS = 2_000;

export class Call extends EventTarget {
  #door; #wishes; #iceServers; #track;
  #pc; #channel; #pcId; #candidates = []; #found = 0; #timers = new Set();
  #retrying = false; #over = false; #connected = false; #answer = '';

  constructor(door, { iceServers, wishes }) {
    super();
    this.#door = door;
    this.#iceServers = iceServers;
    this.#wishes = wishes;
  }

  get pc() { return this.#pc; }

  async start(track) {
    this.#track = track;
    this.#phase('connecting');
    try {
      await this.#connect();
    } catch (error) {
      this.#fail(error instanceof Trouble ? error : new Trouble('The call could not be placed.', String(error)));
    }
  }

  /** Swap the microphone without hanging up. */
  async useTrack(track) {
    track.enabled = this.#track.enabled;
    this.#track.stop();
    this.#track = track;
    await this.#pc?.getSenders()[0]?.replaceTrack(track);
  }

  set muted(muted) { this.#track.enabled = !muted; }
  say(text) { return this.#send(sendText(text)); }
  interrupt() { return this.#send(interrupt()); }
  end(reason = 'You hung up.') {
    this.#phase('ended', reason);
    this.#close();
  }

  async #connect(restart = false) {
    const pc = this.#pc = new RTCPeerConnection({ iceServers: this.#iceServers });
    this.#connected = false;
    this.#found = 0;
    this.#candidates = [];
    this.#answer = '';
    pc.addTransceiver(this.#track, { direction: 'sendrecv' });
    this.#openChannel(pc.createDataChannel('chat', { ordered: true }));
    pc.ontrack = ({ track, streams }) => this.#emit('sound', streams[0] ?? new MediaStream([track]));
    pc.onicecandidate = ({ candidate }) => this.#onCandidate(candidate);
    pc.onconnectionstatechange = () => this.#onState(pc);

    await pc.setLocalDescription();
    const answer = await this.#door.offer({
      sdp: pc.localDescription.sdp, type: 'offer',
      ...(restart && { pc_id: this.#pcId, restart_pc: true }),
      request_data: this.#wishes,
    });
    if (pc !== this.#pc) return;
    if (restart && answer.pc_id !== this.#pcId) this.#emit('renewed');
    this.#pcId = answer.pc_id;
    this.#answer = answer.sdp;
    await pc.setRemoteDescription({ type: answer.type, sdp: answer.sdp });
    this.#sendCandidates();
    this.#after(CONNECT_WITHIN_MS, () => {
      if (!this.#connected && pc === this.#pc) this.#fail(this.#diagnose());
    });
  }

  #openChannel(channel) {
    this.#channel = channel;
    channel.onopen = () => {
      this.#send(clientReady());
      const ping = setInterval(() => this.#send(`ping: ${Date.now()}`), 1000);
      channel.onclose = () => clearInterval(ping);
    };
    channel.onmessage = ({ data }) => {
      const message = parse(data);
      if (message?.type === 'server-message') this.#onEvent(message.data);
      else if (message?.type === 'error') this.#onEvent({ event: 'error', message: message.data.error, cure: '' });
    };
  }

  #onEvent(event) {
    this.#emit('event', event);
    if (event?.event === 'bye') this.end(event.reason);
  }

  // Candidates that turn up after the offer went out follow in small batches.
  #onCandidate(candidate) {
    if (candidate?.candidate) this.#found += 1;
    if (!candidate) return;
    this.#candidates.push({
      candidate: candidate.candidate, sdp_mid: candidate.sdpMid ?? '0', sdp_mline_index: candidate.sdpMLineIndex ?? 0,
    });
    if (this.#answer && this.#candidates.length === 1) this.#after(CANDIDATE_BATCH_MS, () => this.#sendCandidates());
  }

  #sendCandidates() {
    if (!this.#candidates.length) return;
    // One that is late or lost does no harm: the connection itself is watched.
    this.#door.candidates(this.#pcId, this.#candidates.splice(0)).catch(() => {});
  }

  #onState(pc) {
    if (pc !== this.#pc || this.#over) return;
    if (pc.connectionState === 'connected') {
      this.#connected = true;
      this.#retrying = false;
      this.#phase('live');
    } else if (pc.connectionState === 'failed') {
      this.#reconnect();
    } else if (pc.connectionState === 'disconnected') {
      this.#after(LOST_AFTER_MS, () => {
        if (pc === this.#pc && pc.connectionState === 'disconnected') this.#reconnect();
      });
    }
  }

  async #reconnect() {
    if (!this.#connected) return this.#fail(this.#diagnose());
    this.#retrying = true;
    this.#phase('reconnecting');
    const lost = this.#pc;
    try {
      await this.#connectAgain();
    } catch {
      this.#fail(lostTrouble());
    } finally {
      lost.close(); // not before it is replaced: to the server that is hanging up
    }
  }

  // A network that was just lost may need some seconds, or give way to another one.
  async #connectAgain() {
    const until_ms = performance.now() + RECONNECT_WITHIN_MS;
    for (let pause_ms = FIRST_PAUSE_MS; !this.#over; pause_ms = Math.min(2 * pause_ms, LONGEST_PAUSE_MS)) {
      try {
        return await this.#connect(true);
      } catch (error) {
        this.#pc.close();
        if (performance.now() + pause_ms > until_ms) throw error;
      }
      await pauseOrOnline(pause_ms);
    }
  }

  #diagnose() {
    if (this.#retrying) return lostTrouble();
    const hasRelay = this.#iceServers.some((server) => /^turns?:/.test(server.urls[0]));
    return connectionTrouble(this.#found, this.#answer, hasRelay);
  }

  #send(text) {
    if (this.#channel?.readyState !== 'open') return false;
    this.#channel.send(text);
    return true;
  }

  #fail(trouble) {
    this.#emit('trouble', trouble);
    this.#close();
  }

  #close() {
    this.#over = true;
    for (const timer of this.#timers) clearTimeout(timer);
    this.#track?.stop();
    const [pc, channel] = [this.#pc, this.#channel];
    if (channel?.readyState !== 'connecting') return pc?.close();
    // The server learns only over the connection that a call is over: one on its way is made first.
    channel.onopen = () => pc.close();
    setTimeout(() => pc.close(), CONNECT_WITHIN_MS);
  }

  #after(ms, action) {
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      if (!this.#over) action();
    }, ms);
    this.#timers.add(timer);
  }

  #phase(phase, reason = '') { this.#emit('phase', { phase, reason }); }

  // A call that is over has nothing more to tell.
  #emit(name, detail) {
    if (!this.#over) this.dispatchEvent(new CustomEvent(name, { detail }));
  }
}

function pauseOrOnline(ms) {
  return new Promise((done) => {
    setTimeout(done, ms);
    addEventListener('online', done, { once: true });
  });
}
