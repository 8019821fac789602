// Two seconds side by side: the sound, the motion that was heard in it, the keyframes, and where the playing is.

import { CLIP_S, FPS, FRAMES } from "./clip.js";
import { element, svg } from "./dom.js";
import { KeyframePins } from "./keyframes.js";
import { TEXT } from "./text.js";
import { Waveform } from "./waveform.js";

const HEIGHT = 100;
const HEADROOM = 8; // above the highest peak

/** The timeline; `onFrame` is told a frame that was asked for, the other listeners are those of KeyframePins. */
export class Timeline {
  #canSeek = false;

  constructor({ onFrame, onKeyframes, onFull }) {
    this.onFrame = onFrame;
    this.waveform = new Waveform();
    this.area = svg("path", { class: "curve-area" });
    this.line = svg("path", { class: "curve-line" });
    this.curve = svg(
      "svg",
      { class: "curve", viewBox: `0 0 ${FRAMES} ${HEIGHT}`, preserveAspectRatio: "none", role: "img" },
      this.area,
      this.line,
    );
    this.pins = new KeyframePins({ onChange: onKeyframes, onPick: onFrame, onFull });
    this.playhead = element("div", {
      class: "playhead",
      role: "slider",
      tabindex: "0",
      "aria-label": TEXT.player.position,
      "aria-valuemin": "0",
      "aria-valuemax": String(FRAMES - 1),
      hidden: true,
      onkeydown: (event) => this.#press(event),
    });
    this.lane = element(
      "div",
      { class: "lane", onpointerdown: (event) => this.#grab(event) },
      this.waveform.node,
      this.curve,
      this.pins.node,
      this.playhead,
    );
    this.node = element("div", { class: "timeline" }, this.lane, this.#axis());
    this.showMotion(null);
  }

  /** Show two seconds of a sound from `start`; null shows nothing. */
  showSound(sound, start) {
    this.waveform.show(sound, start, start + CLIP_S);
  }

  /** Show the motion that was heard: {curve, peaks, valleys}; null shows nothing. */
  showMotion(motion) {
    const points = motion?.curve?.length ? pointsOf(motion.curve) : [];
    const line = points.map(([x, y], index) => `${index ? "L" : "M"}${x} ${y.toFixed(2)}`).join("");
    this.line.setAttribute("d", line && `${line}H${FRAMES}`);
    this.area.setAttribute("d", line && `${line}H${FRAMES}V${HEIGHT}H0Z`);
    this.curve.setAttribute("aria-label", motion ? TEXT.score.motion(motion.peaks.length, motion.valleys.length) : TEXT.score.noMotion);
    this.lane.classList.toggle("has-motion", points.length > 0);
  }

  /** Show where the playing is: a time (s), or null. Where one can seek, the playhead can be dragged. */
  showTime(time, { canSeek = false } = {}) {
    this.#canSeek = canSeek;
    this.playhead.hidden = time === null;
    this.lane.classList.toggle("can-seek", canSeek);
    if (time === null) return;
    const frame = Math.min(FRAMES - 1, Math.floor(time * FPS + 1e-6));
    this.playhead.style.left = `${(time / CLIP_S) * 100}%`;
    this.playhead.setAttribute("aria-valuenow", String(frame));
    this.playhead.setAttribute("aria-valuetext", TEXT.player.frame(frame, time));
    this.playhead.setAttribute("aria-disabled", String(!canSeek));
  }

  #axis() {
    const marks = Array.from({ length: 9 }, (_, index) => index / 4);
    return element(
      "div",
      { class: "axis", "aria-hidden": "true" },
      marks.map((time, index) => {
        const mark = element("span", { class: index % 2 ? "is-minor" : "" }, TEXT.score.seconds(time));
        mark.style.left = `${(time / CLIP_S) * 100}%`;
        return mark;
      }),
    );
  }

  #press(event) {
    const frame = Number(this.playhead.getAttribute("aria-valuenow"));
    const moved = { ArrowLeft: frame - 1, ArrowRight: frame + 1, Home: 0, End: FRAMES - 1 }[event.key];
    if (!this.#canSeek || moved === undefined) return;
    event.preventDefault();
    event.stopPropagation(); // the player's own keys do the same for the rest of the page
    this.onFrame(Math.min(FRAMES - 1, Math.max(0, moved)));
  }

  #grab(event) {
    if (!this.#canSeek || event.button !== 0 || event.target.closest(".pin")) return;
    event.preventDefault();
    const box = this.lane.getBoundingClientRect();
    const seek = (moving) => {
      const frame = Math.floor(((moving.clientX - box.left) / box.width) * FRAMES);
      this.onFrame(Math.min(FRAMES - 1, Math.max(0, frame)));
    };
    seek(event);
    this.lane.setPointerCapture(event.pointerId);
    this.lane.addEventListener("pointermove", seek);
    this.lane.addEventListener("lostpointercapture", () => this.lane.removeEventListener("pointermove", seek), {
      once: true,
    });
  }
}

/** Where the scores of a motion curve stand: [frame, height], the highest under the upper edge. */
function pointsOf(curve) {
  const highest = Math.max(...curve, 1e-6);
  return curve.map((score, frame) => [frame, HEIGHT - (Math.max(0, score) / highest) * (HEIGHT - HEADROOM)]);
}
