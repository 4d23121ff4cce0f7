// The page: asks for the status once a second, listens to the events, shows both. It keeps nothing but what is on the screen;
// the operators' token stays in its field and in memory. All that is shown is put in as text, never as markup.
"use strict";

const MOST_ROWS = 200, MOST_CHANGES = 100, WINDOW = 10 * 60 * 1000;
const EDGE = { enabled: "good", disabled: "bad", probation: "maybe" };
const $ = (id) => document.getElementById(id);

let status = null, before = null, events = null, paused = false, waiting = [], rows = new Map(), changes = [], skipped = 0;
let history = new Map(), away = null, shownReplica = null;

/** An element with a class, a text and children. */
function make(tag, className, text, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined && text !== null) element.textContent = text;
  element.append(...children);
  return element;
}

const clock = (moment) => new Date(moment).toLocaleTimeString([], { hour12: false });

function span(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole < 60) return `${whole} s`;
  if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
  return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
}

// ---- the broker, once a second ------------------------------------------------------------------------------------

async function ask(path, options) {
  const answer = await fetch(path, { cache: "no-store", signal: AbortSignal.timeout(5000), ...options });
  const document = await answer.json().catch(() => ({}));
  if (!answer.ok) throw Object.assign(new Error(document.error || `status ${answer.status}`), { told: true });
  return document;
}

async function look() {
  try {
    const fresh = await ask("/api/v1/status");
    if (fresh.replica !== shownReplica) begin(fresh);
    // A refusal (as many streams as there may be) ends a stream for good; a break does not.
    else if (events.readyState === EventSource.CLOSED) listen();
    [before, status] = [status && status.replica === fresh.replica ? status : null, fresh];
    away = null;
    remember();
    show();
  } catch (error) {
    away = away || new Date();
    $("link").textContent = "away";
    $("link").className = "tag bad";
    trouble(`The broker does not answer since ${clock(away)}; asking on. (${error.message})`);
  }
  setTimeout(look, document.hidden ? 5000 : 1000);
}

/** Another replica than before, or the first. */
function begin(fresh) {
  shownReplica = fresh.replica;
  [rows, waiting, changes, history, skipped] = [new Map(), [], [], new Map(), 0];
  $("stream").replaceChildren();
  // Before its first change that is told, a router served: it began so, or too long ago to be shown.
  fresh.routers.forEach((router) => note(router.router, "enabled", +new Date(fresh.started)));
  listen();
}

/** A stream has just begun: what happened before it, or while it was broken off. */
async function catchUp() {
  const past = await ask("/api/v1/decisions");
  past.decisions.slice(-MOST_ROWS).forEach(decided);
  past.calls.slice(-MOST_ROWS).forEach(called);
  changes = [];
  past.changes.slice(-MOST_CHANGES).forEach(changed);
}

function trouble(text) {
  $("trouble").hidden = !text;
  $("trouble").textContent = text;
}

function listen() {
  if (events) events.close();
  events = new EventSource("/api/v1/events");
  const on = (name, take) => events.addEventListener(name, (event) => take(JSON.parse(event.data)));
  // In vain only if the broker is gone again; then there will be another hello.
  const meet = () => catchUp().catch(() => {});
  on("hello", () => (paused ? keep(meet) : meet()));
  on("decision", (one) => (paused ? keep(() => decided(one)) : decided(one)));
  on("call", (one) => (paused ? keep(() => called(one)) : called(one)));
  on("change", changed);
  on("skipped", ({ decisions, calls }) => {
    skipped += decisions + calls;
    $("sampled").hidden = false;
    $("sampled").textContent = `More happens than can be shown: ${skipped} decisions and calls were left out of this list.`;
  });
}

function keep(later) {
  waiting.push(later);
  if (waiting.length > 2 * MOST_ROWS) waiting.shift();
}

// ---- what is ------------------------------------------------------------------------------------------------------

