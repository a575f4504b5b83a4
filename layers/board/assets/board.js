// Times in the reader's own zone, and polls that pause: when the page is hidden, and when the server asks.
"use strict";
(() => {
  const UNITS = [["d", 86400], ["h", 3600], ["min", 60]];
  const stale = document.getElementById("stale");
  let seen = Date.now(), quietUntil = 0;

  const ago = (at) => {
    const passed = (Date.now() - at) / 1000;
    if (passed > 60 * 86400) return at.toLocaleDateString();
    for (const [unit, size] of UNITS) if (passed >= size) return `${Math.floor(passed / size)} ${unit} ago`;
    return "just now";
  };
  const near = (at) => {
    const day = at.toDateString() === new Date().toDateString() ? "" : at.toLocaleDateString() + " ";
    return day + at.toLocaleTimeString();
  };
  const times = () => {
    for (const each of document.querySelectorAll("time[datetime]")) {
      const at = new Date(each.dateTime);
      if (isNaN(at)) continue;
      const text = "ago" in each.dataset ? ago(at) : near(at);
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
  setInterval(times, 15000);
  times();
})();
