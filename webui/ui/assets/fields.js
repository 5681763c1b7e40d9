// Puts messages under the controls they are about. The value holds {element id: message}; a
// message goes away when its control is changed, and all go when new ones come.
const INPUTS = "input:not([type=range]), textarea, select";
let told; // Gradio may say a value twice

function clear(field) {
  field.classList.remove("field-bad");
  field.querySelector(".field-message")?.remove();
  for (const input of field.querySelectorAll("[aria-invalid]")) {
    input.removeAttribute("aria-invalid");
    input.removeAttribute("aria-describedby");
  }
}

// The control, in sight: what lies in a closed section is opened. One that is not on the page, or
// on a tab that is not seen, has its message where others stand.
function found(id) {
  const field = document.getElementById(id);
  const closed = field?.closest("[data-testid=accordion-content]");
  if (closed?.style.display === "none") closed.previousElementSibling?.click();
  return field && (closed || field.checkVisibility()) ? field : element.closest(".block").parentElement;
}

function tell(id, text) {
  const field = found(id), line = document.createElement("p");
  line.className = "field-message";
  line.id = `${id}-message`;
  line.setAttribute("role", "alert");
  line.textContent = text;
  field.classList.add("field-bad");
  field.append(line);
  if (field.id !== id) return field;
  for (const input of field.querySelectorAll(INPUTS)) {
    input.setAttribute("aria-invalid", "true");
    input.setAttribute("aria-describedby", line.id);
  }
  field.addEventListener("input", () => clear(field), { once: true });
  field.addEventListener("change", () => clear(field), { once: true });
  return field;
}

function draw() {
  if (props.value?.number === told) return;
  told = props.value?.number;
  document.querySelectorAll(".field-bad").forEach(clear);
  const [first] = Object.entries(props.value?.messages || {}).map(([id, text]) => tell(id, text));
  if (!first) return;
  setTimeout(() => { // once its section is open
    first.querySelector(INPUTS)?.focus({ preventScroll: true });
    first.scrollIntoView({ block: "center", behavior: "smooth" });
  }, 50);
}
watch("value", draw);