function show() {
  $("replica").textContent = status.replica;
  $("mode").textContent = status.mode;
  $("version").textContent = status.version;
  $("config").textContent = status.config;
  const reasons = status.connections.map((one) => one.trouble).filter(Boolean);
  $("link").textContent = reasons.length ? "no bus" : "live";
  $("link").className = reasons.length ? "tag bad" : "tag good";
  const without = status.pools.filter((pool) => !pool.serves).map((pool) => pool.ingress);
  const lost = without.length ? [`Nothing may serve behind ${without.join(", ")}: the gateway uses its own endpoint.`] : [];
  trouble([...reasons, ...lost].join(" · "));
  $("pools").replaceChildren(...status.pools.map(showPool));
  showRouters();
  showStrips();
  offerRouters();
}

function showPool(pool) {
  const state = !pool.serves ? make("span", "tag bad", "nothing may serve")
    : pool.last_resort ? make("span", "tag maybe", "only what is on probation") : "";
  const mode = make("span", "soft", pool.tree ? `${[pool.tree.name, pool.tree.mode].filter(Boolean).join(", ")} ` : "");
  const title = make("h3", "", `${pool.ingress} `, mode, state);
  const targets = (pool.tree && pool.tree.targets) || [];
  return make("div", "pool", null, title, ...targets.flatMap((target) => showTarget(target, 0)));
}

function showTarget(target, depth) {
  const name = [target.name, target.router || `(${target.mode})`].filter(Boolean).join(" ");
  const label = make("span", "name", target.drained ? `${name} · drained in the file` : name);
  label.style.paddingLeft = `${depth * 1.1}rem`;
  const bar = make("i");
  bar.style.width = `${100 * (target.share || 0)}%`;
  const known = target.share !== null && target.share !== undefined;
  const share = make("span", "number", known ? `${(100 * target.share).toFixed(1)} %` : "by request");
  const row = make("div", target.serves ? "target" : "target closed", null, label, make("span", "share", null, bar), share);
  return [row, ...(target.targets || []).flatMap((inner) => showTarget(inner, depth + 1))];
}

/** Cards stay where they are, so that the keyboard does not lose its place. */
function showRouters() {
  const cards = new Map([...$("routers").children].map((card) => [card.dataset.router, card]));
  for (const router of status.routers) {
    let card = cards.get(router.router);
    cards.delete(router.router);
    if (!card) {
      card = newCard(router.router);
      $("routers").append(card);
    }
    fillCard(card, router);
  }
  cards.forEach((card) => card.remove());
}

function newCard(router) {
  const card = make("article", "card", null, make("h3", "", router), make("p", "tags"), make("p", "why"), make("dl", "facts"));
  card.dataset.router = router;
  const button = (verb, label) => {
    const one = make("button", "", label);
    one.type = "button";
    one.dataset.verb = verb;
    one.setAttribute("aria-label", `${label} ${router}`);
    one.addEventListener("click", () => order(router, verb));
    return one;
  };
  card.append(make("menu", "", null, button("drain", "Drain"), button("resume", "Resume"), button("enable", "Enable")));
  return card;
}

