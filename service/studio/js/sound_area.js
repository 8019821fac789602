// Where the sound is: choose or record one, drag the two seconds that are used, play them, and hear what the model hears.

import { canRecord, LONGEST_RECORDING_S, Recorder } from "./recorder.js";
import { KEYFRAMES } from "./clip.js";
import { button, element, icon, showOnly } from "./dom.js";
import { withOneMore } from "./keyframes.js";
import { Overview } from "./overview.js";
import { SoundPlayer } from "./sound_player.js";
import { TEXT } from "./text.js";
import { Timeline } from "./timeline.js";
import { SOUND_TYPES } from "./upload.js";

/** The sound while a request is composed. `onFile` is given a sound file, `onListen` is asked to hear it. */
export class SoundArea {
  #draft;
  #notices;
  #recorder = null;

  constructor(draft, { onFile, onSound, onListen, notices }) {
    Object.assign(this, { onSound, onListen });
    this.#draft = draft;
    this.#notices = notices;
    this.player = new SoundPlayer((time) => this.#showTime(time));
    this.input = element("input", {
      type: "file",
      accept: SOUND_TYPES,
      class: "unseen",
      id: "sound-file",
      "aria-label": TEXT.score.drop,
      onchange: () => {
        if (this.input.files[0]) onFile(this.input.files[0]);
        this.input.value = "";
      },
    });
    this.overview = new Overview((start) => draft.useSound(draft.sound, start));
    this.timeline = new Timeline({
      onFrame: () => {},
      onKeyframes: (keyframes) => draft.change({ keyframes }),
      onFull: () => notices.say(TEXT.keyframes.full),
    });
    this.empty = this.#emptyPlace();
    this.filled = element("div", { class: "score-filled" }, this.overview.node, this.timeline.node, this.#tools());
    this.node = element(
      "section",
      { class: "score-area", "aria-label": TEXT.score.label },
      this.input,
      this.empty,
      this.filled,
    );
    draft.addEventListener("change", (event) => {
      if (event.detail.includes("sound")) this.player.stop();
      this.#draw();
    });
    this.#draw();
  }

  /** Say that the service is listening, or that it is done. */
  setListening(isListening) {
    this.listenButton.setAttribute("aria-busy", String(isListening));
    this.listenButton.lastChild.textContent = isListening ? TEXT.score.listening : TEXT.score.listen;
  }

  #emptyPlace() {
    this.recordButton = button({
      text: TEXT.score.record,
      icon: "microphone",
      class: "button button-quiet",
      onclick: () => this.#record(),
    });
    return element(
      "div",
      { class: "drop drop-sound" },
      element(
        "label",
        { class: "drop-choice", for: "sound-file" },
        icon("sound"),
        element("strong", {}, TEXT.score.drop),
        element("span", {}, TEXT.score.formats),
      ),
      this.recordButton,
    );
  }

  #tools() {
    this.playButton = button({
      text: TEXT.score.play,
      icon: "play",
      class: "button button-quiet",
      onclick: () => this.#togglePlaying(),
    });
    this.listenButton = button({
      text: TEXT.score.listen,
      icon: "ear",
      class: "button button-quiet",
      onclick: () => this.onListen(),
    });
    this.count = element("span", { class: "count", role: "status" });
    this.addButton = button({
      label: TEXT.keyframes.add,
      icon: "plus",
      class: "button button-icon",
      onclick: () => this.#draft.change({ keyframes: withOneMore(this.#draft.plan) }),
    });
    this.resetButton = button({
      text: TEXT.keyframes.reset,
      icon: "reset",
      onclick: () => this.#draft.change({ keyframes: null }),
    });
    this.keyframeTools = element("div", { class: "tool-group" }, this.count, this.addButton, this.resetButton);
    const replace = button({
      text: TEXT.score.replace,
      label: TEXT.score.replaceLabel,
      icon: "sound",
      class: "button button-plain push",
      onclick: () => this.#draft.useSound(null),
    });
    return element("div", { class: "tools" }, this.playButton, this.listenButton, this.keyframeTools, replace);
  }

  #draw() {
    const { sound, start, heard, keyframes, plan } = this.#draft;
    showOnly(sound ? this.filled : this.empty, [this.empty, this.filled]);
    this.overview.show(sound, start);
    this.timeline.showSound(sound, start);
    this.timeline.showMotion(heard);
    this.timeline.pins.show(plan, { isEditable: true });
    this.keyframeTools.hidden = plan === null;
    if (plan === null) return;
    this.count.textContent = TEXT.keyframes.count(plan.length, KEYFRAMES);
    this.count.classList.toggle("is-wrong", plan.length !== KEYFRAMES);
    this.addButton.hidden = plan.length >= KEYFRAMES;
    this.resetButton.hidden = keyframes === null || heard === null;
  }

  #togglePlaying() {
    if (this.player.isPlaying) this.player.stop();
    else this.player.play(this.#draft.sound, this.#draft.start);
  }

  #showTime(time) {
    this.timeline.showTime(time);
    const isPlaying = time !== null;
    if (this.playButton.dataset.playing === String(isPlaying)) return;
    this.playButton.dataset.playing = String(isPlaying);
    this.playButton.replaceChildren(
      icon(isPlaying ? "stop" : "play"),
      element("span", {}, isPlaying ? TEXT.score.stop : TEXT.score.play),
    );
  }

  async #record() {
    if (this.#recorder) {
      this.#recorder.stop();
      return;
    }
    if (!canRecord()) {
      this.#notices.warn(TEXT.recorder.insecure);
      return;
    }
    const recorder = new Recorder();
    this.#recorder = recorder;
    let timer = null;
    try {
      await recorder.start(TEXT.recorder.name);
      const began = performance.now();
      this.#showRecording(0);
      timer = setInterval(() => this.#showRecording((performance.now() - began) / 1000), 200);
      this.onSound(await recorder.done);
    } catch (error) {
      this.#notices.warn(error.name === "NotFoundError" ? TEXT.recorder.missing : TEXT.recorder.refused);
    } finally {
      clearInterval(timer);
      recorder.stop();
      this.#recorder = null;
      this.recordButton.classList.remove("is-recording");
      this.recordButton.lastChild.textContent = TEXT.score.record;
    }
  }

  #showRecording(seconds) {
    this.recordButton.classList.add("is-recording");
    this.recordButton.lastChild.textContent = TEXT.recorder.stop(Math.min(seconds, LONGEST_RECORDING_S), LONGEST_RECORDING_S);
  }
}
