// Plays finished videos, one or two in step: frame by frame, from keyframe to keyframe, with the timeline under them.

import { CLIP_S, FPS, FRAMES } from "./clip.js";
import { button, element, icon } from "./dom.js";
import { TEXT } from "./text.js";

const DRIFT_S = 0.5 / FPS; // more than that, and the second video is put in step again

/** Transport controls of the videos that `setVideos` names; the first one is heard and leads. */
export class Player {
  #videos = [];
  #keyframes = [];
  #watched = null;

  constructor({ timeline, onFull }) {
    this.timeline = timeline;
    this.playButton = button({ label: TEXT.player.play, icon: "play", class: "button button-round", onclick: () => this.toggle() });
    this.readout = element("output", { class: "readout" });
    this.loopButton = this.#switch("repeat", TEXT.player.loop, () => this.#setLoop(!this.#lead.loop));
    this.muteButton = button({ label: TEXT.player.mute, icon: "loud", class: "button button-icon", onclick: () => this.#setMuted(!this.#lead.muted) });
    const step = (label, name, act) => button({ label, icon: name, class: "button button-icon", onclick: act });
    this.keyframeButton = step(TEXT.player.nextKeyframe, "nextKeyframe", () => this.stepKeyframe());
    this.node = element(
      "div",
      { class: "tools transport", role: "group", "aria-label": TEXT.player.label },
      this.playButton,
      step(TEXT.player.back, "back", () => this.step(-1)),
      step(TEXT.player.forward, "forward", () => this.step(1)),
      this.keyframeButton,
      this.readout,
      element("span", { class: "push" }),
      this.loopButton,
      this.muteButton,
      step(TEXT.player.full, "full", onFull),
    );
  }

  get #lead() {
    return this.#videos[0];
  }

  /** The frame that is shown. */
  get frame() {
    return Math.min(FRAMES - 1, Math.floor(this.#lead.currentTime * FPS + 1e-3));
  }

  /** Control these video elements; the others are silent. */
  setVideos(videos, keyframes) {
    this.#videos = videos;
    this.#keyframes = keyframes;
    this.keyframeButton.hidden = keyframes.length === 0;
    for (const video of videos) video.onclick = () => this.toggle();
    this.#lead.onplay = this.#lead.onpause = () => this.#drawPlaying();
    this.#lead.ontimeupdate = this.#lead.onseeked = () => this.#drawTime(this.#lead.currentTime);
    this.#lead.onloadeddata = () => this.#watchFrames();
    if (this.#lead.readyState >= HTMLMediaElement.HAVE_CURRENT_DATA) this.#watchFrames();
    for (const video of videos.slice(1)) video.muted = true;
    this.#setLoop(this.#lead.loop);
    this.#setMuted(this.#lead.muted);
    this.#drawPlaying();
    this.#drawTime(this.#lead.currentTime);
  }

  /** Play or pause. */
  toggle() {
    if (!this.#lead.paused) {
      for (const video of this.#videos) video.pause();
      this.seek(this.frame);
      return;
    }
    if (this.#lead.ended) this.seek(0);
    for (const video of this.#videos.slice(1)) video.currentTime = this.#lead.currentTime;
    for (const video of this.#videos) video.play().catch(() => this.#drawPlaying()); // paused again before it began
  }

  /** Take the invitation to play away. */
  #touch() {
    for (const video of this.#videos) video.closest(".screen")?.classList.remove("is-fresh");
  }

  /** Show a frame: its middle, so that rounding cannot show a neighbour. */
  seek(frame) {
    const time = (frame + 0.5) / FPS;
    this.#touch();
    for (const video of this.#videos) video.currentTime = time;
    this.#drawTime(time);
  }

  /** Pause and go some frames on or back, around the ends. */
  step(frames) {
    for (const video of this.#videos) video.pause();
    this.seek((this.frame + frames + FRAMES) % FRAMES);
  }

  /** Pause and go to the next keyframe, around the end. */
  stepKeyframe(direction = 1) {
    for (const video of this.#videos) video.pause();
    const ordered = direction > 0 ? this.#keyframes : this.#keyframes.toReversed();
    const beyond = (frame) => (direction > 0 ? frame > this.frame : frame < this.frame);
    this.seek(ordered.find(beyond) ?? ordered[0] ?? 0);
  }

  /** The keys of a player: space, arrows for frames, with shift for keyframes. Answers whether it was one. */
  press(event) {
    const act = {
      " ": () => this.toggle(),
      k: () => this.toggle(),
      ArrowLeft: () => (event.shiftKey ? this.stepKeyframe(-1) : this.step(-1)),
      ArrowRight: () => (event.shiftKey ? this.stepKeyframe(1) : this.step(1)),
    }[event.key];
    if (!act || !this.#lead || event.ctrlKey || event.metaKey || event.altKey) return false;
    act();
    return true;
  }

  #watchFrames() {
    const lead = this.#lead;
    if (lead === this.#watched || !lead.requestVideoFrameCallback) return; // `timeupdate` draws it, a few times a second
    this.#watched = lead;
    const onFrame = (_now, { mediaTime }) => {
      if (lead !== this.#lead || !lead.src) return;
      if (!lead.paused) this.#drawTime(mediaTime);
      for (const video of this.#videos.slice(1)) {
        if (Math.abs(video.currentTime - lead.currentTime) > DRIFT_S * 4) video.currentTime = lead.currentTime;
      }
      lead.requestVideoFrameCallback(onFrame);
    };
    lead.requestVideoFrameCallback(onFrame);
  }

  #drawTime(time) {
    const frame = Math.min(FRAMES - 1, Math.floor(time * FPS + 1e-3));
    this.readout.textContent = TEXT.player.readout(frame, frame / FPS, this.#keyframes.includes(frame));
    this.timeline.showTime(Math.min(frame / FPS, CLIP_S), { canSeek: true });
  }

  #drawPlaying() {
    const isPlaying = !this.#lead.paused;
    if (isPlaying) this.#touch();
    this.playButton.replaceChildren(icon(isPlaying ? "pause" : "play"));
    this.playButton.setAttribute("aria-label", isPlaying ? TEXT.player.pause : TEXT.player.play);
    this.playButton.title = this.playButton.getAttribute("aria-label");
  }

  #switch(name, label, act) {
    return button({ label, icon: name, class: "button button-icon", "aria-pressed": "false", onclick: act });
  }

  #setLoop(isLooping) {
    for (const video of this.#videos) video.loop = isLooping;
    this.loopButton.setAttribute("aria-pressed", String(isLooping));
  }

  #setMuted(isMuted) {
    this.#lead.muted = isMuted;
    this.muteButton.replaceChildren(icon(isMuted ? "mute" : "loud"));
    this.muteButton.setAttribute("aria-label", isMuted ? TEXT.player.unmute : TEXT.player.mute);
    this.muteButton.title = this.muteButton.getAttribute("aria-label");
  }
}
