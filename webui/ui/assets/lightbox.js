// The gallery's images in full size: one at a time, enlarged, or two above each other to compare.
// Arrow keys go through them, + and - enlarge, 0 fits, C compares, P shows pixels, Delete deletes.
window.lightbox = (() => {
  const PIXELS = "embeddings-webui.pixels", ZOOM = 1.25, MOST = 32;
  let images = [], former = null, shown = 0, other = null, zoom = 1, deleted = false, parts = null;

  const thumbnails = () => document.querySelectorAll("#gallery .thumbnails .thumbnail-item");
  const opened = () => parts?.dialog.open;

  function make(tag, attributes = {}, ...children) {
    const node = document.createElement(tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  }

  function button(label, symbol, act, keys) {
    const node = make("button", { type: "button", title: `${label} (${keys})`, "aria-label": label }, symbol);
    node.setAttribute("aria-keyshortcuts", keys);
    node.addEventListener("click", act);
    return node;
  }

  function build() {
    const title = make("p", { class: "lightbox-title", role: "status" });
    const pixels = button("Show pixels", "▦", togglePixels, "P");
    const choice = make("select", { "aria-label": "Compare with" });
    const front = make("img"), back = make("img", { class: "lightbox-back" });
    const stage = make("div", { class: "lightbox-stage", tabindex: "0" }, make("div", { class: "lightbox-frame" }, front, back));
    const slider = make("input", { type: "range", min: "0", max: "100", "aria-label": "Where the compared image begins, in per cent" });
    const dialog = make(
      "dialog", { id: "lightbox", "aria-label": "Image in full size" },
      make(
        "div", { class: "lightbox-bar" }, title, make("label", {}, "Compare with ", choice),
        button("Smaller", "−", () => scale(zoom / ZOOM), "-"), button("Larger", "+", () => scale(zoom * ZOOM), "+"),
        button("Fit", "⤢", () => scale(1), "0"), pixels,
        button("Delete", "🗑", remove, "Delete"), button("Close", "✕", () => dialog.close(), "Escape"),
      ),
      button("Previous image", "‹", () => go(-1), "ArrowLeft"), stage, button("Next image", "›", () => go(1), "ArrowRight"), slider,
    );
    parts = { dialog, title, pixels, choice, front, back, stage, slider };
    choice.addEventListener("change", () => compareWith(choice.value));
    slider.addEventListener("input", cut);
    front.addEventListener("load", fit);
    stage.addEventListener("wheel", (event) => {
      event.preventDefault();
      scale(event.deltaY < 0 ? zoom * ZOOM : zoom / ZOOM);
    }, { passive: false });
    dialog.addEventListener("keydown", keys);
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    document.querySelector(".gradio-container").append(dialog); // where the theme's colours hold
    window.addEventListener("resize", fit);
    showPixels();
  }

  // Every image but the one that is shown can be compared, and the first of the images before.
  function others() {
    const named = images.map(({ image, caption }, place) => [String(place), caption || `Image ${place + 1}`, image.url]);
    if (former) named.push(["former", "the image before", former]);
    return named.filter(([key]) => key !== String(shown));
  }

  function draw() {
    const { title, choice, front, back, slider, dialog } = parts;
    const { image, caption } = images[shown];
    const found = others();
    if (!found.some(([key]) => key === other)) other = null;
    title.textContent = [caption, deleted && "deleted one; Ctrl+Z brings it back"].filter(Boolean).join(" · ");
    front.src = image.url;
    front.alt = caption ?? "Generated image";
    choice.replaceChildren(...[["", "nothing"], ...found].map(([value, label]) => make("option", { value }, label)));
    choice.value = other ?? "";
    choice.disabled = !found.length;
    back.hidden = slider.hidden = other === null;
    if (other !== null) {
      const [, label, url] = found.find(([key]) => key === other);
      back.src = url;
      back.alt = `Compared: ${label}`;
    }
    dialog.classList.toggle("lightbox-alone", images.length < 2);
    cut();
  }

  function cut() {
    parts.back.style.clipPath = `inset(0 0 0 ${parts.slider.value}%)`;
  }

  // The frame is as large as the image fits into the stage, times the zoom.
  function fit() {
    if (!opened()) return;
    const { front, stage } = parts;
    const { naturalWidth: width, naturalHeight: height } = front;
    if (!width) return;
    const fitting = Math.min(stage.clientWidth / width, stage.clientHeight / height);
    front.parentElement.style.width = `${Math.floor(width * fitting * zoom)}px`;
    front.parentElement.style.aspectRatio = `${width} / ${height}`;
  }

  function scale(wanted) {
    zoom = Math.min(MOST, Math.max(1, wanted));
    fit();
  }

  function go(step) {
    select((shown + step + images.length) % images.length);
  }

  // The gallery looks at the same image, so that its buttons and the parameters are of this one.
  function select(place) {
    [shown, deleted] = [place, false];
    thumbnails()[place]?.click();
    draw();
  }

  function compareWith(key) {
    other = key || null;
    if (other !== null) parts.slider.value = 50;
    draw();
  }

  function remove() {
    deleted = true;
    document.querySelector("#delete-picture").click();
  }

  function showPixels() {
    let wanted = false;
    try {
      wanted = localStorage.getItem(PIXELS) === "true";
    } catch {
      // no storage, no choice
    }
    document.body.classList.toggle("show-pixels", wanted);
    parts?.pixels.setAttribute("aria-pressed", String(wanted));
  }

  function togglePixels() {
    try {
      localStorage.setItem(PIXELS, String(!document.body.classList.contains("show-pixels")));
    } catch {
      // forbidden
    }
    showPixels();
  }

  function keys(event) {
    if ((event.ctrlKey || event.metaKey) && event.key === "z") {
      deleted = false;
      document.querySelector("#undo-picture")?.click();
    }
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const of_control = event.target.matches("select, input");
    const moves = { ArrowLeft: () => go(-1), ArrowRight: () => go(1), Home: () => select(0), End: () => select(images.length - 1) };
    const act = (!of_control && moves[event.key]) || {
      "+": () => scale(zoom * ZOOM), "=": () => scale(zoom * ZOOM), "-": () => scale(zoom / ZOOM), 0: () => scale(1),
      p: togglePixels, c: () => compareWith(other === null ? (others()[0]?.[0] ?? "") : ""), Delete: remove,
    }[event.key];
    if (!act) return;
    event.preventDefault();
    act();
  }

  function open() {
    if (!images.length) return;
    if (!parts) build();
    shown = Math.max(0, [...thumbnails()].findIndex((item) => item.matches(".selected")));
    [zoom, other, deleted] = [1, null, false];
    if (!opened()) parts.dialog.showModal();
    parts.stage.focus();
    draw();
    fit();
  }

  function compare() {
    open();
    if (opened()) compareWith(others()[0]?.[0] ?? "");
  }

  // The gallery has other images: those of a new drawing, or fewer after one was deleted.
  function show(given) {
    const old = images[0]?.image.url;
    images = (given || []).filter(({ image }) => image?.url);
    if (old && images.length && !images.some(({ image }) => image.url === old)) former = old;
    if (!opened()) return;
    if (!images.length) return parts.dialog.close();
    shown = Math.min(shown, images.length - 1);
    draw();
  }

  // A click on the image, which Gradio takes for the way to the next one, opens it here.
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#gallery .media-button") || !images.length) return;
    event.preventDefault();
    event.stopPropagation();
    open();
  }, true);
  addEventListener("DOMContentLoaded", showPixels);

  return { show, open, compare, togglePixels };
})();
