// The HTTP API as the page uses it: the only place that adds the key, reads errors, and notices that the service is away.

const UNREACHABLE = "unreachable";

/** What the service answered instead of what was asked for; `code` is the API's own, or `unreachable`. */
export class Problem extends Error {
  constructor({ status = 0, code = UNREACHABLE, detail = "", errors = [], retryAfter = null }) {
    super(detail || code);
    Object.assign(this, { status, code, detail, errors, retryAfter });
  }

  /** Whether asking again can help: the service is away or busy. */
  get isPassing() {
    return this.status === 0 || this.status === 408 || this.status === 429 || this.status >= 500;
  }
}

/** A client of this server. Its key lives in this object alone: not in storage, not in an address. */
export class Api extends EventTarget {
  #key = null;

  /** Use a key from now on; null forgets it. */
  useKey(key) {
    this.#key = key;
  }

  get hasKey() {
    return this.#key !== null;
  }

  /** Fetch; answers a Response of status 2xx or 304. Throws Problem, or AbortError when `signal` says so. */
  async fetch(path, { method = "GET", body, json, headers = {}, signal } = {}) {
    const init = { method, headers: { ...headers, ...this.#authorization() }, signal, body, cache: "no-store" };
    if (json !== undefined) {
      init.body = JSON.stringify(json);
      init.headers["Content-Type"] = "application/json";
    }
    let reply;
    try {
      reply = await fetch(path, init);
    } catch (error) {
      if (error.name === "AbortError") throw error;
      throw new Problem({});
    }
    if (reply.ok || reply.status === 304) return reply;
    throw this.#problem(reply.status, await reply.text().catch(() => ""), reply.headers.get("Retry-After"));
  }

  /** Fetch a JSON document. */
  async json(path, options) {
    return (await this.fetch(path, options)).json();
  }

  /** Fetch a file. */
  async blob(path, options) {
    return (await this.fetch(path, options)).blob();
  }

  /** Post a form and answer its JSON; `onSent` is told the part of it that is sent, 0 to 1 (fetch cannot tell that). */
  post(path, form, { headers = {}, onSent = () => {}, signal } = {}) {
    return new Promise((resolve, reject) => {
      const sending = new XMLHttpRequest();
      sending.open("POST", path);
      for (const [name, value] of Object.entries({ ...headers, ...this.#authorization() })) {
        sending.setRequestHeader(name, value);
      }
      sending.upload.onprogress = (event) => event.lengthComputable && onSent(event.loaded / event.total);
      sending.onerror = () => reject(new Problem({}));
      sending.onabort = () => reject(new DOMException("aborted", "AbortError"));
      sending.onload = () => {
        if (sending.status >= 200 && sending.status < 300) resolve(JSON.parse(sending.responseText));
        else reject(this.#problem(sending.status, sending.responseText, sending.getResponseHeader("Retry-After")));
      };
      signal?.addEventListener("abort", () => sending.abort());
      sending.send(form);
    });
  }

  /** A page of another site cannot add a header of ours: beside a session's cookie it proves that this page asks. */
  #authorization() {
    return { "X-KeyVID-Session": "1", ...(this.#key === null ? {} : { Authorization: `Bearer ${this.#key}` }) };
  }

  #problem(status, text, retryAfter) {
    let body = {};
    try {
      body = JSON.parse(text);
    } catch {
      body = { code: status === 502 || status === 504 ? UNREACHABLE : "internal" }; // a proxy's own page, not the API's
    }
    if (status === 401) this.dispatchEvent(new Event("unauthorized"));
    return new Problem({ ...body, status, retryAfter: retryAfter === null ? null : Number(retryAfter) });
  }
}
