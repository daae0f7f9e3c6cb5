// Keeps the live page live: fetches it anew every interval and swaps <main>. It keeps what the
// reader did (open details, focus, scroll), rests while the tab is hidden, and says so when the
// agent no longer answers. Without it the page refreshes itself by a <meta> in <noscript>.
"use strict";

const opened = new Map(); // What the reader opened or closed, by data-key; wins over the page.
let lostAt = null;
let timer = null;
let shown = null; // {age, at}: age of the shown reading, by the agent's own clock, at `at`.

const byId = (id) => document.getElementById(id);
const clock = (date) => date.toLocaleTimeString([], { hour12: false });

function intervalSeconds() {
  return Math.max(1, Number(byId("live").dataset.interval) || 5);
}

function words(seconds) {
  if (seconds < 120) return `${Math.max(0, Math.round(seconds))} s`;
  return seconds < 7200 ? `${Math.floor(seconds / 60)} min` : `${Math.floor(seconds / 3600)} h`;
}

function focused() {
  const element = document.activeElement;
  const details = element && element.closest && element.closest("details[data-key]");
  if (details && element.localName === "summary") return { key: details.dataset.key };
  if (element && element.localName === "a" && element.closest("main")) {
    return { href: element.getAttribute("href"), text: element.textContent };
  }
  return null;
}

function refocus(main, was) {
  if (!was) return;
  const candidates = was.key === undefined ? main.querySelectorAll("a") : main.querySelectorAll("details > summary");
  for (const element of candidates) {
    const same = was.key === undefined
      ? element.getAttribute("href") === was.href && element.textContent === was.text
      : element.parentElement.dataset.key === was.key;
    if (same) return element.focus({ preventScroll: true });
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
  for (const details of main.querySelectorAll("details[data-key]")) {
    if (opened.has(details.dataset.key)) details.open = opened.get(details.dataset.key);
  }
  const was = focused();
  const before = byId("verdict") && byId("verdict").textContent;
  const { scrollX, scrollY } = window;
  byId("live").replaceWith(document.adoptNode(main));
  window.scrollTo(scrollX, scrollY);
  refocus(main, was);
  const after = byId("verdict").textContent;
  if (before !== after) byId("said").textContent = after;
  document.title = next.title;
  document.querySelector("link[rel=icon]").href = next.querySelector("link[rel=icon]").href;
}

async function refresh() {
  try {
    const answer = await fetch(location.pathname, {
      cache: "no-store",
      signal: AbortSignal.timeout(1000 * Math.max(3, 2 * intervalSeconds())),
    });
    if (!answer.ok) throw new Error(`the agent answered ${answer.status}`);
    const text = await answer.text();
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
  else if (isStale) text = `The agent answers, but its last reading is ${words(age)} old.`;
  if (lost.textContent !== text) lost.textContent = text;
  lost.hidden = !text;
  document.body.classList.toggle("is-stale", Boolean(text));
  if (age !== null) byId("when").textContent = `read ${words(age)} ago`;
}

function schedule(seconds) {
  clearTimeout(timer);
  timer = setTimeout(async () => {
    await refresh();
    if (!document.hidden) schedule(intervalSeconds());
  }, 1000 * seconds);
}

document.addEventListener("click", (event) => {
  const summary = event.target.closest && event.target.closest("summary");
  const details = summary && summary.parentElement;
  // The click comes before the change, so the new state is the opposite of the present one.
  if (details && details.dataset.key !== undefined) opened.set(details.dataset.key, !details.open);
});

document.addEventListener("visibilitychange", () => {
  if (document.hidden) clearTimeout(timer);
  else schedule(0);
});

setInterval(() => { if (!document.hidden) say(); }, 1000);
schedule(Math.min(1, intervalSeconds()));
