// Charts: one uPlot for each [data-chart], fed by the series API, then by live readings. A gap stays a gap.

import { at, now, number } from "./times.js";

const language = document.documentElement.lang;
const SECOND = 1000;
const RATE_MS = 10_000;
const NAMED = 3;
const formats = new Map();

function clock(options) {
  const key = JSON.stringify(options);
  if (!formats.has(key)) formats.set(key, new Intl.DateTimeFormat(language, { ...options, hourCycle: "h23" }));
  return formats.get(key);
}

function tickTexts(_plot, splits, _axis, _space, step) {
  const time = { hour: "2-digit", minute: "2-digit" };
  const day = { month: "2-digit", day: "2-digit" };
  const format = clock(step < 60 ? { ...time, second: "2-digit" } : step < 86400 ? time : day);
  return splits.map((split) => format.format(split * SECOND));
}

function colour(name) {
  return getComputedStyle(document.documentElement).getPropertyValue(name).trim();
}

/** Rows [t, min, mean, max] with an empty row wherever two are further apart than a gap allows. */
export function withGaps(rows, gap) {
  const found = [];
  for (const row of rows) {
    const before = found.at(-1);
    if (before && row[0] - before[0] > gap) found.push([before[0] + 1, null, null, null]);
    found.push(row);
  }
  return found;
}

/** Rows that last for a width, as steps: each has a second row where it ends, and an empty one where none follows. */
export function asSteps(rows, width) {
  const found = [];
  rows.forEach((row, index) => {
    found.push(row);
    if (rows[index + 1]?.[0] === row[0] + width) return;
    found.push([row[0] + width, ...row.slice(1)], [row[0] + width + 1, null, null, null]);
  });
  return found;
}

class Chart {
  constructor(element) {
    this.element = element;
    this.options = element.dataset;
    this.span = Number(this.options.span);
    this.end = Number(this.options.to) || null;
    this.decimals = Number(this.options.decimals ?? 0);
    this.rows = [];
    this.flags = [];
    this.ticks = [];
    this.width = 0;
    this.whole = false;
    this.plot = null;
    this.now = this.options.rates ? element.parentElement.querySelector(".now > span") : null;
    this.flagged = element.parentElement.querySelector("[data-flagged]");
    this.lack = element.parentElement.querySelector("[data-lacking]");
    this.left = element.parentElement.querySelector("[data-coarser]");
    this.lacking = [];
    this.tip = element.querySelector(".plot-tip");
    this.empty = element.querySelector(".plot-empty");
    new ResizeObserver(() => this.resize()).observe(element);
  }

  async load() {
    const end = this.end ?? now();
    const points = Math.max(60, Math.min(1000, Math.round(this.element.clientWidth / 2)));
    const url = `${this.options.url}&from=${Math.round(end - this.span)}&to=${Math.round(end)}&points=${points}`;
    const answer = await fetch(url, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`${answer.status}`);
    const series = await answer.json();
    this.width = series.reduced ? series.width_ms : 0;
    this.whole = series.coarser;
    const buckets = series.buckets.filter((bucket) => bucket.count > 0 && bucket.mean !== null);
    this.rows = buckets.map((bucket) => [bucket.t, bucket.min, bucket.mean, bucket.max, bucket.count]);
    const flagged = series.buckets.filter((bucket) => bucket.quality > 0);
    this.flags = flagged.map((bucket) => [bucket.t, bucket.quality, bucket.flag]);
    this.lacking = series.incomplete;
    this.tellOf(series);
    this.draw();
  }

  async loadRates() {
    const answer = await fetch(this.options.rates, { headers: { Accept: "application/json" } });
    if (!answer.ok) throw new Error(`${answer.status}`);
    this.rows = (await answer.json()).map(([t, rate]) => [t, rate, rate, rate, 1]);
    this.draw();
  }

  // a point that came live: into the last bucket when the chart is reduced, else behind it
  add(t, value) {
    if (this.end || typeof value === "string" || value === null) return;
    const number = Number(value);
    const last = this.rows.at(-1);
    if (last && t < last[0]) return;
    if (last && this.width && t < last[0] + this.width) {
      const [start, min, mean, max, count] = last;
      const sum = mean * count + number;
      this.rows[this.rows.length - 1] = [
        start,
        Math.min(min, number),
        sum / (count + 1),
        Math.max(max, number),
        count + 1,
      ];
    } else {
      const start = this.width ? Math.floor(t / this.width) * this.width : t;
      this.rows.push([start, number, number, number, 1]);
    }
    while (this.rows.length > 5000) this.rows.shift();
  }

  // a flagged value is in no figure: it has a mark on the time axis
  flag(t, quality) {
    if (this.end) return;
    this.flags.push([t, 1, quality]);
    while (this.flags.length > 5000) this.flags.shift();
  }

