"use strict";

const RETRY_MS = 1000;
const SILENT_S = 2; // a rate is measured over the last two seconds
const SERVER_SILENT_MS = 4000; // states come twice a second: without one for this time the server is gone
const LEVELS = { ok: "ok", warn: "warn", error: "error", stale: "warn" };
const MODES = { fused: "ok", visible_only: "warn", infrared_only: "warn", none: "error" };

const byId = (id) => document.getElementById(id);
const tiles = []; // one per stream: its elements
let socket = null;
let heardAt = 0;

function element(tag, className, parent) {
  const made = document.createElement(tag);
  made.className = className;
  parent.append(made);
  return made;
}

// Texts come from ROS: they are only written as text, never as markup.
function write(target, text) {
  if (target.textContent !== text) target.textContent = text;
}

function classify(target, base, level) {
  target.className = `${base} ${level}`;
}

function addTile(index) {
  const root = element("section", "stream waiting", byId("streams"));
  const button = element("button", "picture", root);
  button.type = "button";
  const canvas = element("canvas", "", button);
  canvas.width = 4;
  canvas.height = 3;
  const notice = element("span", "notice", button);
  const caption = element("div", "caption", root);
  const heading = element("h2", "", caption);
  const tile = {
    root, button, canvas, notice,
    name: heading.appendChild(document.createTextNode("")),
    key: element("kbd", "", heading),
    rate: null, numbers: element("p", "numbers", caption), own: element("p", "own", caption),
  };
  tile.rate = element("b", "", tile.numbers);
  tile.rest = tile.numbers.appendChild(document.createTextNode(""));
  button.addEventListener("click", () => enlarge(index));
  tiles.push(tile);
}

function enlarge(index) {
  tiles.forEach((tile, k) => {
    const large = k === index && !tile.root.classList.contains("large");
    tile.root.classList.toggle("large", large);
    tile.button.setAttribute("aria-pressed", String(large));
    if (large) tile.root.scrollIntoView({ block: "nearest" });
  });
}

function isSilent(stream) {
  return stream.rate_hz === null || stream.age_s > SILENT_S;
}

function numbersOf(stream) {
  const parts = [];
  if (stream.age_s !== null) parts.push(`${stream.age_s.toFixed(1)} s old`);
  if (stream.latency_ms !== null && !isSilent(stream)) parts.push(`latency ${stream.latency_ms.toFixed(0)} ms`);
  if (stream.kind) parts.push(stream.kind);
  return parts.join(" · ");
}

function showStream(tile, stream, index, own) {
  const shown = !tile.root.classList.contains("waiting");
  tile.name.data = stream.name;
  write(tile.key, index < 9 ? `${index + 1}` : "");
  tile.button.title = stream.topic;
  tile.button.setAttribute("aria-label", `${stream.name}: enlarge`);
  write(tile.notice, stream.problem || (shown ? "" : "waiting for the first image"));
  tile.root.classList.toggle("problem", Boolean(stream.problem));
  write(tile.rate, isSilent(stream) ? "no images" : `${stream.rate_hz.toFixed(1)} Hz`);
  const numbers = numbersOf(stream);
  tile.rest.data = numbers && ` · ${numbers}`;
  write(tile.own, own.map((line) => line.text).join("; "));
  classify(tile.own, "own", own.length ? LEVELS[own[0].level] : "ok");
}

function isNews(line) {
  return line.level !== "ok" || line.text !== "ok";
}

function showHealth(state, lines) {
  const health = byId("health");
  const news = lines.filter(isNews);
  const texts = news.map((line) => [`${line.name}: ${line.text}`, LEVELS[line.level]]);
  if (!state.health.length) {
    const why = state.mode ? "no diagnostics yet" : `no fusion node publishes ${state.mode_topic}`;
    texts.push([why, "unknown"]);
  } else if (!news.length) {
    texts.push(["health: ok", "ok"]);
  }
  while (health.childElementCount > texts.length) health.lastChild.remove();
  texts.forEach(([text, level], k) => {
    const line = health.children[k] || element("p", "", health);
    write(line, text);
    classify(line, "", level);
  });
}

function showState(state) {
  if (tiles.length > state.streams.length) {
    location.reload(); // this is another server, with fewer streams
    return;
  }
  while (tiles.length < state.streams.length) addTile(tiles.length);
  const topics = new Set(state.streams.map((stream) => stream.topic));
  state.streams.forEach((stream, index) => {
    const own = state.health.filter((line) => line.topic === stream.topic && isNews(line));
    showStream(tiles[index], stream, index, own);
  });
  showHealth(state, state.health.filter((line) => !topics.has(line.topic)));
  const mode = byId("mode");
  write(mode, state.mode || "no mode");
  classify(mode, "mode", MODES[state.mode] || "unknown");
}

async function showPicture(data) {
  const index = new Uint8Array(data, 0, 1)[0];
  const tile = tiles[index];
  try {
    const picture = await createImageBitmap(new Blob([new Uint8Array(data, 1)]));
    if (tile.canvas.width !== picture.width || tile.canvas.height !== picture.height) {
      tile.canvas.width = picture.width;
      tile.canvas.height = picture.height;
    }
    tile.canvas.getContext("2d").drawImage(picture, 0, 0);
    picture.close();
    tile.root.classList.remove("waiting");
  } finally {
    send({ shown: index }); // only now the server sends the next picture
  }
}

function send(message) {
  if (socket && socket.readyState === WebSocket.OPEN) socket.send(JSON.stringify(message));
}

function watch() {
  send({ watch: document.hidden ? [] : tiles.map((_, index) => index) });
}

function connected(yes) {
  byId("connection").hidden = yes;
  document.body.classList.toggle("lost", !yes);
}

function connect() {
  const own = new WebSocket(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/live`);
  own.binaryType = "arraybuffer";
  socket = own;
  heardAt = Date.now();
  let watching = false;
  own.onmessage = (event) => {
    if (own !== socket) return;
    heardAt = Date.now();
    if (typeof event.data !== "string") {
      showPicture(event.data);
      return;
    }
    showState(JSON.parse(event.data));
    if (!watching) {
      watching = true;
      watch();
      connected(true);
    }
  };
  own.onclose = () => {
    if (own !== socket) return;
    socket = null;
    connected(false);
    setTimeout(connect, RETRY_MS);
  };
}

function giveUpSilentServer() {
  if (socket && Date.now() - heardAt > SERVER_SILENT_MS) {
    const silent = socket;
    silent.onclose();
    silent.close();
  }
}

document.addEventListener("visibilitychange", watch);
document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey) return;
  const index = Number(event.key) - 1;
  if (Number.isInteger(index) && index >= 0 && index < tiles.length) enlarge(index);
  if (event.key === "Escape") enlarge(-1);
});
setInterval(giveUpSilentServer, 1000);
connect();
