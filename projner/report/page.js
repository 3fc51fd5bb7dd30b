"use strict";
// Everything that comes from a corpus is put into the page as text nodes or values of attributes that are
// no addresses. What is shown follows from the part of the address after #, so that every view is a link.
(() => {
  const run = JSON.parse(document.getElementById("content").textContent);
  const PAGE = 20;
  const SVG = "http://www.w3.org/2000/svg";
  const NAMED = { PER: 0, ORG: 1, LOC: 2, DATE: 3, MISC: 4 };
  const KEYS = ["text", "class", "status", "lang", "min", "max", "order", "wrong", "page", "id"];
  const find = (id) => document.getElementById(id);
  const number = (value) => value.toLocaleString("en");
  const percent = (part, whole) => (whole ? `${((100 * part) / whole).toFixed(1)} %` : "–");

  function element(name, attributes = {}, ...children) {
    const made = document.createElement(name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }
  function shape(name, attributes = {}, ...children) {
    const made = document.createElementNS(SVG, name);
    for (const [key, value] of Object.entries(attributes)) made.setAttribute(key, value);
    made.append(...children);
    return made;
  }

  // Colours: well-known classes have theirs, others those that are left, in order.
  const colours = new Map();
  const classes = new Set(run.classes.map((row) => row[0]));
  for (const pair of run.pairs)
    for (const kind of ["given", "projected", "abstained", "gold"])
      for (const entity of pair[kind] || []) classes.add(entity[2]);
  const known = (name) => Object.hasOwn(NAMED, name);
  let next = 0;
  const taken = new Set([...classes].filter(known).map((name) => NAMED[name]));
  for (const name of classes) {
    if (!known(name)) while (taken.has(next % 8) && next < 8) next += 1;
    colours.set(name, known(name) ? NAMED[name] : next++ % 8);
  }
  const colour = (name) => `c${colours.get(name)}`;

  // ---- Summary ----

  function bars(figure, rows) {
    // Each row: name, the filter that it stands for, value, whole, number shown, class of the bar.
    const grid = element("div", { class: "bars" });
    const most = Math.max(1e-9, ...rows.map((row) => row.whole ?? row.value));
    for (const row of rows) {
      const label = row.link ? element("a", { href: hash(row.link) }, row.name) : element("span", {}, row.name);
      const drawing = shape("svg", { "aria-hidden": "true", preserveAspectRatio: "none", viewBox: "0 0 100 10" });
      if (row.whole) drawing.append(shape("rect", { class: "whole", width: (100 * row.whole) / most, height: 10 }));
      drawing.append(shape("rect", { class: row.look || "bar", width: (100 * row.value) / most, height: 10 }));
      grid.append(label, drawing, element("span", { class: "number" }, row.shown));
    }
    figure.append(grid);
  }

  function histogram(figure, counts, note) {
    const width = 300, height = 90, step = width / counts.length, most = Math.max(1, ...counts);
    const drawing = shape("svg", { class: "histogram", viewBox: `0 0 ${width} ${height}`, preserveAspectRatio: "none" });
    counts.forEach((count, at) => {
      const low = at / counts.length, high = (at + 1) / counts.length;
      const tall = count ? Math.max(1.5, (height * count) / most) : 0;
      const link = shape("a", { href: hash({ min: low.toFixed(2), max: high.toFixed(2) }) },
        shape("title", {}, `${low.toFixed(2)} to ${high.toFixed(2)}: ${number(count)}`),
        shape("rect", { class: "room", x: at * step, width: step, height }),
        shape("rect", { class: "bar", x: at * step + 1, width: step - 2, y: height - tall, height: tall }));
      if (!count) link.setAttribute("tabindex", "-1");
      drawing.append(link);
    });
    drawing.append(shape("path", { d: `M0 ${height}H${width}`, "vector-effect": "non-scaling-stroke" }));
    const scale = element("div", { class: "scale", "aria-hidden": "true" });
    scale.append(...["0", "0.5", "1"].map((text) => element("span", {}, text)));
    figure.append(drawing, scale);
    if (note) figure.append(element("div", { class: "none" }, note));
  }

  function summary() {
    find("about").textContent = `run ${run.run}, snapshot ${run.snapshot}, ${run.created}`;
    find("signature").textContent = run.signature;
    find("sample").textContent = `This page holds ${run.shown}. The counts and histograms are of all.`;
    const given = run.classes.reduce((sum, row) => sum + row[1], 0);
    const placed = run.classes.reduce((sum, row) => sum + row[2], 0);
    const projected = run.classes.reduce((sum, row) => sum + row[3], 0);
    const facts = [
      [number(run.rows), "sentences"],
      [percent(run.statuses.ok || 0, run.rows), "are ok"],
      [number(projected), "entities"],
    ];
    if (given && placed) facts.push([percent(placed, given), `of ${number(given)} source entities projected`]);
    if (run.abstained) facts.push([number(run.abstained), "too doubtful"]);
    if (run.corrected) facts.push([number(run.corrected), "checked by people"]);
    if (run.gold) facts.push([run.gold.overall.f1.toFixed(3), "F1 against gold"]);
    find("facts").append(...facts.map(([value, name]) => element("li", {}, element("b", {}, value), element("span", {}, name))));

    bars(find("classes"), run.classes.map(([name, source, there, all]) => ({
      name, link: { class: name }, look: `class ${colour(name)}`,
      value: source ? there || all : all, whole: Math.max(source, all),
      shown: source ? `${number(all)} of ${number(source)}` : number(all),
    })));
    bars(find("statuses"), Object.entries(run.statuses).map(([name, rows]) => ({
      name, link: { status: name }, value: rows, shown: number(rows),
    })));
    const filtered = Object.entries(run.filtered).map(([name, rows]) => `${name} ${number(rows)}`);
    if (filtered.length) find("statuses").append(element("div", { class: "none" }, `filtered by ${filtered.join(", ")}`));
    if (run.confidences) histogram(find("confidences"), run.confidences);
    else find("confidences").append(element("p", { class: "none" }, "The method gives none; the score stands in for it."));
    histogram(find("scores"), run.scores);
    const stages = Object.entries(run.seconds);
    if (stages.length) bars(find("seconds"), stages.map(([name, value]) => ({ name, value, shown: value.toFixed(1) })));
    else find("seconds").append(element("p", { class: "none" }, "The run does not know them."));
    if (run.gold) accuracy();
  }

  function accuracy() {
    const line = (name, figures) => {
      const cells = ["precision", "recall", "f1"].map((key) => element("td", {}, figures[key].toFixed(3)));
      return element("tr", {}, element("th", { scope: "row" }, name), ...cells, element("td", {}, number(figures.support)));
    };
    const head = ["", "precision", "recall", "F1", "gold"].map((name) => element("th", { scope: "col" }, name));
    const body = Object.entries(run.gold.classes).map(([name, figures]) => line(name, figures));
    find("accuracy").append(element("table", {}, element("thead", {}, element("tr", {}, ...head)),
      element("tbody", {}, ...body), element("tfoot", {}, line("all", run.gold.overall))));
    find("accuracy").hidden = false;
  }

  // ---- What is shown ----

  function state() {
    const given = new URLSearchParams(location.hash.slice(1));
    return Object.fromEntries(KEYS.map((key) => [key, given.get(key) || ""]));
  }
  function hash(wanted) {
    const given = new URLSearchParams();
    for (const key of KEYS) if (wanted[key]) given.set(key, wanted[key]);
    return `#${given}`;
  }
  function go(changes) {
    location.replace(hash({ ...state(), page: "", id: "", ...changes }));
  }

  function text(pair) {
    const sides = [pair.source, pair.target].map((side) => side.text ?? side.words.join(" "));
    pair.searched ??= [...sides, pair.detail || "", pair.id, pair.place].join("\n").toLowerCase();
    return pair.searched;
  }
  function matching(wanted) {
    const words = wanted.text.toLowerCase();
    const low = wanted.min === "" ? -Infinity : Number(wanted.min);
    const high = wanted.max === "" ? Infinity : Number(wanted.max);
    const bounded = wanted.min !== "" || wanted.max !== "";
    // A score may be beyond 1, and the last bin of the histogram holds those.
    const inside = (value) => value !== null && Math.min(value, 1) >= low && Math.min(value, 1) <= high;
    const has = (pair) => ["given", "projected", "abstained", "gold"].some((kind) => (pair[kind] || []).some((entity) => entity[2] === wanted.class));
    const found = run.pairs.filter((pair) =>
      (!wanted.id || pair.id === wanted.id) &&
      (!wanted.status || pair.status === wanted.status) &&
      (!wanted.lang || pair.to === wanted.lang) &&
      (!wanted.wrong || pair.wrong > 0) &&
      (!bounded || inside(pair.doubt)) &&
      (!wanted.class || has(pair)) &&
      (!words || text(pair).includes(words)));
    return wanted.order === "best" ? found.reverse() : found;
  }

  function show() {
    const wanted = state();
    const form = find("filters");
    for (const field of form.elements) {
      if (!field.name) continue;
      if (field.type === "checkbox") field.checked = wanted[field.name] === "1";
      else if (field !== document.activeElement || field.tagName === "SELECT") field.value = wanted[field.name];
    }
    const found = matching(wanted);
    const pages = Math.max(1, Math.ceil(found.length / PAGE));
    const page = Math.min(pages, Math.max(1, Number(wanted.page) || 1));
    const first = (page - 1) * PAGE;
    const here = found.slice(first, first + PAGE);
    const range = here.length ? `${first + 1}–${first + here.length} of ` : "";
    find("count").textContent = `${range}${number(found.length)} sentences` +
      (found.length < run.pairs.length ? ` (${number(run.pairs.length)} on this page)` : "");
    const list = find("pairs");
    list.replaceChildren(...here.map(card));
    list.setAttribute("start", first + 1);
    const turn = (name, to) => {
      const button = element("button", { type: "button" }, name);
      button.disabled = to < 1 || to > pages;
      button.addEventListener("click", () => turnTo(to));
      return button;
    };
    find("pages").replaceChildren(turn("Previous", page - 1), element("span", {}, `page ${page} of ${number(pages)}`), turn("Next", page + 1));
    find("pages").hidden = pages === 1;
    draw();
  }
  function turnTo(page) {
    go({ ...state(), page: String(page) });
    find("pairs").focus({ preventScroll: true });
    find("browser").scrollIntoView();
  }

  // ---- One sentence pair ----

  function pieces(side) {
    // The words with what stands between them in the text.
    let at = 0;
    return side.words.map((word, place) => {
      let before = place ? " " : "";
      if (side.text !== null) {
        const start = side.text.indexOf(word, at);
        if (start >= 0) {
          before = side.text.slice(at, start);
          at = start + word.length;
        }
      }
      return [before, word];
    });
  }

  function sentence(pair, kind, marks) {
    const side = kind === "given" ? pair.source : pair.target;
    const language = run.languages[kind === "given" ? pair.from : pair.to];
    const paragraph = element("p", { class: kind, dir: language && language.rtl ? "rtl" : "ltr" });
    if (language) paragraph.lang = language.tag;
    if (!side.words.length) {
      paragraph.append(side.text ? side.text : element("span", { class: "none" }, "nothing"));
      return paragraph;
    }
    const starts = new Map(marks.map((mark) => [mark.entity[0], mark]));
    let inside = null, last = 0;
    pieces(side).forEach(([before, word], place) => {
      if (inside && place >= last) inside = null;
      (inside || paragraph).append(before);
      const mark = starts.get(place);
      if (!inside && mark) {
        inside = chip(mark);
        last = mark.entity[1];
        paragraph.append(inside);
      }
      const span = element("span", { class: "word", "data-word": place, tabindex: place ? "-1" : "0" }, word);
      (inside || paragraph).append(span);
      if (inside && place === last - 1) {
        const { entity, likely } = marks.find((each) => each.node === inside);
        // Word joiners keep the class on the line of the last word.
        inside.append(element("b", {}, `\u2060${entity[2]}`));
        if (likely !== null && likely !== undefined) inside.append(element("i", {}, `\u2060${likely.toFixed(2)}`));
      }
    });
    return paragraph;
  }
  function chip(mark) {
    const { entity, look, title } = mark;
    const made = element("span", { class: `entity ${colour(entity[2])} ${look || ""}`, title: title || entity[2] });
    mark.node = made;
    return made;
  }

  function figures(entity, note) {
    const names = ["score", "margin", "confidence"];
    const told = names.map((name, at) => [name, entity[3 + at]]).filter((each) => each[1] !== null);
    return [entity[2], ...told.map(([name, value]) => `${name} ${value}`), ...(note ? [note] : [])].join(", ");
  }
  function marks(pair) {
    const same = (one, other) => one[0] === other[0] && one[1] === other[1] && one[2] === other[2];
    const extra = (entity) => pair.gold && !pair.gold.some((each) => same(each, entity));
    return {
      given: pair.given.map((entity, place) => ({ entity, place, title: `${entity[2]}, score ${entity[3]}` })),
      projected: [
        ...pair.projected.map((entity) => ({
          entity, place: entity[6], likely: entity[5] ?? entity[3],
          look: extra(entity) ? "extra" : "", title: figures(entity, extra(entity) ? "not in the gold" : ""),
        })),
        ...pair.abstained.map((entity) => ({
          entity, place: entity[6], likely: entity[5] ?? entity[3], look: "doubtful", title: figures(entity, "too doubtful to label"),
        })),
      ],
      gold: (pair.gold || []).map((entity) => ({
        entity, look: pair.projected.some((each) => same(each, entity)) ? "" : "missed", title: entity[2],
      })),
    };
  }

  const drawn = new WeakMap();

  function card(pair) {
    const all = marks(pair);
    const sides = element("div", { class: "sides" });
    sides.append(shape("svg", { class: "joins", "aria-hidden": "true" }), sentence(pair, "given", all.given), sentence(pair, "projected", all.projected));
    if (pair.wrong > 0) {
      const gold = sentence(pair, "gold", all.gold);
      gold.prepend(element("span", { class: "side-name", dir: "ltr", lang: "en" }, "gold"));
      for (const word of gold.querySelectorAll(".word")) word.removeAttribute("tabindex");
      sides.append(gold);
    }
    const status = element("span", { class: `status ${pair.status === "ok" ? "ok" : "failed"}` }, pair.status);
    const head = element("div", { class: "head" }, status);
    if (pair.gold) head.append(pair.wrong ? element("span", { class: "wrong" }, `${pair.wrong} unlike the gold`) : element("span", {}, "as in the gold"));
    if (Object.keys(run.languages).length > 2) head.append(element("span", {}, `${name(pair.from)} → ${name(pair.to)}`));
    if (pair.doubt !== null) head.append(element("span", {}, `lowest ${run.confidences ? "confidence" : "score"} ${pair.doubt.toFixed(2)}`));
    head.append(element("a", { class: "right", href: hash({ id: pair.id }), title: `id ${pair.id}` }, pair.place || `id ${pair.id}`));
    const made = element("li", { class: "pair", tabindex: "-1", "data-id": pair.id }, head, sides);
    if (pair.detail) made.append(element("p", { class: "reason" }, pair.detail));
    drawn.set(sides, { pair, all });
    return made;
  }
  const name = (code) => (run.languages[code] ? run.languages[code].name : code || "?");

  // ---- Lines between the sides ----

  function box(node, origin, which) {
    const rects = node.getClientRects();
    const rect = rects[which === "first" ? 0 : rects.length - 1];
    return { left: rect.left - origin.left, right: rect.right - origin.left, middle: (rect.left + rect.right) / 2 - origin.left, top: rect.top - origin.top, bottom: rect.bottom - origin.top };
  }
  function rounded(points, radius) {
    // A path through corners that are cut round.
    let path = `M${points[0]}`;
    for (let at = 1; at < points.length - 1; at += 1) {
      const [before, corner, after] = [points[at - 1], points[at], points[at + 1]];
      const toward = (other) => {
        const long = Math.hypot(other[0] - corner[0], other[1] - corner[1]) || 1;
        const part = Math.min(radius, long / 2) / long;
        return [corner[0] + (other[0] - corner[0]) * part, corner[1] + (other[1] - corner[1]) * part];
      };
      path += `L${toward(before)}Q${corner} ${toward(after)}`;
    }
    return `${path}L${points[points.length - 1]}`;
  }
  function join(sides) {
    const { all } = drawn.get(sides);
    const origin = sides.getBoundingClientRect();
    const joins = sides.querySelector(".joins");
    const [left, right] = [sides.querySelector(".given"), sides.querySelector(".projected")].map((node) => node.getBoundingClientRect());
    const beside = right.left > left.right;
    const pairs = all.projected.filter((mark) => mark.place !== null && mark.place !== undefined && mark.node && all.given[mark.place] && all.given[mark.place].node)
      .map((mark) => ({ mark, one: box(all.given[mark.place].node, origin, "last"), other: box(mark.node, origin, "first") }));
    // Under the lines of text run the lines of entities, each at a height and in a lane of its own.
    const lane = (at) => (left.right + right.left) / 2 - origin.left + (at - (pairs.length - 1) / 2) * 7;
    pairs.sort((a, b) => a.other.bottom - a.one.bottom - (b.other.bottom - b.one.bottom));
    const paths = pairs.map(({ mark, one, other }, at) => {
      const down = 3 + (at % 3) * 3;
      const path = beside
        ? rounded([[one.middle, one.bottom], [one.middle, one.bottom + down], [lane(at), one.bottom + down], [lane(at), other.bottom + down], [other.middle, other.bottom + down], [other.middle, other.bottom]], 5)
        : `M${one.middle} ${one.bottom}C${one.middle} ${one.bottom + 24},${other.middle} ${other.top - 24},${other.middle} ${other.top}`;
      const made = shape("path", { class: `entity-line ${colour(mark.entity[2])}`, d: path });
      mark.line = made;
      return made;
    });
    joins.replaceChildren(...paths);
  }
  function draw() {
    for (const sides of document.querySelectorAll(".sides")) join(sides);
  }

  function point(word) {
    // Show what a word is linked to, and which line its entity has.
    const sides = word.closest(".sides");
    const paragraph = word.closest("p");
    if (!sides || paragraph.classList.contains("gold")) return;
    leave(sides);
    const { pair, all } = drawn.get(sides);
    const from = paragraph.classList.contains("given") ? 0 : 1;
    const place = Number(word.dataset.word);
    const origin = sides.getBoundingClientRect();
    const joins = sides.querySelector(".joins");
    const others = sides.querySelector(from ? ".given" : ".projected");
    word.classList.add("on");
    sides.classList.add("busy");
    for (const link of pair.links) {
      if (link[from] !== place) continue;
      const other = others.querySelector(`[data-word="${link[1 - from]}"]`);
      if (!other) continue;
      other.classList.add("on");
      const [one, two] = (from ? [other, word] : [word, other]).map((node) => box(node, origin, "first"));
      const bend = Math.abs(two.middle - one.middle) / 3;
      const path = two.left > one.right
        ? `M${one.middle} ${one.bottom}C${one.middle + bend} ${one.bottom + 16},${two.middle - bend} ${two.bottom + 16},${two.middle} ${two.bottom}`
        : `M${one.middle} ${one.bottom}L${two.middle} ${two.top}`;
      joins.append(shape("path", { class: "link on", d: path }));
    }
    const covers = (mark) => mark.entity[0] <= place && place < mark.entity[1];
    for (const mark of all.projected) {
      const own = from ? covers(mark) : all.given[mark.place] && covers(all.given[mark.place]);
      if (own && mark.line) mark.line.classList.add("on");
    }
  }
  function leave(sides) {
    if (!sides || !sides.classList.contains("busy")) return;
    sides.classList.remove("busy");
    for (const node of sides.querySelectorAll(".word.on, path.on")) node.classList.remove("on");
    for (const node of sides.querySelectorAll("path.link")) node.remove();
  }

  function keys(event) {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const active = document.activeElement;
    if (["INPUT", "SELECT", "TEXTAREA"].includes(active.tagName)) {
      if (event.key === "Escape") active.blur();
      return;
    }
    const cards = [...document.querySelectorAll(".pair")];
    const at = cards.indexOf(active.closest(".pair"));
    const page = Math.max(1, Number(state().page) || 1);
    if (event.key === "/") find("filters").elements.text.focus();
    else if (event.key === "j" && cards.length) cards[Math.min(at + 1, cards.length - 1)].focus();
    else if (event.key === "k" && cards.length) cards[Math.max(at - 1, 0)].focus();
    else if (event.key === "n" && page * PAGE < matching(state()).length) turnTo(page + 1);
    else if (event.key === "p" && page > 1) turnTo(page - 1);
    else if (event.key.startsWith("Arrow") && active.classList.contains("word")) {
      const paragraph = active.closest("p");
      const words = [...paragraph.querySelectorAll(".word")];
      const forward = paragraph.dir === "rtl" ? "ArrowLeft" : "ArrowRight";
      const back = paragraph.dir === "rtl" ? "ArrowRight" : "ArrowLeft";
      const step = event.key === forward ? 1 : event.key === back ? -1 : 0;
      const other = words[words.indexOf(active) + step];
      if (!step || !other) return;
      active.tabIndex = -1;
      other.tabIndex = 0;
      other.focus();
    } else return;
    event.preventDefault();
  }

  function begin() {
    summary();
    const form = find("filters");
    const fill = (field, values, names = (value) => value) =>
      form.elements[field].append(...values.map((value) => element("option", { value }, names(value))));
    fill("class", [...classes].sort());
    fill("status", Object.keys(run.statuses));
    const targets = [...new Set(run.pairs.map((pair) => pair.to))].sort();
    fill("lang", targets, name);
    form.elements.lang.parentElement.hidden = targets.length < 2;
    form.elements.wrong.parentElement.hidden = !run.gold;
    form.elements.min.parentElement.firstChild.textContent = `${run.confidences ? "Confidence" : "Score"} from `;
    form.addEventListener("submit", (event) => event.preventDefault());
    form.addEventListener("input", (event) => {
      const field = event.target;
      go({ [field.name]: field.type === "checkbox" ? (field.checked ? "1" : "") : field.value });
    });
    form.addEventListener("reset", (event) => {
      event.preventDefault();
      location.replace("#");
    });
    addEventListener("hashchange", show);
    document.addEventListener("keydown", keys);
    const list = find("pairs");
    for (const kind of ["pointerover", "focusin"])
      list.addEventListener(kind, (event) => {
        const word = event.target.closest(".word");
        if (word) point(word);
      });
    for (const kind of ["pointerout", "focusout"])
      list.addEventListener(kind, (event) => leave(event.target.closest(".sides")));
    let width = 0;
    new ResizeObserver(() => {
      if (width !== list.clientWidth) {
        width = list.clientWidth;
        draw();
      }
    }).observe(list);
    show();
  }
  begin();
})();