function fillCard(card, router) {
  const color = router.drained ? "out" : EDGE[router.standing];
  card.className = `card ${color}-edge`;
  const tags = [make("span", `tag ${EDGE[router.standing]}`, router.standing)];
  if (router.seconds_left !== null) tags.push(make("span", "tag bad", `${span(router.seconds_left)} left`));
  if (router.probes) tags.push(make("span", "tag maybe", `${router.probes} probing`));
  if (router.drained) {
    const until = router.drained.until ? ` until ${clock(router.drained.until)}` : "";
    tags.push(make("span", "tag out", `drained${until}`));
  }
  card.querySelector(".tags").replaceChildren(...tags);
  const failed = router.last_failure, told = [];
  if (router.drained) told.push(`drained by ${router.drained.by}${router.drained.reason ? `: ${router.drained.reason}` : ""}`);
  if (router.why && !(failed && failed.cause === router.why)) told.push(router.why);
  told.push(failed ? `last failure ${clock(failed.at)}: ${failed.cause}` : "no failure so far");
  card.querySelector(".why").textContent = told.join(" · ");
  const old = before && before.routers.find((one) => one.router === router.router);
  const seconds = old ? (new Date(status.at) - new Date(before.at)) / 1000 : 0;
  const rate = seconds > 0 ? ((router.requests - old.requests) / seconds).toFixed(1) : "–";
  const millis = (time) => (time === null ? "–" : `${Math.round(time)} ms`);
  const facts = [
    ["requests", router.requests], ["per second", rate], ["in flight", router.in_flight ?? "?"],
    ["failures", router.failures], ["p50", millis(router.latency.p50_ms)], ["p95", millis(router.latency.p95_ms)],
  ];
  card.querySelector("dl").replaceChildren(
    ...facts.map(([name, value]) => make("div", "", null, make("dt", "", name), make("dd", "", String(value)))));
  const hide = { drain: Boolean(router.drained), resume: !router.drained, enable: router.standing === "enabled" };
  card.querySelectorAll("button").forEach((one) => { one.hidden = hide[one.dataset.verb]; });
}

// ---- the time line ------------------------------------------------------------------------------------------------

/** Notes a standing, from a status or from a change. */
function note(router, standing, moment) {
  const past = history.get(router) || [];
  const last = past[past.length - 1];
  if (!last || (last.standing !== standing && moment >= last.moment)) past.push({ standing, moment });
  while (past.length > 1 && past[1].moment < Date.now() - WINDOW) past.shift();
  history.set(router, past);
}

function remember() {
  for (const router of status.routers) note(router.router, router.standing, +new Date(status.at));
}

function showStrips() {
  const now = +new Date(status.at), start = now - WINDOW;
  $("strips").replaceChildren(...status.routers.map((router) => {
    const past = history.get(router.router) || [];
    const track = make("div", "track");
    track.setAttribute("role", "img");
    track.setAttribute("aria-label", past.map((one) => `${one.standing} from ${clock(one.moment)}`).join(", "));
    past.forEach((one, place) => {
      const from = Math.max(one.moment, start), to = place + 1 < past.length ? past[place + 1].moment : now;
      if (to <= start) return;
      const part = make("i", `fill-${one.standing}`);
      part.style.left = `${(100 * (from - start)) / WINDOW}%`;
      part.style.width = `${Math.max(0.3, (100 * (to - from)) / WINDOW)}%`;
      track.append(part);
    });
    return make("div", "strip", null, make("span", "name", router.router), track);
  }));
}

function changed(one) {
  if (["enabled", "disabled", "probation"].includes(one.what)) note(one.about, one.what, +new Date(one.at));
  changes.unshift(one);
  changes.length = Math.min(changes.length, MOST_CHANGES);
  $("changes").replaceChildren(...changes.map((change) => {
    const color = EDGE[change.what] || (change.what === "all_disabled" ? "bad" : change.what === "some_enabled" ? "good" : "out");
    const word = make("strong", color, ` ${change.what.replace("_", " ")} `);
    const until = change.until ? `, until ${clock(change.until)}` : "";
    return make("li", "", null, make("time", "", clock(change.at)), word, `${change.about} ${change.why || ""}${until}`);
  }));
}

// ---- decisions ----------------------------------------------------------------------------------------------------

function decided(one) {
  const id = one.id || `${one.pool} ${one.at}`;
  put(id, { at: one.at, router: one.router || (one.would ? `would be ${one.would}` : "nothing"), why: one.why || "", probe: one.probe });
}

/** A finished call joins the decision that sent it there; another replica's is none of this list's. */
function called(one) {
  if (!one.decision || !rows.has(one.decision)) return;
  put(one.decision, { status: one.status, kind: one.class, millis: one.latency_ms, session: one.session, served: one.router });
}

