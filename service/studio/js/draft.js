// The request that is being composed: what was chosen, and what it will say to the API.

import { KEYFRAMES } from "./clip.js";
import { soundToSend } from "./upload.js";

/** Knobs as the API names them; null is the model's own default. */
export const DEFAULT_KNOBS = Object.freeze({
  seed: null,
  motion_strength: null,
  guidance_audio: null,
  guidance_text: null,
  guidance_image: null,
  num_inference_steps: null,
});

/** A picture {blob, name, url, width, height}, a sound (see waveform.js), and everything that was set for them. */
export class Draft extends EventTarget {
  picture = null;
  sound = null;
  start = 0; // seconds into the sound
  fit = "cover";
  crop = null; // {x, y, width, height} in parts of the picture; null is the largest in the middle
  heard = null; // what the service heard: {curve, peaks, valleys, indices, source}
  keyframes = null; // frames that were set by hand; null leaves them to what is heard
  prompt = "";
  knobs = { ...DEFAULT_KNOBS };
  #idempotencyKey = null;

  /** Change some of it and tell everyone who listens. */
  change(values) {
    Object.assign(this, values);
    this.renew();
    this.dispatchEvent(new CustomEvent("change", { detail: Object.keys(values) }));
  }

  /** Take another picture; what was set for the last one is gone. */
  usePicture(picture) {
    this.change({ picture, crop: null });
  }

  /** Take another sound, or another part of it; what was heard in the last one is gone. */
  useSound(sound, start = 0) {
    this.change({ sound, start, heard: null, keyframes: null });
  }

  /** Take over everything that a video was made with. */
  load(video, { picture, sound }, knobs) {
    const { image_fit: fit, audio_start: start, keyframes } = video.parameters;
    const heard = video.keyframes && video.keyframes.source !== "request" ? video.keyframes : null;
    this.change({ picture, sound, start, fit, crop: cropOf(video), heard, keyframes, prompt: video.prompt, knobs });
  }

  /** The keyframes as they stand: those set by hand, else those heard, else none. */
  get plan() {
    return this.keyframes ?? this.heard?.indices ?? null;
  }

  /** What is still needed: any of `picture`, `sound`, `keyframes`, `prompt`, in the order of the page. */
  get missing() {
    return [
      this.picture ? null : "picture",
      this.sound ? null : "sound",
      this.keyframes && this.keyframes.length !== KEYFRAMES ? "keyframes" : null,
      this.prompt.trim() ? null : "prompt",
    ].filter(Boolean);
  }

  /** The sound as it is sent: {blob, name, start}. */
  get soundPart() {
    return soundToSend(this.sound, this.start);
  }

  /** A key that stays the same until something is changed: the same request under it makes one video. */
  idempotencyKey() {
    this.#idempotencyKey ??= crypto.getRandomValues(new Uint32Array(4)).join("-");
    return this.#idempotencyKey;
  }

  /** The next request is another one, even if it says the same. */
  renew() {
    this.#idempotencyKey = null;
  }

  /** The text fields of the request; those at their default are left out. */
  get fields() {
    const fields = { prompt: this.prompt.trim(), preview: "true" };
    const { start } = this.soundPart;
    if (start > 0) fields.audio_start = start.toFixed(3);
    if (this.fit !== "cover") fields.image_fit = this.fit;
    if (this.fit === "cover" && this.crop) fields.image_crop = cropField(this.crop, this.picture);
    if (this.keyframes) fields.keyframes = this.keyframes.join(",");
    for (const [name, value] of Object.entries(this.knobs)) {
      if (value !== null) fields[name] = String(value);
    }
    return fields;
  }

  /** The whole request as a form; the files' names travel along, to be shown in the history. */
  get form() {
    const form = new FormData();
    for (const [name, value] of Object.entries(this.fields)) form.set(name, value);
    const names = { picture: this.picture.name.slice(0, 200), sound: this.sound.name.slice(0, 200) };
    form.set("metadata", JSON.stringify(names));
    form.set("input_reference", this.picture.blob, this.picture.name);
    const { blob, name } = this.soundPart;
    form.set("audio", blob, name);
    return form;
  }
}

/**
 * The crop that a video was made with, in parts of its picture; null is what its fit does by itself.
 * Its pixels are those of the picture that was sent: the service may keep a smaller one.
 */
export function cropOf(video) {
  if (!video.parameters.image_crop) return null;
  const [x, y, width, height] = video.parameters.image_crop;
  const sent = video.input.image;
  return { x: x / sent.width, y: y / sent.height, width: width / sent.width, height: height / sent.height };
}

/** A crop as the API takes it: `x,y,width,height` in pixels of the picture. */
function cropField(crop, picture) {
  const { x, y, width, height } = crop;
  const [left, top] = [Math.round(x * picture.width), Math.round(y * picture.height)];
  const [wide, high] = [Math.round(width * picture.width), Math.round(height * picture.height)];
  return [left, top, Math.min(wide, picture.width - left), Math.min(high, picture.height - top)].join(",");
}
