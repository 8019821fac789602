// Files into a picture and a sound that the service will take, or a Refusal that says what to do instead.

import { CLIP_S } from "./clip.js";
import { TEXT } from "./text.js";
import { readSound, writeWav } from "./waveform.js";

const ACCEPTED_PICTURES = ["image/jpeg", "image/png", "image/webp"];
const SOUND_NAMES = /\.(wav|flac|mp3|ogg|oga|opus|m4a|aac)$/i;
const LARGEST_SIDE = 3072; // pixels of a picture that had to be made smaller: six times what the model sees

export const PICTURE_TYPES = "image/*";
export const SOUND_TYPES = "audio/*,.wav,.flac,.mp3,.ogg,.opus,.m4a";

/** Until the service has told its own: the limits it has by default. Sizes are bytes, lengths seconds. */
export const DEFAULT_LIMITS = Object.freeze({
  max_image_bytes: 20_000_000,
  max_image_pixels: 25_000_000,
  max_audio_bytes: 50_000_000,
  max_audio_seconds: 60,
  min_audio_seconds: 0.25,
});

/** Why a file cannot be used, in words for the person who chose it. */
export class Refusal extends Error {}

/** Which of several files is the picture and which the sound, by what they say they are. */
export function sortFiles(files) {
  const sorted = { picture: null, sound: null, other: null };
  for (const file of files) {
    if (file.type.startsWith("image/")) sorted.picture ??= file;
    else if (file.type.startsWith("audio/") || SOUND_NAMES.test(file.name)) sorted.sound ??= file;
    else sorted.other ??= file;
  }
  return sorted;
}

/** Read a picture: {blob, name, url, width, height}, upright. Formats and sizes that the service refuses are converted. */
export async function readPicture(file, limits = DEFAULT_LIMITS) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new Refusal(TEXT.refusals.picture(file.name));
  }
  const { width, height } = bitmap;
  if (Math.min(width, height) < 16) throw new Refusal(TEXT.refusals.tinyPicture(width, height));
  const fits = file.size <= limits.max_image_bytes && width * height <= limits.max_image_pixels;
  const picture = fits && ACCEPTED_PICTURES.includes(file.type)
    ? { blob: file, width, height }
    : await redrawn(bitmap, LARGEST_SIDE);
  bitmap.close();
  return { ...picture, name: file.name, url: URL.createObjectURL(picture.blob) };
}

/** Read a sound, see waveform.js. */
export async function readSoundFile(file, limits = DEFAULT_LIMITS) {
  if (file.size > limits.max_audio_bytes) {
    throw new Refusal(TEXT.refusals.largeSound(file.name, limits.max_audio_bytes));
  }
  let sound;
  try {
    sound = await readSound(file, file.name);
  } catch {
    throw new Refusal(TEXT.refusals.sound(file.name));
  }
  if (sound.duration < limits.min_audio_seconds) {
    throw new Refusal(TEXT.refusals.shortSound(sound.duration, limits.min_audio_seconds));
  }
  if (sound.duration > limits.max_audio_seconds) return { ...sound, isTooLong: true };
  return sound;
}

/** The file to send for a sound, and where in it the video begins: of a sound that is too long, only the part in use. */
export function soundToSend(sound, start) {
  if (!sound.isTooLong) return { blob: sound.blob, name: sound.name, start };
  const { sampleRate } = sound.buffer;
  const first = Math.round(start * sampleRate);
  const part = sound.buffer.getChannelData(0).slice(first, first + CLIP_S * sampleRate);
  const buffer = new AudioBuffer({ length: part.length, sampleRate });
  buffer.copyToChannel(part, 0);
  return { blob: writeWav(buffer), name: `${sound.name}.wav`, start: 0 };
}

async function redrawn(bitmap, largestSide) {
  const scale = Math.min(1, largestSide / Math.max(bitmap.width, bitmap.height));
  const width = Math.round(bitmap.width * scale);
  const height = Math.round(bitmap.height * scale);
  const canvas = Object.assign(document.createElement("canvas"), { width, height });
  canvas.getContext("2d").drawImage(bitmap, 0, 0, width, height);
  const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/webp", 0.95));
  return { blob, width, height };
}
