"""CI-Pipeline: from a dist-git push to a tested OSTree host. Pure Python; nothing in this package imports Airflow."""
