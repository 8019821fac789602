// One place for messages: what went wrong and what to do, and short news. Screen readers are told as well.

import { button, element } from "./dom.js";
import { TEXT } from "./text.js";

const NEWS_MS = 5000;

/** The message bar. */
export class Notices {
  #timer = null;

  constructor() {
    this.text = element("p", {});
    this.action = element("span", {});
    this.bar = element(
      "div",
      { class: "notice", hidden: true },
      this.text,
      this.action,
      button({ label: TEXT.actions.close, icon: "close", class: "button button-icon", onclick: () => this.clear() }),
    );
    // The regions are there from the start, so that what enters them is read out.
    this.alert = element("div", { role: "alert", class: "unseen" });
    this.status = element("div", { role: "status", class: "unseen" });
    this.node = element("div", { class: "notices" }, this.bar, this.alert, this.status);
  }

  /** Tell what went wrong; it stays until it is closed or things go on. */
  warn(text, { action = null, onAction = () => {} } = {}) {
    this.#show(text, "is-warning", action, onAction);
    this.alert.textContent = text;
  }

  /** Tell a short news; it goes by itself. */
  say(text) {
    this.#show(text, "is-news", null);
    this.status.textContent = text;
    this.#timer = setTimeout(() => this.clear(), NEWS_MS);
  }

  /** Tell a news to those alone who cannot see it. */
  tell(text) {
    this.status.textContent = text;
  }

  /** Take the message away. */
  clear() {
    clearTimeout(this.#timer);
    this.bar.hidden = true;
    this.alert.textContent = "";
    this.status.textContent = "";
  }

  #show(text, kind, action, onAction) {
    this.clear();
    this.text.textContent = text;
    this.bar.className = `notice ${kind}`;
    const act = () => {
      this.clear();
      onAction();
    };
    this.action.replaceChildren(...(action ? [button({ text: action, class: "button button-quiet", onclick: act })] : []));
    this.bar.hidden = false;
  }
}
