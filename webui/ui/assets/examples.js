// Prompts to start from; a click puts one into the prompt box and draws it.
const row = element.firstElementChild;

function example(text) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = text;
  button.translate = false;
  button.title = "Draw this";
  button.addEventListener("click", () => {
    window.promptBoxes.setPositive(text);
    document.getElementById("generate").click();
  });
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
