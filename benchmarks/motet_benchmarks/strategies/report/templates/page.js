"use strict";
// Tables are sorted by the column whose heading is pressed: the first by its names, others by number where their cells
// begin with one.
const number = (text) => {
  const found = /^[<>≥+]?\s*([-+]?(?:\d[\d,]*\.?\d*|\.\d+)(?:e[-+]?\d+)?)/i.exec(text.trim());
  return found ? parseFloat(found[1].replaceAll(",", "")) : NaN;
};
for (const head of document.querySelectorAll("thead th")) {
  const button = document.createElement("button");
  button.type = "button";
  button.textContent = head.textContent;
  head.replaceChildren(button);
  button.addEventListener("click", () => {
    const row = head.parentElement;
    const place = [...row.children].indexOf(head);
    const names = place === 0;
    const was = head.getAttribute("aria-sort");
    const down = names ? was === "ascending" : was !== "descending";
    for (const other of row.children) other.removeAttribute("aria-sort");
    head.setAttribute("aria-sort", down ? "descending" : "ascending");
    const body = head.closest("table").tBodies[0];
    const compare = (one, other) => {
      const [a, b] = [one, other].map((each) => each.children[place].textContent);
      const [x, y] = names ? [NaN, NaN] : [number(a), number(b)];
      // What has no number, a dash, stays at the end whichever way the others go.
      if (isNaN(x) !== isNaN(y)) return isNaN(x) ? 1 : -1;
      const order = isNaN(x) ? a.localeCompare(b, undefined, { numeric: true }) : x - y;
      return down ? -order : order;
    };
    body.append(...[...body.rows].sort(compare));
  });
}
