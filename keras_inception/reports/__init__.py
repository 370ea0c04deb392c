"""Reports: HTML pages of one file each, which need neither a network connection nor scripts."""
