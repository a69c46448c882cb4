// Times for people: relative ones that keep moving, absolute ones on hover, all against the hub's clock.

const root = document.documentElement;
const language = root.lang;
const ahead = Number(root.dataset.now) - Date.now();
const relative = new Intl.RelativeTimeFormat(language, { style: "short" });
const absolute = new Intl.DateTimeFormat(language, {
  year: "numeric",
  month: "2-digit",
  day: "2-digit",
  hour: "2-digit",
  minute: "2-digit",
  second: "2-digit",
  hourCycle: "h23",
});
const STEPS = [
  [60, "second", 1],
  [3600, "minute", 60],
  [86400, "hour", 3600],
  [Infinity, "day", 86400],
];

/** Now as the hub sees it, in ms. */
export function now() {
  return Date.now() + ahead;
}

/** "3 sec. ago" in the page's language. */
export function ago(t) {
  const seconds = Math.round((now() - t) / 1000);
  const [, unit, size] = STEPS.find(([limit]) => Math.abs(seconds) < limit);
  return relative.format(-Math.trunc(seconds / size), unit);
}

/** Date and time of day, to the second. */
export function at(t) {
  return absolute.format(t);
}

/** A number with the given decimals, in the page's language. */
export function number(value, decimals) {
  return value.toLocaleString(language, { minimumFractionDigits: decimals, maximumFractionDigits: decimals });
}

/** Write the present age into every `<time data-ago>` below a node. */
export function refresh(node = document) {
  for (const time of node.querySelectorAll("time[data-ago]")) {
    const text = ago(Number(time.dataset.ago));
    if (time.textContent !== text) time.textContent = text;
    if (!time.dataset.titled) {
      time.title = at(Number(time.dataset.ago));
      time.dataset.titled = "yes";
    }
  }
}

/** Keep all ages of the page moving. */
export function start() {
  refresh();
  setInterval(() => document.hidden || refresh(), 1000);
  document.addEventListener("htmx:after:swap", () => refresh());
}
