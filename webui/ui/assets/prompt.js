// The two prompt boxes: which one had the focus last, edits that Ctrl+Z takes back, keys. What an
// edit does is decided by the server, with the rules that read prompts for drawing.
window.promptBoxes = (() => {
  const BOXES = ".prompt-box textarea";
  let last = null;
  let queue = Promise.resolve();

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

  // Positions are counted in code points on the server and in UTF-16 units here.
  const points = (text, place) => [...text.slice(0, place)].length;
  const units = (letters, place) => letters.slice(0, place).join("").length;

  async function ask(box, wish) {
    const text = box.value, places = [box.selectionStart, box.selectionEnd];
    const [start, end] = places.map((place) => points(text, place));
    const anywhere = Boolean(document.querySelector("#match-anywhere input")?.checked);
    const answer = await fetch("prompt-edits", {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ text, start, end, anywhere, ...wish }),
    });
    return answer.ok ? [text, await answer.json()] : [text, null];
  }

  // Change only what differs, so that Ctrl+Z takes back no more than that.
  function apply(box, edit) {
    const old = [...box.value], now = [...edit.text];
    const least = Math.min(old.length, now.length);
    let first = 0, last = 0;
    while (first < least && old[first] === now[first]) first += 1;
    while (last < least - first && old.at(-1 - last) === now.at(-1 - last)) last += 1;
    const text = now.slice(first, now.length - last).join("");
    replace(box, units(old, first), units(old, old.length - last), text);
    box.setSelectionRange(units(now, edit.start), units(now, edit.end));
  }

  // Edits come one after the other. What was typed while the answer was on its way is edited anew.
  function edit(box, wish) {
    const done = queue.then(async () => {
      for (let tries = 0; tries < 5; tries += 1) {
        const [text, changed] = await ask(box, wish);
        if (!changed) return null;
        if (box.value !== text) continue;
        if (changed.text !== text) apply(box, changed);
        return changed;
      }
      return null;
    });
    queue = done.catch(() => null);
    return queue;
  }

  // Put a card's call into a prompt, or take it out again if it is there already; without a side
  // that is the prompt that had the focus last. Returns what was done, in words for the page.
  async function toggle(wish, name, side) {
    const box = side === "negative" ? negative() : side === "positive" ? positive() : target();
    const label = box === negative() ? "the negative prompt" : "the prompt";
    const changed = await edit(box, wish);
    if (!changed) return `The server did not answer, so ${label} is as it was.`;
    return changed.taken ? `Took ${name} out of ${label}.` : `Put ${name} into ${label}.`;
  }

  function setPositive(text) {
    const box = positive();
    replace(box, 0, box.value.length, text);
  }

  // Whether Escape closes something: a menu, a picture in full size, a search.
  const takesEscape = (node) =>
    document.fullscreenElement ||
    node.matches?.("input[type=search], [aria-expanded=true], :open") ||
    document.querySelector("dialog[open], .block.fullscreen, [role=listbox]:not([hidden]), [aria-modal=true]");

  document.addEventListener("keydown", (event) => {
    const box = event.target.matches?.(BOXES) ? event.target : null;
    const command = event.ctrlKey || event.metaKey;
    if (box && command && event.key === "Enter") {
      event.preventDefault();
      document.querySelector("#generate")?.click();
    } else if (box && event.altKey && event.key === "Enter") {
      event.preventDefault();
      document.querySelector("#skip")?.click();
    } else if (box && command && (event.key === "ArrowUp" || event.key === "ArrowDown")) {
      event.preventDefault();
      edit(box, { steps: event.key === "ArrowUp" ? 1 : -1 });
    }
  }, true);

  // Looked at before anybody closes something, acted on after all had their turn.
  let taken = false;
  window.addEventListener("keydown", (event) => {
    taken = event.key === "Escape" && Boolean(takesEscape(event.target));
  }, true);
  window.addEventListener("keydown", (event) => {
    if (event.key === "Escape" && !taken && !event.defaultPrevented) {
      document.querySelector("#interrupt")?.click();
    }
  });

  // Empty both boxes; Ctrl+Z in each brings its text back.
  function clear() {
    for (const box of [negative(), positive()]) replace(box, 0, box.value.length, "");
  }

  return { toggle, replace, setPositive, clear };
})();
