"use strict";
// Sorts the table by a column: by its title, or on a narrow page by the choice above it.
(() => {
  const table = document.getElementById("table");
  if (!table) return;
  const titles = [...table.tHead.rows[0].cells];
  const body = table.tBodies[0];
  const choice = document.getElementById("sort");

  const key = (row, column) => row.cells[column].dataset.key;

  /** Less than 0 where a comes first; what has no value comes last in both directions. */
  function compare(a, b, column, downwards) {
    const [first, second] = [key(a, column), key(b, column)];
    if (first === "" || second === "") return (first === "") - (second === "");
    const order = column === 0
      ? first.localeCompare(second, "en", { numeric: true })
      : Number(first) - Number(second);
    return downwards ? -order : order;
  }

  function sort(column, downwards) {
    const rows = [...body.rows].sort((a, b) => compare(a, b, column, downwards));
    body.append(...rows);
    titles.forEach((title) => title.removeAttribute("aria-sort"));
    titles[column].setAttribute("aria-sort", downwards ? "descending" : "ascending");
    choice.value = String(column);
  }

  titles.forEach((title, column) => {
    title.querySelector("button").addEventListener("click", () => {
      const now = title.getAttribute("aria-sort");
      sort(column, now ? now === "ascending" : title.dataset.downwards === "1");
    });
  });
  choice.addEventListener("change", () => {
    const column = Number(choice.value);
    sort(column, titles[column].dataset.downwards === "1");
  });
})();
