// The page: requests the status once a second, listens to the events, and shows both. It stores nothing: the operators' token stays
// in its field and in memory. Everything is inserted as text, never as markup.
"use strict";

const MAX_ROWS = 200, MAX_CHANGES = 100, WINDOW_MS = 10 * 60 * 1000;
// The number of changes that the broker keeps: if it has fewer, none is missing. The first bound of its latency histogram: a lower
// latency is not known more precisely.
const KEPT_CHANGES = 1000, FIRST_BOUND_MS = 5;
// A call that got no route names no decision: it belongs to the one of its ingress that was made when it began, give or take this.
const SAME_CALL_MS = 1000;
const EDGE = { enabled: "good", disabled: "bad", probation: "maybe" };
const $ = (id) => document.getElementById(id);

let status = null, before = null, events = null, paused = false, waiting = [], rows = new Map(), changes = [], skipped = 0;
let wrong = "", failed = "", succeeded = "";
let reading = 0, arrived = [];
let past = [], pastIsWhole = false, away = null, shownReplica = null;

/** An element with a class, a text and children. */
function make(tag, className, text, ...children) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  if (text !== undefined && text !== null) element.textContent = text;
  element.append(...children);
  return element;
}

/** The time of a moment, with the date where it is another day. */
function clock(moment) {
  const date = new Date(moment), time = date.toLocaleTimeString([], { hour12: false });
  return date.toDateString() === new Date().toDateString() ? time : `${date.toLocaleDateString([], { month: "short", day: "numeric" })} ${time}`;
}

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
  if (!answer.ok) throw Object.assign(new Error(document.error || `status ${answer.status}`), { status: answer.status });
  return document;
}

async function look() {
  try {
    const fresh = await ask("/api/v1/status");
    if (fresh.replica !== shownReplica) begin(fresh);
    // The browser reconnects after a break, but not after an error such as too many streams.
    else if (events.readyState === EventSource.CLOSED) listen();
    [before, status] = [status && status.replica === fresh.replica ? status : null, fresh];
    away = null;
    show();
  } catch (error) {
    away = away || new Date();
    $("link").textContent = "away";
    $("link").className = "tag bad";
    trouble(`The broker has not answered since ${clock(away)}; retrying. (${error.message})`);
  }
  setTimeout(look, document.hidden ? 5000 : 1000);
}

/** Another replica answers than before, or the first one. */
function begin(fresh) {
  shownReplica = fresh.replica;
  [rows, waiting, arrived, changes, past, pastIsWhole, skipped] = [new Map(), [], [], [], [], false, 0];
  $("stream").replaceChildren();
  listen();
}

/** Reads what happened before the stream began, or while it was interrupted. Only decisions and calls wait while the page is paused. */
async function catchUp() {
  reading += 1;
  try {
    takeRecent(await ask("/api/v1/decisions"));
  } finally {
    reading -= 1;
    if (!reading) arrived.splice(0).forEach((shown) => shown());
  }
}

function takeRecent(recent) {
  recent.decisions.slice(-MAX_ROWS).forEach((one) => later(decided, one));
  recent.calls.slice(-MAX_ROWS).forEach((one) => later(called, one));
  // All kept changes at once, and then those that came over the stream meanwhile.
  const kept = new Set(recent.changes.map((one) => JSON.stringify(one)));
  const last = recent.changes.length ? +new Date(recent.changes[recent.changes.length - 1].at) : 0;
  past = [...recent.changes, ...past.filter((one) => +new Date(one.at) >= last && !kept.has(JSON.stringify(one)))];
  pastIsWhole = past.length < KEPT_CHANGES;
  changes = past.slice(-MAX_CHANGES).reverse();
  showChanges();
  if (status) showStrips();
}

/** Shows what is wrong with the broker; replaced with each status. */
function trouble(text) {
  wrong = text;
  showMessages();
}

/** Shows the result of an operator's command until the next command, or until it is dismissed. */
function outcome(success, failure) {
  [succeeded, failed] = [success, failure];
  showMessages();
}

function showMessages() {
  for (const [id, text] of [["trouble", [failed, wrong].filter(Boolean).join(" · ")], ["done", succeeded]]) {
    $(id).hidden = !text;
    // Screen readers would read the same text again.
    if ($(id).textContent !== text) $(id).textContent = text;
  }
  $("dismiss").hidden = !succeeded && !failed;
}

