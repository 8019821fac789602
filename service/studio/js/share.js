// Links to a finished video that anybody may open until they expire or are ended.

import { button, element } from "./dom.js";
import { describeProblem, TEXT } from "./text.js";

const LIVES_S = [3600, 86_400, 604_800, 2_592_000];
const USUAL_LIFE_S = 604_800;

/** Makes such links, lists them, and ends them. */
export class SharePanel {
  #api;
  #notices;
  #path = null;

  constructor(api, notices) {
    this.#api = api;
    this.#notices = notices;
    this.life = element(
      "select",
      { id: "share-life" },
      LIVES_S.map((life) => element("option", { value: String(life), selected: life === USUAL_LIFE_S }, TEXT.share.lives[life])),
    );
    this.list = element("ul", { class: "links", "aria-label": TEXT.share.links });
    this.node = element(
      "div",
      { class: "share" },
      element("p", { class: "hint" }, TEXT.share.hint),
      element("div", { class: "share-life" }, element("label", { for: "share-life" }, TEXT.share.life), this.life),
      button({ text: TEXT.share.make, icon: "link", class: "button button-quiet", onclick: () => this.#make() }),
      this.list,
    );
  }

  /** Share this video from now on. */
  show(video) {
    const path = `/v1/videos/${video.id}/share-links`;
    if (this.#path === path) return;
    this.#path = path;
    this.#load();
  }

  async #load() {
    const path = this.#path;
    try {
      const { data } = await this.#api.json(path);
      if (path === this.#path) this.list.replaceChildren(...data.map((link) => this.#row(link)));
    } catch (problem) {
      this.#notices.warn(describeProblem(problem));
    }
  }

  #row(link) {
    const isOver = link.revoked_at !== null || link.expires_at * 1000 <= Date.now();
    const state = link.revoked_at !== null ? TEXT.share.revoked : isOver ? TEXT.share.expired : TEXT.share.until(link.expires_at);
    const field = element("input", { type: "text", readonly: true, "aria-label": TEXT.share.link, onfocus: () => field.select() });
    field.value = pageOf(link);
    const tools = isOver
      ? []
      : [
          field,
          button({ label: TEXT.share.copy, icon: "copy", class: "button button-icon", onclick: () => copy(field.value, this.#notices) }),
          button({ label: TEXT.share.revoke, icon: "bin", class: "button button-icon", onclick: () => this.#revoke(link) }),
        ];
    return element("li", {}, element("div", { class: "knob-field" }, tools), element("p", { class: "hint" }, state));
  }

  async #make() {
    try {
      const link = await this.#api.json(this.#path, { method: "POST", json: { expires_in_seconds: Number(this.life.value) } });
      await this.#load();
      await copy(pageOf(link), this.#notices);
    } catch (problem) {
      this.#notices.warn(describeProblem(problem));
    }
  }

  async #revoke(link) {
    try {
      await this.#api.json(`${this.#path}/${link.id}`, { method: "DELETE" });
      await this.#load();
    } catch (problem) {
      this.#notices.warn(describeProblem(problem));
    }
  }
}

/** The address of the page that shows what a link shows. */
function pageOf(link) {
  const about = new URL(link.about_url, location.origin);
  return `${about.origin}/#/shared/${about.pathname.split("/").pop()}`;
}

/** Put a text into the clipboard, and say so; browsers without one leave it to be selected. */
export async function copy(text, notices) {
  try {
    await navigator.clipboard.writeText(text);
    notices.say(TEXT.actions.copied);
  } catch {
    notices.warn(TEXT.actions.notCopied);
  }
}
