// Times in the reader's own zone, and polls that pause: when the page is hidden, and when the server asks.
"use strict";
(() => {
  const stale = document.getElementById("stale");
  let seen = Date.now(), quietUntil = 0;

  const ago = (at) => {
    const minutes = Math.floor((Date.now() - at) / 60000), day = new Date();
    if (minutes < 60) return minutes < 1 ? "just now" : `${minutes} min ago`;
    if (at.toDateString() === day.toDateString()) return `${Math.floor(minutes / 60)} h ago`;
    day.setDate(day.getDate() - 1);
    const timeStyle = "short";
    if (at.toDateString() === day.toDateString()) return `yesterday ${at.toLocaleTimeString([], { timeStyle })}`;
    return at.toLocaleString([], { dateStyle: "medium", timeStyle });
  };
  const times = () => {
    for (const each of document.querySelectorAll("time[datetime]")) {
      const at = new Date(each.dateTime);
      if (isNaN(at)) continue;
      const text = "ago" in each.dataset ? ago(at) : at.toLocaleString();
      if (each.textContent !== text) each.textContent = text;
      each.title = at.toLocaleString();
    }
  };
  const say = (text, link) => {
    const shown = text + (link || "");
    if (stale.textContent !== shown) {
      stale.textContent = text;
      if (link) {
        const anchor = stale.appendChild(document.createElement("a"));
        anchor.href = location.href;
        anchor.textContent = link;
      }
    }
    stale.hidden = !text;
  };
  const failed = (response) => {
    const wait = Number(response && response.headers.get("Retry-After")) || 10;
    quietUntil = Date.now() + wait * 1000 * (1 + Math.random() / 4);
    if (response && response.status === 401) say("Your session has ended. ", "Sign in again");
    else say(`No news since ${new Date(seen).toLocaleTimeString()}. Trying again.`);
  };

  document.addEventListener("htmx:before:request", (event) => {
    const polls = event.detail.ctx.sourceEvent?.type === "every";
    if (polls && (document.hidden || Date.now() < quietUntil)) event.preventDefault();
  });
  document.addEventListener("htmx:before:response", (event) => {
    const response = event.detail.ctx.response;
    if (response.status >= 400) return failed(response);
    seen = Date.now();
    say("");
  });
  document.addEventListener("htmx:error", () => failed());
  document.addEventListener("htmx:after:swap", times);
  document.addEventListener("visibilitychange", () => {
    const live = document.querySelector("#live[hx-trigger]");
    if (!document.hidden && live) htmx.trigger(live, "every");
  });
  const zone = document.querySelector("[name=zone]");
  if (zone) zone.form.onsubmit = () => {
    const { from, to } = zone.form.elements;
    zone.value = -new Date(from.value || to.value || seen).getTimezoneOffset();
  };
  document.getElementById("zone").textContent = Intl.DateTimeFormat().resolvedOptions().timeZone;
  setInterval(times, 15000);
  times();
})();
