"""Standing yes/no questions: what they are, how their answers become ON and OFF, and who is told."""
