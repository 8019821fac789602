// The workspace where a request is composed: picture, sound, prompt, knobs, and the button that sends it.

import { button, element } from "./dom.js";
import { EXAMPLES, loadExample } from "./examples.js";
import { Knobs } from "./knobs.js";
import { SoundArea } from "./sound_area.js";
import { Stage } from "./stage.js";
import { describeProblem, TEXT } from "./text.js";
import { DEFAULT_LIMITS, readPicture, readSoundFile, Refusal, sortFiles } from "./upload.js";

/** The workspace; `onAccepted` is given the video object that the service answered with, and what was sent. */
export class Compose {
  #api;
  #draft;
  #notices;
  #sending = null;

  constructor({ api, draft, notices, onAccepted }) {
    Object.assign(this, { onAccepted, limits: DEFAULT_LIMITS });
    this.#api = api;
    this.#draft = draft;
    this.#notices = notices;
    this.stage = new Stage(draft, (file) => this.takeFiles([file], "picture"));
    this.sound = new SoundArea(draft, {
      onFile: (file) => this.takeFiles([file], "sound"),
      onSound: (sound) => draft.useSound(sound),
      onListen: () => this.#listen(),
      notices,
    });
    this.node = element(
      "div",
      { class: "workspace" },
      element("div", { class: "canvas" }, this.stage.node, this.sound.node),
      this.#panel(),
    );
    draft.addEventListener("change", () => this.#draw());
    this.#draw();
  }

  /** Take files that were dropped, chosen or pasted; `as` says what a single one is meant to be. */
  async takeFiles(files, as = null) {
    const sorted = as ? { [as]: files[0] } : sortFiles(files);
    try {
      if (sorted.other && !sorted.picture && !sorted.sound) throw new Refusal(TEXT.refusals.other(sorted.other.name));
      if (sorted.picture) this.#draft.usePicture(await readPicture(sorted.picture, this.limits));
      if (sorted.sound) this.#draft.useSound(await readSoundFile(sorted.sound, this.limits));
      this.#notices.clear();
    } catch (error) {
      if (!(error instanceof Refusal)) throw error;
      this.#notices.warn(error.message);
    }
  }

  #panel() {
    this.prompt = element("textarea", {
      id: "prompt",
      rows: "2",
      maxlength: "2000",
      placeholder: TEXT.compose.promptExample,
      oninput: () => this.#draft.change({ prompt: this.prompt.value }),
      onkeydown: (event) => {
        if (event.key === "Enter" && (event.metaKey || event.ctrlKey)) this.#submit();
      },
    });
    this.knobs = new Knobs({ id: "compose", onChange: (knobs) => this.#draft.change({ knobs }) });
    this.submit = button({ text: TEXT.compose.submit, class: "button button-main", onclick: () => this.#submit() });
    this.hint = element("p", { class: "hint", id: "submit-hint" });
    this.submit.setAttribute("aria-describedby", "submit-hint");
    return element(
      "aside",
      { class: "panel", "aria-label": TEXT.compose.label },
      this.#examples(),
      element(
        "div",
        { class: "field" },
        element("label", { for: "prompt" }, TEXT.compose.prompt),
        this.prompt,
        element("p", { class: "hint" }, TEXT.compose.promptHint),
      ),
      element("details", { class: "fold" }, element("summary", {}, TEXT.compose.knobs), this.knobs.node),
      element("div", { class: "submit" }, this.submit, this.hint),
    );
  }

  #examples() {
    return element(
      "div",
      { class: "examples" },
      element("h2", { class: "small-title", id: "examples-title" }, TEXT.examples.title),
      element(
        "div",
        { class: "example-row", role: "group", "aria-labelledby": "examples-title" },
        EXAMPLES.map((name) =>
          element(
            "button",
            { type: "button", class: "example", "data-example": name, onclick: () => this.#takeExample(name) },
            element("img", { src: `examples/${name}-small.webp`, alt: "", width: "104", height: "65" }),
            element("span", {}, TEXT.examples.names[name]),
          ),
        ),
      ),
    );
  }

  async #takeExample(name) {
    try {
      const { picture, sound, prompt } = await loadExample(this.#api, name);
      this.#draft.usePicture(picture);
      this.#draft.useSound(sound);
      this.#draft.change({ prompt });
      this.#notices.clear();
      this.submit.scrollIntoView({ block: "nearest" });
    } catch (problem) {
      this.#notices.warn(describeProblem(problem));
    }
  }

  #draw() {
    const { prompt, knobs, missing } = this.#draft;
    if (this.prompt.value !== prompt) this.prompt.value = prompt;
    this.knobs.show(knobs);
    this.submit.classList.toggle("is-waiting", missing.length > 0);
    if (!this.#sending) this.hint.textContent = missing.length ? TEXT.compose.missing[missing[0]] : TEXT.compose.ready;
  }

  async #listen() {
    const { sound, start } = this.#draft;
    const form = new FormData();
    const part = this.#draft.soundPart;
    form.set("audio", part.blob, part.name);
    if (part.start > 0) form.set("audio_start", part.start.toFixed(3));
    this.sound.setListening(true);
    try {
      const { curve, peaks, valleys, keyframes, source } = await this.#api.post("/v1/localizations", form);
      if (this.#draft.sound !== sound || this.#draft.start !== start) return; // another sound by now
      this.#draft.change({ heard: { curve, peaks, valleys, indices: keyframes.indices, source } });
      this.#notices.say(TEXT.score.heard(peaks.length));
    } catch (problem) {
      this.#notices.warn(describeProblem(problem));
    } finally {
      this.sound.setListening(false);
    }
  }

  async #submit() {
    const [first] = this.#draft.missing;
    if (first) {
      this.#notices.warn(TEXT.compose.missing[first]);
      const place = { picture: this.stage.input, sound: this.sound.input, prompt: this.prompt, keyframes: this.sound.addButton };
      place[first].focus();
      return;
    }
    if (this.#sending) return;
    this.#sending = new AbortController();
    this.submit.setAttribute("aria-busy", "true");
    // The same key for every try of this request: a lost answer cannot make a second video.
    const headers = { "Idempotency-Key": this.#draft.idempotencyKey() };
    const onSent = (part) => (this.hint.textContent = TEXT.compose.sending(part));
    const { picture, sound } = this.#draft; // as they are sent: others may be chosen meanwhile
    try {
      const video = await this.#api.post("/v1/videos", this.#draft.form, { headers, onSent, signal: this.#sending.signal });
      this.#notices.clear();
      this.onAccepted(video, { picture, sound });
    } catch (problem) {
      this.#notices.warn(describeProblem(problem), { action: TEXT.actions.again, onAction: () => this.#submit() });
    } finally {
      this.#sending = null;
      this.submit.removeAttribute("aria-busy");
      this.#draw();
    }
  }
}
