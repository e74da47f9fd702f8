page.classList.add("marks-on");
function chosenMethod() { return document.querySelector("input[name=method]:checked").value; }
function chosenMark(view) {
  const choice = document.querySelector(`input[name="${view}"]:checked`);
  return choice ? choice.value : "";
}
function showMarks() {
  document.querySelectorAll("[data-mark]").forEach((one) => {
    const chosen = chosenMark(one.dataset.view) === one.dataset.mark;
    if (one.dataset.method) one.classList.toggle("on", chosen && one.dataset.method === chosenMethod());
    else one.classList.toggle("chosen", chosen);
  });
}
document.querySelectorAll("input[type=radio]").forEach((choice) => choice.addEventListener("change", showMarks));
["marks", "weaker"].forEach((name) => document.getElementById(name).addEventListener("change", (event) =>
  page.classList.toggle(`${name}-on`, event.target.checked)));