function listen() {
  if (events) events.close();
  events = new EventSource("/api/v1/events");
  const on = (name, take) => events.addEventListener(name, (event) => take(JSON.parse(event.data)));
  // Fails only if the broker is gone again; then there will be another hello.
  const meet = () => catchUp().catch(() => {});
  on("hello", meet);
  on("decision", (one) => arrive(decided, one));
  on("call", (one) => arrive(called, one));
  on("change", changed);
  on("skipped", ({ decisions, calls, changes: missing }) => {
    if (missing) meet();
    if (!decisions && !calls) return;
    skipped += decisions + calls;
    $("sampled").hidden = false;
    $("sampled").textContent = `Too many events to show all: ${skipped} decisions and calls were left out.`;
  });
}

/** A decision or a call of the stream. It waits while the page reads what happened before it, so that the newest row is on top. */
function arrive(show, one) {
  if (!reading) return later(show, one);
  keep(arrived, () => later(show, one));
}

/** Shows a decision or a call now, or when the page is no longer paused. */
function later(show, one) {
  if (!paused) return show(one);
  keep(waiting, () => show(one));
}

function keep(list, shown) {
  list.push(shown);
  if (list.length > 2 * MAX_ROWS) list.shift();
}

// ---- the status ---------------------------------------------------------------------------------------------------

function show() {
  $("replica").textContent = status.replica;
  $("mode").textContent = status.mode;
  $("version").textContent = status.version;
  $("config").textContent = status.config;
  const reasons = status.connections.map((one) => one.trouble).filter(Boolean);
  $("link").textContent = reasons.length ? "no bus" : "live";
  $("link").className = reasons.length ? "tag bad" : "tag good";
  const lost = (relayed, result) => {
    const without = status.pools.filter((pool) => !pool.serves && pool.relayed === relayed).map((pool) => pool.ingress);
    return without.length ? [`All targets of ${without.join(", ")} are down or drained: ${result}.`] : [];
  };
  trouble([...reasons, ...lost(false, "the gateway uses its own endpoint"), ...lost(true, "calls wait for one, or get 503")].join(" · "));
  $("pools").replaceChildren(...status.pools.map(showPool));
  showRouters();
  showStrips();
  offerRouters();
}

function showPool(pool) {
  const state = !pool.serves ? make("span", "tag bad", "all targets down or drained")
    : pool.last_resort ? make("span", "tag maybe", "only targets on probation") : "";
  const mode = make("span", "soft", pool.tree ? `${[pool.tree.name, pool.tree.mode].filter(Boolean).join(", ")} ` : "");
  const title = make("h3", "", `${pool.ingress} `, mode, state);
  const targets = (pool.tree && pool.tree.targets) || [];
  return make("div", "pool", null, title, ...targets.flatMap((target) => showTarget(target, 0, pool.weights || [])));
}

function showTarget(target, depth, weights) {
  const name = [target.name, target.router || `(${target.mode})`].filter(Boolean).join(" ");
  const weight = weights.find((one) => one.router === target.router);
  const terms = weight && `${weight.until ? ` until ${clock(weight.until)}` : ""}, set by ${weight.by}${weight.reason ? `: ${weight.reason}` : ""}`;
  const notes = [target.drained && "drained in the file", weight && `weight ${weight.weight}${terms}`].filter(Boolean);
  const label = make("span", "name", [name, ...notes].join(" · "));
  label.style.paddingLeft = `${depth * 1.1}rem`;
  const bar = make("i");
  bar.style.width = `${100 * (target.share || 0)}%`;
  const known = target.share !== null && target.share !== undefined;
  const share = make("span", "number", target.probation ? "probes" : known ? `${(100 * target.share).toFixed(1)} %` : "by request");
  const row = make("div", target.serves ? "target" : "target closed", null, label, make("span", "share", null, bar), share);
  return [row, ...(target.targets || []).flatMap((inner) => showTarget(inner, depth + 1, weights))];
}

