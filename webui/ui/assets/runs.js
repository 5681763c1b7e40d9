// The list of training runs. Names come from people, so every text is set as text, never as markup.
const list = element.querySelector(".runs");
const LABELS = { resume: "Resume", install: "Install", delete: "Delete" };
const UNITS = [["day", 86400], ["hour", 3600], ["minute", 60]];

function age(created) {
  const seconds = (Date.now() - new Date(created)) / 1000;
  const [unit, length] = UNITS.find(([, size]) => seconds >= size) || ["minute", 60];
  const words = new Intl.RelativeTimeFormat(document.documentElement.lang, { numeric: "auto" });
  return words.format(-Math.floor(seconds / length), unit);
}

function tag(name, className, text) {
  const node = document.createElement(name);
  node.className = className;
  node.textContent = text;
  return node;
}

function button(run, action, className, text) {
  const node = tag("button", className, text);
  node.type = "button";
  node.dataset.action = action;
  node.addEventListener("click", () => trigger("select", { value: { run, action } }));
  return node;
}

function row(item) {
  const entry = tag("li", "run", "");
  entry.dataset.run = item.run;
  const open = button(item.run, "open", "run-open", "");
  if (item.preview) {
    const image = new Image();
    image.className = "run-preview";
    image.loading = "lazy";
    image.alt = "";
    image.src = item.preview;
    open.append(image);
  }
  const text = tag("span", "run-text", "");
  text.append(tag("span", "run-name notranslate", item.name), tag("span", "run-about", `${item.about} · ${age(item.created)}`));
  open.append(text);
  open.title = `Show ${item.run}`;
  entry.append(open);
  for (const action of item.actions) {
    const act = button(item.run, action, "run-action", LABELS[action]);
    act.setAttribute("aria-label", `${LABELS[action]} ${item.name}`);
    entry.append(act);
  }
  return entry;
}

// The focus stays on the same button when the rows are made anew.
function draw() {
  const held = list.contains(document.activeElement) ? document.activeElement : null;
  const run = held?.closest(".run").dataset.run, action = held?.dataset.action;
  const items = props.value || [];
  list.replaceChildren(...(items.length ? items.map(row) : [tag("li", "run-none", "No runs yet.")]));
  const same = [...list.children].find((entry) => entry.dataset.run === run);
  if (held) same?.querySelector(`[data-action="${action}"]`)?.focus({ preventScroll: true });
}
document.addEventListener("language:change", draw);
watch("value", draw);
draw();
