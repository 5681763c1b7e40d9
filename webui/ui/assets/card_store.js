// Holds what is known of all cards, once for all grids of the page. The value only says that
// something changed; what did is fetched: of embeddings, of which there may be thousands, only what
// is new; of checkpoints and LoRAs all, once a grid of them has been opened.
const known = new Map(), called = new Map();
let run = "", revision = 0, fetching = false, wanted = "", shown = null;

const tell = (kinds) => document.dispatchEvent(new CustomEvent("cards:change", { detail: kinds }));

async function bring() {
  wanted = props.value;
  if (fetching || wanted === shown) return;
  fetching = true;
  try {
    const asked = wanted, answer = await fetch(`cards?run=${run}&revision=${revision}`);
    if (!answer.ok) return;
    const news = await answer.json();
    if (news.all) known.clear();
    for (const item of news.changed) known.set(item.key, item);
    for (const key of news.gone) known.delete(key);
    [run, revision, shown] = [news.run, news.revision, asked];
    if (news.all || news.changed.length || news.gone.length) {
      window.embeddingCards = [...known.values()];
      tell(["embeddings"]);
    }
    if (window.modelCards) await bringModels();
  } finally {
    fetching = false;
  }
  if (wanted !== shown) bring();
}

async function bringModels() {
  const answer = await fetch("model-cards");
  if (!answer.ok) return;
  window.modelCards = await answer.json();
  tell(["checkpoints", "loras"]);
}

// What the prompts call, as the lines under them have understood it; names are in lower case.
document.addEventListener("prompt:read", ({ detail: { box, pieces } }) => {
  called.set(box, pieces);
  const names = (kind, pieces) =>
    new Set(pieces.filter((piece) => piece.kind === kind).map((piece) => piece.name.toLowerCase()));
  const all = [...called.values()].flat(), side = (name) => names("embedding", called.get(name) ?? []);
  window.calledInPrompts = { embeddings: names("embedding", all), loras: names("lora", all),
    positive: side("prompt"), negative: side("negative-prompt") };
  document.dispatchEvent(new CustomEvent("cards:called"));
});
document.addEventListener("cards:wanted", bringModels);
watch("value", bring);
if (props.value) bring();