/** Cards keep their position, so that the keyboard focus is not lost. */
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
  const card = make("article", "card", null, make("h3", "", router), make("p", "tags"), make("p", "why"),
    make("dl", "facts everywhere"), make("dl", "facts here"));
  card.dataset.router = router;
  const button = (action, label) => {
    const one = make("button", "", label);
    one.type = "button";
    one.dataset.action = action;
    one.setAttribute("aria-label", `${label} ${router}`);
    one.addEventListener("click", () => confirmCommand(router, action));
    return one;
  };
  card.append(make("menu", "", null, button("drain", "Drain"), button("resume", "Resume"), button("enable", "Enable")));
  return card;
}

function fillCard(card, router) {
  const color = router.drained ? "out" : EDGE[router.state];
  card.className = `card ${color}-edge`;
  const tags = [make("span", `tag ${EDGE[router.state]}`, router.state)];
  for (const resting of router.rests_for ?? []) {
    const tag = make("span", "tag bad cut", `rests ${span(resting.seconds_left)} for ${resting.model}`);
    tag.title = resting.model;
    tags.push(tag);
  }
  if (router.seconds_left !== null) tags.push(make("span", "tag bad", `${span(router.seconds_left)} left`));
  if (router.probes) tags.push(make("span", "tag maybe", `${router.probes} probing`));
  if (router.drained) {
    const until = router.drained.until ? ` until ${clock(router.drained.until)}` : "";
    tags.push(make("span", "tag out", `drained${until}`));
  }
  card.querySelector(".tags").replaceChildren(...tags);
  const failed = router.last_failure, notes = [];
  if (router.drained) notes.push(`drained by ${router.drained.by}${router.drained.reason ? `: ${router.drained.reason}` : ""}`);
  if (router.why && !(failed && failed.cause === router.why)) notes.push(router.why);
  notes.push(failed ? `last failure ${clock(failed.at)}: ${failed.cause}` : "no failure so far");
  card.querySelector(".why").textContent = notes.join(" · ");
  const old = before && before.routers.find((one) => one.router === router.router);
  const seconds = old ? (new Date(status.at) - new Date(before.at)) / 1000 : 0;
  const rate = seconds > 0 ? ((router.requests - old.requests) / seconds).toFixed(1) : "–";
  const millis = (time) => (time === null ? "–" : time <= FIRST_BOUND_MS ? `≤ ${FIRST_BOUND_MS} ms` : `${Math.round(time)} ms`);
  // Finished calls are counted by every replica; choices and calls in flight only by the one that made them.
  const finished = router.successes + router.neutral + router.failures;
  const everywhere = [
    ["calls", finished], ["failures", router.failures], ["not blamed", router.neutral],
    ["p50", millis(router.latency.p50_ms)], ["p95", millis(router.latency.p95_ms)],
  ];
  const here = [["requests", router.requests], ["per second", rate], ["in flight", router.in_flight ?? "?"]];
  fillFacts(card, ".everywhere", "all replicas", everywhere);
  fillFacts(card, ".here", "this replica", here);
  const hide = { drain: Boolean(router.drained), resume: !router.drained, enable: router.state === "enabled" };
  const focused = document.activeElement || document.body;
  card.querySelectorAll("button").forEach((one) => { one.hidden = hide[one.dataset.action]; });
  // A button that vanishes would take the keyboard focus with it.
  if (focused.hidden && card.contains(focused)) card.querySelector("button:not([hidden])").focus();
}

function fillFacts(card, list, whose, facts) {
  const shown = facts.map(([name, value]) => make("div", "", null, make("dt", "", name), make("dd", "", String(value))));
  card.querySelector(list).replaceChildren(make("div", "whose", whose), ...shown);
}

// ---- the time line ------------------------------------------------------------------------------------------------

/**
 * The states of a router in the last ten minutes: parts with a name, a beginning and an end, oldest first. Derived from the changes
 * that the broker keeps and from the current state, so that it does not depend on when the page was opened.
 */
