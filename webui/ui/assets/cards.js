// A grid of cards: embeddings, checkpoints or LoRAs. Only the cards that are in sight are in the
// page, however many there are. Names and notes come from strangers' files, so every text is set as text, never as markup;
// the template that this script fills is fixed.
const SPARE_ROWS = 2;
const grid = element.querySelector(".cards-grid"), sight = element.querySelector(".cards-window");
const empty = element.querySelector(".cards-empty"), count = element.querySelector(".cards-count");
const search = element.querySelector(".cards-search"), filter = element.querySelector(".cards-filter");
const family = element.querySelector(".cards-family"), sort = element.querySelector(".cards-sort");
const refresh = element.querySelector(".cards-refresh");
const folders = element.querySelector(".cards-folders"), toast = element.querySelector(".cards-toast");
const byName = new Intl.Collator(undefined, { numeric: true, sensitivity: "base" }).compare;
const orders = {
  name: (a, b) => byName(a.name, b.name),
  added: (a, b) => b.added - a.added,
  modified: (a, b) => b.modified - a.modified,
  uses: (a, b) => b.uses - a.uses || byName(a.name, b.name),
  size: (a, b) => b.size_bytes - a.size_bytes,
};
const kind = ["checkpoints", "loras"].find((name) => grid.classList.contains(`cards-of-${name}`)) || "embeddings";
const all = () => (kind === "embeddings" ? window.embeddingCards : window.modelCards?.[kind]) || [];
const words = {
  embeddings: {
    press: "click to put it into the prompt",
    none: "No embeddings yet. Copy .pt, .bin or .safetensors files into the folder embeddings/ and " +
      "they appear here at once, or train one of your own on the Train tab.",
    noMatch: "No embedding matches. Clear the search or choose All.",
  },
  checkpoints: {
    press: "click to load it",
    none: "No checkpoints yet. Copy .safetensors or .ckpt files or diffusers folders into the folder " +
      "models/ and press Refresh, or fetch one with ⤓ beside the model.",
    noMatch: "No checkpoint matches. Clear the search.",
  },
  loras: {
    press: "click to put it into the prompt",
    none: "No LoRAs yet. Copy .safetensors files into the folder models/lora/ and press Refresh.",
    noMatch: "No LoRA matches. Clear the search.",
  },
}[kind];
let shown = [], folder = null, drawn = new Map(), toastTimer, wasSeen = false;
const hasDetails = grid.classList.contains("cards-with-details");
let decorate = () => {}, press = pressed; // what the Embeddings tab adds to a card and to a click
let source = null, order = "", ordered = [];

const { tag, picture } = window.cardParts;

function card(item) {
  const entry = tag("li", "card-entry");
  const button = tag("button", "card");
  button.type = "button";
  button.dataset.key = item.key;
  button.classList.toggle("card-unusable", Boolean(item.reason));
  button.title = item.reason || item.description || `${item.name}: ${hasDetails ? "click for its details" : words.press}`;
  const text = tag("span", "card-text");
  text.append(tag("span", "card-name notranslate", item.name));
  const badges = tag("span", "card-badges");
  for (const badge of item.badges) badges.append(tag("span", "card-badge", badge));
  text.append(badges, tag("span", "card-about", item.about));
  if (item.reason) text.append(tag("span", "card-reason", item.reason));
  else if (item.note) text.append(tag("span", "card-note", item.note));
  button.append(picture(item), text);
  entry.append(button);
  mark(button, item);
  decorate(entry, item);
  return entry;
}

// Whether a prompt calls it, or it is the model in use.
function isUsed(item) {
  const called = window.calledInPrompts;
  if (kind === "checkpoints") return item.used;
  if (kind === "loras") return item.calls.some((name) => called?.loras.has(name));
  return !item.reason && Boolean(called?.embeddings.has(item.name.toLowerCase()));
}

function mark(button, item) {
  const used = isUsed(item);
  button.classList.toggle("card-used", used);
  if (!hasDetails) button.setAttribute("aria-pressed", String(used));
  else button.setAttribute("aria-description", used ? "In a prompt" : "");
}

