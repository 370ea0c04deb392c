/** The page: takes images and shows answers. Text from files, such as class names, is never treated as markup. */

import { Engine, ENGINES } from "./engine.js";
import { imageData } from "./preprocessing.js";

const TOP = 5;
const $ = (id) => document.getElementById(id);
const engines = new Map();

/** @type {object} the content of site.json. */
let site;
/** The images on the page, newest first: {name, blob, item, answers: Map of variant → answer}. */
const pictures = [];

start().catch((error) => trouble(error.message));

async function start() {
  if (typeof WebAssembly !== "object") {
    throw new Error("This browser does not support WebAssembly, which the network needs.");
  }
  site = JSON.parse(await text("site.json"));
  describe();
  listen();
  await useEngine();
}

async function text(path) {
  const response = await fetch(path);
  if (!response.ok) {
    throw new Error(`${path} cannot be loaded: the server answered ${response.status}.`);
  }
  return response.text();
}

/** Fill in the static parts: the network's name, its files and their figures. */
function describe() {
  document.title = $("name").textContent = site.name;
  $("about").textContent =
    `${site.labels.length} classes. Pictures stay on this device: the network runs in the browser.` +
    (site.not_sure ? ` Below ${percent(site.not_sure)} it says that it is not sure.` : "");
  for (const [variant, file] of Object.entries(site.variants)) {
    $("variant").add(new Option(`${variant}, ${file.mb.toFixed(2)} MB`, variant));
    const row = $("files").insertRow();
    row.dataset.variant = variant;
    const figures = [file.mb.toFixed(2), percent(file.top1), percent(file.agreement), file.latency_ms.toFixed(1), "–"];
    for (const cell of [variant, ...figures, file.runtime ?? "–"]) {
      row.insertCell().textContent = cell;
    }
    const note = document.createElement("li");
    note.textContent = `${variant} needs ${file.needs}${file.half_precision ? `; ${file.half_precision}` : "."}`;
    $("notes").append(note);
  }
  for (const [name, title] of Object.entries(ENGINES)) {
    $("engine").add(new Option(title, name));
  }
  const keras = site.top1 === null ? "" : ` Keras itself: top-1 ${percent(site.top1)}.`;
  $("measured").textContent = site.pictures
    ? `Top-1 and agreement were measured at export, on ${site.pictures} held-out pictures.${keras}`
    : "There were no held-out pictures to measure accuracy on at export.";
  mark();
}

function listen() {
  $("choose").addEventListener("change", ({ target }) => {
    take(target.files);
    target.value = ""; // so that the same image can be chosen again
  });
  $("sample").addEventListener("click", async () => {
    const response = await fetch(site.sample);
    response.ok
      ? take([new File([await response.blob()], "sample.png")], true)
      : trouble(`${site.sample} cannot be loaded.`);
  });
  document.addEventListener("paste", ({ clipboardData }) => take(clipboardData.files));
  document.addEventListener("dragover", (event) => {
    event.preventDefault();
    $("drop").classList.add("over");
  });
  document.addEventListener("dragleave", () => $("drop").classList.remove("over"));
  document.addEventListener("drop", (event) => {
    event.preventDefault();
    $("drop").classList.remove("over");
    take(event.dataTransfer.files);
  });
  $("variant").addEventListener("change", classifyAgain);
  $("engine").addEventListener("change", useEngine);
  $("compare").addEventListener("click", compare);
  $("camera").addEventListener("click", openCamera);
  $("shoot").addEventListener("click", shoot);
  $("stop").addEventListener("click", closeCamera);
}

/** Start the chosen engine if it is not running, show its state, and classify the images with it. */
async function useEngine() {
  const name = $("engine").value;
  if (!engines.has(name)) {
    engines.set(name, new Engine(name, site));
  }
  $("state").textContent = `Loading ${ENGINES[name]} …`;
  try {
    const { backend, threads } = await engines.get(name).ready;
    if (name !== $("engine").value) {
      return;
    }
    $("state").textContent = `${backend}, ${threads === 1 ? "one thread" : `${threads} threads`}`;
    pictures.forEach((picture) => picture.answers.clear());
    for (const row of $("files").rows) {
      row.cells[5].textContent = "–";
    }
    await classifyAgain();
  } catch (error) {
    engines.delete(name); // to allow another try
    $("state").textContent = `${ENGINES[name]} cannot run here: ${error.message}`;
  }
}

/**
 * Put images on the page and classify them one by one.
 * @param {Iterable<File>} files
 * @param {boolean} fitted true if they already have the network's input size, and must not be cropped.
 */
async function take(files, fitted = false) {
  // Read the list now, since the browser empties it after the event.
  const taken = Array.from(files, (blob) => {
    const item = $("result").content.cloneNode(true).firstElementChild;
    item.querySelector("h3").textContent = blob.name;
    item.querySelector(".figures").textContent = "Waiting …";
    $("results").prepend(item);
    return { name: blob.name, blob, fitted, item, answers: new Map() };
  });
  pictures.unshift(...[...taken].reverse());
  $("none").hidden = pictures.length > 0;
  for (const picture of taken) {
    await classify(picture, $("variant").value);
  }
}

