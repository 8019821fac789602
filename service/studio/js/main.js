// Puts the page together, and shows what its address asks for: `#/` composes, `#/videos/ID` is one video,
// `#/videos/ID/with/ID` are two side by side, `#/shared/TOKEN` is what somebody shared.

import { Api } from "./api.js";
import { Compose } from "./compose.js";
import { confirm } from "./dialogs.js";
import { button, element, showOnly, svg } from "./dom.js";
import { Draft } from "./draft.js";
import { History } from "./history.js";
import { Inputs } from "./inputs.js";
import { Notices } from "./notices.js";
import { knobsOf } from "./result.js";
import { Session } from "./session.js";
import { Shared } from "./shared.js";
import { TEXT } from "./text.js";
import { themeButton } from "./theme.js";
import { Watch } from "./watch.js";

const api = new Api();
const draft = new Draft();
const notices = new Notices();
const inputs = new Inputs(api);
const session = new Session(api, () => start());
const history = new History({
  api,
  notices,
  confirm,
  onDeleted: (id) => location.hash.includes(id) && go("#/"),
  onCompare: (id) => go(`#/videos/${watch.finishedId}/with/${id}`),
});
history.canCompare = (id) => watch.finishedId !== null && watch.finishedId !== id;
const onAccepted = (video, made) => {
  draft.renew();
  accepted(video, made, `#/videos/${video.id}`);
};
const compose = new Compose({ api, draft, notices, onAccepted });
const watch = new Watch({
  api,
  inputs,
  notices,
  go,
  onEdit: (video, made) => {
    draft.load(video, made, knobsOf(video));
    go("#/");
  },
  onTake: async (video, made, knobs) => {
    const take = new Draft();
    take.load(video, made, { ...knobsOf(video), ...knobs });
    const other = await api.post("/v1/videos", take.form, { headers: { "Idempotency-Key": take.idempotencyKey() } });
    accepted(other, made, `#/videos/${video.id}/with/${other.id}`);
  },
  onDelete: (video) => history.remove(video),
  onEnded: () => history.load(),
});
const shared = new Shared(api);
const workspaces = [compose.node, watch.node, shared.node];

function go(address) {
  location.hash = address;
}

function accepted(video, made, address) {
  inputs.remember(video.id, made);
  go(address);
  history.load();
}

function show() {
  notices.clear();
  compose.sound.player.stop();
  const [, id, otherId] = /^#\/videos\/([\w-]+)(?:\/with\/([\w-]+))?$/.exec(location.hash) ?? [];
  const [, token] = /^#\/shared\/([^/]+)$/.exec(location.hash) ?? [];
  const isComposing = !id && !token;
  showOnly(id ? watch.node : token ? shared.node : compose.node, workspaces);
  newButton.hidden = isComposing;
  history.node.hidden = Boolean(token);
  headline.textContent = isComposing ? TEXT.page.headline : TEXT.page.videoHeadline;
  headline.classList.toggle("unseen", !isComposing);
  lead.hidden = !isComposing;
  document.title = isComposing ? TEXT.page.title : TEXT.page.videoTitle;
  const couldCompare = watch.finishedId !== null;
  watch.close();
  if (couldCompare) history.redraw();
  shared.close();
  if (token) shared.open(token);
  else if (id) watch.open(id, otherId ?? null);
  if (!token && !hasBegun) begin();
}

/** Find out who is here and what this service takes; whoever follows a link to a shared video is not asked. */
async function begin() {
  hasBegun = true;
  if (!(await session.begin())) return;
  const models = await api.json("/v1/models").catch(() => null); // what follows tells what is wrong
  if (models?.data[0]) compose.limits = models.data[0].inputs;
  history.load();
}

function start() {
  hasBegun = false;
  show();
}

const headline = element("h1", {}, TEXT.page.headline);
const lead = element("p", { class: "lead" }, TEXT.page.lead);
let hasBegun = false;
const newButton = element("a", { class: "button button-quiet", href: "#/" }, TEXT.page.compose);

function logo() {
  return element(
    "a",
    { class: "logo", href: "#/" },
    svg(
      "svg",
      { viewBox: "0 0 32 20", "aria-hidden": "true" },
      svg("path", { d: "M2 17c4 0 5-13 8.500-13S14 17 17 17s2.500-15 6-15 3 15 7 15" }),
      svg("circle", { cx: "10.500", cy: "4", r: "2.600" }),
      svg("circle", { cx: "23", cy: "2.600", r: "2.600" }),
    ),
    element("span", {}, TEXT.page.name),
  );
}

document.body.append(
  element("a", { class: "skip", href: "#workspace", onclick: (event) => {
    event.preventDefault();
    main.focus();
  } }, TEXT.page.skip),
  element(
    "header",
    { class: "top" },
    logo(),
    element(
      "nav",
      { class: "top-tools", "aria-label": TEXT.page.tools },
      newButton,
      button({
        text: TEXT.page.history,
        icon: "grid",
        onclick: () => {
          history.node.scrollIntoView();
          history.node.focus({ preventScroll: true });
        },
      }),
      session.button,
      themeButton(),
    ),
  ),
);
const main = element(
  "main",
  { id: "workspace", tabindex: "-1" },
  element("div", { class: "hero" }, headline, lead),
  notices.node,
  ...workspaces,
  history.node,
);
document.body.append(main, element("footer", { class: "foot" }, element("a", { href: "/docs" }, TEXT.page.manual)), session.dialog);

window.addEventListener("hashchange", show);
window.addEventListener("dragover", (event) => {
  event.preventDefault();
  document.body.classList.add("is-dragging");
});
for (const name of ["dragleave", "drop"]) {
  window.addEventListener(name, () => document.body.classList.remove("is-dragging"));
}
window.addEventListener("drop", (event) => {
  event.preventDefault();
  takeFiles(event.dataTransfer.files);
});
window.addEventListener("paste", (event) => event.clipboardData.files.length && takeFiles(event.clipboardData.files));
window.addEventListener("keydown", (event) => {
  const isElsewhere = event.target.closest("input, textarea, select, button, a, summary, dialog, [role=slider], [role=button], pre");
  if (!isElsewhere && watch.finishedId && watch.player.press(event)) event.preventDefault();
});
window.addEventListener("error", () => notices.warn(TEXT.problems.page));
window.addEventListener("unhandledrejection", () => notices.warn(TEXT.problems.page));

function takeFiles(files) {
  if (location.hash.startsWith("#/videos/")) go("#/");
  compose.takeFiles([...files]);
}

start();
