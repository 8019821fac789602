// What videos were made from: remembered from this page's own requests, else asked of the service.

import { readPicture, readSoundFile } from "./upload.js";

/** Pictures and sounds by video. */
export class Inputs {
  #known = new Map();
  #api;

  constructor(api) {
    this.#api = api;
  }

  /** Remember what a video is made from; of a sound that was cut only the service has the part that it was made to. */
  remember(id, { picture, sound }) {
    if (!sound.isTooLong) this.#known.set(id, Promise.resolve({ picture, sound }));
  }

  /** The picture and the sound of a video, as in draft.js. Throws Problem. */
  of(video) {
    if (!this.#known.has(video.id)) {
      const loading = this.#load(video);
      loading.catch(() => this.#known.delete(video.id)); // to be tried again; whoever waits is told
      this.#known.set(video.id, loading);
    }
    return this.#known.get(video.id);
  }

  async #load({ id, metadata }) {
    const [picture, sound] = await Promise.all([
      this.#api.blob(`/v1/videos/${id}/content?variant=image`),
      this.#api.blob(`/v1/videos/${id}/content?variant=audio`),
    ]);
    return {
      picture: await readPicture(new File([picture], metadata.picture ?? "picture.png", { type: "image/png" })),
      sound: await readSoundFile(new File([sound], metadata.sound ?? "sound.wav", { type: "audio/wav" })),
    };
  }
}
