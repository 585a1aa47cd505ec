"""Reports as pages: markup, scales, the style sheet and the frame of one HTML file that needs nothing from elsewhere."""
