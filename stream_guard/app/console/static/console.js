"use strict";
// A link on another site led here: open the page anew, now with our cookie.
if (document.querySelector("[data-again]")) location.replace(location.href);

// Every five seconds the parts marked `data-live` are read anew; not while hidden, nor under somebody's hands.
const SECONDS = 5;

function busy(part) {
  const fields = [...part.querySelectorAll("input:not([type=hidden])")];
  return part.contains(document.activeElement) || fields.some((field) => field.value);
}

async function refresh() {
  if (document.hidden) return;
  const answer = await fetch(location.href, { headers: { "X-Live": "1" } });
  if (!answer.ok || answer.redirected) return;
  const fresh = new DOMParser().parseFromString(await answer.text(), "text/html");
  for (const part of document.querySelectorAll("[data-live]")) {
    const next = fresh.querySelector(`[data-live="${part.dataset.live}"]`);
    if (next && !busy(part) && next.innerHTML !== part.innerHTML) part.innerHTML = next.innerHTML;
  }
}

if (document.querySelector("[data-live]")) {
  setInterval(() => refresh().catch(() => {}), SECONDS * 1000);
  document.addEventListener("visibilitychange", () => refresh().catch(() => {}));
}
