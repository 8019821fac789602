// The same video from code: its request in curl, Python and TypeScript. Keys are named, never written.

import { button, element } from "./dom.js";
import { copy } from "./share.js";
import { TEXT } from "./text.js";

const KEY = "KEYVID_API_KEY";

/** The request of a video: {fields, picture, sound}; the last two are file names. */
export function requestOf(video) {
  const { parameters } = video;
  const fields = { prompt: video.prompt, seed: String(video.seed) };
  for (const [name, value] of Object.entries(parameters)) {
    const isDefault = name === "preview" || value === null || value === false || (name === "motion_strength" && value === 1) ||
      (name === "audio_start" && value === 0) || (name === "preset" && value === "exact") || (name === "image_fit" && value === "cover");
    if (!isDefault) fields[name] = Array.isArray(value) ? value.join(",") : String(value);
  }
  return { fields, picture: video.metadata.picture || "picture.png", sound: video.metadata.sound || "sound.wav" };
}

/** The request as a curl command for a shell. */
export function asCurl({ fields, picture, sound }, origin) {
  const file = (name, path) => `-F ${shell(`${name}=@"${path.replace(/["\\]/g, "\\$&")}"`)}`;
  return [
    `curl ${shell(`${origin}/v1/videos`)}`,
    `-H "Authorization: Bearer $${KEY}"`,
    // Not -F, which would read a file for a value that begins with @ or <.
    ...Object.entries(fields).map(([name, value]) => `--form-string ${shell(`${name}=${value}`)}`),
    file("input_reference", picture),
    file("audio", sound),
  ].join(" \\\n  ");
}

/** The request as a Python program with httpx: it waits for the video and saves it. */
export function asPython({ fields, picture, sound }, origin) {
  const lines = Object.entries(fields).map(([name, value]) => `    ${quoted(name)}: ${quoted(value)},`);
  return `import os
import time

import httpx

client = httpx.Client(
    base_url=${quoted(origin)},
    headers={"Authorization": f"Bearer {os.environ.get('${KEY}', 'none')}"},
    timeout=60,
)
fields = {
${lines.join("\n")}
}
with open(${quoted(picture)}, "rb") as picture, open(${quoted(sound)}, "rb") as sound:
    reply = client.post("/v1/videos", data=fields, files={"input_reference": picture, "audio": sound})
video = reply.raise_for_status().json()
while video["status"] in ("queued", "in_progress"):
    time.sleep(1)
    video = client.get(f"/v1/videos/{video['id']}").raise_for_status().json()
content = client.get(f"/v1/videos/{video['id']}/content").raise_for_status().content
with open("video.mp4", "wb") as file:
    file.write(content)
`;
}

/** The request as a TypeScript module for Node 20 or newer: it waits for the video and saves it. */
export function asTypeScript({ fields, picture, sound }, origin) {
  const lines = Object.entries(fields).map(([name, value]) => `form.set(${quoted(name)}, ${quoted(value)});`);
  return `import { openAsBlob } from "node:fs";
import { writeFile } from "node:fs/promises";

const server = ${quoted(origin)};
const headers = { Authorization: \`Bearer \${process.env.${KEY} ?? "none"}\` };

const form = new FormData();
${lines.join("\n")}
form.set("input_reference", await openAsBlob(${quoted(picture)}), "picture");
form.set("audio", await openAsBlob(${quoted(sound)}), "sound");

const ask = async (path: string, init: RequestInit = {}) => {
  const reply = await fetch(server + path, { headers, ...init });
  if (!reply.ok) throw new Error(await reply.text());
  return reply;
};
let video = await (await ask("/v1/videos", { method: "POST", body: form })).json();
while (video.status === "queued" || video.status === "in_progress") {
  await new Promise((resolve) => setTimeout(resolve, 1000));
  video = await (await ask(\`/v1/videos/\${video.id}\`)).json();
}
const content = await ask(\`/v1/videos/\${video.id}/content\`);
await writeFile("video.mp4", new Uint8Array(await content.arrayBuffer()));
`;
}

const LANGUAGES = { curl: asCurl, Python: asPython, TypeScript: asTypeScript };

/** Shows one language at a time, to be copied. */
export class SnippetPanel {
  #request = null;
  #language = "curl";

  constructor(notices) {
    this.code = element("code", {});
    const choose = (language) => {
      this.#language = language;
      this.#draw();
    };
    const choices = Object.keys(LANGUAGES).map((language) => [
      element("input", {
        type: "radio",
        class: "unseen",
        name: "language",
        id: `language-${language}`,
        checked: language === this.#language,
        onchange: () => choose(language),
      }),
      element("label", { for: `language-${language}` }, language),
    ]);
    this.node = element(
      "div",
      { class: "snippets" },
      element("fieldset", { class: "segments" }, element("legend", { class: "unseen" }, TEXT.snippets.language), ...choices),
      element("pre", { tabindex: "0", "aria-label": TEXT.snippets.code }, this.code),
      button({ text: TEXT.actions.copy, icon: "copy", class: "button button-quiet", onclick: () => copy(this.code.textContent, notices) }),
    );
  }

  /** Show the request of a video. */
  show(video) {
    this.#request = requestOf(video);
    this.#draw();
  }

  #draw() {
    this.code.textContent = LANGUAGES[this.#language](this.#request, location.origin);
  }
}

function shell(text) {
  return `'${text.replaceAll("'", "'\\''")}'`;
}

/** A literal that JSON, Python and TypeScript read in the same way. */
function quoted(text) {
  return JSON.stringify(text).replace(/[\u007f-\uffff]/g, (unit) => `\\u${unit.charCodeAt(0).toString(16).padStart(4, "0")}`);
}
