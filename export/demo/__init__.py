"""How the shipped demo model is made: `python -m export.demo.train OUT` draws, trains and writes a checkpoint."""
