"""Two plugins with a mistake each."""
