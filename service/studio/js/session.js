// Who uses the page. A key is kept in this page's memory, or traded for a cookie that no script can read.

import { button, element } from "./dom.js";
import { describeProblem, TEXT } from "./text.js";

/** The sign-in dialog and its button; `onChange` is called when somebody came or went. */
export class Session {
  #api;
  #isIn = false;

  constructor(api, onChange) {
    Object.assign(this, { onChange });
    this.#api = api;
    this.key = element("input", { type: "password", id: "api-key", autocomplete: "off", required: true, placeholder: TEXT.session.keyExample });
    this.stay = element("input", { type: "checkbox", id: "stay" });
    this.error = element("p", { class: "advice", role: "alert" });
    this.form = element(
      "form",
      {
        method: "dialog",
        onsubmit: (event) => {
          event.preventDefault();
          this.#enter();
        },
      },
      element("h2", { id: "session-title" }, TEXT.session.title),
      element("p", {}, TEXT.session.hint),
      element("div", { class: "field" }, element("label", { for: "api-key" }, TEXT.session.key), this.key),
      element("div", { class: "check" }, this.stay, element("label", { for: "stay" }, TEXT.session.stay)),
      this.error,
      element(
        "div",
        { class: "dialog-actions" },
        button({ text: TEXT.actions.cancel, class: "button button-quiet", onclick: () => this.dialog.close() }),
        element("button", { type: "submit", class: "button button-main" }, TEXT.session.enter),
      ),
    );
    this.dialog = element("dialog", { class: "dialog", "aria-labelledby": "session-title" }, this.form);
    this.button = button({ text: TEXT.session.open, icon: "key", hidden: true, onclick: () => (this.#isIn ? this.#leave() : this.open()) });
    api.addEventListener("unauthorized", () => this.open());
  }

  /** Find out as whom this page is let in; where it is not, a key is asked for. Answers whether it is let in. */
  async begin() {
    try {
      const { kind } = await this.#api.json("/v1/session");
      if (kind !== "open") this.#setIn(true);
      return true;
    } catch (problem) {
      return problem.status !== 401; // the others are told where they matter
    }
  }

  /** Ask for a key. */
  open() {
    this.#setIn(false);
    if (!this.dialog.open) this.dialog.showModal();
  }

  async #enter() {
    const key = this.key.value.trim();
    this.error.textContent = "";
    try {
      if (this.stay.checked) await this.#api.json("/v1/session", { method: "POST", json: { api_key: key } });
      else this.#api.useKey(key);
      await this.#api.json("/v1/session");
    } catch (problem) {
      this.#api.useKey(null);
      this.error.textContent = describeProblem(problem);
      this.key.focus();
      return;
    }
    this.key.value = "";
    this.dialog.close();
    this.#setIn(true);
    this.onChange();
  }

  async #leave() {
    const hadKey = this.#api.hasKey;
    this.#api.useKey(null);
    if (!hadKey) await this.#api.fetch("/v1/session", { method: "DELETE" });
    location.reload();
  }

  #setIn(isIn) {
    this.#isIn = isIn;
    this.button.hidden = false;
    this.button.lastChild.textContent = isIn ? TEXT.session.leave : TEXT.session.open;
  }
}
