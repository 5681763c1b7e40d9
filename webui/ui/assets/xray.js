// What a prompt was understood as, under its box: token count, embeddings, warnings. The server
// reads the text a moment after the last key; names are strangers' text and are set as text.
const WAIT_MS = 200;
const CHUNK = 75; // tokens that the text encoder reads at once
const line = element.querySelector(".xray");
let text = "", beside = "", timer, asked = 0;
let settings = props.settings; // steps and how prompts are read, in the server's order

function piece(className, content, title) {
  const node = document.createElement("span");
  node.className = className;
  node.textContent = content;
  node.translate = !className.startsWith("chip");
  if (title) node.title = title;
  return node;
}

function tokenCount(used, limit) {
  return piece("count", `${used}/${limit}`, "Tokens used, of those in the chunks");
}

function describe(item) {
  const weight = item.weight === 1 ? "" : ` × ${Math.round(item.weight * 1000) / 1000}`;
  if (item.kind === "embedding") {
    const vectors = `${item.vectors} vector${item.vectors === 1 ? "" : "s"}`;
    return piece("chip", `${item.name}${weight}`, `Embedding, ${vectors}`);
  }
  if (item.kind === "lora") {
    return item.missing
      ? piece("chip missing", `LoRA ${item.name}${weight}`, "There is no such file in models/lora")
      : piece("chip", `LoRA ${item.name}${weight}`);
  }
  if (item.kind === "break") return piece("mark", "⏎", "A new chunk of 75 tokens begins here");
  if (item.kind === "and") return piece("mark", `AND${weight}`);
  if (item.kind === "steps") return piece("mark", item.text);
  return null;
}

function draw(seen) {
  if (!seen) {
    line.replaceChildren(...(text.trim() ? [] : [tokenCount(0, CHUNK)]));
    return;
  }
  const count = tokenCount(seen.used, seen.limit);
  const pieces = seen.pieces.map(describe).filter(Boolean);
  const warnings = seen.warnings.map((warning) => piece("warn", `⚠ ${warning}`));
  line.replaceChildren(count, ...pieces, ...warnings);
}

async function look() {
  const mine = ++asked;
  const seen = text.trim() ? await server.look(text, beside, ...settings) : null;
  if (mine !== asked) return;
  draw(seen);
  const detail = { box: props.box, pieces: seen?.pieces ?? [] };
  document.dispatchEvent(new CustomEvent("prompt:read", { detail }));
}

function lookSoon() {
  clearTimeout(timer);
  timer = setTimeout(look, WAIT_MS);
}

document.addEventListener("prompt:change", (event) => {
  const written = event.detail.text ?? "";
  if (event.detail.box === props.box) text = written;
  else if (props.negative && (written + beside).includes("<")) beside = written; // its LoRAs count
  else return;
  lookSoon();
});
document.addEventListener("prompt:settings", (event) => {
  settings = event.detail;
  lookSoon();
});
watch("value", look);
draw(null);
