// One screen: the picture as the model sees it, a preview that clears, then the video. Two stand side by side to compare.

import { HEIGHT, WIDTH } from "./clip.js";
import { largestCrop } from "./crop.js";
import { element, showOnly } from "./dom.js";
import { TEXT } from "./text.js";

/** A figure with one of canvas (the picture), image (the preview) and video, and a caption. */
export class Screen {
  #urls = [];

  constructor() {
    this.canvas = element("canvas", { width: String(WIDTH), height: String(HEIGHT), role: "img", "aria-label": TEXT.screen.picture });
    this.preview = element("img", { class: "preview", alt: TEXT.screen.preview, hidden: true });
    this.video = element("video", { playsinline: true, loop: true, preload: "auto", "aria-label": TEXT.screen.video, hidden: true });
    this.note = element("div", { class: "screen-note", hidden: true });
    this.caption = element("figcaption", { class: "screen-caption" });
    this.node = element(
      "figure",
      { class: "screen" },
      element("div", { class: "stage" }, this.canvas, this.preview, this.video, this.note),
      this.caption,
    );
  }

  /** Show a picture as the model sees it; `crop` as in draft.js. */
  async showPicture(picture, fit, crop) {
    const image = new Image();
    image.src = picture.url;
    await image.decode();
    const context = this.canvas.getContext("2d");
    context.clearRect(0, 0, WIDTH, HEIGHT);
    const { x, y, width, height } = crop ?? (fit === "cover" ? largestCrop(picture) : { x: 0, y: 0, width: 1, height: 1 });
    const [usedWidth, usedHeight] = [width * picture.width, height * picture.height];
    const scale = Math.min(WIDTH / usedWidth, HEIGHT / usedHeight);
    const [shownWidth, shownHeight] = fit === "contain" ? [usedWidth * scale, usedHeight * scale] : [WIDTH, HEIGHT];
    context.drawImage(
      image,
      x * image.width,
      y * image.height,
      width * image.width,
      height * image.height,
      (WIDTH - shownWidth) / 2,
      (HEIGHT - shownHeight) / 2,
      shownWidth,
      shownHeight,
    );
  }

  /** Show an image of the video as far as it is. */
  showPreview(url) {
    URL.revokeObjectURL(this.preview.src);
    this.preview.src = url;
    this.preview.hidden = false;
  }

  /** Show the finished video from its file. */
  showVideo(blob) {
    const url = URL.createObjectURL(blob);
    this.#urls.push(url);
    this.video.src = url;
    this.node.classList.add("is-fresh"); // until it is played or looked through
    showOnly(this.video, [this.canvas, this.preview, this.video]);
  }

  /** Say something across the screen; nothing takes it away. */
  say(text) {
    this.note.textContent = text;
    this.note.hidden = !text;
  }

  /** Give back what the browser holds for this screen. */
  release() {
    this.video.pause();
    this.video.removeAttribute("src");
    for (const url of [this.preview.src, ...this.#urls]) URL.revokeObjectURL(url);
  }
}
