// Plays the two seconds of a sound that the video will use.

import { CLIP_S } from "./clip.js";

/** One player for the page; tells `onTime` where it is (s into the clip), and null when it has ended. */
export class SoundPlayer {
  #context = null;
  #source = null;
  #beganAt = 0;

  constructor(onTime) {
    this.onTime = onTime;
  }

  get isPlaying() {
    return this.#source !== null;
  }

  /** Play from `start` seconds into the sound; silence stands where it has ended. Call it from a click. */
  async play(sound, start) {
    this.stop();
    this.#context ??= new AudioContext();
    await this.#context.resume();
    const source = this.#context.createBufferSource();
    source.buffer = sound.buffer;
    source.connect(this.#context.destination);
    source.start(0, start, CLIP_S);
    this.#source = source;
    this.#beganAt = this.#context.currentTime;
    this.#tick();
  }

  /** Stop playing. */
  stop() {
    if (!this.#source) return;
    this.#source.stop();
    this.#source.disconnect();
    this.#source = null;
    this.onTime(null);
  }

  #tick() {
    if (!this.#source) return;
    const time = this.#context.currentTime - this.#beganAt;
    if (time >= CLIP_S) {
      this.stop();
      return;
    }
    this.onTime(time);
    requestAnimationFrame(() => this.#tick());
  }
}
