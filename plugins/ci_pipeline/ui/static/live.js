// Keeps a page true while it is looked at: fetches it again and swaps its <main>. Without this script a reload does it.
const SECONDS = 5;
const button = document.getElementById("live-toggle");
const told = document.getElementById("live-status");
let tag = null;
let paused = false;
let timer = null;

function say(text) {
  if (told.textContent !== text) told.textContent = text;
}

// A path to an element that finds its successor in the new <main>.
function nameOf(element) {
  if (!element || element === document.body) return null;
  if (element.id) return `#${CSS.escape(element.id)}`;
  const href = element.getAttribute("href");
  return href ? `a[href="${CSS.escape(href)}"]` : null;
}

function keep(main) {
  return {
    focus: main.contains(document.activeElement) ? nameOf(document.activeElement) : null,
    open: new Map([...main.querySelectorAll("details[id]")].map((one) => [one.id, one.open])),
    scrolled: [...main.querySelectorAll(".scroll")].map((one) => one.scrollLeft),
    top: window.scrollY,
  };
}

function restore(main, kept) {
  for (const [id, open] of kept.open) {
    const found = document.getElementById(id);
    if (found) found.open = open;
  }
  main.querySelectorAll(".scroll").forEach((one, place) => { one.scrollLeft = kept.scrolled[place] ?? 0; });
  window.scrollTo({ top: kept.top, behavior: "instant" });
  if (kept.focus) main.querySelector(kept.focus)?.focus({ preventScroll: true });
}

// Whoever types, chooses or marks text must not have it taken away.
function isBusy(main) {
  const active = document.activeElement;
  const typing = main.contains(active) && active.closest("form") && active.matches("input, select, textarea");
  const selection = document.getSelection();
  return typing || (selection && !selection.isCollapsed && main.contains(selection.anchorNode));
}

async function look() {
  const answer = await fetch(location.href, {
    headers: { Accept: "text/html", ...(tag ? { "If-None-Match": tag } : {}) },
    cache: "no-store",
    signal: AbortSignal.timeout(20000),
  });
  if (answer.status === 401) { location.reload(); return; }
  if (answer.status === 304) { say(""); return; }
  if (!answer.ok && answer.status !== 404) { say(`Live updates fail (${answer.status}); trying again`); return; }
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html").querySelector("main");
  const main = document.querySelector("main");
  if (!fresh || isBusy(main)) return;
  tag = answer.headers.get("ETag");
  if (fresh.innerHTML !== main.innerHTML) {
    const kept = keep(main);
    fresh.querySelectorAll("details[id]").forEach((one) => { one.open = kept.open.get(one.id) ?? one.open; });
    main.replaceChildren(...fresh.childNodes);
    restore(main, kept);
  }
  say("");
}

async function tick() {
  if (!document.hidden && !paused) {
    try { await look(); } catch { say("Live updates fail: no answer; trying again"); }
  }
  timer = setTimeout(tick, SECONDS * 1000);
}

function show() {
  button.textContent = paused ? "Resume live updates" : "Pause live updates";
  button.setAttribute("aria-pressed", String(paused));
}

button.hidden = false;
button.addEventListener("click", () => { paused = !paused; show(); });
document.addEventListener("visibilitychange", () => {
  if (!document.hidden) { clearTimeout(timer); tick(); }
});
show();
timer = setTimeout(tick, SECONDS * 1000);
