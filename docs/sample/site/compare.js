"use strict";
// Two runs side by side, from the JSON beside this page. It divides; it judges nothing.
(() => {
  const at = (id) => document.getElementById(id);
  const [a, b] = [at("a"), at("b")];
  const [said, gate, command, table] = ["said", "gate", "command", "result"].map(at);
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
  const row = (cells) => {
    const line = document.createElement("tr");
    for (const [text, kind] of cells) {
      const cell = document.createElement("td");
      cell.textContent = text;
      if (kind) cell.className = kind;
      line.append(cell);
    }
    return line;
  };
  const show = (base, candidate) => {
    const lines = [];
    const judged = candidate.against && candidate.against.run === base.id ? candidate.against : null;
    for (const now of candidate.cases) {
      const before = base.cases.find((one) => one.id === now.id);
      if (!before) continue;
      for (const figure of now.figures.filter((one) => one.primary)) {
        const same = (one) => one.metric === figure.metric && one.point === figure.point;
        const old = before.figures.find(same);
        if (!old) continue;
        const comparable = before.kind === now.kind;
        const times = comparable ? ratio(figure, old) : null;
        const ends = times && times.low !== undefined ? `${times.low.toFixed(3)} to ${times.high.toFixed(3)}` : "";
        const its = judged && judged.rows.find((one) => one.slug === now.slug && same(one));
        lines.push(row([
          [[now.label, now.scenario, ...now.marks].join(" "), "text"], [`${figure.metric} ${figure.point}`, "text"],
          [old.shown, ""], [figure.shown, ""], [times ? times.value.toFixed(3) : "–", ""],
          [comparable ? ends : "other weights or another scenario", "text"],
          [its ? its.verdict : "", its ? `text verdict-${its.verdict}` : "text"],
        ]));
      }
    }
    table.tBodies[0].replaceChildren(...lines);
    table.hidden = !lines.length;
    const apart = base.machine === candidate.machine ? "" : ` The machines differ: ${base.machine}, and ${candidate.machine}.`;
    said.textContent = lines.length
      ? `${lines.length} figure${lines.length === 1 ? "" : "s"} that both runs have.${apart}`
      : "These runs share no case with figures.";
    const counts = judged ? Object.entries(judged.counts).map(([verdict, n]) => `${n} ${verdict}`).join(", ") : "";
    gate.textContent = judged ? `The gate said ${judged.verdict} when this site was built: ${counts || judged.method}.` : "";
    gate.className = judged ? `verdict-${judged.verdict}` : "";
    gate.hidden = !judged;
    command.lastElementChild.textContent = `harness compare ${base.id} ${candidate.id}`;
    command.hidden = base.id === candidate.id;
  };
  const look = async () => {
    if (!a.value || !b.value) { said.textContent = "There is no run yet."; return; }
    try {
      const [base, candidate] = await Promise.all([load(a.value), load(b.value)]);
      show(base, candidate);
      history.replaceState(null, "", `?a=${encodeURIComponent(a.value)}&b=${encodeURIComponent(b.value)}`);
    } catch (error) {
      for (const part of [table, gate, command]) part.hidden = true;
      said.textContent = location.protocol === "file:"
        ? "A browser reads no data from a folder: serve it, e.g. python -m http.server." : String(error);
    }
  };
  a.addEventListener("change", look);
  b.addEventListener("change", look);
  look();
})();
