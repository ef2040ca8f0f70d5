"use strict";
// Keeps the rows of the runs' table that hold every word.
(() => {
  const box = document.getElementById("search");
  const rows = [...document.querySelectorAll("table.runs tbody tr")];
  const field = Object.assign(document.createElement("input"), { type: "search", placeholder: "search runs" });
  field.setAttribute("aria-label", "Search runs by suite, answer, revision, machine or date");
  const count = document.createElement("span");
  count.setAttribute("role", "status");
  count.className = "soft";
  const look = () => {
    const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
    let kept = 0;
    for (const row of rows) {
      const text = row.textContent.toLowerCase();
      row.hidden = !words.every((word) => text.includes(word));
      kept += row.hidden ? 0 : 1;
    }
    count.textContent = words.length ? `${kept} of ${rows.length}` : "";
  };
  field.addEventListener("input", look);
  box.append(field, count);
})();
