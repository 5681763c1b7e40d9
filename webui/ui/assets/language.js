// The page in another language. English stands in the page and is the key; where the language that
// was chosen has an entry for it, that is shown in its place, of whatever comes later, too. Of an
// entry with holes {} is kept, {n} is a number, and {text} is looked up itself. Texts are set as
// text, never as markup. Names, prompts and what people typed stay as they are.
window.language = (() => {
  const KEY = "embeddings-webui.language", ENGLISH = "en";
  const TABLES = window.languageTables ?? {}; // address of the table by language
  const SHOWN = ["placeholder", "title", "aria-label", "aria-description", "alt", "data-hint"];
  // The texts inside stay, and what is said of it all, such as its title, does not.
  const KEPT = "[translate=no], .notranslate, .names [role=listbox], .names .token, .model-state strong, .finding strong, " +
    "textarea, [contenteditable=true], script, style, code, pre";
  const MENU = "input[role=combobox]";
  const HOLE = /\{(?:n|text)?\}/g, NUMBER = /^[\d.,%+\-−]+$/, LETTER = /\p{L}/u, NEXT_SENTENCE = /[.!?…] \p{Lu}/u;
  const MOST_CACHED = 5000, LONGEST = 3000;
  let exact = new Map(), patterns = new Map(), cache = new Map();
  let code = chosen(), observer = null;
  const texts = new WeakMap(), attributes = new WeakMap(), menus = new WeakMap();

  // As it was chosen here; else the first language of the browser that there is.
  function chosen() {
    let wanted = null;
    try {
      wanted = localStorage.getItem(KEY);
    } catch {
      // no storage, no choice
    }
    const known = (name) => name === ENGLISH || name in TABLES;
    return [wanted, ...navigator.languages.map((name) => name.slice(0, 2).toLowerCase())].find(known) ?? ENGLISH;
  }

  // Patterns lie under the first word before their first hole, under "" where there is none.
  const firstWord = (text) => /^\S+(?= )/.exec(text)?.[0] ?? "";
  function learn(entries) {
    [exact, patterns, cache] = [new Map(), new Map(), new Map()];
    for (const [key, value] of Object.entries(entries)) {
      if (typeof value !== "string") continue;
      const literals = key.split(HOLE), holes = key.match(HOLE) ?? [], word = firstWord(literals[0]);
      if (!holes.length) {
        exact.set(key, value);
        continue;
      }
      const said = literals.join(""), strict = !LETTER.test(said), made = value.split(HOLE);
      if (!said || made.length !== literals.length) continue; // a person's own table may have anything
      if (!patterns.has(word)) patterns.set(word, []);
      patterns.get(word).push({ literals, holes, made, length: said.length, strict });
    }
    // What says the most of a text comes first.
    for (const list of patterns.values()) list.sort((a, b) => b.length - a.length);
  }

  // What a pattern makes of a text, null if it does not fit: one walk from left to right.
  function fill({ literals, holes, made, strict }, text) {
    const end = text.length - literals.at(-1).length;
    let at = literals[0].length, filled = made[0];
    if (end <= at || !text.startsWith(literals[0]) || !text.endsWith(literals.at(-1))) return null;
    for (let hole = 0; hole < holes.length; hole += 1) {
      const next = hole === holes.length - 1 ? end : text.indexOf(literals[hole + 1], at + 1);
      if (next <= at || next > end) return null;
      const said = filling(holes[hole], text.slice(at, next), strict);
      if (said === null) return null;
      filled += said + made[hole + 1];
      at = next + literals[hole + 1].length;
    }
    return filled;
  }

  // What stands in a hole. One that is kept ends with its sentence.
  function filling(hole, part, strict) {
    if (hole === "{n}") return NUMBER.test(part) ? part : null;
    if (hole === "{}") return NEXT_SENTENCE.test(part) ? null : part;
    return find(part) ?? listed(part) ?? (strict ? null : part);
  }

  // Each of several things between commas, if all have entries.
  function listed(text) {
    const parts = text.includes(", ") ? text.split(", ").map(find) : [null];
    return parts.includes(null) ? null : parts.join(", ");
  }

  // Parts with an entry between others that have none; null if none has.
  function joined(parts, separator) {
    const found = parts.length > 1 ? parts.map(find) : [null];
    if (found.every((part) => part === null)) return null;
    return found.map((part, place) => part ?? parts[place]).join(separator);
  }

  // Sentences one after the other; an entry may hold several of them.
  function sentences(text) {
    const rest = text.split(/(?<=[.!?…]) /), said = [];
    let some = false;
    while (said.length || rest.length > 1) {
      if (!rest.length) break;
      let most = said.length ? rest.length : rest.length - 1, found = null;
      while (most > 0 && (found = entry(rest.slice(0, most).join(" "))) === null) most -= 1;
      said.push(found ?? rest[0]);
      some ||= found !== null;
      rest.splice(0, Math.max(most, 1));
    }
    return some ? said.join(" ") : null;
  }

  function entry(text) {
    if (exact.has(text)) return exact.get(text);
    for (const word of new Set([firstWord(text), ""])) {
      for (const pattern of patterns.get(word) ?? []) {
        const filled = fill(pattern, text);
        if (filled !== null) return filled;
      }
    }
    return null;
  }

  // The text of the table for a text, null if it has none.
  function find(text) {
    if (!LETTER.test(text)) return text;
    if (cache.has(text)) return cache.get(text);
    const found = text.length > LONGEST ? null
      : exact.get(text) ?? joined(text.split(" · "), " · ") ?? entry(text) ?? sentences(text);
    if (cache.size >= MOST_CACHED) cache.clear();
    cache.set(text, found);
    return found;
  }

  function say(text) {
    if (!exact.size) return text;
    const [, before, core, after] = /^(\s*)(.*?)(\s*)$/s.exec(text);
    const found = core && find(core.replace(/\s+/g, " "));
    return found ? before + found + after : text;
  }

  // What stood there in English, and what is shown now; as long as it is still that.
  function turn(known, now) {
    const said = known && known.shown === now ? known.said : now;
    return { said, shown: say(said) };
  }

  function turnText(node) {
    const now = turn(texts.get(node), node.data);
    texts.set(node, now);
    if (node.data !== now.shown) node.data = now.shown;
  }

  function turnAttribute(element, name) {
    const value = element.getAttribute(name);
    if (!value) return;
    const known = attributes.get(element) ?? {};
    known[name] = turn(known[name], value);
    attributes.set(element, known);
    if (value !== known[name].shown) element.setAttribute(name, known[name].shown);
  }

  // A menu of Gradio shows what was chosen in an input. Whoever sets or reads its value deals in
  // English, as the menu's choices are; what is typed there is read as it stands.
  const { get, set } = Object.getOwnPropertyDescriptor(HTMLInputElement.prototype, "value");
  function turnMenu(input) {
    let known = menus.get(input);
    if (!known) {
      menus.set(input, known = { said: get.call(input), shown: get.call(input) });
      Object.defineProperty(input, "value", {
        configurable: true,
        get: () => (get.call(input) === known.shown ? known.said : get.call(input)),
        set: (value) => {
          known.said = String(value ?? "");
          known.shown = say(known.said);
          set.call(input, known.shown);
        },
      });
    }
    input.value = input.value;
  }

  const isKept = (node) => Boolean(node.parentElement?.closest(KEPT));
  const isMenu = (element) => element.matches(MENU) && !element.closest(".names");
  function turnElement(element) {
    for (const name of SHOWN) if (element.hasAttribute(name)) turnAttribute(element, name);
    if (isMenu(element)) turnMenu(element);
  }

  // All that is in a part of the page, without what is kept.
  function turnAll(root) {
    const around = root.nodeType === Node.ELEMENT_NODE ? root : root.parentElement;
    if (!around || isKept(root)) return;
    if (root !== around) return turnText(root);
    const takes = (node) => {
      if (node.nodeType === Node.TEXT_NODE) return NodeFilter.FILTER_ACCEPT;
      turnElement(node);
      return node.matches(KEPT) ? NodeFilter.FILTER_REJECT : NodeFilter.FILTER_SKIP;
    };
    turnElement(root);
    if (root.matches(KEPT)) return;
    const walker = document.createTreeWalker(root, NodeFilter.SHOW_ELEMENT | NodeFilter.SHOW_TEXT, takes);
    while (walker.nextNode()) turnText(walker.currentNode);
  }

  function follow(records) {
    for (const { type, target, addedNodes, attributeName } of records) {
      if (type === "attributes") {
        if (!isKept(target)) turnAttribute(target, attributeName);
      } else if (type === "characterData") {
        if (target.nodeType === Node.TEXT_NODE) turnAll(target);
      } else {
        for (const node of addedNodes) {
          if (node.nodeType === Node.ELEMENT_NODE || node.nodeType === Node.TEXT_NODE) turnAll(node);
        }
      }
    }
    observer.takeRecords(); // they are of what was just done
  }

  async function show(wanted) {
    code = wanted;
    const answer = wanted === ENGLISH ? null : await fetch(TABLES[wanted]).catch(() => null);
    const entries = answer?.ok ? await answer.json() : {};
    if (code !== wanted) return; // another was chosen meanwhile
    if (!answer?.ok) code = ENGLISH;
    document.documentElement.lang = code;
    learn(entries);
    if (!exact.size && !observer) return;
    // Once there was another language, what is hidden for a while may have to come back in English.
    observer ??= new MutationObserver(follow);
    turnAll(document.documentElement);
    observer.observe(document.documentElement, {
      subtree: true, childList: true, characterData: true, attributes: true, attributeFilter: SHOWN,
    });
    observer.takeRecords();
    document.dispatchEvent(new CustomEvent("language:change"));
  }

  function choose(wanted) {
    try {
      localStorage.setItem(KEY, wanted);
    } catch {
      // no storage, so the choice holds until the page is left
    }
    return show(wanted);
  }

  if (code !== ENGLISH) show(code);

  return { say, choose, get code() { return code; } };
})();
