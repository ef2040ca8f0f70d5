
"use strict";
// Sorting, filtering, copying, highlighting, light and dark. The page is whole without any of it.
(() => {
  const make = (tag, properties, ...children) => {
    const element = Object.assign(document.createElement(tag), properties);
    element.append(...children);
    return element;
  };
  const root = document.documentElement;

  // Light and dark, beyond what the system says.
  const dark = () => root.dataset.theme
    ? root.dataset.theme === "dark" : matchMedia("(prefers-color-scheme: dark)").matches;
  const toggle = make("button", { type: "button", id: "theme" });
  const say = () => { toggle.textContent = dark() ? "Light" : "Dark"; };
  toggle.addEventListener("click", () => { root.dataset.theme = dark() ? "light" : "dark"; say(); });
  say();
  document.getElementById("controls").append(toggle);

  // One series lit across all charts and tables: held by a click in the key, shown while pointed at.
  let held = null;
  const light = (series) => {
    root.classList.toggle("lit", series !== null);
    for (const e of document.querySelectorAll("[data-series]"))
      e.classList.toggle("on", e.dataset.series === series);
  };
  for (const item of document.querySelectorAll("#key li")) {
    const button = make("button", { type: "button" }, ...item.childNodes);
    button.setAttribute("aria-pressed", "false");
    button.addEventListener("click", () => {
      held = held === item.dataset.series ? null : item.dataset.series;
      for (const b of document.querySelectorAll("#key button"))
        b.setAttribute("aria-pressed", String(b.parentElement.dataset.series === held));
      light(held);
    });
    item.append(button);
  }
  document.addEventListener("pointerover", (event) => {
    if (held !== null || !(event.target instanceof Element)) return;
    const over = event.target.closest("svg [data-series], #key [data-series]");
    light(over ? over.dataset.series : null);
  });

  // Tooltips where the pointer is; the words are the <title> of what it points at.
  const tip = make("div", { id: "tip", hidden: true });
  tip.setAttribute("role", "status");
  document.body.append(tip);
  const titles = new WeakMap();
  for (const title of document.querySelectorAll("figure svg g > title")) {
    titles.set(title.parentElement, title.textContent);
    title.remove();  // else the browser shows its own beside ours
  }
  document.addEventListener("pointermove", (event) => {
    let over = event.target instanceof Element ? event.target.closest("figure svg g") : null;
    while (over && !titles.has(over)) over = over.parentElement.closest("figure svg g");
    tip.hidden = !over;
    if (!over) return;
    tip.textContent = titles.get(over);
    const left = Math.min(event.clientX + 12, innerWidth - tip.offsetWidth - 8);
    tip.style.setProperty("left", `${Math.max(left, 8)}px`);
    tip.style.setProperty("top", `${Math.max(event.clientY - tip.offsetHeight - 10, 4)}px`);
  });

  // Tables: sort by a column, keep rows that hold a word, copy as Markdown or CSV.
  const value = (row, place) => {
    const cell = row.cells[place];
    return cell.dataset.v === undefined ? cell.textContent : Number(cell.dataset.v);
  };
  const compare = (a, b) => typeof a === "number" && typeof b === "number"
    ? a - b : String(a).localeCompare(String(b), "en", { numeric: true });
  const texts = (row) => [...row.cells].map((c) => c.textContent.trim());
  const shown = (table) => [...table.rows].filter((row) => !row.hidden).map(texts);
  const markdown = (rows) => rows.map((cells, place) => {
    const line = `| ${cells.map((c) => c.replaceAll("\\", "\\\\").replaceAll("|", "\\|")).join(" | ")} |`;
    return place ? line : `${line}\n|${cells.map(() => "---|").join("")}`;
  }).join("\n");
  const csv = (table) => [...table.rows].filter((row) => !row.hidden).map((row) =>
    [...row.cells].map((c) => {
      const text = c.dataset.v ?? c.textContent.trim();
      const safe = c.dataset.v === undefined && /^[=+\-@\t]/.test(text) ? `'${text}` : text;
      return /[",\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
    }).join(",")).join("\n");
  const copy = async (button, text) => {
    let done = true;
    try { await navigator.clipboard.writeText(text); } catch {
      const area = make("textarea", { value: text });
      document.body.append(area);
      area.select();
      done = document.execCommand("copy");
      area.remove();
    }
    const said = button.textContent;
    button.textContent = done ? "copied" : "not allowed here";
    setTimeout(() => { button.textContent = said; }, 1500);
  };
  for (const table of document.querySelectorAll("table.data")) {
    [...table.tHead.rows[0].cells].forEach((head, place) => {
      const button = make("button", { type: "button", textContent: head.textContent });
      head.replaceChildren(button);
      button.addEventListener("click", () => {
        const up = head.ariaSort !== "ascending";
        for (const other of table.tHead.rows[0].cells) other.removeAttribute("aria-sort");
        head.setAttribute("aria-sort", up ? "ascending" : "descending");
        const rows = [...table.tBodies[0].rows];
        rows.sort((a, b) => (up ? 1 : -1) * compare(value(a, place), value(b, place)));
        table.tBodies[0].append(...rows);
      });
    });
    const filter = make("input", { type: "search", placeholder: "filter rows" });
    filter.setAttribute("aria-label", `Filter: ${table.parentElement.ariaLabel}`);
    filter.addEventListener("input", () => {
      const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
      for (const row of table.tBodies[0].rows) {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      }
    });
    const buttons = [["Copy as Markdown", () => markdown(shown(table))], ["Copy as CSV", () => csv(table)]]
      .map(([textContent, text]) => {
        const button = make("button", { type: "button", textContent });
        button.addEventListener("click", () => copy(button, text()));
        return button;
      });
    table.parentElement.before(make("div", { className: "tools" }, filter, ...buttons));
  }
})();
