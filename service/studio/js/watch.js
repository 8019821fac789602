// The workspace of one video: followed while it is made, played when it is finished, compared with another if asked to.

import { element, showOnly } from "./dom.js";
import { cropOf } from "./draft.js";
import { Follower, hasEnded } from "./follow.js";
import { Player } from "./player.js";
import { ProgressPanel } from "./progress.js";
import { ResultPanel } from "./result.js";
import { Screen } from "./screen.js";
import { copy } from "./share.js";
import { describeProblem, TEXT } from "./text.js";
import { Timeline } from "./timeline.js";
import { readSound } from "./waveform.js";

/** The workspace; `go` takes the reader to an address within the page. */
export class Watch {
  #api;
  #inputs;
  #notices;
  #followers = [];
  #screens = [];
  #video = null;

  constructor({ api, inputs, notices, go, onEdit, onTake, onDelete, onEnded }) {
    Object.assign(this, { go, onEdit, onTake, onEnded });
    this.#api = api;
    this.#inputs = inputs;
    this.#notices = notices;
    this.timeline = new Timeline({ onFrame: (frame) => this.#showFrame(frame), onKeyframes: () => {}, onFull: () => {} });
    this.player = new Player({ timeline: this.timeline, onFull: () => this.screens.requestFullscreen?.() });
    this.screens = element("div", { class: "screens" });
    this.legend = element("p", { class: "legend" });
    this.progress = new ProgressPanel({
      onCancel: () => this.#act("cancel"),
      onRetry: () => this.#act("retry"),
      onEdit: () => this.#edit(),
      onCopyLink: () => copy(location.href, notices),
    });
    this.result = new ResultPanel({
      api,
      notices,
      onTake: (knobs) => this.#take(knobs),
      onEdit: () => this.#edit(),
      onDelete: () => onDelete(this.#video),
    });
    this.gone = element("aside", { class: "panel", "aria-label": TEXT.gone.label });
    this.panels = [this.progress.node, this.result.node, this.gone];
    this.node = element(
      "div",
      { class: "workspace" },
      element(
        "div",
        { class: "canvas" },
        element("section", { class: "stage-area", "aria-label": TEXT.screen.label }, this.screens, this.player.node),
        element("section", { class: "score-area", "aria-label": TEXT.score.label }, this.timeline.node, this.legend),
      ),
      ...this.panels,
    );
  }

  /** The id of the video that is shown, if it is finished. */
  get finishedId() {
    return this.#video?.status === "completed" ? this.#video.id : null;
  }

  /** Show a video, and another beside it. */
  open(id, otherId = null) {
    this.close();
    this.#screens = [id, otherId].filter(Boolean).map(() => new Screen());
    this.screens.replaceChildren(...this.#screens.map(({ node }) => node));
    this.screens.classList.toggle("is-pair", otherId !== null);
    this.player.node.hidden = true;
    this.timeline.showSound(null, 0);
    this.timeline.showMotion(null);
    this.timeline.pins.show(null, { isEditable: false });
    this.timeline.showTime(null);
    this.legend.textContent = "";
    showOnly(null, this.panels);
    this.#follow(id, 0);
    if (otherId) this.#follow(otherId, 1);
  }

  /** Let go of what is shown. */
  close() {
    for (const follower of this.#followers) follower.stop();
    for (const screen of this.#screens) screen.release();
    this.#followers = [];
    this.#screens = [];
    this.#video = null;
    this.videos = [];
  }

  async #follow(id, place) {
    const screen = this.#screens[place];
    const isShown = () => this.#screens[place] === screen;
    const follower = new Follower(this.#api, id, {
      onVideo: (video) => this.#show(video, place),
      onPreview: (preview) => this.#showPreview(preview, screen),
      onConnection: (isConnected) => this.progress.setConnected(isConnected),
    });
    this.#followers.push(follower);
    try {
      await follower.run();
      if (isShown() && this.videos[place]?.status === "completed") await this.#finish(place);
    } catch (problem) {
      if (isShown()) this.#lose(problem, place);
    }
  }

  #show(video, place) {
    const isFirst = this.videos[place] === undefined;
    this.videos[place] = video;
    const screen = this.#screens[place];
    if (isFirst) this.#showInputs(video, place);
    screen.node.dataset.status = video.status;
    screen.caption.textContent = this.#screens.length > 1 ? TEXT.screen.take(place, video, this.videos[1 - place]) : "";
    screen.say(hasEnded(video) ? "" : TEXT.screen.making(video.stage, video.progress));
    if (place !== 0) return;
    this.#video = video;
    if (video.keyframes) this.#showMotion(video.keyframes);
    if (video.status === "completed") this.result.show(video);
    else this.progress.show(video);
    this.#turnTo(video.status === "completed" ? this.result : this.progress);
    if (hasEnded(video)) this.onEnded(video);
  }

  /** Show one of the panels. Whoever cannot see it is told, and finds it under the keyboard if nothing else is there. */
  #turnTo({ node, title }) {
    if (!node.hidden) return;
    const { activeElement } = document;
    const isLost = activeElement === document.body || this.panels.some((panel) => panel.contains(activeElement));
    showOnly(node, this.panels);
    if (isLost) title.focus({ preventScroll: true });
    this.#notices.tell(title.textContent);
  }

  #showMotion(keyframes) {
    this.timeline.showMotion(keyframes);
    this.timeline.pins.show(keyframes.indices, { isEditable: false });
    this.legend.textContent =
      keyframes.source === "request" ? TEXT.keyframes.byHand : TEXT.keyframes.heardBy(keyframes.source);
  }

  async #showInputs(video, place) {
    const screen = this.#screens[place];
    const { image_fit: fit, audio_start: start } = video.parameters;
    try {
      const { picture, sound } = await this.#inputs.of(video);
      if (this.#screens[place] !== screen) return;
      await screen.showPicture(picture, fit, cropOf(video));
      if (place === 0) this.timeline.showSound(sound, start);
    } catch {
      screen.say(TEXT.screen.noPicture); // the video itself will show what it was made from
    }
  }

  async #showPreview(preview, screen) {
    try {
      screen.showPreview(URL.createObjectURL(await this.#api.blob(preview.url)));
    } catch {
      // The next one comes within a second.
    }
  }

  async #finish(place) {
    const video = this.videos[place];
    const screen = this.#screens[place];
    const blob = await this.#api.blob(video.links.content);
    if (this.#screens[place] !== screen) return;
    screen.say("");
    screen.showVideo(blob);
    if (place === 0) {
      this.result.offer(video, screen.video.src);
      this.player.node.hidden = false;
      const sound = await readSound(blob, "").catch(() => null); // a browser that cannot decode it still plays it
      if (sound && this.#screens[place] === screen) this.timeline.showSound(sound, 0);
    }
    const finished = this.#screens.filter((_, index) => this.videos[index]?.status === "completed" && this.#screens[index].video.src);
    if (this.#screens[0].video.src) {
      this.player.setVideos(finished.map((each) => each.video), this.videos[0].keyframes?.indices ?? []);
    }
  }

  #lose(problem, place) {
    if (place === 1) {
      this.#screens[1].say(describeProblem(problem));
      return;
    }
    this.timeline.showTime(null);
    const title = element("h2", { class: "panel-title", tabindex: "-1" }, TEXT.gone.title);
    this.gone.replaceChildren(
      title,
      element("p", {}, TEXT.gone.texts[problem.code] ?? describeProblem(problem)),
      element("a", { class: "button button-main", href: "#/" }, TEXT.gone.start),
    );
    this.#turnTo({ node: this.gone, title });
  }

  #showFrame(frame) {
    if (this.player.node.hidden) return;
    this.player.seek(frame);
  }

  async #act(verb) {
    try {
      const video = await this.#api.json(`/v1/videos/${this.#video.id}/${verb}`, { method: "POST" });
      if (verb === "retry") this.go(`#/videos/${video.id}`);
      else this.#show(video, 0);
    } catch (problem) {
      this.#notices.warn(describeProblem(problem));
    }
  }

  async #edit() {
    try {
      this.onEdit(this.#video, await this.#inputs.of(this.#video));
    } catch (problem) {
      this.#notices.warn(describeProblem(problem));
    }
  }

  async #take(knobs) {
    try {
      await this.onTake(this.#video, await this.#inputs.of(this.#video), knobs);
    } catch (problem) {
      this.#notices.warn(describeProblem(problem));
    }
  }
}
