// What makes the page easy to use whatever is on it.
(() => {
  // Gradio's gallery focuses the thumbnail of each new image, which scrolls the page and takes the
  // caret out of the prompt. It may keep the focus that it has, and take none from elsewhere.
  const focus = HTMLElement.prototype.focus;
  HTMLElement.prototype.focus = function (options) {
    const gallery = this.matches(".thumbnail-item") && this.closest(".block");
    if (gallery && !gallery.contains(document.activeElement)) return;
    focus.call(this, options);
  };

  // What Gradio's parts tell screen readers wrongly: an empty gallery is a named thing without a
  // role, and places for files are called otherwise than what stands on them. Buttons that show a
  // symbol have their name as text, and a pointer sees it as a title.
  let mending = 0;
  function mend() {
    mending = 0;
    for (const empty of document.querySelectorAll("div.empty[aria-label]:not([role])")) {
      empty.setAttribute("role", "img");
    }
    const hint = document.querySelector("#gallery .empty");
    if (hint) hint.dataset.hint = "Your images appear here.";
    for (const place of document.querySelectorAll("button[aria-dropeffect][aria-label]")) {
      place.removeAttribute("aria-label");
    }
    for (const button of document.querySelectorAll(".tool-button")) {
      button.title = button.ariaLabel = button.textContent.trim();
    }
    openTabs();
  }
  new MutationObserver(() => {
    mending ||= setTimeout(mend, 100);
  }).observe(document.documentElement, { childList: true, subtree: true });
  document.addEventListener("language:change", mend);

  // The tabs that were open come back after a reload, those inside others once these are there.
  const TABS = "embeddings-webui.tabs";
  let closed = [];
  function openTabs() {
    for (const tab of closed.length ? document.querySelectorAll("[role=tab]") : []) {
      const place = closed.indexOf(tab.dataset.tabId);
      if (place < 0 || !tab.checkVisibility()) continue;
      closed.splice(place, 1);
      if (tab.ariaSelected !== "true") tab.click();
    }
  }
  addEventListener("pagehide", () => {
    const open = [...document.querySelectorAll("[role=tab][aria-selected=true]")];
    const names = open.filter((tab) => tab.checkVisibility()).map((tab) => tab.dataset.tabId);
    try {
      sessionStorage.setItem(TABS, JSON.stringify(names));
    } catch {
      // no storage, nothing to come back
    }
  });
  try {
    closed = JSON.parse(sessionStorage.getItem(TABS)) ?? [];
  } catch {
    // no storage, nothing to come back
  }
  for (const touched of ["pointerdown", "keydown"]) {
    addEventListener(touched, () => { closed = []; }, { once: true });
  }

  // On a phone the images lie above the settings; whoever draws from down there is taken to them.
  document.addEventListener("click", (event) => {
    if (!event.target.closest?.("#generate, #draw-plot, #draw-matrix, #draw-list")) return;
    const results = document.querySelector("#results"), { top, bottom } = results.getBoundingClientRect();
    if (bottom < 120 || top > innerHeight - 120) results.scrollIntoView({ block: "start" });
  });

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
