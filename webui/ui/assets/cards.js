// The grid of embedding cards. Names and notes come from strangers' files, so every text is set
// as text, never as markup; the template that this script fills is fixed.
const BATCH = 120;
const grid = element.querySelector(".cards-grid"), empty = element.querySelector(".cards-empty");
const search = element.querySelector(".cards-search"), count = element.querySelector(".cards-count");
const filter = element.querySelector(".cards-filter"), sort = element.querySelector(".cards-sort");
const toast = element.querySelector(".cards-toast");
const orders = {
  name: (a, b) => a.name.localeCompare(b.name, undefined, { numeric: true, sensitivity: "base" }),
  modified: (a, b) => b.modified - a.modified,
  size: (a, b) => b.size_bytes - a.size_bytes,
};
let shown = [], drawn = 0, toastTimer;

function tag(name, className, text) {
  const node = document.createElement(name);
  node.className = className;
  if (text !== undefined) node.textContent = text;
  return node;
}

// A picture of the embedding made of its content hash: always the same, always there.
function emblem(item) {
  const box = tag("span", "card-emblem", [...item.name].slice(0, 2).join("").toUpperCase());
  const number = parseInt((item.content_hash || "7f7f7f").slice(0, 6), 16);
  box.style.setProperty("--hue", number % 360);
  box.style.setProperty("--turn", `${(number >> 4) % 180}deg`);
  return box;
}

function picture(item) {
  if (!item.thumbnail) return emblem(item);
  const image = new Image();
  image.className = "card-picture";
  image.loading = "lazy";
  image.alt = "";
  image.src = item.thumbnail;
  image.addEventListener("error", () => image.replaceWith(emblem(item)));
  return image;
}

function card(item) {
  const entry = tag("li", "card-entry");
  const button = tag("button", "card");
  button.type = "button";
  button.dataset.name = item.name;
  button.classList.toggle("card-unusable", Boolean(item.reason));
  button.title = item.reason || item.description || `${item.name}: click to put it into the prompt`;
  const text = tag("span", "card-text");
  text.append(tag("span", "card-name", item.name));
  const badges = tag("span", "card-badges");
  for (const badge of item.badges) badges.append(tag("span", "card-badge", badge));
  text.append(badges);
  if (item.reason) text.append(tag("span", "card-reason", item.reason));
  else if (item.note) text.append(tag("span", "card-note", item.note));
  button.append(picture(item), text);
  entry.append(button);
  if (grid.classList.contains("cards-with-details")) {
    const more = tag("button", "card-more", "⋯");
    more.type = "button";
    more.dataset.details = item.key;
    more.setAttribute("aria-label", `Details of ${item.name}`);
    more.title = "Details";
    entry.append(more);
  }
  return entry;
}

const tests = {
  "": () => true,
  fits: (item) => !item.reason,
  positive: (item) => item.side !== "negative",
  negative: (item) => item.side === "negative",
  problem: (item) => Boolean(item.reason),
};

function drawMore() {
  grid.append(...shown.slice(drawn, drawn + BATCH).map(card));
  drawn = Math.min(drawn + BATCH, shown.length);
}

function draw() {
  const all = props.value || [];
  const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
  shown = all
    .filter((item) => words.every((word) => item.haystack.includes(word)))
    .filter(tests[filter.value])
    .sort(orders[sort.value]);
  const scrolled = grid.scrollTop, before = drawn;
  grid.replaceChildren();
  drawn = 0;
  do drawMore(); while (drawn < Math.min(before, shown.length));
  grid.scrollTop = scrolled;
  count.textContent = shown.length === all.length ? `${all.length}` : `${shown.length} of ${all.length}`;
  empty.hidden = shown.length > 0;
  empty.textContent = all.length
    ? "No embedding matches. Clear the search or choose All."
    : "No embeddings yet. Copy .pt, .bin or .safetensors files into the folder embeddings/ and " +
      "they appear here at once, or train one of your own on the Train tab.";
}

function say(text) {
  toast.textContent = text;
  toast.classList.add("cards-toast-on");
  clearTimeout(toastTimer);
  toastTimer = setTimeout(() => toast.classList.remove("cards-toast-on"), 2500);
}

search.addEventListener("input", draw);
filter.addEventListener("change", draw);
sort.addEventListener("change", draw);
grid.addEventListener("scroll", () => {
  if (drawn < shown.length && grid.scrollTop + grid.clientHeight > grid.scrollHeight - 600) drawMore();
});
// A press on a card must not take the focus (and a phone's keyboard) from the prompt box.
grid.addEventListener("mousedown", (event) => {
  if (event.target.closest(".card, .card-more")) event.preventDefault();
});
grid.addEventListener("click", (event) => {
  const more = event.target.closest(".card-more");
  if (more) {
    trigger("select", { value: more.dataset.details });
    return;
  }
  const button = event.target.closest(".card");
  if (!button) return;
  const item = (props.value || []).find((other) => other.name === button.dataset.name && !other.reason);
  if (item) say(window.promptBoxes.toggle(item.call, item.name, item.side));
  else say(button.title);
});
watch("value", draw);
draw();
