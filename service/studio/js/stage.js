// Where the picture is: an invitation to drop one, then the picture as the model will see it.

import { CropFrame } from "./crop.js";
import { ASPECT } from "./clip.js";
import { button, element, icon } from "./dom.js";
import { TEXT } from "./text.js";
import { PICTURE_TYPES } from "./upload.js";

const FITS = ["cover", "contain", "stretch"];

/** The stage while a request is composed. `onFile` is given a picture file that was chosen. */
export class Stage {
  #draft;

  constructor(draft, onFile) {
    this.#draft = draft;
    this.input = element("input", {
      type: "file",
      accept: PICTURE_TYPES,
      class: "unseen",
      id: "picture-file",
      "aria-label": TEXT.stage.drop,
      onchange: () => {
        if (this.input.files[0]) onFile(this.input.files[0]);
        this.input.value = "";
      },
    });
    this.empty = element(
      "label",
      { class: "drop", for: "picture-file" },
      icon("picture"),
      element("strong", {}, TEXT.stage.drop),
      element("span", {}, TEXT.stage.formats),
    );
    this.image = element("img", { alt: "", draggable: "false" });
    this.crop = new CropFrame((crop) => draft.change({ crop }));
    this.box = element("div", { class: "picture-box" }, this.image, this.crop.node);
    this.stage = element("div", { class: "stage" }, this.empty, this.box);
    this.tools = element("div", { class: "tools" }, this.#fits(), this.#reset(), this.#replace());
    this.node = element(
      "section",
      { class: "stage-area", "aria-label": TEXT.stage.label },
      this.input,
      this.stage,
      this.tools,
    );
    draft.addEventListener("change", () => this.#draw());
    this.#draw();
  }

  #fits() {
    this.radios = FITS.map((fit) =>
      element("input", {
        type: "radio",
        name: "image-fit",
        id: `fit-${fit}`,
        class: "unseen",
        onchange: () => this.#draft.change({ fit }),
      }),
    );
    return element(
      "fieldset",
      { class: "segments" },
      element("legend", { class: "unseen" }, TEXT.stage.fit),
      FITS.map((fit, index) => [this.radios[index], element("label", { for: `fit-${fit}` }, TEXT.stage.fits[fit])]),
    );
  }

  #reset() {
    this.resetButton = button({ text: TEXT.crop.reset, icon: "reset", onclick: () => this.#draft.change({ crop: null }) });
    return this.resetButton;
  }

  #replace() {
    return button({
      text: TEXT.stage.replace,
      label: TEXT.stage.replaceLabel,
      icon: "picture",
      class: "button button-plain push",
      onclick: () => this.input.click(),
    });
  }

  #draw() {
    const { picture, fit, crop } = this.#draft;
    this.empty.hidden = picture !== null;
    this.box.hidden = picture === null;
    this.tools.hidden = picture === null;
    if (!picture) return;
    if (this.image.src !== picture.url) this.image.src = picture.url;
    this.image.alt = TEXT.stage.picture(picture.name);
    const isCropped = fit === "cover";
    const shape = fit === "stretch" ? ASPECT : picture.width / picture.height;
    this.box.style.aspectRatio = String(shape);
    this.box.classList.toggle("is-tall", shape < ASPECT);
    this.radios[FITS.indexOf(fit)].checked = true;
    this.crop.node.hidden = !isCropped;
    this.resetButton.hidden = !isCropped || crop === null;
    if (isCropped) this.crop.show(picture, crop);
  }
}
