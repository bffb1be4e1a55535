"""Everything virtual: people, scenes, pictures."""
