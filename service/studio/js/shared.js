// The workspace of a link that somebody sent: a video to be watched and kept, or why it is there no longer.

import { element, showOnly } from "./dom.js";
import { Player } from "./player.js";
import { Screen } from "./screen.js";
import { describeProblem, TEXT } from "./text.js";
import { Timeline } from "./timeline.js";
import { readSound } from "./waveform.js";

/** The workspace; it needs no key. */
export class Shared {
  #api;
  #screen = null;

  constructor(api) {
    this.#api = api;
    this.timeline = new Timeline({ onFrame: (frame) => this.player.seek(frame), onKeyframes: () => {}, onFull: () => {} });
    this.screens = element("div", { class: "screens" });
    this.player = new Player({ timeline: this.timeline, onFull: () => this.screens.requestFullscreen?.() });
    this.canvas = element(
      "div",
      { class: "canvas" },
      element("section", { class: "stage-area", "aria-label": TEXT.screen.shared }, this.screens, this.player.node),
      element("section", { class: "score-area", "aria-label": TEXT.score.label }, this.timeline.node),
    );
    this.title = element("h2", { class: "panel-title", tabindex: "-1" });
    this.text = element("p", { class: "hint" });
    this.download = element("a", { class: "button button-main", download: "video.mp4" }, TEXT.result.download);
    this.node = element(
      "div",
      { class: "workspace" },
      this.canvas,
      element(
        "aside",
        { class: "panel", "aria-label": TEXT.share.shownLabel },
        this.title,
        this.text,
        this.download,
        element("a", { class: "button button-quiet", href: "#/" }, TEXT.share.own),
      ),
    );
  }

  /** Show what a link shows. */
  async open(token) {
    this.close();
    const screen = new Screen();
    this.#screen = screen;
    this.screens.replaceChildren(screen.node);
    this.timeline.showSound(null, 0);
    this.title.textContent = "";
    this.text.textContent = "";
    showOnly(null, [this.canvas, this.download]);
    try {
      const about = await this.#api.json(`/v1/shared/${encodeURIComponent(token)}`);
      const blob = await this.#api.blob(about.content_url);
      if (this.#screen !== screen) return;
      this.title.textContent = TEXT.share.shown;
      this.text.textContent = TEXT.share.until(about.expires_at);
      this.canvas.hidden = false;
      this.download.hidden = false;
      screen.showVideo(blob);
      this.download.href = screen.video.src;
      this.player.setVideos([screen.video], []);
      this.timeline.showSound(await readSound(blob, ""), 0);
    } catch (problem) {
      if (this.#screen !== screen) return;
      this.title.textContent = this.title.textContent || TEXT.gone.title;
      this.text.textContent = this.text.textContent || (TEXT.gone.texts[problem.code] ?? describeProblem(problem));
    }
  }

  /** Let go of what is shown. */
  close() {
    this.#screen?.release();
    this.#screen = null;
  }
}
