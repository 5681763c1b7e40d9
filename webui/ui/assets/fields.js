// Puts messages under the controls they are about. The value holds {element id: message}; a
// message goes away when its control is changed, and all go when new ones come.
function clear(field) {
  field.classList.remove("field-bad");
  field.querySelector(".field-message")?.remove();
}

function draw() {
  document.querySelectorAll(".field-bad").forEach(clear);
  for (const [id, text] of Object.entries(props.value?.messages || {})) {
    const field = document.getElementById(id);
    if (!field) continue;
    const line = document.createElement("p");
    line.className = "field-message";
    line.setAttribute("role", "alert");
    line.textContent = text;
    field.classList.add("field-bad");
    field.append(line);
    field.addEventListener("input", () => clear(field), { once: true });
    field.addEventListener("change", () => clear(field), { once: true });
  }
  document.querySelector(".field-bad")?.scrollIntoView({ block: "center", behavior: "smooth" });
}
watch("value", draw);
