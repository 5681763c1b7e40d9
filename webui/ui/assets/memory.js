// What the txt2img tab keeps in this browser: the values of its controls, and its newest job.
window.txt2imgMemory = (() => {
  const VALUES = "embeddings-webui.txt2img", JOB = "embeddings-webui.txt2img.job";
  let restored = false;

  // A private window may have no storage; then nothing is remembered.
  function read(key, otherwise) {
    try {
      return JSON.parse(localStorage.getItem(key)) ?? otherwise;
    } catch {
      return otherwise;
    }
  }

  function write(key, value) {
    try {
      localStorage.setItem(key, JSON.stringify(value));
    } catch {
      // full or forbidden
    }
  }

  // Keep the values by field, except those that stand as the model suggests them. Before the old
  // values are back, nothing is kept, or the page's first values would replace them.
  function keep(fields, suggested, held, values) {
    if (!restored) return;
    const kept = fields.map((field, place) => [field, values[place]]);
    const own = ([field, value]) => held?.[suggested.indexOf(field)] !== value;
    write(VALUES, Object.fromEntries(kept.filter(own)));
  }

  // What a person has set counts as changed, so the model's next suggestion leaves it alone.
  function hold(suggested, values, held) {
    restored = true;
    return held.map((value, place) => (suggested[place] in (values || {}) ? null : value));
  }

  // Keep the id of the job that is shown; one of another id than the followed was started here.
  function keepJob(id, followed) {
    if (id) write(JOB, id);
    return id === followed ? followed : "";
  }

  return {
    values: () => read(VALUES, {}),
    job: () => read(JOB, ""),
    keepJob,
    keep,
    hold,
  };
})();
