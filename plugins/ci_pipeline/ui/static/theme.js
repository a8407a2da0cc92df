// Beside Airflow's UI the pages look as it does: it keeps what the user chose, light or dark, under this name.
try {
  const chosen = localStorage.getItem("theme");
  if (chosen === "light" || chosen === "dark") document.documentElement.dataset.theme = chosen;
} catch {
  // Storage that is closed to us leaves what the browser prefers.
}
