// The microphone into a sound file. Recordings become WAV here, because what browsers record is in no accepted format.

import { readSound, writeWav } from "./waveform.js";

export const LONGEST_RECORDING_S = 10;

/** Whether this page may use a microphone at all: browsers give one only to secure pages. */
export function canRecord() {
  return Boolean(navigator.mediaDevices?.getUserMedia && window.MediaRecorder);
}

/** One recording: `start`, then `stop` (or the longest time) answers the sound through `done`. */
export class Recorder {
  #stream = null;
  #recorder = null;
  #timer = null;

  /** Ask for the microphone and begin; `done` resolves with {blob, name, ...} once stopped. Throws when it is refused. */
  async start(name) {
    this.#stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    this.#recorder = new MediaRecorder(this.#stream);
    const pieces = [];
    this.#recorder.ondataavailable = (event) => pieces.push(event.data);
    const stopped = new Promise((resolve) => this.#recorder.addEventListener("stop", resolve, { once: true }));
    this.#recorder.start();
    this.#timer = setTimeout(() => this.stop(), LONGEST_RECORDING_S * 1000);
    this.done = stopped.then(async () => {
      const raw = await readSound(new Blob(pieces, { type: this.#recorder.mimeType }), name);
      return { ...raw, blob: writeWav(raw.buffer) };
    });
  }

  /** End the recording and give the microphone back. */
  stop() {
    clearTimeout(this.#timer);
    if (this.#recorder?.state === "recording") this.#recorder.stop();
    this.#stream?.getTracks().forEach((track) => track.stop());
  }
}
