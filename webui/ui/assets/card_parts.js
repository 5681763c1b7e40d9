// What the grids and the details of a card are made of. Names come from strangers' files, so every
// text is set as text, never as markup.
window.cardParts = (() => {
  function tag(name, className, text) {
    const node = document.createElement(name);
    node.className = className;
    if (text !== undefined) node.textContent = text;
    return node;
  }

  // A picture of the embedding made of its content hash: always the same, always there.
  function emblem(item) {
    const box = tag("span", "card-emblem notranslate", [...item.name].slice(0, 2).join("").toUpperCase());
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

  return { tag, picture };
})();
