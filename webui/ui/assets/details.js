// The head of the details of a card, whose key is the value: picture, name, and the buttons that put
// it into either prompt or take it out.
const part = (name) => element.querySelector(`.details-${name}`);
const buttons = [...element.querySelectorAll("[data-side]")];
const { tag, picture } = window.cardParts;
const shownCard = () => (window.embeddingCards || []).find((item) => item.key === props.value);

function drawButtons() {
  const name = shownCard()?.name.toLowerCase();
  for (const button of buttons) {
    const { side } = button.dataset, label = side === "negative" ? "negative" : "prompt";
    const used = Boolean(window.calledInPrompts?.[side].has(name));
    button.textContent = used ? `Remove from ${label}` : `Add to ${label}`;
    button.classList.toggle("details-used", used);
  }
}

function draw() {
  const item = shownCard();
  if (props.value && !item) return; // a file that was renamed just now; the cards will say so
  part("none").hidden = Boolean(item);
  part("head").hidden = !item;
  part("actions").hidden = !item || Boolean(item.reason);
  part("reason").hidden = !item?.reason;
  if (!item) return;
  part("picture").replaceChildren(picture(item));
  part("name").textContent = item.name;
  part("reason").textContent = item.reason || "";
  element.querySelector(".card-badges").replaceChildren(...item.badges.map((text) => tag("span", "card-badge", text)));
  drawButtons();
}

// On a phone the panel is a sheet above the cards: the focus goes into it, and back when it closes.
const isSheet = matchMedia("(max-width: 640px)");
let opener = null;
function moveFocus() {
  if (props.value && isSheet.matches) {
    opener ??= document.activeElement;
    part("close").focus({ preventScroll: true });
  } else if (!props.value) {
    if (opener?.isConnected) opener.focus({ preventScroll: true });
    opener = null;
  }
}

function show() {
  part("said").textContent = "";
  draw();
  moveFocus();
  document.dispatchEvent(new CustomEvent("details:shown", { detail: props.value }));
}

for (const button of buttons) button.addEventListener("click", async () => {
  const item = shownCard();
  part("said").textContent = await window.promptBoxes.toggle({ card: item.key }, item.name, button.dataset.side);
});
const close = () => trigger("select", { value: "" });
part("close").addEventListener("click", close);
element.closest("#details-panel").addEventListener("keydown", (event) => {
  if (event.key !== "Escape" || event.target.matches("[aria-expanded=true]") || !props.value) return;
  event.preventDefault();
  close();
});
document.addEventListener("cards:change", draw);
document.addEventListener("cards:called", drawButtons);
watch("value", show);
draw();
