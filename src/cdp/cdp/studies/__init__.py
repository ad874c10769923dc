"""Studies: one command each, with seeds, that asks a question and writes its figure, its numbers and what they do not show."""
