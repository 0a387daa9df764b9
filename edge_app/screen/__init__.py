"""Where the overlay is shown: an HDMI screen, a window, a file, or nowhere."""
