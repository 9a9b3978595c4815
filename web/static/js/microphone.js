// The caller's own sound: a chosen microphone, or silence when they prefer to type.

import { microphoneTrouble } from './trouble.js';

/** A live microphone track, or a Trouble. */
export async function openMicrophone(deviceId) {
  try {
    if (!navigator.mediaDevices) throw new DOMException('', 'SecurityError');
    const stream = await navigator.mediaDevices.getUserMedia({
      audio: {
        deviceId: deviceId ? { exact: deviceId } : undefined,
        // Levels tell the caller from a television, and the ears hear at any; gain control would even them out.
        echoCancellation: true, noiseSuppression: true, autoGainControl: false, channelCount: 1,
      },
    });
    return stream.getAudioTracks()[0];
  } catch (error) {
    throw microphoneTrouble(error);
  }
}

/** A track of silence: the server tells time by the sound it receives, so there must be some. */
export function silence(context) {
  const source = new ConstantSourceNode(context, { offset: 0 });
  const out = new MediaStreamAudioDestinationNode(context);
  source.connect(out);
  source.start();
  return out.stream.getAudioTracks()[0];
}

/** The microphones there are, as [{id, label}]; labels appear once permission was given. */
export async function microphones() {
  const devices = await navigator.mediaDevices?.enumerateDevices() ?? [];
  return devices
    .filter((device) => device.kind === 'audioinput' && device.deviceId && device.deviceId !== 'default')
    .map((device, index) => ({ id: device.deviceId, label: device.label || `Microphone ${index + 1}` }));
}
