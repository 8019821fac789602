// Elements without a template engine. Every text becomes a text node, so nothing that anybody typed is ever markup.

const SVG = "http://www.w3.org/2000/svg";

/** Make an element: `on...` properties are listeners, `class` and ARIA are attributes, children are nodes or texts. */
export function element(name, properties = {}, ...children) {
  return dress(document.createElement(name), properties, children);
}

/** Make an SVG element in the same way. */
export function svg(name, properties = {}, ...children) {
  return dress(document.createElementNS(SVG, name), properties, children);
}

/** Make a button that has an icon, a text, or both; an icon alone is named by `label`. */
export function button({ text = "", icon: iconName, label, kind = "plain", ...properties }) {
  return element(
    "button",
    { type: "button", class: `button button-${kind}`, "aria-label": label, title: label, ...properties },
    iconName ? icon(iconName) : null,
    text ? element("span", {}, text) : null,
  );
}

/** Show one of several elements and hide the others. */
export function showOnly(shown, elements) {
  for (const each of elements) each.hidden = each !== shown;
}

function dress(node, properties, children) {
  for (const [name, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

// Each icon is one path of strokes in a box of 24 x 24.
const ICONS = {
  picture: "M4 5h16v14H4zM4 16l5-5 4 4 3-3 4 4M15.500 9h.01",
  sound: "M4 10v4M8 7v10M12 4v16M16 8v8M20 10v4",
  microphone: "M12 3a3 3 0 0 1 3 3v5a3 3 0 0 1-6 0V6a3 3 0 0 1 3-3zM5.500 11a6.500 6.500 0 0 0 13 0M12 17.500V21M9 21h6",
  play: "M8 5.500v13l10.500-6.500z",
  pause: "M9 6v12M15 6v12",
  stop: "M7 7h10v10H7z",
  back: "M15 6v12l-8-6zM5 6v12",
  forward: "M9 6v12l8-6zM19 6v12",
  nextKeyframe: "M9 7l5 5-5 5-5-5zM16 8l4 4-4 4",
  plus: "M12 6v12M6 12h12",
  minus: "M6 12h12",
  bin: "M5 7h14M10 4h4M7 7l1 13h8l1-13M10.500 11v5M13.500 11v5",
  download: "M12 4v11M7.500 11L12 15.500 16.500 11M5 20h14",
  link: "M10 14a4 4 0 0 0 6 .4l3-3a4 4 0 0 0-5.700-5.700L12 7M14 10a4 4 0 0 0-6-.4l-3 3a4 4 0 0 0 5.700 5.700L12 17",
  copy: "M9 9h11v11H9zM5 15H4V4h11v1",
  reset: "M5 12a7 7 0 1 1 2 5M5 18v-5h5",
  close: "M6 6l12 12M18 6L6 18",
  key: "M14.500 9.500a4.500 4.500 0 1 0-4.600 4.500L12 12M9 15l-5 5M6.500 17.500L9 20M15 9h.01",
  grid: "M4 5h6v6H4zM14 5h6v6h-6zM4 15h6v4H4zM14 15h6v4h-6z",
  full: "M4 9V4h5M20 9V4h-5M4 15v5h5M20 15v5h-5",
  repeat: "M17 3l3 3-3 3M4 11V9a3 3 0 0 1 3-3h13M7 21l-3-3 3-3M20 13v2a3 3 0 0 1-3 3H4",
  dice: "M5 5h14v14H5zM9 9h.01M15 15h.01M15 9h.01M9 15h.01",
  ear: "M7 10a5 5 0 0 1 10 0c0 4-3 4-3 7a3 3 0 0 1-5.500 1.600M10 10.500a2 2 0 0 1 4 0c0 1.500-2 1.500-2 3.500",
  auto: "M12 4a8 8 0 1 0 0 16zM12 4a8 8 0 0 1 0 16",
  sun: "M12 8a4 4 0 1 0 0 8 4 4 0 0 0 0-8zM12 2v2M12 20v2M2 12h2M20 12h2M5 5l1.400 1.400M17.600 17.600L19 19M5 19l1.400-1.400M17.600 6.400L19 5",
  moon: "M19.500 14A8 8 0 0 1 10 4.500a8 8 0 1 0 9.500 9.500z",
  loud: "M4 10v4h3l5 4V6L7 10zM16 9a4 4 0 0 1 0 6M18.500 6.500a8 8 0 0 1 0 11",
  mute: "M4 10v4h3l5 4V6L7 10zM16 10l4 4M20 10l-4 4",
  pencil: "M5 19l1-4L16 5l3 3L9 18zM14 7l3 3",
  check: "M5 12.500l4.500 4.500L19 7",
  columns: "M4 5h7v14H4zM13 5h7v14h-7z",
};

/** Draw an icon; it is decoration, and the text or label beside it is what it means. */
export function icon(name) {
  return svg("svg", { viewBox: "0 0 24 24", class: "icon", "aria-hidden": "true" }, svg("path", { d: ICONS[name] }));
}
