// Says whether the page is live, and rests while nobody looks.
"use strict";

(() => {
  const light = document.getElementById("live");
  const PAUSE_MS = 60_000;
  let hiddenSince = null;

  const show = (state, text) => {
    light.classList.toggle("lost", state === "lost");
    light.classList.toggle("paused", state === "paused");
    if (light.lastElementChild.textContent !== text) light.lastElementChild.textContent = text;
  };

  document.addEventListener("visibilitychange", () => {
    hiddenSince = document.hidden ? Date.now() : null;
    if (!document.hidden) document.querySelectorAll("[hx-trigger]").forEach((part) => htmx.trigger(part, "every"));
  });

  document.addEventListener("htmx:before:request", (event) => {
    if (hiddenSince !== null && Date.now() - hiddenSince > PAUSE_MS) {
      show("paused", "Paused");
      event.preventDefault();
    }
  });

  document.addEventListener("htmx:after:request", (event) => {
    const status = event.detail.ctx.response.status;
    if (status < 400) show("live", "Live");
    else show("lost", status === 404 ? "Gone" : "Trouble");
  });

  document.addEventListener("htmx:error", () => show("lost", "No answer"));
})();
