// The pictures and sounds that the service brings along.

import { readPicture, readSoundFile } from "./upload.js";

export const EXAMPLES = ["dog", "hammer", "violin"];

/** Load one of the examples: {picture, sound, prompt}. */
export async function loadExample(api, name) {
  const [picture, sound, about] = await Promise.all([
    api.blob(`examples/${name}.webp`),
    api.blob(`examples/${name}.flac`),
    api.json(`examples/${name}.json`),
  ]);
  return {
    picture: await readPicture(new File([picture], `${name}.webp`, { type: "image/webp" })),
    sound: await readSoundFile(new File([sound], `${name}.flac`, { type: "audio/flac" })),
    prompt: about.prompt,
  };
}