const tests = {
  "": () => true,
  fits: (item) => !item.reason,
  positive: (item) => item.side !== "negative",
  negative: (item) => item.side === "negative",
  problem: (item) => Boolean(item.reason),
};
const within = (item) => folder === null || item.folder === folder || item.folder.startsWith(`${folder}/`);

// Put the cards that are in sight into the page; those that stay keep their node and the focus.
function drawSight() {
  if (shown.length === 0) {
    sight.replaceChildren();
    drawn = new Map();
  }
  if (grid.clientHeight === 0) return;
  const style = getComputedStyle(sight);
  const columns = style.gridTemplateColumns.split(" ").length;
  const height = parseFloat(style.gridAutoRows) + parseFloat(style.rowGap);
  const rows = Math.ceil(shown.length / columns);
  const first = Math.max(0, Math.floor(grid.scrollTop / height) - SPARE_ROWS);
  const last = Math.min(rows, Math.ceil((grid.scrollTop + grid.clientHeight) / height) + SPARE_ROWS);
  sight.style.paddingTop = `${first * height}px`;
  sight.style.paddingBottom = `${Math.max(0, rows - last) * height}px`;
  const focused = sight.contains(document.activeElement) ? document.activeElement : null;
  const kept = new Map();
  shown.slice(first * columns, last * columns).forEach((item, place) => {
    const entry = drawn.get(item) || card(item);
    entry.setAttribute("aria-posinset", first * columns + place + 1);
    entry.setAttribute("aria-setsize", shown.length);
    kept.set(item, entry);
  });
  const stay = new Set(kept.values());
  for (const entry of [...sight.children]) if (!stay.has(entry)) entry.remove();
  let next = sight.firstChild;
  for (const entry of stay) {
    if (entry === next) next = next.nextSibling;
    else sight.insertBefore(entry, next);
  }
  drawn = kept;
  if (focused && !sight.contains(focused)) again(focused)?.focus({ preventScroll: true });
}

// The control of the same card, of those that were made anew.
function again({ className, dataset }) {
  const same = (other) => other.dataset.key === dataset.key && other.className === className;
  return [...sight.querySelectorAll("[data-key]")].find(same);
}

// Put the focus on a card, wherever it is.
function focusCard(place) {
  const style = getComputedStyle(sight);
  const columns = style.gridTemplateColumns.split(" ").length;
  const height = parseFloat(style.gridAutoRows) + parseFloat(style.rowGap);
  const top = Math.floor(place / columns) * height;
  if (top < grid.scrollTop) grid.scrollTop = top;
  else if (top + height > grid.scrollTop + grid.clientHeight) grid.scrollTop = top + height - grid.clientHeight;
  drawSight();
  drawn.get(shown[place])?.querySelector(".card").focus({ preventScroll: true });
}

// Arrow keys, Home and End go from card to card.
function goByKey(event) {
  const button = event.target.closest(".card");
  if (!button || event.ctrlKey || event.metaKey || event.altKey) return;
  const columns = getComputedStyle(sight).gridTemplateColumns.split(" ").length;
  const here = shown.findIndex((item) => item.key === button.dataset.key);
  const places = { ArrowLeft: here - 1, ArrowRight: here + 1, ArrowUp: here - columns,
    ArrowDown: here + columns, Home: 0, End: shown.length - 1 };
  const place = places[event.key];
  if (place === undefined) return;
  event.preventDefault();
  if (shown[place]) focusCard(place);
}

function chip(label, value, number) {
  const button = tag("button", "cards-folder", `${label} ${number}`);
  button.type = "button";
  button.translate = value === null;
  button.setAttribute("aria-pressed", String(folder === value));
  button.addEventListener("click", () => {
    folder = folder === value ? null : value;
    draw();
  });
  return button;
}

