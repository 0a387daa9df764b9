"""What a screen shows over the picture: its state, and how it is drawn."""
