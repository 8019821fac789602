// The panel of a finished video: keep it, share it, try another take, repeat it from code, or change it.

import { button, element } from "./dom.js";
import { Knobs, randomSeed } from "./knobs.js";
import { SharePanel } from "./share.js";
import { SnippetPanel } from "./snippets.js";
import { TEXT } from "./text.js";

const TAKE_KNOBS = ["seed", "motion_strength", "guidance_audio", "guidance_text"];

/** The panel. `onTake` is given the knobs of another take, `onEdit` and `onDelete` are asked to do so. */
export class ResultPanel {
  constructor({ api, notices, onTake, onEdit, onDelete }) {
    this.title = element("h2", { class: "panel-title", tabindex: "-1" }, TEXT.result.title);
    this.prompt = element("p", { class: "panel-prompt" });
    this.facts = element("dl", { class: "facts" });
    this.download = element("a", { class: "button button-main" }, TEXT.result.download);
    this.share = new SharePanel(api, notices);
    this.snippets = new SnippetPanel(notices);
    this.knobs = new Knobs({ id: "take", names: TAKE_KNOBS });
    this.take = fold(
      TEXT.result.take,
      element("p", { class: "hint" }, TEXT.result.takeHint),
      this.knobs.node,
      button({ text: TEXT.result.makeTake, icon: "columns", class: "button button-quiet", onclick: () => onTake(this.knobs.values) }),
    );
    this.node = element(
      "aside",
      { class: "panel result-panel", "aria-label": TEXT.result.label },
      element("div", {}, this.title, this.prompt),
      this.download,
      button({ text: TEXT.result.edit, icon: "pencil", class: "button button-quiet", onclick: onEdit }),
      this.take,
      fold(TEXT.share.title, this.share.node),
      fold(TEXT.snippets.title, this.snippets.node),
      fold(TEXT.result.facts, this.facts),
      button({ text: TEXT.result.remove, icon: "bin", class: "button button-plain button-danger", onclick: onDelete }),
    );
  }

  /** Let the video's file be downloaded, which is at `url` in this browser. */
  offer(video, url) {
    this.download.href = url;
    this.download.setAttribute("download", `${video.id}.mp4`);
  }

  /** Show a completed video. */
  show(video) {
    this.prompt.textContent = video.prompt;
    this.download.removeAttribute("href");
    this.share.show(video);
    this.snippets.show(video);
    this.knobs.show({ ...pick(video.parameters, TAKE_KNOBS), seed: randomSeed() });
    this.facts.replaceChildren(
      ...factsOf(video).flatMap(([name, value]) => [element("dt", {}, name), element("dd", {}, String(value))]),
    );
  }
}

/** The knobs of a video that differ from the model's own. */
export function knobsOf(video) {
  const strength = video.parameters.motion_strength;
  const { guidance_audio, guidance_text, guidance_image, num_inference_steps } = video.parameters;
  return {
    seed: video.seed,
    motion_strength: strength === 1 ? null : strength,
    guidance_audio,
    guidance_text,
    guidance_image,
    num_inference_steps,
  };
}

function pick(parameters, names) {
  const strength = parameters.motion_strength === 1 ? null : parameters.motion_strength;
  return Object.fromEntries(names.map((name) => [name, name === "motion_strength" ? strength : (parameters[name] ?? null)]));
}

function factsOf(video) {
  const { output, parameters } = video;
  const took = video.completed_at && video.started_at ? TEXT.result.seconds(video.completed_at - video.started_at) : null;
  return [
    [TEXT.knobs.names.seed, video.seed],
    ...["motion_strength", "guidance_audio", "guidance_text", "guidance_image", "num_inference_steps"]
      .filter((name) => parameters[name] !== null && !(name === "motion_strength" && parameters[name] === 1))
      .map((name) => [TEXT.knobs.names[name], parameters[name]]),
    [TEXT.result.model, video.model],
    [TEXT.result.keyframes, video.keyframes?.source === "request" ? TEXT.result.byHand : TEXT.result.heardBy(video.keyframes?.source)],
    [TEXT.result.size, TEXT.result.sizeOf(output)],
    [TEXT.result.took, took],
    [TEXT.result.kept, video.expires_at && TEXT.date(video.expires_at)],
    [TEXT.result.id, video.id],
  ].filter(([, value]) => value !== null && value !== undefined);
}

function fold(title, ...children) {
  return element("details", { class: "fold" }, element("summary", {}, title), element("div", { class: "fold-body" }, ...children));
}
