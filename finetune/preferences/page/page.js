"use strict";
// The page shows one question; it asks for the next one only when the answer is on the server's disk.
const MODES = {
  rate: {
    answers: [["1", "Good"], ["2", "Medium"], ["3", "Bad"]],
    keys: "space plays · 1 Good · 2 Medium · 3 Bad · u takes the last one back",
  },
  compare: {
    answers: [["1", "first", "A is better"], ["2", "second", "B is better"], ["3", "tie", "no difference"]],
    keys: "space plays the other one · 1 A is better · 2 B is better · 3 no difference · u takes the last one back",
  },
};
const $ = (id) => document.getElementById(id);
let question = null;
let busy = false;

async function ask(path, body) {
  if (busy) return;
  busy = true;
  document.querySelectorAll("button").forEach((button) => (button.disabled = true));
  try {
    const options = body === undefined ? {} : {
      method: "POST", headers: { "Content-Type": "application/json" }, body: JSON.stringify(body),
    };
    const response = await fetch(path, options);
    if (!response.ok) throw new Error(await response.text());
    show(await response.json());
    $("message").textContent = "";
  } catch (error) {
    $("message").textContent = `Not saved: ${error.message}. Is the command still running? Then try again.`;
  } finally {
    busy = false;
    document.querySelectorAll("button").forEach((button) => (button.disabled = false));
  }
}

function show(next) {
  question = next;
  const mode = MODES[next.mode];
  $("bar").max = next.total;
  $("bar").value = next.done;
  const lost = next.unplayable ? `, ${next.unplayable} cannot be played` : "";
  $("count").textContent = `${next.done} of ${next.total} done${lost}`;
  $("keys").textContent = mode.keys;
  $("prompt").textContent = next.item ? (next.prompt ? `“${next.prompt}”` : "") : "That was the last one. Thank you.";
  $("players").replaceChildren(...next.media.map(player));
  $("answers").replaceChildren(...(next.item ? mode.answers : []).map(button));
}

function player(source, index) {
  const figure = document.createElement("figure");
  const video = document.createElement("video");
  video.src = source;
  video.controls = true;
  video.preload = "auto";
  video.addEventListener("play", () => {
    document.querySelectorAll("video").forEach((other) => { if (other !== video) other.pause(); });
    document.querySelectorAll("figure").forEach((other) => other.classList.toggle("playing", other === figure));
  });
  if (question.media.length > 1) {
    const caption = document.createElement("figcaption");
    caption.textContent = "AB"[index];
    figure.append(caption);
  }
  figure.append(video);
  return figure;
}

function button([key, value, label]) {
  const made = document.createElement("button");
  made.textContent = `${key} · ${label ?? value}`;
  made.addEventListener("click", () => answer(value));
  return made;
}

const answer = (value) => { if (question?.item) ask("answer", { item: question.item, value }); };

function play() {
  const videos = [...document.querySelectorAll("video")];
  const current = videos.findIndex((video) => video.closest("figure").classList.contains("playing"));
  const video = videos[(current + 1) % videos.length];
  if (!video) return;
  if (videos.length === 1 && !video.paused) { video.pause(); return; }
  video.currentTime = 0;
  video.play();
}

document.addEventListener("keydown", (event) => {
  if (event.repeat || event.ctrlKey || event.altKey || event.metaKey) return;
  if (event.key === " ") { event.preventDefault(); play(); return; }
  if (event.key === "u") { ask("undo", {}); return; }
  const chosen = question && MODES[question.mode].answers.find(([key]) => key === event.key);
  if (chosen) answer(chosen[1]);
});

ask("next");
