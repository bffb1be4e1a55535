"""Everything seen: stills and explorers."""
