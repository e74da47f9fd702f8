"use strict";
const page = document.documentElement;
const layers = document.querySelectorAll(".layer");
function show(method) {
  layers.forEach((layer) => layer.classList.toggle("on", layer.dataset.method === method));
}
document.querySelectorAll("input[name=method]").forEach((choice) =>
  choice.addEventListener("change", () => show(choice.value)));
document.getElementById("opacity").addEventListener("input", (event) =>
  page.style.setProperty("--opacity", event.target.value / 100));
document.getElementById("boxes").addEventListener("change", (event) =>
  page.classList.toggle("boxes-on", event.target.checked));
