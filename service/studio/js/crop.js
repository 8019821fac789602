// The frame over a picture that shows which part of it the model will see. Its numbers are parts of the picture, 0 to 1.

import { ASPECT } from "./clip.js";
import { element } from "./dom.js";
import { TEXT } from "./text.js";

const STEP = 0.02; // of the picture, for one press of an arrow key
const ZOOM = 1.06; // for one press of plus or minus
const SMALLEST_PX = 64;
const CORNERS = ["nw", "ne", "sw", "se"];

/** The largest frame of the video's shape in the middle of a picture: what `cover` uses by itself. */
export function largestCrop(picture) {
  const shape = picture.width / picture.height;
  const width = Math.min(1, ASPECT / shape);
  const height = Math.min(1, shape / ASPECT);
  return { x: (1 - width) / 2, y: (1 - height) / 2, width, height };
}

/** A frame of the right shape and size inside the picture that comes closest to the one asked for. */
export function fittingCrop(picture, { x, y, width }) {
  const most = largestCrop(picture);
  const least = Math.min(most.width, Math.max(0.15 * most.width, SMALLEST_PX / picture.width));
  const fittedWidth = clamp(width, least, most.width);
  const height = (fittedWidth * most.height) / most.width;
  return { x: clamp(x, 0, 1 - fittedWidth), y: clamp(y, 0, 1 - height), width: fittedWidth, height };
}

/** The frame: dragged as a whole or by its corners, moved by arrow keys, resized by plus and minus. */
export class CropFrame {
  #picture = null;
  #crop = null;

  constructor(onChange) {
    this.onChange = onChange;
    this.node = element(
      "div",
      {
        class: "crop",
        tabindex: "0",
        role: "group",
        "aria-label": TEXT.crop.label,
        onkeydown: (event) => this.#press(event),
        onpointerdown: (event) => this.#grab(event),
      },
      CORNERS.map((corner) => element("span", { class: `crop-corner crop-${corner}`, "data-corner": corner })),
    );
  }

  /** Show the frame of a picture; `crop` null is the largest. */
  show(picture, crop) {
    this.#picture = picture;
    this.#crop = crop ?? largestCrop(picture);
    for (const [side, value] of [["left", "x"], ["top", "y"], ["width", "width"], ["height", "height"]]) {
      this.node.style[side] = `${this.#crop[value] * 100}%`;
    }
  }

  #move(wanted) {
    const crop = fittingCrop(this.#picture, wanted);
    this.show(this.#picture, crop);
    this.onChange(crop);
  }

  #press(event) {
    const { x, y, width, height } = this.#crop;
    const byZoom = (factor) => ({ x: x + (width * (1 - factor)) / 2, y: y + (height * (1 - factor)) / 2, width: width * factor });
    const moved = {
      ArrowLeft: { x: x - STEP, y, width },
      ArrowRight: { x: x + STEP, y, width },
      ArrowUp: { x, y: y - STEP, width },
      ArrowDown: { x, y: y + STEP, width },
      "+": byZoom(ZOOM),
      "=": byZoom(ZOOM),
      "-": byZoom(1 / ZOOM),
    }[event.key];
    if (!moved) return;
    event.preventDefault();
    this.#move(moved);
  }

  #grab(event) {
    if (event.button !== 0) return;
    event.preventDefault();
    this.node.focus();
    const corner = event.target.dataset.corner;
    const before = { ...this.#crop };
    const box = this.node.parentElement.getBoundingClientRect();
    this.node.setPointerCapture(event.pointerId);
    const drag = (moving) => {
      const dx = (moving.clientX - event.clientX) / box.width;
      const dy = (moving.clientY - event.clientY) / box.height;
      this.#move(corner ? resized(before, corner, dx, dy) : { ...before, x: before.x + dx, y: before.y + dy });
    };
    this.node.addEventListener("pointermove", drag);
    this.node.addEventListener("lostpointercapture", () => this.node.removeEventListener("pointermove", drag), {
      once: true,
    });
  }
}

/** A frame whose corner was dragged: the opposite corner stays where it is, and so does the shape. */
function resized(crop, corner, dx, dy) {
  const ratio = crop.width / crop.height;
  const outward = { x: corner.endsWith("e") ? dx : -dx, y: (corner.startsWith("s") ? dy : -dy) * ratio };
  const growth = Math.abs(outward.x) > Math.abs(outward.y) ? outward.x : outward.y;
  const right = crop.x + crop.width;
  const bottom = crop.y + crop.height;
  const roomX = corner.endsWith("e") ? 1 - crop.x : right;
  const roomY = (corner.startsWith("s") ? 1 - crop.y : bottom) * ratio;
  const width = Math.max(0.02, Math.min(crop.width + growth, roomX, roomY));
  return {
    x: corner.endsWith("e") ? crop.x : right - width,
    y: corner.startsWith("s") ? crop.y : bottom - width / ratio,
    width,
  };
}

function clamp(value, least, most) {
  return Math.min(Math.max(value, least), Math.max(least, most));
}
