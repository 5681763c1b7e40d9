// Prompts to start from; a click puts one into the prompt box.
const row = element.firstElementChild;

function example(text) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.addEventListener("click", () => window.promptBoxes.setPositive(text));
  return button;
}

function draw() {
  const texts = props.value || [];
  const label = document.createElement("span");
  label.textContent = texts.length ? "Try:" : "";
  row.replaceChildren(label, ...texts.map(example));
}
watch("value", draw);
draw();
