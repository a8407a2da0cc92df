// Airflow shows the pages in a frame that may not leave itself. A link to one of Airflow's own pages must not open
// Airflow inside Airflow, so the window around the frame is asked to follow it.
if (window.parent !== window) {
  document.documentElement.dataset.framed = "";
  document.addEventListener("click", (event) => {
    const link = event.target.closest("a[data-airflow], a[data-file]");
    if (!link || event.defaultPrevented || event.button !== 0 || event.ctrlKey || event.metaKey || event.shiftKey) return;
    try {
      const outer = window.parent.document.createElement("a");
      outer.href = link.href;
      if (link.dataset.file !== undefined) { outer.target = "_blank"; outer.rel = "noopener"; }
      event.preventDefault();
      outer.click();
    } catch {
      // A frame of another origin: the link opens where it is.
    }
  });
}
