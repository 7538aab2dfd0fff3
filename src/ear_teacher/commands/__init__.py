"""Groups of commands of `ear-teacher`, each a function that adds them to its parser."""
