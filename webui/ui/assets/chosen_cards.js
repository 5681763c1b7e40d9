// Follows cards.js where cards have details: a click opens them, Ctrl and Shift choose several, and
// what is done with several stands above the grid. Files that are dropped on the grid are added.
const bar = element.querySelector(".cards-chosen"), chosenCount = bar.querySelector(".chosen-count");
const chosenAnswer = element.querySelector(".chosen-answer"), undo = element.querySelector(".chosen-undo");
const chosen = new Set();
let opened = "", anchor = null, thrown = [];

function markChosen(entry, item) {
  const box = entry.querySelector(".card-choose"), button = entry.querySelector(".card");
  box.checked = chosen.has(item.key);
  entry.classList.toggle("card-chosen", box.checked);
  if (item.key === opened) button.setAttribute("aria-current", "true");
  else button.removeAttribute("aria-current");
}

decorate = (entry, item) => {
  const box = tag("input", "card-choose");
  box.type = "checkbox";
  box.dataset.key = item.key;
  box.setAttribute("aria-label", `Select ${item.name}`);
  entry.append(box);
  markChosen(entry, item);
};

function drawChosen() {
  for (const [item, entry] of drawn) markChosen(entry, item);
  bar.hidden = chosen.size === 0;
  grid.classList.toggle("cards-choosing", chosen.size > 0);
  chosenCount.textContent = `${chosen.size} selected`;
}

// Choose or leave one card; with Shift all from the one before to it.
function choose(item, far) {
  const from = shown.findIndex((other) => other.key === anchor), to = shown.indexOf(item);
  if (far && from >= 0) {
    for (const other of shown.slice(Math.min(from, to), Math.max(from, to) + 1)) chosen.add(other.key);
  } else if (!chosen.delete(item.key)) chosen.add(item.key);
  anchor = item.key;
  drawChosen();
}

press = (item, event) => {
  if (event.ctrlKey || event.metaKey || event.shiftKey) return choose(item, event.shiftKey);
  [opened, anchor] = [item.key, item.key];
  drawChosen();
  trigger("select", { value: item.key });
};
grid.addEventListener("click", (event) => {
  if (!event.target.matches(".card-choose")) return;
  choose(all().find((item) => item.key === event.target.dataset.key), event.shiftKey);
});
grid.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && chosen.size) chosen.clear();
  else if (event.key === "a" && (event.ctrlKey || event.metaKey)) shown.forEach((item) => chosen.add(item.key));
  else return;
  event.preventDefault();
  drawChosen();
});

function answer(text, bad = false) {
  chosenAnswer.textContent = text;
  chosenAnswer.classList.toggle("message-bad", bad);
  chosenAnswer.hidden = !text;
}

// What was done, and why some of it was not.
function tell({ said, problems, tokens }) {
  answer([said, ...problems].filter(Boolean).join(" "), problems.length > 0);
  thrown = tokens || [];
  undo.hidden = thrown.length === 0;
}

async function exportChosen() {
  const body = JSON.stringify({ cards: [...chosen], as: bar.querySelector(".chosen-format").value });
  const reply = await fetch("embedding-archives", { method: "POST", headers: { "Content-Type": "application/json" }, body });
  if (!reply.ok) return answer((await reply.json()).detail || "The files could not be packed.", true);
  const link = tag("a", "");
  link.href = URL.createObjectURL(await reply.blob());
  link.download = "embeddings.zip";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
  const left = Number(reply.headers.get("X-Left-Out"));
  answer(left ? `${left} could not be packed; left-out.txt in the archive says why.` : "The archive is made.", left > 0);
}

const actions = {
  all: () => shown.forEach((item) => chosen.add(item.key)),
  none: () => chosen.clear(),
  move: async () => tell(await server.move({ keys: [...chosen], folder: bar.querySelector(".chosen-folder").value })),
  export: exportChosen,
  delete: async () => tell(await server.delete({ keys: [...chosen] })),
};
bar.addEventListener("click", async (event) => {
  const button = event.target.closest("[data-do]");
  if (!button) return;
  await actions[button.dataset.do]();
  drawChosen();
});
undo.addEventListener("click", async () => {
  tell(await server.restore({ tokens: thrown }));
  grid.focus();
});
document.addEventListener("cards:change", () => {
  const there = new Set(all().map((item) => item.key));
  for (const key of chosen) if (!there.has(key)) chosen.delete(key);
  drawChosen();
});
// Details that are closed give the focus back to their card.
document.addEventListener("details:shown", (event) => {
  const place = shown.findIndex((item) => item.key === opened);
  const here = document.activeElement, there = here === document.body || here.closest("#details-panel");
  opened = event.detail;
  drawChosen();
  if (!opened && there && place >= 0) focusCard(place);
});

// Dropped files take the way of those chosen with the button.
const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
element.addEventListener("dragover", (event) => {
  if (!hasFiles(event)) return;
  event.preventDefault();
  element.classList.add("cards-dropping");
});
element.addEventListener("dragleave", (event) => {
  if (!element.contains(event.relatedTarget)) element.classList.remove("cards-dropping");
});
element.addEventListener("drop", (event) => {
  element.classList.remove("cards-dropping");
  if (!hasFiles(event)) return;
  event.preventDefault();
  const input = document.querySelector("#add-embeddings input[type=file]");
  input.files = event.dataTransfer.files;
  input.dispatchEvent(new Event("change", { bubbles: true }));
});
drawChosen();
