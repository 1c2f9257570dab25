"use strict";
// Tables: sorted by their headers, filtered by a text. Cells hold what they are sorted by in data-value.
const valueOf = (row, column) => row.cells[column].dataset.value;

function compare(a, b) {
  const [x, y] = [Number(a), Number(b)];
  return Number.isNaN(x) || Number.isNaN(y) ? a.localeCompare(b, "en") : x - y;
}

function sort(table, header) {
  const descending = header.getAttribute("aria-sort") === "ascending";
  for (const other of table.tHead.rows[0].cells) other.setAttribute("aria-sort", "none");
  header.setAttribute("aria-sort", descending ? "descending" : "ascending");
  const rows = [...table.tBodies[0].rows], column = header.cellIndex;
  rows.sort((one, two) => {
    const [a, b] = [valueOf(one, column), valueOf(two, column)];
    if (a === "" || b === "") return (a === "") - (b === "");  // what has no value is last in both directions
    return descending ? compare(b, a) : compare(a, b);
  });
  table.tBodies[0].append(...rows);
}

function filter(sheet, wanted) {
  const rows = [...sheet.querySelector("tbody").rows], words = wanted.toLowerCase().split(/\s+/).filter(Boolean);
  for (const row of rows) {
    const text = [...row.cells].map((cell) => cell.textContent).join(" ").toLowerCase();
    row.hidden = !words.every((word) => text.includes(word));
  }
  const shown = rows.filter((row) => !row.hidden).length;
  sheet.querySelector("output").textContent = words.length ? `${shown} of ${rows.length} rows` : "";
}

for (const sheet of document.querySelectorAll(".sheet")) {
  const table = sheet.querySelector("table"), input = sheet.querySelector("input");
  sheet.querySelector(".tools").hidden = false;
  input.addEventListener("input", () => filter(sheet, input.value));
  for (const header of table.tHead.rows[0].cells) {
    header.querySelector("button").addEventListener("click", () => sort(table, header));
  }
}

for (const select of document.querySelectorAll("select[data-section]")) {
  const section = document.getElementById(select.dataset.section);
  const show = () => {
    for (const figure of section.querySelectorAll("figure[data-choice]")) {
      figure.hidden = figure.dataset.choice !== select.value;
    }
  };
  select.closest(".tools").hidden = false;
  select.addEventListener("change", show);
  show();
}
