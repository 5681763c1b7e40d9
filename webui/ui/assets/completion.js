// Offers the names of embeddings while a prompt is being typed. Tab or a click takes one, the
// arrow keys choose, Enter takes what they chose, Escape closes. The box itself keeps the focus and
// names the chosen one to screen readers. Names are strangers' text and are set as text.
const FEWEST = 2, WAIT_MS = 120;
const list = element.querySelector(".completion"), said = element.querySelector(".unseen");
let box = null, start = 0, offers = [], chosen = 0, moved = false, timer, asked = 0;

// The beginning of a name before the caret: back to a comma, a bracket or a line's end, and, if
// nothing is found for that, back to the last blank.
function fragments(text, caret) {
  const before = text.slice(0, caret);
  const long = /[^,()\[\]<>|\n]*$/.exec(before)[0].replace(/^\s*(?:embedding:)?/, "");
  const short = /\S*$/.exec(long)[0];
  return [...new Set([long, short])].filter((part) => part.length >= FEWEST && !/^[\d.:]/.test(part));
}

function close() {
  offers = [];
  list.hidden = true;
  said.textContent = "";
  box?.removeAttribute("aria-activedescendant");
  asked += 1;
  clearTimeout(timer);
}

function option(item, index) {
  const node = document.createElement("button");
  node.type = "button";
  node.tabIndex = -1;
  node.id = `completion-${index}`;
  node.className = "completion-option";
  node.setAttribute("role", "option");
  node.setAttribute("aria-selected", String(index === chosen));
  if (item.thumbnail) {
    const image = new Image();
    image.alt = "";
    image.src = item.thumbnail;
    image.addEventListener("error", () => image.remove());
    node.append(image);
  }
  node.append(Object.assign(document.createElement("span"), { textContent: item.name, translate: false }));
  node.append(Object.assign(document.createElement("small"), { textContent: item.about }));
  node.addEventListener("mousedown", (event) => {
    event.preventDefault();
    take(index);
  });
  return node;
}

function draw() {
  list.replaceChildren(...offers.map(option));
  list.hidden = offers.length === 0;
  if (list.hidden) return;
  box.setAttribute("aria-autocomplete", "list");
  box.setAttribute("aria-controls", list.id);
  box.setAttribute("aria-activedescendant", `completion-${chosen}`);
  list.children[chosen].scrollIntoView({ block: "nearest" });
  const place = box.getBoundingClientRect();
  Object.assign(list.style, { left: `${place.left}px`, top: `${place.bottom + 4}px`, width: `${Math.min(place.width, 420)}px` });
}

// What an offer writes: its call, or the name alone where an explicit call has been begun.
function written(item, before, after) {
  const begun = /(<(?:embedding:)?|embedding:)$/.exec(before);
  if (!begun) return item.call;
  return begun[0][0] === "<" && after[0] !== ">" ? `${item.name}>` : item.name;
}

function take(index) {
  const item = offers[index], end = box.selectionStart, { value } = box;
  close();
  window.promptBoxes.replace(box, start, end, written(item, value.slice(0, start), value.slice(end)));
}

async function ask(target) {
  const mine = ++asked, caret = target.selectionStart;
  for (const part of fragments(target.value, caret)) {
    const found = await server.complete(part);
    if (mine !== asked || document.activeElement !== target) return;
    if (found.length) {
      [box, start, offers, chosen, moved] = [target, caret - part.length, found, 0, false];
      draw();
      said.textContent = `${found.length} embedding${found.length === 1 ? "" : "s"}: Tab takes one, the arrow keys choose.`;
      return;
    }
  }
  close();
}

const isPrompt = (node) => node.matches?.(".prompt-box textarea");
document.addEventListener("input", (event) => {
  if (!isPrompt(event.target) || event.inputType === undefined) return;
  clearTimeout(timer);
  timer = setTimeout(() => ask(event.target), WAIT_MS);
});
document.addEventListener("keydown", (event) => {
  if (list.hidden || event.target !== box) return;
  const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
  if (step && !event.ctrlKey && !event.metaKey) {
    [chosen, moved] = [(chosen + step + offers.length) % offers.length, true];
    draw();
  } else if ((event.key === "Tab" || (event.key === "Enter" && moved)) && !event.shiftKey && !event.ctrlKey && !event.metaKey) take(chosen);
  else if (event.key === "Escape") close();
  else return;
  event.preventDefault();
  event.stopPropagation();
}, true);
document.addEventListener("focusout", (event) => isPrompt(event.target) && close());
document.addEventListener("scroll", (event) => event.target !== list && close(), true);
