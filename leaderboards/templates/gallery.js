"use strict";
// One video at a time; the others of its row are made ready, so that a switch is heard at once.
const body = document.body;
const clips = [...document.querySelectorAll("section.clip")];
const cellsOf = (clip) => [...clip.querySelectorAll(".cell")];
const playable = (cell) => !cell.classList.contains("none");
const pressed = (id) => document.getElementById(id).getAttribute("aria-pressed") === "true";

let current = null; // the cell that plays or last played
let ready = null; // the clip whose videos are loaded
let position = 0; // seconds, in the current clip

const videoOf = (cell) => cell.querySelector("video");

function makeVideo(cell) {
  if (videoOf(cell)) return videoOf(cell);
  const video = document.createElement("video");
  video.playsInline = true;
  video.preload = "auto";
  video.hidden = true;
  video.src = cell.querySelector(".stage").dataset.video;
  video.addEventListener("timeupdate", () => follow(cell));
  video.addEventListener("ended", () => stop(cell));
  cell.querySelector(".stage").insertBefore(video, cell.querySelector(".glyph"));
  return video;
}

function makeReady(clip) {
  if (ready === clip) return;
  for (const video of ready ? ready.querySelectorAll("video") : []) {
    video.pause();
    video.removeAttribute("src");
    video.load();
    video.remove();
  }
  ready = clip;
  cellsOf(clip).filter(playable).forEach(makeVideo);
}

function seconds(cell) {
  return Number(cell.closest(".clip").dataset.seconds);
}

function follow(cell) {
  if (cell !== current) return;
  const video = videoOf(cell);
  if (video.currentTime >= seconds(cell)) return stop(cell);
  position = video.currentTime;
  mark(cell);
}

function mark(cell) {
  cell.querySelector(".head").style.left = `${Math.min(100, (100 * position) / seconds(cell))}%`;
}

function stop(cell) {
  const video = videoOf(cell);
  if (video) video.pause();
  cell.classList.remove("playing");
  if (cell === current) {
    position = 0;
    mark(cell);
  }
}

function choose(cell) {
  const clip = cell.closest(".clip");
  for (const one of document.querySelectorAll(".current")) one.classList.remove("current");
  clip.classList.add("current");
  cell.classList.add("current");
  cell.querySelector("button.stage").focus({ preventScroll: true });
  current = cell;
}

async function play(cell, from) {
  const before = current;
  if (before) pause(before);
  makeReady(cell.closest(".clip"));
  choose(cell);
  position = from;
  const video = makeVideo(cell);
  for (const other of cellsOf(ready)) {
    const one = videoOf(other);
    if (one) one.hidden = other !== cell;
  }
  if (video.readyState < 1) {
    await new Promise((done) => {
      video.addEventListener("loadedmetadata", done, { once: true });
      video.addEventListener("error", done, { once: true });
    });
  }
  if (cell !== current) return;
  video.currentTime = from;
  cell.classList.add("playing");
  mark(cell);
  try {
    await video.play();
  } catch {
    cell.classList.remove("playing");
  }
}

function pause(cell) {
  const video = videoOf(cell);
  if (video) {
    if (cell === current) position = video.currentTime;
    video.pause();
  }
  cell.classList.remove("playing");
}

function toggle(cell) {
  if (cell === current && cell.classList.contains("playing")) return pause(cell);
  if (cell === current) return play(cell, position);
  const sameClip = current && current.closest(".clip") === cell.closest(".clip");
  if (!sameClip || !pressed("switch-keep")) return play(cell, 0);
  return play(cell, current.classList.contains("playing") ? videoOf(current).currentTime : position);
}

function step(by) {
  const clip = current ? current.closest(".clip") : clips[0];
  const cells = cellsOf(clip).filter(playable);
  if (!cells.length) return;
  const at = current ? cells.indexOf(current) : -1;
  const next = cells[(at + by + cells.length) % cells.length];
  next.scrollIntoView({ block: "nearest", inline: "nearest" });
  toggle(next);
}

function stepClip(by) {
  const at = current ? clips.indexOf(current.closest(".clip")) : -1;
  const clip = clips[Math.max(0, Math.min(clips.length - 1, at + by))];
  if (current && clip === current.closest(".clip")) return;
  const cells = cellsOf(clip);
  const place = current ? cellsOf(current.closest(".clip")).indexOf(current) : 0;
  const cell = playable(cells[place]) ? cells[place] : cells.find(playable);
  clip.scrollIntoView({ block: "start" });
  if (!cell) return;
  const playing = current && current.classList.contains("playing");
  if (playing) play(cell, 0);
  else {
    choose(cell);
    position = 0;
  }
}

function shuffled(items) {
  const order = [...items];
  for (let i = order.length - 1; i > 0; i--) {
    const j = Math.floor(Math.random() * (i + 1));
    [order[i], order[j]] = [order[j], order[i]];
  }
  return order;
}

function setBlind(on) {
  if (current) pause(current);
  body.classList.toggle("blind", on);
  document.querySelector(".scores-of-all")?.toggleAttribute("hidden", on);
  for (const clip of clips) {
    clip.classList.remove("revealed");
    clip.querySelector(".reveal").hidden = !on;
    const strip = clip.querySelector(".strip");
    const cells = cellsOf(clip).sort((a, b) => a.dataset.place - b.dataset.place);
    (on ? shuffled(cells) : cells).forEach((cell, i) => {
      const letter = String.fromCharCode(65 + (i % 26));
      cell.querySelector(".letter").textContent = letter;
      cell.querySelector(".name").title = on ? "" : cell.querySelector(".name").textContent;
      const stage = cell.querySelector("button.stage");
      if (stage) {
        const shown = on ? letter : stage.dataset.label;
        stage.setAttribute("aria-label", `Play ${shown} on ${clip.getAttribute("aria-label")}`);
      }
      strip.append(cell);
    });
  }
}

function press(id) {
  const button = document.getElementById(id);
  const on = button.getAttribute("aria-pressed") !== "true";
  button.setAttribute("aria-pressed", String(on));
  if (id === "switch-blind") setBlind(on);
  if (id === "switch-scores") body.classList.toggle("hide-scores", !on);
}

document.addEventListener("click", (event) => {
  const target = event.target;
  const stage = target.closest("button.stage");
  if (stage) return toggle(stage.closest(".cell"));
  const sound = target.closest(".sound");
  if (sound) {
    const cell = sound.closest(".cell");
    const box = sound.getBoundingClientRect();
    return play(cell, (seconds(cell) * (event.clientX - box.left)) / box.width);
  }
  if (target.closest(".reveal")) return target.closest(".clip").classList.add("revealed");
  const pressedButton = target.closest(".bar button");
  if (pressedButton) press(pressedButton.id);
});

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.target.closest("input, select, textarea")) return;
  const onButton = event.target.closest("button, summary");
  const actions = {
    " ": () => (current ? toggle(current) : step(1)),
    ArrowRight: () => step(1),
    ArrowLeft: () => step(-1),
    j: () => stepClip(1),
    k: () => stepClip(-1),
    r: () => current && play(current, 0),
    b: () => press("switch-blind"),
    s: () => press("switch-scores"),
  };
  if (event.key === " " && onButton) return; // the button acts by itself
  if (/^[1-9]$/.test(event.key)) {
    const cell = cellsOf(current ? current.closest(".clip") : clips[0])[Number(event.key) - 1];
    if (cell && playable(cell)) toggle(cell);
  } else if (actions[event.key]) {
    event.preventDefault();
    actions[event.key]();
  }
});
