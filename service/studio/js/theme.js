// Light, dark, or as the system is: remembered for this browser.

import { button, icon } from "./dom.js";
import { TEXT } from "./text.js";

const THEMES = ["auto", "light", "dark"];
const ICONS = { auto: "auto", light: "sun", dark: "moon" };

/** Use the remembered theme at once, and make the button that changes it. */
export function themeButton() {
  let theme = THEMES.includes(localStorage.getItem("theme")) ? localStorage.getItem("theme") : "auto";
  const node = button({
    label: TEXT.theme.auto,
    icon: "auto",
    class: "button button-icon",
    onclick: () => {
      theme = THEMES[(THEMES.indexOf(theme) + 1) % THEMES.length];
      localStorage.setItem("theme", theme);
      draw();
    },
  });
  const draw = () => {
    document.documentElement.dataset.theme = theme;
    node.replaceChildren(icon(ICONS[theme]));
    node.setAttribute("aria-label", TEXT.theme[theme]);
    node.title = TEXT.theme[theme];
  };
  draw();
  return node;
}
