// The videos of this key, newest first: thumbnails, a filter, and a way to delete.

import { button, element } from "./dom.js";
import { describeProblem, TEXT } from "./text.js";

const PAGE = 24;
const STATUSES = ["", "completed", "in_progress", "queued", "failed", "cancelled"];

/** The history. `onDeleted` is told the id of a video that is gone; `onCompare` is asked to show one beside the present. */
export class History {
  #api;
  #notices;
  #last = null;
  #videos = [];
  #thumbnails = new Map();

  constructor({ api, notices, confirm, onDeleted, onCompare }) {
    Object.assign(this, { confirm, onDeleted, onCompare, canCompare: () => false });
    this.#api = api;
    this.#notices = notices;
    this.status = element(
      "select",
      { id: "history-status", onchange: () => this.load() },
      STATUSES.map((status) => element("option", { value: status }, TEXT.history.statuses[status || "all"])),
    );
    this.search = element("input", {
      type: "search",
      id: "history-search",
      placeholder: TEXT.history.searchExample,
      oninput: () => this.redraw(),
    });
    this.list = element("ul", { class: "cards" });
    this.none = element("p", { class: "nothing" });
    this.more = button({ text: TEXT.history.more, class: "button button-quiet", onclick: () => this.#loadMore() });
    this.watcher = new IntersectionObserver((entries) => this.#reveal(entries), { rootMargin: "200px" });
    this.node = element(
      "section",
      { class: "history", id: "history", "aria-labelledby": "history-title", tabindex: "-1" },
      element(
        "div",
        { class: "history-head" },
        element("h2", { id: "history-title" }, TEXT.history.title),
        element(
          "div",
          { class: "history-filter" },
          element("label", { for: "history-search", class: "unseen" }, TEXT.history.search),
          this.search,
          element("label", { for: "history-status", class: "unseen" }, TEXT.history.status),
          this.status,
        ),
      ),
      this.none,
      this.list,
      this.more,
    );
    this.redraw();
  }

  /** Load the newest videos. */
  async load() {
    this.#last = null;
    try {
      const page = await this.#page();
      this.#videos = page.data;
      this.#take(page);
    } catch (problem) {
      this.none.textContent = describeProblem(problem);
      this.none.hidden = false;
    }
  }

  async #loadMore() {
    try {
      const page = await this.#page();
      this.#videos.push(...page.data);
      this.#take(page);
    } catch (problem) {
      this.#notices.warn(describeProblem(problem));
    }
  }

  #page() {
    const query = new URLSearchParams({ limit: String(PAGE) });
    if (this.status.value) query.set("status", this.status.value);
    if (this.#last) query.set("after", this.#last);
    return this.#api.json(`/v1/videos?${query}`);
  }

  #take(page) {
    this.#last = page.last_id;
    this.more.hidden = !page.has_more;
    this.redraw();
  }

  /** Draw the videos that are loaded and wanted. */
  redraw() {
    const wanted = this.search.value.trim().toLowerCase();
    const shown = this.#videos.filter(({ prompt }) => prompt.toLowerCase().includes(wanted));
    this.none.hidden = shown.length > 0;
    this.none.textContent = this.#videos.length ? TEXT.history.noMatch : TEXT.history.empty;
    this.watcher.disconnect();
    this.list.replaceChildren(...shown.map((video) => this.#card(video)));
  }

  #card(video) {
    const picture = element("div", { class: "card-picture", "data-status": video.status });
    const known = this.#thumbnails.get(video.id);
    if (known) picture.append(element("img", { src: known, alt: "" }));
    else if (video.status === "completed") {
      picture.dataset.video = video.id;
      this.watcher.observe(picture);
    } else picture.append(element("span", {}, TEXT.history.statuses[video.status]));
    const compare = video.status === "completed" && this.canCompare(video.id);
    return element(
      "li",
      { class: "card" },
      element(
        "a",
        { href: `#/videos/${video.id}`, class: "card-link" },
        picture,
        element("span", { class: "card-prompt" }, video.prompt),
        element("time", { class: "card-time", datetime: new Date(video.created_at * 1000).toISOString() }, TEXT.ago(video.created_at)),
      ),
      element(
        "div",
        { class: "card-tools" },
        compare
          ? button({ label: TEXT.history.compare(video.prompt), icon: "columns", class: "button button-icon", onclick: () => this.onCompare(video.id) })
          : null,
        button({ label: TEXT.history.remove(video.prompt), icon: "bin", class: "button button-icon", onclick: () => this.remove(video) }),
      ),
    );
  }

  async #reveal(entries) {
    for (const { isIntersecting, target } of entries) {
      if (!isIntersecting) continue;
      this.watcher.unobserve(target);
      const id = target.dataset.video;
      try {
        const url = URL.createObjectURL(await this.#api.blob(`/v1/videos/${id}/content?variant=thumbnail`));
        this.#thumbnails.set(id, url);
        target.append(element("img", { src: url, alt: "" }));
      } catch {
        target.append(element("span", {}, TEXT.history.noThumbnail));
      }
    }
  }

  /** Delete a video, once that was confirmed. */
  async remove(video) {
    if (!(await this.confirm(TEXT.history.removeTitle, TEXT.history.removeText(video.prompt), TEXT.history.removeYes))) return;
    try {
      await this.#api.fetch(`/v1/videos/${video.id}`, { method: "DELETE" });
    } catch (problem) {
      this.#notices.warn(describeProblem(problem));
      return;
    }
    this.#videos = this.#videos.filter(({ id }) => id !== video.id);
    this.redraw();
    this.#notices.say(TEXT.history.removed);
    this.onDeleted(video.id);
  }
}
