"""The demo: a local dist-git with two small packages, and a packager whose pushes go through the whole pipeline."""
