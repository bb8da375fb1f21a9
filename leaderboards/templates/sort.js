"use strict";
// Sorts each group of a board by a column: first best first, then the other way, then as given.
for (const table of document.querySelectorAll("table.board")) {
  const groups = [...table.tBodies].map((body) => ({ body, rows: [...body.querySelectorAll("tr.model")] }));
  const heads = [...table.tHead.rows[0].cells];

  const compare = (column, ascending) => (one, other) => {
    const [a, b] = [one, other].map((row) => row.cells[column].dataset.value);
    if (a === "" || b === "") return (a === "") - (b === "");
    const order = isNaN(a) || isNaN(b) ? a.localeCompare(b) : Number(a) - Number(b);
    return ascending ? order : -order;
  };

  heads.forEach((head, column) => {
    head.querySelector("button").addEventListener("click", () => {
      const first = head.dataset.first;
      const second = first === "ascending" ? "descending" : "ascending";
      const next = { none: first, [first]: second, [second]: "none" }[head.getAttribute("aria-sort")];
      for (const other of heads) other.setAttribute("aria-sort", other === head ? next : "none");
      for (const { body, rows } of groups) {
        const order = next === "none" ? rows : [...rows].sort(compare(column, next === "ascending"));
        body.append(...order);
      }
    });
  });
}
