// Keeps the live page live: fetches it anew every interval and changes in place what differs, so that
// focus, selection, scroll, a screen reader's place and what the reader opened stay as they are. It
// rests while the tab is hidden or the reader says so, and tells when the agent no longer answers.
// Without it the page refreshes itself by a <meta> in <noscript>.
"use strict";

const opened = new Map(); // data-key -> whether it is open, where the reader wants another than the page.
const wanted = new Map(); // data-key -> whether the page wants it open.
let lostAt = null;
let timer = null;
let shown = null; // {age, at}: age of the shown reading, by the agent's own clock, at `at`.
let isPaused = false;

const byId = (id) => document.getElementById(id);
const firstSaid = byId("when").textContent;
const clock = (date) => date.toLocaleTimeString([], { hour12: false });

function intervalSeconds() {
  return Math.max(1, Number(byId("live").dataset.interval) || 5);
}

function words(seconds) {
  if (seconds < 120) return `${Math.max(0, Math.round(seconds))} s`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

// --- one page into another ------------------------------------------------------------------------

function name(node) {
  return node.nodeType === Node.ELEMENT_NODE ? node.id || node.dataset.key || "" : "";
}

function isAlike(old, next) {
  return old.nodeType === next.nodeType && old.nodeName === next.nodeName && name(old) === name(next);
}

function patch(old, next) {
  if (old.nodeType !== Node.ELEMENT_NODE) {
    if (old.data !== next.data) old.data = next.data;
    return;
  }
  for (const { name: attribute } of [...old.attributes]) {
    if (!next.hasAttribute(attribute)) old.removeAttribute(attribute);
  }
  for (const { name: attribute, value } of next.attributes) {
    if (old.getAttribute(attribute) !== value) old.setAttribute(attribute, value);
  }
  patchChildren(old, next);
}

function patchChildren(old, next) {
  const named = new Map();
  for (const child of old.children) if (name(child)) named.set(name(child), child);
  let place = old.firstChild;
  for (const child of [...next.childNodes]) {
    const match = name(child) ? named.get(name(child)) : place;
    if (!match || !isAlike(match, child)) {
      old.insertBefore(child, place);
      continue;
    }
    named.delete(name(child)); // A second of that name is another.
    if (match === place) place = place.nextSibling;
    else old.insertBefore(match, place);
    patch(match, child);
  }
  while (place) {
    const gone = place;
    place = place.nextSibling;
    gone.remove();
  }
}

function keepOpened(main) {
  for (const details of main.querySelectorAll("details[data-key]")) {
    const key = details.dataset.key;
    wanted.set(key, details.open);
    if (opened.has(key)) details.open = opened.get(key);
  }
}

function swap(text) {
  const next = new DOMParser().parseFromString(text, "text/html");
  const main = next.getElementById("live");
  if (!main) throw new Error("the answer is not the live page");
  if (next.querySelector("script").getAttribute("src") !== document.querySelector("script").getAttribute("src")) {
    location.reload(); // Another version of the agent answers.
    return;
  }
  keepOpened(main);
  const focused = document.activeElement;
  const before = byId("verdict") && byId("verdict").textContent;
  patch(byId("live"), main);
  // What was moved to another place has lost the focus.
  if (focused.isConnected && focused !== document.activeElement) focused.focus({ preventScroll: true });
  const after = byId("verdict").textContent;
  if (before !== after) byId("said").textContent = after;
  document.title = next.title;
  document.querySelector("link[rel=icon]").href = next.querySelector("link[rel=icon]").href;
}

// --- in time --------------------------------------------------------------------------------------

async function refresh() {
  try {
    const answer = await fetch(location.pathname, {
      cache: "no-store",
      signal: AbortSignal.timeout(1000 * Math.max(3, 2 * intervalSeconds())),
    });
    if (!answer.ok) throw new Error(`the agent answered ${answer.status}`);
    const text = await answer.text();
    if (isPaused) return;
    const age = (Date.parse(answer.headers.get("Date")) - Date.parse(answer.headers.get("Last-Modified"))) / 1000;
    shown = { age: Number.isFinite(age) ? Math.max(0, age) : 0, at: performance.now() };
    swap(text);
    lostAt = null;
  } catch {
    lostAt = lostAt || new Date();
  }
  say();
}

function say() {
  const lost = byId("lost");
  const age = shown ? shown.age + (performance.now() - shown.at) / 1000 : null;
  const isStale = age !== null && age > Number(byId("live").dataset.stale);
  let text = "";
  if (lostAt) text = `Connection lost since ${clock(lostAt)}. What is shown below is old; trying again.`;
  else if (isStale && !isPaused) text = `The agent answers, but its last reading is ${words(age)} old.`;
  if (isPaused) text = "";
  if (lost.textContent !== text) lost.textContent = text;
  lost.hidden = !text;
  document.body.classList.toggle("is-stale", Boolean(text) || isStale);
  document.body.classList.toggle("is-paused", isPaused);
  byId("when").textContent = (isPaused ? "paused, " : "") + (age === null ? firstSaid : `read ${words(age)} ago`);
}

function schedule(seconds) {
  clearTimeout(timer);
  if (document.hidden || isPaused) return;
  timer = setTimeout(async () => {
    await refresh();
    schedule(intervalSeconds());
  }, 1000 * seconds);
}

// --- what the reader does -------------------------------------------------------------------------

// By a click, a key, a link into it or a search of the page: all that opens it is the reader's wish.
document.addEventListener("toggle", ({ target: details }) => {
  const key = details.dataset && details.dataset.key;
  if (key === undefined) return;
  if (details.open === wanted.get(key)) opened.delete(key);
  else opened.set(key, details.open);
}, true);

// Not every browser opens what a link leads into.
document.addEventListener("click", (event) => {
  const link = event.target.closest && event.target.closest("a[href^='#']");
  const target = link && byId(link.getAttribute("href").slice(1));
  const details = target && target.closest("details");
  if (details) details.open = true;
});

byId("pause").addEventListener("click", () => {
  isPaused = !isPaused;
  byId("pause").setAttribute("aria-pressed", String(isPaused));
  lostAt = null;
  say();
  schedule(0);
});

document.addEventListener("visibilitychange", () => schedule(0));

byId("pause").hidden = false;
keepOpened(byId("live"));
setInterval(() => { if (!document.hidden) say(); }, 1000);
schedule(Math.min(1, intervalSeconds()));
