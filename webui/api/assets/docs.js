// Draws openapi.json: a section a route with its fields, an example to send, and the answer.
// Everything reaches the page as text.

function make(tag, content, className) {
  const element = document.createElement(tag);
  if (className) element.className = className;
  element.append(...[content ?? []].flat());
  return element;
}

function resolved(schema, whole) {
  if (!schema?.$ref) return schema ?? {};
  return schema.$ref.slice(2).split("/").reduce((place, key) => place[key], whole);
}

function typeOf(schema, whole) {
  if (schema.anyOf) {
    return schema.anyOf.map((one) => typeOf(one, whole)).filter((t) => t !== "null").join(" or ");
  }
  if (schema.$ref) return resolved(schema, whole).title;
  if (schema.type === "array") return `list of ${typeOf(schema.items ?? {}, whole)}`;
  return schema.type ?? "any";
}

function usual(field) {
  return field.default == null ? "" : `, usually ${JSON.stringify(field.default)}`;
}

function fieldTable(schema, whole) {
  const fields = Object.entries(resolved(schema, whole).properties ?? {});
  if (!fields.length) return [];
  const head = make("tr", ["Field", "Type", ""].map((text) => make("th", text)));
  const rows = fields.map(([name, field]) =>
    make("tr", [
      make("td", make("code", name)),
      make("td", typeOf(field, whole) + usual(field)),
      make("td", field.description ?? ""),
    ])
  );
  return [make("table", [head, ...rows])];
}

function exampleOf(media, whole) {
  const schema = resolved(media.schema, whole);
  const example = Object.values(media.examples ?? {})[0]?.value;
  return example ?? media.schema.examples?.[0] ?? schema.examples?.[0] ?? {};
}

function shortened(value) {
  if (typeof value === "string" && value.length > 400) return `${value.slice(0, 60)}… (${value.length} characters)`;
  if (Array.isArray(value)) return value.map(shortened);
  if (value && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, shortened(inner)]));
  }
  return value;
}

function picturesOf(answer) {
  const found = [...(answer?.images ?? []), answer?.current_image].filter(Boolean);
  return found.map((data) => {
    const image = make("img");
    image.src = `data:image/png;base64,${data}`;
    image.alt = "A picture of the answer";
    return image;
  });
}

async function send(method, path, inputs, body, answer, button) {
  button.disabled = true;
  answer.replaceChildren(make("p", "Waiting for the answer …", "quiet"));
  try {
    const query = new URLSearchParams();
    let place = path.slice(1);
    for (const { name, within, input } of inputs) {
      if (within === "path") place = place.replace(`{${name}}`, encodeURIComponent(input.value));
      else if (input.value) query.set(name, input.value);
    }
    const response = await fetch(place + (query.size ? `?${query}` : ""), {
      method,
      headers: body ? { "Content-Type": "application/json" } : {},
      body: body?.value,
    });
    const said = await response.json();
    const text = JSON.stringify(shortened(said), null, 2);
    answer.replaceChildren(
      make("p", `Status ${response.status}`), make("pre", text), ...picturesOf(said)
    );
  } catch (error) {
    answer.replaceChildren(make("p", `No answer: ${error.message}`));
  }
  button.disabled = false;
}

function curl(method, path, body) {
  const start = `curl ${method === "GET" ? "" : `-X ${method} `}${location.origin}${path}`;
  if (!body) return start;
  const data = body.replaceAll("'", "'\\''");
  return `${start} \\\n  -H 'Content-Type: application/json' \\\n  -d '${data}'`;
}

function routeSection(path, method, route, whole) {
  const title = make("summary", [
    make("span", method, "method"),
    make("code", path),
    make("span", route.summary ?? "", "quiet"),
  ]);
  const inside = make("div", [], "inside");
  const inputs = (route.parameters ?? []).map((parameter) => {
    const input = make("input");
    input.placeholder = parameter.schema.default ?? "";
    inside.append(make("label", [make("code", `${parameter.name} `), input]));
    return { name: parameter.name, within: parameter.in, input };
  });
  const media = route.requestBody?.content["application/json"];
  let body = null;
  if (media) {
    body = make("textarea");
    body.value = JSON.stringify(exampleOf(media, whole), null, 2);
    body.rows = Math.min(14, body.value.split("\n").length + 1);
    body.setAttribute("aria-label", `Body of ${method} ${path}`);
    inside.append(make("h3", "Example"), body);
  }
  const button = make("button", "Send");
  const answer = make("div");
  answer.setAttribute("aria-live", "polite");
  button.onclick = () => send(method, path, inputs, body, answer, button);
  const command = make("pre", curl(method, path, body?.value));
  if (body) body.oninput = () => command.replaceChildren(curl(method, path, body.value));
  inside.append(make("p", button), answer, make("h3", "In a terminal"), command);
  const asked = media ? fieldTable(media.schema, whole) : [];
  if (asked.length) inside.append(make("h3", "Request"), ...asked);
  const result = route.responses["200"]?.content?.["application/json"]?.schema;
  const fields = result ? fieldTable(result.type === "array" ? result.items : result, whole) : [];
  if (fields.length) inside.append(make("h3", "Answer"), ...fields);
  return make("details", [title, inside]);
}

async function draw() {
  const whole = await (await fetch("openapi.json")).json();
  document.getElementById("about").replaceChildren(whole.info.description);
  const sections = Object.entries(whole.paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, route]) =>
      routeSection(path, method.toUpperCase(), route, whole)
    )
  );
  document.getElementById("routes").replaceChildren(...sections);
}

draw();
