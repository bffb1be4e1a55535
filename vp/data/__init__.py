"""Everything recorded: readers of the data sets' own files."""
