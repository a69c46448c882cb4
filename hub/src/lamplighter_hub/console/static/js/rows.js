// Values and rows patched in place: they change where they are and never jump under the pointer.

import { number, refresh } from "./times.js";

const EVERY_MS = 1000;
const HEARD_MS = 10_000;

function startRows() {
  let asked = false;
  const ask = async () => {
    asked = false;
    const table = document.querySelector("[data-live-rows]");
    const rows = [...(table?.querySelectorAll("tr[data-device]") ?? [])];
    if (!rows.length || document.hidden) return;
    const query = new URLSearchParams(rows.map((row) => ["device", row.dataset.device]));
    const answer = await fetch(`${table.dataset.liveRows}?${query}`, { headers: { "HX-Request": "true" } });
    if (!answer.ok) return;
    const fresh = new DOMParser().parseFromString(`<table>${await answer.text()}</table>`, "text/html");
    for (const row of fresh.querySelectorAll("tr[data-device]")) patch(document.getElementById(row.id), row);
    refresh(table);
  };
  const soon = () => {
    if (!asked) setTimeout(ask, EVERY_MS);
    asked = true;
  };
  document.body.addEventListener("hub:presence", soon);
  document.body.addEventListener("hub:resync", soon);
  setInterval(soon, HEARD_MS);
}

function patch(row, fresh) {
  [...(row?.cells ?? [])].forEach((cell, index) => {
    const now = fresh.cells[index];
    if (now && cell.innerHTML !== now.innerHTML && !cell.contains(document.activeElement)) {
      cell.innerHTML = now.innerHTML;
    }
  });
}

function onReadings({ device, metrics }) {
  if (device !== document.querySelector("[data-device]")?.dataset.device) return;
  for (const place of document.querySelectorAll("[data-latest]")) {
    const now = metrics[place.dataset.latest];
    if (typeof now?.value === "number") place.textContent = number(now.value, Number(place.dataset.decimals));
    if (typeof now?.value === "boolean") place.textContent = now.value ? place.dataset.on : place.dataset.off;
  }
}

/** Wire what changes in place. */
export function start() {
  if (document.querySelector("#list")) startRows();
  document.body.addEventListener("hub:readings", (event) => onReadings(event.detail));
  const news = document.querySelector("[data-new-events]");
  const here = document.querySelector("[data-device]")?.dataset.device;
  if (news) {
    document.body.addEventListener("hub:event", (event) => {
      if (event.detail.device === here) news.hidden = false;
    });
  }
}