  begin() {
    return (this.end ?? now()) - this.span;
  }

  // what is shown: the range, and all of the buckets that cover it where nothing finer is left; never a time to come
  window() {
    const [begin, end] = [this.begin(), this.end ?? now()];
    if (!this.whole || !this.rows.length) return [begin / SECOND, end / SECOND];
    const last = Math.min(this.rows.at(-1)[0] + this.width, now());
    return [Math.min(begin, this.rows[0][0]) / SECOND, Math.max(end, last) / SECOND];
  }

  // twice the usual distance is still no gap; an irregular device is judged by its own rhythm
  gap() {
    const steps = this.rows.slice(1).map((row, index) => row[0] - this.rows[index][0]);
    const usual = steps.sort((a, b) => a - b)[Math.floor(steps.length / 2)] ?? 0;
    return 2.5 * Math.max(usual, this.width, SECOND);
  }

  columns() {
    const from = this.begin();
    while (this.rows.length && !this.end && this.rows[0][0] + this.width < from) this.rows.shift();
    this.flags = this.flags.filter(([t]) => this.end || t + this.width >= from);
    const rows = this.whole ? asSteps(this.rows, this.width) : withGaps(this.rows, this.gap());
    return [0, 1, 3, 2].map((column) => rows.map((row) => (column ? row[column] : row[0] / SECOND)));
  }

  draw() {
    const data = this.columns();
    if (this.plot) {
      this.plot.setData(data, false);
      const [min, max] = this.window();
      this.plot.setScale("x", { min, max });
    } else {
      this.plot = new window.uPlot(this.settings(), data, this.element);
    }
    this.tell();
    this.empty.hidden = this.rows.length + this.flags.length > 0;
    this.element.dataset.points = this.rows.length;
    this.element.dataset.last = this.rows.at(-1)?.[0] ?? "";
    [this.element.dataset.begin, this.element.dataset.edge] = this.window().map(Math.round);
    if (this.now && this.rows.length) this.now.textContent = number(this.rows.at(-1)[2], this.decimals);
    this.element.dataset.ready = "yes";
  }

  settings() {
    const line = colour("--series-1");
    const band = this.options.kind === "boolean" ? undefined : colour("--series-1-band");
    const [stepped, straight] = [window.uPlot.paths.stepped({ align: 1 }), window.uPlot.paths.linear()];
    const paths = (...given) => (this.whole || this.options.kind === "boolean" ? stepped : straight)(...given);
    const axis = {
      stroke: colour("--secondary"),
      font: "12px system-ui, sans-serif",
      grid: { stroke: colour("--grid"), width: 1 },
      ticks: { show: false },
    };
    const edge = { stroke: "transparent", paths, points: { show: false } };
    return {
      width: this.element.clientWidth,
      height: this.element.clientHeight,
      legend: { show: false },
      cursor: { drag: { x: false, y: false }, points: { size: 7, fill: line, stroke: line } },
      scales: { x: { time: true, range: () => this.window() }, y: { range: (_, min, max) => this.bounds(min, max) } },
      axes: [
        { ...axis, values: tickTexts, space: 84, size: 30 },
        { ...axis, size: 54, space: 32, values: (_, splits) => splits.map((split) => this.label(split)) },
      ],
      series: [{}, edge, edge, { stroke: line, width: 1.5, paths, points: { show: false } }],
      bands: band ? [{ series: [2, 1], fill: band }] : [],
      hooks: { setCursor: [(plot) => this.point(plot)], draw: [(plot) => this.mark(plot)] },
    };
  }

  mark(plot) {
    this.shade(plot);
    this.markFlags(plot);
  }

  // where a damaged file leaves values out, nobody shall take the gap or the curve for all there was
  shade({ ctx, bbox, valToPos }) {
    ctx.save();
    ctx.fillStyle = colour("--warning");
    ctx.globalAlpha = 0.18;
    for (const { from, to } of this.lacking) {
      const [low, high] = [from, to].map((t) => valToPos(t / SECOND, "x", true));
      const left = Math.max(low, bbox.left);
      const right = Math.min(Math.max(high, low + 2), bbox.left + bbox.width);
      if (right > left) ctx.fillRect(left, bbox.top, right - left, bbox.height);
    }
    ctx.restore();
  }

  markFlags({ ctx, bbox, valToPos }) {
    const size = 5 * window.devicePixelRatio;
    const bottom = bbox.top + bbox.height;
    ctx.save();
    ctx.fillStyle = colour("--warning");
    for (const [t] of this.flags) {
      const x = valToPos((t + this.width / 2) / SECOND, "x", true);
      ctx.beginPath();
      ctx.moveTo(x, bottom - 2 * size);
      ctx.lineTo(x + size, bottom);
      ctx.lineTo(x - size, bottom);
      ctx.fill();
    }
    ctx.restore();
  }

