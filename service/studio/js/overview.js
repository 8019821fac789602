// The whole of a sound that is longer than the video, and the window on it: the two seconds that the video uses.

import { CLIP_S, FPS } from "./clip.js";
import { element } from "./dom.js";
import { TEXT } from "./text.js";
import { Waveform } from "./waveform.js";

/** The overview; `onStart` is told where the window begins (s). Hidden where the sound fits into the video. */
export class Overview {
  #sound = null;
  #start = 0;

  constructor(onStart) {
    this.onStart = onStart;
    this.waveform = new Waveform();
    this.window = element("div", {
      class: "overview-window",
      role: "slider",
      tabindex: "0",
      "aria-label": TEXT.score.window,
      "aria-valuemin": "0",
      onkeydown: (event) => this.#press(event),
    });
    this.node = element(
      "div",
      { class: "overview", onpointerdown: (event) => this.#grab(event) },
      this.waveform.node,
      this.window,
    );
  }

  /** Show a sound and where the window on it begins. */
  show(sound, start) {
    this.node.hidden = !sound || sound.duration <= CLIP_S;
    if (this.node.hidden) return;
    if (sound !== this.#sound) this.waveform.show(sound, 0, sound.duration);
    this.#sound = sound;
    this.#start = start;
    this.window.style.left = `${(start / sound.duration) * 100}%`;
    this.window.style.width = `${(CLIP_S / sound.duration) * 100}%`;
    this.window.setAttribute("aria-valuemax", (sound.duration - CLIP_S).toFixed(2));
    this.window.setAttribute("aria-valuenow", start.toFixed(2));
    this.window.setAttribute("aria-valuetext", TEXT.score.windowAt(start, start + CLIP_S));
  }

  #moveTo(start) {
    this.onStart(Math.min(Math.max(0, start), this.#sound.duration - CLIP_S));
  }

  #press(event) {
    const moved = {
      ArrowLeft: this.#start - 1 / FPS,
      ArrowRight: this.#start + 1 / FPS,
      PageDown: this.#start - 1,
      PageUp: this.#start + 1,
      Home: 0,
      End: this.#sound.duration,
    }[event.key];
    if (moved === undefined) return;
    event.preventDefault();
    this.#moveTo(moved);
  }

  #grab(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.window.focus();
    const box = this.node.getBoundingClientRect();
    const timeAt = (x) => ((x - box.left) / box.width) * this.#sound.duration;
    // Beside the window it jumps there; on it, it stays under the finger where it was touched.
    const grip = event.target === this.window ? timeAt(event.clientX) - this.#start : CLIP_S / 2;
    const drag = (moving) => this.#moveTo(timeAt(moving.clientX) - grip);
    drag(event);
    this.node.setPointerCapture(event.pointerId);
    this.node.addEventListener("pointermove", drag);
    this.node.addEventListener("lostpointercapture", () => this.node.removeEventListener("pointermove", drag), {
      once: true,
    });
  }
}
