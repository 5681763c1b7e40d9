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

  // Dark or light, as it was chosen here; without a choice, as the system has it.
  const KEY = "embeddings-webui.theme";
  window.switchTheme = () => {
    const theme = document.body.classList.toggle("dark") ? "dark" : "light";
    try {
      localStorage.setItem(KEY, theme);
    } catch {
      // a private window may have no storage
    }
  };
  addEventListener("load", () => {
    try {
      const theme = localStorage.getItem(KEY);
      if (theme && !location.search.includes("__theme")) {
        document.body.classList.toggle("dark", theme === "dark");
      }
    } catch {
      // no storage, no choice
    }
  });
})();