function timeline(router, now) {
  const start = Math.max(now - WINDOW_MS, +new Date(status.started)), parts = [];
  const own = past.filter((one) => one.about === router.router);
  const withMoment = (words) => own.filter(words).map((one) => ({ ...one, moment: +new Date(one.at) }));
  const states = withMoment((one) => one.what in EDGE), drains = withMoment((one) => "drained" in one);
  // Before its first change a router was enabled, if no change is missing; else its state is unknown.
  let word = pastIsWhole && (states.length || router.state === "enabled") ? "enabled" : "unknown";
  let from = +new Date(status.started);
  const enter = (next, moment) => {
    parts.push({ word, from, to: moment });
    [word, from] = [next, moment];
  };
  states.forEach(({ what, moment }) => enter(what, moment));
  // A status can arrive before the change that led to it.
  if (word !== router.state) enter(router.state, before ? Math.max(from, +new Date(before.at)) : now);
  parts.push({ word, from, to: now });
  let since = null;
  for (const { drained, moment } of drains) {
    if (drained && since === null) since = moment;
    if (!drained && since !== null) {
      parts.push({ word: "drained", from: since, to: moment });
      since = null;
    } else if (!drained && !pastIsWhole) parts.push({ word: "drained", from: start, to: moment });
  }
  // A drain that was renewed began with its first command.
  if (router.drained) parts.push({ word: "drained", from: since ?? +new Date(router.drained.since), to: now });
  return parts.map((part) => ({ ...part, from: Math.max(part.from, start) })).filter((part) => part.to >= part.from && part.to > start);
}

function showStrips() {
  const now = +new Date(status.at), start = now - WINDOW_MS;
  $("strips").replaceChildren(...status.routers.map((router) => {
    const parts = timeline(router, now);
    const track = make("div", "track");
    track.setAttribute("role", "img");
    const inOrder = [...parts].sort((one, other) => one.from - other.from || one.to - other.to);
    const spans = inOrder.map((one) => `${one.word} ${one.to >= now ? "since" : "from"} ${clock(one.from)}${one.to >= now ? "" : ` to ${clock(one.to)}`}`);
    track.setAttribute("aria-label", spans.join(", "));
    for (const { word, from, to } of parts) {
      const part = make("i", `fill-${word}`);
      part.style.left = `${(100 * (from - start)) / WINDOW_MS}%`;
      part.style.width = `${Math.max(0.3, (100 * (to - from)) / WINDOW_MS)}%`;
      track.append(part);
    }
    return make("div", "strip", null, make("span", "name", router.router), track);
  }));
}

function changed(one) {
  past.push(one);
  if (past.length > KEPT_CHANGES) {
    past.shift();
    pastIsWhole = false;
  }
  changes.unshift(one);
  changes.length = Math.min(changes.length, MAX_CHANGES);
  showChanges();
}

function showChanges() {
  $("changes").replaceChildren(...changes.map((change) => {
    const color = EDGE[change.what] || (change.what === "all_disabled" ? "bad" : change.what === "some_enabled" ? "good" : "out");
    // Drained ones are among them.
    const what = change.what === "all_disabled" ? "all disabled or drained" : change.what.replaceAll("_", " ");
    const word = make("strong", color, ` ${what} `);
    const until = change.until ? `, until ${clock(change.until)}` : "";
    return make("li", "", null, make("time", "", clock(change.at)), word, `${change.about} ${change.why || ""}${until}`);
  }));
}

// ---- decisions ----------------------------------------------------------------------------------------------------

function decided(one) {
  const chosen = one.router || one.would || "";
  const router = one.router || (one.would ? `would be ${one.would}` : "nothing");
  put(one.id || `pass ${one.number}`, { at: one.at, chosen, router, passed: chosen ? "" : one.pool, why: one.why || "" });
}

/**
 * The decision that gave this call no route, so that the router of the ingress served it: the nearest in time that has no nearer
 * call. Calls that other replicas gave no route are logged the same way, so a nearer call takes the place of one that came before.
 */
function passOf(call) {
  if (call.via !== "gateway" || call.router !== call.pool) return undefined;
  const known = [...rows].find(([, row]) => row.call && row.call.id === call.id);
  if (known) return known[0];
  const began = +new Date(call.at) - (call.ms || 0);
  const near = [...rows].filter(([, row]) => row.passed === call.pool)
    .map(([id, row]) => ({ id, row, away: Math.abs(+new Date(row.at) - began) }))
    .filter(({ row, away }) => away <= SAME_CALL_MS && !(row.away <= away)).sort((one, other) => one.away - other.away);
  if (!near.length) return undefined;
  const [{ id, row, away }] = near, displaced = row.call;
  Object.assign(row, { away, call });
  if (displaced) called(displaced);
  return id;
}

