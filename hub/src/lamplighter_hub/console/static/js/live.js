// Live news: one event stream for the whole browser, because HTTP/1.1 allows six connections to a host.
//
// One tab holds the stream (a Web Lock says which) for the topics of all tabs and passes the news on by a
// BroadcastChannel. Each tab turns news into DOM events on <body>: `hub:presence`, `hub:readings` ... and `hub:resync`
// when something may have gone by unseen, so that every part asks again. Without Web Locks (plain HTTP from another
// machine) each tab holds its own stream.

const URL_OF_STREAM = "/api/v1/stream";
const HIDDEN_MS = 60_000;
const FORGET_MS = 180_000;
const REFRESH_MS = 60_000;
const tab = Math.random().toString(36).slice(2);
const channel = "BroadcastChannel" in window ? new BroadcastChannel("lamplighter-live") : null;
const shared = Boolean(channel && navigator.locks);
const wishes = new Map();
let source = null;
let streamed = "";
let mine = [];
let leader = !shared;
let lost = false;

function tell(name, detail = {}) {
  document.body.dispatchEvent(new CustomEvent(`hub:${name}`, { detail }));
}

function show(state) {
  const badge = document.querySelector("[data-live]");
  if (!badge || badge.dataset.state === state) return;
  badge.dataset.state = state;
  badge.textContent = state === "live" ? badge.dataset.textLive : badge.dataset.textLost;
}

function onState(state) {
  show(state);
  if (state === "live" && lost) tell("resync");
  lost = state === "lost";
}

function onNews(topic, data) {
  const wanted = mine.some((wish) => wish === topic);
  if (topic === "dropped") tell("resync");
  else if (wanted) tell(topic.split(":")[0], { topic, ...data });
}

function pass(message) {
  if (shared) channel.postMessage(message);
  receive(message);
}

function receive({ kind, from, topics, topic, data, state }) {
  if (kind === "news") onNews(topic, data);
  if (kind === "state") onState(state);
  if (kind === "who" && from !== tab) wish();
  if (kind === "wish" && leader) {
    wishes.set(from, { topics, at: Date.now() });
    stream();
  }
}

function wish() {
  pass({ kind: "wish", from: tab, topics: mine });
}

// the leader's part: one stream for everybody's topics
function stream() {
  for (const [name, { at }] of wishes) if (Date.now() - at > FORGET_MS) wishes.delete(name);
  const topics = [...new Set([...wishes.values()].flatMap((wish) => wish.topics))].sort().join(",");
  if (topics === streamed && source?.readyState !== EventSource.CLOSED) return;
  source?.close();
  streamed = topics;
  source = topics ? new EventSource(`${URL_OF_STREAM}?topics=${encodeURIComponent(topics)}`) : null;
  if (!source) return;
  source.onopen = () => pass({ kind: "state", state: "live" });
  source.onerror = () => onError();
  for (const topic of [...topics.split(","), "dropped"]) {
    source.addEventListener(topic, (event) => pass({ kind: "news", topic, data: JSON.parse(event.data) }));
  }
}

// EventSource tries again by itself unless the answer was an error; then it is up to us
function onError() {
  pass({ kind: "state", state: "lost" });
  if (source?.readyState === EventSource.CLOSED) {
    streamed = "";
    setTimeout(stream, 3000 + Math.random() * 4000);
  }
}

function lead() {
  leader = true;
  channel?.postMessage({ kind: "who", from: tab });
  wish();
}

function watchVisibility(topics) {
  let timer = 0;
  document.addEventListener("visibilitychange", () => {
    clearTimeout(timer);
    if (document.hidden) {
      timer = setTimeout(() => {
        mine = [];
        wish();
      }, HIDDEN_MS);
    } else if (!mine.length) {
      mine = topics;
      wish();
      tell("resync");
    }
  });
}

/** Listen to the page's topics until it is left. */
export function start() {
  const topics = (document.body.dataset.topics ?? "").split(",").filter(Boolean);
  if (!topics.length) return;
  mine = topics;
  channel?.addEventListener("message", (event) => receive(event.data));
  if (shared) navigator.locks.request("lamplighter-live", () => (lead(), new Promise(() => {})));
  else lead();
  wish();
  setInterval(wish, REFRESH_MS);
  watchVisibility(topics);
  window.addEventListener("pagehide", () => {
    mine = [];
    wish();
    source?.close();
  });
  window.addEventListener("pageshow", (event) => {
    if (event.persisted) window.location.reload();
  });
}
