// Starts the page's parts; each looks for its own elements and does nothing on pages without them.

import { start as startCharts } from "./chart.js";
import { start as startDialogs } from "./dialog.js";
import { start as startLive } from "./live.js";
import { start as startRows } from "./rows.js";
import { start as startTimes } from "./times.js";

// a lost session must not lose what somebody has typed: say so over the page, and leave the page alone
function watchSession() {
  const dialog = document.getElementById("session-ended");
  document.addEventListener("htmx:before:response", (event) => {
    if (event.detail.ctx.response.status !== 401) return;
    event.preventDefault();
    if (!dialog.open) dialog.showModal();
  });
  dialog.querySelector("[data-dismiss]").addEventListener("click", () => dialog.close());
}

// what somebody clicked and the hub did not answer; what a page asks for by itself only shows in the bar
function watchAnswers() {
  const dialog = document.getElementById("unanswered");
  document.addEventListener("htmx:error", (event) => {
    const asked = event.detail.ctx?.sourceEvent;
    if (!asked?.isTrusted || !["click", "submit"].includes(asked.type)) return;
    if (!dialog.open) dialog.showModal();
  });
  dialog.querySelector("[data-dismiss]").addEventListener("click", () => dialog.close());
}

function watchKeys() {
  document.addEventListener("keydown", (event) => {
    const typing = event.target.closest("input, select, textarea, dialog");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    const field = [...document.querySelectorAll('[data-key="/"]')].filter((input) => input.offsetParent).at(-1);
    if (field) {
      event.preventDefault();
      field.focus();
    }
  });
}

// a menu closes when something else is meant
function watchMenus() {
  document.addEventListener("click", (event) => {
    for (const menu of document.querySelectorAll("details.menu[open]")) {
      if (!menu.contains(event.target)) menu.open = false;
    }
  });
  document.addEventListener("keydown", (event) => {
    const menu = event.key === "Escape" && document.querySelector("details.menu[open]");
    if (menu) {
      menu.open = false;
      menu.querySelector("summary").focus();
    }
  });
}

startTimes();
startCharts();
startDialogs();
startRows();
startLive();
watchSession();
watchAnswers();
watchKeys();
watchMenus();
document.documentElement.dataset.ready = "yes";
