"""Runs judged by the author's monitoring list and troubleshooting section; nothing here changes a run."""