/** Adds a finished call to the row of the decision that sent it; calls of other replicas are not in this list. */
function called(one) {
  // Nothing was decided for it that could be sent: the relay answered by itself.
  if (one.via === "relay" && !one.attempts.some((attempt) => attempt.decision)) {
    put(one.id, { at: one.at, chosen: "", router: "nothing", why: `the relay's own answer: ${one.class.replaceAll("_", " ")}`,
      status: one.status || one.class, kind: one.class, millis: one.ms, model: one.model, session: one.session, attempts: "none" });
    return;
  }
  const isMade = (attempt) => attempt.failure !== "passed_over";
  const before = one.attempts_left_out || 0, count = before + one.attempts.filter(isMade).length;
  const answered = one.attempts.map((attempt) => attempt.router).lastIndexOf(one.router);
  one.attempts.forEach((attempt, place) => {
    const decision = attempt.decision || passOf(one);
    if (!decision || !rows.has(decision)) return;
    // Tokens and cost belong to the answer that the client got.
    const used = place === answered ? { model: one.served_model || one.sent_model || one.model, usage: one.usage, cost: one.cost } : {};
    const number = before + one.attempts.slice(0, place + 1).filter(isMade).length;
    const attempts = !isMade(attempt) ? "not sent" : count > 1 ? `${number} of ${count}` : "1";
    put(decision, { status: attempt.status || attempt.failure || attempt.class, kind: attempt.class, millis: attempt.ms,
      session: one.session, served: attempt.router, attempts, ...used });
  });
}

/** Classes that are the client's fault, not a target's. */
const CLIENT_FAULTS = ["invalid_request", "context_too_long", "content_filtered", "client_gone"];

/** Tokens in and out; a tilde marks an estimate. */
const tokens = ({ input_uncached, cache_read, cache_write, output, estimated }) =>
  `${estimated ? "~" : ""}${input_uncached + cache_read + cache_write} → ${output}`;

/** An amount in dollars, to a billionth; whole billionths are exact in a number up to nine million dollars. */
const dollars = (nano) => `$${(nano / 1e9).toFixed(9).replace(/(\.\d\d\d*?)0+$/, "$1")}`;

function put(id, part) {
  let row = rows.get(id);
  if (!row) {
    row = { element: Object.assign(make("tr"), { rowId: id, moment: +new Date(part.at) }) };
    rows.set(id, row);
    // Calls without a decision are read after all decisions; newest first all the same.
    const older = [...$("stream").children].find((other) => other.moment <= row.element.moment);
    $("stream").insertBefore(row.element, older || null);
    if (rows.size > MAX_ROWS) {
      const oldest = $("stream").lastElementChild;
      oldest.remove();
      rows.delete(oldest.rowId);
    }
  }
  Object.assign(row, part);
  const color = !row.status ? "soft" : row.kind === "success" ? "good" : CLIENT_FAULTS.includes(row.kind) ? "maybe" : "bad";
  const elsewhere = row.served && row.served !== row.chosen ? ` (served by ${row.served})` : "";
  const cost = make("td", "number", row.cost ? dollars(row.cost.nano_usd) : row.usage ? "?" : "");
  if (row.cost) cost.title = [`price of ${row.cost.price}`, row.cost.table, row.cost.priced].filter(Boolean).join(", ");
  const session = make("td", "session", null, make("bdi", "", row.session || ""));
  session.title = row.session || "";
  row.element.replaceChildren(
    make("td", "", null, make("time", "", clock(row.at))), make("td", "", row.router + elsewhere),
    make("td", color, row.status ? String(row.status) : "…"), make("td", "", row.millis ?? ""),
    make("td", "", row.model || ""), make("td", "number", row.usage ? tokens(row.usage) : ""), cost, make("td", "", row.attempts || ""),
    make("td", "", row.why), session);
  filter(row);
}

/** `429`, `5xx`, or the beginning of either while it is typed. */
const isStatus = (text) => /^[1-5](\d{0,2}|xx?)$/.test(text);

function filterAll() {
  const wanted = $("by-status").value.trim().toLowerCase(), wrong = Boolean(wanted) && !isStatus(wanted);
  $("by-status").setAttribute("aria-invalid", String(wrong));
  $("filter-fault").hidden = !wrong;
  $("filter-fault").textContent = wrong ? `“${wanted}” is not a status: write one such as 429, or a class such as 5xx. All are shown.` : "";
  rows.forEach(filter);
}

