// A crosshair over charts that have a timeline; and everything unfolded on paper. The page reads well without it.
for (const figure of document.querySelectorAll("figure.hover")) {
  const { at, rows } = JSON.parse(figure.querySelector("script").textContent);
  const tip = figure.appendChild(document.createElement("div"));
  tip.className = "tip";
  tip.hidden = true;
  for (const svg of figure.querySelectorAll("svg")) {
    const [left, right, end, top, bottom] = ["left", "right", "end", "top", "bottom"].map(name => +svg.dataset[name]);
    const rule = svg.appendChild(document.createElementNS(svg.namespaceURI, "path"));
    rule.setAttribute("class", "rule");
    svg.addEventListener("pointermove", event => {
      const box = svg.getBoundingClientRect(), scale = svg.viewBox.baseVal.width / box.width;
      const second = ((event.clientX - box.left) * scale - left) / (right - left) * end;
      if (second < 0 || second > end) return leave();
      const after = at.findIndex(moment => moment >= second);
      let index = after < 0 ? at.length - 1 : after;
      if (index > 0 && second - at[index - 1] < at[index] - second) index -= 1;
      const x = left + at[index] / end * (right - left);
      rule.setAttribute("d", `M${x},${top}V${bottom}`);
      tip.replaceChildren(said(`${at[index]} s`, ""), ...rows.map(([name, unit, values]) =>
        said(name, values[index] === null ? "–" : `${values[index]} ${unit}`)));
      tip.hidden = false;
      const place = x / scale + box.left - figure.getBoundingClientRect().left;
      const flip = place + tip.offsetWidth + 24 > figure.clientWidth;
      tip.style.left = `${flip ? place - tip.offsetWidth - 12 : place + 12}px`;
      tip.style.top = `${svg.parentElement.offsetTop + top / scale + 8}px`;
    });
    const leave = () => { tip.hidden = true; rule.removeAttribute("d"); };
    svg.addEventListener("pointerleave", leave);
  }
}
function said(name, value) {
  const line = document.createElement("p");
  line.append(Object.assign(document.createElement("span"), { textContent: name }),
    Object.assign(document.createElement("b"), { textContent: value }));
  return line;
}
const folded = [];
addEventListener("beforeprint", () => {
  for (const part of document.querySelectorAll("details:not([open])")) { part.open = true; folded.push(part); }
});
addEventListener("afterprint", () => { for (const part of folded.splice(0)) part.open = false; });