  // what the answer may lack, and whether only its roll-ups are left
  tellOf(series) {
    if (!this.lack) return;
    this.lack.hidden = series.incomplete.length === 0;
    const named = series.incomplete.slice(0, NAMED).map(({ from, to }) => `${at(from)} – ${at(to)}`);
    this.lack.lastElementChild.textContent = named.join(", ") + (series.incomplete.length > NAMED ? " …" : "");
    this.left.hidden = !series.coarser;
    this.left.lastElementChild.textContent = JSON.parse(this.left.dataset.coarser)[series.width_ms] ?? "";
  }

  // how many values are flagged, and why where it is known
  tell() {
    if (!this.flagged) return;
    const count = this.flags.reduce((sum, flag) => sum + flag[1], 0);
    const words = JSON.parse(this.flagged.dataset.words);
    const why = [...new Set(this.flags.map((flag) => words[flag[2]]).filter(Boolean))];
    this.flagged.hidden = count === 0;
    this.flagged.lastElementChild.textContent = [`${this.flagged.dataset.flagged} ${number(count, 0)}`, ...why].join(" · ");
  }

  bounds(min, max) {
    if (this.options.kind === "boolean") return [-0.1, 1.1];
    if (min === null || max === null) return [0, 1];
    const least = 10 ** -this.decimals * 4;
    const room = Math.max((max - min) * 0.08, (least - (max - min)) / 2, 0);
    if (this.options.rates) return [0, Math.max(1, max + room)];
    const low = min - room;
    return [min >= 0 && low < 0 ? 0 : low, max + room];
  }

  label(value) {
    if (this.options.kind === "boolean") {
      return value === 0 ? this.options.off : value === 1 ? this.options.on : "";
    }
    return value.toLocaleString(language, { maximumFractionDigits: Math.max(this.decimals, 2) });
  }

  point(plot) {
    const index = plot.cursor.idx;
    const mean = index === null || index === undefined ? null : plot.data[3][index];
    this.tip.hidden = mean === null || mean === undefined || plot.cursor.left < 0;
    if (this.tip.hidden) return;
    const [t, min, max] = [plot.data[0][index], plot.data[1][index], plot.data[2][index]];
    const spread = this.width && min !== max ? `  (${this.show(min)} – ${this.show(max)})` : "";
    this.tip.textContent = `${at(t * SECOND)}   ${this.show(mean)}${spread}`;
  }

  show(value) {
    if (this.options.kind === "boolean") return value >= 0.5 ? this.options.on : this.options.off;
    return `${number(value, this.decimals)} ${this.options.unit}`.trim();
  }

  resize() {
    const { clientWidth: width, clientHeight: height } = this.element;
    if (this.plot && width && height) this.plot.setSize({ width, height });
  }

  repaint() {
    this.plot?.destroy();
    this.plot = null;
    this.draw();
  }
}

function onReadings(charts, { device, metrics }) {
  for (const chart of charts) {
    const now = chart.options.device === device && metrics[chart.options.metric];
    if (now && now.quality === "good") chart.add(now.t, now.value);
    else if (now) chart.flag(now.t, now.quality);
  }
}

// a tick carries counters since the start of the hub; a chart shows how fast one of them rose in ten seconds
function onTick(charts, tick) {
  for (const chart of charts) {
    const count = tick[chart.options.rate];
    if (typeof count !== "number") continue;
    const ticks = chart.ticks.filter((one) => one.t >= tick.t - RATE_MS && one.t < tick.t && one.count <= count);
    if (ticks.length) chart.add(tick.t, ((count - ticks[0].count) * SECOND) / (tick.t - ticks[0].t));
    chart.ticks = [...ticks, { t: tick.t, count }];
  }
}

async function load(chart) {
  try {
    if (chart.options.rates) await chart.loadRates();
    else await chart.load();
  } catch {
    chart.empty.textContent = chart.options.failed;
    chart.empty.hidden = false;
    chart.element.dataset.ready = "failed";
  }
}

/** Bring every chart of the page to life. */
export function start() {
  const charts = [...document.querySelectorAll("[data-chart]")].map((element) => new Chart(element));
  if (!charts.length) return;
  for (const chart of charts) load(chart);
  document.body.addEventListener("hub:readings", (event) => onReadings(charts, event.detail));
  document.body.addEventListener("hub:tick", (event) => onTick(charts, event.detail));
  document.body.addEventListener("hub:resync", () => charts.forEach(load));
  setInterval(() => {
    if (!document.hidden) charts.filter((chart) => chart.plot && !chart.end).forEach((chart) => chart.draw());
  }, SECOND);
  const repaint = () => charts.filter((chart) => chart.plot).forEach((chart) => chart.repaint());
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", repaint);
}
