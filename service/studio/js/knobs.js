// The knobs of a request: seed, how far things move, and how strictly prompt, picture and sound are followed.

import { DEFAULT_KNOBS } from "./draft.js";
import { button, element } from "./dom.js";
import { TEXT } from "./text.js";

const LARGEST_SEED = 2 ** 32 - 1;

// Each scale has the API's name and range; `start` is where it stands when its default is left.
const SCALES = [
  { name: "motion_strength", least: 0.25, most: 3, step: 0.05, start: 1 },
  { name: "guidance_audio", least: 0, most: 15, step: 0.1, start: 4 },
  { name: "guidance_text", least: 0, most: 15, step: 0.1, start: 2 },
  { name: "guidance_image", least: 0, most: 15, step: 0.1, start: 2 },
  { name: "num_inference_steps", least: 1, most: 100, step: 1, start: 12 },
];

/** A seed that nobody chose. */
export function randomSeed() {
  return crypto.getRandomValues(new Uint32Array(1))[0];
}

/** A fieldset of knobs. Its values are those of the API; null is the model's own. */
export class Knobs {
  #values = { ...DEFAULT_KNOBS };

  constructor({ id, names = Object.keys(DEFAULT_KNOBS), onChange = () => {} }) {
    this.onChange = onChange;
    this.rows = new Map();
    this.node = element("div", { class: "knobs" });
    if (names.includes("seed")) this.node.append(this.#seed(id));
    for (const scale of SCALES.filter(({ name }) => names.includes(name))) this.node.append(this.#scale(id, scale));
  }

  get values() {
    return { ...this.#values };
  }

  /** Show these values. */
  show(values) {
    this.#values = { ...DEFAULT_KNOBS, ...values };
    this.seedInput && (this.seedInput.value = this.#values.seed ?? "");
    for (const [name, draw] of this.rows) draw(this.#values[name]);
  }

  #change(name, value) {
    this.#values[name] = value;
    this.rows.get(name)?.(value);
    this.onChange(this.values);
  }

  #seed(id) {
    this.seedInput = element("input", {
      type: "number",
      id: `${id}-seed`,
      min: "0",
      max: String(LARGEST_SEED),
      step: "1",
      inputmode: "numeric",
      placeholder: TEXT.knobs.anySeed,
      oninput: () => {
        const seed = Math.floor(Number(this.seedInput.value));
        const isUsable = this.seedInput.value !== "" && seed >= 0 && seed <= LARGEST_SEED;
        this.#change("seed", isUsable ? seed : null);
      },
    });
    const roll = button({
      label: TEXT.knobs.roll,
      icon: "dice",
      class: "button button-icon",
      onclick: () => {
        this.#change("seed", randomSeed());
        this.seedInput.value = this.#values.seed;
      },
    });
    return element(
      "div",
      { class: "knob" },
      element("label", { for: `${id}-seed` }, TEXT.knobs.names.seed),
      element("div", { class: "knob-field" }, this.seedInput, roll),
      element("p", { class: "hint" }, TEXT.knobs.hints.seed),
    );
  }

  #scale(id, { name, least, most, step, start }) {
    const field = `${id}-${name}`;
    const output = element("output", { for: field });
    const range = element("input", {
      type: "range",
      id: field,
      min: String(least),
      max: String(most),
      step: String(step),
      value: String(start),
      oninput: () => this.#change(name, Number(range.value)),
    });
    const reset = button({
      label: TEXT.knobs.reset(TEXT.knobs.names[name]),
      icon: "reset",
      class: "button button-icon button-small",
      onclick: () => this.#change(name, null),
    });
    const draw = (value) => {
      range.value = String(value ?? start);
      range.classList.toggle("is-default", value === null);
      range.setAttribute("aria-valuetext", value === null ? TEXT.knobs.ownLong : String(value));
      output.textContent = value === null ? TEXT.knobs.own : String(Number(value.toFixed(2)));
      reset.hidden = value === null;
    };
    this.rows.set(name, draw);
    draw(null);
    return element(
      "div",
      { class: "knob" },
      element("div", { class: "knob-head" }, element("label", { for: field }, TEXT.knobs.names[name]), reset, output),
      range,
      element("p", { class: "hint" }, TEXT.knobs.hints[name]),
    );
  }
}