function put(id, part) {
  let row = rows.get(id);
  if (!row) {
    row = { element: make("tr") };
    rows.set(id, row);
    $("stream").prepend(row.element);
    if (rows.size > MOST_ROWS) {
      const [oldest, gone] = rows.entries().next().value;
      gone.element.remove();
      rows.delete(oldest);
    }
  }
  Object.assign(row, part);
  const color = !row.status ? "soft" : row.kind === "success" ? "good" : row.kind === "neutral" ? "maybe" : "bad";
  const elsewhere = row.served && row.served !== row.router ? ` (served by ${row.served})` : "";
  row.element.replaceChildren(
    make("td", "", null, make("time", "", clock(row.at))), make("td", "", row.router + elsewhere),
    make("td", color, row.status ? String(row.status) : "…"), make("td", "", row.millis ?? ""),
    make("td", "", row.probe ? `probe: ${row.why}` : row.why), make("td", "", row.session || ""));
  filter(row);
}

function filter(row) {
  const router = $("by-router").value, wanted = $("by-status").value.trim().toLowerCase(), session = $("by-session").value.trim();
  const found = row.status ? String(row.status) : "";
  const fits = !wanted || found === wanted || (wanted.endsWith("xx") && found[0] === wanted[0]);
  row.element.hidden = !((!router || row.router === router || row.served === router) && fits
    && (!session || (row.session || "").includes(session)));
}

function offerRouters() {
  const select = $("by-router"), known = new Set([...select.options].map((one) => one.value));
  for (const { router } of status.routers) {
    if (!known.has(router)) select.append(new Option(router, router));
  }
}

// ---- orders -------------------------------------------------------------------------------------------------------

function order(router, verb) {
  if (!$("token").value) {
    trouble("Enter the operators' token first (BROKER_ADMIN_TOKEN of the broker).");
    $("token").focus();
    return;
  }
  const words = { drain: "gets no more calls, on all replicas, until it is resumed", resume: "gets calls again, on all replicas",
    enable: "serves at once, on all replicas, whatever took it out" };
  $("confirm-title").textContent = `${verb[0].toUpperCase()}${verb.slice(1)} ${router}`;
  $("confirm-text").textContent = `${router} ${words[verb]}.`;
  $("reason").value = $("for").value = "";
  $("for-label").hidden = verb !== "drain";
  $("go").textContent = verb[0].toUpperCase() + verb.slice(1);
  const dialog = $("confirm");
  dialog.onclose = () => { if (dialog.returnValue === "go") send(router, verb); };
  dialog.returnValue = "";
  dialog.showModal();
}

async function send(router, verb) {
  const body = {};
  if ($("reason").value) body.reason = $("reason").value;
  if (verb === "drain" && $("for").value) body.for = $("for").value;
  try {
    const done = await ask(`/api/v1/routers/${encodeURIComponent(router)}/${verb}`, {
      method: "POST", body: JSON.stringify(body),
      headers: { Authorization: `Bearer ${$("token").value}`, "Content-Type": "application/json" },
    });
    const without = done.replicas.flatMap((one) => one.pools_left_empty || []);
    const left = without.length ? ` Nothing else in ${[...new Set(without)].join(", ")} may serve.` : "";
    $("sampled").hidden = false;
    $("sampled").textContent = `${verb} ${router}: done on ${done.changed} replica${done.changed === 1 ? "" : "s"}.${left}`;
  } catch (error) {
    setTimeout(() => trouble(`${verb} ${router}: ${error.message}`), 50);
  }
}

$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause";
  if (!paused) waiting.splice(0).forEach((later) => later());
});
["by-router", "by-status", "by-session"].forEach((id) => $(id).addEventListener("input", () => rows.forEach(filter)));
["operator", "filters"].forEach((id) => $(id).addEventListener("submit", (event) => event.preventDefault()));
look();
