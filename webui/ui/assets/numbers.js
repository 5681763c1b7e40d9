// Numbers that cannot be are mended when their field is left, and a line at the field says so. The
// value holds what is usual, by element id. Gradio itself takes sliders back to their limits.
function say(field, text) {
  field.querySelector(".field-note")?.remove();
  const line = document.createElement("p");
  line.className = "field-note";
  line.setAttribute("role", "status");
  field.append(line);
  line.textContent = text;
  field.addEventListener("input", () => line.remove(), { once: true });
}

function set(input, number) {
  input.value = number;
  input.dispatchEvent(new InputEvent("input", { bubbles: true }));
}

// Seen before Gradio sees it, so that it never takes an empty field for 0.
document.addEventListener("blur", ({ target }) => {
  const field = target.matches?.("input[type=number]") && target.closest(".block[id]");
  const usual = field && props.value?.[field.id];
  if (usual === undefined || !field) return;
  const label = field.querySelector("[data-testid=block-info]")?.textContent.replace(/\(.*/, "").trim();
  const { value, min, max } = target;
  if (value === "") {
    set(target, usual);
    say(field, `${label} was left empty and is ${usual} again.`);
  } else if (max !== "" && Number(value) > Number(max)) {
    say(field, `${label} goes up to ${max}, which it is now.`);
  } else if (min !== "" && Number(value) < Number(min)) {
    say(field, `${label} begins at ${min}, which it is now.`);
  }
}, true);
