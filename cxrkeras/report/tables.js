// Tables that sort and filter: every heading becomes a button, and a field above keeps the rows that hold its words.
"use strict";
(() => {
  const keyOf = (cell) => {
    const text = "sort" in cell.dataset ? cell.dataset.sort : cell.textContent.trim();
    return text !== "" && Number.isFinite(Number(text)) ? Number(text) : text;
  };

  // What is undefined stays last in either direction.
  function inOrder(first, second, sign) {
    if (first === "" || second === "") return (first === "") - (second === "");
    if (typeof first === "number" && typeof second === "number") return sign * (first - second);
    return sign * String(first).localeCompare(String(second), undefined, { numeric: true, sensitivity: "base" });
  }

  function prepare(region, place) {
    const table = region.querySelector("table");
    const body = table.tBodies[0];
    const heads = [...table.tHead.rows[0].cells];
    const rows = [...body.rows];
    let sorted = "as measured";

    const bar = document.createElement("div");
    bar.className = "filter";
    const label = document.createElement("label");
    label.textContent = "Only rows with ";
    const field = document.createElement("input");
    field.type = "search";
    field.id = `filter-${place}`;
    field.autocomplete = "off";
    label.htmlFor = field.id;
    const told = document.createElement("p");
    told.setAttribute("role", "status");
    label.append(field);
    bar.append(label, told);
    region.before(bar);

    function tell() {
      const shown = rows.filter((row) => !row.hidden).length;
      told.textContent = `${shown} of ${rows.length} rows, ${sorted}`;
    }

    function filter() {
      const words = field.value.toLowerCase().split(/\s+/).filter(Boolean);
      rows.forEach((row) => {
        const text = row.textContent.toLowerCase();
        row.hidden = !words.every((word) => text.includes(word));
      });
      tell();
    }

    function sort(column) {
      const head = heads[column];
      const keys = new Map(rows.map((row) => [row, keyOf(row.cells[column])]));
      const numbers = rows.some((row) => typeof keys.get(row) === "number");
      const before = head.getAttribute("aria-sort");
      // numbers begin with the largest, names with the first
      const down = before ? before === "ascending" : numbers;
      heads.forEach((other) => other.removeAttribute("aria-sort"));
      head.setAttribute("aria-sort", down ? "descending" : "ascending");
      body.append(...[...rows].sort((a, b) => inOrder(keys.get(a), keys.get(b), down ? -1 : 1)));
      sorted = `sorted by ${head.textContent.trim()}, ${down ? "descending" : "ascending"}`;
      tell();
    }

    heads.forEach((head, column) => {
      const button = document.createElement("button");
      button.type = "button";
      button.textContent = head.textContent;
      button.addEventListener("click", () => sort(column));
      head.replaceChildren(button);
    });
    field.addEventListener("input", filter);
    tell();
  }

  document.querySelectorAll(".sorts").forEach(prepare);
})();
