const found = document.getElementById("viewer-data");
new EarViewer(document.querySelector("[data-viewer]"), JSON.parse(found.textContent));