function filter(row) {
  const router = $("by-router").value, session = $("by-session").value.trim();
  const text = $("by-status").value.trim().toLowerCase(), wanted = isStatus(text) ? text.replace(/x+$/, "") : "";
  const found = row.status ? String(row.status) : "";
  const fits = found.startsWith(wanted);
  row.element.hidden = !((!router || row.chosen === router || row.served === router) && fits
    && (!session || (row.session || "").includes(session)));
}

function offerRouters() {
  const select = $("by-router"), known = new Set([...select.options].map((one) => one.value));
  // The router of an ingress serves what gets no route, and all calls in observe mode.
  for (const router of [...status.routers.map((one) => one.router), ...status.pools.map((pool) => pool.ingress)]) {
    if (known.has(router)) continue;
    known.add(router);
    select.append(new Option(router, router));
  }
}

// ---- commands -----------------------------------------------------------------------------------------------------

function confirmCommand(router, action) {
  if (!$("token").value) {
    outcome("", "Enter the operators' token first (BROKER_ADMIN_TOKEN of the broker).");
    $("token").focus();
    return;
  }
  const words = { drain: "gets no more calls, on all replicas, until it is resumed", resume: "gets calls again, on all replicas",
    enable: "serves at once, on all replicas, whatever disabled it" };
  $("confirm-title").textContent = `${action[0].toUpperCase()}${action.slice(1)} ${router}`;
  $("confirm-text").textContent = `${router} ${words[action]}.`;
  $("reason").value = $("for").value = $("refused").textContent = "";
  $("refused").hidden = true;
  $("for-label").hidden = action !== "drain";
  $("go").textContent = action[0].toUpperCase() + action.slice(1);
  const dialog = $("confirm");
  dialog.onclose = () => { if (dialog.returnValue === "go") send(router, action); };
  openDialog();
}

function openDialog() {
  $("confirm").returnValue = "";
  $("confirm").showModal();
}

/** Opens the dialog again with what was typed, which the broker did not accept. */
function correct(text) {
  openDialog();
  $("refused").hidden = false;
  $("refused").textContent = text;
  if (!$("for-label").hidden && text.includes('"for"')) $("for").focus();
}

async function send(router, action) {
  outcome("", "");
  const body = {};
  if ($("reason").value) body.reason = $("reason").value;
  if (action === "drain" && $("for").value) body.for = $("for").value;
  try {
    const done = await ask(`/api/v1/routers/${encodeURIComponent(router)}/${action}`, {
      method: "POST", body: JSON.stringify(body),
      headers: { Authorization: `Bearer ${$("token").value}`, "Content-Type": "application/json" },
    });
    const without = done.replicas.flatMap((one) => one.pools_left_empty || one.left_without || []);
    const left = without.length ? ` All other targets of ${[...new Set(without)].join(", ")} are down or drained.` : "";
    const already = done.replicas.every((one) => one.error || (one.done || "").includes("(it was")) ? " Nothing changed: it was in that state already." : "";
    const refused = done.replicas.filter((one) => one.error).map((one) => ` Replica ${one.replica} refused: ${one.error}.`).join("");
    const text = `${action} ${router}: done on ${done.changed} replica${done.changed === 1 ? "" : "s"}.${already}${left}`;
    outcome(text, refused && `${action} ${router}:${refused}`);
  } catch (error) {
    if (error.status === 400 && !$("confirm").open) return correct(error.message);
    outcome("", `${action} ${router}: ${error.message}`);
  }
}

$("cancel").addEventListener("click", () => $("confirm").close("cancel"));
$("dismiss").addEventListener("click", () => outcome("", ""));
$("pause").addEventListener("click", () => {
  paused = !paused;
  $("pause").setAttribute("aria-pressed", String(paused));
  $("pause").textContent = paused ? "Go on" : "Pause";
  if (!paused) waiting.splice(0).forEach((shown) => shown());
});
["by-router", "by-status", "by-session"].forEach((id) => $(id).addEventListener("input", filterAll));
["operator", "filters"].forEach((id) => $(id).addEventListener("submit", (event) => event.preventDefault()));
look();
