// Sends the chosen picture to POST /api/words and shows the answer. No library, nothing from another server.
"use strict";

const $ = (id) => document.getElementById(id);
const SVG = "http://www.w3.org/2000/svg";
const MEGABYTE = 1e6;
const maxMb = Number(document.body.dataset.maxMb);

let newest = null; // the AbortController of the latest picture: answers to earlier ones are dropped

async function read(files) {
  const file = files[0];
  newest?.abort();
  const request = newest = new AbortController();
  reset();
  if (!file) return fail("That was not a file: drag a picture from a folder, or choose one.");
  if (file.size > maxMb * MEGABYTE) {
    const size = (file.size / MEGABYTE).toFixed(1);
    return fail(`${file.name}: ${size} MB, and this page takes ${maxMb} MB at most. Choose a smaller picture.`);
  }
  $("status").textContent = `Reading ${file.name} ...`;
  $("status").classList.add("busy");
  let shown;
  try {
    const answer = await send(file, request.signal);
    shown = () => show(file.name, answer);
  } catch (error) {
    shown = () => fail(error.message);
  }
  if (request !== newest) return;
  $("status").classList.remove("busy");
  shown();
  if (files.length > 1) $("status").textContent += " Only the first of the files was taken.";
}

async function send(file, signal) {
  let body, response, answer;
  try {
    body = await file.arrayBuffer();
  } catch {
    throw new Error(`${file.name}: cannot be opened. Drop a picture file, not a folder.`);
  }
  try {
    const address = `/api/words?name=${encodeURIComponent(file.name)}`;
    response = await fetch(address, { method: "POST", body, signal });
    answer = await response.json();
  } catch {
    throw new Error("No answer: is fasttcm web still running?");
  }
  if (!response.ok) throw new Error(answer.error);
  return answer;
}

function reset() {
  for (const id of ["status", "error"]) $(id).textContent = "";
  $("status").classList.remove("busy");
  $("words").hidden = $("figure").hidden = true;
  $("empty").hidden = false;
  $("copy").textContent = "Copy the text";
  $("file").value = ""; // so that choosing the same file again counts as a choice
}

function fail(message) {
  $("status").textContent = "";
  $("error").textContent = message;
}

function show(name, answer) {
  const found = JSON.parse(answer.json);
  const count = found.words.length;
  const words = count === 1 ? "1 word" : `${count || "no"} words`;
  $("status").textContent = `${name}: ${words} in ${answer.seconds.toFixed(1)} s.`;
  $("list-title").textContent = count === 1 ? "1 word" : `${count} words`;

  $("drawn").src = answer.picture;
  $("drawn").alt = `${name} with ${words} outlined`;
  $("empty").hidden = true;
  $("figure").hidden = false;

  const lines = answer.lines.map((line) => line.map((index) => found.words[index].text).filter(Boolean).join(" "));
  $("text").value = lines.filter(Boolean).join("\n");
  $("text").rows = Math.min(lines.length, 10);
  const unread = !$("text").value; // by a detector
  $("reading").hidden = $("copy").hidden = unread;
  $("unread").hidden = !unread;

  $("outlines").setAttribute("viewBox", `0 0 ${found.width} ${found.height}`);
  $("outlines").replaceChildren();
  $("rows").replaceChildren();
  for (const index of answer.lines.flat()) addWord(found.words[index]);

  URL.revokeObjectURL($("download").href);
  $("download").href = URL.createObjectURL(new Blob([answer.json], { type: "application/json" }));
  $("download").download = `${found.id}.json`;
  $("words").hidden = count === 0;
}

function addWord(word) {
  const row = $("rows").insertRow();
  const percent = (score) => `${Math.round(100 * score)} %`;
  for (const text of word.text ? [word.text, percent(word.score), percent(word.text_score)] : ["-", percent(word.score), "-"]) {
    row.insertCell().textContent = text;
  }
  row.tabIndex = 0;
  const outline = document.createElementNS(SVG, "polygon");
  outline.setAttribute("points", word.points.join(" "));
  $("outlines").append(outline);
  const light = (on) => () => [row, outline].forEach((element) => element.classList.toggle("lit", on));
  for (const element of [row, outline]) {
    element.addEventListener("mouseenter", light(true));
    element.addEventListener("mouseleave", light(false));
  }
  row.addEventListener("focus", light(true));
  row.addEventListener("blur", light(false));
}

async function copy() {
  try {
    await navigator.clipboard.writeText($("text").value);
  } catch { // browsers have a clipboard for https and this very machine only; elsewhere the old way works
    $("text").select();
    document.execCommand("copy");
  }
  $("copy").textContent = "Copied";
}

$("file").addEventListener("change", (event) => event.target.files.length && read([...event.target.files]));
$("copy").addEventListener("click", copy);
document.addEventListener("paste", (event) => event.clipboardData.files.length && read([...event.clipboardData.files]));
// The whole page takes drops: a picture that misses the zone would otherwise replace the page.
document.addEventListener("dragover", (event) => { event.preventDefault(); $("drop").classList.add("over"); });
document.addEventListener("dragleave", (event) => event.relatedTarget || $("drop").classList.remove("over"));
document.addEventListener("drop", (event) => {
  event.preventDefault();
  $("drop").classList.remove("over");
  read([...event.dataTransfer.files]);
});
