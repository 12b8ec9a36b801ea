"""`deblurkit service`: life under systemd."""
