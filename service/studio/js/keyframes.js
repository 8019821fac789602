// The twelve keyframes on the timeline: pins that can be dragged, added and removed, or pressed to go to their frame.

import { FPS, FRAMES, KEYFRAMES } from "./clip.js";
import { element } from "./dom.js";
import { TEXT } from "./text.js";

/** Keyframes with one more, where it is missed most: in the middle of the widest gap. */
export function withOneMore(keyframes) {
  const ends = [...keyframes, FRAMES];
  let widest = 0;
  for (let index = 1; index < keyframes.length; index += 1) {
    if (ends[index + 1] - ends[index] > ends[widest + 1] - ends[widest]) widest = index;
  }
  return withFrame(keyframes, Math.round((ends[widest] + ends[widest + 1]) / 2));
}

/** Keyframes with this frame too. */
export function withFrame(keyframes, frame) {
  return keyframes.includes(frame) ? keyframes : [...keyframes, frame].sort((a, b) => a - b);
}

/** The pins. `onChange` is given new keyframes, `onPick` a frame that was pressed, `onFull` is called at one too many. */
export class KeyframePins {
  #keyframes = [];
  #isEditable = false;
  #pins = [];

  constructor({ onChange, onPick, onFull }) {
    Object.assign(this, { onChange, onPick, onFull });
    this.node = element("div", {
      class: "pins",
      role: "group",
      "aria-label": TEXT.keyframes.label,
      onclick: (event) => this.#addAt(event),
    });
  }

  /** Show keyframes; only editable ones can be moved. */
  show(keyframes, { isEditable }) {
    this.#keyframes = keyframes ?? [];
    this.#isEditable = isEditable;
    this.node.classList.toggle("is-editable", isEditable);
    while (this.#pins.length > this.#keyframes.length) this.#pins.pop().remove();
    while (this.#pins.length < this.#keyframes.length) {
      const pin = this.#makePin(this.#pins.length);
      this.#pins.push(pin);
      this.node.append(pin);
    }
    this.#pins.forEach((pin, index) => this.#drawPin(pin, index));
  }

  #makePin(index) {
    return element("div", {
      class: "pin",
      tabindex: "0",
      onkeydown: (event) => this.#press(event, index),
      onpointerdown: (event) => this.#grab(event, index),
      ondblclick: () => this.#remove(index),
      onclick: (event) => {
        event.stopPropagation();
        if (!this.#isEditable) this.onPick(this.#keyframes[index]);
      },
    });
  }

  #drawPin(pin, index) {
    const frame = this.#keyframes[index];
    const isFixed = index === 0; // the video begins with the picture itself
    pin.style.left = `${(frame / FRAMES) * 100}%`;
    pin.classList.toggle("is-fixed", isFixed && this.#isEditable);
    const name = TEXT.keyframes.pin(index + 1, frame, frame / FPS);
    pin.title = isFixed && this.#isEditable ? TEXT.keyframes.fixed : name;
    if (!this.#isEditable) {
      pin.setAttribute("role", "button");
      pin.setAttribute("aria-label", name);
      for (const state of ["valuenow", "valuemin", "valuemax", "valuetext", "disabled"]) pin.removeAttribute(`aria-${state}`);
      return;
    }
    const [least, most] = this.#room(index);
    pin.setAttribute("role", "slider");
    pin.setAttribute("aria-label", TEXT.keyframes.name(index + 1));
    pin.setAttribute("aria-valuemin", least);
    pin.setAttribute("aria-valuemax", most);
    pin.setAttribute("aria-valuenow", frame);
    pin.setAttribute("aria-valuetext", name);
    pin.setAttribute("aria-disabled", String(isFixed));
  }

  /** The frames that a keyframe may stand on without passing its neighbours. */
  #room(index) {
    if (index === 0) return [0, 0];
    return [this.#keyframes[index - 1] + 1, (this.#keyframes[index + 1] ?? FRAMES) - 1];
  }

  #move(index, frame) {
    const [least, most] = this.#room(index);
    const moved = Math.min(Math.max(frame, least), most);
    if (moved === this.#keyframes[index]) return;
    this.onChange(this.#keyframes.with(index, moved));
  }

  #remove(index) {
    if (!this.#isEditable || index === 0) return;
    this.onChange(this.#keyframes.toSpliced(index, 1));
    this.#pins[Math.min(index, this.#pins.length - 1)].focus();
  }

  #addAt(event) {
    if (!this.#isEditable) return;
    const box = this.node.getBoundingClientRect();
    const frame = Math.min(FRAMES - 1, Math.max(0, Math.round(((event.clientX - box.left) / box.width) * FRAMES)));
    if (this.#keyframes.includes(frame)) return;
    if (this.#keyframes.length >= KEYFRAMES) this.onFull();
    else this.onChange(withFrame(this.#keyframes, frame));
  }

  #press(event, index) {
    const frame = this.#keyframes[index];
    if (!this.#isEditable) {
      if (event.key === "Enter" || event.key === " ") {
        event.preventDefault();
        this.onPick(frame);
      }
      return;
    }
    if (event.key === "Delete" || event.key === "Backspace") {
      event.preventDefault();
      this.#remove(index);
      return;
    }
    const moved = {
      ArrowLeft: frame - 1,
      ArrowDown: frame - 1,
      ArrowRight: frame + 1,
      ArrowUp: frame + 1,
      Home: 0,
      End: FRAMES,
    }[event.key];
    if (moved === undefined) return;
    event.preventDefault();
    this.#move(index, moved);
  }

  #grab(event, index) {
    if (!this.#isEditable || index === 0 || event.button !== 0) return;
    event.preventDefault();
    const pin = this.#pins[index];
    pin.focus();
    pin.setPointerCapture(event.pointerId);
    const box = this.node.getBoundingClientRect();
    const drag = (moving) => this.#move(index, Math.round(((moving.clientX - box.left) / box.width) * FRAMES));
    pin.addEventListener("pointermove", drag);
    pin.addEventListener("lostpointercapture", () => pin.removeEventListener("pointermove", drag), { once: true });
  }
}
