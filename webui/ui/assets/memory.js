// What the txt2img tab keeps in this browser: the values of its controls, and its newest job; and
// in this tab of the browser: whether it generates forever. Of the Train tab, what was typed there.
window.txt2imgMemory = (() => {
  const VALUES = "embeddings-webui.txt2img", JOB = "embeddings-webui.txt2img.job";
  const FOREVER = "embeddings-webui.txt2img.forever", GOING = "embeddings-webui.txt2img.going";
  const TAB = "sessionStorage";
  let restored = false;

  // A private window may have no storage; then nothing is remembered.
  function read(key, otherwise, storage = "localStorage") {
    try {
      return JSON.parse(window[storage].getItem(key)) ?? otherwise;
    } catch {
      return otherwise;
    }
  }

  function write(key, value, storage = "localStorage") {
    try {
      window[storage].setItem(key, JSON.stringify(value));
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

  // After a reload the controls have to be back before anything is drawn with them.
  function press() {
    if (restored) document.querySelector("#generate").click();
    else setTimeout(press, 200);
  }

  // Press Generate again with what the controls say by then, if the job was not broken off; else
  // the tick goes.
  function again(state, wanted, after = 0) {
    const forever = wanted && state === "finished";
    write(FOREVER, forever, TAB);
    if (forever) setTimeout(press, after);
    return [forever];
  }

  // The job goes on or has ended. Generate's own answers end those that were started here; one
  // that is followed is repeated only if it went on in this tab before the reload. What the model
  // suggests may come in the same answer as the job's end, so the press waits for that.
  function changed(state, followed, wanted) {
    const went = read(GOING, false, TAB), goes = state === "queued" || state === "drawing";
    write(GOING, goes || (wanted && state === "finished"), TAB);
    return followed && went && state && !goes ? again(state, wanted, 500) : [wanted];
  }

  const TRAIN = "embeddings-webui.train";
  window.trainMemory = {
    texts: (count) => {
      const texts = read(TRAIN, []);
      return Array.from({ length: count }, (_, place) => String(texts[place] ?? ""));
    },
    keep: (texts) => write(TRAIN, texts),
  };

  return {
    forever: () => [read(FOREVER, false, TAB)],
    keepForever: (wanted) => write(FOREVER, wanted, TAB),
    again,
    changed,
    values: () => read(VALUES, {}),
    job: () => read(JOB, ""),
    keepJob,
    keep,
    hold,
  };
})();