// Folders as chips, each with how many embeddings are in it and below it.
function drawFolders() {
  const numbers = new Map();
  for (const { folder: path } of all()) {
    if (!path) continue;
    const parts = path.split("/");
    parts.forEach((_, depth) => {
      const above = parts.slice(0, depth + 1).join("/");
      numbers.set(above, (numbers.get(above) || 0) + 1);
    });
  }
  if (folder !== null && !numbers.has(folder)) folder = null;
  const chips = [...numbers].sort(([a], [b]) => byName(a, b)).map(([path, number]) => chip(path, path, number));
  folders.replaceChildren(...(chips.length ? [chip("All folders", null, all().length), ...chips] : []));
  folders.hidden = chips.length === 0;
}

function drawFamilies() {
  const labels = [...new Set(all().map((item) => item.family).filter(Boolean))].sort(byName);
  const chosen = labels.includes(family.value) ? family.value : "";
  const choices = [["", "Any model"], ...labels.map((label) => [label, label])];
  family.replaceChildren(...choices.map(([value, text]) => new Option(text, value, false, value === chosen)));
  family.hidden = labels.length < 2;
}

// All cards in the chosen order; sorting thousands takes longer than searching them.
function inOrder() {
  if (source !== all() || order !== sort.value) {
    [source, order] = [all(), sort.value];
    ordered = [...source].sort(orders[order]);
  }
  return ordered;
}

const isSeen = () => search.offsetParent !== null;

// A grid that nobody sees is drawn when it is shown.
function draw() {
  if (!isSeen()) return;
  drawFolders();
  const wanted = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  shown = inOrder().filter((item) =>
    wanted.every((word) => item.haystack.includes(word)) && tests[filter.value](item) &&
    (!family.value || item.family === family.value) && within(item));
  const total = all().length;
  count.textContent = shown.length === total ? `${total}` : `${shown.length} of ${total}`;
  empty.hidden = shown.length > 0;
  grid.hidden = shown.length === 0;
  empty.textContent = total ? words.noMatch : words.none;
  drawSight();
}

function drawAnew() {
  grid.scrollTop = 0;
  draw();
}

function say(text) {
  toast.textContent = text;
  toast.classList.add("cards-toast-on");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => toast.classList.remove("cards-toast-on"), 2500);
}

search.addEventListener("input", drawAnew);
for (const choice of [filter, family, sort]) choice.addEventListener("change", drawAnew);
grid.addEventListener("scroll", drawSight, { passive: true });
new ResizeObserver(drawSight).observe(grid);
new ResizeObserver(appear).observe(search);
// A press on a card must not take the focus (and a phone's keyboard) from the prompt box.
if (!hasDetails) grid.addEventListener("mousedown", (event) => {
  if (event.target.closest(".card")) event.preventDefault();
});
async function pressed(item) {
  if (kind === "checkpoints") {
    say(item.used ? `${item.name} is the model in use.` : `Loading ${item.name} …`);
    if (!item.used) trigger("select", { value: item.key });
  } else if (item.reason) say(item.reason);
  else {
    const wish = kind === "loras" ? { lora: item.key } : { card: item.key };
    say(await window.promptBoxes.toggle(wish, item.name, item.side));
  }
}
grid.addEventListener("keydown", goByKey);
grid.addEventListener("click", (event) => {
  const button = event.target.closest(".card");
  const item = button && all().find((other) => other.key === button.dataset.key);
  if (item) press(item, event);
});
refresh.addEventListener("click", () => document.dispatchEvent(new CustomEvent("cards:wanted")));
document.addEventListener("cards:change", ({ detail: kinds }) => {
  if (!kinds.includes(kind)) return;
  drawFamilies();
  draw();
});
document.addEventListener("cards:called", () => {
  for (const [item, entry] of drawn) mark(entry.querySelector(".card"), item);
});

// Folders of models are looked at anew whenever their cards are shown.
function appear() {
  if (isSeen() === wasSeen) return;
  wasSeen = isSeen();
  draw();
  if (wasSeen && kind !== "embeddings") document.dispatchEvent(new CustomEvent("cards:wanted"));
}
filter.hidden = kind !== "embeddings";
refresh.hidden = kind === "embeddings";
sort.querySelector("[value=uses]").hidden = kind !== "embeddings";
drawFamilies();