async function classifyAgain() {
  mark();
  for (const picture of [...pictures]) {
    await classify(picture, $("variant").value);
  }
}

/** Run every file on the newest image and list the answers. */
async function compare() {
  if (!pictures.length) {
    trouble("Choose a picture first.");
    return;
  }
  $("compare").disabled = true;
  for (const variant of Object.keys(site.variants)) {
    $("variant").value = variant;
    mark();
    await classify(pictures[0], variant);
  }
  $("compare").disabled = false;
}

/** Classify an image with the chosen engine, and show the answer or the error beside it. */
async function classify(picture, variant) {
  trouble("");
  const engine = $("engine").value;
  try {
    const answer = await engines.get(engine).classify(picture, variant);
    if (engine === $("engine").value) {
      picture.answers.set(variant, { ...answer, best: best(answer.probabilities) });
      show(picture, variant);
    }
  } catch (error) {
    const figures = picture.item.querySelector(".figures");
    figures.textContent = error.message;
    figures.classList.add("error");
    picture.item.querySelector(".unsure").hidden = true;
    picture.item.querySelector(".bars").replaceChildren();
    announce(`${picture.name}: ${error.message}`);
  }
}

function show(picture, variant) {
  const { item, answers } = picture;
  const answer = answers.get(variant);
  draw(item.querySelector("canvas"), answer.pixels, `Network input for ${picture.name}`);
  const figures = item.querySelector(".figures");
  figures.classList.remove("error");
  figures.textContent = `${variant}: ${answer.milliseconds.toFixed(1)} ms, median of ${answer.runs} on this device`;
  const { label, probability } = answer.best[0];
  item.querySelector(".unsure").hidden = sure(probability);
  item.querySelector(".bars").replaceChildren(...answer.best.map(bar));
  const table = item.querySelector(".others");
  table.hidden = answers.size < 2;
  table.tBodies[0].replaceChildren();
  for (const [
    name,
    {
      best: [{ label, probability }],
      milliseconds,
    },
  ] of answers) {
    const row = table.tBodies[0].insertRow();
    for (const cell of [name, `${doubt(probability)}${label} ${percent(probability)}`, milliseconds.toFixed(1)]) {
      row.insertCell().textContent = cell;
    }
  }
  row(variant).cells[5].textContent = answer.milliseconds.toFixed(1);
  announce(`${picture.name}: ${doubt(probability)}${label}, ${percent(probability)}`);
}

/** Return whether the network may answer: its most likely class must reach the threshold of the export, if any. */
function sure(probability) {
  return !site.not_sure || probability >= site.not_sure;
}

function doubt(probability) {
  return sure(probability) ? "" : "not sure, perhaps ";
}

/** Return the most likely classes; ties keep their order. */
function best(probabilities) {
  return Array.from(probabilities, (probability, index) => ({ label: site.labels[index], probability, index }))
    .sort((a, b) => b.probability - a.probability || a.index - b.index)
    .slice(0, TOP);
}

function bar({ label, probability }) {
  const line = document.createElement("li");
  const [name, meter, value] = ["span", "meter", "output"].map((tag) => document.createElement(tag));
  name.textContent = name.title = label;
  meter.value = probability;
  meter.setAttribute("aria-label", label);
  value.textContent = percent(probability);
  line.append(name, meter, value);
  return line;
}

/** Draw the network's input, given as RGB bytes. */
function draw(canvas, pixels, description) {
  const image = imageData(pixels, Object.values(site.variants)[0].preprocessing.size);
  Object.assign(canvas, { width: image.width, height: image.height, ariaLabel: description });
  canvas.getContext("2d").putImageData(image, 0, 0);
}

async function openCamera() {
  try {
    $("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: { facingMode: "environment" } });
    await $("video").play();
    $("viewfinder").hidden = false;
    $("shoot").focus();
  } catch (error) {
    trouble(`The camera cannot be used: ${error.message}`);
  }
}

function shoot() {
  const video = $("video");
  const canvas = new OffscreenCanvas(video.videoWidth, video.videoHeight);
  canvas.getContext("2d").drawImage(video, 0, 0);
  canvas.convertToBlob().then((blob) => take([new File([blob], "camera.png")]));
}

function closeCamera() {
  $("video")
    .srcObject?.getTracks()
    .forEach((track) => track.stop());
  $("video").srcObject = null;
  $("viewfinder").hidden = true;
  $("camera").focus();
}

/** Mark the row of the chosen file. */
function mark() {
  for (const each of $("files").rows) {
    each.classList.toggle("chosen", each.dataset.variant === $("variant").value);
  }
}

function row(variant) {
  return [...$("files").rows].find((each) => each.dataset.variant === variant);
}

function announce(message) {
  $("announcement").textContent = message;
}

function trouble(message) {
  $("trouble").textContent = message;
  $("trouble").hidden = !message;
}

function percent(share) {
  return share === null ? "–" : `${(100 * share).toFixed(1)} %`;
}
