// Questions in the middle of the page.

import { button, element } from "./dom.js";
import { TEXT } from "./text.js";

/** Ask before something that cannot be undone; answers whether to do it. */
export function confirm(title, text, yes) {
  return new Promise((resolve) => {
    const dialog = element(
      "dialog",
      { class: "dialog", "aria-labelledby": "confirm-title", onclose: () => finish() },
      element("h2", { id: "confirm-title" }, title),
      element("p", {}, text),
      element(
        "div",
        { class: "dialog-actions" },
        button({ text: TEXT.actions.cancel, class: "button button-quiet", onclick: () => dialog.close() }),
        button({ text: yes, class: "button button-main button-danger", onclick: () => dialog.close("yes") }),
      ),
    );
    const finish = () => {
      resolve(dialog.returnValue === "yes");
      dialog.remove();
    };
    document.body.append(dialog);
    dialog.showModal();
  });
}
