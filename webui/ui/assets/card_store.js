// Holds what is known of all embeddings, once for all grids of the page.
function publish() {
  window.embeddingCards = props.value || [];
  document.dispatchEvent(new CustomEvent("cards:change"));
}
watch("value", publish);
publish();
