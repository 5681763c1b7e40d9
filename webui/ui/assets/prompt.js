// The two prompt boxes: which one had the focus last, edits that Ctrl+Z takes back, weight keys.
window.promptBoxes = (() => {
  const BOXES = ".prompt-box textarea";
  const STEP = 0.1;
  const WEIGHTED = /\(((?:\\.|[^()\\])*):\s*(-?[\d.]+)\s*\)/g;
  let last = null;
  const names = {};

  document.addEventListener("focusin", (event) => {
    if (event.target.matches?.(BOXES)) last = event.target;
  });

  const positive = () => document.querySelector("#prompt textarea");
  const negative = () => document.querySelector("#negative-prompt textarea");
  const target = () => (last?.isConnected ? last : positive());

  // Put text in place of [start, end). A visible box gets an edit that the browser can undo; one
  // on a hidden tab cannot be focused, so its value is set and the page is told.
  function replace(box, start, end, text) {
    const visible = box.offsetParent !== null;
    if (visible) {
      box.focus();
      box.setSelectionRange(start, end);
      if (text === "" && start === end) return;
      if (document.execCommand(text ? "insertText" : "delete", false, text)) return;
    }
    box.setRangeText(text, start, end, "end");
    box.dispatchEvent(new InputEvent("input", { bubbles: true, inputType: "insertText" }));
  }

  const isWordPart = (character) => character !== undefined && /[\p{L}\p{N}_\-]/u.test(character);

  // Where `call` stands in the text as a whole word, with its brackets and weight around it.
  function find(text, call) {
    const haystack = text.toLowerCase(), needle = call.toLowerCase();
    for (let at = haystack.indexOf(needle); at >= 0; at = haystack.indexOf(needle, at + 1)) {
      let start = at, end = at + needle.length;
      if (isWordPart(text[start - 1]) || isWordPart(text[end])) continue;
      for (;;) {
        const closing = /^(?::\s*-?[\d.]+\s*)?[)\]]/.exec(text.slice(end));
        if (!closing || !"([".includes(text[start - 1] ?? " ")) break;
        start -= 1;
        end += closing[0].length;
      }
      return { start, end };
    }
    return null;
  }

  function insert(box, call) {
    const { selectionStart: start, selectionEnd: end, value } = box;
    const before = value.slice(0, start), after = value.slice(end);
    const lead = before === "" || /[\s(\[]$/.test(before) ? "" : /,$/.test(before) ? " " : ", ";
    const tail = after === "" || /^[\s,):\]]/.test(after) ? "" : ", ";
    replace(box, start, end, lead + call + tail);
  }

  function remove(box, { start, end }) {
    const value = box.value;
    const comma = /,\s*$/.exec(value.slice(0, start));
    if (comma) start = comma.index;
    else end += /^\s*,?\s*/.exec(value.slice(end))[0].length;
    replace(box, start, end, "");
  }

  // Put an embedding's call at the caret, or take it out again if it is there already.
  // Returns what was done, in words for the page.
  function toggle(call, name, side) {
    const box = side === "negative" ? negative() : target();
    const label = box === negative() ? "the negative prompt" : "the prompt";
    const found = find(box.value, name) ?? find(box.value, call);
    if (found) remove(box, found);
    else insert(box, call);
    return found ? `Took ${name} out of ${label}.` : `Put ${name} into ${label}.`;
  }

  function setPositive(text) {
    const box = positive();
    replace(box, 0, box.value.length, text);
  }

  // What is known to be called in a box, so that names with blanks and brackets move as one.
  function know(boxId, called) {
    names[boxId] = called.flatMap((name) => [name.replace(/[()[\]\\]/g, "\\$&"), name]);
  }

  function nameAt(text, start, end, called) {
    const haystack = text.toLowerCase();
    for (const name of called) {
      const needle = name.toLowerCase();
      for (let at = haystack.indexOf(needle); at >= 0; at = haystack.indexOf(needle, at + 1)) {
        if (at <= start && end <= at + needle.length) return { from: at, to: at + needle.length };
      }
    }
    return null;
  }

  // The words whose weight a key changes: an existing (words:1.2) around the selection, else the
  // embedding's name or the selection, else the word at the caret.
  function around(text, start, end, called) {
    for (const match of text.matchAll(WEIGHTED)) {
      const from = match.index, to = from + match[0].length;
      if (from <= start && end <= to) {
        return { from, to, words: match[1], weight: Number(match[2]) };
      }
    }
    const name = nameAt(text, start, end, called);
    if (name) {
      [start, end] = [name.from, name.to];
    } else if (start === end) {
      while (start > 0 && /[^\s,():]/.test(text[start - 1])) start -= 1;
      while (end < text.length && /[^\s,():]/.test(text[end])) end += 1;
    } else {
      while (start < end && /\s/.test(text[start])) start += 1;
      while (end > start && /\s/.test(text[end - 1])) end -= 1;
    }
    return start < end ? { from: start, to: end, words: text.slice(start, end), weight: 1 } : null;
  }

  function changeWeight(box, by) {
    const called = names[box.closest(".prompt-box").id] || [];
    const hit = around(box.value, box.selectionStart, box.selectionEnd, called);
    if (!hit) return;
    const weight = Math.round((hit.weight + by) * 100) / 100;
    const plain = Math.abs(weight - 1) < 1e-6;
    replace(box, hit.from, hit.to, plain ? hit.words : `(${hit.words}:${weight})`);
    const from = hit.from + (plain ? 0 : 1);
    box.setSelectionRange(from, from + hit.words.length);
  }

  document.addEventListener("keydown", (event) => {
    const box = event.target.matches?.(BOXES) ? event.target : null;
    const command = event.ctrlKey || event.metaKey;
    if (box && command && event.key === "Enter") {
      event.preventDefault();
      document.querySelector("#generate")?.click();
    } else if (box && event.altKey && event.key === "Enter") {
      event.preventDefault();
      document.querySelector("#skip")?.click();
    } else if (event.key === "Escape" && !event.defaultPrevented) {
      document.querySelector("#interrupt")?.click();
    } else if (box && command && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      event.preventDefault();
      changeWeight(box, event.key === "ArrowUp" ? STEP : -STEP);
    }
  }, true);

  return { toggle, know, replace, setPositive };
})();
