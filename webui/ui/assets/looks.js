// What makes the page easy to use whatever is on it.
(() => {
  // Buttons that show a symbol have their name as text; a pointer and a keyboard see it as a title.
  for (const reached of ["mouseover", "focusin"]) {
    document.addEventListener(reached, (event) => {
      const button = event.target.closest?.(".tool-button");
      if (button) button.title = button.textContent.trim();
    });
  }

  // Gradio's gallery focuses the thumbnail of each new image, which scrolls the page and takes the
  // caret out of the prompt. It may keep the focus that it has, and take none from elsewhere.
  const focus = HTMLElement.prototype.focus;
  HTMLElement.prototype.focus = function (options) {
    const gallery = this.matches(".thumbnail-item") && this.closest(".block");
    if (gallery && !gallery.contains(document.activeElement)) return;
    focus.call(this, options);
  };

  // What Gradio's parts tell screen readers wrongly: an empty gallery is a named thing without a
  // role, and places for files are called otherwise than what stands on them.
  let mending = 0;
  function mend() {
    mending = 0;
    for (const empty of document.querySelectorAll("div.empty[aria-label]:not([role])")) {
      empty.setAttribute("role", "img");
    }
    for (const place of document.querySelectorAll("button[aria-dropeffect][aria-label]")) {
      place.removeAttribute("aria-label");
    }
  }
  new MutationObserver(() => {
    mending ||= setTimeout(mend, 100);
  }).observe(document.documentElement, { childList: true, subtree: true });

  // Dark or light, as it was chosen here; without a choice, as the address or the system has it.
  const KEY = "embeddings-webui.theme";
  window.switchTheme = () => {
    const theme = document.body.classList.toggle("dark") ? "dark" : "light";
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // a private window may have no storage
    }
  };
  try {
    const theme = localStorage.getItem(KEY);
    if (theme && !new URL(location).searchParams.has("__theme")) {
      document.body.classList.toggle("dark", theme === "dark");
    }
  } catch {
    // no storage, no choice
  }
})();
