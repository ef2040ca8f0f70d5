"use strict";
// Two runs side by side, from the JSON beside this page: the rule of `harness report --compare`.
(() => {
  const [a, b] = ["a", "b"].map((name) => document.getElementById(name));
  const said = document.getElementById("said");
  const table = document.getElementById("result");
  const asked = new URLSearchParams(location.search);
  const has = (select, id) => [...select.options].some((option) => option.value === id);
  if (a.options.length > 1) a.selectedIndex = 1;
  for (const select of [a, b]) if (has(select, asked.get(select.id))) select.value = asked.get(select.id);
  const load = async (id) => {
    const answer = await fetch(`data/runs/${encodeURIComponent(id)}.json`);
    if (!answer.ok) throw new Error(`${answer.status} for run ${id}`);
    return answer.json();
  };
  const ratio = (top, bottom) => {
    if (!(top.value > 0) || !(bottom.value > 0)) return null;
    const value = Math.log(top.value) - Math.log(bottom.value);
    if (!(top.low > 0) || !(bottom.low > 0)) return { value: Math.exp(value) };
    const down = Math.hypot(Math.log(top.value / top.low), Math.log(bottom.high / bottom.value));
    const up = Math.hypot(Math.log(top.high / top.value), Math.log(bottom.value / bottom.low));
    return { value: Math.exp(value), low: Math.exp(value - down), high: Math.exp(value + up) };
  };
  const judge = (times, figure, margin) => {
    if (!times) return "inconclusive";
    const changed = (times.value > 1) === (figure.better === "lower") ? "regression" : "improvement";
    const beyond = Math.abs(times.value - 1) > margin;
    if (figure.statistic === "once") return beyond ? changed : "pass";
    if (times.low === undefined) return "inconclusive";
    if (beyond && (times.low > 1 || times.high < 1)) return changed;
    return times.low >= 1 - margin && times.high <= 1 + margin ? "pass" : "inconclusive";
  };
  const row = (cells, verdict) => {
    const line = document.createElement("tr");
    for (const [text, left] of cells) {
      const cell = document.createElement("td");
      cell.textContent = text;
      if (left) cell.className = "text";
      line.append(cell);
    }
    line.lastElementChild.classList.add(verdict === "regression" ? "bad" : verdict);
    return line;
  };
  const show = (base, candidate) => {
    const lines = [];
    const counts = {};
    for (const now of candidate.cases) {
      const before = base.cases.find((one) => one.id === now.id);
      if (!before) continue;
      for (const figure of now.figures.filter((one) => one.primary)) {
        const old = before.figures.find((one) => one.metric === figure.metric && one.point === figure.point);
        if (!old) continue;
        const times = ratio(figure, old);
        const same = before.kind === now.kind && base.machine === candidate.machine;
        const verdict = same ? judge(times, figure, candidate.margin) : "incomparable";
        counts[verdict] = (counts[verdict] || 0) + 1;
        const ends = times && times.low !== undefined ? ` [${times.low.toFixed(3)}, ${times.high.toFixed(3)}]` : "";
        lines.push(row([
          [[now.label, now.scenario, ...now.marks].join(" "), true], [`${figure.metric} ${figure.point}`, true],
          [old.shown, false], [figure.shown, false],
          [times ? times.value.toFixed(3) + ends : "–", true], [verdict, true],
        ], verdict));
      }
    }
    table.tBodies[0].replaceChildren(...lines);
    table.hidden = !lines.length;
    const words = Object.entries(counts).map(([verdict, n]) => `${n} ${verdict}`).join(", ");
    const where = base.machine === candidate.machine ? "" : "; the machines differ, so nothing is comparable";
    said.textContent = lines.length ? words + where : "These runs share no case with figures.";
  };
  const look = async () => {
    if (!a.value || !b.value) { said.textContent = "There is no run yet."; return; }
    try {
      const [base, candidate] = await Promise.all([load(a.value), load(b.value)]);
      show(base, candidate);
      history.replaceState(null, "", `?a=${encodeURIComponent(a.value)}&b=${encodeURIComponent(b.value)}`);
    } catch (error) {
      table.hidden = true;
      said.textContent = location.protocol === "file:"
        ? "A browser reads no data from a folder: serve it, e.g. python -m http.server." : String(error);
    }
  };
  a.addEventListener("change", look);
  b.addEventListener("change", look);
  look();
})();
