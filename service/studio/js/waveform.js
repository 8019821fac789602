// A sound in memory: read from a file, measured for drawing, and written as WAV.

import { svg } from "./dom.js";

const RATE_HZ = 48_000;

/** Read a sound file: {blob, name, buffer, duration, loudest}. Throws when the browser cannot decode it. */
export async function readSound(blob, name) {
  // An offline context decodes without the permission to play that a browser gives only after a click.
  const context = new OfflineAudioContext(1, 1, RATE_HZ);
  const buffer = await context.decodeAudioData(await blob.arrayBuffer());
  const loudest = loudness(buffer, 0, buffer.duration, 2000).reduce((most, each) => Math.max(most, each), 0);
  return { blob, name, buffer, duration: buffer.duration, loudest };
}

/** The largest sample in each of `columns` equal parts between two times (s); silence outside the sound. */
export function loudness(buffer, from, to, columns) {
  const found = new Float32Array(columns);
  const channels = Array.from({ length: buffer.numberOfChannels }, (_, index) => buffer.getChannelData(index));
  const perColumn = ((to - from) * buffer.sampleRate) / columns;
  for (let column = 0; column < columns; column += 1) {
    const first = Math.round(from * buffer.sampleRate + column * perColumn);
    const last = Math.min(buffer.length, Math.round(first + perColumn));
    // Every eighth sample shows a peak as well and keeps a minute of sound quick to draw.
    const stride = Math.max(1, Math.floor(perColumn / 400));
    for (const samples of channels) {
      for (let index = Math.max(0, first); index < last; index += stride) {
        const size = Math.abs(samples[index]);
        if (size > found[column]) found[column] = size;
      }
    }
  }
  return found;
}

/** A picture of the sound as upright bars that fills its place; redraws itself when its place changes. */
export class Waveform {
  #sound = null;
  #span = [0, 0];

  constructor() {
    this.path = svg("path", { class: "waveform-bars" });
    this.node = svg("svg", { class: "waveform", "aria-hidden": "true", preserveAspectRatio: "none" }, this.path);
    new ResizeObserver(() => this.#draw()).observe(this.node);
  }

  /** Show the sound between two times (s); null shows nothing. */
  show(sound, from = 0, to = 0) {
    this.#sound = sound;
    this.#span = [from, to];
    this.#draw();
  }

  #draw() {
    const { width } = this.node.getBoundingClientRect();
    if (!this.#sound || width < 1) {
      this.path.setAttribute("d", "");
      return;
    }
    const columns = Math.max(40, Math.floor(width / 4));
    const bars = loudness(this.#sound.buffer, ...this.#span, columns);
    const scale = this.#sound.loudest > 0 ? 46 / this.#sound.loudest : 0;
    this.node.setAttribute("viewBox", `0 0 ${columns} 100`);
    this.path.setAttribute(
      "d",
      Array.from(bars, (size, column) => {
        const half = Math.max(0.5, size * scale);
        return `M${column + 0.5} ${(50 - half).toFixed(1)}V${(50 + half).toFixed(1)}`;
      }).join(""),
    );
  }
}

/** Write a sound as a mono WAV file of 16 bits. */
export function writeWav(buffer) {
  const samples = buffer.getChannelData(0);
  const view = new DataView(new ArrayBuffer(44 + samples.length * 2));
  const text = (offset, letters) => [...letters].forEach((letter, index) => view.setUint8(offset + index, letter.charCodeAt(0)));
  text(0, "RIFF");
  view.setUint32(4, 36 + samples.length * 2, true);
  text(8, "WAVEfmt ");
  view.setUint32(16, 16, true); // size of this chunk
  view.setUint16(20, 1, true); // PCM
  view.setUint16(22, 1, true); // channels
  view.setUint32(24, buffer.sampleRate, true);
  view.setUint32(28, buffer.sampleRate * 2, true); // bytes a second
  view.setUint16(32, 2, true); // bytes a sample
  view.setUint16(34, 16, true); // bits a sample
  text(36, "data");
  view.setUint32(40, samples.length * 2, true);
  samples.forEach((sample, index) => view.setInt16(44 + index * 2, Math.max(-1, Math.min(1, sample)) * 32_767, true));
  return new Blob([view], { type: "audio/wav" });
}
