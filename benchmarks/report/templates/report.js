"use strict";
// Points of a plot: hover, tap, or Tab and the arrow keys. The nearest one within the width of a finger shows its tip.
const tip = document.getElementById("tip"), NEAR = 26;
let shown = null;
function hide() { shown?.classList.remove("on"); shown = null; tip.hidden = true; }
function show(point) {
  if (shown === point) return;
  hide();
  shown = point;
  point.classList.add("on");
  tip.textContent = point.dataset.tip;
  tip.hidden = false;
  const at = point.getBoundingClientRect(), own = tip.getBoundingClientRect(), width = document.documentElement.clientWidth;
  const middle = (Math.max(at.left, 0) + Math.min(at.right, width)) / 2;
  tip.style.left = `${Math.min(Math.max(8, middle - own.width / 2), width - own.width - 8)}px`;
  tip.style.top = `${at.top - own.height - 10 >= 4 ? at.top - own.height - 10 : at.bottom + 10}px`;
}
for (const svg of document.querySelectorAll(".plot svg")) {
  const points = [...svg.querySelectorAll("[data-tip]")];
  if (!points.length) continue;
  const nearest = event => {
    let best = null, least = NEAR;
    for (const point of points) {
      const at = point.getBoundingClientRect();
      const dx = Math.max(at.left - event.clientX, 0, event.clientX - at.right);
      const dy = Math.max(at.top - event.clientY, 0, event.clientY - at.bottom);
      const off = Math.hypot((at.left + at.right) / 2 - event.clientX, (at.top + at.bottom) / 2 - event.clientY);
      const far = Math.hypot(dx, dy) + off / 1000;
      if (far < least) [best, least] = [point, far];
    }
    return best;
  };
  const look = event => { const point = nearest(event); if (point) show(point); else if (document.activeElement !== shown) hide(); };
  svg.addEventListener("pointermove", look);
  svg.addEventListener("pointerdown", look);
  svg.addEventListener("pointerleave", event => { if (event.pointerType === "mouse") hide(); });
  const along = points.map(p => [p, p.getBBox()]).sort(([, a], [, b]) => a.x - b.x || a.y - b.y).map(([p]) => p);
  along.forEach((point, i) => {
    point.setAttribute("tabindex", i ? -1 : 0);
    point.addEventListener("focus", () => show(point));
    point.addEventListener("blur", hide);
    point.addEventListener("keydown", event => {
      const step = { ArrowRight: 1, ArrowDown: 1, ArrowLeft: -1, ArrowUp: -1 }[event.key];
      const to = event.key === "Home" ? along[0] : event.key === "End" ? along.at(-1) : step && along[i + step];
      if (event.key === "Escape") hide();
      if (!to) return;
      event.preventDefault();
      for (const other of along) other.setAttribute("tabindex", other === to ? 0 : -1);
      to.focus();
    });
  });
}
document.addEventListener("pointerdown", event => { if (!event.target.closest(".plot svg")) hide(); });
addEventListener("scroll", () => { if (document.activeElement !== shown) hide(); }, { passive: true });

// Tables: a click or Enter on a column name sorts by it; rows without a value stay at the end.
for (const table of document.querySelectorAll("table.sortable")) {
  const heads = [...table.tHead.rows[0].cells];
  heads.forEach((head, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => {
      const up = head.getAttribute("aria-sort") !== "ascending";
      for (const other of heads) other.removeAttribute("aria-sort");
      head.setAttribute("aria-sort", up ? "ascending" : "descending");
      const value = row => row.cells[column]?.dataset.v ?? "";
      const order = (a, b) => {
        const [x, y] = [value(a), value(b)];
        if (x === "" || y === "") return (x === "") - (y === "");
        const less = head.dataset.of === "number" ? x - y : x.localeCompare(y, undefined, { numeric: true });
        return up ? less : -less;
      };
      table.tBodies[0].append(...[...table.tBodies[0].rows].sort(order));
    });
  });
}
addEventListener("beforeprint", () => { for (const fold of document.querySelectorAll("details")) fold.open = true; });
