// Sort tables when a column is clicked, and copy digests. Pages work without this script.
"use strict";

function valueOf(cell) {
  const exact = cell.querySelector("[data-sort]");
  const text = exact ? exact.dataset.sort : cell.dataset.sort !== undefined ? cell.dataset.sort : cell.textContent.trim();
  const number = Number(text.replace(/,/g, ""));
  return text !== "" && !Number.isNaN(number) ? number : text;
}

function compare(a, b) {
  if (typeof a === "number" && typeof b === "number") return a - b;
  if (typeof a !== typeof b) return typeof a === "number" ? -1 : 1;
  return a < b ? -1 : a > b ? 1 : 0;
}

function sortBy(table, header, column) {
  const direction = header.getAttribute("aria-sort") === "ascending" ? "descending" : "ascending";
  for (const each of table.querySelectorAll("th")) each.removeAttribute("aria-sort");
  header.setAttribute("aria-sort", direction);
  const body = table.tBodies[0];
  const rows = Array.from(body.rows, (row) => [valueOf(row.cells[column]), row]);
  rows.sort(([a], [b]) => (direction === "ascending" ? compare(a, b) : compare(b, a)));
  body.append(...rows.map(([, row]) => row));
}

document.addEventListener("DOMContentLoaded", () => {
  for (const table of document.querySelectorAll("table.sortable")) {
    Array.from(table.tHead.rows[0].cells).forEach((header, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.className = "sort";
      button.append(...header.childNodes);
      button.addEventListener("click", () => sortBy(table, header, column));
      header.append(button);
    });
  }
  if (!navigator.clipboard) return;
  for (const each of document.querySelectorAll("[data-copy]")) {
    const button = document.createElement("button");
    button.type = "button";
    button.className = "copy";
    button.textContent = "copy";
    button.title = each.dataset.copy;
    button.addEventListener("click", async () => {
      await navigator.clipboard.writeText(each.dataset.copy);
      button.textContent = "copied";
    });
    each.after(button);
  }
});
