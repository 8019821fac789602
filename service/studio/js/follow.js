// Follows a video until it has ended: events say that something changed, and the video object says what.

import { Problem } from "./api.js";

const REFRESH_MS = 500; // at most twice a second
const REGULAR_REFRESH_MS = 2500; // places in the queue change without an event, and a dead connection brings none
const FIRST_PAUSE_MS = 1000;
const LONGEST_PAUSE_MS = 10_000;

/** Whether a video can no longer change. */
export function hasEnded(video) {
  return ["completed", "failed", "cancelled"].includes(video.status);
}

/** A follower of one video. `onVideo` gets each new state, `onPreview` a look at it, `onConnection` whether it is heard. */
export class Follower {
  #api;
  #path;
  #stopping = new AbortController();
  #listening = new AbortController();
  #etag = null;
  #seq = null;
  #timer = null;
  #video = null;

  constructor(api, id, { onVideo, onPreview = () => {}, onConnection = () => {} }) {
    Object.assign(this, { onVideo, onPreview, onConnection });
    this.#api = api;
    this.#path = `/v1/videos/${encodeURIComponent(id)}`;
  }

  /** Follow until the video has ended or `stop`; what passes by itself is tried again. Throws what does not, as Problem. */
  async run() {
    let pause = FIRST_PAUSE_MS;
    while (!this.#stopping.signal.aborted) {
      try {
        await this.#refresh();
        this.onConnection(true);
        if (hasEnded(this.#video)) return;
        await this.#listen();
        pause = FIRST_PAUSE_MS;
      } catch (problem) {
        if (this.#stopping.signal.aborted || (this.#video && hasEnded(this.#video))) return;
        if (!(problem instanceof Problem) && problem.name !== "TypeError") throw problem; // a broken stream is a TypeError
        if (problem instanceof Problem && !problem.isPassing) throw problem;
        this.onConnection(false);
        await new Promise((resolve) => setTimeout(resolve, problem.retryAfter ? problem.retryAfter * 1000 : pause));
        pause = Math.min(pause * 2, LONGEST_PAUSE_MS);
      }
    }
  }

  /** Follow no longer. */
  stop() {
    this.#stopping.abort();
    this.#listening.abort();
    clearTimeout(this.#timer);
  }

  async #refresh() {
    const headers = this.#etag ? { "If-None-Match": this.#etag } : {};
    const reply = await this.#api.fetch(this.#path, { headers, signal: this.#stopping.signal });
    if (reply.status === 304) return;
    this.#etag = reply.headers.get("ETag");
    this.#video = await reply.json();
    this.onVideo(this.#video);
  }

  /** Ask for the video soon, once however many events come meanwhile. */
  #refreshSoon() {
    if (this.#timer !== null) return;
    this.#timer = setTimeout(async () => {
      this.#timer = null;
      try {
        await this.#refresh();
      } catch {
        if (!this.#stopping.signal.aborted) this.onConnection(false); // the next try follows
        return;
      }
      this.onConnection(true);
      if (hasEnded(this.#video)) this.#listening.abort(); // where its last event is held up
    }, REFRESH_MS);
  }

  async #listen() {
    const headers = this.#seq === null ? {} : { "Last-Event-ID": this.#seq };
    this.#listening = new AbortController();
    const reply = await this.#api.fetch(`${this.#path}/events`, { headers, signal: this.#listening.signal });
    if (reply.status === 204) return;
    const regular = setInterval(() => this.#refreshSoon(), REGULAR_REFRESH_MS);
    try {
      for await (const { id, event, data } of eventsOf(reply.body)) {
        if (id) this.#seq = id;
        if (event === "video.preview") this.onPreview(JSON.parse(data));
        else if (event !== "video.snapshot") this.#refreshSoon();
      }
    } finally {
      clearInterval(regular);
    }
  }
}

/** Server-sent events of a stream: {id, event, data}. */
export async function* eventsOf(stream) {
  let text = "";
  for await (const piece of readAll(stream.pipeThrough(new TextDecoderStream()))) {
    text = (text + piece).replaceAll("\r\n", "\n");
    const blocks = text.split("\n\n");
    text = blocks.pop();
    for (const block of blocks) {
      const event = {};
      for (const line of block.split("\n")) {
        const [, name, value] = /^(\w+): ?(.*)$/.exec(line) ?? [];
        if (name) event[name] = name === "data" && event.data ? `${event.data}\n${value}` : value;
      }
      if (event.data !== undefined) yield event;
    }
  }
}

/** The pieces of a stream; not every browser can iterate one by itself. */
async function* readAll(stream) {
  const reader = stream.getReader();
  try {
    for (;;) {
      const { done, value } = await reader.read();
      if (done) return;
      yield value;
    }
  } finally {
    reader.cancel().catch(() => {}); // it has ended already
  }
}
