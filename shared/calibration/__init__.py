"""A calibration: what can be asked, its folder, the events by which people follow it, and what it hands on."""
