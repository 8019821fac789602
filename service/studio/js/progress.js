// How far a video is: its place in the queue, its stages step by step, the time left, and the way to stop it.

import { button, element } from "./dom.js";
import { TEXT } from "./text.js";

const STAGES = ["localization", "keyframes", "interpolation", "mux"];

/** The panel while a video waits or runs, and when it came to nothing. */
export class ProgressPanel {
  constructor({ onCancel, onRetry, onEdit, onCopyLink }) {
    this.title = element("h2", { class: "panel-title", tabindex: "-1" });
    this.prompt = element("p", { class: "panel-prompt" });
    this.wait = element("p", { class: "eta" });
    this.bar = progressBar(TEXT.progress.whole);
    this.rows = new Map(STAGES.map((name) => [name, stageRow(name)]));
    this.live = element("p", { class: "unseen", role: "status" });
    this.lost = element("p", { class: "lost", role: "status", hidden: true }, TEXT.progress.lost);
    this.advice = element("p", { class: "advice" });
    this.cancel = button({ text: TEXT.progress.cancel, icon: "stop", class: "button button-quiet", onclick: onCancel });
    this.retry = button({ text: TEXT.progress.retry, icon: "repeat", class: "button button-main", onclick: onRetry });
    this.edit = button({ text: TEXT.progress.edit, icon: "pencil", class: "button button-quiet", onclick: onEdit });
    this.link = button({ text: TEXT.progress.copyLink, icon: "link", onclick: onCopyLink });
    this.linkHint = element("p", { class: "hint" }, TEXT.progress.linkHint);
    this.node = element(
      "aside",
      { class: "panel progress-panel", "aria-label": TEXT.progress.label },
      element("div", {}, this.title, this.prompt),
      element("div", { class: "whole" }, this.bar.node, this.wait),
      element("ol", { class: "stages" }, [...this.rows.values()].map(({ node }) => node)),
      this.live,
      this.lost,
      this.advice,
      element("div", { class: "panel-actions" }, this.retry, this.edit, this.cancel),
      element("div", { class: "come-back" }, this.link, this.linkHint),
    );
  }

  /** Show a video that is not completed. */
  show(video) {
    const isOpen = ["queued", "in_progress"].includes(video.status);
    const isStopping = isOpen && video.cancel_requested_at !== null;
    this.title.textContent = isStopping ? TEXT.progress.stopping : TEXT.progress.titles[video.status];
    this.prompt.textContent = video.prompt;
    this.wait.textContent = isOpen ? waitText(video) : "";
    this.bar.show(video.progress / 100, TEXT.progress.percent(video.progress));
    this.bar.node.hidden = !isOpen;
    for (const [name, row] of this.rows) row.show(video.stages.find((stage) => stage.name === name));
    this.advice.textContent = video.error ? TEXT.failures[video.error.code] ?? video.error.message : "";
    this.retry.hidden = isOpen;
    this.edit.hidden = isOpen;
    this.cancel.hidden = !isOpen;
    this.cancel.disabled = isStopping;
    this.link.parentElement.hidden = !isOpen;
    const news = isOpen ? TEXT.progress.news(video.stage, video.queue_position) : this.title.textContent;
    if (this.live.textContent !== news) this.live.textContent = news; // told once for each stage, not for each step
  }

  /** Say whether news still arrive. */
  setConnected(isConnected) {
    this.lost.hidden = isConnected;
  }
}

function waitText(video) {
  const place = video.status === "queued" && video.queue_position ? TEXT.progress.place(video.queue_position) : null;
  const left = video.eta_seconds === null ? null : TEXT.progress.left(video.eta_seconds);
  return [place, left ?? (place ? null : TEXT.progress.unknownTime)].filter(Boolean).join(" · ");
}

function stageRow(name) {
  const steps = element("span", { class: "stage-steps" });
  const bar = progressBar(TEXT.stages[name].title);
  const node = element(
    "li",
    { class: "stage-row" },
    element(
      "div",
      { class: "stage-head" },
      element("span", { class: "stage-name" }, TEXT.stages[name].title),
      steps,
    ),
    element("p", { class: "hint" }, TEXT.stages[name].hint),
    bar.node,
  );
  const show = (stage) => {
    node.hidden = !stage && name === "mux";
    const { status = "pending", steps_done: done = 0, steps_total: total = 0, seconds = null } = stage ?? {};
    node.dataset.status = status;
    steps.textContent = stageText(name, status, done, total, seconds);
    bar.show(status === "done" ? 1 : total ? done / total : 0, steps.textContent);
  };
  return { node, show };
}

function stageText(name, status, done, total, seconds) {
  if (status === "done") return seconds === null ? TEXT.progress.done : TEXT.progress.took(seconds);
  if (status !== "running" || !total) return "";
  return name === "mux" ? TEXT.progress.frames(done, total) : TEXT.progress.steps(done, total);
}

/** A bar that fills from left to right: `show(part, text)`. */
export function progressBar(label) {
  const fill = element("div", { class: "bar-fill" });
  const node = element(
    "div",
    { class: "bar", role: "progressbar", "aria-label": label, "aria-valuemin": "0", "aria-valuemax": "100" },
    fill,
  );
  const show = (part, text) => {
    fill.style.width = `${part * 100}%`;
    node.setAttribute("aria-valuenow", String(Math.round(part * 100)));
    node.setAttribute("aria-valuetext", text || TEXT.progress.percent(Math.round(part * 100)));
  };
  return { node, show };
}
